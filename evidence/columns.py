"""Book columns between Python and Arrow, and the canonical digest over them.

The digest depends on the values and their order alone: not on chunks, row groups, compression or dictionaries.

Arrow arrays are built from buffers: `pyarrow.array` would import pandas for the first list it sees.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any

import numpy as np

from evidence.schemas import VERSION, BookSchema, Column

TEXT = (Column.STR, Column.JSON)


@cache
def arrow_type(kind: Column) -> Any:
    import pyarrow as pa

    if kind in TEXT:
        return pa.string()
    if kind is Column.BOOL:
        return pa.bool_()
    return pa.timestamp("ms", tz="UTC") if kind is Column.AT else pa.int64()


@lru_cache(maxsize=256)
def arrow_schema(schema: BookSchema) -> Any:
    """The Arrow schema of a book: int64 cents, string ids, UTC instants; party, row and version as metadata."""
    import pyarrow as pa

    fields = [
        pa.field(name, arrow_type(kind), nullable=name not in schema.key) for name, kind in schema.columns.items()
    ]
    return pa.schema(fields, metadata={"party": schema.party, "row": schema.row, "version": str(VERSION)})


def encode(kind: Column, values: Sequence[Any]) -> Any:
    """An Arrow array of `values`. Instants come as integer milliseconds, booleans also as 0 and 1 (as SQLite has them).

    Raises TypeError, ValueError or OverflowError when a value is not of the kind; no float passes as an integer.
    """
    import pyarrow as pa

    pack, filler = _PACKERS[kind]
    bitmap, absent = None, 0
    try:
        buffers = pack(values)
    except TypeError:
        absent = values.count(None)
        if not absent:
            raise
        if absent == len(values):
            return pa.nulls(absent, arrow_type(kind))
        bitmap = _bits(bytes([value is not None for value in values]))
        buffers = pack([filler if value is None else value for value in values])
    return pa.Array.from_buffers(arrow_type(kind), len(values), [bitmap, *buffers], absent)


def decode(kind: Column, column: Any) -> list[Any]:
    """The values of an Arrow chunked array, instants as integer milliseconds."""
    import pyarrow as pa

    values: list[Any] = []
    for chunk in column.chunks:
        if kind in _INTEGERS:
            numbers = chunk.view(pa.int64())
            values += numbers.to_pylist() if numbers.null_count else _unpack_integers(numbers)
        else:
            values += chunk.to_pylist()
    return values


def _bits(flags: bytes) -> Any:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(np.frombuffer(flags, np.uint8), bitorder="little"))


def _octets(numbers: Iterable[Any]) -> Any:
    """The numbers as an array, where each of them fits a byte; else None. Those of most columns do, and are packed in
    less than half of the time that others take."""
    try:
        return np.frombuffer(bytes(numbers), np.uint8)
    except ValueError:
        return None


def _pack_integers(values: Sequence[Any]) -> list[Any]:
    import pyarrow as pa

    small = _octets(values)
    if small is not None:
        return [pa.py_buffer(small.astype("<i8"))]
    try:
        return [pa.py_buffer(struct.pack(f"<{len(values)}q", *values))]
    except struct.error as error:
        raise TypeError(str(error)) from None


def _unpack_integers(numbers: Any) -> list[int]:
    """Of an int64 array without nulls. Not by its to_numpy, which imports pandas to be sure that it is none of its."""
    found: list[int] = np.frombuffer(numbers.buffers()[1], "<i8", len(numbers), numbers.offset * 8).tolist()
    return found


def _pack_booleans(values: Sequence[Any]) -> list[Any]:
    flags = bytes(values)
    if max(flags, default=0) > 1:
        raise ValueError("a boolean is True, False, 1 or 0")
    return [_bits(flags)]


def _pack_text(values: Sequence[Any]) -> list[Any]:
    import pyarrow as pa

    text = "".join(values)
    data = text.encode()
    each = values if len(data) == len(text) else [value.encode() for value in values]
    sizes = _octets(map(len, each))
    if sizes is None:
        sizes = np.fromiter(map(len, each), "<i4", len(each))
    offsets = np.zeros(len(values) + 1, "<i4")
    np.cumsum(sizes, out=offsets[1:])
    return [pa.py_buffer(offsets), pa.py_buffer(data)]


_PACKERS: dict[Column, tuple[Callable[[Sequence[Any]], list[Any]], Any]] = {
    Column.STR: (_pack_text, ""),
    Column.JSON: (_pack_text, ""),
    Column.INT: (_pack_integers, 0),
    Column.CENTS: (_pack_integers, 0),
    Column.AT: (_pack_integers, 0),
    Column.BOOL: (_pack_booleans, False),
}


_INTEGERS = frozenset({Column.INT, Column.CENTS, Column.AT})


class CanonicalDigest:
    """SHA-256 over the rows of a book, fed in key order, in chunks of any size.

    Each column has three streams: which values are present (a byte a row), sizes or values (little-endian, null as
    zero), and the text. The digest binds them to the column's names, kinds and the number of rows.
    """

    __slots__ = ("_kinds", "_streams", "rows")

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._kinds = dict(columns)
        self._streams = [(kind, sha256(), sha256(), sha256()) for kind in columns.values()]
        self.rows = 0

    def feed(self, arrays: Sequence[Any]) -> None:
        """Take the next rows: one Arrow array (not chunked) per column, in the order of the columns."""
        rows = len(arrays[0])
        self.rows += rows
        if not rows:
            return
        everyone = b"\x01" * rows
        for (kind, presence, fixed, text), values in zip(self._streams, arrays, strict=True):
            present = _present(values)
            presence.update(everyone if present is None else present)
            if kind in TEXT:
                sizes, data = _text_parts(values, present)
                fixed.update(sizes)
                text.update(data)
            else:
                fixed.update(_fixed_part(kind, values, present))

    def hexdigest(self) -> str:
        head = [[name, kind.value] for name, kind in self._kinds.items()]
        whole = sha256(json.dumps([head, self.rows]).encode())
        for _, *streams in self._streams:
            for stream in streams:
                whole.update(stream.digest())
        return whole.hexdigest()


def _present(values: Any) -> Any:
    """A byte a row, 1 where there is a value; None when none is null."""
    if not values.null_count:
        return None
    return _unpack(values.buffers()[0], values.offset, len(values))


def _unpack(buffer: Any, offset: int, rows: int) -> Any:
    return np.unpackbits(np.frombuffer(buffer, np.uint8), count=offset + rows, bitorder="little")[offset:]


def _fixed_part(kind: Column, values: Any, present: Any) -> Any:
    buffer = values.buffers()[1]
    if kind is Column.BOOL:
        plain = _unpack(buffer, values.offset, len(values))
    else:
        plain = np.frombuffer(buffer, "<i8", len(values), values.offset * 8)
    # Arrow leaves whatever it likes in the slot of a null.
    return plain if present is None else plain * present


def _text_parts(values: Any, present: Any) -> tuple[Any, Any]:
    _, offset_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offset_buffer, "<i4", len(values) + 1, values.offset * 4)
    sizes = offsets[1:] - offsets[:-1]
    data = memoryview(data_buffer if data_buffer is not None else b"")[offsets[0] : offsets[-1]]
    if present is not None and sizes[present == 0].any():
        data = memoryview(np.frombuffer(data, np.uint8)[np.repeat(present, sizes) == 1])
        sizes = sizes * present
    return np.ascontiguousarray(sizes, "<i4"), data
