"""Money that comes in: entries, intents, webhooks, captures, refunds and reconciliation, with answers that get lost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from contest_platform import ledger
from contest_platform.audit import Context
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed, DeadlineExceeded, ProcessorError
from contest_platform.services import entries
from tests.support.platform_ports import (
    CHARGE_FEE_CENTS,
    ESCROW,
    FEE_CENTS,
    LOCK_AT,
    OLD_SECRET,
    OWED,
    SECRET,
    START,
    WALLET,
    Platform,
    charge_object,
    signature,
)

CTX = Context("system:contests", "c1")
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def platform() -> Platform:
    return Platform()


def lock(platform: Platform, contest_id: str = "c1") -> None:
    """The contest locks, as the lifecycle does it."""

    def advance(tx: Any) -> None:
        tx.run("update contests set status = 'LOCKED' where contest_id = :c", {"c": contest_id})
        entries.post_lock(tx, CTX, contest_id)

    platform.runtime.at = max(platform.runtime.at, LOCK_AT)
    platform.write(advance)


def cancel(platform: Platform) -> Any:
    def advance(tx: Any) -> int:
        entries.abandon_unpaid(tx, CTX, "c1")
        tx.run("update contests set status = 'CANCELLED' where contest_id = 'c1'")
        return entries.refund_all(tx, CTX, "c1", "contest_cancelled")

    return platform.write(advance)


def refusal(code: str | None, status: int = 400) -> ProcessorError:
    return ProcessorError(status, "invalid_request_error" if status < 500 else "api_error", code, "no")


# --- entering -----------------------------------------------------------------------------------------------------


def test_an_entry_begins_with_its_payment_and_is_answered_with_its_intent(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    assert platform.row("entries", entry_id=entry_id)["status"] == "PENDING_PAYMENT"
    payment = platform.row("payments", entry_id=entry_id)
    assert (payment["intent_id"], payment["status"], payment["amount_cents"]) == (intent_id, "CREATED", FEE_CENTS)
    assert platform.processor.intents[intent_id].metadata == {
        "contest_id": "c1", "entry_id": entry_id, "user_id": "ann",
    }  # fmt: skip
    assert platform.processor.calls == [("intents.create", payment["idempotency_key"])]
    assert [row["subject"] for row in platform.audited("payments.insert")] == [f"payments/{entry_id}"]


@pytest.mark.parametrize(
    ("prepare", "roster", "contest", "refused"),
    [
        (None, ["g1", "g1"], "c1", "bad_roster"),
        (None, ["g1"], "c1", "bad_roster"),
        (None, "g1", "c1", "bad_roster"),
        (None, ["g1", 2], "c1", "bad_roster"),
        (None, ["g1", "g2"], "c9", "unknown_contest"),
        ("update contests set opens_at = lock_at - 1", ["g1", "g2"], "c1", "contest_not_open"),
        ("update contests set lock_at = opens_at", ["g1", "g2"], "c1", "contest_not_open"),
        ("update contests set status = 'LOCKED'", ["g1", "g2"], "c1", "contest_not_open"),
        ("update users set deleted_at = 1", ["g1", "g2"], "c1", "unknown_user"),
        ("delete from users", ["g1", "g2"], "c1", "unknown_user"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_and_the_refusal_audited(
    platform: Platform, prepare: str | None, roster: Any, contest: str, refused: str
) -> None:
    platform.sign_up("ann")
    if prepare is not None:
        platform.write(lambda tx: tx.run(prepare))
    response = platform.enter("ann", contest, roster)
    assert response.status == entries.STATUS_OF_REFUSAL[refused]
    assert response.body == {"error": refused}
    assert platform.audited("refuse.entry")[0]["reason"] == f"{refused}: ann"
    assert platform.rows("select * from entries") == []
    assert platform.processor.calls == []


def test_a_full_contest_takes_nobody_more(platform: Platform) -> None:
    for user in ("ann", "bob", "cyd"):
        platform.entered(user)
    platform.sign_up("dan")
    assert platform.enter("dan").body == {"error": "contest_full"}


def test_asking_again_gives_the_same_entry_and_another_roster_is_refused(platform: Platform) -> None:
    first = platform.entered()
    again = platform.enter()
    assert (again.body["entry_id"], again.body["intent_id"]) == first
    assert len(platform.processor.calls) == 1
    assert platform.enter(roster=["g3", "g4"]).body == {"error": "already_entered"}


def test_signing_up_again_changes_nothing(platform: Platform) -> None:
    assert [platform.sign_up("ann").status for _ in range(2)] == [201, 200]
    other = {"name": "Eve", "email": "eve@example.org", "account_id": "acct_eve"}
    assert platform.call("POST", "/api/users", "customer:ann", other).status == 409
    assert platform.call("POST", "/api/users", "customer:bob", {"name": "Bob"}).status == 422
    assert [row["name"] for row in platform.rows("select name from users")] == ["Ann"]


@pytest.mark.parametrize("done", [True, False])
def test_a_lost_answer_to_an_intent_is_asked_for_again_under_the_same_key(platform: Platform, done: bool) -> None:
    platform.sign_up("ann")
    platform.processor.troubles["intents.create"] = [(DeadlineExceeded("lost"), done)]
    response = platform.enter()
    assert (response.status, response.body["intent_id"]) == (202, None)
    assert platform.due("entries.intents") == START + platform.config.processor_timeout_ms
    platform.runtime.at += 2 * MINUTE_MS
    platform.restart()
    platform.work("entries.intents")
    assert list(platform.processor.intents) == ["pi_1"]
    assert platform.row("payments", entry_id=response.body["entry_id"])["intent_id"] == "pi_1"
    assert len({key for _, key in platform.processor.calls}) == 1
    assert platform.due("entries.intents") is None
    assert platform.enter().body["intent_id"] == "pi_1"


def test_intents_are_not_sought_after_the_lock(platform: Platform) -> None:
    platform.sign_up("ann")
    platform.processor.troubles["intents.create"] = [(ConnectionFailed("down"), False)] * 2
    platform.enter()
    platform.runtime.at += 2 * MINUTE_MS
    platform.work("entries.intents")
    assert platform.due("entries.intents") is not None
    platform.runtime.at = LOCK_AT
    assert platform.due("entries.intents") is None


# --- webhooks -----------------------------------------------------------------------------------------------------


def test_a_payment_told_by_webhook_makes_the_entry_valid(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    assert platform.deliver(platform.processor.pay(intent_id)).status == 200
    assert platform.row("entries", entry_id=entry_id)["status"] == "VALID"
    payment = platform.row("payments", entry_id=entry_id)
    assert (payment["status"], payment["captured_at"]) == ("CAPTURED", START)
    assert platform.balances() == {ledger.PENDING: FEE_CENTS, WALLET: -FEE_CENTS}
    assert platform.statuses() == ["APPLIED"]


def test_the_same_event_again_is_counted_and_nothing_else(platform: Platform) -> None:
    _, intent_id = platform.entered()
    event = platform.processor.pay(intent_id)
    for _ in range(3):
        assert platform.deliver(event).status == 200
    assert platform.row("webhook_inbox", event_id=event.id)["deliveries"] == 3
    assert platform.balances()[WALLET] == -FEE_CENTS
    assert len(platform.audited("webhook_inbox.update")) == 2
    assert len(platform.audited("payments.update")) == 2


def test_two_events_that_tell_one_change_apply_once(platform: Platform) -> None:
    _, intent_id = platform.entered()
    event = platform.processor.pay(intent_id)
    assert platform.deliver(event).status == platform.deliver(event, id="evt_twin").status == 200
    assert platform.statuses() == ["APPLIED", "DUPLICATE"]
    assert platform.balances()[WALLET] == -FEE_CENTS


def test_partial_refunds_share_charge_and_type_and_both_count(platform: Platform) -> None:
    """Made in the dashboard: the platform sent none of them, and all of them are in its ledger."""
    entry_id, intent_id = platform.entered()
    platform.deliver(platform.processor.pay(intent_id))
    for cents in (500, 700):
        platform.processor.refund(intent_id, cents, {})
        platform.deliver(platform.processor.events[-1])
    assert platform.row("payments", entry_id=entry_id)["refunded_cents"] == 1_200
    assert platform.row("payments", entry_id=entry_id)["status"] == "CAPTURED"
    assert platform.balances() == {ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -1_200, WALLET: -800}
    for event in platform.processor.events:
        platform.deliver(event)
    assert platform.balances()[WALLET] == -800, "refund.created tells of refunds that the charge has told of"
    named = platform.rows("select processor_refund_id from refunds order by created_at, refund_id")
    assert {row["processor_refund_id"] for row in named} == {"re_1", "re_2"}


def test_a_webhook_that_comes_before_our_own_row_is_kept_until_it_is_there(platform: Platform) -> None:
    _, intent_id = platform.entered("bob")
    early = json.loads(json.dumps(platform.processor.pay(intent_id).body).replace("pi_1", "pi_2"))
    platform.sign_up("ann")
    coming = platform.ports.ids.new("entry", "c1", "ann")
    early["data"]["object"]["metadata"]["entry_id"] = coming
    event = platform.processor.event("payment_intent.succeeded", early["data"]["object"])
    assert platform.deliver(event).status == 200
    assert platform.row("webhook_inbox", event_id=event.id)["status"] == "WAITING"
    assert platform.due("webhooks.waiting") is not None
    platform.work("webhooks.waiting")
    due_at = platform.due("webhooks.waiting")
    assert due_at is not None, "one that waits too long is told of"
    assert due_at > platform.runtime.now() + 24 * HOUR_MS, "nothing has come that could have changed anything"
    assert platform.enter().body == {"entry_id": coming, "intent_id": "pi_2"}
    platform.work("webhooks.waiting")
    assert platform.row("entries", entry_id=coming)["status"] == "VALID"
    assert platform.row("webhook_inbox", event_id=event.id)["status"] == "APPLIED"
    assert platform.due("webhooks.waiting") is None


def test_a_webhook_may_come_before_the_answer_that_names_the_intent(platform: Platform) -> None:
    platform.sign_up("ann")

    async def webhook_first() -> None:
        raw = json.dumps(platform.processor.pay("pi_1").body).encode()
        request = platform.webhook(raw, signature(raw, platform.runtime.at, SECRET))
        assert (await platform.app.handle(request)).status == 200

    platform.processor.before_answer["intents.create"] = webhook_first
    response = platform.enter()
    assert response.body["intent_id"] == "pi_1"
    assert platform.row("entries", entry_id=response.body["entry_id"])["status"] == "VALID"
    assert platform.statuses() == ["APPLIED"]


def test_a_refund_told_before_its_capture_waits_for_it(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    captured = platform.processor.pay(intent_id)
    platform.processor.refund(intent_id, FEE_CENTS, {})
    for event in platform.processor.events[1:]:
        platform.deliver(event)
    platform.work("webhooks.waiting")
    assert platform.statuses() == ["WAITING", "WAITING"]
    due_at = platform.due("webhooks.waiting")
    assert due_at is not None, "one that waits too long is told of"
    assert due_at > platform.runtime.now() + 24 * HOUR_MS, "until then nothing can have changed anything"
    platform.deliver(captured)
    platform.work("webhooks.waiting")
    assert platform.statuses() == ["APPLIED"] * 3
    assert platform.row("payments", entry_id=entry_id)["status"] == "REFUNDED"
    assert platform.row("entries", entry_id=entry_id)["status"] == "REFUNDED", "it was all given back before the lock"
    assert len(platform.rows("select * from refunds")) == 1
    assert platform.balances() == {ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS}


def test_the_effect_and_the_dedupe_record_are_one_transaction(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    event = platform.processor.pay(intent_id)
    platform.store.fail_next["webhooks.record"] = 1
    assert platform.deliver(event).status == 503
    assert platform.statuses() == []
    assert platform.balances() == {}
    assert platform.deliver(event).status == 200
    assert platform.row("entries", entry_id=entry_id)["status"] == "VALID"


def test_events_without_an_effect_are_kept_as_ignored(platform: Platform) -> None:
    _, intent_id = platform.entered()
    snapshot = platform.processor.pay(intent_id).body["data"]["object"]
    for kind in ("payment_intent.payment_failed", "payment_intent.payment_failed", "charge.succeeded"):
        platform.deliver(platform.processor.event(kind, snapshot))
    assert platform.statuses() == ["IGNORED"] * 3
    assert platform.balances() == {}


@pytest.mark.parametrize(
    ("secrets", "age_ms", "accepted"),
    [
        ((SECRET,), 0, True),
        ((OLD_SECRET,), 0, True),
        (("whsec_new", OLD_SECRET), 0, True),
        ((SECRET,), 300_000, True),
        ((SECRET,), 301_000, False),
        ((SECRET,), -300_000, True),
        ((SECRET,), -301_000, False),
        (("whsec_forged",), 0, False),
        ((), 0, False),
    ],
)
def test_a_webhook_is_believed_only_with_a_fresh_signature(
    platform: Platform, secrets: tuple[str, ...], age_ms: int, accepted: bool
) -> None:
    _, intent_id = platform.entered()
    raw = json.dumps(platform.processor.pay(intent_id).body).encode()
    signed = signature(raw, platform.runtime.at - age_ms, *secrets)
    before = len(platform.rows("select 1 from audit_log"))
    response = platform.run(platform.app.handle(platform.webhook(raw, signed)))
    assert response.status == (200 if accepted else 400)
    if accepted:
        assert platform.statuses() == ["APPLIED"]
    else:
        assert platform.statuses() == []
        assert len(platform.rows("select 1 from audit_log")) == before + 1
        assert len(platform.audited("refuse.webhook")) == 1
    if age_ms >= 0:
        # The SDK does not look into the future; for the past it must agree with us.
        with freeze_time(datetime.fromtimestamp(platform.runtime.at / 1000, UTC)):
            verdicts = [_sdk_believes(raw, signed, secret) for secret in platform.config.webhook_secrets]
        assert any(verdicts) == accepted


def _sdk_believes(raw: bytes, signed: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(raw.decode(), signed, secret, tolerance=300))
    except stripe.SignatureVerificationError:
        return False


@pytest.mark.parametrize("signed", ["", "t=abc,v1=00", "v1=00", "t=²,v1=00", "t=1767571200,v1=é"])
def test_a_malformed_signature_is_a_bad_one(platform: Platform, signed: str) -> None:
    assert platform.run(platform.app.handle(platform.webhook(b"{}", signed))).status == 400


def test_a_body_that_was_changed_on_the_way_is_refused(platform: Platform) -> None:
    _, intent_id = platform.entered()
    raw = json.dumps(platform.processor.pay(intent_id).body).encode()
    signed = signature(raw, platform.runtime.at, SECRET)
    changed = raw.replace(b'"amount_received": 2000', b'"amount_received": 9000')
    assert changed != raw
    assert platform.run(platform.app.handle(platform.webhook(changed, signed))).status == 400


def test_a_signed_body_that_is_no_event_is_refused_without_falling_over(platform: Platform) -> None:
    for raw in (b"not json", b"[]", b'{"id": "evt_1"}'):
        request = platform.webhook(raw, signature(raw, platform.runtime.at, SECRET))
        assert platform.run(platform.app.handle(request)).status == 400
    assert platform.statuses() == []


# --- before and after the lock ------------------------------------------------------------------------------------


def test_money_captured_before_the_lock_counts_however_late_its_webhook(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    platform.entered("bob")
    platform.deliver(platform.processor.pay("pi_2"))
    platform.runtime.at = LOCK_AT - 1_000
    event = platform.processor.pay(intent_id)
    lock(platform)
    assert platform.balances()[ESCROW] == -FEE_CENTS
    platform.runtime.at += 10 * HOUR_MS
    platform.deliver(event)
    assert platform.row("entries", entry_id=entry_id)["status"] == "VALID"
    assert platform.balances() == {ledger.PENDING: 2 * FEE_CENTS, ESCROW: -2 * FEE_CENTS}
    assert platform.row("ledger_transactions", business_key=f"lock:c1:{entry_id}")["kind"] == "lock"


def test_money_captured_at_the_lock_is_sent_back_in_full(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    platform.runtime.at = LOCK_AT
    platform.deliver(platform.processor.pay(intent_id))
    assert platform.row("entries", entry_id=entry_id)["status"] == "ABANDONED"
    assert platform.balances() == {ledger.PENDING: FEE_CENTS, OWED: -FEE_CENTS}
    platform.work("refunds")
    assert platform.row("refunds", entry_id=entry_id)["status"] == "DONE"
    payment = platform.row("payments", entry_id=entry_id)
    assert (payment["status"], payment["refunded_cents"]) == ("REFUNDED", FEE_CENTS)
    assert platform.balances() == {ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS}
    assert platform.row("entries", entry_id=entry_id)["status"] == "ABANDONED"


def test_money_for_an_abandoned_entry_is_sent_back(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    event = platform.processor.pay(intent_id)
    lock(platform)
    assert platform.write(lambda tx: entries.abandon_unpaid(tx, CTX, "c1")) == [entry_id]
    platform.deliver(event)
    platform.work("refunds")
    assert platform.processor.refunds[0].metadata == {"entry_id": entry_id, "refund_id": f"refund_{intent_id}"}
    assert ESCROW not in platform.balances()


def test_another_amount_than_asked_for_is_refused_but_accounted_and_sent_back(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    platform.deliver(platform.processor.pay(intent_id, amount_cents=1_500))
    assert platform.audited("refuse.capture")[0]["reason"] == "1500 cents captured, 2000 asked for"
    platform.work("refunds")
    assert [refund.amount_cents for refund in platform.processor.refunds] == [1_500]
    assert platform.balances() == {ledger.PENDING: 1_500, ledger.AVAILABLE: -1_500}
    assert platform.row("payments", entry_id=entry_id)["status"] == "REFUNDED"


def test_a_second_payment_for_one_entry_is_sent_back_and_leaves_the_first(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    platform.deliver(platform.processor.pay(intent_id))
    metadata = platform.processor.intents[intent_id].metadata
    platform.run(platform.processor.create_intent(amount_cents=FEE_CENTS, metadata=metadata, idempotency_key="other"))
    platform.deliver(platform.processor.pay("pi_2"))
    platform.work("refunds")
    assert [refund.intent_id for refund in platform.processor.refunds] == ["pi_2"]
    assert platform.row("refunds", intent_id="pi_2")["reason"] == "payment was CAPTURED already"
    assert platform.row("entries", entry_id=entry_id)["status"] == "VALID"
    assert platform.row("payments", entry_id=entry_id)["status"] == "CAPTURED"
    assert platform.balances()[WALLET] == -FEE_CENTS


def test_what_was_not_paid_at_the_lock_is_abandoned_and_its_intent_cancelled(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    lock(platform)
    platform.write(lambda tx: entries.abandon_unpaid(tx, CTX, "c1"))
    platform.processor.troubles["intents.cancel"] = [(ConnectionFailed("down"), False)]
    platform.work("entries.cancellations")
    assert platform.row("payments", entry_id=entry_id)["status"] == "CREATED"
    platform.work("entries.cancellations")
    assert platform.processor.intents[intent_id].status == "canceled"
    assert platform.row("payments", entry_id=entry_id)["status"] == "CANCELED"
    assert platform.due("entries.cancellations") is None
    assert platform.balances() == {}


def test_an_intent_paid_before_it_could_be_cancelled_is_sent_back(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    lock(platform)
    platform.write(lambda tx: entries.abandon_unpaid(tx, CTX, "c1"))
    platform.processor.pay(intent_id)
    platform.work("entries.cancellations")
    platform.work("refunds")
    assert platform.row("payments", entry_id=entry_id)["status"] == "REFUNDED"
    assert WALLET not in platform.balances()


def test_a_cancelled_contest_gives_every_fee_back_out_of_escrow(platform: Platform) -> None:
    paid = [platform.entered(user) for user in ("ann", "bob")]
    for _, intent_id in paid:
        platform.deliver(platform.processor.pay(intent_id))
    unpaid, _ = platform.entered("cyd")
    lock(platform)
    assert platform.write(lambda tx: entries.valid_count(tx, "c1")) == 2
    assert cancel(platform) == 2
    assert ESCROW not in platform.balances()
    platform.work("refunds")
    assert platform.balances() == {ledger.PENDING: 2 * FEE_CENTS, ledger.AVAILABLE: -2 * FEE_CENTS}
    assert [platform.row("entries", entry_id=entry_id)["status"] for entry_id, _ in paid] == ["REFUNDED"] * 2
    assert platform.row("entries", entry_id=unpaid)["status"] == "ABANDONED"
    reasons = {row["reason"] for row in platform.rows("select reason from refunds")}
    assert reasons == {"contest_cancelled"}


def test_a_cancelled_contest_does_not_give_back_twice_what_went_back_before(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    platform.deliver(platform.processor.pay(intent_id))
    lock(platform)
    platform.processor.refund(intent_id, 600, {})
    platform.deliver(platform.processor.events[-1])
    cancel(platform)
    platform.work("refunds")
    assert [refund.amount_cents for refund in platform.processor.refunds] == [600, FEE_CENTS - 600]
    assert platform.row("entries", entry_id=entry_id)["status"] == "REFUNDED"
    assert platform.balances() == {ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS}


# --- refunds through lost answers ---------------------------------------------------------------------------------


@pytest.fixture
def owing(platform: Platform) -> Platform:
    """A platform that owes one refund: pi_1 was paid after the lock."""
    platform.entered()
    platform.runtime.at = LOCK_AT
    platform.deliver(platform.processor.pay("pi_1"))
    return platform


def keys(platform: Platform) -> list[str]:
    return [key for operation, key in platform.processor.calls if operation == "refunds.create"]


def later(platform: Platform) -> None:
    """Go on to when the refund is tried next."""
    due = platform.due("refunds")
    assert due is not None
    assert due > platform.runtime.at
    platform.runtime.at = due


@pytest.mark.parametrize(
    "error", [DeadlineExceeded("lost"), refusal(None, 500), refusal("idempotency_key_in_use", 409)]
)
def test_after_an_unknown_outcome_a_refund_is_sent_again_under_its_key(owing: Platform, error: Exception) -> None:
    owing.processor.troubles["refunds.create"] = [(error, True), (error, True)]
    for _ in range(2):
        owing.work("refunds")
        later(owing)
    owing.work("refunds")
    assert len(set(keys(owing))) == 1
    assert len(keys(owing)) == 3
    assert len(owing.processor.refunds) == 1
    assert owing.balances() == {ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS}


def test_back_off_grows_to_an_hour(owing: Platform) -> None:
    owing.processor.troubles["refunds.create"] = [(DeadlineExceeded("lost"), False)] * 9
    waits = []
    for _ in range(9):
        owing.work("refunds")
        at = owing.runtime.at
        later(owing)
        waits.append((owing.runtime.at - at) // MINUTE_MS)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("done", [True, False])
def test_a_key_older_than_a_day_is_not_sent_before_the_processors_books_are_searched(
    owing: Platform, done: bool
) -> None:
    owing.processor.troubles["refunds.create"] = [(DeadlineExceeded("lost"), done)]
    owing.work("refunds")
    owing.runtime.at += 25 * HOUR_MS
    owing.restart()
    owing.work("refunds")
    assert len(owing.processor.refunds) == 1
    assert len(set(keys(owing))) == (1 if done else 2)
    assert ("refunds.list", "") in owing.processor.calls
    assert owing.row("refunds", intent_id="pi_1")["processor_refund_id"] == "re_1"


def test_a_rejection_that_is_proven_gets_a_new_key(owing: Platform) -> None:
    owing.processor.troubles["refunds.create"] = [(refusal("balance_insufficient"), False)]
    owing.work("refunds")
    later(owing)
    owing.work("refunds")
    assert len(set(keys(owing))) == 2
    assert owing.row("refunds", intent_id="pi_1")["status"] == "DONE"


def test_a_terminal_rejection_ends_the_refund_and_the_money_stays_owed(owing: Platform) -> None:
    owing.processor.troubles["refunds.create"] = [(refusal("charge_disputed"), False)]
    owing.work("refunds")
    assert owing.row("refunds", intent_id="pi_1")["status"] == "FAILED_TERMINAL"
    assert owing.audited("refunds.update")[-1]["reason"] == "charge_disputed"
    assert owing.balances()[OWED] == -FEE_CENTS
    assert owing.due("refunds") is None


@pytest.mark.parametrize(("ours", "status"), [(True, "DONE"), (False, "FAILED_TERMINAL")])
def test_already_refunded_is_good_news_only_if_it_was_by_us(owing: Platform, ours: bool, status: str) -> None:
    metadata = {"refund_id": "refund_pi_1"} if ours else {}
    owing.processor.refund("pi_1", FEE_CENTS, metadata)
    owing.processor.troubles["refunds.create"] = [(refusal("charge_already_refunded"), False)]
    owing.work("refunds")
    assert owing.row("refunds", intent_id="pi_1")["status"] == status


def test_a_refund_told_by_event_needs_no_answer(owing: Platform) -> None:
    owing.processor.troubles["refunds.create"] = [(DeadlineExceeded("lost"), True)]
    owing.work("refunds")
    for event in owing.processor.events[-2:]:
        owing.deliver(event)
    refund = owing.row("refunds", intent_id="pi_1")
    assert (refund["status"], refund["processor_refund_id"]) == ("DONE", "re_1")
    assert len(keys(owing)) == 1
    assert owing.balances() == {ledger.PENDING: FEE_CENTS, ledger.AVAILABLE: -FEE_CENTS}


def test_the_charge_alone_only_hastens_the_next_attempt(owing: Platform) -> None:
    """charge.refunded does not say by which refund."""
    owing.processor.troubles["refunds.create"] = [(DeadlineExceeded("lost"), True)]
    owing.work("refunds")
    assert owing.due("refunds") != owing.runtime.at
    owing.deliver(owing.processor.events[-1])
    assert len(owing.rows("select * from refunds")) == 1
    owing.work("refunds")
    assert owing.row("refunds", intent_id="pi_1")["processor_refund_id"] == "re_1"


def test_a_refund_that_the_bank_lets_wait_is_asked_about_again(owing: Platform) -> None:
    owing.processor.refund("pi_1", FEE_CENTS, {"refund_id": "refund_pi_1"})
    pending = replace(owing.processor.refunds[0], status="pending")
    owing.processor.refunds[0] = pending
    owing.processor._saved[owing.row("refunds", intent_id="pi_1")["idempotency_key"]] = pending
    owing.work("refunds")
    assert owing.row("refunds", intent_id="pi_1")["status"] == "PENDING"
    owing.processor.refunds[0] = replace(pending, status="succeeded")
    later(owing)
    owing.work("refunds")
    assert owing.row("refunds", intent_id="pi_1")["status"] == "DONE"
    assert len(keys(owing)) == 1


# --- reconciliation -----------------------------------------------------------------------------------------------


def reconcile(platform: Platform) -> None:
    platform.work("payments.reconciliation")


def through(platform: Platform) -> int | None:
    rows = platform.rows("select value from checkpoints where name = 'payments.reconciled'")
    return json.loads(rows[0]["value"])["through"] if rows else None


def test_reconciliation_applies_what_no_webhook_told(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    event = platform.processor.pay(intent_id)
    reconcile(platform)
    assert platform.row("entries", entry_id=entry_id)["status"] == "VALID"
    assert platform.row("webhook_inbox", event_id=event.id)["deliveries"] == 0
    assert platform.deliver(event).status == 200
    assert platform.row("webhook_inbox", event_id=event.id)["deliveries"] == 1
    assert platform.balances()[WALLET] == -FEE_CENTS
    assert through(platform) == START


def test_the_first_good_pass_after_a_lock_wakes_the_contests_and_no_other_does(platform: Platform) -> None:
    woken = []
    for minutes in (0, 60, 10_000, 10_060):
        platform.runtime.at = START + minutes * MINUTE_MS
        before = platform.signals.seen("contests")
        reconcile(platform)
        woken.append(platform.signals.seen("contests") - before)
    assert sum(woken[:2]) == 0
    assert woken[2:] == [1, 0]


def test_reconciliation_comes_every_hour_and_at_each_lock(platform: Platform) -> None:
    platform.list_contest("c2", lock_at=START + 90 * MINUTE_MS)
    seen = []
    for _ in range(4):
        reconcile(platform)
        due = platform.due("payments.reconciliation")
        assert due is not None
        seen.append((due - START) // MINUTE_MS)
        platform.runtime.at = due
    assert seen == [60, 90, 120, 180]


@pytest.mark.parametrize("operation", ["events.list", "balance.list", "intents.retrieve"])
def test_a_pass_that_was_not_answered_is_no_pass_and_is_made_again(platform: Platform, operation: str) -> None:
    platform.entered()
    reconcile(platform)
    platform.runtime.at = LOCK_AT
    platform.processor.troubles[operation] = [(DeadlineExceeded("lost"), False)]
    notified = platform.signals.seen("contests")
    reconcile(platform)
    assert through(platform) == START
    assert platform.signals.seen("contests") == notified
    assert platform.due("payments.reconciliation") == LOCK_AT + 5 * MINUTE_MS
    platform.runtime.at = LOCK_AT + 5 * MINUTE_MS
    reconcile(platform)
    assert through(platform) == LOCK_AT + 5 * MINUTE_MS


def test_at_the_lock_unpaid_intents_are_asked_about_even_if_no_event_was_ever_made(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    unpaid, _ = platform.entered("bob")
    platform.runtime.at = LOCK_AT - 1
    platform.processor.pay(intent_id)
    platform.processor.events.clear()
    lock(platform)
    reconcile(platform)
    assert platform.row("entries", entry_id=entry_id)["status"] == "VALID"
    assert platform.row("entries", entry_id=unpaid)["status"] == "PENDING_PAYMENT"
    assert platform.balances()[ESCROW] == -FEE_CENTS
    asked = [call for call in platform.processor.calls if call[0] == "intents.retrieve"]
    platform.runtime.at += HOUR_MS
    reconcile(platform)
    assert [call for call in platform.processor.calls if call[0] == "intents.retrieve"] == asked


def test_a_page_and_its_cursor_are_one_transaction(platform: Platform) -> None:
    _, intent_id = platform.entered()
    platform.processor.pay(intent_id)
    platform.store.fail_next["reconciliation.page"] = 1
    reconcile(platform)
    assert (through(platform), platform.statuses()) == (None, [])
    platform.restart()
    reconcile(platform)
    assert platform.statuses() == ["APPLIED"]


def test_more_than_a_page_is_read_and_a_cursor_goes_on_from_there(platform: Platform) -> None:
    _, intent_id = platform.entered()
    snapshot = platform.processor.pay(intent_id).body["data"]["object"]
    for _ in range(250):
        platform.processor.event("payment_intent.created", snapshot)
    reconcile(platform)
    assert [call[0] for call in platform.processor.calls].count("events.list") == 3
    platform.runtime.at += HOUR_MS
    reconcile(platform)
    assert [call[0] for call in platform.processor.calls].count("events.list") == 4
    assert platform.statuses() == ["APPLIED"], "events that change nothing are not kept when only listed"


def test_ledger_and_balance_agree_once_money_is_available(platform: Platform) -> None:
    platform.processor.move("topup", "tu_1", 50_000, 0, START)
    for user in ("ann", "bob"):
        _, intent_id = platform.entered(user)
        platform.processor.pay(intent_id)
    reconcile(platform)
    gross, fees = 2 * FEE_CENTS, 2 * CHARGE_FEE_CENTS
    assert platform.balances()[ledger.AVAILABLE] == 50_000
    assert platform.balances()[ledger.PENDING] == gross - fees
    platform.runtime.at = START + 2 * DAY_MS - 1
    reconcile(platform)
    assert platform.balances()[ledger.PENDING] == gross - fees
    platform.runtime.at = START + 2 * DAY_MS + HOUR_MS
    for _ in range(2):
        platform.restart()
        reconcile(platform)
        platform.runtime.at += HOUR_MS
    balances = platform.balances()
    assert ledger.PENDING not in balances
    assert balances[ledger.AVAILABLE] == sum(movement.net_cents for movement in platform.processor.balance)
    assert (balances[ledger.FEES], balances[ledger.CAPITAL]) == (fees, -50_000)
    assert platform.rows("select * from checkpoints where name like 'available:%'") == []


def test_a_movement_without_a_rule_is_refused_in_the_open(platform: Platform) -> None:
    platform.processor.move("adjustment", "ach_1", -2_000, 1_500, START)
    platform.processor.move("refund", "re_1", -2_000, 0, START)
    reconcile(platform)
    refused = platform.audited("refuse.balance_transaction")
    assert [json.loads(row["after"])["kind"] for row in refused] == ["adjustment"]


# --- transfers ----------------------------------------------------------------------------------------------------


def paid_transfer(platform: Platform) -> None:
    row = {
        "transfer_id": "payout_1", "contest_id": "c1", "entry_id": "e1", "user_id": "ann", "amount_cents": 900,
        "destination": "acct_ann", "status": "PAID", "reason": None, "processor_transfer_id": "tr_1",
        "idempotency_key": "k", "key_born_at": START, "attempts": 1, "next_attempt_at": None, "created_at": START,
        "done_at": START,
    }  # fmt: skip
    platform.write(lambda tx: tx.insert("transfers", row))


def reversal(platform: Platform, cents: int, transfer_id: str = "payout_1") -> Any:
    metadata = {"transfer_id": transfer_id}
    snapshot = {"id": "tr_1", "amount": 900, "amount_reversed": cents, "metadata": metadata}
    return platform.processor.event("transfer.reversed", snapshot)


def test_a_reversed_transfer_is_owed_again(platform: Platform) -> None:
    paid_transfer(platform)
    platform.deliver(reversal(platform, 900))
    assert platform.row("transfers", transfer_id="payout_1")["status"] == "REVERSED"
    assert platform.balances() == {ledger.AVAILABLE: 900, ledger.prize_payable("c1", "ann"): -900}
    assert platform.row("ledger_transactions", kind="reversed")["business_key"] == "reversed:payout_1"


@pytest.mark.parametrize("order", [(300, 900), (900, 300)])
def test_partial_reversals_add_up_in_any_order(platform: Platform, order: tuple[int, ...]) -> None:
    paid_transfer(platform)
    for cents in order:
        platform.deliver(reversal(platform, cents))
    assert platform.balances()[ledger.AVAILABLE] == 900
    assert platform.row("transfers", transfer_id="payout_1")["status"] == "REVERSED"


def test_a_reversal_waits_until_our_own_row_says_paid(platform: Platform) -> None:
    paid_transfer(platform)
    platform.write(lambda tx: tx.run("update transfers set status = 'SUBMITTED'"))
    platform.deliver(reversal(platform, 900))
    assert platform.statuses() == ["WAITING"]
    assert platform.balances() == {}
    platform.write(lambda tx: tx.run("update transfers set status = 'PAID'"))
    reconcile(platform)
    assert platform.statuses() == ["APPLIED"]
    assert platform.row("transfers", transfer_id="payout_1")["status"] == "REVERSED"


def test_a_transfer_that_is_not_ours_stays_waiting_and_a_second_one_is_refused_in_the_open(platform: Platform) -> None:
    paid_transfer(platform)
    snapshot = {"id": "tr_1", "amount": 900, "amount_reversed": 0, "metadata": {"transfer_id": "payout_1"}}
    platform.deliver(platform.processor.event("transfer.created", snapshot))
    platform.deliver(platform.processor.event("transfer.created", {**snapshot, "id": "tr_2"}))
    platform.deliver(platform.processor.event("transfer.created", {**snapshot, "id": "tr_3", "metadata": {}}))
    assert platform.statuses() == ["APPLIED", "APPLIED", "WAITING"]
    assert [row["reason"] for row in platform.audited("refuse.transfer")] == ["sent already as tr_1"]


# --- any order ----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=5, max_size=14), st.integers(0, 14), st.booleans())
def test_in_any_order_and_any_number_events_leave_the_same_books(order: list[int], pass_at: int, crash: bool) -> None:
    """A capture, its twin, a partial refund (two events) and an event without an effect, delivered in any order, with
    a reconciliation somewhere among them and at the end."""
    platform = Platform()
    entry_id, intent_id = platform.entered()
    captured = platform.processor.pay(intent_id)
    twin = platform.processor.event(captured.type, dict(captured.body["data"]["object"]))
    platform.processor.refund(intent_id, 500, {})
    other = platform.processor.event("charge.succeeded", charge_object(platform.processor.intents[intent_id]))
    events = [captured, twin, *platform.processor.events[-3:-1], other]
    for n, place in enumerate(order):
        if n == pass_at:
            if crash:
                platform.store.fail_next["reconciliation.conclude"] = 1
            reconcile(platform)
            if crash:
                assert through(platform) is None
                platform.restart()
        assert platform.deliver(events[place]).status == 200
    platform.runtime.at += HOUR_MS
    reconcile(platform)
    assert platform.row("entries", entry_id=entry_id)["status"] == "VALID"
    assert platform.row("payments", entry_id=entry_id)["refunded_cents"] == 500
    assert platform.balances() == {
        ledger.PENDING: FEE_CENTS - CHARGE_FEE_CENTS, ledger.FEES: CHARGE_FEE_CENTS, ledger.AVAILABLE: -500,
        WALLET: -(FEE_CENTS - 500),
    }  # fmt: skip
    assert "WAITING" not in platform.statuses()
