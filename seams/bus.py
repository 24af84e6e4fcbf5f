"""The bus: every crossing of a seam is offered here to the faults of the plan, and each that acts is on record."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seams.faults import Call, Effect, Fault

Note = Callable[[Call, Fault, Effect, str], None]


class SeamBus:
    """`note` writes the injector's book: it is called once for each effect, with the victim's key."""

    __slots__ = ("_counts", "_faults", "_note", "_now")

    def __init__(self, faults: Sequence[Fault], now: Callable[[], int], note: Note) -> None:
        self._faults: dict[tuple[str, str], list[Fault]] = {}
        for fault in faults:
            for crossing in ((fault.seam, fault.operation), *fault.also):
                self._faults.setdefault(crossing, []).append(fault)
        self._counts: dict[tuple[str, str, str], int] = {}
        self._now, self._note = now, note

    def acts_at(self, seam: str, operation: str) -> bool:
        """Whether any fault of the plan may act there: who crosses very often need not ask otherwise."""
        return (seam, operation) in self._faults

    def consult(self, seam: str, operation: str, entity: str, victim: str) -> Effect | None:
        """What happens to this crossing instead of its normal course; None for nothing unusual (the common case, fast).

        `victim` is the key under which the other party's book will show it. The first fault that acts, in the order
        of the plan, wins.
        """
        faults = self._faults.get((seam, operation))
        if faults is None:
            return None
        key = (seam, operation, entity)
        occurrence = self._counts[key] = self._counts.get(key, 0) + 1
        call = Call(seam, operation, entity, occurrence, self._now())
        for fault in faults:
            effect = fault.effect(call)
            if effect is not None:
                self._note(call, fault, effect, victim)
                return effect
        return None
