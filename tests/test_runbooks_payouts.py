"""The runbooks of payouts, each carried out on a platform in the state that it is for."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from contest_platform import ledger
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import Transfer, Tx
from contest_platform.services import webhooks
from contest_platform.services.contests import ContestsService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.settlement import SettlementService
from tests.support import contest_world
from tests.support.admin_world import AdminWorld
from tests.support.contest_world import CTX, Crash
from tests.support.tried import REFUSED, Tried, all_of, handed_on, healed, runbook, tables

CARDS = {"g1": (4, 3, 5), "g2": (4, 4, 5), "g3": (5, 4, 5)}
PRIZES = {"ann": 1_350, "bob": 810, "cyd": 540}


def settled() -> AdminWorld:
    """c1 is settled: ann, bob and cyd are owed their prizes, and nothing has been sent yet."""
    world = AdminWorld()
    world.offer()
    for user, golfer in (("ann", "g1"), ("bob", "g2"), ("cyd", "g3")):
        world.enter(user, golfer)
    world.played(world.life(ContestsService), CARDS)
    world.full_poll()
    world.work(world.life(SettlementService))
    return world


def paid_out(*script: str) -> AdminWorld:
    """The transfers of c1 have been sent once, to ann, bob and cyd in turn, and met with what `script` says."""
    world = settled()
    world.processor.script = list(script)
    world.work(world.life(PayoutsService))
    return world


def tried(world: AdminWorld, *more: object, **how: object) -> Tried:
    """With the scheduler of payouts at work."""
    return Tried(world, all_of(world.life(PayoutsService), *more), **how)  # type: ignore[arg-type]


def statuses(world: AdminWorld) -> dict[str, str]:
    return {row["user_id"]: row["status"] for row in world.rows("select user_id, status from transfers")}


def received(world: AdminWorld) -> dict[str, list[int]]:
    """Winner -> every amount that the processor sent him."""
    found: dict[str, list[int]] = {}
    for made in world.processor.transfers:
        found.setdefault(made.metadata["user_id"], []).append(made.amount_cents)
    return found


def take_back(world: AdminWorld, user: str) -> None:
    """The processor tells that it has reversed the transfer to `user`."""
    row = world.row("transfers", user_id=user)
    metadata = {"transfer_id": row["transfer_id"]}
    sent = {"id": row["processor_transfer_id"], "amount": row["amount_cents"], "metadata": metadata}
    sent["amount_reversed"] = row["amount_cents"]
    event = webhooks.Event(f"evt_{user}", "transfer.reversed", world.runtime.at, sent)
    world.write(lambda tx: webhooks.record(tx, event, delivered=True))


def assert_all_paid_once(world: AdminWorld) -> None:
    assert set(statuses(world).values()) == {"PAID"}
    assert received(world) == {user: [cents] for user, cents in PRIZES.items()}
    assert [world.prize_payable(user) for user in PRIZES] == [0, 0, 0]


# --- payout_transfer_stuck_in_retryable -------------------------------------------------------------------------------

STUCK = "payout_transfer_stuck_in_retryable"


def test_transfers_that_are_stuck_are_sent_again_and_paid_once() -> None:
    world = paid_out("lost_after", "500_not_done")
    control = healed(STUCK, tried(world), contest_id="c1")
    assert "Recovery/1" in control.steps
    assert_all_paid_once(world)


def test_transfers_that_are_stuck_while_the_processor_is_down_wait_for_it() -> None:
    world = paid_out("refused", "lost_before")
    world.processor.script = ["refused"] * 8
    control = healed(STUCK, tried(world), contest_id="c1")
    assert control.steps.count("Recovery/2") >= 1
    assert_all_paid_once(world)


def test_a_transfer_that_waits_for_money_is_not_asked_for_again_and_again() -> None:
    world = paid_out("insufficient")
    world.processor.script = ["insufficient"] * 20
    control = healed(STUCK, tried(world), contest_id="c1")
    assert "Recovery/1" not in control.steps
    assert "Recovery/3" in control.steps
    assert_all_paid_once(world)


def test_what_the_scheduler_has_healed_in_the_meantime_is_only_verified() -> None:
    world = paid_out("refused")
    world.runtime.at += HOUR_MS
    world.work(world.life(PayoutsService))
    assert healed(STUCK, tried(world), contest_id="c1").steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


@pytest.mark.parametrize("ends", ["paid", "closed"])
def test_a_transfer_that_ends_between_looking_and_acting_is_left_alone(ends: str) -> None:
    world = paid_out("refused")

    def meanwhile() -> None:
        world.processor.script = ["closed"] if ends == "closed" else []
        world.runtime.at += HOUR_MS
        world.work(world.life(PayoutsService))

    control = healed(STUCK, Tried(world, meanwhile={"Recovery/1": meanwhile}), contest_id="c1")
    assert control.steps[2:4] == ["Recovery/1", "Recovery/4"]
    assert statuses(world)["ann"] == {"paid": "PAID", "closed": "FAILED_TERMINAL"}[ends]


@pytest.mark.parametrize(
    ("met_with", "step"), [("refused", "Diagnosis/2"), ("refused", "Recovery/2"), ("insufficient", "Recovery/3")]
)
def test_a_transfer_that_is_paid_and_taken_back_is_not_waited_for_any_longer(met_with: str, step: str) -> None:
    world = paid_out(met_with)

    def meanwhile() -> None:
        world.runtime.at += HOUR_MS
        world.work(world.life(PayoutsService))
        assert statuses(world)["ann"] == "PAID"
        take_back(world, "ann")

    control = healed(STUCK, Tried(world, meanwhile={step: meanwhile}), contest_id="c1")
    assert control.steps.count(step) == 1
    assert statuses(world) == {"ann": "REVERSED", "bob": "PAID", "cyd": "PAID"}
    assert received(world) == {user: [cents] for user, cents in PRIZES.items()}


def test_a_transfer_that_nobody_gets_through_is_handed_on_as_it_was() -> None:
    world = paid_out("refused")
    before = tables(world)
    outcome = handed_on(STUCK, Tried(world, refused={"Recovery/1": REFUSED}), "Recovery/1", contest_id="c1")
    assert tables(world) == before
    assert outcome.escalation is not None
    assert outcome.escalation.affected_contests == ("c1",)
    handed_on(STUCK, Tried(world), "Recovery/2", contest_id="c1")
    assert statuses(world) == {"ann": "RETRYABLE", "bob": "PAID", "cyd": "PAID"}


def test_an_answer_that_is_lost_has_the_transfer_looked_at_before_it_is_asked_for_again() -> None:
    world = paid_out("refused")
    control = healed(STUCK, tried(world, lost=["Recovery/1"]), contest_id="c1")
    assert control.steps[:4] == ["Diagnosis/1", "Diagnosis/2", "Recovery/1", "Diagnosis/2"]
    assert_all_paid_once(world)


# --- transfers that have ended badly ----------------------------------------------------------------------------------


def refused_for_good(code: str) -> AdminWorld:
    """The transfers to ann and bob are refused for good."""
    world = settled()
    world.processor.script = ["refused_for_good", "refused_for_good"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(contest_world._ERRORS, "refused_for_good", (400, "invalid_request_error", code))
        world.work(world.life(PayoutsService))
    return world


def left() -> AdminWorld:
    """ann and bob have deleted their accounts before they were paid."""
    world = settled()
    world.connection.execute("update users set deleted_at = 1 where user_id in ('ann', 'bob')")
    world.work(world.life(PayoutsService))
    return world


def taken_back() -> AdminWorld:
    """The processor has reversed the transfers to ann and bob."""
    world = paid_out()
    for user in ("ann", "bob"):
        take_back(world, user)
    return world


ENDED_BADLY: dict[str, tuple[Callable[[], AdminWorld], str]] = {
    "payout_destination_invalid": (lambda: refused_for_good("account_closed"), "account_closed"),
    "payout_transfer_failed": (lambda: refused_for_good("resource_missing"), "resource_missing"),
    "user_deleted_after_settlement": (left, "user_deleted"),
    "payout_transfer_reversed": (taken_back, ""),
}


def resolved(world: AdminWorld) -> list[str]:
    rows = world.rows(
        "select user_id from transfers where exists (select 1 from checkpoints where name = 'payouts.resolved:'"
        " || transfer_id) order by user_id"
    )
    return [row["user_id"] for row in rows]


@pytest.mark.parametrize("name", ENDED_BADLY)
def test_each_transfer_that_ended_badly_is_looked_into_and_its_prize_stays_owed(name: str) -> None:
    make, reason = ENDED_BADLY[name]
    world = make()
    sent = received(world)
    labels = {"contest_id": "c1", "reason": reason}
    before = world.rows("select * from transfers")
    control = healed(name, tried(world), **labels)
    assert control.steps.count("Recovery/1") == 2
    assert resolved(world) == ["ann", "bob"]
    assert world.rows("select * from transfers") == before
    assert [world.prize_payable(user) for user in PRIZES] == [1_350, 810, 0]
    assert received(world) == sent
    again = healed(name, tried(world), **labels)
    assert again.steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


@pytest.mark.parametrize("name", ENDED_BADLY)
@pytest.mark.parametrize("step", ["Diagnosis/2", "Recovery/1", "Recovery/2"])
def test_what_cannot_be_looked_into_is_as_it_was_before(name: str, step: str) -> None:
    make, reason = ENDED_BADLY[name]
    world = make()
    before = tables(world)
    handed_on(name, tried(world, refused={step: REFUSED}), step, contest_id="c1", reason=reason)
    assert tables(world) == before


@pytest.mark.parametrize("name", ENDED_BADLY)
def test_a_note_whose_answer_is_lost_is_not_made_twice(name: str) -> None:
    make, reason = ENDED_BADLY[name]
    world = make()
    healed(name, tried(world, lost=["Recovery/1"]), contest_id="c1", reason=reason)
    assert resolved(world) == ["ann", "bob"]
    assert len(world.audited("transfers.resolve")) == 2


def test_a_prize_that_is_owed_no_more_is_not_resolved_by_a_note() -> None:
    world = refused_for_good("account_closed")

    def forget(tx: Tx) -> None:
        owed = ledger.prize_payable("c1", "ann")
        ledger.move(tx, CTX, "test", "gone", debit=owed, credit=ledger.AVAILABLE, cents=1, reason="forgotten")

    world.write(forget)
    handed_on("payout_destination_invalid", tried(world), "Recovery/1", contest_id="c1", reason="account_closed")
    assert resolved(world) == []


def test_a_transfer_given_up_although_the_processor_has_it_is_handed_on() -> None:
    world = refused_for_good("account_closed")
    world.connection.execute("update transfers set processor_transfer_id = 'tr_7' where user_id = 'ann'")
    handed_on("payout_destination_invalid", tried(world), "Diagnosis/2", contest_id="c1", reason="account_closed")


# --- payout_partial_batch ---------------------------------------------------------------------------------------------

PARTIAL = "payout_partial_batch"


def test_what_is_left_of_a_batch_is_sent_and_what_is_paid_is_not_touched() -> None:
    world = paid_out("ok", "429", "lost_after")
    before = world.row("transfers", user_id="ann")
    control = healed(PARTIAL, tried(world), contest_id="c1")
    assert "Recovery/1" in control.steps
    assert_all_paid_once(world)
    assert world.status() == "PAID_OUT"
    assert world.row("transfers", user_id="ann") == before


def test_a_batch_whose_sender_died_is_taken_up_by_the_next_one() -> None:
    world = settled()
    world.processor.script = ["ok", "crash_after"]
    with pytest.raises(Crash):
        world.work(world.life(PayoutsService))
    assert statuses(world) == {"ann": "PAID", "bob": "SUBMITTED", "cyd": "PENDING"}
    healed(PARTIAL, tried(world), contest_id="c1")
    assert_all_paid_once(world)


def test_a_batch_of_which_one_has_failed_for_good_is_complete() -> None:
    world = paid_out("closed", "refused")
    healed(PARTIAL, tried(world), contest_id="c1")
    assert statuses(world) == {"ann": "FAILED_TERMINAL", "bob": "PAID", "cyd": "PAID"}
    assert healed(PARTIAL, tried(world), contest_id="c1").steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


@pytest.mark.parametrize("step", ["Diagnosis/3", "Recovery/1", "Recovery/2"])
def test_a_batch_that_cannot_be_completed_is_as_it_was_before(step: str) -> None:
    world = paid_out("ok", "refused", "refused")
    before = statuses(world)
    handed_on(PARTIAL, Tried(world, refused={step: REFUSED}), step, contest_id="c1")
    assert statuses(world) == before
    assert received(world) == {"ann": [1_350]}


# --- payout_not_triggered ---------------------------------------------------------------------------------------------

NOT_TRIGGERED = "payout_not_triggered"


def test_a_payout_that_did_not_begin_is_begun() -> None:
    world = settled()
    notified = world.signals.seen("payouts")
    control = healed(NOT_TRIGGERED, tried(world), contest_id="c1")
    assert_all_paid_once(world)
    assert control.steps[0] == "Diagnosis/1"
    world = settled()
    asleep = Tried(world, meanwhile={"Recovery/2": lambda: world.work(world.life(PayoutsService))})
    assert healed(NOT_TRIGGERED, asleep, contest_id="c1").steps[3:5] == ["Recovery/1", "Recovery/2"]
    assert world.signals.seen("payouts") == notified + 1, "the scheduler was woken"
    assert_all_paid_once(world)


def test_a_contest_that_nobody_has_won_is_paid_out_without_a_transfer() -> None:
    world = AdminWorld()
    world.offer("c2")
    world.connection.execute("update contests set status = 'SETTLED', settled_at = 1 where contest_id = 'c2'")
    asleep = Tried(world, meanwhile={"Recovery/2": lambda: world.work(world.life(PayoutsService))})
    assert "Recovery/2" in healed(NOT_TRIGGERED, asleep, contest_id="c2").steps
    assert world.status("c2") == "PAID_OUT"


def test_a_payout_that_has_begun_in_the_meantime_is_only_verified() -> None:
    world = paid_out("refused")
    steps = healed(NOT_TRIGGERED, tried(world), contest_id="c1").steps
    assert steps == ["Diagnosis/1", "Diagnosis/2", "Verification/1", "Verification/2"]


@pytest.mark.parametrize("lost", [(), ("Recovery/3",)])
def test_a_scheduler_that_lives_and_begins_nothing_is_restarted_and_begins(lost: tuple[str, ...]) -> None:
    world = settled()
    control = Tried(world, lost=lost)
    world.hosts.on_restart = lambda: setattr(control, "jobs", all_of(world.life(PayoutsService)))
    steps = healed(NOT_TRIGGERED, control, contest_id="c1").steps
    assert list(dict.fromkeys(steps))[3:7] == [f"Recovery/{n}" for n in (1, 2, 3, 4)]
    assert_all_paid_once(world)


@pytest.mark.parametrize("step", ["Recovery/1", "Recovery/3", "Recovery/4", "Diagnosis/3"])
def test_a_payout_that_cannot_be_begun_is_handed_on_and_nothing_has_changed(step: str) -> None:
    world = settled()
    before = tables(world)
    refused = {} if step == "Recovery/4" else {step: REFUSED}
    handed_on(NOT_TRIGGERED, Tried(world, refused=refused), step, contest_id="c1")
    assert tables(world) == before


# --- payout_idempotency_conflict --------------------------------------------------------------------------------------

CONFLICT = "payout_idempotency_conflict"


def in_conflict() -> AdminWorld:
    """The processor has kept ann's key for another request."""
    world = settled()
    world.write(world.life(PayoutsService)._open)
    take_key(world, "ann")
    world.work(world.life(PayoutsService))
    assert world.row("transfers", user_id="ann")["reason"] == "idempotency_error"
    return world


def take_key(world: AdminWorld, user_id: str) -> None:
    key = world.row("transfers", user_id=user_id)["idempotency_key"]
    other = {"amount_cents": 1, "destination": "acct_other", "transfer_group": "c0", "metadata": {"user_id": "x"}}
    world.run(world.processor.create_transfer(idempotency_key=key, **other))


def searched(world: AdminWorld, *script: str) -> None:
    """From the first search of the processor's books on, its next answers are these."""
    listed = world.processor.list_transfers

    async def listing(*, transfer_group: str) -> list[Transfer]:
        world.processor.script = list(script)
        return await listed(transfer_group=transfer_group)

    world.processor.list_transfers = listing  # type: ignore[method-assign]


def test_a_conflict_is_waited_out_until_the_search_proves_that_nothing_was_sent() -> None:
    world = in_conflict()
    ours = len(world.processor.transfers)
    control = healed(CONFLICT, tried(world), contest_id="c1")
    assert "Recovery/1" in control.steps
    assert set(statuses(world).values()) == {"PAID"}
    assert [made.amount_cents for made in world.processor.transfers[ours:]] == [1_350]
    assert world.prize_payable("ann") == 0
    assert healed(CONFLICT, tried(world), contest_id="c1").steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_a_conflict_with_a_transfer_that_was_made_ends_with_that_one() -> None:
    world = settled()
    world.write(world.life(PayoutsService)._open)
    row = world.row("transfers", user_id="ann")
    names = {name: row[name] for name in ("contest_id", "entry_id", "transfer_id", "user_id")}
    made = {"amount_cents": 1_350, "destination": "acct_before", "transfer_group": "c1", "metadata": names}
    world.run(world.processor.create_transfer(idempotency_key=row["idempotency_key"], **made))
    world.work(world.life(PayoutsService))
    healed(CONFLICT, tried(world), contest_id="c1")
    assert received(world)["ann"] == [1_350]
    assert world.row("transfers", user_id="ann")["processor_transfer_id"] == "tr_1"


def test_a_conflict_that_does_not_end_is_handed_on_as_it_was() -> None:
    world = in_conflict()
    before = tables(world)
    handed_on(CONFLICT, Tried(world), "Recovery/1", contest_id="c1")
    assert tables(world) == before


def test_a_conflict_that_ends_in_a_transfer_that_is_taken_back_is_no_conflict_any_more() -> None:
    world = in_conflict()

    def meanwhile() -> None:
        while statuses(world)["ann"] != "PAID":
            world.runtime.at += HOUR_MS
            world.work(world.life(PayoutsService))
        take_back(world, "ann")

    control = healed(CONFLICT, Tried(world, meanwhile={"Recovery/1": meanwhile}), contest_id="c1")
    assert control.steps[2:4] == ["Recovery/1", "Recovery/2"]
    assert statuses(world)["ann"] == "REVERSED"


def test_a_conflict_that_ends_in_a_refusal_is_no_conflict_any_more() -> None:
    world = in_conflict()
    searched(world, "closed")
    steps = healed(CONFLICT, tried(world), contest_id="c1").steps
    assert steps[2:4] == ["Recovery/1", "Recovery/2"]
    assert statuses(world)["ann"] == "FAILED_TERMINAL"


def test_every_conflict_of_a_contest_is_waited_out_one_after_the_other() -> None:
    world = settled()
    world.write(world.life(PayoutsService)._open)
    take_key(world, "ann")
    world.processor.script = ["ok", "insufficient"]
    world.work(world.life(PayoutsService))
    # bob has a new key for it, which is younger than ann's.
    take_key(world, "bob")
    world.runtime.at += 2 * HOUR_MS
    world.work(world.life(PayoutsService))
    assert [row["reason"] for row in world.rows("select reason from transfers order by user_id")] == [
        "idempotency_error", "idempotency_error", None,
    ]  # fmt: skip
    steps = healed(CONFLICT, tried(world), contest_id="c1").steps
    assert steps.count("Recovery/1") == 2
    assert set(statuses(world).values()) == {"PAID"}
    assert {user: received(world)[user] for user in ("ann", "bob")} == {"ann": [1_350], "bob": [810]}


def test_a_conflict_that_ends_while_it_is_looked_at_is_only_verified() -> None:
    world = in_conflict()

    def meanwhile() -> None:
        world.runtime.at += 24 * HOUR_MS
        world.work(world.life(PayoutsService))

    steps = healed(CONFLICT, Tried(world, meanwhile={"Diagnosis/2": meanwhile}), contest_id="c1").steps
    assert steps == ["Diagnosis/1", "Diagnosis/2", "Diagnosis/1", "Verification/1", "Verification/2"]


# --- what happens between two steps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [[], ["closed"]])
def test_a_transfer_that_ends_before_it_is_looked_at_is_not_asked_for(script: list[str]) -> None:
    world = paid_out("refused")

    def meanwhile() -> None:
        world.processor.script = list(script)
        world.runtime.at += HOUR_MS
        world.work(world.life(PayoutsService))

    steps = healed(STUCK, Tried(world, meanwhile={"Diagnosis/2": meanwhile}), contest_id="c1").steps
    assert steps == ["Diagnosis/1", "Diagnosis/2", "Diagnosis/1", "Verification/1", "Verification/2"]


@pytest.mark.parametrize("first", ["refused", "insufficient"])
def test_a_transfer_that_is_refused_for_good_while_it_is_waited_for_is_no_longer_stuck(first: str) -> None:
    world = paid_out(first)
    world.processor.script = [first, "closed"]
    steps = healed(STUCK, tried(world), contest_id="c1").steps
    assert steps[-4:-2] == ["Recovery/2" if first == "refused" else "Recovery/3", "Recovery/4"]
    assert statuses(world)["ann"] == "FAILED_TERMINAL"


def under_way(world: AdminWorld) -> None:
    """The sender of the next attempt dies with it."""
    world.runtime.at += HOUR_MS
    world.processor.script = ["crash_after"]
    with pytest.raises(Crash):
        world.work(world.life(PayoutsService))


def test_an_attempt_under_way_is_waited_for() -> None:
    world = paid_out("refused")
    steps = healed(STUCK, tried(world, meanwhile={"Recovery/1": lambda: under_way(world)}), contest_id="c1").steps
    assert steps[2:4] == ["Recovery/1", "Recovery/2"]
    assert_all_paid_once(world)


def test_of_a_batch_an_attempt_under_way_is_waited_for() -> None:
    world = paid_out("ok", "refused")
    steps = healed(PARTIAL, tried(world, meanwhile={"Recovery/1": lambda: under_way(world)}), contest_id="c1").steps
    assert steps[3:6] == ["Recovery/1", "Recovery/2", "Recovery/3"]
    assert_all_paid_once(world)


def test_a_contest_that_is_paid_out_meanwhile_has_nothing_to_begin() -> None:
    world = paid_out()
    assert world.status() == "PAID_OUT"
    steps = healed(NOT_TRIGGERED, tried(world), contest_id="c1").steps
    assert steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


@pytest.mark.parametrize(
    ("name", "step"),
    [(PARTIAL, "Recovery/1"), (PARTIAL, "Recovery/2"), (NOT_TRIGGERED, "Recovery/1"), (STUCK, "Recovery/1")],
)
def test_an_acting_step_whose_answer_is_lost_is_looked_after_and_nobody_is_paid_twice(name: str, step: str) -> None:
    world = settled() if name == NOT_TRIGGERED else paid_out("ok", "refused")
    healed(name, tried(world, lost=[step]), contest_id="c1")
    assert_all_paid_once(world)


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [STUCK, PARTIAL, NOT_TRIGGERED, CONFLICT, *ENDED_BADLY])
def test_each_needs_the_contest_and_nothing_that_its_alert_does_not_carry(name: str) -> None:
    carried = {"{alert.contest_id}", "{alert.reason}"}
    used = {word for step in runbook(name).steps() for word in re.findall(r"\{alert\.\w+\}", step.command.template)}
    assert "{alert.contest_id}" in used
    assert used <= carried
