"""A sweep small enough for tests: a contest of eight, some seeds of which have a founder log in, and so fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from campaigns.executors import Done, Take
from campaigns.seeds import NOTHING, Line, as_bits, assertion_ids
from campaigns.sweep_book import JOURNAL, Sheet

TINY = """
name: tiny
title: A contest of eight
calendar: {starts: 2026-06-02, days: 6, recovery_h: 60}
owner_capital_usd: 5000
entrants: {pool: 12}
tournaments:
  - {id: t1, name: The Tiny Open, starts_day: 2, golfers: 12}
contests:
  - id: tiny
    tournament: t1
    name: Tiny
    fee_cents: 1000
    entries: 8
    min_entries: 2
    max_entries: 8
    rake_bp: 1000
    prizes: {shares_bp: [6000, 4000]}
    scoring: {kind: strokes, roster_size: 4, counting: 3, missed_round_penalty: 1}
faults:
  - {fault: webhooks.duplicate}
  - {fault: timeouts.transfer_answer_lost}
  - {fault: webhooks.lost}
"""
FAILING = TINY.replace("name: tiny\ntitle", "name: failing\ntitle") + "  - {fault: violations.founder_login}\n"
_RECORDED = TINY.replace("golfers: 12", "feed: FEED")
RECORDED = _RECORDED.replace("roster_size: 4", "roster_size: 2").replace("counting: 3", "counting: 1")


def written(folder: Path, text: str, name: str = "tiny.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def sheet(last: int = 20, **changed: Any) -> Sheet:
    values = {
        "scenario": "tiny", "scenario_sha256": "s", "first": 0, "last": last, "swarm": True, "again_every": 5,
        "canary": "canary.first_prize_cut_off", "corpus": "", "code": "c",
        "first_plan": "p", "operations": "o",
    }  # fmt: skip
    return Sheet(**{**values, **changed})


def line(**changed: Any) -> Line:
    return {**NOTHING, "status": "PASS", "digest": "d", "ms": 2, "cpu_ms": 1, **changed}


class AtOnce:
    """An executor that answers in this process: with the line that `lines` has for a seed, or one that passes; with
    None as often as `dies` says."""

    workers = 1

    def __init__(self, lines: dict[str, Line] | None = None, dies: dict[str, int] | None = None) -> None:
        self.lines, self.dies = lines or {}, dict(dies or {})
        self.asked: list[tuple[str, str]] = []

    def run(self, take: Take) -> Iterator[Done]:
        while (task := take("here")) is not None:
            self.asked.append((task.kind, task.key))
            if self.dies.get(task.key, 0):
                self.dies[task.key] -= 1
                yield Done(task, None, "here")
            else:
                asked = as_bits(assertion_ids()) if task.kind == "past" else "0"
                found = self.lines.get(task.key, line(digest=f"d{task.key}", exercised=asked))
                yield Done(task, found, "here")

    def close(self) -> None:
        pass


def records(root: Path) -> list[tuple[str, str]]:
    """What the journal holds, as (kind, key)."""
    told = [json.loads(raw) for raw in (root / JOURNAL).read_bytes().splitlines()]
    return [(record["kind"], record["key"]) for record in told]


def without_times(told: dict[str, Any]) -> dict[str, Any]:
    """A result without what depends on the wall clock and on where it stands."""
    groups = [{k: v for k, v in group.items() if k not in ("replay", "command")} for group in told["failures"]]
    return {**{k: v for k, v in told.items() if k not in ("rate", "report")}, "failures": groups}
