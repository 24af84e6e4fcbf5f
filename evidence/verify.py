"""Whether a run directory still is what was published. Reports everything it finds, and raises nothing.

Hashes show that a file changed; where the content can tell, the problem names the first record at fault. What follows
from the books is judged elsewhere: assertions/rederived.py derives the verdict again.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from evidence import journal, manifest
from evidence.books import BookDamaged, BookDigest, book_path, canonical_digest
from evidence.canonical import canonical
from evidence.layout import BOOK_DIRECTORY, JOURNAL, MANIFEST, PLAN
from evidence.manifest import Manifest, ManifestBroken, Seal
from evidence.plan import Plan
from evidence.schemas import BOOKS, books_of, since


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, in which file of the run directory, and where in it (empty when it is the file as a whole)."""

    file: str
    where: str
    message: str
    unread: bool = field(default=False, compare=False)
    """Records of the evidence could not be read because of it: there is nothing to judge."""

    def __str__(self) -> str:
        return f"{self.file}{', ' if self.where else ''}{self.where}: {self.message}"

    @property
    def of_evidence(self) -> bool:
        return is_evidence(self.file)


def is_evidence(name: str) -> bool:
    """Whether a file of a run directory is judged, and was not made by judging: plan, journal, books and documents, and
    the manifest that binds them."""
    return name in (PLAN, JOURNAL, MANIFEST, BOOK_DIRECTORY) or "/" in name


def anchors(stated: Manifest) -> dict[str, str]:
    """The hashes of a run that are worth noting elsewhere, by name: any of them is an anchor. `self` binds all files,
    `identity` what was planned, what happened, every book and the code; `digest` plan and journal."""
    return {
        "self": stated.self_sha256,
        "identity": stated.identity,
        "digest": stated.digest,
        "journal_head": stated.journal_head,
    }


def verify(run_dir: Path, *, anchor: str | None = None) -> list[Problem]:
    """Every problem of a run directory, none if it is whole.

    `anchor` is a hash of this run that was noted elsewhere, one of `anchors`. Only it can show that somebody changed
    the evidence, and then all the hashes.
    """
    if not run_dir.is_dir():
        return [Problem(".", "", "there is no run directory here")]
    problems: list[Problem] = []

    def check(file: str, found: Callable[[], Iterator[Problem]]) -> None:
        try:
            problems.extend(found())
        except Exception as error:  # Whatever stands there, it is told and not raised.
            problems.append(Problem(file, "", f"cannot be checked: {type(error).__name__}: {error}", unread=True))

    stated = None
    try:
        stated = manifest_of(run_dir)
    except ManifestBroken as error:
        problems.append(Problem(MANIFEST, "", str(error), unread=True))
    if stated is not None:
        known = stated
        if anchor is not None and anchor not in anchors(stated).values():
            message = f"the anchor {anchor[:12]}… is none of {', '.join(anchors(stated))}: this is not that run"
            problems.append(Problem(MANIFEST, "", message))
        check(MANIFEST, lambda: _files(run_dir, known))
    check(PLAN, lambda: _plan(run_dir))
    check(JOURNAL, lambda: _journal(run_dir, stated))
    digests: dict[str, BookDigest] = {}
    check(BOOK_DIRECTORY, lambda: _books(run_dir, stated, digests))
    if stated is not None and not any(problem.of_evidence and problem.file != MANIFEST for problem in problems):
        known = stated
        check(MANIFEST, lambda: _seal(run_dir, known, digests))
    return list(dict.fromkeys(map(_printable, problems)))


def is_plain(path: Path) -> bool:
    """Whether a file stands there itself: no link to one elsewhere, and nothing that would keep its reader waiting."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _printable(problem: Problem) -> Problem:
    """With what no terminal should be sent, and no text can hold, escaped."""
    file, where, message = map(printable, (problem.file, problem.where, problem.message))
    return replace(problem, file=file, where=where, message=message)


def printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def manifest_of(run_dir: Path) -> Manifest:
    """Raises ManifestBroken, also for what is no plain file."""
    path = run_dir / MANIFEST
    if os.path.lexists(path) and not is_plain(path):
        raise ManifestBroken("is not a plain file")
    return Manifest.read(path)


def _files(run_dir: Path, stated: Manifest) -> Iterator[Problem]:
    found = set(manifest.files(run_dir))
    for name in sorted(found - set(stated.files)):
        yield Problem(name, "", "is not in the manifest")
    for name in sorted(set(stated.files) - found):
        yield _unread(run_dir, name, "is missing")
    for name in sorted(found & set(stated.files)):
        path = run_dir / name
        if not is_plain(path):
            yield _unread(run_dir, name)
            continue
        try:
            actual = manifest.file_sha256(path)
        except OSError as error:
            yield _unread(run_dir, name, f"cannot be read: {error.strerror}")
            continue
        if actual != stated.files[name]:
            yield Problem(name, "", f"hashes to {actual[:12]}…, the manifest says {stated.files[name][:12]}…")
    yield from _empty_directories(run_dir, {*found, *stated.files})


def _empty_directories(run_dir: Path, files: set[str]) -> Iterator[Problem]:
    """Directories with no file below them, the outermost of each: a run has none."""
    used = {parent.as_posix() for name in files for parent in PurePosixPath(name).parents}
    for directory, inner, _ in os.walk(run_dir):
        for name in sorted(inner):
            place = Path(directory, name).relative_to(run_dir).as_posix()
            if place not in used and not os.path.islink(run_dir / place):
                inner.remove(name)
                yield Problem(f"{place}/", "", "is an empty directory that is not in the manifest")


def _plan(run_dir: Path) -> Iterator[Problem]:
    name = PLAN
    if not is_plain(run_dir / name):
        yield _unread(run_dir, name)
        return
    try:
        raw = (run_dir / name).read_bytes()
        plan = Plan.model_validate(json.loads(raw.decode()))
        # A plan of an older version lacks the fields that came later: they are not in its bytes either.
        written = canonical(plan.model_dump(mode="json", exclude_unset=True))
    except ValidationError as error:
        first = error.errors()[0]
        yield Problem(name, ".".join(map(str, first["loc"])), first["msg"], unread=True)
    except json.JSONDecodeError as error:
        yield Problem(name, f"line {error.lineno}, column {error.colno}", error.msg, unread=True)
    except (OSError, TypeError, ValueError, RecursionError) as error:
        yield Problem(name, "", f"is not a plan: {error}", unread=True)
    else:
        if written != raw:
            yield Problem(name, "", "is not in its canonical form")


def _unread(run_dir: Path, name: str, what: str = "") -> Problem:
    what = what or ("is not a plain file" if os.path.lexists(run_dir / name) else "is missing")
    return Problem(name, "", what, unread=is_evidence(name))


def _journal(run_dir: Path, stated: Manifest | None) -> Iterator[Problem]:
    name = JOURNAL
    if not is_plain(run_dir / name):
        yield _unread(run_dir, name)
        return
    events = 0
    try:
        for _ in journal.read(run_dir / name):
            events += 1
        head = journal.tail(run_dir / name)[1]
    except journal.JournalBroken as error:
        yield Problem(name, f"line {error.line}, event {error.event_id}", error.why, unread=True)
        return
    except OSError as error:
        yield _unread(run_dir, name, f"cannot be read: {error.strerror}")
        return
    if stated is None:
        return
    if events != stated.journal_events:
        where = f"event e{min(events, stated.journal_events) + 1}"
        message = f"holds {events} events, the manifest says {stated.journal_events}"
        yield Problem(name, where, message, unread=True)
    elif head != stated.journal_head:
        yield Problem(name, "", f"ends in the hash {head[:12]}…, the manifest says {stated.journal_head[:12]}…")


def _books(run_dir: Path, stated: Manifest | None, digests: dict[str, BookDigest]) -> Iterator[Problem]:
    if stated is not None:
        for book in sorted(stated.books.keys() - BOOKS.keys()):
            yield Problem(MANIFEST, f"books.{book}", "is no book of the contract")
    for book, schema in BOOKS.items():
        path = book_path(run_dir / BOOK_DIRECTORY, book)
        name = path.relative_to(run_dir).as_posix()
        if not is_plain(path):
            is_later = stated is not None and book not in stated.books and stated.schema_version < since(book)
            if os.path.lexists(path) or not is_later:
                yield _unread(run_dir, name)
            continue
        try:
            found = digests[book] = canonical_digest(path, schema)
        except BookDamaged as error:
            yield Problem(name, error.where, error.message, unread=True)
            continue
        except Exception as error:  # A damaged Parquet file may raise anything.
            yield Problem(name, "", f"cannot be read: {type(error).__name__}: {error}", unread=True)
            continue
        if found.shared_key is not None:
            yield Problem(name, f"key {found.shared_key!r}", "two rows share this key")
        promised = books_of(found.version).get(book)
        for column in promised.columns if promised else ():
            if column not in found.columns:
                yield Problem(name, f"column {column}", "is missing", unread=True)
        if stated is None:
            continue
        if found.version != stated.schema_version:
            message = f"is of version {found.version} of the contract, the manifest says {stated.schema_version}"
            yield Problem(name, "version", message)
        if book not in stated.books:
            yield Problem(name, "", "is not among the manifest's books")
        elif found.rows != stated.books[book].rows:
            yield Problem(name, "rows", f"holds {found.rows}, the manifest says {stated.books[book].rows}")
        elif found.sha256 != stated.books[book].sha256:
            message = f"its rows hash to {found.sha256[:12]}…, the manifest says {stated.books[book].sha256[:12]}…"
            yield Problem(name, "rows", message)


def _seal(run_dir: Path, stated: Manifest, digests: dict[str, BookDigest]) -> Iterator[Problem]:
    """The hashes that bind the rest together, once the rest is whole."""
    found = Seal.of(run_dir, lambda: digests, stated.fingerprints.get("code", ""))
    for name in ("plan_sha256", "digest", "identity"):
        actual, said = getattr(found, name), getattr(stated, name)
        if actual != said:
            yield Problem(MANIFEST, name, f"says {said[:12]}…, the evidence makes {actual[:12]}…")
