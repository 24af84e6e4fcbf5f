"""Whether a run was halted before its time, by whom, when and why: the journal says so itself, in its last lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import orjson

HALTED = "guard.halted"
"""The kind of the event that says that the anomaly guard has ended the run; one for each anomaly that it saw. Its
subject is the anomaly, and `saw` what was seen of it, in sentences."""
TAIL_BYTES = 64 << 10
"""After it a run only closes its books: the event is among the last few lines."""


class Halt(NamedTuple):
    """`at`: the simulated instant (ms); `saw`: (anomaly, what was seen of it, in sentences)."""

    at: int
    saw: tuple[tuple[str, tuple[str, ...]], ...]

    def sentence(self) -> str:
        return "; ".join(sentence for _, sentences in self.saw for sentence in sentences)


def halt_of(journal: Path) -> Halt | None:
    """None: the run came to its end. The chain is not looked at, and lines that are no events are passed over."""
    with journal.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().splitlines()
    events = [_event(line) for line in lines if HALTED.encode() in line]
    halted = [event for event in events if event and event["kind"] == HALTED]
    if not halted:
        return None
    return Halt(halted[0]["at"], tuple((event["subject"], tuple(event["data"].get("saw", ()))) for event in halted))


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
