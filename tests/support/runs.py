"""A small run directory for tests of the evidence: a plan, a journal of a few events, some rows in every book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evidence.journal import JournalWriter
from evidence.plan import Plan
from evidence.schemas import BOOKS, BookSchema, Column
from evidence.writer import Published, RunWriter

FINGERPRINTS = {"code": "c0de" * 16}
TEXTS = ("", "plain", "Åse Ødegård 🏌", "e" * 3000, '{"a":1}')
INTEGERS = (0, -1, 2**63 - 1, -(2**63), 4200)
INSTANTS = (0, 1_767_657_600_000, 1_767_657_600_001, -1, 4_102_444_800_000)


def small_plan(seed: int = 7) -> Plan:
    return Plan(
        scenario="small", scenario_sha256="0" * 64, seed=seed, root_key="ab" * 16, starts_at=0, absence_until_at=10,
        recovery_until_at=20, owner_capital_cents=100, principals=[], tournaments=[], contests=[], entrants=[],
        entries=[], faults=[],
    )  # fmt: skip


def value(kind: Column, number: int, in_key: bool) -> Any:
    """A value of a kind; in a key it grows with `number`."""
    if kind in (Column.STR, Column.JSON):
        return f"key-{number:04d}-é" if in_key else TEXTS[number % len(TEXTS)]
    if kind is Column.BOOL:
        return number % 2 == 0
    if kind is Column.AT:
        return number if in_key else INSTANTS[number % len(INSTANTS)]
    return number if in_key else INTEGERS[number % len(INTEGERS)]


def sample_rows(schema: BookSchema, count: int = 11) -> list[tuple[Any, ...]]:
    """Rows in key order that hold every kind of value, and null wherever a column may be null."""
    return [
        tuple(
            None if name not in schema.key and (number + place) % 3 == 0 else value(kind, number, name in schema.key)
            for place, (name, kind) in enumerate(schema.columns.items())
        )
        for number in range(1, count + 1)
    ]


def write_journal(writer: RunWriter, events: int = 6) -> None:
    journal, cause = JournalWriter(writer.journal), None
    for number in range(events):
        cause = journal.append(number, "system:test", "test.event", f"subject-{number}", cause, {"n": number, "ä": "ö"})


def publish_small(
    root: Path,
    name: str | None = None,
    seed: int = 7,
    code: str = FINGERPRINTS["code"],
    log: bytes = b"{}\n",
    verdict: bytes = b'{"verdict":"PASS"}',
) -> Published:
    with RunWriter(root, name) as writer:
        writer.write_plan(small_plan(seed))
        write_journal(writer)
        for book, schema in BOOKS.items():
            writer.books[book].extend(sample_rows(schema))
        writer.seal({"code": code})
        writer.write("log.jsonl", log)
        writer.write("verdict.json", verdict)
        return writer.publish()
