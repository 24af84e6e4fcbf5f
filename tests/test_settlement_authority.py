"""Who may write what of a settlement is enforced in the database: every write that nobody may make is tried, on a
connection of the platform and on a bare one, and leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from contest_platform.services import daemon_health, settlement_lease
from contest_platform.services.settlement import SettlementService
from contest_platform.services.settlement_lease import LEASE_MS
from contest_platform.store import sqlite
from tests.support.contest_world import CUTOFF_AT, ContestWorld
from tests.support.settlement_world import crowd, cut, ready

TABLES = ("settlement_packs", "outcome_pack_links", "outcome_settlement_log", "leases", "post_mortem_settlement")
ENDED, PENDING = "p.status <> 'PENDING'", "p.status = 'PENDING'"
END = "terminalized_at = :now, settled_by = :holder, lease_epoch = :epoch"
NEW_PACK = (
    "insert {verb} into settlement_packs select {pack}, contest_id, {entry}, {status}, {code}, null, created_at, {at},"
    " null, null from settlement_packs p where {which} limit 1"
)
LOG_OF = (
    "insert into outcome_settlement_log select 'settlement_x', pack_id, {prior}, {new}, null, 'x', 'x', {at}, {by}"
    " from settlement_packs p where {which} limit 1"
)


def _packs(changes: str, which: str = PENDING) -> str:
    return f"update settlement_packs as p set {changes} where {which}"


def _new_pack(
    verb: str = "", pack: str = "'pack_x'", entry: str = "'entry_x'", status: str = "'PENDING'", code: str = "null",
    at: str = "null", which: str = ENDED,
) -> str:  # fmt: skip
    return NEW_PACK.format(verb=verb, pack=pack, entry=entry, status=status, code=code, at=at, which=which)


def _log(
    prior: str = "'PENDING'", new: str = "status", at: str = "terminalized_at", by: str = "settled_by",
    which: str = ENDED,
) -> str:  # fmt: skip
    return LOG_OF.format(prior=prior, new=new, at=at, by=by, which=which)


FORBIDDEN = {
    # ending a pack: by nobody, by another than the holder, under another epoch, out of the lease's time
    "an end by nobody": _packs("status = 'FAILED', fail_reason_code = 'x', terminalized_at = :now"),
    "an end by ops": _packs(f"status = 'FAILED', fail_reason_code = 'x', {END}".replace(":holder", "'ops:kim'")),
    "an end by the daemon as such": _packs(f"status = 'EXECUTED', {END}".replace(":holder", "'system:settlement'")),
    "an end under an old epoch": _packs(f"status = 'EXECUTED', {END}".replace(":epoch", ":epoch - 1")),
    "an end under an epoch to come": _packs(f"status = 'EXECUTED', {END}".replace(":epoch", ":epoch + 1")),
    "an end after the lease": _packs(f"status = 'EXECUTED', {END}".replace(":now", ":expires")),
    "an end before the lease": _packs(f"status = 'EXECUTED', {END}".replace(":now", ":acquired - 1")),
    "an end without an instant": _packs(f"status = 'EXECUTED', {END}".replace(":now", "null")),
    "a failure without a reason": _packs(f"status = 'FAILED', {END}"),
    "an orphan without a reason": _packs(f"status = 'ORPHANED_OUTCOME_MISSING', {END}"),
    "an execution with a reason to fail": _packs(f"status = 'EXECUTED', fail_reason_code = 'x', {END}"),
    # status words that there are not
    **{
        f"the status {word!r}": _packs(f"status = '{word}', {END}")
        for word in ("executed", "Executed", "EXECUTED ", "SETTLED", "failed", "orphaned_outcome_missing", "")
    },
    # what has not ended changes in no other way
    "a touch of a pending pack": _packs("settled_by = :holder"),
    "a pending pack of another entry": _packs("entry_id = 'entry_x'"),
    # what has ended does not change, and is not gone
    "back to pending": _packs("status = 'PENDING'", ENDED),
    "back to pending, clean": _packs(
        "status = 'PENDING', terminalized_at = null, settled_by = null, lease_epoch = null", ENDED
    ),
    "another end": _packs(f"status = 'FAILED', fail_reason_code = 'x', {END}", ENDED),
    "the same end again": _packs(f"status = status, {END}", ENDED),
    "another hand": _packs("settled_by = 'ops:kim'", ENDED),
    "a reason afterwards": _packs("fail_reason_detail = 'x'", ENDED),
    "no ended pack": "delete from settlement_packs where status <> 'PENDING'",
    "no pending pack": "delete from settlement_packs where status = 'PENDING'",
    # packs that begin at their end, or in the place of another
    "a pack that begins executed": _new_pack(status="'EXECUTED'", at=":now"),
    "a pack that begins failed": _new_pack(status="'FAILED'", code="'x'", at=":now"),
    "a pack that begins in lower case": _new_pack(status="'pending'"),
    "an ended pack anew": _new_pack(pack="pack_id"),
    "an ended pack replaced": _new_pack("or replace", pack="pack_id"),
    "an ended pack replaced by its entry": _new_pack("or replace", entry="entry_id"),
    "a second pack of an entry": _new_pack(entry="entry_id"),
    # links of ended packs
    "a link moved": "update outcome_pack_links set outcome_id = 'outcome_x' where pack_id in (select pack_id from"
    f" settlement_packs p where {ENDED})",
    "a link gone": "delete from outcome_pack_links where pack_id in (select pack_id from settlement_packs p where"
    f" {ENDED})",
    "an outcome linked twice": "insert into outcome_pack_links select 'pack_x', outcome_id, 0 from outcome_pack_links"
    " limit 1",
    # the log
    "the log changed": "update outcome_settlement_log set settlement_evidence_hash = 'x'",
    "the log cut off": "delete from outcome_settlement_log",
    "an end told twice": _log(),
    "an end told that was not": _log(new="'EXECUTED'", at=":now", by=":holder", which=PENDING),
    "a pending pack told": _log(which=PENDING, at=":now", by=":holder"),
    "an end told from another state": _log(prior="'FAILED'"),
    # the lease
    "a lease taken early": "update leases set holder = 'system:settlement:x', epoch = epoch + 1, acquired_at = :now",
    "a lease taken under the same epoch": "update leases set holder = 'system:settlement:x'",
    "a lease by somebody else": "update leases set holder = 'ops:kim', epoch = epoch + 1, acquired_at = expires_at",
    "an epoch left out": "update leases set epoch = epoch + 2, acquired_at = expires_at, expires_at = expires_at + 9",
    "an epoch again": "update leases set epoch = epoch - 1, acquired_at = expires_at, expires_at = expires_at + 9",
    "a lease that began earlier": "update leases set acquired_at = acquired_at - 1",
    "no lease": "delete from leases",
    "a lease anew": "insert or replace into leases values ('settlement', 'system:settlement:x', 1, :now, :now + 9)",
    "a lease anew under its next epoch": "insert or replace into leases select name, 'system:settlement:x', epoch + 1,"
    " :now, :now + 9 from leases",
    # why
    "a post-mortem that says nothing": "insert into post_mortem_settlement values ('pack_x', '', 'x', 0)",
    "a post-mortem without a reason": "insert into post_mortem_settlement values ('pack_x', null, 'x', 0)",
}  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A settlement half done: 50 packs have ended, 2 wait, and the second daemon holds the lease."""
    world, first = ready(crowd(52))
    cut(world, first, "settlement.open")
    world.runtime.at += LEASE_MS
    cut(world, world.life(SettlementService), "settlement.execute")
    return bytes(world.connection.serialize("main"))


@pytest.fixture(params=["own", "bare"])
def half_done(request: pytest.FixtureRequest, template: bytes, tmp_path: Path) -> Iterator[apsw.Connection]:
    path = tmp_path / "platform.db"
    path.write_bytes(template)
    connection: apsw.Connection = sqlite.connect(str(path)) if request.param == "own" else apsw.Connection(str(path))
    if request.param == "bare":
        connection.execute("pragma recursive_triggers = off")
    yield connection
    connection.close()


def _standing(connection: apsw.Connection) -> dict[str, list[Any]]:
    return {table: connection.execute(f"select * from {table} order by 1").fetchall() for table in TABLES}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_database_refuses(half_done: apsw.Connection, what: str) -> None:
    connection, before = half_done, _standing(half_done)
    [(holder, epoch, acquired, expires)] = connection.execute(
        "select holder, epoch, acquired_at, expires_at from leases"
    ).fetchall()
    given = {"holder": holder, "epoch": epoch, "acquired": acquired, "expires": expires, "now": acquired + 1}
    with pytest.raises(apsw.ConstraintError):
        connection.execute(FORBIDDEN[what], given)
    assert _standing(connection) == before


def test_what_the_daemon_does_itself_is_not_refused(half_done: apsw.Connection) -> None:
    """Otherwise the refusals above would prove nothing."""
    connection = half_done
    [(holder, epoch, now)] = connection.execute("select holder, epoch, acquired_at from leases").fetchall()
    connection.execute(_packs(f"status = 'EXECUTED', {END}"), {"holder": holder, "epoch": epoch, "now": now})
    left = connection.execute("select count(*) from settlement_packs where status = 'PENDING'").fetchall()
    assert left == [(0,)]
    told = _log(which="not exists (select 1 from outcome_settlement_log g where g.pack_id = p.pack_id)")
    connection.execute(told)
    connection.execute(
        "update leases set holder = 'system:settlement:x', epoch = epoch + 1, acquired_at = expires_at,"
        " expires_at = expires_at + 9"
    )


# --- the sign of life -------------------------------------------------------------------------------------------------


def beats(world: ContestWorld) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in world.rows("select status, beat_at, due_at from daemon_health order by 2")]


def test_a_daemon_says_when_it_will_look_next_and_says_it_once() -> None:
    world, daemon = ready()
    world.runtime.at = CUTOFF_AT - 60_000
    assert world.due(daemon) == CUTOFF_AT
    assert beats(world) == [("ACTIVE", CUTOFF_AT - 60_000, CUTOFF_AT)]
    world.runtime.at += 1
    changes = world.connection.total_changes()
    world.due(daemon)
    assert world.connection.total_changes() == changes, "what would say the same again is not written"
    world.runtime.at = CUTOFF_AT
    world.work(daemon)
    world.due(daemon)
    assert beats(world) == [("ACTIVE", CUTOFF_AT, None)], "nothing to do until it is told"
    world.runtime.at += daemon_health.AT_LEAST_EVERY_MS
    world.due(daemon)
    assert beats(world) == [("ACTIVE", world.runtime.at, None)]


def test_every_life_has_its_row_and_a_dead_one_is_seen_by_the_instant_that_it_has_let_pass() -> None:
    world, first = ready()
    world.runtime.at = CUTOFF_AT - 1
    world.due(first)
    world.runtime.at = CUTOFF_AT + LEASE_MS
    second = world.life(SettlementService)
    world.work(second)
    world.due(second)
    assert beats(world) == [("ACTIVE", CUTOFF_AT - 1, CUTOFF_AT), ("ACTIVE", CUTOFF_AT + LEASE_MS, None)]


def test_a_daemon_that_is_stopped_says_so_and_nobody_waits_for_its_lease() -> None:
    world, daemon = ready(crowd(52))
    world.due(daemon)
    cut(world, daemon, "settlement.execute")
    world.run(daemon.stop())
    assert [status for status, _, _ in beats(world)] == ["STOPPED"]
    successor = world.life(SettlementService)
    assert world.due(successor) == world.runtime.at
    world.work(successor)
    assert (world.status(), world.row("leases", name="settlement")["epoch"]) == ("SETTLED", 2)


def test_a_lease_is_given_back_by_its_holder_alone() -> None:
    world, daemon = ready()
    cut(world, daemon, "settlement.open")
    before = world.rows("select * from leases")
    world.write(lambda tx: settlement_lease.give_back(tx, "system:settlement:another"))
    assert world.rows("select * from leases") == before
