"""Nobody is paid twice and nobody forgotten: payouts under crashes at any step and under any script of outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.services.payouts import KEY_LIFE_MS, PayoutsService
from tests.support.contest_world import CONFIG, CUTOFF_AT, ContestWorld, Crash
from tests.support.payout_world import PAID, attempts, keys, settled, to_the_end, transfers
from tests.support.stores import on_each_store

pytestmark = on_each_store

TIMEOUT_MS = CONFIG.processor_timeout_ms

# --- crashes ----------------------------------------------------------------------------------------------------------


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


# --- under any script of outcomes -------------------------------------------------------------------------------------

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
