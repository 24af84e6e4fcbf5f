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
from seams.faults import Delay, Drop, Repeat
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


def is_subscribed(event_type: str) -> bool:
    return event_type in SUBSCRIBED or event_type.startswith(SUBSCRIBED_FAMILIES)


def signature(sign: Callable[[bytes], bytes], raw: bytes, at: int) -> str:
    """The Stripe-Signature header of `raw` sent at `at` (ms): HMAC-SHA256 over "seconds.body" (docs.stripe.com)."""
    t = at // 1000
    return f"t={t},v1={sign(b'%d.%b' % (t, raw)).hex()}"


@dataclass(slots=True)
class _Parcel:
    """An event on its way. `attempts` counts the attempts so far, repeats included."""

    event_id: str
    raw: bytes
    entity: str
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events go. `enabled_events` None: what the platform's endpoint asks for."""

    id: str
    url: str
    enabled_events: tuple[str, ...] | None = None


PLATFORM_ENDPOINT = "we_platform"


class Webhooks:
    """Delivers events to the platform's endpoint. At the seam "webhook", Delay, Drop and Repeat act on the first
    attempt. An endpoint that somebody adds is told of the types that it has enabled, which only he sees.
    """

    def __init__(self, world: World, secret: str, path: str) -> None:
        self._world, self._sign = world, signer(secret.encode())
        self._endpoints = {PLATFORM_ENDPOINT: Endpoint(PLATFORM_ENDPOINT, path)}
        self._path = path
        self._book = world.books["processor.deliveries"]

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
            case effect:
                raise TypeError(f"the seam webhook does not carry out {effect}: see seams.catalogue")
        give_up_at = runtime.now() + RETRY_FOR_MS
        wait_ms = RETRY_FIRST_MS
        while not await self._attempt(parcel, due_at, note):
            note = None
            due_at = runtime.now() + wait_ms
            wait_ms *= 2
            if due_at > give_up_at:
                return
            await runtime.sleep_until(due_at)

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
        world.record("processor", "webhook.attempt", parcel.event_id, attempt=attempt, note=note)
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature(self._sign, parcel.raw, at)}
        sending = world.call(
            self._post(Request("POST", self._path, headers, raw=parcel.raw)), f"webhook post {parcel.event_id}"
        )
        status: int | None
        try:
            status = (await world.runtime.deadline(sending, ANSWER_WITHIN_MS)).status
        except PortError:
            status = None
        self._book.note(parcel.event_id, attempt, due_at, at, True, status, note, parcel.entity)
        return status is not None and 200 <= status < 300

    async def _post(self, request: Request) -> Response:
        return await self._world.edge.request(request)
