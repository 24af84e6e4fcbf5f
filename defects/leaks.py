"""Leaks of nondeterminism, one of each kind that Python has: for the lockstep to find, and no defects of the catalogue.

Each lets a value into the audit trail, or into a book, that another process would not have had.
"""

from __future__ import annotations

from defects.model import Defect, Edit

_BATCHES = "contest_platform/services/ingestion_batches.py"
_CONTESTS = "contest_platform/services/contests.py"
_ENTRIES = "contest_platform/services/entries.py"
_PAYOUTS = "contest_platform/services/payouts.py"
_PROCESSOR = "simulator/actors/processor.py"
_RUNS = "contest_platform/services/settlement_runs.py"

LEAKS = (
    Defect(
        "leaks.set_order",
        "A list becomes a set, so that no golfer is entered twice.",
        (
            Edit(
                _BATCHES,
                "    golfers = [golfer for golfer in poll.answer.field if golfer not in field]\n",
                "    golfers = list({golfer for golfer in poll.answer.field if golfer not in field})\n",
            ),
        ),
        (),
    ),
    Defect(
        "leaks.wall_clock",
        "Whoever reads the trail shall see how late the transition was: by the clock of the machine.",
        (
            Edit(_CONTESTS, "from dataclasses import dataclass\n", "import time\nfrom dataclasses import dataclass\n"),
            Edit(
                _CONTESTS,
                '    _lock_as(tx, Context(ACTOR, contest["contest_id"]), contest["contest_id"], '
                '"lock time has come")\n',
                '    late_s = int(time.time()) - contest["lock_at"] // 1000\n'
                '    reason = f"lock time has come, {late_s} s ago"\n'
                '    _lock_as(tx, Context(ACTOR, contest["contest_id"]), contest["contest_id"], reason)\n',
            ),
        ),
        (),
    ),
    Defect(
        "leaks.global_random",
        "An idempotency key is drawn as the processor's examples draw it.",
        (
            Edit(_PAYOUTS, "from dataclasses import dataclass\n", "import random\nfrom dataclasses import dataclass\n"),
            Edit(
                _PAYOUTS,
                '                    "idempotency_key": self._ports.ids.new("key", transfer_id, "1"),\n',
                '                    "idempotency_key": f"key_{random.getrandbits(96):024x}",\n',
            ),
        ),
        (),
    ),
    Defect(
        "leaks.identity",
        "A request is told from others by the address of its object.",
        (
            Edit(
                _ENTRIES,
                '            audit.insert(tx, Context(ACTOR, user_id), "users", row, "signed up")\n',
                '            ctx = Context(ACTOR, f"{user_id}/{id(request):x}")\n'
                '            audit.insert(tx, ctx, "users", row, "signed up")\n',
            ),
        ),
        (),
    ),
    Defect(
        "leaks.thread",
        "A thread of its own counts the beats of the worker, and settlement notes how far it was.",
        (
            Edit(
                _RUNS,
                'IMPOSSIBLE = "settlement_impossible"\n',
                'IMPOSSIBLE = "settlement_impossible"\n'
                "_BEATS = [0]\n\n\n"
                "def _beat() -> None:\n"
                "    while True:\n"
                "        _BEATS[0] += 1\n"
                "        time.sleep(0)\n\n\n"
                "threading.Thread(target=_beat, daemon=True).start()\n",
            ),
            Edit(_RUNS, "from typing import Any\n", "import threading\nimport time\nfrom typing import Any\n"),
            Edit(
                _RUNS,
                '    audit.insert(tx, ctx, "settlement_audit", _run(tx, ids, contest_id, packs), '
                '"settlement begins")\n',
                '    reason = f"settlement begins at beat {_BEATS[0]}"\n'
                '    audit.insert(tx, ctx, "settlement_audit", _run(tx, ids, contest_id, packs), reason)\n',
            ),
        ),
        (),
    ),
)
"""In the journal: the hash of the audit trail stands in each commit."""

OF_BOOKS = (
    Defect(
        "leaks.hash_in_a_book",
        "Nobody but the processor reads the hash of a request, so the quick one will do.",
        (
            Edit(
                _PROCESSOR,
                "    return sha256(encode(params)).hexdigest()\n",
                '    return f"{hash(encode(params)) & (1 << 64) - 1:016x}"\n',
            ),
        ),
        (),
    ),
)
"""In a book alone: no event says it."""
