"""The platform's edge: tokens, who may call what, the access log, the route table, and the catalogue."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from contest_platform import catalogue
from contest_platform.access import SKEW_MS, DeniedError, verify
from contest_platform.app import App
from contest_platform.audit import Context
from contest_platform.http import Request, Response
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import ConnectionFailed, DeadlineExceeded, Introspection, PortError
from contest_platform.service import Route
from contest_platform.signing import signer
from tests.support.platform_ports import LOCK_AT, START, TOKEN_KEY, Platform, token

STATUS = "/api/admin/status"


@pytest.fixture
def platform() -> Platform:
    platform = Platform()
    platform.auth.answers["tok-ops:ann"] = Introspection(True, "ops:ann", "")
    return platform


def log(platform: Platform) -> list[tuple[int, str, str, str, bool, str]]:
    rows = platform.rows("select n, principal, action, resource, allowed, reason from access_log order by n")
    return [(*list(row.values())[:4], bool(row["allowed"]), row["reason"]) for row in rows]


# --- tokens -------------------------------------------------------------------------------------------------------


def pyjwt_accepts(encoded: str, key: str, at: int) -> bool:
    """Its leeway is one for all dates; ours is for `iat` alone. So it is asked twice, once for each."""
    required = ["sub", "jti", "iat", "exp"]
    for now, left_out in ((at, "verify_iat"), (at + SKEW_MS, "verify_exp")):
        with freeze_time(datetime.fromtimestamp(now / 1000, UTC)):
            try:
                jwt.decode(encoded, key, algorithms=["HS256"], options={"require": required, left_out: False})
            except jwt.InvalidTokenError:
                return False
    return True


def we_accept(encoded: str, key: str, at: int) -> bool:
    try:
        verify(encoded, signer(key.encode()), at)
    except DeniedError as denied:
        return denied.status != 401
    return True


@settings(max_examples=40, deadline=None)
@given(
    issued_s=st.one_of(st.integers(-3, 3), st.integers(SKEW_MS // 1_000 - 3, SKEW_MS // 1_000 + 8)),
    life_s=st.integers(-1, 4),
    wait_ms=st.integers(0, 5_000),
    key=st.sampled_from([TOKEN_KEY, "another key of thirty-two bytes!"]),
    damage=st.sampled_from(["", "cut", "claims", "padding"]),
)
def test_a_token_is_believed_exactly_when_pyjwt_believes_it(
    issued_s: int, life_s: int, wait_ms: int, key: str, damage: str
) -> None:
    encoded = token("ops:ann", key=key, now=START + issued_s * 1000, life_s=life_s)
    head, claims, signature = encoded.split(".")
    if damage == "cut":
        encoded = f"{head}.{claims}"
    elif damage == "claims":
        encoded = f"{head}.{token('founder:eve').split('.')[1]}.{signature}"
    elif damage == "padding":
        encoded = f"{head}.{claims}.{signature[:-3]}"
    at = START + wait_ms
    assert we_accept(encoded, TOKEN_KEY, at) == pyjwt_accepts(encoded, TOKEN_KEY, at)


@pytest.mark.parametrize("life_s", [1, 60])
def test_a_token_dies_at_the_second_it_names(life_s: int) -> None:
    encoded = token("ops:ann", life_s=life_s)
    assert we_accept(encoded, TOKEN_KEY, START + life_s * 1000 - 1)
    assert not we_accept(encoded, TOKEN_KEY, START + life_s * 1000)


@pytest.mark.parametrize(
    "claims",
    [{"sub": None}, {"sub": ""}, {"sub": 7}, {"jti": None}, {"iat": "now"}, {"exp": None}, {"exp": True}],
)
def test_a_token_without_what_it_needs_is_refused(claims: dict[str, Any]) -> None:
    assert not we_accept(token("ops:ann", **claims), TOKEN_KEY, START)


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_no_other_algorithm_is_believed_whatever_the_token_asks_for(algorithm: str) -> None:
    claims = {"sub": "ops:ann", "jti": "t", "iat": START // 1000, "exp": START // 1000 + 60}
    key = None if algorithm == "none" else TOKEN_KEY
    assert not we_accept(jwt.encode(claims, key, algorithm=algorithm), TOKEN_KEY, START)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "a.b.c.d", "é.é.é", "bnVsbA.bnVsbA."])
def test_garbage_is_refused_without_falling_over(text: str) -> None:
    assert not we_accept(text, TOKEN_KEY, START)


# --- who may call what --------------------------------------------------------------------------------------------


def test_an_admin_is_asked_about_at_the_identity_provider_and_logged(platform: Platform) -> None:
    response = platform.call("GET", STATUS, "ops:ann")
    assert (response.status, response.body) == (200, {"contests": {"SCHEDULED": 1}})
    assert log(platform) == [(1, "ops:ann", "admin.authenticate", f"GET {STATUS}", True, "authenticated")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Introspection(False, "founder:eve", "revoked"), "revoked"),
        (Introspection(True, "ops:ann", ""), "the token belongs to somebody else"),
        (DeadlineExceeded("lost"), "identity provider unreachable: deadline_exceeded"),
        (ConnectionFailed("down"), "identity provider unreachable: connection_failed"),
    ],
)
def test_an_admin_token_that_is_not_confirmed_is_worth_nothing(
    platform: Platform, answer: Introspection | PortError, reason: str
) -> None:
    platform.auth.answers["tok-founder:eve"] = answer
    assert platform.call("GET", STATUS, "founder:eve").status == 401
    assert log(platform) == [(1, "founder:eve", "admin.authenticate", f"GET {STATUS}", False, reason)]


@pytest.mark.parametrize(("silences", "status"), [(0, 200), (1, 200), (2, 401), (3, 401)])
def test_the_identity_provider_is_asked_twice_and_no_more(platform: Platform, silences: int, status: int) -> None:
    platform.auth.silences = silences
    assert platform.call("GET", STATUS, "ops:ann").status == status
    assert platform.auth.silences == max(0, silences - 2)
    [(_, _, _, _, allowed, _)] = log(platform)
    assert allowed is (status == 200)


@pytest.mark.parametrize(
    ("method", "path", "principal"),
    [
        ("GET", STATUS, "customer:ann"),
        ("GET", STATUS, "agent:host-1"),
        ("GET", STATUS, "opsy:ann"),
        ("POST", "/api/entries", "ops:ann"),
        ("POST", "/api/users", "agent:host-1"),
    ],
)
def test_a_principal_of_the_wrong_kind_is_forbidden(platform: Platform, method: str, path: str, principal: str) -> None:
    assert platform.call(method, path, principal).status == 403
    assert [(row[1], row[4]) for row in log(platform)] == [(principal, False)]


def test_the_access_log_has_no_gaps_and_leaves_customers_that_may_call_out(platform: Platform) -> None:
    platform.sign_up("ann")
    platform.run(platform.app.handle(Request("GET", STATUS)))
    platform.run(platform.app.handle(Request("GET", STATUS, {"authorization": "Basic abc"})))
    platform.call("GET", STATUS, "ops:ann", authorization="unused")
    forged = token("founder:eve", key="another key of thirty-two bytes!")
    platform.run(platform.app.handle(Request("POST", "/api/users", {"AUTHORIZATION": f"bearer {forged}"})))
    expired = token("customer:bob", now=START - 10 * HOUR_MS, life_s=60)
    platform.run(platform.app.handle(Request("POST", "/api/users", {"Authorization": f"Bearer {expired}"})))
    assert [(row[0], row[1], row[5]) for row in log(platform)] == [
        (1, "anonymous", "no bearer token"),
        (2, "anonymous", "no bearer token"),
        (3, "ops:ann", "authenticated"),
        (4, "anonymous", "bad signature"),
        (5, "customer:bob", "expired"),
    ]


def test_nobody_is_served_whose_authentication_could_not_be_logged(platform: Platform) -> None:
    platform.store.fail_next["access.log"] = 1
    assert platform.call("GET", STATUS, "ops:ann").status == 503


# --- routes -------------------------------------------------------------------------------------------------------


def test_what_is_not_there_and_what_is_not_allowed(platform: Platform) -> None:
    assert platform.call("GET", "/api/nothing", "ops:ann").status == 404
    answer = platform.call("PUT", "/api/users", "customer:ann")
    assert (answer.status, answer.body["allow"]) == (405, ["DELETE", "POST"])


def test_who_deletes_his_account_is_gone_for_good_and_may_ask_again(platform: Platform) -> None:
    assert platform.call("DELETE", "/api/users", "customer:ann").status == 404
    platform.sign_up("ann")
    for _ in range(2):
        assert platform.call("DELETE", "/api/users", "customer:ann").status == 200
    [user] = platform.rows("select deleted_at from users")
    assert user["deleted_at"] is not None
    changed = platform.rows("select actor, after from audit_log where action = 'users.update'")
    assert len(changed) == 1
    assert platform.call("DELETE", "/api/users", "ops:ann").status == 403


class Broken:
    """A service with one route that fails as it is told."""

    def __init__(self, error: Exception, path: str = "/api/broken") -> None:
        self._error, self._path = error, path

    def jobs(self) -> tuple[()]:
        return ()

    def routes(self) -> dict[tuple[str, str], Route]:
        return {("GET", self._path): Route("customer", self._fail, "Fails")}

    async def _fail(self, request: Request, principal: str) -> Response:
        raise self._error


def test_a_bug_in_a_handler_is_raised_and_a_dependency_that_is_down_is_answered(platform: Platform) -> None:
    request = Request("GET", "/api/broken", {"Authorization": f"Bearer {token('customer:ann')}"})
    with pytest.raises(ZeroDivisionError):
        platform.run(App(platform.ports, platform.config, [Broken(ZeroDivisionError())]).handle(request))
    down = App(platform.ports, platform.config, [Broken(ConnectionFailed("down"))])
    assert platform.run(down.handle(request)) == Response(503, {"error": "connection_failed"})


def test_two_services_cannot_have_one_route(platform: Platform) -> None:
    with pytest.raises(ValueError, match=f"two routes for GET {STATUS}"):
        App(platform.ports, platform.config, [Broken(ValueError(), STATUS)])


# --- the catalogue ------------------------------------------------------------------------------------------------


def test_a_tournament_and_a_contest_are_listed_with_their_audit_rows(platform: Platform) -> None:
    tournament = {
        "tournament_id": "t1", "provider_event_id": "e1", "name": "Open", "par": [4, 3], "rounds": 1,
        "starts_at": START, "ends_at": LOCK_AT, "play": json.dumps([[START, LOCK_AT]]),
    }  # fmt: skip
    ctx = Context(catalogue.ACTOR, "release")
    platform.write(lambda tx: catalogue.create_tournament(tx, ctx, tournament))
    assert platform.row("tournaments", tournament_id="t1")["par"] == "[4,3]"
    assert platform.row("contests", contest_id="c1")["prize_shares_bp"] == "[10000]"
    written = platform.rows("select actor, action, subject from audit_log order by seq")
    assert [tuple(row.values()) for row in written] == [
        ("system:catalogue", "contests.insert", "contests/c1"),
        ("system:catalogue", "tournaments.insert", "tournaments/t1"),
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"lock_at": START}, "opens_at < lock_at"),
        ({"start_at": LOCK_AT - 1}, "opens_at < lock_at"),
        ({"fee_cents": 0}, "fee of 50 cents"),
        ({"scoring": {"kind": "matchplay"}}, "scoring kind"),
        ({"colour": "red"}, "unknown columns"),
        ({"name": None}, "missing columns"),
    ],
)
def test_a_contest_that_cannot_be_played_is_not_listed(
    platform: Platform, change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        platform.list_contest("c2", **change)
    assert len(platform.rows("select * from contests")) == 1
