"""Two runs are held against each other: the first event that differs is found exactly, and what it came to is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from absence import cli_diff
from absence.telling_difference import text
from assertions.model import Status
from campaigns import journals
from campaigns.divergence import diverge
from campaigns.journals import first_said_otherwise, first_split
from campaigns.neighbours import NoNeighbour, candidates, nearest_passing
from campaigns.plan_changes import plan_changes
from campaigns.swarm import plan_of
from evidence import journal
from evidence.journal import JournalWriter
from evidence.plan import Plan
from scenarios import ScenarioInvalid, load, make_plan
from simulator.operations import NONE
from tests.support.command import Ran, SharedRuns, absence, held, scenario_with
from tests.support.tampering import edit_book, edit_journal, edit_verdict, reseal

Event = dict[str, Any]


@pytest.fixture
def copy(small_run: Ran, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run.path, tmp_path / "copy"))


@pytest.fixture(scope="module")
def failing(runs: SharedRuns, shared: Path) -> Ran:
    """A run with a fault that the platform gets over, and a violation that it cannot."""
    folder = shared / "failing"
    folder.mkdir(exist_ok=True)
    with held(folder / "lock"):
        return runs(scenario_with(folder, "webhooks.duplicate", "violations.row_edited"))


def written(path: Path, events: list[Event]) -> Path:
    """A journal of these events, chained as it should be."""
    with path.open("wb") as stream:
        writer = JournalWriter(stream)
        for event in events:
            writer.append(**event)
    return path


# --- the first event -------------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=12) | st.sampled_from(['a","prev":"b', ',"hash":"', "é", "\n"])
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.integers(0, 99),
            "actor": TEXTS,
            "kind": TEXTS,
            "subject": TEXTS,
            "cause": st.none() | st.just("e1"),
            "data": st.dictionaries(TEXTS, st.integers(0, 9) | TEXTS, max_size=3),
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(EVENTS, st.data(), st.sampled_from([1, 7, 64, 1 << 20]))
def test_an_event_that_was_changed_and_chained_anew_is_found_exactly(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], data: st.DataObject, block_bytes: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    number = data.draw(st.integers(1, len(events)))
    field, value = data.draw(
        st.sampled_from([("at", 100), ("actor", "nobody at all"), ("subject", "nothing at all"), ("data", {"x": -1})])
    )
    changed = [dict(event) for event in events]
    changed[number - 1][field] = value
    ours, theirs = written(folder / "ours.jsonl", events), written(folder / "theirs.jsonl", changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "BLOCK_BYTES", block_bytes)
        for split in (first_split(ours, theirs), first_said_otherwise(ours, theirs)):
            assert split is not None
            assert split.number == number
            assert split.ours is not None
            assert split.ours["id"] == f"e{number}"
            assert all(name.split(".")[0] == field for name in split.fields)
            assert split.fields
        assert first_split(ours, ours) is None
        assert first_said_otherwise(ours, ours) is None


@settings(max_examples=50, deadline=None, derandomize=True)
@given(EVENTS, st.data(), st.sampled_from([1, 64, 1 << 20]))
def test_where_one_journal_ends_is_where_they_part(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], data: st.DataObject, block_bytes: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    kept = data.draw(st.integers(0, len(events) - 1))
    whole, cut = written(folder / "whole.jsonl", events), written(folder / "cut.jsonl", events[:kept])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "BLOCK_BYTES", block_bytes)
        for find in (first_split, first_said_otherwise):
            split = find(whole, cut)
            assert split is not None
            assert (split.number, split.theirs) == (kept + 1, None)
            assert split.ours is not None


def test_a_difference_before_hashes_that_agree_is_found_too(copy: Path, small_run: Ran) -> None:
    """Nobody verified this chain: who bisected over its hashes would call the two journals the same."""
    path = copy / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[96] = lines[96].replace('"actor":"', '"actor":"not ', 1)
    path.write_text("".join(lines))
    told = absence("diff", small_run.path, copy, "--json")
    assert told.exit_code == 10
    assert (told.json["event"]["id"], told.json["event"]["fields"]) == ("e97", ["actor"])


def test_what_led_to_an_event_is_told_back_to_the_beginning(copy: Path, small_run: Ran) -> None:
    events = list(journal.read(small_run.path / "journal.jsonl"))
    chain, cause = [], events[400].cause
    while cause is not None:
        chain.append(cause)
        cause = events[int(cause[1:]) - 1].cause
    assert len(chain) > 2
    edit_journal(copy, lambda rows: rows[400].update(at=rows[400]["at"] + 1_000))
    told = absence("diff", small_run.path, copy, "--json").json["event"]
    assert told["id"] == "e401"
    assert told["fields"] == ["at"]
    assert [event["id"] for event in told["led_there"]["a"]] == chain
    assert [event["id"] for event in told["led_there"]["b"]] == chain


# --- whole runs ------------------------------------------------------------------------------------------------------


def test_a_run_is_the_same_as_itself(small_run: Ran) -> None:
    told = absence("diff", small_run.path, small_run.path)
    assert told.exit_code == 0
    assert told.stdout.startswith("= They are the same.")
    assert absence("diff", small_run.path, small_run.path, "--json").json == {
        "same": True, "same_code": True, "event": None, "plan": [], "promises": [], "books": [],
    }  # fmt: skip


def test_a_plan_with_a_fault_more_parts_where_the_fault_bites(runs: SharedRuns, tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path, "webhooks.duplicate")
    faulty = runs(scenario)
    calm = runs(scenario, "--no-faults")
    told = absence("diff", calm.path, faulty.path, "--json")
    assert told.exit_code == 10
    [bite] = faulty.rows("injector.bites")
    bitten = next(event for event in faulty.evidence.journal() if event.kind == "fault.bit")
    assert told.json["event"]["id"] == bitten.id
    assert told.json["event"]["b"]["at"] == bite.at
    [change] = told.json["plan"]
    assert (change["how"], change["place"]) == ("added", f"faults.{faulty.evidence.plan.faults[0].id}")
    first = next(change for change in told.json["books"] if change["book"] == "injector.bites")
    assert (first["only_in"], first["rows"], first["key"]) == ("theirs", [0, 1], [["n", 1]])
    ats = [change["at"] for change in told.json["books"]]
    assert ats == sorted(ats, key=lambda at: (at is None, at))
    assert bite.at == ats[0]
    assert len(ats) > 2
    text = absence("diff", calm.path, faulty.path).stdout
    assert text.startswith(f"≠ They part at event {bitten.id}, day ")
    assert "  + faults.webhooks.duplicate#1  webhook/deliver on " in text


def test_only_a_book_that_differs_is_named_with_its_row_and_column(copy: Path, small_run: Ran) -> None:
    edit_book(copy, "processor.transfers", lambda rows: rows[1].update(amount_cents=1))
    reseal(copy)
    told = absence("diff", small_run.path, copy, "--json")
    assert told.exit_code == 10
    [change] = told.json["books"]
    transfers = small_run.rows("processor.transfers")
    assert change["key"] == [["transfer_id", transfers[1].transfer_id]]
    assert change["columns"] == [["amount_cents", transfers[1].amount_cents, 1]]
    assert told.json["event"] is None
    assert absence("diff", small_run.path, copy).stdout.startswith("≠ Every event is the same; books differ.")


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_book_that_is_not_what_was_sealed_is_no_match_for_its_manifest(
    damage: str, copy: Path, small_run: Ran
) -> None:
    if damage == "changed":
        edit_book(copy, "processor.transfers", lambda rows: rows[1].update(amount_cents=1))
    else:
        (copy / "books" / "processor.transfers.parquet").unlink()
    for told in (absence("diff", small_run.path, copy), absence("diff", copy, small_run.path)):
        assert (told.exit_code, told.stdout) == (30, "")
        assert told.errors[0].startswith(f"{copy / 'books' / 'processor.transfers.parquet'}: ")


def test_a_book_in_the_place_of_another_is_damage_and_no_agreement(runs: SharedRuns, tmp_path: Path) -> None:
    one, other = (Path(shutil.copytree(runs("small", "--seed", seed).path, tmp_path / seed)) for seed in "12")
    shutil.copy(one / "books" / "platform.transfers.parquet", other / "books" / "platform.transfers.parquet")
    told = absence("diff", one, other)
    assert told.exit_code == 30
    assert str(other / "books" / "platform.transfers.parquet") in told.stderr


def test_a_seed_at_which_the_scenario_makes_no_plan_is_passed_over(failing: Ran) -> None:
    def planned(seed: int) -> Plan:
        if seed == 3:
            raise ScenarioInvalid([])
        return plan.model_copy(update={"seed": seed})

    plan = failing.evidence.plan.model_copy(update={"faults": []})
    assert [candidate.plan.seed for candidate in candidates(plan, [], planned)][:3] == [2, 4, 5]


def test_in_colours_it_says_the_same(small_run: Ran, failing: Ran) -> None:
    found, sides = diverge(small_run.path, failing.path), (small_run.evidence, failing.evidence)
    plain, coloured = (text(found, sides, ("[bold]one", "[/]other"), markup) for markup in (False, True))
    assert [Text.from_markup(line).plain for line in coloured] == plain
    assert plain != coloured
    assert max(map(len, plain)) <= 260


def test_what_is_no_run_is_refused(small_run: Ran, tmp_path: Path) -> None:
    assert absence("diff", small_run.path, tmp_path).exit_code == 20
    assert absence("diff", small_run.path).exit_code == 2
    (tmp_path / "plan.json").write_text("{}")
    assert absence("diff", tmp_path, small_run.path).exit_code == 20


def test_a_change_of_a_plan_is_told_by_its_field(small_run: Ran) -> None:
    plan = small_run.evidence.plan
    values = json.loads(plan.canonical())
    values["contests"][0]["fee_cents"] += 1
    gone = values["entries"].pop(0)
    values["operations"] = not plan.operations
    told = [(change.how, change.place) for change in plan_changes(plan, Plan.model_validate(values))]
    assert sorted(told) == sorted([
        ("changed", "operations"),
        ("changed", f"contests.{plan.contests[0].id}.fee_cents"),
        ("removed", f"entries.{gone['user_id']}/{gone['contest_id']}"),
    ])  # fmt: skip
    assert plan_changes(plan, plan) == []


# --- the nearest that passes ----------------------------------------------------------------------------------------


def test_the_neighbour_of_a_failing_run_is_the_plan_without_the_fault_that_breaks_it(
    failing: Ran,
) -> None:
    assert failing.exit_code == 10
    told = absence("diff", failing.path, "--neighbour", "--json")
    assert told.exit_code == 10
    assert told.json["neighbour"] == "without violations.row_edited#1"
    assert told.json["tried"] == []  # it was at work when the first promise broke, so it is the first to be left out
    broken = {result.id for result in failing.verdict.results if result.status is Status.FAIL}
    assert {turn["assertion"] for turn in told.json["promises"] if turn["now"] == "FAIL"} == broken
    assert [change["place"] for change in told.json["plan"]] == ["faults.violations.row_edited#1"]


def test_a_run_that_passes_needs_no_neighbour(small_run: Ran) -> None:
    told = absence("diff", small_run.path, "--neighbour")
    assert told.exit_code == 2
    assert "passes" in told.stderr


def test_the_plan_without_a_suspect_comes_first_then_all_the_others_then_the_next_seeds(
    failing: Ran,
) -> None:
    plan = failing.evidence.plan
    one, other = (fault.id for fault in plan.faults)
    seeds = list(candidates(plan, [other], lambda seed: plan.model_copy(update={"seed": seed})))
    hows = [candidate.how for candidate in seeds]
    assert hows[:4] == [f"without {other}", f"without {one}", "without any fault", "with seed 2"]
    assert [[fault.id for fault in candidate.plan.faults] for candidate in seeds[:3]] == [[one], [other], []]
    assert [candidate.plan.seed for candidate in seeds[3:]] == list(range(2, 22))


def test_the_next_seeds_are_those_of_the_scenario_as_long_as_it_is_what_it_was(small_run: Ran) -> None:
    plan = small_run.evidence.plan
    seeds = cli_diff._seeds(plan)
    assert seeds is not None
    assert seeds(2).canonical() == make_plan(load("small"), 2).canonical()
    assert cli_diff._seeds(plan.model_copy(update={"scenario_sha256": "0" * 64})) is None
    assert cli_diff._seeds(plan.model_copy(update={"scenario": "nobody's"})) is None


def test_the_next_seeds_of_a_plan_of_a_sweep_are_plans_of_a_sweep() -> None:
    seeds = cli_diff._seeds(plan_of(load("default"), 3, swarm=True).plan)
    assert seeds is not None
    assert seeds(4).canonical() == plan_of(load("default"), 4, swarm=True).plan.canonical()


def test_a_plan_that_the_scenario_does_not_make_alone_has_no_next_seeds(runs: SharedRuns, tmp_path: Path) -> None:
    made = runs("small", "--field", "2")
    fails = Path(shutil.copytree(made.path, tmp_path / "fails"))
    edit_verdict(fails, lambda verdict: verdict.update(status="FAIL"))
    told = absence("diff", fails, "--neighbour")
    assert told.exit_code == 12
    assert told.stdout.startswith("Nothing could be tried: the plan has no faults, and no shipped scenario makes it")
    default = load("default")
    for other in (default.with_faults(()), default.with_faults(["webhooks.lost"])):
        assert cli_diff._seeds(make_plan(other, 1)) is None
    assert cli_diff._seeds(make_plan(default, 1, days=30)) is None


def test_a_search_ends_with_its_seconds_and_says_that_they_were_the_reason(failing: Ran) -> None:
    tries = candidates(failing.evidence.plan, [], None)
    with pytest.raises(NoNeighbour) as none, nearest_passing(tries, NONE, 0, lambda *_: None, "0" * 64):
        pass
    assert none.value.out_of_time


def test_a_search_that_finds_none_says_how_each_ended(failing: Ran) -> None:
    plan = failing.evidence.plan
    tries = (candidate for candidate in candidates(plan, [], None) if candidate.how == "without webhooks.duplicate#1")
    with pytest.raises(NoNeighbour) as none, nearest_passing(tries, NONE, 60, lambda *_: None, "0" * 64):
        pass
    assert none.value.tried == (("without webhooks.duplicate#1", "FAIL"),)
    assert not none.value.out_of_time
