"""What a sweep came to, from its book: the verdict, failures and what was not exercised in groups, the curve of news.

Invariant: the table depends on what came in, not on the order in which it did, nor on where it was made.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from campaigns.corpus import PastFailure
from campaigns.seeds import NOTHING, Line, from_bits, same_facts
from campaigns.sweep import LOST
from campaigns.sweep_book import SweepBook

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
VERSION = 1
SEEDS_SHOWN = 20
_CURVE_POINTS = 64
_NUMBERS = re.compile(r"[#$]?\d[\d,.:]*")


def table(book: SweepBook, past: Sequence[PastFailure]) -> dict[str, Any]:
    """The result as JSON, without what depends on the wall clock and on the disk (`rate`, `run`)."""
    sheet, lines = book.sheet, dict(sorted(book.lines.items()))
    counts = Counter(line["status"] for line in lines.values())
    again = dict(sorted(book.again.items()))
    compared = [seed for seed, line in again.items() if LOST not in (lines[seed]["status"], line["status"])]
    nondeterminism = [seed for seed in compared if not same_facts(lines[seed], again[seed])]
    lost_again = [seed for seed, line in again.items() if line["status"] == LOST]
    twice_due = len(range(sheet.first, sheet.last, sheet.again_every))
    corpus = [_replayed(one, book.past.get(one.name)) for one in past]
    lost = sorted(seed for seed, line in lines.items() if line["status"] == LOST)
    left = sheet.last - sheet.first - len(lines)
    caught = book.canary is not None and book.canary["seed"] is not None
    broken = [
        *([f"{counts[FAIL]} of {len(lines)} seeds fail"] if counts[FAIL] else []),
        *(
            [f"{len(nondeterminism)} of {len(compared)} seeds that ran twice came to two ends"]
            if nondeterminism
            else []
        ),
        *(f"the past failure {one['name']} is back" for one in corpus if one["is_back"]),
        *(
            f"the plan of the past failure {one['name']} fails of {one['fails_of']}"
            for one in corpus
            if one["fails_of"]
        ),
    ]
    open_ = [
        *([] if caught else [f"the canary {sheet.canary} was not caught: that nothing else was found means nothing"]),
        *([f"{left} of {sheet.last - sheet.first} seeds were not run"] if left else []),
        *([f"{twice_due - len(again)} of {twice_due} second runs were not made"] if len(again) < twice_due else []),
        *([f"{counts[INCONCLUSIVE]} of {len(lines)} seeds left something unexercised"] if counts[INCONCLUSIVE] else []),
        *([f"over {len(lost)} seeds two workers died"] if lost else []),
        *([f"over {len(lost_again)} second runs two workers died"] if lost_again else []),
        *(f"the past failure {one['name']} was not asked about" for one in corpus if not one["was_replayed"]),
    ]  # fmt: skip
    return {
        "version": VERSION,
        "sheet": asdict(sheet),
        "verdict": FAIL if broken else INCONCLUSIVE if open_ else PASS,
        "why": [*broken, *open_],
        "done": len(lines),
        "counts": {status: counts[status] for status in (PASS, FAIL, INCONCLUSIVE, LOST)},
        "failures": _failures(lines),
        "inconclusive": _unexercised(lines),
        "lost": lost[:SEEDS_SHOWN],
        "twice": {"compared": len(compared), "differ": nondeterminism},
        "canary": None if book.canary is None else dict(book.canary),
        "corpus": corpus,
        "faults": _faults(lines.values()),
        "behaviours": _behaviours(list(lines.values())),
    }


def _replayed(one: PastFailure, line: Line | None) -> dict[str, Any]:
    """`was_replayed`: its promise was asked about. `fails_of`: what it breaks first today, if that is another."""
    line = line or {**NOTHING, "status": LOST}
    back = list(one.fingerprint) in line["fingerprints"]
    return {
        "name": one.name, "fingerprint": str(one.fingerprint), "is_back": back,
        "was_replayed": back or one.fingerprint.assertion in from_bits(line["exercised"]),
        "fails_of": None if back or line["first"] is None else ":".join(line["first"]),
    }  # fmt: skip


def _failures(lines: Mapping[int, Line]) -> list[dict[str, Any]]:
    """Failing seeds by the fingerprint of their first broken promise, the most frequent group first. Not by all that
    broke: what else breaks depends on how long the run goes on after the first."""
    groups = defaultdict[str, list[int]](list)
    for seed, line in lines.items():
        if line["status"] == FAIL:
            groups[":".join(line["first"])].append(seed)
    found = []
    for name, seeds in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        simplest = min(seeds, key=lambda seed: (lines[seed]["faults"], lines[seed]["events"], seed))
        line = lines[simplest]
        found.append(
            {
                "fingerprint": name,
                "count": len(seeds),
                "seeds": seeds[:SEEDS_SHOWN],
                "simplest": {name: line[name] for name in ("digest", "faults", "events")} | {"seed": simplest},
                "also": sorted({":".join(each) for each in line["fingerprints"]} - {name}),
            }
        )
    return found


def _unexercised(lines: Mapping[int, Line]) -> list[dict[str, Any]]:
    """Inconclusive seeds by what was missing, numbers in its words aside; the most frequent first."""
    groups = defaultdict[tuple[str, str], list[int]](list)
    words: dict[tuple[str, str], str] = {}
    for seed, line in lines.items():
        if line["status"] == INCONCLUSIVE:
            for assertion, what in line["missing"]:
                key = assertion, _NUMBERS.sub("#", what)
                words.setdefault(key, what)
                if not groups[key] or groups[key][-1] != seed:
                    groups[key].append(seed)
    return [
        {"assertion": key[0], "what": words[key], "count": len(seeds), "seeds": seeds[:SEEDS_SHOWN]}
        for key, seeds in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    ]


def _faults(lines: Iterable[Line]) -> dict[str, dict[str, int]]:
    """By kind of fault: in how many runs it acted, and how many times it found nothing to befall."""
    bitten, dropped = Counter[str](), Counter[str]()
    for line in lines:
        bitten.update(line["bitten"])
        dropped.update(id.partition("#")[0] for id in line["dropped"])
    return {kind: {"acted": bitten[kind], "dropped": dropped[kind]} for kind in sorted({*bitten, *dropped})}


def _behaviours(lines: Sequence[Line]) -> dict[str, Any]:
    """What a run did, as far as a sweep looks: which kinds of fault acted, and which assertions saw anything. `curve`:
    [seeds, different behaviours among them], seeds in their order."""
    seen, curve = set[tuple[str, ...]](), []
    step = max(1, len(lines) // _CURVE_POINTS)
    last_new = 0
    for count, line in enumerate(lines, 1):
        behaviour = (line["exercised"], *line["bitten"])
        if behaviour not in seen:
            seen.add(behaviour)
            last_new = count
        if count % step == 0 or count == len(lines):
            curve.append([count, len(seen)])
    return {"found": len(seen), "last_new": last_new, "curve": curve}
