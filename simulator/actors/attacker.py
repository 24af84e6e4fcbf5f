"""Somebody who means harm and knows the platform's webhook endpoint: he forges deliveries and replays old ones.

Invariant: he has no secret of anybody. All that he has are the documented forms, what customers see, and copies of what
once went over the line; and whatever he posts is in his own book with the answer that he got.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from contest_platform.http import Request
from contest_platform.ports import Intent, PortError
from contest_platform.signing import signer
from simulator.actors.context import World
from simulator.actors.processor_objects import EventRecord, encode, event

WAIT_MS = 20_000
"""Between two posts of a forgery."""

Sign = Callable[[bytes, int], str | None]
"""(body, instant in seconds) -> the header Stripe-Signature, None for none."""


def _own_key(raw: bytes, t: int) -> str:
    return signer(b"a guess at the signing secret")(b"%d.%b" % (t, raw)).hex()


FORGERIES: Mapping[str, Sign] = {
    "unsigned": lambda _raw, _t: None,
    "other key": lambda raw, t: f"t={t},v1={_own_key(raw, t)}",
    # The scheme of test events, which no endpoint must take for v1 (docs.stripe.com/webhooks).
    "only v0": lambda raw, t: f"t={t},v0={_own_key(raw, t)}",
    "empty signature": lambda _raw, t: f"t={t},v1=",
}
"""Every way in which he signs a body of his own."""


class Attacker:
    def __init__(self, world: World, path: str) -> None:
        self._world, self._path = world, path
        self._book = world.books["attacker.posts"]

    def replay(self, request: Request, event_id: str, entity: str, after_ms: int) -> None:
        """Keep a copy of a delivery that was really signed, and post it again `after_ms` later."""
        self._world.runtime.spawn(self._replay(request, event_id, entity, after_ms), f"replays {event_id}")

    async def _replay(self, request: Request, event_id: str, entity: str, after_ms: int) -> None:
        await self._world.runtime.sleep_until(self._world.runtime.now() + after_ms)
        await self._post(request, "replayed", "as it was sent", event_id, entity)

    async def forge(self, entity: str, intent: Intent) -> list[int]:
        """Tell the platform in every way that `intent`, which its customer has before him unpaid, is paid. Returns the
        numbers of the posts in attacker.posts."""
        runtime, posts = self._world.runtime, []
        for number, (how, sign) in enumerate(FORGERIES.items(), 1):
            now = runtime.now()
            paid = replace(intent, status="succeeded", captured_at=now)
            event_id = f"evt_{self._world.draws.hex('attacker.event', entity, number)}"
            raw = encode(event(EventRecord(event_id, "payment_intent.succeeded", now, paid, None, None)))
            headers, header = {"Content-Type": "application/json"}, sign(raw, now // 1000)
            if header is not None:
                headers["Stripe-Signature"] = header
            request = Request("POST", self._path, headers, raw=raw)
            posts.append(await self._post(request, "forged", how, event_id, entity))
            await runtime.sleep_until(runtime.now() + WAIT_MS)
        return posts

    async def _post(self, request: Request, kind: str, how: str, event_id: str, entity: str) -> int:
        at = self._world.runtime.now()
        self._world.record("attacker", f"webhook.{kind}", event_id, how=how, entity=entity)
        status: int | None
        try:
            status = (await self._world.edge.request(request)).status
        except PortError:
            status = None
        return self._book.note(at, kind, how, event_id, entity, status)
