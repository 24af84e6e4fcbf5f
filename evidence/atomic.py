"""Files that are there whole or not at all: written beside their place, flushed, renamed; and logs that only grow.

A kill leaves at most a temporary file, which is locked as long as its writer lives: a sweep tells by that whether it
may take it (evidence/writer.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

TEMPORARY_PREFIX = ".tmp-"
_ESCAPED = "backslashreplace"
"""A file name that is no UTF-8 stands in JSON by its escapes."""


def write(path: Path, content: bytes, lasting: bool = True) -> None:
    """Put a file in its place, over whatever file stood there; its directory is made if need be. What need not outlast
    a loss of power (`lasting` false) is not waited for. Raises OSError."""
    make_directory(path.parent)
    with _temporary(path.parent) as (descriptor, name):
        write_all(descriptor, content)
        if lasting:
            os.fsync(descriptor)
        os.rename(name, path)
    if lasting:
        flush(path.parent)


def append(path: Path, line: bytes) -> None:
    """Add a line to a log, in one piece. What a machine that lost its power left of a line before it stays a line of
    its own. Raises OSError."""
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        write_all(descriptor, (b"\n" if torn else b"") + line + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        flush(path.parent)


def write_json(path: Path, content: Any, lasting: bool = True) -> None:
    """As `write`, for people and programs to read. Raises OSError."""
    write(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(errors=_ESCAPED), lasting)


def append_json(path: Path, content: Any) -> None:
    """As `append`. Raises OSError."""
    append(path, json.dumps(content, ensure_ascii=False).encode(errors=_ESCAPED))


def remove(path: Path) -> None:
    """Take a file away, for good. Raises OSError."""
    path.unlink()
    flush(path.parent)


def make_directory(path: Path) -> None:
    """Make a directory and those above it, so that a loss of power does not take them back. Raises OSError."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        flush(path.parent)


def flush(path: str | Path) -> None:
    """Bring a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _temporary(directory: Path) -> Iterator[tuple[int, str]]:
    """A new file of a name that no reader looks at, and locked; gone at the end, unless it was renamed."""
    descriptor, name = _created(directory)
    try:
        yield descriptor, name
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    finally:
        os.close(descriptor)


def _created(directory: Path) -> tuple[int, str]:
    while True:
        name = os.path.join(directory, f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}")
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # without locks no sweep can take it either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.exists(name):
            return descriptor, name
        os.close(descriptor)  # a sweep came between the two


def write_all(descriptor: int, content: bytes) -> None:
    """Write to the end: where the disk is full, the first write is a short one, and the next says why. Raises
    OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
