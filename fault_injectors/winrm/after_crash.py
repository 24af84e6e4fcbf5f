"""What the faults of WinRM have in common: each brings the crash that makes somebody call the host just then."""

from __future__ import annotations

from dataclasses import replace

from fault_injectors.moments import MINUTE_MS
from fault_injectors.platform.crashes import Crash, CrashParams
from seams.draws import Draws
from seams.faults import Binding, Call, Guarantees, Occasion

HOST = "win-ingest-1"
OPERATIONS = (("winrm", "create"), ("winrm", "command"), ("winrm", "receive"), ("winrm", "signal"), ("winrm", "delete"))
"""Where a message to the host may go wrong."""


def after_crash(guarantees: Guarantees, draws: Draws, entity: str = HOST) -> Binding | None:
    """`entity`, a host or host/verb, from the crash of the worker on the host on."""
    unit = CrashParams()
    crash = Crash.bind(guarantees, draws, unit)
    if crash is None:
        return None
    occasion = Occasion(Crash.id, crash, unit.model_dump())
    return Binding(entity=entity, from_at=crash.from_at, occasion=(occasion,))


def lasting(guarantees: Guarantees, draws: Draws, minutes: int, entity: str = HOST) -> Binding | None:
    """The same, for so long."""
    bound = after_crash(guarantees, draws, entity)
    if bound is None or bound.from_at is None:
        return None
    return replace(bound, until_at=bound.from_at + minutes * MINUTE_MS)


def befalls(binding: Binding, call: Call) -> bool:
    """Whether the call is about the bound host, or the bound host/verb, and within the bound time."""
    from_at, until_at = binding.from_at, binding.until_at
    if from_at is None or call.at < from_at or (until_at is not None and call.at >= until_at):
        return False
    return binding.entity in (call.entity, call.entity.partition("/")[0])


class First:
    """Picks the first calls that a binding befalls."""

    def __init__(self) -> None:
        self._met = 0

    def picks(self, binding: Binding, call: Call, calls: int) -> bool:
        """Whether `call` is one of the first `calls`. Counts it if so."""
        if self._met >= calls or not befalls(binding, call):
            return False
        self._met += 1
        return True
