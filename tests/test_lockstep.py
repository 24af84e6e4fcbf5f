"""Two processes in lockstep: a leak of what must not matter is found at the very event, or book, in which it shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from absence.telling_difference import out_of_step
from campaigns import lockstep as stepping
from campaigns.lockstep import SideFailed, Stepped, lockstep
from defects import catalogue
from defects.leaks import LEAKS, OF_BOOKS
from defects.model import Defect, Edit
from defects.planting import as_patch, planted
from tests.support.command import Ran, absence

START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from absence.main import main; main()"
FIRST_SHOWS_IN: dict[str, Callable[[Ran], int]] = {
    "leaks.set_order": lambda ran: audited(ran, "field.ingest"),
    "leaks.wall_clock": lambda ran: audited(ran, "contests.update", status="LOCKED"),
    "leaks.global_random": lambda ran: audited(ran, "transfers.insert"),
    "leaks.identity": lambda ran: audited(ran, "users.insert"),
    "leaks.thread": lambda ran: audited(ran, "settlement_audit.insert"),
}
"""The audit row, of a run without the leak, that is the first to hold the leaked value: by what the edit writes to."""


def audited(ran: Ran, action: str, **after: str) -> int:
    """The number of the first audit row with this action that leaves these values."""
    return next(
        int(row.seq)
        for row in ran.rows("platform.audit_log", action=action)
        if after.items() <= json.loads(row.after or "{}").items()
    )


def event_with(ran: Ran, seq: int) -> str:
    """The first event of the journal that states a hash of the audit trail with row `seq` in it."""
    return next(event.id for event in ran.evidence.journal() if event.data.get("audit_seq", 0) >= seq)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: str(leak.id))
def test_a_leak_is_located_at_the_first_event_that_it_reaches(leak: Defect, small_run: Ran) -> None:
    expected = event_with(small_run, FIRST_SHOWS_IN[leak.id](small_run))
    with planted(leak) as tree:
        stepped = lockstep("small", 1, tree)
    assert not stepped.in_step
    assert stepped.split is not None
    assert f"e{stepped.split.number}" == expected
    assert stepped.events == stepped.split.number - 1
    assert stepped.split.fields == ["data.audit_hash"]
    assert stepped.split.ours is not None
    assert stepped.split.theirs is not None
    assert stepped.split.ours["id"] == stepped.split.theirs["id"] == expected
    assert [led[0]["id"] for led in stepped.led_there] == [stepped.split.ours["cause"]] * 2


@pytest.mark.parametrize("leak", OF_BOOKS, ids=lambda leak: str(leak.id))
def test_a_leak_that_no_event_speaks_of_is_found_in_its_book(leak: Defect, small_run: Ran) -> None:
    first = min(row.n for row in small_run.rows("processor.requests") if row.request_hash is not None)
    with planted(leak) as tree:
        stepped = lockstep("small", 1, tree)
    assert not stepped.in_step
    assert stepped.split is None
    [change] = stepped.books
    assert (change.book, change.key) == ("processor.requests", (("n", first),))
    assert [name for name, _, _ in change.columns] == ["request_hash"]


def test_every_kind_of_leak_is_planted_and_none_is_a_defect_of_the_catalogue() -> None:
    assert {leak.id for leak in LEAKS} == set(FIRST_SHOWS_IN)
    assert not {leak.id for leak in (*LEAKS, *OF_BOOKS)} & set(catalogue())
    assert all(as_patch(leak) for leak in (*LEAKS, *OF_BOOKS))  # none is stale


def test_the_platform_as_it_is_keeps_in_step(small_run: Ran) -> None:
    told = absence("lockstep", "small", "--json")
    assert told.exit_code == 0
    events = len((small_run.path / "journal.jsonl").read_bytes().splitlines())
    foreign = stepping.installed_locale()
    assert told.json == {"in_step": True, "events": events, "locale": foreign, "event": None, "plan": [], "books": []}


def test_the_second_process_has_another_zone_and_a_locale_that_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []
    start = stepping._start

    def remember(*arguments: Any) -> stepping._Side:
        given.append(arguments[4])
        return start(*arguments)

    monkeypatch.setattr(stepping, "_start", remember)
    monkeypatch.setattr(stepping, "LOCALES", ("xx_XX.UTF-8", "C.UTF-8"))
    stepped = lockstep("small", 7)
    assert (stepped.in_step, stepped.plan.seed, stepped.locale) == (True, 7, "C.UTF-8")
    assert [environment["LC_ALL"] for environment in given] == ["C", "C.UTF-8"]
    assert [environment["TZ"] for environment in given] == ["UTC", "Pacific/Kiritimati"]
    monkeypatch.setattr(stepping, "LOCALES", ("xx_XX.UTF-8",))
    assert stepping.installed_locale() is None


@pytest.mark.parametrize(("foreign", "lines"), [("de_DE.UTF-8", 1), (None, 2)])
def test_it_says_so_where_both_have_one_locale(foreign: str | None, lines: int, small_run: Ran) -> None:
    told = out_of_step(Stepped(small_run.evidence.plan, 3, None, ((), ()), (), (), foreign), markup=False)
    assert told[0] == "= In step: 3 events and every book agree."
    assert len(told) == lines
    assert all("none that writes 1,5 for 1.5 is installed here" in line for line in told[1:])


def test_a_command_out_of_step_ends_in_30_and_says_where(tmp_path: Path) -> None:
    """The command runs the tree that it stands in: here one with a leak."""
    leak = next(leak for leak in LEAKS if leak.id == "leaks.identity")
    with planted(leak) as tree:
        command = [sys.executable, "-c", START, str(tree), "lockstep", "small"]
        told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 30
    [incident] = (tmp_path / "runs" / "incidents").iterdir()
    assert "two processes that ran one plan part at event e30" in incident.read_text()
    first, *rest = told.stdout.splitlines()
    assert first.startswith("≠ Out of step at event e30, after 29 events that agree.")
    assert "     data.audit_hash" in "\n".join(rest)


def test_a_leak_of_the_zone_is_found() -> None:
    services = "contest_platform/services/contests.py"
    leak = Defect(
        "leaks.zone", "The hour as the machine's zone has it.",
        (
            Edit(services, "from dataclasses import dataclass\n", "import time\nfrom dataclasses import dataclass\n"),
            Edit(services, '"lock time has come"', 'f"lock time has come: {time.localtime(0).tm_hour}"'),
        ),
        (),
    )  # fmt: skip
    with planted(leak) as tree:
        assert not lockstep("small", 1, tree).in_step


def test_a_side_that_dies_is_no_difference() -> None:
    crash = Defect(
        "leaks.none",
        "It does not even start.",
        (Edit("simulator/run.py", "DAY_MS = 86_400_000\n", "raise SystemError('not today')\n"),),
        (),
    )
    with planted(crash) as tree, pytest.raises(SideFailed, match="SystemError: not today"):
        lockstep("small", 1, tree)


def test_a_side_that_is_killed_in_the_middle_of_a_line_is_no_difference(tmp_path: Path) -> None:
    (tmp_path / "errors").write_text("out of memory\n")
    sides = []
    for script in ("print('one'); print('two')", "import os; os.write(1, b'one\\ntw'); os.abort()"):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        sides.append(stepping._Side(process, process.stdout, tmp_path / "errors", tmp_path))
    with (tmp_path / "agreed").open("wb") as kept, pytest.raises(SideFailed, match="out of memory"):
        stepping._compare((sides[0], sides[1]), kept, lambda _: None)
    for side in sides:
        side.process.wait()
        side.lines.close()


def test_what_cannot_be_planned_is_refused_as_everywhere(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("nothing: of the kind\n")
    for scenario in ("nosuch", tmp_path / "bad.yaml"):
        told = absence("lockstep", str(scenario))
        assert (told.exit_code, told.stdout) == (20, "")
        assert "Traceback" not in told.stderr


def test_neither_side_outlives_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = stepping._start

    def remember(*arguments: object) -> stepping._Side:
        started.append(start(*arguments))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(stepping, "_start", remember)
    leak = next(leak for leak in LEAKS if leak.id == "leaks.identity")
    with planted(leak) as tree:
        lockstep("small", 1, tree)
    assert [side.process.poll() is not None for side in started] == [True, True]
    assert -9 in [side.process.returncode for side in started]  # the events after the first that differs were not run
