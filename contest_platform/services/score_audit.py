"""The score audit: every night the receipts are replayed and compared with the scores that the platform shows.

Invariant: a hole whose score is not what its receipts say, or that only one of the two knows, is one mismatch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.domain.receipts import PlayerRound
from contest_platform.jobs import HOUR_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import Ports, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import ingestion_batches, scores
from contest_platform.services.ingestion import play_windows

ACTOR = "system:ingestion"
DAY_MS = 24 * HOUR_MS
AT_HOUR_MS = 3 * HOUR_MS
"""Of the day in UTC: when play anywhere in the Americas is over."""


def audit_instant(now: int) -> int:
    """The last 03:00 UTC at or before `now`."""
    return now - (now - AT_HOUR_MS) % DAY_MS


class ScoreAuditService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports = ports
        self._through: int | None = None
        """The last audit instant dealt with."""
        self._notified: int | None = None
        self._gauge = Gauge(ports.metrics, "score_audit_mismatches")
        self._replays: dict[str, scores.Replay] = {}
        """Of each tournament that was audited the night before."""

    def jobs(self) -> Sequence[Job]:
        return (Job("scores.audit", "score_audit", HOUR_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {}

    async def _due(self) -> int | None:
        seen = self._ports.signals.seen("score_audit")
        if seen != self._notified:
            # This process has just begun, or somebody has audited out of turn.
            self._gauge.tell(await self._ports.store.transact("score_audit.standing", _standing))
            self._notified = seen
        if self._through is None:
            last_at = await self._ports.store.transact("score_audit.last", _last_at)
            # What was missed while we were down is made up for once: a replay covers all nights before it.
            yesterday = audit_instant(self._ports.runtime.now()) - DAY_MS
            self._through = yesterday if last_at is None else max(audit_instant(last_at), yesterday)
        return self._through + DAY_MS

    async def _work(self) -> None:
        known = self._replays
        self._replays, standing = await self._ports.store.transact(
            "score_audit.replay", lambda tx: (_audit_played(tx, known), _standing(tx))
        )
        self._through = audit_instant(self._ports.runtime.now())
        self._gauge.tell(standing)


def _last_at(tx: Tx) -> int | None:
    row = tx.one("select max(at) as at from score_audits")
    return None if row is None else row["at"]


def _standing(tx: Tx) -> dict[tuple[str, ...], int]:
    """What the last audit of each tournament found; 0 where none has been made."""
    rows = tx.tuples(
        "select t.tournament_id, coalesce((select mismatches from score_audits a"
        " where a.tournament_id = t.tournament_id order by audit_id desc limit 1), 0) from tournaments t"
    )
    return {(tournament_id,): mismatches for tournament_id, mismatches in rows}


def _audit_played(tx: Tx, known: Mapping[str, scores.Replay]) -> dict[str, scores.Replay]:
    """Audit every tournament that was played, or of which something came in, in the day before. Returns the replays,
    by tournament."""
    replays: dict[str, scores.Replay] = {}
    since = tx.now - DAY_MS
    fresh = {
        row["tournament_id"]
        for row in tx.all(
            "select distinct tournament_id from ingestion_batches where received_at > :since", {"since": since}
        )
    }
    for row in tx.all("select tournament_id, play from tournaments order by tournament_id"):
        tournament_id = row["tournament_id"]
        played = any(from_at <= tx.now and until_at > since for from_at, until_at in play_windows(row["play"]))
        if played or tournament_id in fresh:
            replays[tournament_id] = scores.replay(tx, tournament_id, known.get(tournament_id))
            _audit(tx, tournament_id, replays[tournament_id].rounds)
    return replays


_SHOWN = """
    select golfer_id, round, count(*), json_group_object(hole, strokes) from hole_scores
    where tournament_id = :t group by golfer_id, round
"""


def replay_now(tx: Tx, tournament_id: str) -> int | Refusal:
    """Audit a tournament out of turn; if a hole is shown otherwise than its receipts say, show all of them anew and
    audit it again. Returns how many holes were wrong."""
    if tx.one("select 1 from tournaments where tournament_id = :t", {"t": tournament_id}) is None:
        return Refusal(404, f"no tournament {tournament_id}")
    replayed = scores.replay(tx, tournament_id, None).rounds
    wrong = _audit(tx, tournament_id, replayed)
    if wrong:
        ingestion_batches.show_again(tx, tournament_id)
        _audit(tx, tournament_id, replayed)
    tx.notify("score_audit")
    return wrong


def _audit(tx: Tx, tournament_id: str, replayed: Mapping[PlayerRound, str]) -> int:
    """Compare what is shown with what was replayed, and write it down. Returns how many holes differ."""
    rows = tx.tuples(_SHOWN, {"t": tournament_id})
    shown = {(golfer, round_): played for golfer, round_, _, played in rows}
    holes, mismatches = sum([count for _, _, count, _ in rows]), 0
    if shown != replayed:
        for player_round in replayed.keys() | shown.keys():
            told, seen = (orjson.loads(rounds.get(player_round, "{}")) for rounds in (replayed, shown))
            holes += len(told.keys() - seen.keys())
            mismatches += sum(told.get(hole) != seen.get(hole) for hole in told.keys() | seen.keys())
    last = tx.one("select max(audit_id) as audit_id from score_audits")
    audit.insert(
        tx,
        Context(ACTOR, tournament_id),
        "score_audits",
        {
            "audit_id": ((last["audit_id"] if last is not None else None) or 0) + 1,
            "tournament_id": tournament_id,
            "at": tx.now,
            "holes": holes,
            "mismatches": mismatches,
        },
        "replayed from receipts",
    )
    return mismatches
