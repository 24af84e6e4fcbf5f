"""The anomaly guard: what it ends a run for, when, and what is made of a run that was ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from absence import pipeline
from absence.exit_codes import ExitCode
from assertions.halted import STANDS
from assertions.judge import discover
from assertions.model import REGISTRY, Status
from evidence.halts import HALTED, Halt, halt_of
from evidence.verify import verify
from scenarios import load, make_plan
from simulator import guard
from simulator.guard import HOUR_MS, WEEK_MS, Guard, Sight
from simulator.operations import NONE
from tests.support import alone, postgresql
from tests.support.admin_world import STEP, AdminWorld
from tests.support.command import Ran, SharedRuns, absence, run_into, scenario_with
from tests.support.onlooking import Halter, Tamperer

OPTION = "--halt-on-anomaly"


def halt(ran: Ran | alone.Run) -> Halt:
    found = ran.evidence.halt
    assert found is not None
    return found


# --- a run in which nothing is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["small", "default", "operated"])
def test_a_run_in_which_the_guard_sees_nothing_is_the_run_without_it(scenario: str, runs: SharedRuns) -> None:
    without, guarded = runs(scenario), runs(scenario, OPTION)
    assert (without.exit_code, guarded.exit_code) == (0, 0)
    for name in ("journal.jsonl", "verdict.json", "snapshots.jsonl"):
        assert (without.path / name).read_bytes() == (guarded.path / name).read_bytes()
    assert without.evidence.manifest.identity == guarded.evidence.manifest.identity
    assert guarded.evidence.halt is None


# --- by hand, through the command -------------------------------------------------------------------------------------

BY_HAND = {
    "violations.row_edited, params: {table: ledger_postings}": "ledger_out_of_balance",
    "violations.row_deleted, params: {table: ledger_postings}": "ledger_out_of_balance",
    "violations.row_edited, params: {table: audit_log}": "audit_chain_broken",
    "violations.row_deleted, params: {table: audit_log}": "audit_chain_broken",
    "violations.audit_tail_cut": "audit_chain_broken",
}


@pytest.mark.parametrize("violation", BY_HAND)
def test_a_run_is_halted_at_the_instant_of_the_hand_in_its_database(violation: str, tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path, violation)
    without = run_into(tmp_path / "without", scenario)
    assert (without.exit_code, without.evidence.halt) == (ExitCode.BUSINESS_REJECT, None)

    ran = run_into(tmp_path / "guarded", scenario, OPTION)
    assert ran.exit_code == ExitCode.ANOMALY_HALT
    [bite] = ran.rows("injector.bites")
    assert halt(ran).at == bite.at
    assert [anomaly for anomaly, _ in halt(ran).saw] == [BY_HAND[violation]]
    assert [event.kind for event in ran.evidence.journal()][-2:] == [HALTED, "run.ended"]
    assert verify(ran.path) == []
    assert absence("replay", ran.path).exit_code == 0
    assert ran.verdict.status is Status.FAIL
    broken = {result.id for result in ran.verdict.results if result.broken}
    assert "absence.database_sessions" in broken
    assert broken <= STANDS


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("edited")
    scenario = scenario_with(folder, "violations.row_edited, params: {table: ledger_postings}")
    return run_into(folder / "out", scenario, OPTION)


def test_the_first_screen_says_that_the_run_was_halted_and_why(edited: Ran) -> None:
    why = halt(edited).sentence()
    assert why.startswith("ledger transaction ")
    first = edited.stdout.splitlines()[0]
    assert first.startswith("✕ FAIL  Halted by the anomaly guard on day ")
    assert why in first
    for name in ("report.md", "report.html", "postmortem.md"):
        assert "Halted by the anomaly guard on day" in (edited.path / name).read_text(), name
        assert why in (edited.path / name).read_text(), name


def test_what_the_rest_would_have_exercised_is_said_to_be_missing_because_of_the_halt(edited: Ran) -> None:
    first = edited.verdict.not_exercised[0]
    assert first.assertion == "guard"
    assert first.what.endswith(halt(edited).sentence())
    unsure = [result for result in edited.verdict.results if result.status is Status.INCONCLUSIVE]
    assert "ledger.reconciles_with_processor" in {result.id for result in unsure}
    assert all("the run was halted at" in result.missing[-1] for result in unsure)


def test_machines_are_told_of_the_halt(tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path, "violations.audit_tail_cut")
    told = absence("run", scenario, OPTION, "--out", tmp_path / "out", "--json")
    assert told.exit_code == told.json["exit_code"] == 60
    [[anomaly, [sentence]]] = told.json["halted"]["saw"].items()
    assert (anomaly, "is gone or another one" in sentence) == ("audit_chain_broken", True)
    again = absence("report", told.json["run_dir"])
    assert again.exit_code == ExitCode.BUSINESS_REJECT
    assert "Halted by the anomaly guard" in again.stdout


def test_a_halted_run_is_the_same_on_the_other_store(edited: Ran) -> None:
    told = absence("replay", edited.path, "--store", postgresql.url(), "--json")
    assert (told.exit_code, told.json["reproduced"]) == (0, True)


# --- a contest in ERROR -----------------------------------------------------------------------------------------------

IN_ERROR = "database.page_damaged, params: {step: settlement.open, occurrence: 1, times: 1}"
WRITTEN_FOR_IT = ("runbooks/contest_in_error.md", "runbooks/settlement_failed_mid_run.md")


def with_ops(tmp_path: Path) -> Path:
    scenario = scenario_with(tmp_path, IN_ERROR)
    scenario.write_text(f"operations: true\n{scenario.read_text()}")
    return scenario


def test_a_contest_in_error_for_which_no_runbook_is_written_halts_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fewer(documents: dict[str, bytes]) -> dict[str, bytes]:
        return {path: content for path, content in documents.items() if path not in WRITTEN_FOR_IT}

    monkeypatch.setattr(pipeline, "operations_of", lambda _: operations)
    operations = alone.changed(fewer)
    scenario = with_ops(tmp_path)
    assert run_into(tmp_path / "without", scenario).exit_code == ExitCode.BUSINESS_REJECT

    ran = run_into(tmp_path / "guarded", scenario, OPTION)
    assert ran.exit_code == ExitCode.ANOMALY_HALT
    [failed] = ran.rows("platform.settlement_audit", status="FAILED")
    assert halt(ran).at == failed.finished_at
    assert halt(ran).saw == ((
        "contest_in_error",
        ("contest short-strokes is in ERROR (settlement_impossible), and no runbook is there for it",),
    ),)  # fmt: skip
    assert ran.verdict.status is Status.FAIL
    assert ran.verdict.first_broken is not None
    assert ran.verdict.first_broken.assertion == "lifecycle.states_in_order"
    assert absence("replay", ran.path).exit_code == 0


def test_a_contest_in_error_for_which_a_runbook_is_written_halts_nothing(tmp_path: Path) -> None:
    scenario = with_ops(tmp_path)
    assert run_into(tmp_path / "guarded", scenario, OPTION).exit_code == 0


def test_somebody_who_executes_a_runbook_on_the_contest_is_waited_for() -> None:
    world = AdminWorld()
    world.offer()

    def seen() -> list[str]:
        return list(guard._contest_in_error(Sight(world.connection, NONE, "", False)))

    assert seen() == []
    world.connection.execute("update contests set status = 'ERROR', error_code = 'x' where contest_id = 'c1'")
    assert seen() == ["contest c1 is in ERROR (x), and no runbook is there for it"]
    execution_id = world.start()
    assert len(seen()) == 1
    step = {**STEP, "execution_id": execution_id, "sent": "opsctl contests show c1"}
    assert world.call("POST", "runbooks/steps", step).status == 200
    assert seen() == []
    end = {"execution_id": execution_id, "status": "failed", "error_reason": "no good"}
    assert world.call("POST", "runbooks/complete", end).status == 200
    assert len(seen()) == 1


# --- without a trace --------------------------------------------------------------------------------------------------

AT_HOURS = 200.5
NEXT_HOUR, NEXT_WEEK = 201 * HOUR_MS, 2 * WEEK_MS
UNSEEN: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    "a posting of long ago": (
        "ledger_postings", ("update ledger_postings set amount_cents = amount_cents + 1 where txn_id = 3 and n = 1",),
        NEXT_HOUR, "ledger transaction 3 is out of balance by 1 cents",
    ),
    "two postings that make up for each other": (
        "ledger_postings", ("update ledger_postings set amount_cents = amount_cents + 1 where txn_id = 3 and n = 1",
                            "update ledger_postings set amount_cents = amount_cents - 1 where txn_id = 4 and n = 1"),
        NEXT_WEEK, "ledger transaction 4 is out of balance by -1 cents",
    ),
    "the last audit row": (
        "audit_log", ("delete from audit_log where seq = (select max(seq) from audit_log)",), NEXT_HOUR,
        "is gone or another one",
    ),
    "an audit row of long ago": (
        "audit_log", ("update audit_log set actor = 'system:nobody' where seq = 9",), NEXT_WEEK,
        "audit row 9 is not what was hashed",
    ),
    "an audit row of long ago, gone": (
        "audit_log", ("delete from audit_log where seq = 9",), NEXT_WEEK, "audit row 9 is missing",
    ),
    "an audit row that nobody hashed": (
        "audit_log",
        ("insert into audit_log select seq + 1, at, actor, action, subject, before, after, reason, correlation, cause,"
         " hash, 'none' from audit_log where seq = (select max(seq) from audit_log)",),
        NEXT_HOUR, "is not what was hashed",
    ),
    "an audit row that follows another": (
        "audit_log",
        ("insert into audit_log select seq + 1, at, actor, action, subject, before, after, reason, correlation, cause,"
         " prev_hash, hash || '!' from audit_log where seq = (select max(seq) from audit_log)",),
        NEXT_HOUR, "does not carry the hash of the row before it",
    ),
}  # fmt: skip
"""What is altered, when it is seen at the latest (after the start), and how it is told."""


@pytest.mark.parametrize("what", UNSEEN)
def test_what_nobody_was_told_of_is_seen_within_the_hour_or_the_week(what: str, tmp_path: Path) -> None:
    table, statements, within_ms, said = UNSEEN[what]
    plan = make_plan(load("small"), 1)
    tamperer = Tamperer(plan.starts_at + int(AT_HOURS * HOUR_MS), table, *statements)
    ran = alone.simulated(plan, tmp_path, onlookers=[tamperer, Guard(plan.starts_at, NONE)])
    assert tamperer.changed == len(statements)
    assert plan.starts_at + AT_HOURS * HOUR_MS < halt(ran).at <= plan.starts_at + within_ms
    assert said in halt(ran).sentence()
    assert ran.status == "FAIL"


def test_many_of_a_kind_are_told_in_a_few_sentences(tmp_path: Path) -> None:
    plan = make_plan(load("small"), 1)
    all_of_them = "update ledger_postings set amount_cents = amount_cents + 1 where n = 1"
    tamperer = Tamperer(plan.starts_at + int(AT_HOURS * HOUR_MS), "ledger_postings", all_of_them)
    ran = alone.simulated(plan, tmp_path, onlookers=[tamperer, Guard(plan.starts_at, NONE)])
    [(_, said)] = halt(ran).saw
    assert len(said) == guard.SAID_MAX + 1
    assert said[-1] == f"and {tamperer.changed - guard.SAID_MAX} more"


# --- the judgement of a halted run ------------------------------------------------------------------------------------

HALTS = [
    ("small", 30), ("small", 84), ("small", 171), ("customers", 59.9), ("customers", 120), ("webhooks", 90),
    ("webhooks", 250), ("iteration06", 200.1), ("operations_payouts", 216), ("chaos_lab", 99),
    ("operations_contests", 300),  # a step has acted and is not yet on record
]  # fmt: skip


@pytest.mark.parametrize(("scenario", "hours"), HALTS)
def test_a_run_in_which_nothing_is_wrong_has_broken_no_promise_wherever_it_is_halted(
    scenario: str, hours: float, tmp_path: Path
) -> None:
    plan = make_plan(load(scenario), 1)
    halter = Halter(plan.starts_at + int(hours * HOUR_MS))
    ran = alone.simulated(plan, tmp_path, onlookers=[halter])
    assert ran.broken() == {}
    assert ran.status == "INCONCLUSIVE"
    assert ran.verdict.not_exercised[0].what.endswith(": nothing at all")


def test_a_contest_that_could_not_end_for_the_halt_is_not_exercised(tmp_path: Path) -> None:
    plan = make_plan(load("small"), 1)
    ran = alone.simulated(plan, tmp_path, onlookers=[Halter(plan.contests[0].start_at)])
    ends = next(result for result in ran.verdict.results if result.id == "lifecycle.every_contest_ends")
    assert (ends.status, ends.broken) == (Status.INCONCLUSIVE, ())
    assert ends.missing == ("the run was halted at 2026-06-04 12:00:00 UTC, before its time",)


def test_a_halted_run_proves_nothing_even_if_every_promise_was_kept_by_then(tmp_path: Path) -> None:
    plan = make_plan(load("small"), 1)
    ran = alone.simulated(plan, tmp_path, onlookers=[Halter(plan.recovery_until_at - HOUR_MS)])
    judged = {result.status for result in ran.verdict.results}
    assert ran.status == "INCONCLUSIVE"
    assert Status.FAIL not in judged


def test_every_assertion_that_stands_exists() -> None:
    discover()
    assert REGISTRY.keys() >= STANDS


def test_a_journal_that_only_quotes_the_word_is_of_no_halted_run(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    lines: list[dict[str, Any]] = [{"kind": "commit", "subject": HALTED, "at": 1, "data": {}}]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines) + HALTED + "\n")
    assert halt_of(journal) is None
