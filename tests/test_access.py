"""Access: tokens that others can verify, revocation that is probed, and the sessions of a database that humans open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import apsw
import jwt
import pytest
from freezegun import freeze_time

from contest_platform.http import Request, Response
from contest_platform.ports import ConnectionFailed, ConnectionLost, DeadlineExceeded, ServiceUnavailable
from contest_platform.store.sqlite import Connection, connect
from evidence.plan import Principal
from fault_injectors import build
from seams.faults import Action, Binding, Call, Effect, Fault, LoseAnswer, LoseRequest, Parameters, Refuse
from simulator.actors.database_server import DatabaseServer
from simulator.actors.identity import IdentityActor
from simulator.kernel import DeadIncarnationError
from simulator.wires.identity import IdentityWire
from tests.support.fake_world import MONDAY, FakeWorld

KEY = b"a signing key of thirty-two bytes"
FOUNDER, ENGINEER, OPS = "founder:ada", "engineer:grace", "ops:alan"
PRINCIPALS = [
    Principal(id=FOUNDER, role="founder"),
    Principal(id=ENGINEER, role="engineer"),
    Principal(id=OPS, role="ops"),
]
HOUR_S = 3_600


class Introspections(Fault):
    """Befalls every introspection with one effect."""

    seam, operation = "auth", "introspect"

    def __init__(self, effect: Effect) -> None:
        super().__init__("f1", Binding(), Parameters())
        self._effect = effect

    def effect(self, call: Call) -> Effect | None:
        return self._effect


def an_identity(*faults: Fault) -> tuple[FakeWorld, IdentityActor]:
    world = FakeWorld(faults=faults)
    return world, IdentityActor(world, KEY)  # type: ignore[arg-type]


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, KEY, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})


def guarded_by(identity: IdentityActor, revocation_holds: bool = True) -> Any:
    """An admin endpoint that looks tokens up at the identity provider, as the platform must."""

    def answer(request: Request) -> Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        known = identity.introspect(claims(token)["jti"])
        return Response(200 if known.active or not revocation_holds else 401)

    return answer


def rows(world: FakeWorld, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in world.rows("identity.events")]


# --- tokens -------------------------------------------------------------------------------------------------------


def test_a_token_is_a_jwt_to_an_outside_judge_until_it_expires() -> None:
    _, identity = an_identity()
    token = identity.issue(OPS, HOUR_S)
    expires = MONDAY // 1_000 + HOUR_S
    with freeze_time(datetime.fromtimestamp(expires - 1, UTC)):
        seen = jwt.decode(token, KEY, algorithms=["HS256"], options={"require": ["exp", "iat", "sub", "jti"]})
    assert (seen["sub"], seen["iat"], seen["exp"]) == (OPS, MONDAY // 1_000, expires)
    with freeze_time(datetime.fromtimestamp(expires + 1, UTC)), pytest.raises(jwt.ExpiredSignatureError):
        jwt.decode(token, KEY, algorithms=["HS256"])
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, KEY[::-1], algorithms=["HS256"])


def test_no_two_tokens_share_an_id_and_a_weak_key_is_refused() -> None:
    world, identity = an_identity()
    ids = {claims(identity.issue(principal, HOUR_S))["jti"] for principal in (OPS, OPS, FOUNDER)}
    assert len(ids) == 3
    with pytest.raises(ValueError, match="32 bytes"):
        IdentityActor(world, b"short")  # type: ignore[arg-type]


def test_a_token_is_worth_something_from_its_issue_to_its_expiry() -> None:
    world, identity = an_identity()
    token_id = claims(identity.issue(OPS, HOUR_S))["jti"]
    assert identity.introspect(token_id).active
    world.run_for(HOUR_S * 1_000 - 1)
    assert identity.introspect(token_id).active
    world.run_for(1)
    late = identity.introspect(token_id)
    assert (late.active, late.principal, late.reason) == (False, OPS, "expired")
    assert identity.introspect("tok_of_nobody").reason == "unknown"
    assert rows(world, "action", "allowed")[1:] == [
        ("introspected", True), ("introspected", True), ("introspected", False), ("introspected", False),
    ]  # fmt: skip


# --- revocation ---------------------------------------------------------------------------------------------------


def test_the_absent_lose_every_credential_and_ops_none() -> None:
    world, identity = an_identity()
    held = {principal: [claims(identity.issue(principal, HOUR_S))["jti"]] for principal in (FOUNDER, ENGINEER, OPS)}
    held[FOUNDER].append(claims(identity.issue(FOUNDER, HOUR_S))["jti"])
    identity.revoke_absent(PRINCIPALS)
    assert [identity.introspect(token_id).reason for token_id in held[FOUNDER]] == ["revoked", "revoked"]
    assert not identity.introspect(held[ENGINEER][0]).active
    assert identity.introspect(held[OPS][0]).active
    revoked = [row for row in rows(world, "action", "principal") if row[0] == "revoked"]
    assert revoked == [("revoked", FOUNDER), ("revoked", FOUNDER), ("revoked", ENGINEER)]


def test_a_revoked_probe_is_denied_and_recorded() -> None:
    world, identity = an_identity()
    world.edge.answer = guarded_by(identity)
    token = identity.issue(FOUNDER, HOUR_S)
    identity.revoke_absent(PRINCIPALS)
    assert world.run(identity.probe(FOUNDER)) == {claims(token)["jti"]: 401}
    [(_, request)] = world.edge.seen
    assert (request.method, request.path) == ("GET", "/api/admin/status")
    assert request.headers["Authorization"] == f"Bearer {token}"
    assert rows(world, "action", "principal", "allowed", "reason")[-1] == ("denied", FOUNDER, False, "HTTP 401")


def test_a_probe_finds_a_platform_that_never_looks_the_token_up() -> None:
    world, identity = an_identity()
    world.edge.answer = guarded_by(identity, revocation_holds=False)
    token_id = claims(identity.issue(FOUNDER, HOUR_S))["jti"]
    identity.revoke_absent(PRINCIPALS)
    assert world.run(identity.probe(FOUNDER)) == {token_id: 200}
    assert rows(world, "action", "allowed", "reason")[-1] == ("login", True, "HTTP 200")


def test_a_probe_that_nobody_answers_proves_nothing_and_says_so() -> None:
    world, identity = an_identity()

    def nobody(_: Request) -> Response:
        raise ConnectionFailed("nobody listens")

    world.edge.answer = nobody
    identity.issue(FOUNDER, HOUR_S)
    identity.revoke_absent(PRINCIPALS)
    with pytest.raises(ConnectionFailed):
        world.run(identity.probe(FOUNDER))


def pull_login(live: bool) -> tuple[FakeWorld, dict[str, Any], int]:
    """A founder's login: the world, the row that the lever named, the status that the platform answered."""
    world, identity = an_identity()
    world.edge.answer = guarded_by(identity)
    identity.issue(FOUNDER, HOUR_S)
    identity.revoke_absent(PRINCIPALS)
    noted: list[str] = []
    action = Action(MONDAY, "identity.login", FOUNDER, {"live": live})
    world.run(identity.pull_login(action, lambda _, victim: noted.append(victim)))
    [victim] = noted
    answered = [line for line in world.lines() if line["kind"] == "admin.status_answered"]
    return world, world.rows("identity.events")[int(victim) - 1], answered[0]["data"]["status"]


def test_a_credential_that_survived_lets_the_founder_in_and_the_book_shows_it() -> None:
    _, row, status = pull_login(live=True)
    assert (row["action"], row["principal"], row["allowed"], status) == ("login", FOUNDER, True, 200)


def test_a_credential_that_did_not_survive_lets_nobody_in() -> None:
    _, row, status = pull_login(live=False)
    assert (row["action"], row["allowed"], row["reason"], status) == ("denied", False, "revoked", 401)


def test_a_login_stands_in_the_book_even_if_the_platform_is_down() -> None:
    world, identity = an_identity()

    def dies(_: Request) -> Response:
        raise ConnectionLost("app")

    world.edge.answer = dies
    world.run(identity.login(FOUNDER, live=True))
    assert rows(world, "action", "allowed")[1:] == [("login", True), *[("unanswered", False)] * 3]


# --- the way to the identity provider --------------------------------------------------------------------------------


def introspect(world: FakeWorld, identity: IdentityActor, token_id: str) -> Any:
    wire = IdentityWire(world, identity, lambda: None)  # type: ignore[arg-type]

    async def asking() -> Any:
        return await world.runtime.deadline(wire.introspect(token_id=token_id), 5_000)

    return world.run(asking())


def test_an_introspection_crosses_the_network() -> None:
    world, identity = an_identity()
    token_id = claims(identity.issue(OPS, HOUR_S))["jti"]
    assert introspect(world, identity, token_id).principal == OPS
    assert 20 <= world.runtime.now() - MONDAY <= 200


@pytest.mark.parametrize(
    ("effect", "error"),
    [(Refuse(0), ConnectionFailed), (Refuse(503), ServiceUnavailable), (LoseRequest(), DeadlineExceeded)],
)
def test_an_identity_provider_out_of_reach_answers_nothing(effect: Effect, error: type[Exception]) -> None:
    world, identity = an_identity(Introspections(effect))
    token_id = claims(identity.issue(OPS, HOUR_S))["jti"]
    with pytest.raises(error):
        introspect(world, identity, token_id)
    told = ["unavailable"] if effect == Refuse(503) else []  # what never arrived is in no book of the provider's
    assert [row[0] for row in rows(world, "action")] == ["issued", *told]
    assert not any(row[0] for row in rows(world, "allowed")[1:])
    assert world.bites == [("f1", type(effect).__name__, token_id)]


def test_an_answer_that_is_lost_stands_in_the_identity_providers_book_as_unanswered() -> None:
    world, identity = an_identity(Introspections(LoseAnswer()))
    token_id = claims(identity.issue(OPS, HOUR_S))["jti"]
    with pytest.raises(DeadlineExceeded):
        introspect(world, identity, token_id)
    assert rows(world, "action", "token_id", "allowed")[1:] == [("unanswered", token_id, True)]


def test_a_dead_process_asks_nobody() -> None:
    world, identity = an_identity()

    def dead() -> None:
        raise DeadIncarnationError("app#1")

    with pytest.raises(DeadIncarnationError):
        IdentityWire(world, identity, dead).introspect(token_id="tok")  # type: ignore[arg-type]


# --- the database server -------------------------------------------------------------------------------------------


def a_database() -> tuple[FakeWorld, DatabaseServer, Connection]:
    world, connection = FakeWorld(), connect()
    for n, (account, cents) in enumerate([("assets:a", 500), ("liabilities:b", -500)], 1):
        connection.execute("insert into ledger_postings values (1, ?, ?, ?)", (n, account, cents))
    return world, DatabaseServer(world), connection  # type: ignore[arg-type]


def triggers(connection: apsw.Connection) -> list[tuple[Any, ...]]:
    rows = connection.execute("select name, sql from sqlite_master where type = 'trigger' order by name")
    return [tuple(row) for row in rows]


def amounts(connection: apsw.Connection) -> list[int]:
    return [row[0] for row in connection.execute("select amount_cents from ledger_postings order by txn_id, n")]


def test_a_founder_gets_past_the_triggers_and_only_the_servers_log_shows_it() -> None:
    world, server, connection = a_database()
    before = triggers(connection)
    binding = Binding(FOUNDER, from_at=MONDAY)
    [action] = build("violations.row_edited", "v1", binding, {"by": 70}).actions()
    noted: list[str] = []
    world.run(server.pull_run(action, lambda _, victim: noted.append(victim), connection))
    assert amounts(connection) == [570, -500]
    assert triggers(connection) == before
    [row] = world.rows("database.sessions")
    assert noted == [str(row["n"])]
    assert (row["principal"], row["role"], row["writes"]) == (FOUNDER, "superuser", 1)
    assert row["statements"] == 3 + 2 * sum("ledger_postings" in name for name, _ in before)
    assert not connection.in_transaction


def test_without_the_bypass_the_triggers_refuse_and_the_attempt_is_logged() -> None:
    world, server, connection = a_database()
    statement = "update ledger_postings set amount_cents = 1 where n = 1"
    session = server.run(FOUNDER, connection, "superuser", "edit", [statement])
    assert amounts(connection) == [500, -500]
    assert (session.writes, session.number) == (0, 1)
    assert world.rows("database.sessions")[0]["writes"] == 0
    assert not connection.in_transaction


def test_a_session_is_logged_when_it_closes_once_and_the_open_ones_at_the_end() -> None:
    world, server, _ = a_database()
    app = server.open("system:app", "app", "serve")
    batch = server.open("system:settlement", "app", "settle")
    batch.statements, batch.writes = 3, 2
    world.run_for(1_000)
    assert batch.close() == batch.close() == 1
    app.statements = 9
    server.end()
    assert [
        (row["principal"], row["statements"], row["writes"], row["at"] - MONDAY, row["closed_at"])
        for row in world.rows("database.sessions")
    ] == [("system:settlement", 3, 2, 0, MONDAY + 1_000), ("system:app", 9, 0, 0, None)]
