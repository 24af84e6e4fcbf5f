"""One writer at a time in a run root: who it is, since when and why stands in one file, which is there while it lasts.

Invariant: the file is looked at and changed under the system's lock on the root itself, so no two take it at once. A
lock outlives an owner that was killed: it is stale, and whoever takes it over says why, in a log that only grows.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evidence import atomic
from evidence.processes import boot_id, pid_space, started

LOCK, BREAKS = ".lock.json", "lock_breaks.jsonl"
NOBODY = "somebody its file does not name"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a root. `boot`, `pid_space` and `process_start` tell another process of the same pid from this one;
    each is "" where the system does not say."""

    pid: int
    host: str
    boot: str
    pid_space: str
    process_start: str
    command: str
    started_at: str
    """UTC, ISO 8601."""
    reason: str
    ttl_s: int
    """Seconds from `started_at` after which the lock may be broken though its owner may live."""
    token: str
    active: bool = True
    """A file that says false is as good as none."""

    def __str__(self) -> str:
        why = f", for {self.reason!r}" if self.reason else ""
        return f"process {self.pid} on {self.host} since {self.started_at}: {self.command}{why}"

    @property
    def expires_at(self) -> datetime:
        return datetime.fromisoformat(self.started_at) + timedelta(seconds=self.ttl_s)


@dataclass(frozen=True, slots=True)
class Stale:
    """Why a lock may be broken. `gone`: its owner is, so that nobody will ever release it."""

    why: str
    gone: bool


class LockHeld(Exception):
    """Somebody holds the root. `owner` is None when the file does not say; `stale` is None while he may be at work."""

    def __init__(self, root: Path, owner: Owner | None, stale: Stale | None) -> None:
        super().__init__(f"{root} is locked by {owner or NOBODY}")
        self.root, self.owner, self.stale = root, owner, stale


@dataclass(frozen=True, slots=True)
class Broken:
    """A stale lock that was broken to take the root."""

    owner: Owner | None
    why: str


def candidate(command: str, reason: str, ttl_s: int) -> Owner:
    """This process as an owner to be: known before it takes anything, so that whatever it took can be given back."""
    pid = os.getpid()
    return Owner(
        pid=pid, host=os.uname().nodename, boot=boot_id(), pid_space=pid_space(), process_start=started(pid) or "",
        command=command, started_at=_now(), reason=reason, ttl_s=ttl_s, token=secrets.token_hex(8),
    )  # fmt: skip


def take(root: Path, ours: Owner, break_stale: bool = False) -> Broken | None:
    """Take the root, which exists; with `break_stale` from an owner that is gone or over his time, which is noted with
    the reason of `ours` and returned. Raises LockHeld, at once; OSError."""
    ours = replace(ours, started_at=_now())
    with _guarded(root):
        broken = None
        held = found(root)
        if held is not None:
            if held.stale is None or not break_stale:
                raise held
            broken = Broken(held.owner, held.stale.why)
            _note(root, broken, ours)
        atomic.write_json(root / LOCK, asdict(ours), lasting=False)  # another boot makes it stale anyway
    return broken


def release(root: Path, ours: Owner) -> bool:
    """Give the root back. False if it is not ours: never was, or somebody broke our lock or took the file away."""
    try:
        with _guarded(root):
            theirs = found(root)
            if theirs is None or theirs.owner is None or theirs.owner.token != ours.token:
                return False
            (root / LOCK).unlink()
            return True
    except FileNotFoundError:  # the root is no more
        return False


def found(root: Path) -> LockHeld | None:
    """Who holds the root, if anybody does. Reads only."""
    try:
        owner = _read(root)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # whoever it is may be at work
        return LockHeld(root, None, None)
    if owner is not None and not owner.active:
        return None
    return LockHeld(root, owner, judge(owner))


def judge(owner: Owner | None) -> Stale | None:
    """Whether a lock may be broken, and why."""
    if owner is None:
        return Stale(f"{LOCK} is torn", gone=True)
    if owner.host == os.uname().nodename:
        if owner.boot != boot_id():
            return Stale(f"{owner.host} has been started anew since", gone=True)
        if owner.pid_space == pid_space():
            start = started(owner.pid)
            if start is None:
                return Stale(f"there is no process {owner.pid} any more", gone=True)
            if start and owner.process_start and start != owner.process_start:
                return Stale(f"process {owner.pid} is another one by now", gone=True)
    if datetime.now(UTC) > owner.expires_at:
        return Stale(f"its time to live, {owner.ttl_s} s, is over", gone=False)
    return None


def _read(root: Path) -> Owner | None:
    """Whoever the lock file names; None if it was torn. Raises OSError."""
    try:
        told = json.loads((root / LOCK).read_bytes())
        owner = Owner(**{name: kind(told[name]) for name, kind in _FIELDS.items()})
        return owner if owner.pid > 0 and owner.expires_at.tzinfo else None
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


_FIELDS: dict[str, Any] = {
    "active": bool, "pid": int, "host": str, "boot": str, "pid_space": str, "process_start": str, "command": str,
    "started_at": str, "reason": str, "ttl_s": int, "token": str,
}  # fmt: skip


def _note(root: Path, broken: Broken, ours: Owner) -> None:
    atomic.append_json(root / BREAKS, {
        "at": ours.started_at, "reason": ours.reason, "why": broken.why, "broken_by": asdict(ours),
        "owner": None if broken.owner is None else asdict(broken.owner),
    })  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _guarded(root: Path) -> Iterator[None]:
    """Alone with the lock file, for an instant. The system ends it with the process, however that dies."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
