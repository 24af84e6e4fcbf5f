"""Access control: who calls, proven by a signed token, and whether he may.

Invariant: every admin authentication and every denial is a row of `access_log`, written before anything else happens.
"""

from __future__ import annotations

import hmac
from binascii import a2b_base64
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from contest_platform.http import Request
from contest_platform.ports import DeadlineExceeded, PortError, Ports, Tx
from contest_platform.service import Access, Config
from contest_platform.signing import signer

ROLES: dict[Access, tuple[str, ...]] = {
    "customer": ("customer",),
    "agent": ("agent",),
    "admin": ("ops", "engineer", "founder"),
}
"""Which principals (`role:name`) each access is for."""

ERROR_RATE_MS = 600_000
UNREACHABLE = "identity provider unreachable"
SKEW_MS = 15 * 60_000
"""How far our host's clock may be behind that of whoever issued a token. It takes nothing from `exp`, and RFC 7519 does
not even ask that a token be refused for its `iat` (§4.1.6)."""
INTROSPECTIONS = 2
"""How often the identity provider is asked about one request before its silence counts as a no."""

ANONYMOUS = "anonymous"
"""Principal in the access log of a caller who proved nothing."""


class DeniedError(Exception):
    """The call is refused: `status` 401 (not proven who calls, or no longer trusted) or 403 (proven, and may not)."""

    def __init__(self, status: int, principal: str, reason: str) -> None:
        super().__init__(status, principal, reason)
        self.status, self.principal, self.reason = status, principal, reason


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says, its signature verified. `expires_s`: seconds since the epoch (RFC 7519, NumericDate)."""

    principal: str
    token_id: str
    expires_s: int


class AccessControl:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._sign = signer(config.token_key.encode())
        self._introspections: deque[tuple[int, bool]] = deque()
        """Those of the last ten minutes: when, and whether they failed."""
        self._error_rate = 0.0
        ports.metrics.set("auth_service_error_rate", 0)

    async def establish(self, request: Request, access: Access) -> str:
        """The principal that calls. Raises DeniedError, which is in the access log by then."""
        if access == "signature":
            return ANONYMOUS
        try:
            claims = verify(bearer_token(request.headers), self._sign, self._ports.runtime.now())
            if claims.principal.partition(":")[0] not in ROLES[access]:
                raise DeniedError(403, claims.principal, f"not a principal for {access} access")
            if access == "admin":
                await self._introspect(claims)
        except DeniedError as denied:
            await self._log(request, access, denied.principal, False, denied.reason)
            raise
        if access == "admin":
            await self._log(request, access, claims.principal, True, "authenticated")
        return claims.principal

    async def _introspect(self, claims: Claims) -> None:
        """Ask the identity provider whether the token is worth anything now; without its answer it is worth nothing.

        Asking changes nothing, so what was not answered is asked again.
        """
        for tries_left in reversed(range(INTROSPECTIONS)):
            call = self._ports.auth.introspect(token_id=claims.token_id)
            try:
                answer = await self._ports.runtime.deadline(call, self._config.auth_timeout_ms)
                break
            except PortError as error:
                self._count(error)
                if not tries_left:
                    raise DeniedError(401, claims.principal, f"{UNREACHABLE}: {error.code}") from error
        self._count(None)
        if not answer.active:
            raise DeniedError(401, claims.principal, answer.reason or "not active")
        if answer.principal != claims.principal:
            raise DeniedError(401, claims.principal, "the token belongs to somebody else")

    def _count(self, error: PortError | None) -> None:
        """Of the introspections of the last ten minutes, how many got no answer; a denial is one."""
        now, metrics, counted = self._ports.runtime.now(), self._ports.metrics, self._introspections
        counted.append((now, error is not None))
        while counted[0][0] <= now - ERROR_RATE_MS:
            counted.popleft()
        rate = sum([failed for _, failed in counted]) / len(counted)
        if rate != self._error_rate:
            self._error_rate = rate
            metrics.set("auth_service_error_rate", rate)
        if error is not None:
            result = "timeout" if isinstance(error, DeadlineExceeded) else "failed"
            metrics.set("auth_failure_timestamp_seconds", now // 1000, result=result)

    async def _log(self, request: Request, access: Access, principal: str, allowed: bool, reason: str) -> None:
        def append(tx: Tx) -> None:
            last = tx.one("select max(n) as n from access_log")
            row = {
                "n": ((last["n"] if last is not None else None) or 0) + 1,
                "at": tx.now,
                "principal": principal,
                "action": f"{access}.authenticate",
                "resource": f"{request.method} {request.path}",
                "allowed": allowed,
                "reason": reason,
            }
            tx.insert("access_log", row)

        await self._ports.store.transact("access.log", append)


def header(headers: Mapping[str, str], name: str) -> str | None:
    """The header called `name` (lower case), whatever its case on the wire (RFC 9110 §5.1)."""
    return next((value for key, value in headers.items() if key.lower() == name), None)


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of `Authorization: Bearer …` (RFC 6750 §2.1). Raises DeniedError."""
    scheme, _, token = (header(headers, "authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise DeniedError(401, ANONYMOUS, "no bearer token")
    return token


def verify(token: str, sign: Callable[[bytes], bytes], now: int) -> Claims:
    """The claims of a JSON Web Token that `sign` (HS256) has signed, alive at `now` (ms). Raises DeniedError.

    No other algorithm is accepted, whatever the token asks for (RFC 8725 §3.1). No leeway is given to `exp`.
    """
    signed, _, signature = token.rpartition(".")
    try:
        first, second = signed.split(".")
        head, payload = orjson.loads(_decode(first)), orjson.loads(_decode(second))
        proven = hmac.compare_digest(sign(signed.encode()), _decode(signature))
    except ValueError as error:
        raise DeniedError(401, ANONYMOUS, "malformed token") from error
    if not isinstance(head, dict) or head.get("alg") != "HS256" or "crit" in head:
        raise DeniedError(401, ANONYMOUS, "the token is not signed with HS256")
    if not proven:
        raise DeniedError(401, ANONYMOUS, "bad signature")
    return _claims(payload, now)


def _claims(payload: Any, now: int) -> Claims:
    claims: Mapping[str, Any] = payload if isinstance(payload, dict) else {}
    subject, token_id, issued_s, expires_s = (claims.get(name) for name in ("sub", "jti", "iat", "exp"))
    if not (isinstance(subject, str) and subject and isinstance(token_id, str) and token_id):
        raise DeniedError(401, ANONYMOUS, "the token names no subject or has no id")
    if type(issued_s) is not int or type(expires_s) is not int:
        raise DeniedError(401, subject, "the token does not say from when until when it is good")
    if expires_s * 1000 <= now:
        raise DeniedError(401, subject, "expired")
    if issued_s * 1000 > now + SKEW_MS:
        raise DeniedError(401, subject, "issued in the future")
    return Claims(subject, token_id, expires_s)


_STANDARD = bytes.maketrans(b"-_", b"+/")


def _decode(part: str) -> bytes:
    """Base64url without padding (RFC 7515 §2), and nothing else. Raises ValueError."""
    return a2b_base64(part.encode("ascii").translate(_STANDARD) + b"=" * (-len(part) % 4), strict_mode=True)
