"""Rails are data: what is wrong with them is told at its place; a decision that held is reopened on what is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from closure.decision import Decision
from closure.rails import DEFAULT, load
from evidence.schemas import BOOKS
from tests.support.candidates import candidate, slower, small_on_call, with_row
from tests.support.command import Ran, SharedRuns, Told, absence
from tests.test_baseline import blockers, one_more_event, rails

REFUSED = with_row("anchor.refusals", n=1, at=1_780_358_400_001, head_seq=3, status=503)


@pytest.fixture(scope="session")
def base(runs: SharedRuns, shared: Path) -> Ran:
    return small_on_call(runs, shared)


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_shipped_rails_name_books_and_columns_that_there_are() -> None:
    model = load().model
    counted = {**model.unchanged, **model.must_not_grow}
    assert len(counted) == len(model.unchanged) + len(model.must_not_grow)
    for one in counted.values():
        if one.book is not None:
            assert {*one.where, *filter(None, (one.by, one.sum))} <= BOOKS[one.book].columns.keys()


def test_a_fact_is_counted_by_one_rail_only() -> None:
    """Otherwise one thing that changed would be two blockers."""
    model = load().model
    events, warned = model.unchanged["events"], model.must_not_grow["units_failed"]
    assert set(warned.only) <= set(events.except_)
    receipts, refused = model.unchanged["receipts"], model.must_not_grow["scores_refused"]
    assert not {*receipts.where["verdict"]} & {*refused.where["verdict"]}
    books = [one.book for one in model.unchanged.values() if one.book is not None]
    warned_of = [one.book for one in model.must_not_grow.values() if one.book is not None]
    assert {*books} & {*warned_of} == {"platform.ingestion_receipts"}


def test_everything_that_is_wrong_with_rails_is_told_at_its_place(base: Ran, tmp_path: Path) -> None:
    path = tmp_path / "rails.yaml"
    path.write_text(
        """\
name: mine
comparable: [scenery]
runtime: {slower_by_percent: -1, slower_by_s: 0.5, targets: [{lane: simulate}]}
unchanged:
  entries: {book: platform.entires, by: status}
  packs: {book: platform.settlement_packs, by: state}
  nothing: {}
must_not_grow:
  alerts: {book: monitoring.alerts, wher: {state: firing}}
  retries: {book: processor.deliveries, where: {attempt: {over: 1}}}
  retries: {log: true}
  sums: {book: platform.entries, sum: status, where: {created_at: {above: noon}}}
"""
    )
    told = absence("score", base.path, "--baseline", base.path, "--rails", path)
    assert told.exit_code == 20
    *said, incident = told.stderr.splitlines()
    assert incident.startswith("Incident: ")
    assert [line.removeprefix(f"{path}:") for line in said] == [
        "2:14: item 1: expected 'scenario', 'seed', 'days' or 'plan', got 'scenery' (did you mean scenario?)",
        "3:30: slower_by_percent: input should be greater than or equal to 0, got -1",
        "3:62: item 1: a target says at_most_s, reduced_by_percent or both",
        "5:19: there is no book platform.entires (did you mean platform.entries?)",
        "6:48: platform.settlement_packs has no column state (did you mean status?)",
        "7:12: nothing: expected exactly one of book, journal, plan, verdict, log",
        "9:37: unknown key wher (did you mean where?)",
        "10:58: expected a value, a list of values, {not: …} or {above: a whole number}",
        "11:3: retries: this key stands here a second time",
        "12:39: platform.entries has no sum of status: it holds no numbers",
        "12:67: expected a value, a list of values, {not: …} or {above: a whole number}",
    ]


@pytest.mark.parametrize(
    ("text", "place"), [("name: [", "1:8: this is not YAML"), ("", "1:1: the key name is missing")]
)
def test_what_is_no_rails_at_all_is_told(text: str, place: str, base: Ran, tmp_path: Path) -> None:
    path = tmp_path / "rails.yaml"
    path.write_text(text)
    told = absence("score", base.path, "--baseline", base.path, "--rails", path)
    assert (told.exit_code, place in told.stderr) == (20, True), told.stderr


def test_rails_without_a_section_hold_nobody_to_it(base: Ran, tmp_path: Path) -> None:
    path = tmp_path / "rails.yaml"
    path.write_text("name: verdicts_only\n")
    slow = candidate(base.path, tmp_path, slower("judge", 60), one_more_event, REFUSED)
    told = absence("score", slow, "--baseline", base.path, "--rails", path, "--json")
    assert told.exit_code == 0
    assert {figure["id"].split(".")[0] for figure in told.json["figures"]} == {"verdict"}


# --- bounded reruns --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def held(base: Ran, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The decision on a candidate with three blockers: a counter, a warning and a slow phase."""
    folder = tmp_path_factory.mktemp("held")
    bad = candidate(base.path, folder, one_more_event, REFUSED, slower("judge", 60))
    told = absence("score", bad, "--baseline", base.path, "--out", folder / "out")
    assert told.exit_code == 10
    return folder / "out" / "decision.json"


def reopened(held: Path, run: Path, base: Ran, *only: str, more: tuple[str | Path, ...] = ()) -> Told:
    options = [word for id in only for word in ("--only", id)]
    return absence("score", run, "--baseline", base.path, "--reopen", held, *options, "--json", *more)


def test_only_the_named_blockers_are_looked_at_and_the_others_stand(held: Path, base: Ran, tmp_path: Path) -> None:
    """The new candidate has every other blocker too, and one more: none of that is looked at."""
    better = candidate(base.path, tmp_path, one_more_event, slower("seal", 60))
    told = reopened(held, better, base, "must_not_grow.heads_refused")
    decision, before = Decision.from_json(told.stdout), Decision.from_json(held.read_text())
    assert (told.exit_code, decision.outcome.value) == (10, "HOLD_REOPEN")
    assert list(blockers(decision)) == ["runtime.judge", "unchanged.events"]
    assert list(decision.carried) == ["runtime.judge", "unchanged.events"]
    assert [one for one in before.blockers if one.id in decision.carried] == list(decision.blockers)
    figures = {figure.id: figure for figure in decision.figures}
    assert all(figures[one.id] == one for one in before.figures if "heads_refused" not in one.id)
    assert "must_not_grow.heads_refused.503" not in figures
    assert [run.path for run in decision.runs] == [str(better), before.runs[0].path]


def test_it_unlocks_once_nothing_stands_any_more(held: Path, base: Ran, tmp_path: Path) -> None:
    good = candidate(base.path, tmp_path)
    out = tmp_path / "first"
    told = reopened(held, good, base, "runtime.judge", "unchanged.events", more=("--out", out))
    assert (told.exit_code, told.json["outcome"], told.json["carried"]) == (
        10, "HOLD_REOPEN", ["must_not_grow.heads_refused"],
    )  # fmt: skip
    told = reopened(out / "decision.json", good, base, "must_not_grow.heads_refused")
    assert (told.exit_code, told.json["outcome"], told.json["blockers"]) == (0, "UNLOCK", [])


def test_a_named_blocker_that_is_still_there_is_told_with_its_new_figures(
    held: Path, base: Ran, tmp_path: Path
) -> None:
    still = candidate(base.path, tmp_path, one_more_event, one_more_event)
    told = reopened(held, still, base, "unchanged.events")
    assert "harness.noted 0 → 2" in blockers(Decision.from_json(told.stdout))["unchanged.events"]
    assert "unchanged.events" not in told.json["carried"]


def test_a_blocker_that_the_decision_does_not_have_is_refused(held: Path, base: Ran, tmp_path: Path) -> None:
    told = reopened(held, candidate(base.path, tmp_path), base, "unchanged.event", "verdict.nothing")
    assert told.exit_code == 20
    assert "unchanged.event is no blocker of" in told.stderr
    assert "(did you mean unchanged.events?)" in told.stderr
    assert "verdict.nothing is no blocker of" in told.stderr


def test_other_rails_another_baseline_or_an_open_decision_cannot_reopen(held: Path, base: Ran, tmp_path: Path) -> None:
    good = candidate(base.path, tmp_path)
    laxer = rails(tmp_path, ("slower_by_s: 0.5", "slower_by_s: 500.0"))
    assert "other rails" in reopened(held, good, base, more=("--rails", laxer)).stderr
    moved = candidate(base.path, tmp_path / "other", one_more_event)
    told = absence("score", good, "--baseline", moved, "--reopen", held)
    assert (told.exit_code, "another baseline" in told.stderr) == (20, True)
    unlocked = tmp_path / "unlocked.json"
    unlocked.write_text(json.dumps({**json.loads(held.read_text()), "outcome": "UNLOCK"}))
    told = reopened(unlocked, good, base)
    assert (told.exit_code, "says UNLOCK" in told.stderr) == (20, True)


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"version": 99}'])
def test_what_is_no_decision_cannot_be_reopened(content: Any, base: Ran, tmp_path: Path) -> None:
    path = tmp_path / "decision.json"
    path.write_text(content)
    told = reopened(path, candidate(base.path, tmp_path), base)
    assert (told.exit_code, "cannot be reopened" in told.stderr) == (20, True)


def test_only_without_a_decision_is_wrong_usage(base: Ran) -> None:
    told = absence("score", base.path, "--baseline", base.path, "--only", "runtime.judge")
    assert (told.exit_code, "--reopen" in told.stderr) == (2, True)


def test_what_a_blocker_explained_has_to_hold_once_it_is_gone(base: Ran, tmp_path: Path) -> None:
    """Duplicates only: the ratio was not listed beside it. A rerun that admits one score does not unlock by that."""
    from tests.support.tampering import Rows, edit_book

    def admits(one: int) -> Any:
        def edit(run: Path) -> None:
            def change(rows: Rows) -> None:
                for n, row in enumerate(rows):
                    row["verdict"] = "ADMIT" if n < one else "DUPLICATE"

            edit_book(run, "platform.ingestion_receipts", change)

        return edit

    receipts = "  receipts: {book: platform.ingestion_receipts, by: verdict,"
    assert receipts in DEFAULT.read_text()
    none, one = (candidate(base.path, tmp_path / str(n), admits(n)) for n in (0, 1))
    first = absence("score", none, "--baseline", base.path, "--out", tmp_path / "out")
    assert first.exit_code == 10
    told = reopened(tmp_path / "out" / "decision.json", one, base, "admission.duplicates_only")
    assert [one["id"] for one in told.json["blockers"] if one["id"] not in told.json["carried"]] == [
        "admission.ratio", "admission.rate", "unchanged.receipts",
    ]  # fmt: skip
