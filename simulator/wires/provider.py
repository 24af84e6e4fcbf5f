"""The wire to the score provider: the network between the platform and the actor, where the plan's faults act.

Invariant: a poll that arrived is in the provider's book, whatever its caller learns of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from contest_platform.ports import (
    AnswerUnreadable,
    CertificateExpired,
    ConnectionFailed,
    ScoreAnswer,
    ScoreProvider,
    ServiceUnavailable,
)
from seams.faults import Falsify, LoseAnswer, LoseRequest, Refuse
from simulator.actors.context import World
from simulator.actors.provider import ProviderActor, UnknownEventError
from simulator.actors.provider_answers import UNREADABLE

LATENCY_MS = (100, 900)
"""One way over the network."""


class ProviderWire:
    """The ScoreProvider port, for one life of one process. `guard` raises when that life is over.

    Seam "provider", operation "poll": entity the tournament id, victim the number of the poll in provider.requests.
    """

    def __init__(self, world: World, actor: ProviderActor, guard: Callable[[], None]) -> None:
        self._world, self._actor, self._guard = world, actor, guard

    def poll(self, *, event_id: str, since: int | None) -> Awaitable[ScoreAnswer]:
        """Raises ConnectionFailed when the provider is not there, CertificateExpired when it cannot prove who it is,
        ServiceUnavailable on any status but 200, and AnswerUnreadable when what comes at 200 cannot be read."""
        self._guard()
        return self._world.call(self._poll(event_id, since), "provider.poll")

    async def _poll(self, event_id: str, since: int | None) -> ScoreAnswer:
        world, actor = self._world, self._actor
        sent_at = world.runtime.now()
        there_ms = world.draws.between(*LATENCY_MS, "provider.network", event_id, sent_at, "there")
        back_ms = world.draws.between(*LATENCY_MS, "provider.network", event_id, sent_at, "back")
        await world.runtime.sleep_until(sent_at + there_ms)
        effect = world.bus.consult("provider", "poll", actor.tournament_of(event_id), str(actor.next_request))
        answer: ScoreAnswer | None = None
        status = 200
        match effect:
            case None | LoseAnswer() | Falsify():
                lie = effect if isinstance(effect, Falsify) else None
                try:
                    answer = actor.answer(event_id, since, lie, answered=not isinstance(effect, LoseAnswer))
                except UnknownEventError:
                    status = 404
            case LoseRequest():
                pass
            case Refuse(error_code="certificate_expired"):
                actor.end_handshake(event_id, since, "certificate_expired")
                raise CertificateExpired("the provider's certificate has expired")
            case Refuse(status=0):
                raise ConnectionFailed("the provider refused the connection")
            case Refuse(status=status):
                actor.refuse(event_id, since, status)
            case _:
                raise TypeError(f"the seam provider does not carry out {effect}: see seams.catalogue")
        if isinstance(effect, LoseAnswer | LoseRequest):
            world.record("network", "provider.lost", actor.tournament_of(event_id), effect=type(effect).__name__)
            await world.never()
        await world.runtime.sleep_until(world.runtime.now() + back_ms)
        if isinstance(effect, Falsify) and effect.kind == UNREADABLE:
            raise AnswerUnreadable("the provider's answer ends in the middle")
        if answer is None:
            raise ServiceUnavailable(f"the provider answered {status}")
        return answer


def _implements_port(wire: ProviderWire) -> ScoreProvider:
    """Checked by the type checker: the wire is the port that the platform asks for."""
    return wire
