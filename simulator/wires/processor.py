"""The wires to the payment processor: the network between its callers and the actor, where the plan's faults act.

Invariant: a request that arrived runs to its end at the processor, whether or not its caller still waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from contest_platform.ports import (
    BalanceTransaction,
    ConnectionFailed,
    Dispute,
    Intent,
    Processor,
    ProcessorError,
    ProcessorEvent,
    Refund,
    Transfer,
)
from seams.faults import Delay, LoseAnswer, LoseRequest, Refuse, Stall
from simulator.actors.context import World
from simulator.actors.processor import ProcessorActor, entity_of
from simulator.actors.processor_answers import error_of

LATENCY_MS = (40, 200)
"""One way over the network."""


class _Line:
    """A caller's connection to the processor: latency both ways, drawn for each crossing of an (operation, subject)."""

    def __init__(self, world: World, actor: ProcessorActor, caller: str) -> None:
        self._world, self._actor, self._caller = world, actor, caller
        self._crossings: dict[tuple[str, str], int] = {}

    def _latencies(self, operation: str, subject: str) -> tuple[int, int]:
        """Milliseconds out and back of the next crossing: the two halves of one draw."""
        about = operation, subject
        crossing = self._crossings[about] = self._crossings.get(about, 0) + 1
        bits = self._world.draws.bits("processor.network", self._caller, operation, subject, crossing)
        least, most = LATENCY_MS
        span = most - least + 1
        return least + ((bits >> 32) * span >> 32), least + ((bits & 0xFFFFFFFF) * span >> 32)

    async def request(
        self, seam: tuple[str, str], operation: str, params: Mapping[str, Any], key: str | None, entity: str
    ) -> Any:
        """One request and its answer. `seam` is where faults may act on it."""
        world, actor, caller, runtime = self._world, self._actor, self._caller, self._world.runtime
        out_ms, back_ms = self._latencies(operation, key or entity)
        await runtime.sleep_until(runtime.now() + out_ms)
        answered, fails = True, None
        match world.bus.consult(*seam, entity, key or ""):
            case None:
                pass
            case LoseRequest():
                await world.never()
            case LoseAnswer():
                answered = False
            case Delay(by_ms=by_ms):
                await runtime.sleep_until(runtime.now() + by_ms)
            case Stall(by_ms=by_ms):
                with actor.at_work(key):
                    await runtime.sleep_until(runtime.now() + by_ms)
                answered = False  # whoever asked has hung up by then
            case Refuse(status=status, error_code=code, done=True):
                fails = error_of(status, code or None)
            case Refuse(status=0):
                raise ConnectionFailed(operation)
            case Refuse(status=status) if actor.has_answered(key, status):
                pass  # the key is looked up before execution, and gives its first outcome again
            case Refuse(status=status, error_code=code):
                error = actor.refuse(caller, operation, params, key, entity, status=status, code=code)
                await runtime.sleep_until(runtime.now() + back_ms)
                raise error
            case effect:
                raise TypeError(f"the seam {seam} does not carry out {effect}: see seams.catalogue")
        outcome: Any
        try:
            outcome = actor.handle(caller, operation, params, key, entity, answered=answered, fails=fails)
        except ProcessorError as error:
            outcome = error
        if not answered:
            await world.never()
        await runtime.sleep_until(runtime.now() + back_ms)
        if isinstance(outcome, ProcessorError):
            raise outcome
        return outcome


class ProcessorWire:
    """The platform's Processor port, for one life of one of its processes.

    `caller` names its API key in the processor's books; `guard` raises when the calling process is dead. Seams:
    "processor" for requests with an effect (victim: the idempotency key), "processor.read" for the others (entity: the
    object kind).
    """

    def __init__(self, world: World, actor: ProcessorActor, caller: str, guard: Callable[[], None]) -> None:
        self._world, self._actor, self._guard = world, actor, guard
        self._line = _Line(world, actor, caller)

    def _write(self, operation: str, params: Mapping[str, Any], key: str, entity: str) -> Awaitable[Any]:
        sending = self._line.request(("processor", operation), operation, params, key, entity)
        return self._world.call(sending, f"{operation} {key}")

    def _read(self, kind: str, verb: str, params: Mapping[str, Any]) -> Awaitable[Any]:
        operation = f"{kind}.{verb}"
        sending = self._line.request(("processor.read", verb), operation, params, None, kind)
        return self._world.call(sending, operation)

    def create_intent(
        self, *, amount_cents: int, metadata: Mapping[str, str], idempotency_key: str
    ) -> Awaitable[Intent]:
        self._guard()
        params = {"amount_cents": amount_cents, "metadata": dict(metadata)}
        return self._write("intents.create", params, idempotency_key, entity_of(metadata))

    def cancel_intent(self, *, intent_id: str, idempotency_key: str) -> Awaitable[Intent]:
        self._guard()
        entity = self._actor.entity_of_intent(intent_id)
        return self._write("intents.cancel", {"intent": intent_id}, idempotency_key, entity)

    def create_transfer(
        self,
        *,
        amount_cents: int,
        destination: str,
        transfer_group: str,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> Awaitable[Transfer]:
        self._guard()
        params = {
            "amount_cents": amount_cents,
            "destination": destination,
            "transfer_group": transfer_group,
            "metadata": dict(metadata),
        }
        return self._write("transfers.create", params, idempotency_key, metadata.get("contest_id", ""))

    def create_refund(
        self, *, intent_id: str, amount_cents: int, metadata: Mapping[str, str], idempotency_key: str
    ) -> Awaitable[Refund]:
        self._guard()
        params = {"intent": intent_id, "amount_cents": amount_cents, "metadata": dict(metadata)}
        entity = entity_of(metadata) or self._actor.entity_of_intent(intent_id)
        return self._write("refunds.create", params, idempotency_key, entity)

    def list_transfers(self, *, transfer_group: str) -> Awaitable[list[Transfer]]:
        self._guard()
        return self._read("transfers", "list", {"transfer_group": transfer_group})

    def list_refunds(self, *, intent_id: str) -> Awaitable[list[Refund]]:
        self._guard()
        return self._read("refunds", "list", {"intent": intent_id})

    def list_intents(self, *, after: str | None, limit: int) -> Awaitable[list[Intent]]:
        self._guard()
        return self._read("intents", "list", {"after": after, "limit": limit})

    def retrieve_intent(self, *, intent_id: str) -> Awaitable[Intent]:
        self._guard()
        return self._read("intents", "retrieve", {"intent": intent_id})

    def retrieve_dispute(self, *, dispute_id: str) -> Awaitable[Dispute]:
        self._guard()
        return self._read("disputes", "retrieve", {"dispute": dispute_id})

    def list_events(self, *, after: str | None, limit: int) -> Awaitable[list[ProcessorEvent]]:
        self._guard()
        return self._read("events", "list", {"after": after, "limit": limit})

    def list_balance_transactions(self, *, after: str | None, limit: int) -> Awaitable[list[BalanceTransaction]]:
        self._guard()
        return self._read("balance", "list", {"after": after, "limit": limit})


class CustomerWire:
    """What a customer's browser does at the processor directly, past the platform."""

    def __init__(self, world: World, actor: ProcessorActor) -> None:
        self._world, self._actor = world, actor

    def confirm(self, intent_id: str, user_id: str) -> Awaitable[Intent]:
        """Pay: the money is captured at once, however late it is. Raises ProcessorError (canceled, or paid already)."""
        line = _Line(self._world, self._actor, f"customer:{user_id}")
        entity = self._actor.entity_of_intent(intent_id)
        sending = line.request(("processor", "intents.confirm"), "intents.confirm", {"intent": intent_id}, None, entity)
        return self._world.call(sending, f"intents.confirm {intent_id}")


def _implements_port(wire: ProcessorWire) -> Processor:
    """Checked by the type checker: the wire is the port that the platform asks for."""
    return wire
