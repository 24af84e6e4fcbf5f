"""The runbooks of payments, each carried out on a platform in the state that it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from contest_platform.admin.service import AdminService
from contest_platform.app import App
from contest_platform.audit import Context
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed, DeadlineExceeded, Introspection, ProcessorError
from contest_platform.services import disputes
from contest_platform.services.contests import ContestsService
from contest_platform.services.entries import EntriesService
from contest_platform.services.reconciliation import ReconciliationService
from contest_platform.services.refunds import RefundsService
from contest_platform.services.runbooks import RunbooksService
from contest_platform.services.webhooks import WebhooksService
from tests.support.platform_ports import Platform, intent_object, signature, token
from tests.support.tried import OPS, REFUSED, Tried, handed_on, healed, tables

DOWN = ConnectionFailed("down")


class Payments(Platform):
    """The services of the money with the endpoints of ops before them."""

    def __init__(self) -> None:
        super().__init__()
        self.auth.answers[f"tok-{OPS}"] = Introspection(True, OPS, "")

    def restart(self) -> None:
        makers = (EntriesService, WebhooksService, ReconciliationService, RefundsService, ContestsService)
        services = [make(self.ports, self.config) for make in makers]
        ops = [make(self.ports, self.config) for make in (RunbooksService, AdminService)]
        self.app = App(self.ports, self.config, [*services, *ops])
        self.jobs = {job.name: job for service in services for job in service.jobs()}

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(OPS)}"}

    def reconciled(self) -> None:
        """The hourly reading has just been made."""
        self.run(self.jobs["payments.reconciliation"].work())

    def entry(self, entry_id: str) -> tuple[str, str]:
        """Status of an entry and of its payment."""
        return (
            self.row("entries", entry_id=entry_id)["status"],
            self.row("payments", entry_id=entry_id)["status"],
        )


@pytest.fixture
def world() -> Payments:
    platform = Payments()
    platform.reconciled()
    return platform


def tried(world: Payments, *names: str, **how: Any) -> Tried:
    """With these of the platform's jobs at work, by default all."""
    return Tried(world, [job for name, job in world.jobs.items() if not names or name in names], **how)


def down(world: Payments, *operations: str, times: int = 40) -> None:
    """The processor does not answer the next calls of these operations."""
    for operation in operations:
        world.processor.troubles[operation] = [(DOWN, False)] * times


# --- what reads the processor's books ---------------------------------------------------------------------------------

READING = [
    "processor_outage", "payment_reconciliation_stale", "webhook_signature_failure", "duplicate_webhook",
    "payment_webhook_delayed",
]  # fmt: skip


def missed(world: Payments) -> str:
    """A payment of which no webhook has told, hours after the last reading, and each kind of trouble. The next reading
    meets with no answer."""
    entry_id, intent_id = world.entered()
    event = world.processor.pay(intent_id)
    told = world.processor.event("payment_intent.payment_failed", {"id": "pi_9", "metadata": {}})
    for _ in range(3):
        world.deliver(told)
    forged = world.webhook(b"{}", signature(b"{}", world.runtime.at, "whsec_wrong"))
    assert world.run(world.app.handle(forged)).status == 400
    assert event.id not in [row["event_id"] for row in world.rows("select event_id from webhook_inbox")]
    world.runtime.at += 3 * HOUR_MS + 5 * MINUTE_MS
    down(world, "events.list", times=1)
    return entry_id


@pytest.mark.parametrize("name", READING)
def test_a_reading_makes_good_what_no_webhook_has_told(world: Payments, name: str) -> None:
    entry_id = missed(world)
    control = healed(name, tried(world))
    assert "Recovery/1" in control.steps
    assert world.entry(entry_id) == ("VALID", "CAPTURED")


@pytest.mark.parametrize("name", READING)
def test_the_reading_is_waited_for_until_the_processor_answers(world: Payments, name: str) -> None:
    entry_id = missed(world)
    down(world, "events.list", times=100)
    control = healed(name, tried(world))
    waited = [record for record in control.records if record.matched == "not yet"]
    assert len(waited) > 50
    assert not world.processor.troubles["events.list"]
    assert world.entry(entry_id) == ("VALID", "CAPTURED")


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("step", ["Recovery/1", "Recovery/2", "Verification/1", "Verification/2"])
def test_a_reading_that_cannot_be_had_is_handed_on_and_has_changed_nothing(
    world: Payments, name: str, step: str
) -> None:
    missed(world)
    before = {**tables(world), "checkpoints": []}
    control = tried(world, "payments.reconciliation") if step.startswith("Verification") else Tried(world)
    if step != "Recovery/2":
        control.refused = {step: REFUSED}
    outcome = handed_on(name, control, step)
    assert outcome.escalation is not None
    assert outcome.escalation.state_before["ledger_out_of_balance"] == "0"
    if not control.jobs:
        assert {**tables(world), "checkpoints": []} == before


@pytest.mark.parametrize("name", READING)
def test_a_request_for_a_reading_whose_answer_is_lost_is_made_again(world: Payments, name: str) -> None:
    entry_id = missed(world)
    control = healed(name, tried(world, lost=["Recovery/1"]))
    assert control.steps.count("Recovery/1") == 2
    assert world.entry(entry_id) == ("VALID", "CAPTURED")
    assert len(world.audited("ops.payments_reconcile")) == 2


@pytest.mark.parametrize("name", ["processor_outage", "payment_reconciliation_stale"])
def test_books_that_have_just_been_read_are_not_read_again(world: Payments, name: str) -> None:
    world.runtime.at += 3 * MINUTE_MS
    assert healed(name, tried(world)).steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


@pytest.mark.parametrize("name", ["webhook_signature_failure", "duplicate_webhook", "payment_webhook_delayed"])
def test_without_a_webhook_on_record_there_is_nothing_to_read(world: Payments, name: str) -> None:
    assert healed(name, tried(world)).steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


# --- webhooks_waiting -------------------------------------------------------------------------------------------------


def early(world: Payments) -> str:
    """The event of a payment comes while our own row does not know the intent: the answer to its making was lost."""
    world.sign_up("ann")
    world.processor.troubles["intents.create"] = [(DeadlineExceeded("lost"), True)]
    assert world.enter().status == 202
    down(world, "intents.create")
    [intent] = world.processor.intents.values()
    [entry] = world.rows("select entry_id from entries")
    # Without its metadata, so that only the intent's id tells whose it is.
    snapshot = {**intent_object(intent), "amount_received": intent.amount_cents, "metadata": {}}
    world.processor.pay(intent.id)
    world.processor.events.clear()
    event = world.processor.event("payment_intent.succeeded", snapshot)
    world.deliver(event)
    assert world.statuses() == ["WAITING"]
    world.runtime.at += HOUR_MS
    return str(entry["entry_id"])


def test_an_event_that_came_before_our_own_row_is_applied_once_the_row_is_there(world: Payments) -> None:
    entry_id = early(world)
    control = healed("webhooks_waiting", tried(world))
    assert "Recovery/1" in control.steps
    assert world.statuses() == ["APPLIED"]
    assert world.entry(entry_id) == ("VALID", "CAPTURED")
    assert healed("webhooks_waiting", tried(world)).steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_an_event_of_what_is_not_ours_is_handed_on_and_kept(world: Payments) -> None:
    world.deliver(world.processor.event("transfer.created", {"id": "tr_9", "metadata": {"transfer_id": "payout_9"}}))
    before = world.rows("select * from webhook_inbox")
    outcome = handed_on("webhooks_waiting", tried(world), "Recovery/4")
    assert outcome.escalation is not None
    assert "tr_9" in outcome.escalation.reason
    assert world.rows("select * from webhook_inbox") == before


# --- payment_intent_orphaned ------------------------------------------------------------------------------------------


def orphan(world: Payments, paid: bool) -> str:
    """An entry that was given back while it was being paid for, and the processor does not cancel its intent."""
    entry_id, intent_id = world.entered()
    assert refund_asked(world, entry_id) == "ABANDONED"
    if paid:
        world.processor.pay(intent_id)
        world.processor.events.clear()
    down(world, "intents.cancel", times=200)
    world.runtime.at += 3 * HOUR_MS
    return entry_id


def refund_asked(world: Payments, entry_id: str) -> str:
    response = world.call("POST", "/api/entries/refund", "customer:ann", {"entry_id": entry_id})
    return str(response.body["status"])


@pytest.mark.parametrize(("paid", "ends"), [(True, ("ABANDONED", "REFUNDED")), (False, ("ABANDONED", "CANCELED"))])
def test_an_orphaned_intent_gets_its_outcome_from_the_processor(
    world: Payments, paid: bool, ends: tuple[str, str]
) -> None:
    entry_id = orphan(world, paid)
    # Another customer is still at it: that is nobody's orphan.
    other, _ = world.entered("bob")
    control = healed("payment_intent_orphaned", tried(world))
    assert "Recovery/1" in control.steps
    assert bool(world.processor.troubles["intents.cancel"]) is paid, "what is paid is not canceled first"
    healed("payment_intent_orphaned", tried(world))
    assert world.entry(entry_id) == ends
    assert world.entry(other) == ("PENDING_PAYMENT", "CREATED")
    assert len(world.processor.refunds) == int(paid)


def test_an_intent_that_was_canceled_in_the_meantime_is_only_verified(world: Payments) -> None:
    entry_id = orphan(world, paid=False)
    world.processor.troubles.clear()
    world.work("entries.cancellations")
    assert world.entry(entry_id) == ("ABANDONED", "CANCELED")
    steps = healed("payment_intent_orphaned", tried(world)).steps
    assert steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_an_intent_that_cannot_be_canceled_is_handed_on_as_it_was(world: Payments) -> None:
    entry_id = orphan(world, paid=False)
    down(world, "intents.cancel", times=10_000)
    handed_on("payment_intent_orphaned", tried(world), "Recovery/3")
    assert world.entry(entry_id) == ("ABANDONED", "CREATED")


# --- refund_request ---------------------------------------------------------------------------------------------------


def asked_back(world: Payments, *users: str) -> list[str]:
    """Customers have paid, and asked for their fees back; the processor has not answered since."""
    asked = []
    for user in users:
        entry_id, intent_id = world.entered(user)
        world.deliver(world.processor.pay(intent_id))
        body = {"entry_id": entry_id}
        assert world.call("POST", "/api/entries/refund", f"customer:{user}", body).body["status"] == "WITHDRAWN"
        asked.append(entry_id)
    world.processor.troubles["refunds.create"] = [(DeadlineExceeded("lost"), True)] * len(users)
    world.work("refunds")
    return asked


def test_a_refund_that_was_asked_for_is_sent_again_and_once(world: Payments) -> None:
    asked = asked_back(world, "ann", "bob")
    world.processor.troubles["refunds.create"] = [(DOWN, False)] * 3
    control = healed("refund_request", tried(world), refund="waiting")
    assert "Recovery/1" in control.steps
    assert [world.entry(entry_id) for entry_id in asked] == [("REFUNDED", "REFUNDED")] * 2
    assert sorted(refund.metadata["entry_id"] for refund in world.processor.refunds) == sorted(asked)


def test_a_refund_that_was_sent_between_looking_and_acting_is_left_alone(world: Payments) -> None:
    [entry_id] = asked_back(world, "ann")

    def meanwhile() -> None:
        world.runtime.at += HOUR_MS
        world.work("refunds")

    control = healed("refund_request", Tried(world, meanwhile={"Recovery/1": meanwhile}), refund="waiting")
    assert control.steps[2:4] == ["Recovery/1", "Recovery/3"]
    assert world.entry(entry_id) == ("REFUNDED", "REFUNDED")


def test_a_refund_that_was_refused_for_good_stays_owed(world: Payments) -> None:
    [entry_id] = asked_back(world, "ann")
    refused = ProcessorError(400, "invalid_request_error", "charge_disputed", "the bank has it")
    world.processor.troubles["refunds.create"] = [(refused, False)]
    healed("refund_request", tried(world), refund="waiting")
    steps = healed("refund_request", tried(world), refund="failed").steps
    assert steps == ["Diagnosis/1", "Recovery/4", "Verification/1", "Verification/2"]
    assert world.row("refunds", entry_id=entry_id)["status"] == "FAILED_TERMINAL"
    assert world.balances()["liabilities:refund_payable:ann"] == -2_000


@pytest.mark.parametrize("step", ["Diagnosis/2", "Recovery/1", "Recovery/2"])
def test_a_refund_that_cannot_be_sent_is_handed_on_and_stays_owed(world: Payments, step: str) -> None:
    asked_back(world, "ann")
    before = tables(world)
    refused = {step: REFUSED} if step != "Recovery/2" else {}
    handed_on("refund_request", Tried(world, refused=refused), step, refund="waiting")
    after = tables(world)
    if step == "Recovery/2":  # It has been asked for: due now, and no more than that.
        for rows in (before, after):
            rows["refunds"] = [{**row, "next_attempt_at": 0} for row in rows["refunds"]]
    assert after == before


def test_a_refund_that_is_refused_while_it_is_waited_for_is_on_its_way_no_more(world: Payments) -> None:
    asked_back(world, "ann")
    refused = ProcessorError(400, "invalid_request_error", "charge_disputed", "the bank has it")
    world.processor.troubles["refunds.create"] = [(DOWN, False), (refused, False)]
    steps = healed("refund_request", tried(world), refund="waiting").steps
    assert steps[3:6] == ["Recovery/2", "Recovery/3", "Recovery/4"]


def test_a_refund_that_is_asked_for_meanwhile_is_seen_to_as_well(world: Payments) -> None:
    asked_back(world, "ann")
    down(world, "refunds.create", times=3)
    more: list[str] = []
    control = tried(world, meanwhile={"Recovery/3": lambda: more.extend(asked_back(world, "bob"))})
    steps = healed("refund_request", control, refund="waiting").steps
    assert steps.count("Diagnosis/1") == 2
    assert world.entry(more[0]) == ("REFUNDED", "REFUNDED")


# --- chargeback_received ----------------------------------------------------------------------------------------------


def disputed(world: Payments) -> tuple[str, str]:
    """(entry, dispute): the bank takes a payment back, and no webhook has told of it."""
    entry_id, intent_id = world.entered()
    world.deliver(world.processor.pay(intent_id))
    dispute_id = world.processor.dispute(intent_id)
    return entry_id, dispute_id


def test_a_chargeback_is_on_the_books_with_entry_and_money_however_little_was_told(world: Payments) -> None:
    entry_id, dispute_id = disputed(world)
    [created] = [event for event in world.processor.events if event.type == "charge.dispute.created"]
    world.deliver(created)
    control = healed("chargeback_received", tried(world))
    assert "Recovery/3" in control.steps
    row = world.row("disputes", dispute_id=dispute_id)
    assert (row["entry_id"], row["amount_cents"], row["fee_cents"]) == (entry_id, 2_000, 1_500)
    assert world.balances()["assets:receivable_disputes"] == 2_000
    assert world.entry(entry_id)[0] == "VALID", "it stays in its contest"
    assert not world.processor.refunds


@pytest.mark.parametrize(("decision", "claim", "loss"), [("lost", 0, 2_000), ("won", 0, 0)])
def test_a_chargeback_that_the_bank_decides_meanwhile_is_booked_as_decided(
    world: Payments, decision: str, claim: int, loss: int
) -> None:
    _, dispute_id = disputed(world)
    world.reconciled()

    def decide() -> None:
        known = len(world.processor.events)
        world.processor.decide(dispute_id, decision)
        del world.processor.events[known:]

    healed("chargeback_received", tried(world, meanwhile={"Recovery/1": decide}))
    assert world.row("disputes", dispute_id=dispute_id)["status"] == decision
    balances = world.balances()
    assert (balances.get("assets:receivable_disputes", 0), balances.get("expenses:dispute_loss", 0)) == (claim, loss)
    steps = healed("chargeback_received", tried(world)).steps
    assert steps == ["Diagnosis/1", "Verification/1", "Verification/2"]


def test_money_that_is_taken_for_a_payment_that_is_not_ours_is_handed_on(world: Payments) -> None:
    _, dispute_id = disputed(world)
    told = world.processor.events
    world.processor.events = [event for event in told if not event.type.startswith("charge.dispute")]
    found = world.processor.disputes[dispute_id]
    world.processor.disputes[dispute_id] = replace(found, intent_id="pi_of_nobody")
    world.reconciled()
    outcome = handed_on("chargeback_received", tried(world), "Recovery/3")
    assert outcome.escalation is not None
    assert dispute_id in outcome.escalation.reason


def test_a_dispute_of_which_only_its_money_has_told_so_far_is_waited_for(world: Payments) -> None:
    disputed(world)
    world.reconciled()
    entry_id, intent_id = world.entered("bob")
    world.deliver(world.processor.pay(intent_id))

    def half_read() -> None:
        told = len(world.processor.events)
        dispute_id = world.processor.dispute(intent_id)
        del world.processor.events[told:]
        [moved] = world.processor.disputes[dispute_id].movements
        world.write(lambda tx: disputes.moved(tx, Context("system:payments", dispute_id), moved))

    control = healed("chargeback_received", tried(world, meanwhile={"Recovery/3": half_read}))
    looks = [record for record in control.records if (record.section, record.number) == ("Recovery", 3)]
    assert [record.matched for record in (looks[0], looks[-1])] == ["not yet", "expected"]
    assert world.row("disputes", entry_id=entry_id)["status"] == "needs_response"


# --- answers that are lost --------------------------------------------------------------------------------------------

STATES: dict[str, Callable[[Payments], Any]] = {
    "webhooks_waiting": early,
    "payment_intent_orphaned": lambda world: orphan(world, paid=True),
    "refund_request": lambda world: (asked_back(world, "ann"), down(world, "refunds.create", times=5)),
    "chargeback_received": disputed,
}


@pytest.mark.parametrize("name", STATES)
def test_an_acting_step_whose_answer_is_lost_is_looked_after(world: Payments, name: str) -> None:
    STATES[name](world)
    if name == "chargeback_received":
        world.reconciled()
    control = healed(name, tried(world, lost=["Recovery/1", "Recovery/3"]))
    [lost, *_] = [record for record in control.records if f"{record.section}/{record.number}" == "Recovery/1"]
    assert lost.next == "Diagnosis/1"
    assert world.balances()  # whose sum is nought


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("step", ["Diagnosis/1", "Recovery/1"])
def test_what_cannot_be_asked_for_is_handed_on_as_it_was(world: Payments, name: str, step: str) -> None:
    STATES[name](world)
    if name == "chargeback_received":
        world.reconciled()
    before = tables(world)
    handed_on(name, Tried(world, refused={step: REFUSED}), step)
    assert tables(world) == before
