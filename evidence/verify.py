"""Whether a run directory still is what was published. Reports everything it finds, and raises nothing.

Hashes show that a file changed; where the content can tell, the problem names the first record at fault.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from evidence import journal, manifest
from evidence.books import BookDamaged, BookDigest, book_path, canonical_digest
from evidence.manifest import BOOK_DIRECTORY, JOURNAL, MANIFEST, PLAN, Manifest, ManifestBroken, Seal
from evidence.plan import Plan
from evidence.schemas import BOOKS


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, in which file of the run directory, and where in it (empty when it is the file as a whole)."""

    file: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}{', ' if self.where else ''}{self.where}: {self.message}"


def verify(run_dir: Path, *, anchor: str | None = None) -> list[Problem]:
    """Every problem of a run directory, none if it is whole.

    `anchor` is a hash of this run that was noted elsewhere: the manifest's own (`self`), the identity or the digest.
    Only it can show that somebody changed the evidence and then all the hashes.
    """
    if not run_dir.is_dir():
        return [Problem(".", "", "there is no run directory here")]
    problems: list[Problem] = []
    try:
        stated = Manifest.read(run_dir / MANIFEST)
    except ManifestBroken as error:
        problems.append(Problem(MANIFEST, "", str(error)))
        stated = None
    if stated is not None:
        if anchor is not None and anchor not in (stated.self_sha256, stated.identity, stated.digest):
            message = f"the anchor {anchor[:12]}… is neither its hash nor identity nor digest: this is not that run"
            problems.append(Problem(MANIFEST, "", message))
        problems += _files(run_dir, stated)
    problems += _plan(run_dir)
    problems += _journal(run_dir, stated)
    digests: dict[str, BookDigest] = {}
    problems += _books(run_dir, stated, digests)
    if stated is not None and not any(_logical(problem.file) for problem in problems):
        problems += _seal(run_dir, stated, digests)
    return list(dict.fromkeys(problems))


def _logical(file: str) -> bool:
    return file in (PLAN, JOURNAL) or file.startswith(f"{BOOK_DIRECTORY}/")


def _files(run_dir: Path, stated: Manifest) -> Iterator[Problem]:
    found = set(manifest.files(run_dir))
    for name in sorted(found - set(stated.files)):
        yield Problem(name, "", "is not in the manifest")
    for name in sorted(set(stated.files) - found):
        yield Problem(name, "", "is missing")
    for name in sorted(found & set(stated.files)):
        path = run_dir / name
        if path.is_symlink() or not path.is_file():
            yield Problem(name, "", "is not a plain file")
            continue
        try:
            actual = manifest.file_sha256(path)
        except OSError as error:
            yield Problem(name, "", f"cannot be read: {error.strerror}")
            continue
        if actual != stated.files[name]:
            yield Problem(name, "", f"hashes to {actual[:12]}…, the manifest says {stated.files[name][:12]}…")


def _plan(run_dir: Path) -> Iterator[Problem]:
    name = PLAN
    try:
        raw = (run_dir / name).read_bytes()
        plan = Plan.model_validate(json.loads(raw.decode()))
        canonical = plan.canonical()
    except ValidationError as error:
        first = error.errors()[0]
        yield Problem(name, ".".join(map(str, first["loc"])), first["msg"])
    except json.JSONDecodeError as error:
        yield Problem(name, f"line {error.lineno}, column {error.colno}", error.msg)
    except FileNotFoundError:
        yield Problem(name, "", "is missing")
    except (OSError, ValueError, RecursionError) as error:
        yield Problem(name, "", f"is not a plan: {error}")
    else:
        if canonical != raw:
            yield Problem(name, "", "is not in its canonical form")


def _journal(run_dir: Path, stated: Manifest | None) -> Iterator[Problem]:
    name = JOURNAL
    events = 0
    try:
        for _ in journal.read(run_dir / name):
            events += 1
        head = journal.tail(run_dir / name)[1]
    except journal.JournalBroken as error:
        yield Problem(name, f"line {error.line}, event {error.event_id}", error.why)
        return
    except FileNotFoundError:
        yield Problem(name, "", "is missing")
        return
    except OSError as error:
        yield Problem(name, "", f"cannot be read: {error.strerror}")
        return
    if stated is None:
        return
    if events != stated.journal_events:
        where = f"event e{min(events, stated.journal_events) + 1}"
        yield Problem(name, where, f"holds {events} events, the manifest says {stated.journal_events}")
    elif head != stated.journal_head:
        yield Problem(name, "", f"ends in the hash {head[:12]}…, the manifest says {stated.journal_head[:12]}…")


def _books(run_dir: Path, stated: Manifest | None, digests: dict[str, BookDigest]) -> Iterator[Problem]:
    for book, schema in BOOKS.items():
        path = book_path(run_dir / BOOK_DIRECTORY, book)
        name = path.relative_to(run_dir).as_posix()
        if stated is not None and book not in stated.books and not path.exists():
            continue  # The version before this one did not have it.
        try:
            found = digests[book] = canonical_digest(path, schema)
        except BookDamaged as error:
            yield Problem(name, error.where, error.message)
            continue
        except Exception as error:  # A damaged Parquet file may raise anything.
            yield Problem(name, "", f"cannot be read: {type(error).__name__}: {error}")
            continue
        if found.shared_key is not None:
            yield Problem(name, f"key {found.shared_key!r}", "two rows share this key")
        if stated is None:
            continue
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
    for field in ("plan_sha256", "digest", "identity"):
        actual, said = getattr(found, field), getattr(stated, field)
        if actual != said:
            yield Problem(MANIFEST, field, f"says {said[:12]}…, the evidence makes {actual[:12]}…")
