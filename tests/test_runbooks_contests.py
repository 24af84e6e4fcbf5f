"""The runbooks of contests and their settlement, each carried out on a platform in the state that it is for."""

from __future__ import annotations

import json

import pytest

from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.services.contests import ContestsService
from contest_platform.services.settlement import SettlementService
from operations.runbooks import Output
from tests.support.contest_world import LOCK_AT, STROKES
from tests.support.runbook_world import CARDS, RunbookWorld
from tests.support.tried import LOST, REFUSED, Tried, handed_on, healed, tables

WINNERS = {"ann": 1_350, "bob": 810, "cyd": 540}


def statuses(world: RunbookWorld) -> dict[str, str]:
    return {row["contest_id"]: row["status"] for row in world.rows("select contest_id, status from contests")}


# --- contest_lock_failed ----------------------------------------------------------------------------------------------

LOCK = "contest_lock_failed"


def unlocked(*contests: str) -> RunbookWorld:
    """The lock time of contests has passed for a quarter of an hour, and the daemon that locks them is down."""
    world = RunbookWorld()
    for contest_id in contests:
        world.offer(contest_id)
    world.offer("later", lock_at=LOCK_AT + HOUR_MS, start_at=LOCK_AT + HOUR_MS)
    world.runtime.at = LOCK_AT + 15 * MINUTE_MS
    return world


def test_every_contest_whose_lock_time_has_passed_is_locked_and_no_other() -> None:
    world = unlocked("c1", "c2")
    control = healed(LOCK, Tried(world))
    assert statuses(world) == {"c1": "LOCKED", "c2": "LOCKED", "later": "SCHEDULED"}
    assert control.steps.count("Recovery/1") == 2
    locks = [row for row in world.audited("contests.update") if '"LOCKED"' in row["after"]]
    assert [(row["subject"], row["actor"]) for row in locks] == [("contests/c1", "ops:kim"), ("contests/c2", "ops:kim")]


def test_a_contest_that_was_locked_in_the_meantime_is_only_verified() -> None:
    world = unlocked("c1")
    world.work(world.life(ContestsService))
    assert healed(LOCK, Tried(world)).steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_a_contest_that_the_platform_locks_and_takes_further_while_one_looks_is_left_alone() -> None:
    world = unlocked("c1")

    def meanwhile() -> None:
        world.field(*CARDS)
        world.work(world.life(ContestsService))

    control = healed(LOCK, Tried(world, meanwhile={"Recovery/1": meanwhile}))
    assert statuses(world)["c1"] == "LIVE"
    assert "Recovery/2" in control.steps


def test_a_lock_whose_answer_is_lost_is_looked_at_and_not_made_twice() -> None:
    world = unlocked("c1")
    control = healed(LOCK, Tried(world, lost=["Recovery/1"]))
    assert control.steps.count("Recovery/1") == 1
    assert statuses(world)["c1"] == "LOCKED"


@pytest.mark.parametrize(("answer", "at"), [(REFUSED, "Recovery/1"), (LOST, "Recovery/2")])
def test_a_lock_that_is_not_made_is_handed_on_with_everything_as_it_was(answer: Output, at: str) -> None:
    world = unlocked("c1")
    before = tables(world)
    outcome = handed_on(LOCK, Tried(world, refused={"Recovery/1": answer}), at)
    assert tables(world) == before
    assert outcome.escalation is not None
    assert outcome.escalation.affected_contests == ("c1",)


# --- settlement_failed_mid_run ----------------------------------------------------------------------------------------

FAILED = "settlement_failed_mid_run"


def given_up(*more: str) -> RunbookWorld:
    """The daemon has given c1 (and `more`) up, for the rules of the contest were none that can be applied."""
    world = RunbookWorld()
    world.entered()
    for contest_id in more:
        world.offer(contest_id)
        for user, golfer in (("dan", "g1"), ("eve", "g2")):
            world.enter(user, golfer, contest_id)
    world.play()
    broken = json.dumps({**STROKES, "kind": "matchplay"})
    world.connection.execute("update contests set scoring = ?", (broken,))
    world.work(world.life(SettlementService))
    assert set(statuses(world).values()) == {"ERROR"}
    world.runtime.at += 7 * MINUTE_MS
    return world


def mended(world: RunbookWorld) -> RunbookWorld:
    """The configuration is as it should be; nobody has told the daemon."""
    world.connection.execute("update contests set scoring = ?", (json.dumps(STROKES),))
    return world


def daemons(world: RunbookWorld) -> list[object]:
    return [*world.ingestion(), *world.settlement()]


def test_a_settlement_that_failed_is_run_again_and_settles_each_entry_once() -> None:
    world = mended(given_up())
    control = healed(FAILED, Tried(world, daemons(world)))  # type: ignore[arg-type]
    assert statuses(world) == {"c1": "SETTLED"}
    assert {user: world.prize_payable(user) for user in WINNERS} == WINNERS
    runs = world.rows("select status from settlement_audit order by started_at")
    assert [run["status"] for run in runs] == ["FAILED", "SUCCEEDED"]
    assert world.provider.polls >= 1
    assert control.steps[-2:] == ["Verification/1", "Verification/2"]


def test_every_contest_that_failed_is_settled() -> None:
    world = mended(given_up("c2"))
    control = healed(FAILED, Tried(world, daemons(world)))  # type: ignore[arg-type]
    assert statuses(world) == {"c1": "SETTLED", "c2": "SETTLED"}
    assert control.steps.count("Recovery/4") == 2


def test_a_contest_that_was_settled_in_the_meantime_is_only_verified() -> None:
    world = mended(given_up())
    healed(FAILED, Tried(world, daemons(world)))  # type: ignore[arg-type]
    assert healed(FAILED, Tried(world)).steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_a_rerun_whose_answer_is_lost_is_waited_for() -> None:
    world = mended(given_up())
    control = healed(FAILED, Tried(world, daemons(world), lost=["Recovery/4"]))  # type: ignore[arg-type]
    assert control.steps.count("Recovery/4") == 1
    assert statuses(world) == {"c1": "SETTLED"}


def test_a_settlement_that_fails_again_is_handed_on_with_no_money_moved() -> None:
    world = given_up()
    money = world.balances()
    outcome = handed_on(FAILED, Tried(world, daemons(world)), "Recovery/5")  # type: ignore[arg-type]
    assert statuses(world) == {"c1": "ERROR"}
    assert world.balances() == money
    assert outcome.escalation is not None
    assert "matchplay" in str(outcome.escalation.package()["diagnostics"])


def test_money_left_in_escrow_is_handed_on_without_another_run() -> None:
    world = given_up()
    detail = '{"code":"settlement_impossible","detail":"every pack is terminal, and 5 cents are left in escrow"}'
    world.connection.execute("drop trigger if exists settlement_audit_refuses_update")
    world.connection.execute("update settlement_audit set error_json = ?", (detail,))
    before = tables(world)
    handed_on(FAILED, Tried(world, daemons(world)), "Diagnosis/2")  # type: ignore[arg-type]
    assert {**tables(world), "leases": 0, "daemon_health": 0} == {**before, "leases": 0, "daemon_health": 0}


def test_a_rerun_that_is_refused_leaves_the_contest_as_it_was() -> None:
    world = given_up()
    outcome = handed_on(FAILED, Tried(world, daemons(world), refused={"Recovery/4": REFUSED}), "Recovery/4")  # type: ignore[arg-type]
    assert statuses(world) == {"c1": "ERROR"}
    assert outcome.escalation is not None
    assert outcome.escalation.state_before == outcome.escalation.state_after


# --- contest_in_error -------------------------------------------------------------------------------------------------

IN_ERROR = "contest_in_error"


def test_a_contest_that_was_left_in_error_is_settled_once_and_no_other_is_touched() -> None:
    world = mended(given_up("c2"))
    world.runtime.at += 2 * HOUR_MS
    healed(IN_ERROR, Tried(world, daemons(world)), contest_id="c1")  # type: ignore[arg-type]
    assert statuses(world) == {"c1": "SETTLED", "c2": "ERROR"}
    assert {user: world.prize_payable(user) for user in WINNERS} == WINNERS


def test_a_contest_that_is_not_in_error_any_more_is_only_verified() -> None:
    world = mended(given_up())
    healed(FAILED, Tried(world, daemons(world)))  # type: ignore[arg-type]
    control = healed(IN_ERROR, Tried(world), contest_id="c1")
    assert control.steps == ["Diagnosis/1", "Verification/1", "Verification/2", "Verification/3"]


def test_a_contest_in_error_for_another_reason_or_again_is_handed_on() -> None:
    world = given_up()
    money = world.balances()
    handed_on(IN_ERROR, Tried(world, daemons(world)), "Recovery/5", contest_id="c1")  # type: ignore[arg-type]
    assert (statuses(world), world.balances()) == ({"c1": "ERROR"}, money)
    world.connection.execute("update contests set error_code = 'something_else'")
    before = tables(world)
    handed_on(IN_ERROR, Tried(world), "Diagnosis/1", contest_id="c1")
    assert tables(world) == before


@pytest.mark.parametrize(("name", "other"), [(FAILED, IN_ERROR), (IN_ERROR, FAILED)])
def test_what_the_other_runbook_has_settled_while_this_one_waited_is_settled_once(name: str, other: str) -> None:
    world = mended(given_up())

    def meanwhile() -> None:
        healed(other, Tried(world, daemons(world)), contest_id="c1")  # type: ignore[arg-type]

    control = Tried(world, daemons(world), meanwhile={"Recovery/4": meanwhile})  # type: ignore[arg-type]
    healed(name, control, contest_id="c1")
    assert [record.matched for record in control.records if record.sent.startswith("opsctl settlement rerun")] == [
        "branch 2"
    ]
    assert statuses(world) == {"c1": "SETTLED"}
    assert {user: world.prize_payable(user) for user in WINNERS} == WINNERS
    runs = world.rows("select status from settlement_audit order by started_at")
    assert [run["status"] for run in runs] == ["FAILED", "SUCCEEDED"]


def test_a_settlement_that_somebody_else_has_asked_for_is_waited_for() -> None:
    world = mended(given_up())
    world.connection.execute("update contests set status = 'COMPLETE', error_code = null")
    control = healed(FAILED, Tried(world, daemons(world)))  # type: ignore[arg-type]
    assert set(control.steps) == {"Diagnosis/1", "Verification/1", "Verification/2"}
    assert "not yet" in {record.matched for record in control.records if record.section == "Verification"}
    assert statuses(world) == {"c1": "SETTLED"}


def test_a_rerun_of_a_contest_in_error_that_is_refused_leaves_it_so() -> None:
    world = given_up()
    control = Tried(world, daemons(world), refused={"Recovery/4": REFUSED})  # type: ignore[arg-type]
    handed_on(IN_ERROR, control, "Recovery/4", contest_id="c1")
    assert statuses(world) == {"c1": "ERROR"}
