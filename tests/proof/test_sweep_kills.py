"""A sweep killed (SIGKILL) at twenty instants, one after the other: no seed is lost, none is run into the result twice.

The instants are by what the journal holds, drawn from a seed: so many more bytes, anywhere within a line.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random

from campaigns.sweep_book import JOURNAL
from tests.support.command import absence, start
from tests.support.killing import RECOVER
from tests.support.sweeps import FAILING, records, without_times, written

KILLS = int(os.environ.get("PROOF_SWEEP_KILLS", "20"))
SEEDS = 60
_POLL_S = 0.002


def test_a_sweep_killed_again_and_again_comes_to_what_it_would_have_come_to(tmp_path: Path) -> None:
    scenario = written(tmp_path, FAILING)
    out, random = tmp_path / "out", Random(20)
    command = ("sweep", scenario, "--seeds", f"0:{SEEDS}", "--again-every", "8", "--workers", "2")
    journal = out / JOURNAL
    before: set[tuple[str, str]] = set()
    for _ in range(KILLS):
        # A kill while nothing has come in yet (canary, start of the workers) counts too: one in four.
        more = 0 if random.random() < 0.25 else random.randrange(1, 1_200)
        kill_at, delay_s = _size(journal) + more, random.random()
        process = start(*command, "--out", out, *RECOVER)
        begun = time.monotonic()
        while process.poll() is None and not (_size(journal) >= kill_at and time.monotonic() - begun > delay_s):
            time.sleep(_POLL_S)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, "the sweep was through before the last kill: it needs more seeds"
        if not journal.exists():
            continue
        whole = journal.read_bytes().rpartition(b"\n")[0]
        came = [(record["kind"], record["key"]) for record in map(json.loads, whole.splitlines())]
        assert before <= set(came), "what was in is in"
        assert max(Counter(came).values(), default=1) == 1
        before = set(came)
    told = absence(*command, "--out", out, *RECOVER, "--json")
    assert told.exit_code == 10
    assert told.json["done"] == SEEDS
    seeds = sorted(int(key) for kind, key in records(out) if kind == "seed")
    assert seeds == list(range(SEEDS))
    undisturbed = absence(*command, "--out", tmp_path / "undisturbed", "--json")
    assert without_times(told.json) == without_times(undisturbed.json)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
