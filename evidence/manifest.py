"""The manifest: what a run directory consists of, as hashes, so that whatever changes in it afterwards shows.

The identity of a run depends on logical facts alone: plan, journal, rows of the books, code. Files that carry times of
the wall clock (log, reports, the manifest itself) are hashed here and are no part of it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest, sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from evidence import journal
from evidence.books import BookDigest
from evidence.canonical import canonical
from evidence.layout import JOURNAL, MANIFEST, PLAN
from evidence.plan import Model
from evidence.schemas import READABLE, VERSION

CODE_SUFFIXES = (".py", ".yaml", ".sql")
PACKAGES = ("simpy", "pydantic", "pyarrow", "apsw", "orjson")


class ManifestBroken(Exception):
    """manifest.json is missing, is no manifest, or is not what was written."""


@dataclass(frozen=True, slots=True)
class Seal:
    """The logical facts of a run, as hashes: same plan, same code, same seal."""

    digest: str
    """SHA-256 over the canonical plan, then the journal: what a replay must reproduce."""
    identity: str
    """SHA-256 over digest, code fingerprint and book digests."""
    plan_sha256: str
    journal_events: int
    journal_head: str
    books: Mapping[str, BookDigest]

    @classmethod
    def of(cls, run_dir: Path, close_books: Callable[[], Mapping[str, BookDigest]], code_sha256: str) -> Seal:
        """The seal of the plan and journal in `run_dir`, and of the books, which may still be on their way to the disk
        while the journal is hashed. Raises OSError, and JournalBroken for a journal cut short."""
        plan = (run_dir / PLAN).read_bytes()
        plan_sha256 = sha256(plan)
        digest = plan_sha256.copy()
        with (run_dir / JOURNAL).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        events, head = journal.tail(run_dir / JOURNAL)
        books = close_books()
        rows = {name: book.sha256 for name, book in books.items()}
        identity = sha256(canonical({"books": rows, "code": code_sha256, "digest": digest.hexdigest()}))
        return cls(digest.hexdigest(), identity.hexdigest(), plan_sha256.hexdigest(), events, head, books)


class BookEntry(Model):
    rows: int
    sha256: str


class Manifest(Model):
    """manifest.json. Every hash is SHA-256 in hex."""

    name: str
    schema_version: int
    digest: str
    identity: str
    plan_sha256: str
    journal_events: int
    journal_head: str
    books: dict[str, BookEntry]
    files: dict[str, str]
    """Every other file of the directory, by its path in it."""
    fingerprints: dict[str, str]
    """What ran; `code` is part of the identity, `defect` is there where a bug was planted in the platform."""
    versions: dict[str, str]
    self_sha256: str = Field(alias="self")
    """Over the canonical JSON of all fields but this one."""

    @property
    def defect(self) -> str | None:
        """The bug that was planted in the platform, if one was."""
        return self.fingerprints.get("defect")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Raises ManifestBroken, also when the file is not byte for byte what its content makes."""
        try:
            raw = path.read_bytes()
            parsed = json.loads(raw.decode())
            stated = parsed.get("schema_version") if isinstance(parsed, dict) else None
            if isinstance(stated, int) and stated not in READABLE:
                known = " and ".join(map(str, READABLE))
                raise ManifestBroken(f"is of version {stated} of the contract; this reader knows {known}")
            found = cls.model_validate(parsed)
            content = found.model_dump(exclude={"self_sha256"})
            actual = sha256(canonical(content)).hexdigest()
            rendered = _render(content)
        except FileNotFoundError:
            raise ManifestBroken("is missing") from None
        except ValidationError as error:
            first = error.errors()[0]
            raise ManifestBroken(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except OSError as error:
            raise ManifestBroken(f"cannot be read: {error.strerror}") from None
        except (TypeError, ValueError, RecursionError) as error:
            raise ManifestBroken(f"is not a manifest: {error}") from None
        if actual != found.self_sha256:
            raise ManifestBroken(f"hashes to {actual}, says {found.self_sha256}")
        if raw != rendered:
            raise ManifestBroken("is not laid out as it was written")
        return found


def write(run_dir: Path, name: str, seal: Seal, fingerprints: Mapping[str, str]) -> None:
    """Write manifest.json over everything that stands in `run_dir`. `fingerprints` holds at least `code`."""
    content = {
        "name": name,
        "schema_version": VERSION,
        "digest": seal.digest,
        "identity": seal.identity,
        "plan_sha256": seal.plan_sha256,
        "journal_events": seal.journal_events,
        "journal_head": seal.journal_head,
        "books": {name: {"rows": book.rows, "sha256": book.sha256} for name, book in seal.books.items()},
        "files": {relative: file_sha256(run_dir / relative) for relative in files(run_dir)},
        "fingerprints": dict(fingerprints),
        "versions": versions(),
    }
    (run_dir / MANIFEST).write_bytes(_render(content))


def _render(content: Mapping[str, Any]) -> bytes:
    whole = {**content, "self": sha256(canonical(content)).hexdigest()}
    return (json.dumps(whole, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def files(run_dir: Path) -> Iterator[str]:
    """Every file but the manifest, as paths with forward slashes, in order. Symbolic links count as files."""
    found = []
    for directory, inner, names in os.walk(run_dir):
        links = [name for name in inner if os.path.islink(os.path.join(directory, name))]
        found += [Path(directory, name).relative_to(run_dir).as_posix() for name in (*names, *links)]
    return iter(sorted(path for path in found if path != MANIFEST))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def code_sha256(packages: Iterable[Path], suffixes: tuple[str, ...] = CODE_SUFFIXES) -> str:
    """The fingerprint of code: SHA-256 over names and contents of the source files under `packages` (directories).
    Where the packages lie on the disk makes no difference."""
    digest = sha256()
    for package in sorted(packages, key=lambda path: path.name):
        root = os.fspath(package)
        found = [os.path.join(inner, name) for inner, _, names in os.walk(root) for name in names]
        for path in sorted(path for path in found if path.endswith(suffixes) and os.path.isfile(path)):
            name = f"{package.name}{path.removeprefix(root)}"
            digest.update(f"{name}\0{sha256(Path(path).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """The interpreter and the packages a run depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
