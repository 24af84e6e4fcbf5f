"""Writing a run directory: into a staging directory beside it, then one atomic rename.

Killed at any instant, it leaves either no run directory or a whole one. What a dead writer left is swept at the next
start; a writer that lives holds a lock on its staging directory, which the system releases however it dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from evidence import atomic, freezing, manifest, store, verify
from evidence.books import BookSet
from evidence.layout import BOOK_DIRECTORY, JOURNAL, MANIFEST, PLAN
from evidence.manifest import Manifest, ManifestBroken, Seal
from evidence.plan import Plan
from evidence.sweeping import STAGING_PREFIX, sweep

FREE_BYTES_MIN = 64 << 20
_BUFFER_BYTES = 1 << 20
_FLUSHERS = 8


class OutputRefused(Exception):
    """Runs cannot be written there. The message says what to do."""


class IdentityConflict(Exception):
    """The run directory exists and holds something else. Nothing was overwritten."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where the run stands. `existed`: it stood there before, the same run, and nothing was written. `others`: the
    names under which the same run stands in that root besides."""

    path: Path
    existed: bool = False
    others: tuple[str, ...] = ()


class RunWriter:
    """One run being written. Use as a context manager: left without `publish`, it leaves nothing.

    The order is: write_plan, journal and books while it runs, `seal`, then whatever is judged from `path`
    (verdict, reports: `write`), then `publish`.
    """

    def __init__(self, root: Path, name: str | None = None) -> None:
        """`name` of the run directory under `root`; by default it is made of scenario, seed and digest.

        Raises OutputRefused, RootFrozen. Sweeps what dead writers left.
        """
        if name is not None and (not name or name.startswith(".") or Path(name).name != name):
            raise OutputRefused(f"{name!r} cannot be the name of a run directory: give one without '/' or leading '.'")
        check_writable(root)
        freezing.check(root)
        sweep(root)
        self._root, self._name = root, name
        self._plan_name = ""
        self._open = ExitStack()
        # Ctrl-C may come before the caller holds this writer: then the interpreter cleans up when it drops it.
        weakref.finalize(self, self._open.close)
        self.path = _stage(root, self._open)
        self.journal: IO[bytes] = (self.path / JOURNAL).open("wb", buffering=_BUFFER_BYTES)
        self._open.callback(self.journal.close)
        self.books = BookSet(self.path / BOOK_DIRECTORY)
        self._open.callback(self.books.abandon)
        self._sealed: tuple[Seal, Mapping[str, str]] | None = None

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._open.close()

    def write_plan(self, plan: Plan) -> None:
        self.write(PLAN, plan.canonical())
        self._plan_name = f"{plan.scenario}-s{plan.seed}"

    def write(self, name: str, content: bytes) -> None:
        """Write one further file of the run directory; `name` may hold '/'."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def open(self, name: str) -> IO[bytes]:
        """A further file of the run directory, to be written as the run goes on and closed before it is sealed."""
        return (self.path / name).open("wb")

    def seal(self, fingerprints: Mapping[str, str]) -> Seal:
        """End journal and books; from here on `path` can be read as evidence. `fingerprints` holds at least `code`.

        Raises BookRefused when a row is not of its book's schema.
        """
        if "code" not in fingerprints:
            raise ValueError("the fingerprints of a run name at least `code`: see manifest.code_sha256")
        if not self._plan_name:
            raise RuntimeError("a run has a plan: call write_plan first")
        self.journal.close()
        self.books.end()
        seal = Seal.of(self.path, self.books.close, fingerprints["code"])
        self._sealed = seal, fingerprints
        if self._name is None:
            self._name = f"{self._plan_name}-{seal.identity[:10]}"
        return seal

    @property
    def target(self) -> Path:
        """Where the run will stand; known once it is sealed, or from the start if it was given a name."""
        if self._name is None:
            raise RuntimeError("seal the run first: its name holds its digest")
        return self._root / self._name

    def publish(self) -> Published:
        """Write the manifest, flush everything to the disk and move the run into its place, at once.

        Raises IdentityConflict when another run, or a damaged one, already stands there; RootFrozen when it was frozen
        meanwhile.
        """
        if self._sealed is None:
            raise RuntimeError("seal the run before it is published")
        freezing.check(self._root)
        seal, fingerprints = self._sealed
        manifest.write(self.path, self.target.name, seal, fingerprints)
        _flush(self.path)
        try:
            os.rename(self.path, self.target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            _same_or_refuse(self.target, seal.identity)
            existed = True
        else:
            atomic.flush(self._root)
            existed = False
        self._open.close()
        others = tuple(name for name in store.named(self._root, seal.identity) if name != self.target.name)
        return Published(self.target, existed, others)


def check_writable(root: Path) -> None:
    """Make `root` if need be, and try a file in it. Raises OutputRefused with the remedy; call it before a run."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as probe:
            probe.write(b"\0")
            probe.flush()
        free_bytes = shutil.disk_usage(root).free
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputRefused(
            f"runs cannot be written to {root}: {reason}. Give a directory that you may write to, or free this one."
        ) from None
    if free_bytes < FREE_BYTES_MIN:
        raise OutputRefused(
            f"runs cannot be written to {root}: {free_bytes >> 20} MiB are free, {FREE_BYTES_MIN >> 20} are needed. "
            "Prune old runs, or give a directory on another disk."
        )


def _stage(root: Path, undo: ExitStack) -> Path:
    """A new staging directory, locked; `undo` removes it and gives the lock back."""
    while True:
        path = root / f"{STAGING_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        undo.callback(shutil.rmtree, path, ignore_errors=True)
        path.mkdir()
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            undo.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                raise OutputRefused(
                    f"runs cannot be written to {root}: its file system has no locks ({error.strerror}). "
                    "Give a directory on a local disk."
                ) from None
            # A sweep may have come between mkdir and flock: then the name is gone, and another must be taken.
            if path.exists():
                return path


def _same_or_refuse(target: Path, identity: str) -> None:
    try:
        found = Manifest.read(target / MANIFEST).identity
    except ManifestBroken as error:
        raise IdentityConflict(
            f"{target} exists and its identity cannot be told: {MANIFEST} {error}. Move it away, or give another name."
        ) from None
    if found != identity:
        raise IdentityConflict(
            f"{target} exists and is another run: identity {found[:12]}… there, {identity[:12]}… here. Runs are never "
            "overwritten: give another name."
        )
    problems = verify.verify(target)
    if problems:
        raise IdentityConflict(f"{target} exists, was this run, and is damaged: {problems[0]}. Move it away.")


def _flush(path: Path) -> None:
    """Bring every file and directory under `path` to the disk, the directories after what they hold."""
    found = list(os.walk(path, topdown=False))
    # A file system commits what is asked for at the same time in one go: eight at once take a tenth of the time.
    with ThreadPoolExecutor(_FLUSHERS) as flushers:
        list(
            flushers.map(
                atomic.flush, [os.path.join(directory, name) for directory, _, names in found for name in names]
            )
        )
    for directory, _, _ in found:
        atomic.flush(directory)
