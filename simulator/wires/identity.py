"""The way to the identity provider. Invariant: no answer about a token was made up on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from contest_platform.ports import ConnectionFailed, Introspection, ServiceUnavailable
from seams.faults import LoseAnswer, LoseRequest, Refuse
from simulator.actors.context import World
from simulator.actors.identity import IdentityActor

LATENCY_MS = (20, 200)


class IdentityWire:
    """The Auth port. Seam "auth", operation "introspect": Refuse, LoseRequest and LoseAnswer."""

    def __init__(self, world: World, actor: IdentityActor, guard: Callable[[], None]) -> None:
        self._world, self._actor, self._guard = world, actor, guard

    def introspect(self, *, token_id: str) -> Awaitable[Introspection]:
        """Raises ConnectionFailed or ServiceUnavailable when the identity provider cannot be asked."""
        self._guard()
        return self._world.call(self._introspect(token_id), "auth.introspect")

    async def _introspect(self, token_id: str) -> Introspection:
        world, runtime = self._world, self._world.runtime
        sent_at = runtime.now()
        latency_ms = world.draws.between(*LATENCY_MS, "identity.latency", token_id, sent_at)
        await runtime.sleep_until(sent_at + latency_ms // 2)
        match world.bus.consult("auth", "introspect", token_id, token_id):
            case None:
                answer = self._actor.introspect(token_id)
            case Refuse(status=0):
                raise ConnectionFailed("the identity provider refused the connection")
            case Refuse(status=status):
                self._actor.refuse(token_id, status)
                raise ServiceUnavailable(f"the identity provider answered {status}")
            case LoseRequest() | LoseAnswer() as lost:
                if isinstance(lost, LoseAnswer):
                    self._actor.introspect(token_id, answered=False)
                await world.never()
                raise AssertionError("unreachable: nothing comes after never")
            case effect:
                raise TypeError(f"the seam auth does not carry out {effect}: see seams.catalogue")
        await runtime.sleep_until(sent_at + latency_ms)
        return answer
