"""How a command comes to write to a run root: it takes the lock, waits for it or gives way, and says what it found.

Invariant: whatever ends the command but a kill, its lock is gone with it.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from absence.command_line import given

if TYPE_CHECKING:
    from evidence.lock import LockHeld, Owner, Stale

SKIP, FAIL = "skip", "fail"
TTL_S = 1800
"""A command that takes longer than this may have its lock broken while it lives."""
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller wants of the lock. `reason` is why he writes; with `break_stale`, also why he breaks a lock."""

    wait_s: float = 0
    on_held: str = SKIP
    break_stale: bool = False
    reason: str = ""


class LockRefused(Exception):
    """The lock is held. `lines` say by whom, and how to go on."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(*lines)
        self.lines = lines


class LockSkipped(LockRefused):
    """The caller gives way."""


class LockTimeout(LockRefused):
    """Waiting was in vain, or would be."""


def lock_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that writes to a run root; it gets them as one argument, `lock`."""

    @click.option("--wait", "wait_s", type=click.FloatRange(0), default=0, metavar="S",
                  help="Wait so many seconds for whoever is writing there.")  # fmt: skip
    @click.option("--on-lock-held", "on_held", type=click.Choice([SKIP, FAIL]),
                  help="Still held then: skip ends in 11, fail in 40. By default skip, with --wait fail.")  # fmt: skip
    @click.option("--force-lock-break", "break_stale", is_flag=True,
                  help="Break a lock whose owner is gone or over his time, never another; with --reason.")  # fmt: skip
    @click.option("--reason", default="", help="Why: stands in the lock, and in the record of what is broken.")
    @functools.wraps(command)
    def with_lock(wait_s: float, on_held: str | None, break_stale: bool, reason: str, **rest: Any) -> Any:
        if break_stale and not reason.strip():
            raise click.UsageError("--force-lock-break wants --reason TEXT: it is kept beside what is broken.")
        lock = Wanted(wait_s, on_held or (FAIL if wait_s else SKIP), break_stale, reason.strip())
        return command(lock=lock, **rest)

    return with_lock


@contextmanager
def writing(root: Path, lock: Wanted = Wanted(), ttl_s: int = TTL_S, frozen_too: bool = False) -> Iterator[None]:
    """Hold `root`, made if need be, swept of what the dead left. Says on standard error what there was to say.

    Raises OutputRefused, RootFrozen (not with `frozen_too`), LockSkipped, LockTimeout.
    """
    from evidence import freezing
    from evidence.lock import candidate
    from evidence.sweeping import sweep
    from evidence.writer import check_writable

    if not frozen_too:
        freezing.check(root)  # nothing to wait for then
    check_writable(root)
    ours, taken = candidate(given(), lock.reason, ttl_s), False
    try:
        _take(root, ours, lock)
        taken = True
        if not frozen_too:
            freezing.check(root)
        for left in sweep(root):
            _say(f"Swept {left.path}: {left.what} when its command died.")
        yield
    finally:
        _give_back(root, ours, taken)


def _take(root: Path, ours: Owner, lock: Wanted) -> None:
    from evidence.lock import BREAKS, NOBODY, LockHeld, take

    begun = time.monotonic()
    with _Waiting() as waiting:
        while True:
            try:
                broken = take(root, ours, lock.break_stale)
                break
            except LockHeld as found:
                waited_s = time.monotonic() - begun
                if found.stale is not None and (found.stale.gone or waited_s >= lock.wait_s):
                    raise LockTimeout(_told_stale(found, found.stale)) from None
                if waited_s >= lock.wait_s:
                    raise _given_up(found, lock) from None
                waiting.say(found, waited_s, lock.wait_s)
                time.sleep(min(_POLL_S, lock.wait_s - waited_s))
    if broken is not None:
        _say(f"Broke the lock of {broken.owner or NOBODY}: {broken.why}. It is noted in {root / BREAKS}.")


def _give_back(root: Path, ours: Owner, taken: bool) -> None:
    """Though Ctrl-C come again meanwhile."""
    from evidence.lock import release

    while True:
        try:
            if not release(root, ours) and taken:
                _say(f"The lock on {root} was broken, or its file taken away, while this command held it.")
            return
        except KeyboardInterrupt:
            continue


def _given_up(found: LockHeld, lock: Wanted) -> LockRefused:
    lines = [f"{found} ({_since(found)}).", f"To wait for it: {given()} --wait 600"]
    if lock.wait_s:
        lines = [f"Waited {lock.wait_s:g} s in vain: {found} ({_since(found)}).", f"To try again: {given()}"]
    if lock.break_stale:
        lines.insert(1, "Its owner is at work, as far as can be told from here: such a lock is never broken.")
    return LockSkipped(lines) if lock.on_held == SKIP else LockTimeout(lines)


def _told_stale(found: LockHeld, stale: Stale) -> list[str]:
    return [
        f"{found}. It is stale: {stale.why}." + ("" if stale.gone else " Its owner may still be at work."),
        f'To break it and go on: {given()} --force-lock-break --reason "…"',
    ]


def _since(found: LockHeld) -> str:
    if found.owner is None:
        return "its file cannot be read"
    past = datetime.now(UTC) - datetime.fromisoformat(found.owner.started_at)
    return f"{max(0, round(past.total_seconds())):,} s ago"


class _Waiting:
    """What is said while a lock is awaited: a line that counts on a terminal, one line elsewhere."""

    def __init__(self) -> None:
        self._status: Any = None
        self._said = False

    def __enter__(self) -> _Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, found: LockHeld, waited_s: float, wait_s: float) -> None:
        told = f"Waiting for {found.root}: held by {found.owner}"
        if sys.stderr.isatty():
            if self._status is None:
                from rich.console import Console
                from rich.status import Status

                self._status = Status("", console=Console(stderr=True, highlight=False, markup=False))
                self._status.start()
            self._status.update(f"{told} ({waited_s:.0f} of {wait_s:g} s)")
        elif not self._said:
            _say(f"{told}, for {wait_s:g} s at most.")
        self._said = True


def _say(line: str) -> None:
    click.echo(line, err=True)
