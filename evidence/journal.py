"""The journal: one chained JSON line per event, in the order in which things happened.

Each line carries the hash of the line before it and its own, so an altered event is found at that event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

GENESIS = "0" * 64

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class JournalWriter:
    """Appends events to `stream` (binary). `head` is the hash of the last line, `count` the number of lines."""

    __slots__ = ("_write", "count", "head")

    def __init__(self, stream: IO[bytes]) -> None:
        self._write = stream.write
        self.count = 0
        self.head = GENESIS

    def append(
        self, at: int, actor: str, kind: str, subject: str, cause: str | None, data: dict[str, Any]
    ) -> str:
        """Append one event and return its id. `data` holds logical facts only: no floats, no session or row ids."""
        self.count += 1
        event_id = f"e{self.count}"
        body = _encode(
            {
                "actor": actor,
                "at": at,
                "cause": cause,
                "data": data,
                "id": event_id,
                "kind": kind,
                "prev": self.head,
                "subject": subject,
            }
        )
        self.head = sha256(body.encode()).hexdigest()
        self._write(f'{body[:-1]},"hash":"{self.head}"}}\n'.encode())
        return event_id


@dataclass(frozen=True, slots=True)
class Event:
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
                line = json.loads(raw)
                body_hash, prev = line["hash"], line["prev"]
            except (ValueError, KeyError, TypeError):
                raise JournalBroken(number, expected_id, "is not a journal line") from None
            if verify:
                marker = f',"hash":"{body_hash}"}}\n'.encode()
                if not raw.endswith(marker):
                    raise JournalBroken(number, expected_id, "does not end with its own hash")
                actual = sha256(raw[: -len(marker)] + b"}").hexdigest()
                if actual != body_hash:
                    raise JournalBroken(number, expected_id, f"hashes to {actual[:12]}…, says {body_hash[:12]}…")
                if prev != head:
                    raise JournalBroken(number, expected_id, "does not follow the line before it")
                if line["id"] != expected_id:
                    raise JournalBroken(number, expected_id, f"carries the id {line['id']}")
                head = body_hash
            yield Event(
                line["id"], line["at"], line["actor"], line["kind"], line["subject"], line["cause"], line["data"]
            )
