"""Webhook delivery: each subscribed event reaches the platform's endpoint at least once, or the book says why not.

Invariant: every attempt is signed at its own instant and leaves one row in processor.deliveries, whatever came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from contest_platform.http import Request, Response
from contest_platform.ports import PortError
from contest_platform.signing import signer
from seams.faults import Behind, Copy, Delay, Drop, Refuse, Repeat, Twin
from simulator.actors.attacker import Attacker
from simulator.actors.context import World
from simulator.actors.processor_answers import refusal

SUBSCRIBED = (
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "charge.refunded",
    "refund.updated",
    "transfer.created",
    "transfer.reversed",
)
SUBSCRIBED_FAMILIES = ("charge.dispute.",)
"""Types that the platform's endpoint asks for, and what else begins with one of these."""

LATENCY_MS = (300, 4_000)
ANSWER_WITHIN_MS = 10_000
"""How long the processor waits for an answer; Stripe does not document its own limit."""
RETRY_FIRST_MS = 60_000
RETRY_FOR_MS = 3 * 86_400_000
"""Stripe retries with exponential back-off for up to three days; the intervals are undocumented, ours double."""


SECRETS_OVERLAP_MS = 86_400_000
"""After a roll the old secret stays valid for up to 24 h; each attempt then carries a signature of both."""


def is_subscribed(event_type: str) -> bool:
    return event_type in SUBSCRIBED or event_type.startswith(SUBSCRIBED_FAMILIES)


Sign = Callable[[bytes], bytes]


def signature(sign: Sign, raw: bytes, at: int, *others: Sign) -> str:
    """The Stripe-Signature header of `raw` sent at `at` (ms): HMAC-SHA256 over "seconds.body", one `v1` for each secret
    that is valid (docs.stripe.com)."""
    t = at // 1000
    header = f"t={t},v1={sign(b'%d.%b' % (t, raw)).hex()}"
    for other in others:
        header += f",v1={other(b'%d.%b' % (t, raw)).hex()}"
    return header


@dataclass(slots=True)
class _Parcel:
    """An event on its way. `attempts` counts the attempts so far, repeats included. `copied_ms`: how long after the
    first of them a copy of it is posted again by somebody else."""

    event_id: str
    raw: bytes
    entity: str
    attempts: int = 0
    copied_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events go. `enabled_events` None: what the platform's endpoint asks for."""

    id: str
    url: str
    enabled_events: tuple[str, ...] | None = None


PLATFORM_ENDPOINT = "we_platform"


class Webhooks:
    """Delivers events to the platform's endpoint. At the seam "webhook" Refuse acts on every attempt (operation
    "attempt"), every other effect on the first one (operation "deliver"). An endpoint that somebody adds is told of the
    types that it has enabled, which only he sees.

    `twin` makes a second event of the change that an event tells of, and returns its id and body.
    """

    def __init__(
        self, world: World, secret: str, path: str, attacker: Attacker, twin: Callable[[str], tuple[str, bytes]]
    ) -> None:
        self._world, self._sign = world, signer(secret.encode())
        self._endpoints = {PLATFORM_ENDPOINT: Endpoint(PLATFORM_ENDPOINT, path)}
        self._path = path
        self._attacker, self._twin = attacker, twin
        self._book = world.books["processor.deliveries"]
        self._old_sign: Sign | None = None
        self._rolled_at: int | None = None
        self._behind: dict[str, list[_Parcel]] = {}

    def roll_secret(self, secret: str) -> None:
        """Replace the signing secret: both are valid for 24 h from now, then only the new one."""
        self._old_sign, self._sign = self._sign, signer(secret.encode())
        self._rolled_at = self._world.runtime.now()

    def create_endpoint(self, params: Mapping[str, Any], caller: str, key: str) -> Endpoint:
        made = Endpoint(f"we_{len(self._endpoints)}", params["url"], tuple(params["enabled_events"]))
        self._endpoints[made.id] = made
        return made

    def update_endpoint(self, params: Mapping[str, Any], caller: str, key: str) -> Endpoint:
        """Events go to the new address from now on, those that are still being tried too. Raises ProcessorError."""
        known = self._endpoints.get(params["endpoint"])
        if known is None:
            raise refusal("resource_missing")
        changed = self._endpoints[known.id] = replace(known, url=params["url"])
        self._path = self._endpoints[PLATFORM_ENDPOINT].url
        return changed

    def send(self, event_id: str, raw: bytes, entity: str) -> None:
        """Begin to deliver an event, as a task of the world; what the running task last recorded is its cause."""
        self._world.runtime.spawn(self._deliver(_Parcel(event_id, raw, entity)), f"webhook {event_id}")

    async def _deliver(self, parcel: _Parcel) -> None:
        world, runtime = self._world, self._world.runtime
        latency_ms = world.draws.between(*LATENCY_MS, "processor.webhook.latency", parcel.event_id)
        due_at = runtime.now() + latency_ms
        await runtime.sleep_until(due_at)
        note: str | None = None
        match world.bus.consult("webhook", "deliver", parcel.entity, parcel.event_id):
            case None:
                pass
            case Drop():
                world.record("processor", "webhook.lost", parcel.event_id)
                self._book.note(parcel.event_id, 1, due_at, runtime.now(), False, None, "lost", parcel.entity)
                return
            case Delay(by_ms=by_ms):
                note = "delayed"
                await runtime.sleep_until(due_at + by_ms)
            case Repeat(times=times, gap_ms=gap_ms):
                runtime.spawn(self._repeat(parcel, times, gap_ms), f"webhook repeats {parcel.event_id}")
            case Twin(gap_ms=gap_ms):
                note = "twin"
                runtime.spawn(self._deliver_twin(parcel, gap_ms), f"webhook twin of {parcel.event_id}")
            case Behind():
                world.record("processor", "webhook.held", parcel.event_id)
                self._behind.setdefault(parcel.entity, []).append(parcel)
                return
            case Copy(after_ms=after_ms):
                parcel.copied_ms = after_ms
            case effect:
                raise TypeError(f"the seam webhook does not carry out {effect}: see seams.catalogue")
        await self._insist(parcel, due_at, note)

    async def _insist(self, parcel: _Parcel, due_at: int, note: str | None) -> None:
        """Attempt it until it is accepted, or for three days."""
        runtime = self._world.runtime
        give_up_at = runtime.now() + RETRY_FOR_MS
        wait_ms = RETRY_FIRST_MS
        while not await self._attempt(parcel, due_at, note):
            note = None
            due_at = runtime.now() + wait_ms
            wait_ms *= 2
            if due_at > give_up_at:
                return
            await runtime.sleep_until(due_at)
        for held in self._behind.pop(parcel.entity, ()):
            runtime.spawn(self._insist(held, runtime.now(), "overtaken"), f"webhook overtaken {held.event_id}")

    async def _deliver_twin(self, parcel: _Parcel, gap_ms: int) -> None:
        runtime = self._world.runtime
        due_at = runtime.now() + gap_ms
        await runtime.sleep_until(due_at)
        event_id, raw = self._twin(parcel.event_id)
        await self._insist(_Parcel(event_id, raw, parcel.entity), due_at, "twin")

    async def _repeat(self, parcel: _Parcel, times: int, gap_ms: int) -> None:
        """The same event again, `times` times: at fixed instants, side by side, whatever comes of the others."""
        runtime = self._world.runtime
        began_at = runtime.now()
        for n in range(1, times + 1):
            due_at = began_at + n * gap_ms
            await runtime.sleep_until(due_at)
            runtime.spawn(self._repeat_once(parcel, due_at), f"webhook repeat {n} {parcel.event_id}")

    async def _repeat_once(self, parcel: _Parcel, due_at: int) -> None:
        await self._attempt(parcel, due_at, "repeat")

    async def _attempt(self, parcel: _Parcel, due_at: int, note: str | None) -> bool:
        """Send it once; True when the endpoint answered with 2xx."""
        world = self._world
        at = world.runtime.now()
        attempt = parcel.attempts = parcel.attempts + 1
        status: int | None
        match world.bus.consult("webhook", "attempt", parcel.entity, parcel.event_id):
            case None:
                pass
            case Refuse(status=code):
                world.record("processor", "webhook.attempt", parcel.event_id, attempt=attempt, note="refused")
                self._book.note(parcel.event_id, attempt, due_at, at, True, code or None, "refused", parcel.entity)
                return False
            case effect:
                raise TypeError(f"the seam webhook does not carry out {effect} on attempts: see seams.catalogue")
        others, rolled = self._secrets(at)
        note = note or rolled
        world.record("processor", "webhook.attempt", parcel.event_id, attempt=attempt, note=note)
        signed = signature(self._sign, parcel.raw, at, *others)
        headers = {"Content-Type": "application/json", "Stripe-Signature": signed}
        request = Request("POST", self._path, headers, raw=parcel.raw)
        if parcel.copied_ms is not None and attempt == 1:
            self._attacker.replay(request, parcel.event_id, parcel.entity, parcel.copied_ms)
        sending = world.call(self._post(request), f"webhook post {parcel.event_id}")
        try:
            status = (await world.runtime.deadline(sending, ANSWER_WITHIN_MS)).status
        except PortError:
            status = None
        self._book.note(parcel.event_id, attempt, due_at, at, True, status, note, parcel.entity)
        return status is not None and 200 <= status < 300

    def _secrets(self, at: int) -> tuple[tuple[Sign, ...], str | None]:
        """What signs at `at` beside the secret of today, and what a delivery's row says of it."""
        if self._rolled_at is None or self._old_sign is None:
            return (), None
        if at < self._rolled_at + SECRETS_OVERLAP_MS:
            return (self._old_sign,), "both secrets"
        return (), "new secret"

    async def _post(self, request: Request) -> Response:
        return await self._world.edge.request(request)
