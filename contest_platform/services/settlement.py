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
from contest_platform.instants import rfc3339
from contest_platform.jobs import MINUTE_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import Ports, Row, StoreDamaged, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import scores

ACTOR = "system:settlement"
LEASE = "settlement"
LEASE_MS = 10 * MINUTE_MS
PACKS_PER_TRANSACTION = 50
IMPOSSIBLE = "settlement_impossible"

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
        def standing(tx: Tx) -> tuple[int | None, _Told]:
            due_at, lease_until = self._earliest(tx)
            return due_at, _told(tx, lease_until)

        due_at, told = await self._ports.store.transact("settlement.due", standing)
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
        lease = tx.one("select holder, expires_at from leases where name = :name", {"name": LEASE})
        if lease is None or lease["holder"] == self._holder:
            return tx.now, None
        return int(lease["expires_at"]), int(lease["expires_at"])

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
        False: another daemon holds the lease."""
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

    # --- the lease -------------------------------------------------------------------------------------------------

    def _lease(self, tx: Tx) -> int | None:
        """Take or renew the lease; its epoch, or None while somebody else holds it."""
        held = tx.one("select holder, epoch, expires_at from leases where name = :name", {"name": LEASE})
        expires_at = tx.now + LEASE_MS
        if held is None:
            row = {"name": LEASE, "holder": self._holder, "epoch": 1, "acquired_at": tx.now, "expires_at": expires_at}
            tx.insert("leases", row)
            return 1
        if held["holder"] == self._holder:
            epoch = int(held["epoch"])
            if held["expires_at"] <= tx.now:
                epoch += 1
        elif held["expires_at"] <= tx.now:
            epoch = held["epoch"] + 1
        else:
            return None
        tx.run(
            "update leases set holder = :holder, epoch = :epoch, expires_at = :expires_at,"
            " acquired_at = case when epoch = :epoch then acquired_at else :now end where name = :name",
            {"holder": self._holder, "epoch": epoch, "expires_at": expires_at, "now": tx.now, "name": LEASE},
        )
        return epoch

    # --- steps -----------------------------------------------------------------------------------------------------

    def _open(self, tx: Tx, contest: Row, official: _Official) -> bool:
        """Fix the outcomes and create the packs, all or none. False: another daemon holds the lease.

        Raises ValueError when the contest's rules cannot be applied to its scores.
        """
        if self._lease(tx) is None:
            return False
        contest_id = contest["contest_id"]
        if tx.one("select 1 from settlement_packs where contest_id = :c", {"c": contest_id}) is not None:
            return True
        ctx = Context(ACTOR, contest_id)
        rows = tx.all(
            "select entry_id, roster from entries where contest_id = :c and status = 'VALID' order by entry_id",
            {"c": contest_id},
        )
        audit.insert(tx, ctx, "settlement_audit", self._run(tx, contest_id, len(rows)), "settlement begins")
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
        epoch = self._lease(tx)
        if epoch is None:
            return False
        contest_id = contest["contest_id"]
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
            detail: str | None = f"pack {pack_id} has no link to an official outcome"
        elif pack["outcome_of"] != pack["entry_id"]:
            status, code = "FAILED", "outcome_inapplicable"
            detail = f"pack {pack_id} is linked to {pack['outcome_id']}, the outcome of {pack['outcome_of']}"
        else:
            status, code, detail = "EXECUTED", "settled", None
        evidence = {
            "pack_id": pack_id,
            "contest_id": contest_id,
            **{k: pack[k] for k in ("entry_id", "outcome_id", "score", "place", "prize_cents", "scores_hash")},
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
            "outcome_id": pack["outcome_id"],
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
        if left is not None or self._lease(tx) is None:
            return
        left_cents = -ledger.balance(tx, ledger.escrow(contest_id))
        if left_cents:
            self._give_up(tx, contest, f"every pack is terminal, and {left_cents} cents are left in escrow")
            return
        self._end_run(tx, contest_id, {"status": "SUCCEEDED"}, "every pack is terminal")
        audit.update(
            tx, Context(ACTOR, contest_id), "contests", {"contest_id": contest_id},
            {"status": "SETTLED", "settled_at": tx.now}, "every pack is terminal",
        )  # fmt: skip
        tx.notify("payouts")
        tx.notify("ingestion")

    def _give_up(self, tx: Tx, contest: Row, detail: str) -> None:
        """Nothing that the daemon can do settles this contest: ERROR, which only a runbook leaves."""
        if self._lease(tx) is None:
            return
        contest_id, code = contest["contest_id"], IMPOSSIBLE
        error = audit.canonical({"code": code, "detail": detail})
        self._end_run(tx, contest_id, {"status": "FAILED", "error_json": error}, detail)
        audit.update(
            tx, Context(ACTOR, contest_id), "contests", {"contest_id": contest_id},
            {"status": "ERROR", "error_code": code}, detail,
        )  # fmt: skip

    # --- the run's record --------------------------------------------------------------------------------------------

    def _run(self, tx: Tx, contest_id: str, packs: int) -> dict[str, Any]:
        return {
            "run_id": self._ports.ids.new("run", contest_id, str(tx.now)),
            "contest_id": contest_id,
            "started_at": tx.now,
            "finished_at": None,
            "status": "RUNNING",
            "packs": packs,
            "error_json": None,
        }

    def _end_run(self, tx: Tx, contest_id: str, result: Mapping[str, Any], reason: str) -> None:
        """End the run of a contest; one that could not even begin is on record by its end."""
        ctx = Context(ACTOR, contest_id)
        changes = {**result, "finished_at": tx.now}
        run = tx.one(
            "select run_id from settlement_audit where contest_id = :c and status = 'RUNNING' order by started_at",
            {"c": contest_id},
        )
        if run is not None:
            audit.update(tx, ctx, "settlement_audit", {"run_id": run["run_id"]}, changes, reason)
        else:
            audit.insert(tx, ctx, "settlement_audit", {**self._run(tx, contest_id, 0), **changes}, reason)


def _told(tx: Tx, lease_until: int | None) -> _Told:
    unsettled = tx.tuples(_UNSETTLED)
    return _Told(
        due={(contest_id,): at for contest_id, status, at, _ in unsettled if status == "COMPLETE"},
        errors={(contest_id, code or ""): 1 for contest_id, status, _, code in unsettled if status == "ERROR"},
        runs=dict.fromkeys(tx.tuples(_LAST_RUNS), 1),
        unexecuted={(contest_id, status): at for contest_id, status, at in tx.tuples(_UNEXECUTED)},
        lease_until=lease_until,
    )


def run_again(tx: Tx, ctx: Context, contest_id: str, reason: str) -> bool | Refusal:
    """Have the daemon settle a contest whose settlement has failed, or is due and has not ended: it alone settles.
    False: nothing had to be changed for that."""
    contest = tx.one("select status, error_code, cutoff_at from contests where contest_id = :c", {"c": contest_id})
    if contest is None:
        return Refusal(404, f"no contest {contest_id}")
    if contest["status"] == "COMPLETE" and tx.now < contest["cutoff_at"]:
        return Refusal(409, f"contest {contest_id} is on hold until {rfc3339(contest['cutoff_at'])}")
    failed = bool(contest["status"] == "ERROR" and contest["error_code"] == IMPOSSIBLE)
    if not failed and contest["status"] != "COMPLETE":
        return Refusal(409, f"contest {contest_id} is {contest['status']}: no settlement of it failed or is unfinished")
    if failed:
        changes = {"status": "COMPLETE", "error_code": None}
        audit.update(tx, ctx, "contests", {"contest_id": contest_id}, changes, reason)
    tx.notify("settlement")
    return failed


def _scores_are_official(tx: Tx, contest: Row) -> bool:
    """Whether a full poll that began at or after the cut-off has succeeded: only then is nothing published before it
    still unknown to us."""
    row = tx.one("select value from checkpoints where name = 'full_poll:' || :t", {"t": contest["tournament_id"]})
    return row is not None and orjson.loads(row["value"])["begun_at"] >= contest["cutoff_at"]
