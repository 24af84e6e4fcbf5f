"""Payouts: each prize is paid exactly once or given up with a reason, whatever the processor answers or does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed, DeadlineExceeded, ProcessorError
from contest_platform.services import webhooks
from contest_platform.services.contests import ContestsService
from contest_platform.services.payouts import BACKOFF_MAX_MS, BACKOFF_MIN_MS, CONFLICT, KEY_LIFE_MS, PayoutsService
from contest_platform.services.settlement import SettlementService
from contest_platform.services.undelivered import GIVEN_UP_MS
from contest_platform.services.webhooks import Event, WebhooksService
from tests.support.contest_world import CUTOFF_AT, ContestWorld
from tests.support.payout_world import (
    CARDS,
    ON_ITS_WAY,
    OWED,
    PAID,
    attempts,
    keys,
    paying,
    settled,
    to_the_end,
    transfer,
    transfers,
)

# --- when all is well -------------------------------------------------------------------------------------------------


def test_a_winner_is_paid_and_the_contest_is_paid_out() -> None:
    world, payouts = paying()
    row = transfer(world)
    assert (row["status"], row["amount_cents"], row["destination"]) == ("PAID", 2_700, "acct_ann")
    assert (row["processor_transfer_id"], row["done_at"], row["attempts"]) == ("tr_1", CUTOFF_AT, 1)
    assert world.balances() == PAID
    assert (world.status(), world.row("contests", contest_id="c1")["closed_at"]) == ("PAID_OUT", CUTOFF_AT)
    assert attempts(world) == [(1, "SUCCEEDED", None)]
    assert world.due(payouts) is None


def test_a_reversal_that_was_told_of_before_its_payout_was_known_is_applied_as_soon_as_it_is() -> None:
    world, payouts = paying("lost_after")
    row, service = transfer(world), world.life(WebhooksService)
    assert row["status"] == "RETRYABLE"
    metadata = {"transfer_id": row["transfer_id"]}
    snapshot = {"id": "tr_1", "amount": 2_700, "amount_reversed": 2_700, "metadata": metadata}
    event = Event("evt_1", "transfer.reversed", CUTOFF_AT, snapshot)
    assert world.write(lambda tx: webhooks.record(tx, event, delivered=True)) == "WAITING"
    world.work(service)
    assert world.due(service) == world.rows("select received_at from webhook_inbox")[0]["received_at"] + GIVEN_UP_MS
    world.step(payouts)
    assert transfer(world)["status"] == "PAID"
    assert world.due(service) == world.runtime.at
    world.work(service)
    assert transfer(world)["status"] == "REVERSED"


def test_the_request_says_what_the_transfer_is_for() -> None:
    world, _ = paying()
    [sent] = world.processor.transfers
    assert (sent.amount_cents, sent.destination, sent.transfer_group) == (2_700, "acct_ann", "c1")
    assert sent.metadata == {
        "contest_id": "c1", "entry_id": "c1-ann", "transfer_id": transfer(world)["transfer_id"], "user_id": "ann",
    }  # fmt: skip


def test_only_who_has_won_something_gets_a_transfer() -> None:
    world, _ = paying(prize_shares_bp=(7_000, 3_000))
    assert [(row["user_id"], row["amount_cents"]) for row in transfers(world)] == [("ann", 1_890), ("bob", 810)]
    assert len(world.processor.transfers) == 2


def test_the_scheduler_looks_every_five_minutes() -> None:
    world = settled()
    world.runtime.at += 1
    world.step(world.life(PayoutsService))
    assert (world.status(), world.runtime.at) == ("PAID_OUT", CUTOFF_AT + 5 * MINUTE_MS)


def test_the_attempt_is_on_record_before_it_is_made() -> None:
    world = settled()
    seen: list[Any] = []
    real = world.processor.create_transfer

    async def look(**params: Any) -> Any:
        seen.append((attempts(world), transfer(world)["status"], world.balances()))
        return await real(**params)

    world.processor.create_transfer = look  # type: ignore[method-assign]
    world.work(world.life(PayoutsService))
    assert seen == [([(1, None, None)], "SUBMITTED", ON_ITS_WAY)]


def test_a_contest_without_a_prize_to_pay_is_paid_out_at_once() -> None:
    world = settled()
    world.connection.execute("drop trigger settlement_packs_daemon_authority")
    world.connection.execute(
        "update settlement_packs set status = 'ORPHANED_OUTCOME_MISSING', fail_reason_code = 'outcome_missing'"
    )
    payouts = world.life(PayoutsService)
    world.work(payouts)
    assert (world.status(), transfers(world), world.due(payouts)) == ("PAID_OUT", [], None)


# --- an answer that was lost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["lost_before", "lost_after", "500_done", "500_not_done"])
def test_after_an_unknown_outcome_the_same_key_is_sent_again(word: str) -> None:
    world, payouts = paying(word)
    row = transfer(world)
    assert row["status"] == "RETRYABLE"
    assert attempts(world) == [(1, "UNKNOWN", "deadline_exceeded" if word.startswith("lost") else "http_500")]
    assert world.balances() == ON_ITS_WAY, "it may have been sent: it is neither paid nor owed"
    world.step(payouts)
    assert keys(world) == ["1", "1"]
    assert len(world.processor.transfers) == (0 if word == "500_not_done" else 1)


def test_a_lost_answer_is_told_again_under_the_same_key_and_nobody_is_paid_twice() -> None:
    world, payouts = paying("lost_after")
    to_the_end(world, payouts)
    assert attempts(world) == [(1, "UNKNOWN", "deadline_exceeded"), (2, "SUCCEEDED", None)]
    assert (len(world.processor.transfers), world.status(), world.balances()) == (1, "PAID_OUT", PAID)


def aged(world: ContestWorld) -> None:
    """The key is 23 h old now, and the next attempt is due."""
    world.runtime.at = transfer(world)["key_born_at"] + KEY_LIFE_MS
    assert transfer(world)["next_attempt_at"] <= world.runtime.at


def test_an_hour_before_a_key_dies_the_books_are_searched_and_what_they_hold_is_paid() -> None:
    world, payouts = paying("500_done")
    aged(world)
    world.work(payouts)
    assert [what for _, what, _ in world.processor.requests] == ["create", "list"]
    assert world.processor.sent("list") == ["c1"]
    assert (transfer(world)["status"], transfer(world)["processor_transfer_id"]) == ("PAID", "tr_1")
    assert (world.balances(), world.status()) == (PAID, "PAID_OUT")
    assert attempts(world) == [(1, "UNKNOWN", "http_500")], "asking is no attempt"


def test_books_that_hold_nothing_prove_that_a_new_key_is_safe() -> None:
    world, payouts = paying("500_not_done")
    aged(world)
    world.work(payouts)
    assert [what for _, what, _ in world.processor.requests] == ["create", "list", "create"]
    assert keys(world) == ["1", "2"]
    assert attempts(world) == [(1, "UNKNOWN", "http_500"), (2, "SUCCEEDED", None)]
    assert (len(world.processor.transfers), world.balances()) == (1, PAID)


def test_a_minute_earlier_the_same_key_is_still_good() -> None:
    world, payouts = paying("lost_before")
    aged(world)
    world.runtime.at -= MINUTE_MS
    world.work(payouts)
    assert keys(world) == ["1", "1"]
    assert world.processor.sent("list") == []


def test_somebody_elses_transfer_in_the_group_proves_nothing() -> None:
    world, payouts = paying("ok", "500_not_done", prize_shares_bp=(7_000, 3_000))
    world.runtime.at += KEY_LIFE_MS
    world.work(payouts)
    assert [row["status"] for row in transfers(world)] == ["PAID", "PAID"]
    assert sorted(sent.destination for sent in world.processor.transfers) == ["acct_ann", "acct_bob"]


def test_a_transfer_that_is_found_with_another_amount_is_neither_paid_nor_sent_again() -> None:
    world, payouts = paying("500_done")
    world.processor.transfers = [dataclasses.replace(made, amount_cents=2_699) for made in world.processor.transfers]
    aged(world)
    for _ in range(3):
        world.work(payouts)
        row = transfer(world)
        world.runtime.at = row["next_attempt_at"]
        assert (row["status"], row["reason"], row["processor_transfer_id"]) == ("RETRYABLE", CONFLICT, None)
        assert world.balances() == ON_ITS_WAY
    assert len(world.processor.sent()) == 1, "and so nothing more was sent"


@pytest.mark.parametrize(
    "error",
    [
        DeadlineExceeded(),
        ConnectionFailed(),
        ProcessorError(429, "invalid_request_error", "rate_limit", ""),
        ProcessorError(400, "invalid_request_error", "resource_missing", ""),
        ProcessorError(400, "invalid_request_error", "balance_insufficient", ""),
    ],
    ids=lambda error: getattr(error, "error_code", error.code),
)
def test_a_search_that_fails_decides_nothing(error: Exception) -> None:
    world, payouts = paying("500_done")
    key = transfer(world)["idempotency_key"]
    aged(world)
    world.processor.look_ups = [error]
    world.work(payouts)
    row = transfer(world)
    assert (row["status"], row["idempotency_key"], len(world.processor.sent())) == ("RETRYABLE", key, 1)
    assert row["next_attempt_at"] > world.runtime.at
    to_the_end(world, payouts)
    assert (transfer(world)["status"], len(world.processor.transfers)) == ("PAID", 1)


# --- proven rejections ------------------------------------------------------------------------------------------------


def test_a_payout_without_funds_is_sent_again_under_a_new_key() -> None:
    world, payouts = paying("insufficient")
    assert attempts(world) == [(1, "REJECTED", "balance_insufficient")]
    assert (transfer(world)["status"], transfer(world)["key_born_at"]) == ("RETRYABLE", None)
    to_the_end(world, payouts)
    assert keys(world) == ["1", "2"]
    assert (world.status(), world.balances()) == ("PAID_OUT", PAID)


@pytest.mark.parametrize(
    ("word", "code"), [("refused", "connection_failed"), ("429", "rate_limit"), ("409", "idempotency_key_in_use")]
)
def test_what_was_not_saved_under_the_key_is_sent_again_under_it(word: str, code: str) -> None:
    world, payouts = paying(word)
    assert attempts(world) == [(1, "UNKNOWN" if word == "409" else "REJECTED", code)]
    to_the_end(world, payouts)
    assert keys(world) == ["1", "1"]
    assert (len(world.processor.transfers), world.balances()) == (1, PAID)


def test_a_closed_account_ends_the_payout_with_a_reason_and_the_prize_is_owed_again() -> None:
    world, payouts = paying("closed")
    row = transfer(world)
    assert (row["status"], row["reason"], row["done_at"]) == ("FAILED_TERMINAL", "account_closed", CUTOFF_AT)
    assert attempts(world) == [(1, "REJECTED", "account_closed")]
    assert world.balances() == OWED
    assert world.row("ledger_transactions", business_key=f"void:{row['transfer_id']}")["kind"] == "void"
    assert (world.status(), world.due(payouts)) == ("PAID_OUT", None)


def test_a_code_that_nobody_has_registered_proves_nothing_and_says_so() -> None:
    world, payouts = paying("unheard_of")
    assert attempts(world) == [(1, "UNKNOWN", "moon_phase_unsuitable")]
    reason = world.audited("transfers.update")[-1]["reason"]
    assert reason == "try again: moon_phase_unsuitable is not a registered code"
    world.step(payouts)
    assert keys(world) == ["1", "1"]


# --- users who leave --------------------------------------------------------------------------------------------------


def leaves(world: ContestWorld, user: str = "ann") -> None:
    world.connection.execute("update users set deleted_at = ? where user_id = ?", (world.runtime.at, user))


def test_a_user_who_left_before_he_was_paid_is_documented_and_his_prize_kept() -> None:
    world = settled()
    leaves(world)
    world.work(world.life(PayoutsService))
    assert (transfer(world)["status"], transfer(world)["reason"]) == ("FAILED_TERMINAL", "user_deleted")
    assert (world.processor.requests, world.balances(), world.status()) == ([], OWED, "PAID_OUT")


@pytest.mark.parametrize("word", ["refused", "insufficient"])
def test_a_user_who_left_after_a_rejection_has_his_prize_taken_off_the_road(word: str) -> None:
    world, payouts = paying(word)
    leaves(world)
    to_the_end(world, payouts)
    assert (transfer(world)["reason"], len(world.processor.sent())) == ("user_deleted", 1)
    assert world.balances() == OWED


def test_a_user_who_left_while_the_outcome_was_unknown_counts_as_paid_if_he_was() -> None:
    world, payouts = paying("lost_after")
    leaves(world)
    world.step(payouts)
    assert (transfer(world)["status"], len(world.processor.sent())) == ("PAID", 1)
    assert (world.balances(), world.status()) == (PAID, "PAID_OUT")


def test_a_user_who_left_while_the_outcome_was_unknown_is_given_up_once_nothing_can_arrive_any_more() -> None:
    world, payouts = paying("lost_before")
    leaves(world)
    to_the_end(world, payouts)
    row = transfer(world)
    assert (row["status"], row["reason"], len(world.processor.sent())) == ("FAILED_TERMINAL", "user_deleted", 1)
    assert row["done_at"] == row["key_born_at"] + KEY_LIFE_MS
    assert len(world.processor.sent("list")) == 2, "at once, and when the key is dead"
    assert world.balances() == OWED


# --- backing off ------------------------------------------------------------------------------------------------------


def waits(draw: Callable[[int], int]) -> list[int]:
    """How long each of ten refused attempts puts off the next one."""
    world = settled()
    world.entropy.draw = draw
    world.processor.script = ["refused"] * 10
    payouts = world.life(PayoutsService)
    found = []
    for _ in range(10):
        world.runtime.at = max(world.runtime.at, (world.due(payouts) or 0))
        world.work(payouts)
        found.append(transfer(world)["next_attempt_at"] - world.runtime.at)
    return found


def test_the_wait_doubles_up_to_an_hour() -> None:
    longest = [min(BACKOFF_MAX_MS, BACKOFF_MIN_MS << n) for n in range(10)]
    assert waits(lambda n: n - 1) == longest
    assert longest[-1] == HOUR_MS


def test_chance_takes_away_up_to_half_of_the_wait() -> None:
    longest = [min(BACKOFF_MAX_MS, BACKOFF_MIN_MS << n) for n in range(10)]
    assert waits(lambda _: 0) == [wait // 2 for wait in longest]


def test_each_transfer_draws_for_itself_and_for_each_attempt() -> None:
    world, payouts = paying("refused", "refused", "refused", "refused", prize_shares_bp=(7_000, 3_000))
    world.step(payouts)
    assert len(set(world.entropy.sites)) == len(world.entropy.sites) == 4
    assert {site for site, *_ in world.entropy.sites} == {"payouts.backoff"}


# --- several payouts --------------------------------------------------------------------------------------------------


def test_a_batch_may_fail_in_part_and_the_contest_waits_for_all() -> None:
    world, payouts = paying("ok", "lost_before", "closed", prize_shares_bp=(5_000, 3_000, 2_000))
    assert [row["status"] for row in transfers(world)] == ["PAID", "RETRYABLE", "FAILED_TERMINAL"]
    assert world.status() == "SETTLED"
    to_the_end(world, payouts)
    assert [row["status"] for row in transfers(world)] == ["PAID", "PAID", "FAILED_TERMINAL"]
    assert world.status() == "PAID_OUT"


def test_one_contest_in_trouble_does_not_hold_up_another() -> None:
    world = ContestWorld()
    for contest in ("c1", "c2"):
        world.offer(contest, prize_shares_bp=[10_000])
        world.enter("ann", "g1", contest)
        world.enter("bob", "g2", contest)
    world.played(world.life(ContestsService), CARDS)
    world.full_poll()
    world.work(world.life(SettlementService))
    world.processor.script = ["lost_before"]
    world.work(world.life(PayoutsService))
    assert sorted((world.status("c1"), world.status("c2"))) == ["PAID_OUT", "SETTLED"]


def test_a_winner_who_has_no_transfer_keeps_the_contest_open() -> None:
    world, payouts = paying("lost_before", "ok", prize_shares_bp=(7_000, 3_000))
    world.connection.execute("delete from transfer_attempts")
    world.connection.execute("delete from transfers where user_id = 'ann'")
    world.runtime.at += HOUR_MS
    world.work(payouts)
    assert world.status() == "SETTLED"
