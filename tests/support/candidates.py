"""Candidates that are really another run: a copy of a run directory, altered and sealed again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence.layout import LOG
from evidence.schemas import BOOKS
from tests.support.command import ROOT, Ran, SharedRuns
from tests.support.tampering import Rows, edit_book, reseal


def small_on_call(runs: SharedRuns, shared: Path) -> Ran:
    """The small scenario with somebody on call, so that alert rules and runbooks are in force."""
    scenario = shared / "small_on_call.yaml"
    text = (ROOT / "scenarios" / "small.yaml").read_text()
    if not scenario.exists():
        scenario.write_text(text.replace("name: small", "name: small_on_call\noperations: true", 1))
    return runs(scenario)


def candidate(of: Path, into: Path, *edits: Callable[[Path], None]) -> Path:
    """A copy of the run `of` under `into`, as `edits` leave it, and whole."""
    copy = into / "candidate"
    shutil.copytree(of, copy)
    for edit in edits:
        edit(copy)
    reseal(copy)
    return copy


def with_row(book: str, **values: Any) -> Callable[[Path], None]:
    """One more row; what is not given is null."""

    def edit(run: Path) -> None:
        def append(rows: Rows) -> None:
            rows.append({**dict.fromkeys(BOOKS[book].columns), **values})

        edit_book(run, book, append)

    return edit


def with_log(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Every line of log.jsonl as `change` leaves it."""

    def edit(run: Path) -> None:
        lines = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
        for line in lines:
            change(line)
        (run / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))

    return edit


def slower(phase: str, seconds: float, lane: str = "") -> Callable[[Path], None]:
    """A phase, or one lane of it, that took so much longer by both clocks."""

    def change(line: dict[str, Any]) -> None:
        if line["phase"] == phase and line["stage"] == ("lane" if lane else "end") and line.get("lane", "") == lane:
            line["seconds"] += seconds
            if "cpu_s" in line:
                line["cpu_s"] += seconds

    return with_log(change)


def without(file: str, begin: str, end: str) -> Callable[[Path], None]:
    """A document without what stands from `begin` up to `end`."""

    def edit(run: Path) -> None:
        text = (run / file).read_text()
        start = text.index(begin)
        (run / file).write_text(text[:start] + text[text.index(end, start) :])

    return edit


def replaced(file: str, old: str, new: str) -> Callable[[Path], None]:
    """A document in which the first `old` is `new`."""

    def edit(run: Path) -> None:
        text = (run / file).read_text()
        assert old in text
        (run / file).write_text(text.replace(old, new, 1))

    return edit
