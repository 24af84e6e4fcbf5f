"""The identity provider: issues signed tokens, revokes them, and answers what a token is worth now.

Invariant: every credential that was ever worth something, and every end of one, is a row of identity.events.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from contest_platform.http import Request, Response
from contest_platform.ports import Introspection, PortError
from contest_platform.signing import signer
from seams.faults import Action
from simulator.actors.context import NoteAction, World

ABSENT = ("founder", "engineer")
"""Roles whose credentials are revoked when the absence begins."""
PROBED_PATH = "/api/admin/status"
ANSWER_WITHIN_MS = 30_000
"""How long a human waits for the platform's answer."""
LOGIN_TRIES = 3


class Principal(Protocol):
    """A human with access, as the plan names it."""

    @property
    def id(self) -> str: ...

    @property
    def role(self) -> str: ...


@dataclass(slots=True)
class _Credential:
    principal: str
    expires_at: int
    token: str
    revoked: bool = False


class IdentityActor:
    """`signing_key` signs HS256 (RFC 7518 §3.2: at least 32 bytes); the platform verifies with the same."""

    def __init__(self, world: World, signing_key: bytes) -> None:
        if len(signing_key) < 32:
            raise ValueError(f"HS256 needs a key of at least 32 bytes, got {len(signing_key)} (RFC 7518 §3.2)")
        self._world, self._sign = world, signer(signing_key)
        self._book = world.books["identity.events"]
        self._credentials: dict[str, _Credential] = {}

    # --- issue and revoke --------------------------------------------------------------------------------------------

    def issue(self, principal: str, ttl_s: int) -> str:
        """A new token for `principal`, worth something for `ttl_s` seconds from now."""
        now = self._world.runtime.now()
        token_id = f"tok_{self._world.draws.hex('identity.token', principal, len(self._credentials))}"
        issued_s = now // 1000
        claims = {"exp": issued_s + ttl_s, "iat": issued_s, "jti": token_id, "sub": principal}
        token = web_token(claims, self._sign)
        self._credentials[token_id] = _Credential(principal, (issued_s + ttl_s) * 1000, token)
        self._world.record("identity", "token.issued", token_id, principal=principal, expires_s=issued_s + ttl_s)
        self._book.note(now, "issued", principal, token_id, True, "")
        return token

    def revoke(self, principal: str) -> int:
        """Revoke every credential of `principal`. Returns how many were live."""
        now, count = self._world.runtime.now(), 0
        for token_id, credential in self._credentials.items():
            if credential.principal == principal and not credential.revoked:
                credential.revoked = True
                count += 1
                self._world.record("identity", "token.revoked", token_id, principal=principal)
                self._book.note(now, "revoked", principal, token_id, False, "absence begins")
        return count

    def revoke_absent(self, principals: Iterable[Principal]) -> None:
        """Revoke the founders and engineers among `principals`."""
        for principal in principals:
            if principal.role in ABSENT:
                self.revoke(principal.id)

    # --- look-ups ----------------------------------------------------------------------------------------------------

    def introspect(self, token_id: str, *, answered: bool = True) -> Introspection:
        """What the token is worth now. An unknown id belongs to nobody: principal "". `answered` is False when the
        network is about to lose the answer."""
        answer = self._look_up(token_id)
        action = "introspected" if answered else "unanswered"
        self._book.note(self._world.runtime.now(), action, answer.principal, token_id, answer.active, answer.reason)
        return answer

    def refuse(self, token_id: str, status: int) -> None:
        """Answer a look-up with an HTTP error."""
        self._world.record("identity", "introspection.refused", token_id, status=status)
        self._book.note(self._world.runtime.now(), "unavailable", "", token_id, False, f"HTTP {status}")

    def _look_up(self, token_id: str) -> Introspection:
        credential = self._credentials.get(token_id)
        if credential is None:
            return Introspection(False, "", "unknown")
        if credential.revoked:
            return Introspection(False, credential.principal, "revoked")
        if self._world.runtime.now() >= credential.expires_at:
            return Introspection(False, credential.principal, "expired")
        return Introspection(True, credential.principal, "")

    # --- attempts by humans ------------------------------------------------------------------------------------------

    async def probe(self, principal: str) -> Mapping[str, int]:
        """Try each revoked credential of `principal` on the platform. Returns the status of the answer by token id:
        anything but 401 and 403 means that the revocation does not hold. Raises PortError when nobody answers."""
        statuses: dict[str, int] = {}
        for token_id, credential in list(self._credentials.items()):
            if credential.principal == principal and credential.revoked:
                status = await self._try(principal, token_id, credential.token)
                denied = status in (401, 403)
                now = self._world.runtime.now()
                self._book.note(now, "denied" if denied else "login", principal, token_id, not denied, f"HTTP {status}")
                statuses[token_id] = status
        return statuses

    async def login(self, principal: str, live: bool, ttl_s: int = 3_600) -> int:
        """A human logs in and asks the platform for its status. `live`: by a way in that the revocation missed, which
        gives a fresh token; otherwise with the last one that was revoked, or else the last there was. Returns the
        number of the row in identity.events; raises LookupError when `principal` never had a credential."""
        if live:
            self.issue(principal, ttl_s)
        theirs = {id: credential for id, credential in self._credentials.items() if credential.principal == principal}
        if not theirs:
            raise LookupError(f"{principal} never had a credential")
        held = ([] if live else [id for id, credential in theirs.items() if credential.revoked]) or list(theirs)
        token_id = held[-1]
        worth = self._look_up(token_id)
        now = self._world.runtime.now()
        action = "login" if worth.active else "denied"
        self._world.record("identity", f"human.{action}", principal, token=token_id, reason=worth.reason)
        row = self._book.note(now, action, principal, token_id, worth.active, worth.reason)
        for _ in range(LOGIN_TRIES):
            try:
                await self._try(principal, token_id, self._credentials[token_id].token)
                break
            except PortError as error:
                self._world.record(principal, "admin.status_unanswered", token_id, why=error.code)
                self._book.note(self._world.runtime.now(), "unanswered", principal, token_id, False, PROBED_PATH)
        return row

    async def pull_login(self, action: Action, note: NoteAction) -> None:
        """The lever identity.login."""
        note(action, str(await self.login(action.entity, bool(action.params["live"]))))

    async def _try(self, principal: str, token_id: str, token: str) -> int:
        world = self._world
        world.record(principal, "admin.status_asked", token_id)
        asking = self._ask(Request("GET", PROBED_PATH, {"Authorization": f"Bearer {token}"}))
        answer = await world.runtime.deadline(world.call(asking, f"{principal} {PROBED_PATH}"), ANSWER_WITHIN_MS)
        world.record(principal, "admin.status_answered", token_id, status=answer.status)
        return answer.status

    async def _ask(self, request: Request) -> Response:
        return await self._world.edge.request(request)


def web_token(claims: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A JSON Web Token, compact form, HS256 (RFC 7515 §3.1, RFC 7519)."""
    header = _b64(b'{"alg":"HS256","typ":"JWT"}')
    payload = _b64(orjson.dumps(claims, option=orjson.OPT_SORT_KEYS))
    signature = _b64(sign(f"{header}.{payload}".encode()))
    return f"{header}.{payload}.{signature}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
