"""What a service is: a few jobs and routes, built from ports and configuration, without module state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from contest_platform.fields import Field
from contest_platform.http import Request, Response
from contest_platform.jobs import Job

Handler = Callable[[Request, str], Awaitable[Response]]
"""Takes the request and the principal that access control established for it."""

Access = Literal["customer", "agent", "admin", "signature"]
"""Who may call: a customer's token, a host agent's token, a human's admin token (introspected each time), or nobody in
particular because the handler verifies a signature over the body itself."""


@dataclass(frozen=True, slots=True)
class Route:
    """`summary` and `fields` are for the API description, and `acting` says there that a call needs a runbook step; the
    handler itself checks what it is given."""

    access: Access
    handle: Handler
    summary: str
    fields: tuple[Field, ...] = ()
    acting: bool = False


class Refusal(NamedTuple):
    """What a service answers to a request that it will not do: the HTTP status that says so, and why."""

    status: int
    reason: str


class Service(Protocol):
    def jobs(self) -> Sequence[Job]: ...

    def routes(self) -> Mapping[tuple[str, str], Route]:
        """(method, path) -> route."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one environment. Secrets come from its profile, never from code."""

    webhook_secrets: tuple[str, ...]
    """Signing secrets of the webhook endpoint: the current one and, when it is about to be or has just been rolled, the
    other. Both are valid for up to 24 h (docs.stripe.com/webhooks)."""
    token_key: str
    """HS256 key of API tokens."""
    hosts: Mapping[str, str]
    """The fleet: host -> operating system, windows or linux."""
    environment: str = "production"
    """Whose profile it is (environments/*.json)."""
    processor_timeout_ms: int = 80_000
    """stripe-python's default read timeout."""
    provider_timeout_ms: int = 30_000
    host_timeout_ms: int = 60_000
    auth_timeout_ms: int = 5_000
    pager_timeout_ms: int = 10_000
    anchor_timeout_ms: int = 10_000
    database_timeout_ms: int = 10_000
    """How long a connection waits for the database's answer before it is given up."""
    database_connections: int = 20
    """The pool of each process: so many transactions may be under way at once, and the next one is refused."""
