"""The ledger as a machine: three customers who pay in time, too late or unheard of, webhooks in any order and number,
and reconciliation that breaks off anywhere.

The model is SPEC 1.2, 1.3 and FACTS 1 and 4: what the processor has, and how much of it we were told, says what every
account holds. Money captured before the lock is in escrow after it, however late we learn of it; other money goes back.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contest_platform import ledger
from contest_platform.audit import Context
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionLost, DeadlineExceeded
from contest_platform.services import entries
from tests.support.platform_ports import CHARGE_FEE_CENTS, FEE_CENTS, LOCK_AT, START, Platform

USERS = ("ann", "bob", "cyd")
CAPTURED = "payment_intent.succeeded"
WAITS_MS = (MINUTE_MS, HOUR_MS, 20 * HOUR_MS)
READS = ("events.list", "intents.retrieve", "balance.list")
"""What a pass of reconciliation asks for, in this order."""


class Ledger(RuleBasedStateMachine):
    platform: Platform

    @initialize(entered=st.integers(0, len(USERS)), wait_ms=st.sampled_from([0, 48 * HOUR_MS]))
    def offer(self, entered: int, wait_ms: int) -> None:
        """Some have entered before it begins, which may be when it is too late to pay."""
        self.platform = Platform()
        self.platform.runtime.at = START + HOUR_MS
        self.intents: dict[str, str] = {}
        self.unheard: set[str] = set()
        """Whose intent was made, and the answer lost."""
        self.captured: dict[str, int] = {}
        self.known: set[str] = set()
        """Whose capture we have been told of."""
        self.movements_read = self.movements_available = 0
        self.locked = self.asked_at_lock = False
        for user in USERS[:entered]:
            self.a_customer_enters(user, False)
        self.platform.runtime.at += wait_ms

    # --- what the world does -----------------------------------------------------------------------------------------

    @rule(user=st.sampled_from(USERS), lost=st.booleans())
    def a_customer_enters(self, user: str, lost: bool) -> None:
        processor = self.platform.processor
        if self.locked or self.platform.runtime.at >= LOCK_AT or user in self.intents:
            return
        self.platform.sign_up(user)
        if lost:
            processor.troubles["intents.create"] = [(DeadlineExceeded("lost"), True)]
            self.unheard.add(user)
        self.platform.enter(user)
        [self.intents[user]] = [i.id for i in processor.intents.values() if i.metadata["user_id"] == user]

    @rule(user=st.sampled_from(USERS), told=st.sampled_from(["once", "twice", "never"]))
    def a_customer_pays(self, user: str, told: str) -> None:
        """`twice`: the processor makes two events of it; `never`: none, which only comes of money paid in time."""
        processor, now = self.platform.processor, self.platform.runtime.at
        if user not in self.intents or user in self.captured:
            return
        event = processor.pay(self.intents[user])
        self.captured[user] = now
        if told == "twice":
            processor.event(event.type, dict(event.body["data"]["object"]))
        elif told == "never" and now < LOCK_AT and user not in self.unheard:
            processor.events.remove(event)

    @rule(pick=st.integers(0, 30), fails=st.booleans())
    def a_webhook_arrives(self, pick: int, fails: bool) -> None:
        events = self.platform.processor.events
        if not events:
            return
        event = events[pick % len(events)]
        if fails:
            self.platform.store.fail_next["webhooks.record"] = 1
        if self.platform.deliver(event).status == 200:
            self._told(event)

    @rule(wait_ms=st.sampled_from(WAITS_MS))
    def time_passes(self, wait_ms: int) -> None:
        self.platform.runtime.at += wait_ms

    @rule()
    def the_contest_locks(self) -> None:
        if self.locked:
            return
        self.platform.runtime.at = max(self.platform.runtime.at, LOCK_AT)
        self.locked = True

        def lock(tx: Any) -> None:
            tx.run("update contests set status = 'LOCKED' where contest_id = 'c1'")
            entries.post_lock(tx, Context("system:contests", "c1"), "c1")

        self.platform.write(lock)

    @rule(breaks_off=st.sampled_from([None, *READS]))
    def reconciliation_passes(self, breaks_off: str | None) -> None:
        processor, now = self.platform.processor, self.platform.runtime.at
        processor.troubles.clear()
        if breaks_off is not None:
            processor.troubles[breaks_off] = [(ConnectionLost(breaks_off), False)]
        self.platform.run(self.platform.jobs["payments.reconciliation"].work())
        broke_off = breaks_off if breaks_off and not processor.troubles.pop(breaks_off) else None
        reached = READS.index(broke_off) if broke_off else len(READS)
        if reached > 0:
            for event in processor.events:
                self._told(event)
        if reached > 1 and now >= LOCK_AT and not self.asked_at_lock:
            self.known |= set(self.captured) - self.unheard
        if reached > 2:
            self.asked_at_lock |= now >= LOCK_AT
            self.movements_read = len(processor.balance)
            self.movements_available = now

    @rule(lost=st.booleans(), wait_ms=st.sampled_from([0, HOUR_MS]))
    def refunds_are_sent(self, lost: bool, wait_ms: int) -> None:
        self.platform.runtime.at += wait_ms
        if lost:
            self.platform.processor.troubles["refunds.create"] = [(DeadlineExceeded("lost"), True)]
        self.platform.run(self.platform.jobs["refunds"].work())
        self.platform.processor.troubles.pop("refunds.create", None)

    @rule()
    def the_process_is_restarted(self) -> None:
        self.platform.restart()

    def _told(self, event: Any) -> None:
        if event.type == CAPTURED:
            self.known.add(event.body["data"]["object"]["metadata"]["user_id"])

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def every_account_holds_what_the_processor_has_told(self) -> None:
        balances = self.platform.balances()
        charges = [moved for moved in self.platform.processor.balance[: self.movements_read] if moved.kind == "charge"]
        available = sum(moved.net_cents for moved in charges if moved.available_at <= self.movements_available)
        expected = {
            ledger.FEES: CHARGE_FEE_CENTS * len(charges),
            ledger.PENDING: FEE_CENTS * len(self.known) - CHARGE_FEE_CENTS * len(charges) - available,
            ledger.AVAILABLE: available,
            ledger.escrow("c1"): 0,
        }
        for user in self.known:
            if self.captured[user] >= LOCK_AT:
                owed = -balances.get(ledger.refund_payable(user), 0)
                assert owed in (0, FEE_CENTS), f"{user} paid too late, and is owed {owed}"
                assert owed or self._refunded(user), f"{user} is owed nothing, and has nothing back"
                expected[ledger.refund_payable(user)] = -owed
                expected[ledger.AVAILABLE] -= FEE_CENTS - owed
            else:
                account = ledger.escrow("c1") if self.locked else ledger.wallet(user)
                expected[account] = expected.get(account, 0) - FEE_CENTS
        assert balances == {account: cents for account, cents in expected.items() if cents}

    @invariant()
    def only_who_paid_too_late_has_his_fee_back_and_all_of_it(self) -> None:
        """That he has it back once the processor sees to: of a payment it gives back no more than came in."""
        late = {self.intents[user] for user, at in self.captured.items() if at >= LOCK_AT}
        for refund in self.platform.processor.refunds:
            assert (refund.intent_id in late, refund.amount_cents) == (True, FEE_CENTS), refund

    def _refunded(self, user: str) -> int:
        return sum(refund.intent_id == self.intents[user] for refund in self.platform.processor.refunds)

    def teardown(self) -> None:
        """All is well from now on: every capture is known, and every late one is back with its owner."""
        if not hasattr(self, "platform"):
            return
        self.platform.store.fail_next.clear()
        self.the_contest_locks()
        for _ in range(4):
            self.platform.runtime.at += 20 * HOUR_MS
            self.reconciliation_passes(None)
            self.refunds_are_sent(False, 0)
        self.every_account_holds_what_the_processor_has_told()
        self.only_who_paid_too_late_has_his_fee_back_and_all_of_it()
        assert self.known == set(self.captured)
        assert {user for user in self.known if self._refunded(user)} == {
            user for user, at in self.captured.items() if at >= LOCK_AT
        }
        assert "WAITING" not in self.platform.statuses()
