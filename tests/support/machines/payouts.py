"""Payouts as a machine: two winners, a processor that answers, loses and refuses, crashes at any transaction.

The model is SPEC 1.6 and FACTS 1, 4 and 7: whoever sends again uses the key that he used before, until a rejection or
the processor's books prove that nothing happened under it, and never a key that the processor has forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contest_platform import ledger
from contest_platform.audit import Context
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed, ConnectionLost, DeadlineExceeded, ProcessorError, Transfer
from contest_platform.services import payouts
from tests.support.contest_world import ContestWorld, Crash, ModelProcessor
from tests.support.payout_world import settled

PRIZES = {"ann": 1_890, "bob": 810}
"""2 700 cents at 70 and 30 per cent."""
KEY_LIFE_MS = 24 * HOUR_MS
"""What the processor promises at least (docs.stripe.com/api/idempotent_requests)."""
PROVEN = {"insufficient", "closed", "429", "refused"}
"""What proves that this request did nothing: 4xx except 409, and a connection that was never made."""
SAVED = {"insufficient", "closed"}
"""Rejections that are replayed under their key, and so tell of every request under it."""
WORDS = (
    "ok", "lost_before", "lost_after", "refused", "500_done", "500_not_done", "insufficient", "closed", "429", "409",
    "crash_before", "crash_after",
)  # fmt: skip
WAITS_MS = (MINUTE_MS, HOUR_MS, 6 * HOUR_MS, 22 * HOUR_MS, 25 * HOUR_MS)


@dataclass
class Sent:
    """What was sent for one winner, as it was on the wire."""

    keys: dict[str, int] = field(default_factory=dict)
    """Each key, and when it was first used."""
    heard: list[tuple[str, str]] = field(default_factory=list)
    """(key, what the sender heard: ok, what proves that nothing happened, or unknown)."""
    absent_after: int = -1
    """How many requests had been made when the processor's books last showed that nothing had been transferred."""
    params: set[tuple[Any, ...]] = field(default_factory=set)


class Watched(ModelProcessor):
    """The processor, with somebody who looks at every request as it comes in."""

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.sent_to: dict[str, Sent] = {user: Sent() for user in PRIZES}
        self.misused: list[str] = []
        """What was wrong with keys as they came in."""

    async def create_transfer(self, *, idempotency_key: str, **params: Any) -> Transfer:
        sent, now = self.sent_to[params["metadata"]["user_id"]], self._runtime.at
        self._look_at_key(sent, idempotency_key, now)
        sent.keys.setdefault(idempotency_key, now)
        sent.params.add((params["amount_cents"], params["destination"], params["transfer_group"]))
        heard = "unknown"
        try:
            made = await super().create_transfer(idempotency_key=idempotency_key, **params)
            heard = "ok"
            return made
        except ProcessorError as error:
            heard = error.message if error.message in PROVEN else "unknown"
            raise
        except ConnectionFailed:
            heard = "refused"
            raise
        finally:
            sent.heard.append((idempotency_key, heard))

    async def list_transfers(self, *, transfer_group: str) -> list[Transfer]:
        listed = await super().list_transfers(transfer_group=transfer_group)
        found = {transfer.metadata["user_id"] for transfer in listed}
        for user, sent in self.sent_to.items():
            if user not in found:
                sent.absent_after = len(sent.heard)
        return listed

    def _look_at_key(self, sent: Sent, key: str, now: int) -> None:
        if now - sent.keys.get(key, now) >= KEY_LIFE_MS:
            self.misused.append("a key is used that the processor may have forgotten")
        if not sent.heard or key == sent.heard[-1][0]:
            return
        if key in sent.keys:
            self.misused.append("a key is used again that had been given up")
        before = [heard for used, heard in sent.heard if used == sent.heard[-1][0]]
        is_proven = before[-1] in SAVED or all(heard in PROVEN for heard in before)
        is_absent = sent.absent_after == len(sent.heard)
        if not is_proven and not is_absent:
            self.misused.append(f"a new key, and of the old one is known: {before}")


class Payouts(RuleBasedStateMachine):
    world: ContestWorld

    @initialize()
    def settle(self) -> None:
        self.world = settled(prize_shares_bp=(7_000, 3_000))
        self.processor = self.world.processor = Watched(self.world.runtime)
        self.payouts = self.world.life(payouts.PayoutsService)
        self.deleted: set[str] = set()

    # --- what the world does -----------------------------------------------------------------------------------------

    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))
    def the_processor_answers(self, words: list[str]) -> None:
        self.processor.script += words

    @rule(error=st.sampled_from([DeadlineExceeded("list"), ConnectionLost("list")]))
    def a_look_up_fails(self, error: Exception) -> None:
        self.processor.look_ups.append(error)

    @rule(wait_ms=st.sampled_from(WAITS_MS))
    def time_passes(self, wait_ms: int) -> None:
        self.world.runtime.at += wait_ms

    @rule()
    def the_scheduler_ticks(self) -> None:
        self._live(lambda: self.world.work(self.payouts))

    @rule()
    def the_next_attempt_comes(self) -> None:
        self._live(lambda: self.world.step(self.payouts))

    @rule(after=st.integers(1, 6), committed=st.booleans())
    def it_dies_at_a_transaction(self, after: int, committed: bool) -> None:
        store = self.world.store
        store.crash_at, store.committed = len(store.log) + after, committed
        try:
            self._live(lambda: self.world.step(self.payouts))
        finally:
            store.crash_at = None

    @rule()
    def it_is_restarted(self) -> None:
        self.payouts = self.world.life(payouts.PayoutsService)

    @rule(user=st.sampled_from(sorted(PRIZES)))
    def a_runbook_asks_for_a_retry(self, user: str) -> None:
        ctx = Context("ops:kim", "runbook")
        for transfer_id in [row["transfer_id"] for row in self._transfers() if row["user_id"] == user]:
            self.world.write(partial(payouts.retry_now, ctx=ctx, transfer_id=transfer_id, reason="asked for"))

    @rule(user=st.sampled_from(sorted(PRIZES)), thinks_better=st.sampled_from([True] * 7 + [False]))
    def a_winner_deletes_his_account(self, user: str, thinks_better: bool) -> None:
        """Seldom: whoever is gone is asked after at once, and what becomes of him hides what became of the others."""
        if thinks_better:
            return
        self.deleted.add(user)
        sql = "update users set deleted_at = :now where user_id = :u and deleted_at is null"
        self.world.write(lambda tx: tx.run(sql, {"now": tx.now, "u": user}))

    def _live(self, work: Any) -> None:
        try:
            work()
        except Crash:
            self.payouts = self.world.life(payouts.PayoutsService)

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def keys_are_used_as_the_processor_keeps_them(self) -> None:
        assert not self.processor.misused, self.processor.misused

    @invariant()
    def nobody_is_paid_twice_or_another_sum(self) -> None:
        """By what the processor did, whatever was taken for a proof: the right answer to the wrong question is none."""
        for user, prize in PRIZES.items():
            assert [made.amount_cents for made in self._made(user)] in ([], [prize]), user
            assert self.processor.sent_to[user].params <= {(prize, f"acct_{user}", "c1")}, user

    @invariant()
    def what_is_said_of_a_transfer_is_so(self) -> None:
        for row in self._transfers():
            made = [transfer.id for transfer in self._made(row["user_id"])]
            if row["status"] == "PAID":
                assert made == [row["processor_transfer_id"]], row
            elif row["status"] == "FAILED_TERMINAL":
                assert made == [], f"given up, and the processor has paid it: {row}"

    @invariant()
    def the_books_say_where_each_prize_is(self) -> None:
        expected = {ledger.PENDING: 3_000, ledger.rake("c1"): -300}
        standing = {row["user_id"]: row["status"] for row in self._transfers()}
        for user, prize in PRIZES.items():
            account = {
                "PENDING": ledger.prize_payable("c1", user),
                "FAILED_TERMINAL": ledger.prize_payable("c1", user),
                "SUBMITTED": ledger.in_transit(user),
                "RETRYABLE": ledger.in_transit(user),
                "PAID": ledger.AVAILABLE,
            }[standing.get(user, "PENDING")]
            expected[account] = expected.get(account, 0) - prize
        assert self.world.balances() == expected

    @invariant()
    def every_request_is_on_record(self) -> None:
        for user, sent in self.processor.sent_to.items():
            rows = self.world.rows(
                "select a.idempotency_key, a.outcome from transfer_attempts a join transfers t using (transfer_id)"
                " where t.user_id = ? order by a.n", user,
            )  # fmt: skip
            outcomes = [row["outcome"] for row in rows]
            heard = [what for _, what in sent.heard]
            assert len(rows) >= len(heard), "a request was sent that is not on record"
            assert [key for key in dict.fromkeys(row["idempotency_key"] for row in rows) if key in sent.keys] == [
                *sent.keys
            ]
            assert outcomes.count("SUCCEEDED") <= heard.count("ok")
            assert outcomes.count("REJECTED") <= sum(what in PROVEN for what in heard), (outcomes, heard)

    def teardown(self) -> None:
        """All is well from now on: it ends, and everybody has his prize or a reason."""
        if not hasattr(self, "world"):
            return
        self.processor.script.clear()
        self.processor.look_ups.clear()
        for _ in range(100):
            if not self.world.step(self.payouts):
                break
        else:
            raise AssertionError(f"it does not end: {self._transfers()}")
        self.every_request_is_on_record()
        self.keys_are_used_as_the_processor_keeps_them()
        self.nobody_is_paid_twice_or_another_sum()
        self.what_is_said_of_a_transfer_is_so()
        self.the_books_say_where_each_prize_is()
        assert self.world.status() == "PAID_OUT"
        rows = {row["user_id"]: row for row in self._transfers()}
        assert set(rows) == set(PRIZES), "a winner is forgotten"
        for user, row in rows.items():
            closed = "closed" in [heard for _, heard in self.processor.sent_to[user].heard]
            reasons = {"account_closed"} if closed else {"user_deleted"} if user in self.deleted else set()
            assert row["status"] == "PAID" or (row["status"] == "FAILED_TERMINAL" and row["reason"] in reasons), row

    def _transfers(self) -> list[dict[str, Any]]:
        return self.world.rows("select * from transfers order by user_id")

    def _made(self, user: str) -> list[Transfer]:
        return [made for made in self.processor.transfers if made.destination == f"acct_{user}"]
