"""The ways to the anchor and to the pager. Invariant: what was refused left nothing there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from contest_platform.ports import ConnectionFailed, PagerIncident, PortError, ServiceUnavailable
from seams.faults import LoseRequest, Refuse
from simulator.actors.context import World
from simulator.actors.witnesses import AnchorActor, InvalidEventError, PagerActor

LATENCY_MS = (50, 500)


class AnchorWire:
    """The Anchor port. Seam "anchor", operation "publish": Refuse."""

    def __init__(self, world: World, actor: AnchorActor, guard: Callable[[], None]) -> None:
        self._world, self._actor, self._guard = world, actor, guard

    def publish(self, *, head_seq: int, head_hash: str) -> Awaitable[None]:
        """Raises ConnectionFailed or ServiceUnavailable when the anchor cannot be reached."""
        self._guard()
        return self._world.call(self._publish(head_seq, head_hash), "anchor.publish")

    async def _publish(self, head_seq: int, head_hash: str) -> None:
        refuse = partial(self._actor.refuse, head_seq)
        await _arrive(self._world, "anchor", "publish", "audit", str(head_seq), refuse)
        self._actor.receive(head_seq, head_hash)


class PagerWire:
    """The Pager port. Seam "pager", operations "send" and "incidents": Refuse and LoseRequest."""

    def __init__(self, world: World, actor: PagerActor, guard: Callable[[], None]) -> None:
        self._world, self._actor, self._guard = world, actor, guard

    def send(
        self, *, action: str, dedup_key: str, summary: str, severity: str, details: Mapping[str, Any]
    ) -> Awaitable[None]:
        """Raises ConnectionFailed or ServiceUnavailable when the pager cannot be reached, PortError when it takes the
        event for invalid."""
        self._guard()
        return self._world.call(self._send(action, dedup_key, summary, severity, dict(details)), "pager.send")

    def incidents(self) -> Awaitable[Sequence[PagerIncident]]:
        """Raises ConnectionFailed or ServiceUnavailable when the pager cannot be reached."""
        self._guard()
        return self._world.call(self._incidents(), "pager.incidents")

    async def _incidents(self) -> Sequence[PagerIncident]:
        refuse = partial(self._actor.refuse, "incidents", "")
        await _arrive(self._world, "pager", "incidents", "all", "", refuse)
        return self._actor.incidents()

    async def _send(self, action: str, dedup_key: str, summary: str, severity: str, details: Mapping[str, Any]) -> None:
        await _arrive(
            self._world, "pager", "send", dedup_key, dedup_key, partial(self._actor.refuse, action, dedup_key)
        )
        try:
            self._actor.receive(action, dedup_key, summary, severity, details)
        except InvalidEventError as error:
            raise PortError(f"the pager answered 400: {error}") from error


async def _arrive(
    world: World, seam: str, operation: str, entity: str, victim: str, refuse: Callable[[int], None]
) -> None:
    """The way there. Raises what the caller sees when the other side refuses; an HTTP error is its own, and noted."""
    sent_at = world.runtime.now()
    latency_ms = world.draws.between(*LATENCY_MS, f"{seam}.latency", entity, sent_at)
    await world.runtime.sleep_until(sent_at + latency_ms)
    match world.bus.consult(seam, operation, entity, victim):
        case None:
            return
        case Refuse(status=0):
            raise ConnectionFailed(f"the {seam} refused the connection")
        case LoseRequest():
            await world.never()
        case Refuse(status=status):
            refuse(status)
            raise ServiceUnavailable(f"the {seam} answered {status}")
        case effect:
            raise TypeError(f"the seam {seam} does not carry out {effect}: see seams.catalogue")
