"""The settlement daemon: turns the official scores of a contest into executed packs, prizes and a record of both.

Only the holder of the settlement lease ends a pack, and every step can be taken again after a crash without a double.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeAlias

import orjson

from contest_platform import audit, ledger
from contest_platform.audit import Context
from contest_platform.domain import prizes, scoring
from contest_platform.domain.polling import tells_all
from contest_platform.jobs import MINUTE_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import Ports, Row, StoreDamaged, Tx
from contest_platform.service import Config, Route
from contest_platform.services import daemon_health, scores, settlement_lease, settlement_runs
from contest_platform.services.settlement_runs import IMPOSSIBLE

ACTOR = "system:settlement"
PACKS_PER_TRANSACTION = 50

_Official: TypeAlias = dict[tuple[str, int], tuple[dict[str, scoring.GolferCard], str]]
"""What one pass of the daemon has read: the official cards of a tournament at a cut-off, and their scores_hash."""

_READY = """
    select c.*, t.par, t.rounds from contests c join tournaments t on t.tournament_id = c.tournament_id
    where c.status = 'COMPLETE' and c.cutoff_at <= :now
      and exists (select 1 from checkpoints where name = 'entries_final:' || c.contest_id)
    order by c.contest_id
"""

_LAST_RUNS = """
    select a.contest_id, a.status from settlement_audit a
    where a.started_at = (select max(b.started_at) from settlement_audit b where b.contest_id = a.contest_id)
"""
_UNEXECUTED = """
    select p.contest_id, p.status, max(m.at) from post_mortem_settlement m
    join settlement_packs p on p.pack_id = m.pack_id group by p.contest_id, p.status
"""
_UNSETTLED = """
    select contest_id, status, cutoff_at, error_code from contests where status in ('COMPLETE', 'ERROR')
"""


@dataclass(frozen=True, slots=True)
class _Told:
    """What monitoring is told of. By contest: when it is to be settled, and its error; by contest and status: the last
    run, and when a pack last ended so; and when the lease ends for which we wait."""

    due: dict[tuple[str, ...], int]
    errors: dict[tuple[str, ...], int]
    runs: dict[tuple[str, ...], int]
    unexecuted: dict[tuple[str, ...], int]
    lease_until: int | None


class SettlementService:
    """`holder` names this life of the daemon: a restarted one waits until its predecessor's lease has expired."""

    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports = ports
        self._holder = f"{ACTOR}:{ports.ids.new('daemon')}"
        self._heartbeat = daemon_health.Heartbeat("settlement", self._holder)
        self._due_gauge, self._error_gauge, self._run_gauge, self._unexecuted_gauge, self._lease_gauge = (
            Gauge(ports.metrics, name)
            for name in (
                "settlement_due_timestamp_seconds",
                "contests_in_error",
                "settlement_status",
                "settlement_packs_unexecuted_timestamp_seconds",
                "settlement_lease_expiry_timestamp_seconds",
            )
        )

    def jobs(self) -> Sequence[Job]:
        return (Job("settlement", "settlement", 5 * MINUTE_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    async def _due(self) -> int | None:
        def standing(tx: Tx) -> tuple[int | None, _Told, int]:
            due_at, lease_until = self._earliest(tx)
            self._heartbeat.beat(tx, due_at)
            return due_at, _told(tx, lease_until), tx.now

        due_at, told, now = await self._ports.store.transact("settlement.due", standing)
        self._heartbeat.told(due_at, now)
        self._due_gauge.tell(told.due)
        self._error_gauge.tell(told.errors)
        self._run_gauge.tell(told.runs)
        self._unexecuted_gauge.tell(told.unexecuted)
        self._lease_gauge.tell_of(told.lease_until)
        return due_at

    def _earliest(self, tx: Tx) -> tuple[int | None, int | None]:
        """When there is something to do, and when the lease ends that keeps us from it."""
        ready = [contest for contest in tx.all(_READY, {"now": tx.now}) if _scores_are_official(tx, contest)]
        if not ready:
            future = tx.one(
                "select min(cutoff_at) as at from contests where status = 'COMPLETE' and cutoff_at > :now",
                {"now": tx.now},
            )
            return (future["at"] if future is not None else None), None
        until_at = settlement_lease.held_by_another_until(tx, self._holder)
        return (tx.now if until_at is None else until_at), until_at

    async def _work(self) -> None:
        ready = await self._ports.store.transact(
            "settlement.ready",
            lambda tx: [dict(row) for row in tx.all(_READY, {"now": tx.now}) if _scores_are_official(tx, row)],
        )
        official: _Official = {}
        for contest in ready:
            if not await self._settle(contest, official):
                return

    async def _settle(self, contest: Row, official: _Official) -> bool:
        """Settle one contest; one that cannot be settled, or not on what the store can still read, holds up no other.
        False: another daemon settles, and the pass ends here."""
        transact = self._ports.store.transact
        try:
            if not await transact("settlement.open", lambda tx: self._open(tx, contest, official)):
                return False
            while await transact("settlement.execute", lambda tx: self._execute(tx, contest)):
                pass
            await transact("settlement.close", lambda tx: self._close(tx, contest))
        except (ValueError, StoreDamaged) as error:
            detail = str(error)
            await transact("settlement.give_up", lambda tx: self._give_up(tx, contest, detail))
        return True

    @property
    def holder(self) -> str:
        """The name under which this life holds the lease."""
        return self._holder

    def waits_until(self, tx: Tx) -> int | None:
        """When the lease of another daemon ends that has kept this one from work that is due; None: nothing has."""
        return self._earliest(tx)[1]

    async def stop(self) -> None:
        """Say that this life ends, and give the lease back: for who ends it orderly. A crash never comes here."""

        def end(tx: Tx) -> None:
            settlement_lease.give_back(tx, self._holder)
            daemon_health.stop(tx, self._holder)

        await self._ports.store.transact("settlement.stop", end)

    def _lease(self, tx: Tx) -> int | None:
        return settlement_lease.take(tx, self._holder)

    def _hold(self, tx: Tx, contest_id: str) -> int | None:
        """Take or renew the lease, for a contest that is still to be settled: since this pass has read that it is, we
        may have slept, and another daemon may have done it. The lease's epoch, or None."""
        standing = tx.tuples("select 1 from contests where contest_id = :c and status = 'COMPLETE'", {"c": contest_id})
        return self._lease(tx) if standing else None

    # --- steps -----------------------------------------------------------------------------------------------------

    def _open(self, tx: Tx, contest: Row, official: _Official) -> bool:
        """Fix the outcomes and create the packs, all or none. False: another daemon settles, or has settled.

        Raises ValueError when the contest's rules cannot be applied to its scores.
        """
        contest_id = contest["contest_id"]
        if self._hold(tx, contest_id) is None:
            return False
        if tx.one("select 1 from settlement_packs where contest_id = :c", {"c": contest_id}) is not None:
            return True
        ctx = Context(ACTOR, contest_id)
        rows = tx.all(
            "select entry_id, roster from entries where contest_id = :c and status = 'VALID' order by entry_id",
            {"c": contest_id},
        )
        settlement_runs.begin(tx, ctx, self._ports.ids, contest_id, len(rows))
        money = prizes.contest_money(len(rows), contest["fee_cents"], contest["rake_bp"], contest["guaranteed_cents"])
        escrow = ledger.escrow(contest_id)
        ledger.move(
            tx, ctx, "overlay", f"overlay:{contest_id}", debit=ledger.overlay(contest_id), credit=escrow,
            cents=money.overlay_cents, reason="the platform covers the guarantee",
        )  # fmt: skip
        ledger.move(
            tx, ctx, "rake", f"rake:{contest_id}", debit=escrow, credit=ledger.rake(contest_id),
            cents=money.rake_cents, reason="the platform's share",
        )  # fmt: skip
        for outcome in self._outcomes(tx, contest, rows, money.pool_cents, official):
            pack = {
                "pack_id": self._ports.ids.new("pack", outcome["entry_id"]),
                "contest_id": contest_id,
                "entry_id": outcome["entry_id"],
                "status": "PENDING",
                "fail_reason_code": None,
                "fail_reason_detail": None,
                "created_at": tx.now,
                "terminalized_at": None,
                "settled_by": None,
                "lease_epoch": None,
            }
            link = {"pack_id": pack["pack_id"], "outcome_id": outcome["outcome_id"], "linked_at": tx.now}
            audit.insert(tx, ctx, "outcomes", outcome, "the official outcome")
            audit.insert(tx, ctx, "settlement_packs", pack, "one pack per entry")
            audit.insert(tx, ctx, "outcome_pack_links", link, "the pack's outcome")
        return True

    def _outcomes(
        self, tx: Tx, contest: Row, rows: Sequence[Row], pool_cents: int, official: _Official
    ) -> list[dict[str, Any]]:
        config = scoring.ScoringConfig.from_json(orjson.loads(contest["scoring"]))
        event = contest["tournament_id"], contest["cutoff_at"]
        if event not in official:
            official[event] = scores.official_cards(tx, *event)
        told, scores_hash = official[event]
        cards = dict(told)
        rosters = {row["entry_id"]: orjson.loads(row["roster"]) for row in rows}
        absent = scoring.GolferCard("did_not_start", {})
        for roster in rosters.values():
            for golfer_id in roster:
                cards.setdefault(golfer_id, absent)
        golfers = scoring.score_golfers(config, orjson.loads(contest["par"]), contest["rounds"], cards)
        entry_scores = scoring.score_entries(config, golfers, rosters)
        places = scoring.rank(config, entry_scores)
        table = prizes.prize_table(pool_cents, orjson.loads(contest["prize_shares_bp"]), len(rows))
        awards = prizes.split_prizes(places, table)
        return [
            {
                "outcome_id": self._ports.ids.new("outcome", entry_id),
                "contest_id": contest["contest_id"],
                "entry_id": entry_id,
                "score": entry_scores[entry_id],
                "place": places[entry_id],
                "prize_cents": awards[entry_id].cents,
                "tie_break": awards[entry_id].tie_break,
                "scores_hash": scores_hash,
                "created_at": tx.now,
            }
            for entry_id in rosters
        ]

    def _execute(self, tx: Tx, contest: Row) -> bool:
        """End the next packs, each through its link, and say whether any are left to look at."""
        contest_id = contest["contest_id"]
        epoch = self._hold(tx, contest_id)
        if epoch is None:
            return False
        packs = tx.all(
            """
            select p.pack_id, p.entry_id, e.user_id, l.outcome_id, o.entry_id as outcome_of, o.score, o.place,
                   o.prize_cents, o.scores_hash, w.prize_cents as own_cents, p.status, p.fail_reason_code,
                   p.fail_reason_detail, p.terminalized_at, p.settled_by, p.lease_epoch
            from settlement_packs p
            join entries e on e.entry_id = p.entry_id
            left join outcome_pack_links l on l.pack_id = p.pack_id
            left join outcomes o on o.outcome_id = l.outcome_id
            left join outcomes w on w.entry_id = p.entry_id
            where p.contest_id = :c and p.status = 'PENDING' order by p.pack_id limit :n
            """,
            {"c": contest_id, "n": PACKS_PER_TRANSACTION},
        )
        for pack in packs:
            self._end_pack(tx, contest_id, pack, epoch)
        return bool(packs)

    def _end_pack(self, tx: Tx, contest_id: str, pack: Row, epoch: int) -> None:
        ctx = Context(ACTOR, contest_id)
        pack_id = pack["pack_id"]
        if pack["outcome_of"] is None:
            status, code = "ORPHANED_OUTCOME_MISSING", "outcome_missing"
            linked = (
                "no link to an official outcome"
                if pack["outcome_id"] is None
                else (f"a link to {pack['outcome_id']}, and no such outcome is found")
            )
            detail: str | None = f"pack {pack_id} has {linked}"
        elif pack["outcome_of"] != pack["entry_id"]:
            status, code = "FAILED", "outcome_inapplicable"
            detail = f"pack {pack_id} is linked to {pack['outcome_id']}, the outcome of {pack['outcome_of']}"
        else:
            status, code, detail = "EXECUTED", "settled", None
        # Of an outcome that the store does not find nothing is told, for nothing of it can be recomputed.
        outcome_id = None if pack["outcome_of"] is None else pack["outcome_id"]
        evidence = {
            "pack_id": pack_id,
            "contest_id": contest_id,
            "outcome_id": outcome_id,
            **{k: pack[k] for k in ("entry_id", "score", "place", "prize_cents", "scores_hash")},
        }
        change = {
            "status": status,
            "fail_reason_code": None if status == "EXECUTED" else code,
            "fail_reason_detail": detail,
            "terminalized_at": tx.now,
            "settled_by": self._holder,
            "lease_epoch": epoch,
        }
        audit.update(tx, ctx, "settlement_packs", {"pack_id": pack_id}, change, code, read=pack)
        log = {
            "settlement_id": self._ports.ids.new("settlement", pack_id),
            "pack_id": pack_id,
            "prior_status": "PENDING",
            "new_status": status,
            "outcome_id": outcome_id,
            "settlement_reason_code": code,
            "settlement_evidence_hash": sha256(audit.canonical(evidence).encode()).hexdigest(),
            "settled_at": tx.now,
            "settled_by": self._holder,
        }
        audit.insert(tx, ctx, "outcome_settlement_log", log, code)
        if status == "EXECUTED":
            ledger.move(
                tx, ctx, "prize", f"prize:{pack_id}", debit=ledger.escrow(contest_id),
                credit=ledger.prize_payable(contest_id, pack["user_id"]), cents=pack["prize_cents"],
                reason=f"place {pack['place']}",
            )  # fmt: skip
        else:
            ledger.move(
                tx, ctx, "unexecuted", f"unexecuted:{pack_id}", debit=ledger.escrow(contest_id),
                credit=ledger.unexecuted(contest_id), cents=pack["own_cents"] or 0, reason=code,
            )  # fmt: skip
            post_mortem = {"pack_id": pack_id, "fail_reason_code": code, "detail": detail, "at": tx.now}
            audit.insert(tx, ctx, "post_mortem_settlement", post_mortem, code)

    def _close(self, tx: Tx, contest: Row) -> None:
        """SETTLED, once every pack is terminal and nothing is left in escrow."""
        contest_id = contest["contest_id"]
        left = tx.one(
            "select 1 from settlement_packs where contest_id = :c and status = 'PENDING' limit 1", {"c": contest_id}
        )
        if left is not None or self._hold(tx, contest_id) is None:
            return
        left_cents = -ledger.balance(tx, ledger.escrow(contest_id))
        if left_cents:
            self._give_up(tx, contest, f"every pack is terminal, and {left_cents} cents are left in escrow")
            return
        ctx, reason = Context(ACTOR, contest_id), "every pack is terminal"
        settlement_runs.end(tx, ctx, self._ports.ids, contest_id, {"status": "SUCCEEDED"}, reason)
        audit.update(
            tx, ctx, "contests", {"contest_id": contest_id},
            {"status": "SETTLED", "settled_at": tx.now}, reason,
        )  # fmt: skip
        tx.notify("payouts")
        tx.notify("ingestion")

    def _give_up(self, tx: Tx, contest: Row, detail: str) -> None:
        """Nothing that the daemon can do settles this contest: ERROR, which only a runbook leaves."""
        contest_id = contest["contest_id"]
        if self._hold(tx, contest_id) is None:
            return
        ctx, error = Context(ACTOR, contest_id), audit.canonical({"code": IMPOSSIBLE, "detail": detail})
        failed = {"status": "FAILED", "error_json": error}
        settlement_runs.end(tx, ctx, self._ports.ids, contest_id, failed, detail)
        audit.update(
            tx, ctx, "contests", {"contest_id": contest_id}, {"status": "ERROR", "error_code": IMPOSSIBLE}, detail,
        )  # fmt: skip


def _told(tx: Tx, lease_until: int | None) -> _Told:
    unsettled = tx.tuples(_UNSETTLED)
    return _Told(
        due={(contest_id,): at for contest_id, status, at, _ in unsettled if status == "COMPLETE"},
        errors={(contest_id, code or ""): 1 for contest_id, status, _, code in unsettled if status == "ERROR"},
        runs=dict.fromkeys(tx.tuples(_LAST_RUNS), 1),
        unexecuted={(contest_id, status): at for contest_id, status, at in tx.tuples(_UNEXECUTED)},
        lease_until=lease_until,
    )


def _scores_are_official(tx: Tx, contest: Row) -> bool:
    """Whether a full poll that began after the cut-off has succeeded: only then is nothing that counts still unknown to
    us."""
    row = tx.one("select value from checkpoints where name = 'full_poll:' || :t", {"t": contest["tournament_id"]})
    return row is not None and tells_all(orjson.loads(row["value"])["begun_at"], contest["cutoff_at"])
