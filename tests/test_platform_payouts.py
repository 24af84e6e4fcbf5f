"""Payouts: each prize is paid exactly once or given up with a reason, whatever the processor answers or does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from contest_platform import ledger
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed, DeadlineExceeded, ProcessorError
from contest_platform.services.contests import ContestsService
from contest_platform.services.payouts import (
    BACKOFF_MAX_MS,
    BACKOFF_MIN_MS,
    KEY_LIFE_MS,
    PayoutsService,
)
from contest_platform.services.settlement import SettlementService
from tests.support.contest_world import CONFIG, CUTOFF_AT, ContestWorld, Crash

CARDS = {"g1": (4, 3, 5), "g2": (4, 4, 5), "g3": (5, 4, 5)}
TIMEOUT_MS = CONFIG.processor_timeout_ms


def settled(prize_shares_bp: Sequence[int] = (10_000,), **more: Any) -> ContestWorld:
    """A settled contest of three entries; by default ann alone has won, 2 700 cents."""
    world = ContestWorld()
    world.offer(prize_shares_bp=list(prize_shares_bp), **more)
    for user, golfer in (("ann", "g1"), ("bob", "g2"), ("cyd", "g3")):
        world.enter(user, golfer)
    world.played(world.life(ContestsService), CARDS)
    world.full_poll(CUTOFF_AT)
    world.work(world.life(SettlementService))
    assert world.status() == "SETTLED"
    return world


def paying(*script: str, **more: Any) -> tuple[ContestWorld, PayoutsService]:
    """A settled contest whose first requests to the processor end as `script` says, and the payouts have worked once."""
    world = settled(**more)
    world.processor.script = list(script)
    payouts = world.life(PayoutsService)
    world.work(payouts)
    return world, payouts


def to_the_end(world: ContestWorld, payouts: PayoutsService, steps: int = 200) -> None:
    """Let the payouts work as long as they have work; a process that dies is followed by another."""
    for _ in range(steps):
        try:
            if not world.step(payouts):
                return
        except Crash:
            payouts = world.life(PayoutsService)
    raise AssertionError(f"there is still work at {world.runtime.at}: {transfers(world)}")


def transfers(world: ContestWorld) -> list[dict[str, Any]]:
    return world.rows("select * from transfers order by entry_id")


def transfer(world: ContestWorld) -> dict[str, Any]:
    [only] = transfers(world)
    return only


def attempts(world: ContestWorld) -> list[tuple[Any, ...]]:
    found = world.rows("select n, outcome, code from transfer_attempts order by transfer_id, n")
    return [tuple(row.values()) for row in found]


def keys(world: ContestWorld) -> list[str]:
    """The keys sent, a number for each in order of appearance."""
    sent = world.processor.sent()
    numbers = {key: str(n) for n, key in enumerate(dict.fromkeys(sent), 1)}
    return [numbers[key] for key in sent]


PAID = {ledger.PENDING: 3_000, ledger.rake("c1"): -300, ledger.AVAILABLE: -2_700}
OWED = {ledger.PENDING: 3_000, ledger.rake("c1"): -300, ledger.prize_payable("c1", "ann"): -2_700}
ON_ITS_WAY = {ledger.PENDING: 3_000, ledger.rake("c1"): -300, ledger.in_transit("ann"): -2_700}


# --- when all is well ------------------------------------------------------------------------------------------------


def test_a_winner_is_paid_and_the_contest_is_paid_out() -> None:
    world, payouts = paying()
    row = transfer(world)
    assert (row["status"], row["amount_cents"], row["destination"]) == ("PAID", 2_700, "acct_ann")
    assert (row["processor_transfer_id"], row["done_at"], row["attempts"]) == ("tr_1", CUTOFF_AT, 1)
    assert world.balances() == PAID
    assert (world.status(), world.row("contests", contest_id="c1")["closed_at"]) == ("PAID_OUT", CUTOFF_AT)
    assert attempts(world) == [(1, "SUCCEEDED", None)]
    assert world.due(payouts) is None


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
    world.connection.execute("update settlement_packs set status = 'ORPHANED_OUTCOME_MISSING'")
    payouts = world.life(PayoutsService)
    world.work(payouts)
    assert (world.status(), transfers(world), world.due(payouts)) == ("PAID_OUT", [], None)


# --- an answer that was lost -----------------------------------------------------------------------------------------


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


# --- proven rejections -----------------------------------------------------------------------------------------------


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


# --- users who leave -------------------------------------------------------------------------------------------------


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
    assert row["done_at"] >= row["key_born_at"] + KEY_LIFE_MS
    assert world.balances() == OWED


# --- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["crash_before", "crash_after"])
def test_a_sender_that_died_before_it_heard_the_answer_is_followed_by_one_with_the_same_key(word: str) -> None:
    world = settled()
    world.processor.script = [word]
    with pytest.raises(Crash):
        world.work(world.life(PayoutsService))
    assert attempts(world) == [(1, None, None)]
    payouts = world.life(PayoutsService)
    assert world.due(payouts) == CUTOFF_AT + TIMEOUT_MS + MINUTE_MS, "its answer may still be under way until then"
    world.work(payouts)
    assert len(world.processor.sent()) == 1
    world.step(payouts)
    assert attempts(world) == [(1, "UNKNOWN", "deadline_exceeded"), (2, "SUCCEEDED", None)]
    assert keys(world) == ["1", "1"]
    assert (len(world.processor.transfers), world.balances()) == (1, PAID)


def in_steps(script: Sequence[str]) -> tuple[ContestWorld, list[str]]:
    world = settled(prize_shares_bp=(7_000, 3_000))
    world.processor.script = list(script)
    world.store.log.clear()
    to_the_end(world, world.life(PayoutsService))
    return world, list(world.store.log)


@pytest.mark.parametrize("script", [(), ("lost_after", "insufficient")], ids=["all well", "some trouble"])
def test_a_process_that_dies_at_any_transaction_leaves_everybody_paid_once(script: Sequence[str]) -> None:
    whole, log = in_steps(script)
    for n in range(1, len(log) + 1):
        for committed in (True, False):
            world = settled(prize_shares_bp=(7_000, 3_000))
            world.processor.script = list(script)
            world.store.log.clear()
            world.store.crash_at, world.store.committed = n, committed
            to_the_end(world, world.life(PayoutsService))
            where = f"{'after' if committed else 'before'} the commit of {log[n - 1]} ({n})"
            assert world.story()["transfers"] == whole.story()["transfers"], where
            assert world.story()["ledger"] == whole.story()["ledger"], where
            assert len(world.processor.transfers) == 2, where
            assert world.status() == "PAID_OUT", where


def test_every_transaction_may_be_run_again() -> None:
    script = ("lost_after", "insufficient")
    whole, _ = in_steps(script)
    world = settled(prize_shares_bp=(7_000, 3_000))
    world.processor.script = list(script)
    world.store.twice = True
    to_the_end(world, world.life(PayoutsService))
    assert world.story() == whole.story()


# --- backing off -----------------------------------------------------------------------------------------------------


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


# --- several payouts -------------------------------------------------------------------------------------------------


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
    world.full_poll(CUTOFF_AT)
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


# --- under any script of outcomes ------------------------------------------------------------------------------------

WORDS = (
    "ok", "lost_before", "lost_after", "500_done", "500_not_done", "429", "409", "insufficient", "refused",
    "crash_before", "crash_after",
)  # fmt: skip


def outcome_of(script: Sequence[str], make: Callable[..., PayoutsService] = PayoutsService) -> str:
    """`once` when every winner was paid his prize exactly once and the books say so; otherwise what went wrong."""
    world = settled(prize_shares_bp=(7_000, 3_000))
    world.processor.script = list(script)
    payouts = world.life(make)
    for _ in range(300):
        try:
            if not world.step(payouts):
                break
        except Crash:
            payouts = world.life(make)
    else:
        return f"no end: {world.status()}"
    paid = sorted((sent.destination, sent.amount_cents) for sent in world.processor.transfers)
    if paid != [("acct_ann", 1_890), ("acct_bob", 810)]:
        return f"paid: {paid}"
    if world.balances() != PAID:
        return f"books: {world.balances()}"
    if world.status() != "PAID_OUT" or {row["status"] for row in transfers(world)} != {"PAID"}:
        return f"status: {world.status()}"
    return "once"


SCRIPTS = st.lists(st.sampled_from(WORDS), max_size=40)
QUIET = [HealthCheck.too_slow]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=QUIET)
@given(SCRIPTS)
def test_every_winner_is_paid_exactly_once_under_any_script(script: list[str]) -> None:
    assert outcome_of(script) == "once"


@pytest.mark.parametrize("word", WORDS)
def test_every_winner_is_paid_exactly_once_when_one_thing_keeps_happening(word: str) -> None:
    assert outcome_of([word] * 40) == "once"


class NewKeyAfterUnknown(PayoutsService):
    """Wrong: takes any failure for a proven rejection."""

    def _retry(self, tx: Any, row: Any, code: str, *, new_key: bool) -> None:
        super()._retry(tx, row, code, new_key=True)


class KeepsPoisonedKey(PayoutsService):
    """Wrong: keeps a key under which a rejection is saved (FACTS: ten hours of the same refusal)."""

    def _retry(self, tx: Any, row: Any, code: str, *, new_key: bool) -> None:
        super()._retry(tx, row, code, new_key=False)


class TrustsOldKeys(PayoutsService):
    """Wrong: believes that a key lives for ever, so it never searches the books."""

    def _submit(self, tx: Any, transfer_id: str) -> Any:
        tx.run("update transfers set key_born_at = :now where key_born_at is not null", {"now": tx.now})
        return super()._submit(tx, transfer_id)


def test_the_property_fails_an_implementation_that_makes_a_new_key_after_an_unknown_outcome() -> None:
    script = find(
        SCRIPTS,
        lambda script: outcome_of(script, NewKeyAfterUnknown).startswith("paid"),
        settings=settings(max_examples=200, derandomize=True, database=None, deadline=None),
    )
    assert len(script) == 1, "the shortest proof is one lost answer"
    assert script[0] in ("lost_after", "500_done")
    assert outcome_of(script) == "once"


def test_the_model_refuses_a_poisoned_key_for_as_long_as_it_is_remembered() -> None:
    def first_paid_at(make: Callable[..., PayoutsService]) -> int:
        world = settled()
        world.processor.script = ["insufficient"]
        to_the_end(world, world.life(make))
        return world.processor.transfers[0].created_at - CUTOFF_AT

    assert first_paid_at(PayoutsService) < 2 * HOUR_MS
    assert first_paid_at(KeepsPoisonedKey) >= KEY_LIFE_MS


def test_the_model_pays_twice_under_a_key_that_has_died() -> None:
    script = ["500_done", *["lost_before"] * 60]
    assert outcome_of(script, TrustsOldKeys).startswith("paid: [('acct_ann', 1890), ('acct_ann', 1890)")
    assert outcome_of(script) == "once"
