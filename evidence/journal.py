"""The journal: one chained JSON line per event, in the order in which things happened.

Each line carries the hash of the line before it and its own, so an altered event is found at that event.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from evidence.canonical import canonical

GENESIS = "0" * 64

_AT = re.compile(rb'"at":(-?\d+)')
"""Only the actor stands before it, and the quotes of a string within a string are escaped."""


class JournalWriter:
    """Appends events to `stream` (binary). `head` is the hash of the last line, `count` the number of lines."""

    __slots__ = ("_write", "count", "head")

    def __init__(self, stream: IO[bytes]) -> None:
        self._write = stream.write
        self.count = 0
        self.head = GENESIS

    def append(self, at: int, actor: str, kind: str, subject: str, cause: str | None, data: dict[str, Any]) -> str:
        """Append one event and return its id. `data` holds logical facts only: no floats, no session or row ids.
        Raises TypeError for what is not JSON, or an integer of more than 64 bits."""
        self.count += 1
        event_id = f"e{self.count}"
        event = {
            "actor": actor,
            "at": at,
            "cause": cause,
            "data": data,
            "id": event_id,
            "kind": kind,
            "prev": self.head,
            "subject": subject,
        }
        line = canonical(event)
        self.head = head = sha256(line).hexdigest()
        self._write(b'%b,"hash":"%b"}\n' % (line[:-1], head.encode()))
        return event_id


class Event(NamedTuple):
    id: str
    at: int
    actor: str
    kind: str
    subject: str
    cause: str | None
    data: dict[str, Any]


class JournalBroken(Exception):
    """The chain does not hold. `line` counts from 1; `event_id` names the first event that is not what was written."""

    def __init__(self, line: int, event_id: str, why: str) -> None:
        super().__init__(line, event_id, why)
        self.line, self.event_id, self.why = line, event_id, why

    def __str__(self) -> str:
        return f"journal.jsonl line {self.line}, event {self.event_id}: {self.why}"


def read(path: Path, verify: bool = True) -> Iterator[Event]:
    """The events of a journal, in order. Raises JournalBroken at the first line that does not hold."""
    head = GENESIS
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            expected_id = f"e{number}"
            try:
                line = orjson.loads(raw)
                body_hash, prev = line["hash"], line["prev"]
                marker = f',"hash":"{body_hash}"}}\n'.encode()
                event = Event(*map(line.__getitem__, Event._fields))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise JournalBroken(number, expected_id, "is not a journal line") from None
            if verify:
                if not raw.endswith(marker):
                    raise JournalBroken(number, expected_id, "does not end with its own hash")
                actual = sha256(raw[: -len(marker)] + b"}").hexdigest()
                if actual != body_hash:
                    raise JournalBroken(number, expected_id, f"hashes to {actual}, says {body_hash}")
                if prev != head:
                    raise JournalBroken(number, expected_id, f"carries the id {event.id!r} and breaks the chain")
                if event.id != expected_id:
                    raise JournalBroken(number, expected_id, f"carries the id {event.id!r}")
                head = body_hash
            yield event


def instants(path: Path) -> array[int]:
    """When each event was, in order: that of event `e<k>` is number k - 1. Without a look at the chain, and without
    reading the events, so it costs a tenth of `read`. Raises JournalBroken at the first line that has no instant."""
    found = array("q")
    search = _AT.search
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            match = search(raw)
            if match is None:
                raise JournalBroken(number, f"e{number}", "is not a journal line")
            found.append(int(match[1]))
    return found


def tail(path: Path) -> tuple[int, str]:
    """How many lines a journal has and the hash that its last line states, without a look at the chain between.
    Raises JournalBroken when the last line states none."""
    count, last = 0, b""
    with path.open("rb") as lines:
        for count, last in enumerate(lines, 1):  # noqa: B007
            pass
    if not count:
        return 0, GENESIS
    try:
        head = orjson.loads(last)["hash"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise JournalBroken(count, f"e{count}", "is not a journal line") from None
    return count, str(head)
