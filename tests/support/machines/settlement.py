"""Settlement as a machine: three daemons that take turns at any transaction, die, sleep through their lease, and a feed
that corrects until the cut-off and after it.

The model is SPEC 1.1, 1.4a and 1.5: a pack per entry, all or none; each ends once, by who holds the lease, as its link
says; the official score is the last one published at or before the cut-off, and nobody settles without it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from fractions import Fraction
from types import coroutine
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contest_platform import ledger
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.services.contests import ContestsService
from contest_platform.services.settlement import SettlementService
from tests.support.contest_world import CUTOFF_AT, ContestWorld, SteppingStore

T = TypeVar("T")

USERS = ("ann", "bob", "cyd", "dan")
GOLFERS = ("g1", "g2", "g3")
FEE_CENTS, RAKE_BP, SHARES_BP = 1_001, 1_000, (5_000, 3_000, 2_000)
WAITS_MS = (MINUTE_MS, 6 * MINUTE_MS, 11 * MINUTE_MS, 2 * HOUR_MS)
"""The third is longer than a lease."""
_cards = st.tuples(*[st.integers(2, 6)] * 3)


@coroutine
def _pause() -> Generator[None, None, None]:
    yield


class TakingTurns(SteppingStore):
    """A store before whose transactions a daemon can be held, so that another has its turn."""

    holding = False

    async def transact(self, operation: str, fn: Callable[[Any], T]) -> T:
        if self.holding:
            await _pause()
        return await super().transact(operation, fn)


class Settlement(RuleBasedStateMachine):
    world: ContestWorld

    @initialize(
        rosters=st.tuples(*[st.sampled_from(GOLFERS)] * len(USERS)),
        cards=st.tuples(*[_cards] * len(GOLFERS)),
        before_ms=st.sampled_from([-MINUTE_MS, 0, MINUTE_MS, 2 * HOUR_MS]),
    )
    def complete(self, rosters: tuple[str, ...], cards: tuple[tuple[int, ...], ...], before_ms: int) -> None:
        """It begins `before_ms` before the cut-off, with a full poll of just then."""
        world = self.world = ContestWorld()
        self.store = world.store = TakingTurns(world)
        self.golfer_of = dict(zip(USERS, rosters, strict=True))
        world.offer(fee_cents=FEE_CENTS, rake_bp=RAKE_BP, prize_shares_bp=list(SHARES_BP))
        for user, golfer in self.golfer_of.items():
            world.enter(user, golfer)
        first = dict(zip(GOLFERS, cards, strict=True))
        world.played(world.life(ContestsService), first)
        world.runtime.at = CUTOFF_AT - before_ms
        self.published = [(CUTOFF_AT - 3 * HOUR_MS, first)]
        """(instant, the cards of all golfers from then on)."""
        self.a_full_poll_succeeds()
        self.turns: dict[int, tuple[SettlementService, Coroutine[Any, Any, None]]] = {}
        self.links = dict.fromkeys(USERS, "own")
        self.ended: dict[str, tuple[Any, ...]] = {}
        self.lease: dict[str, Any] | None = None
        self.holds: SettlementService | None = None
        self.at_work: SettlementService | None = None

    # --- what the world does -----------------------------------------------------------------------------------------

    @rule(wait_ms=st.sampled_from(WAITS_MS))
    def time_passes(self, wait_ms: int) -> None:
        self.world.runtime.at += wait_ms

    @rule(golfer=st.sampled_from(GOLFERS), card=_cards)
    def the_feed_corrects(self, golfer: str, card: tuple[int, ...]) -> None:
        self._publish(self.world.runtime.at, golfer, card)

    @precondition(lambda self: self.world.runtime.at > CUTOFF_AT and self.full_poll_at <= CUTOFF_AT)
    @rule(golfer=st.sampled_from(GOLFERS), card=_cards)
    def a_correction_of_before_the_cut_off_is_learnt_late(self, golfer: str, card: tuple[int, ...]) -> None:
        if self.published[-1][0] < CUTOFF_AT:
            self._publish(CUTOFF_AT, golfer, card)

    @rule()
    def a_full_poll_succeeds(self) -> None:
        self.full_poll_at = self.world.runtime.at
        self.world.full_poll(self.full_poll_at)

    @rule(daemon=st.integers(1, 3), transactions=st.integers(1, 4), wait_ms=st.sampled_from([0, MINUTE_MS]))
    def a_daemon_has_its_turn(self, daemon: int, transactions: int, wait_ms: int) -> None:
        self.world.runtime.at += wait_ms
        if daemon not in self.turns:
            service = self.world.life(SettlementService)
            self.turns[daemon] = service, service.jobs()[0].work()
        service, work = self.turns[daemon]
        self.at_work = service
        self.store.holding = True
        try:
            for _ in range(transactions):
                work.send(None)
        except StopIteration:
            self.turns[daemon] = service, service.jobs()[0].work()
        finally:
            self.store.holding = False

    @rule(daemon=st.integers(1, 3))
    def a_daemon_dies(self, daemon: int) -> None:
        if daemon in self.turns:
            self.turns.pop(daemon)[1].close()

    @rule()
    def every_transaction_is_run_twice_from_now_on(self) -> None:
        self.store.twice = True

    @rule(user=st.sampled_from(USERS))
    def a_link_is_lost(self, user: str) -> None:
        if self._is_pending(user):
            self._unlink(user)
            self.links[user] = "none"

    @rule(users=st.permutations(USERS).map(lambda users: users[:2]))
    def a_link_leads_to_anothers_outcome(self, users: list[str]) -> None:
        user, other = users
        is_there = self.links[other] == "own"  # an outcome has one link, and another's pack may have it by now
        if is_there and self._is_pending(user) and self._is_pending(other):
            self._unlink(user)
            self._unlink(other)
            pack_id = self._pack(user)["pack_id"]
            [outcome] = self.world.rows("select outcome_id from outcomes where entry_id = ?", f"c1-{other}")
            self.world.connection.execute(
                "insert into outcome_pack_links values (?, ?, 0)", (pack_id, outcome["outcome_id"])
            )
            self.links[user], self.links[other] = "another's", "none"

    def _publish(self, at: int, golfer: str, card: tuple[int, ...]) -> None:
        cards = {**self.published[-1][1], golfer: card}
        self.published.append((at, cards))
        self.world.scored({golfer: card}, at, "CORRECTION")

    def _unlink(self, user: str) -> None:
        self.world.connection.execute(
            "delete from outcome_pack_links where pack_id = ?", (self._pack(user)["pack_id"],)
        )

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def there_is_a_pack_for_every_entry_or_for_none(self) -> None:
        packs = self.world.rows("select entry_id from settlement_packs order by entry_id")
        assert [pack["entry_id"] for pack in packs] in ([], [f"c1-{user}" for user in USERS])
        assert not packs or self.full_poll_at > CUTOFF_AT, "settled before the scores are official"

    @invariant()
    def a_pack_ends_once_as_its_link_says(self) -> None:
        lease = self.world.rows("select holder, epoch from leases where name = 'settlement'")
        told = self.world.rows(
            "select e.user_id, p.status, p.settled_by, p.lease_epoch, p.terminalized_at, l.new_status,"
            " l.settled_by as by, m.detail from settlement_packs p join entries e using (entry_id)"
            " left join outcome_settlement_log l using (pack_id) left join post_mortem_settlement m using (pack_id)"
            " where p.status <> 'PENDING' order by e.user_id"
        )
        ends = {"own": "EXECUTED", "none": "ORPHANED_OUTCOME_MISSING", "another's": "FAILED"}
        for row in told:
            user, end = row["user_id"], tuple(row.values())
            if user in self.ended:
                assert end == self.ended[user], "a pack that had ended has changed"
                continue
            self.ended[user] = end
            assert row["status"] == row["new_status"] == ends[self.links[user]], row
            assert (row["detail"] is None) == (row["status"] == "EXECUTED"), "a post-mortem stands for what did not"
            assert row["settled_by"] == row["by"]
            assert (row["lease_epoch"], row["settled_by"]) in [(held["epoch"], held["holder"]) for held in lease]
        assert len(told) == len(self.ended), "a pack that had ended is gone"

    @invariant()
    def nobody_takes_a_lease_that_another_still_holds(self) -> None:
        """By who was at work, not by the name in the lease: two daemons may have one name, and of two names the
        database itself sees to it."""
        leases = self.world.rows("select * from leases where name = 'settlement'")
        before, self.lease = self.lease, leases[0] if leases else None
        if self.lease == before:
            return
        assert self.lease is not None
        held, self.holds = self.holds, self.at_work
        if before is not None and self.holds is not held:
            assert self.world.runtime.at >= before["expires_at"]
            assert self.lease["epoch"] > before["epoch"]

    @invariant()
    def prizes_come_from_the_official_scores(self) -> None:
        outcomes = self.world.rows("select e.user_id, o.* from outcomes o join entries e using (entry_id)")
        if not outcomes:
            return
        scores, places, exact = self._expected()
        pool = sum(exact.values())
        assert {row["user_id"]: row["score"] for row in outcomes} == scores
        assert {row["user_id"]: row["place"] for row in outcomes} == places
        assert sum(row["prize_cents"] for row in outcomes) == pool
        for row in outcomes:
            assert abs(row["prize_cents"] - exact[row["user_id"]]) < 1, "not a share in whole cents"

    @invariant()
    def every_cent_is_where_it_belongs(self) -> None:
        prizes = {
            row["user_id"]: row["prize_cents"]
            for row in self.world.rows(
                "select e.user_id, o.prize_cents from outcomes o join entries e using (entry_id)"
            )
        }
        fees = FEE_CENTS * len(USERS)
        expected: dict[str, int] = {ledger.PENDING: fees}
        left = fees
        if prizes:
            rake = fees * RAKE_BP // 10_000
            expected[ledger.rake("c1")] = -rake
            left -= rake
        unexecuted = 0
        for user, (_, status, *_) in self.ended.items():
            left -= prizes[user]
            if status == "EXECUTED":
                expected[ledger.prize_payable("c1", user)] = -prizes[user]
            else:
                unexecuted += prizes[user]
        expected[ledger.escrow("c1")], expected[ledger.unexecuted("c1")] = -left, -unexecuted
        assert self.world.balances() == {account: cents for account, cents in expected.items() if cents}
        if self.world.status() == "SETTLED":
            assert (len(self.ended), left) == (len(USERS), 0)
        else:
            assert self.world.status() == "COMPLETE"

    def _expected(self) -> tuple[dict[str, int], dict[str, int], dict[str, Fraction]]:
        """Score, place and exact prize of every entry: par is 4, 3, 5, the lowest wins, who is tied shares."""
        official = [cards for at, cards in self.published if at <= CUTOFF_AT][-1]
        scores = {user: sum(official[golfer]) - 12 for user, golfer in self.golfer_of.items()}
        places = {user: 1 + sum(other < score for other in scores.values()) for user, score in scores.items()}
        fees = FEE_CENTS * len(USERS)
        pool = fees - fees * RAKE_BP // 10_000
        shares = [Fraction(pool * share, 10_000) for share in (*SHARES_BP, 0)]
        exact = {}
        for user, place in places.items():
            tied = sum(other == place for other in places.values())
            exact[user] = sum(shares[place - 1 : place - 1 + tied], Fraction(0)) / tied
        return scores, places, exact

    def teardown(self) -> None:
        """The feed falls silent, a full poll succeeds, and one daemon lives on: the contest is settled."""
        if not hasattr(self, "world"):
            return
        for _, work in self.turns.values():
            work.close()
        self.world.runtime.at = max(self.world.runtime.at, CUTOFF_AT) + HOUR_MS
        self.a_full_poll_succeeds()
        self.world.work(self.world.life(SettlementService))
        self.there_is_a_pack_for_every_entry_or_for_none()
        self.a_pack_ends_once_as_its_link_says()
        self.prizes_come_from_the_official_scores()
        self.every_cent_is_where_it_belongs()
        assert self.world.status() == "SETTLED"

    def _pack(self, user: str) -> dict[str, Any]:
        return self.world.row("settlement_packs", entry_id=f"c1-{user}")

    def _is_pending(self, user: str) -> bool:
        sql = "select 1 from settlement_packs where entry_id = ? and status = 'PENDING'"
        return bool(self.world.rows(sql, f"c1-{user}"))
