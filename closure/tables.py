"""Tables of a decision: in columns for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def markdown_rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    told = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return told + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
