"""Run directories altered by somebody who has the code: what he changes, he seals again as the writer would have.

After `reseal` no hash disagrees with another, so only what the evidence means, or a hash kept elsewhere, can tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from assertions.judge import judge
from evidence import manifest
from evidence.books import _PARQUET, book_path, canonical_digest, open_parquet
from evidence.canonical import canonical
from evidence.columns import decode, encode
from evidence.journal import JournalWriter
from evidence.layout import BOOK_DIRECTORY, JOURNAL, MANIFEST, PLAN, VERDICT
from evidence.manifest import Seal
from evidence.run import Evidence
from evidence.schemas import BOOKS

Rows = list[dict[str, Any]]


def edit_book(run_dir: Path, book: str, edit: Callable[[Rows], Rows | None]) -> None:
    """Write a book anew with its rows as `edit` leaves them: changed in place, or those that it returns. Rows are
    mappings of the columns that the file holds, instants in ms. The file keeps its version of the contract."""
    path, schema = book_path(run_dir / BOOK_DIRECTORY, book), BOOKS[book]
    with open_parquet(path, schema) as file:
        layout, metadata = file.schema_arrow, file.metadata.metadata
        table = file.read(use_threads=False)
    kinds = {name: schema.columns[name] for name in layout.names}
    columns = [decode(kind, table.column(name)) for name, kind in kinds.items()]
    rows = [dict(zip(kinds, row, strict=True)) for row in zip(*columns, strict=True)]
    changed = edit(rows)
    rows = rows if changed is None else changed
    arrays = [encode(kind, [row[name] for row in rows]) for name, kind in kinds.items()]
    with pq.ParquetWriter(path, layout, **_PARQUET) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=layout))
        writer.add_key_value_metadata(metadata)


def edit_journal(run_dir: Path, edit: Callable[[Rows], Rows | None]) -> None:
    """Write the journal anew, numbered and chained from its first line, with its events as `edit` leaves them."""
    path = run_dir / JOURNAL
    events: Rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    changed = edit(events)
    with path.open("wb") as stream:
        writer = JournalWriter(stream)
        for event in events if changed is None else changed:
            writer.append(*(event[name] for name in ("at", "actor", "kind", "subject", "cause", "data")))


def edit_plan(run_dir: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Write plan.json anew, in its canonical form."""
    plan = json.loads((run_dir / PLAN).read_bytes())
    edit(plan)
    (run_dir / PLAN).write_bytes(canonical(plan))


def edit_verdict(run_dir: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Write verdict.json anew, laid out as it was."""
    verdict = json.loads((run_dir / VERDICT).read_bytes())
    edit(verdict)
    (run_dir / VERDICT).write_text(json.dumps(verdict, sort_keys=True, indent=1, ensure_ascii=False) + "\n")


def rejudge(run_dir: Path) -> None:
    """Write the verdict that today's assertions come to."""
    (run_dir / VERDICT).write_text(judge(Evidence.open(run_dir)).to_json())


def rechain_audit(run_dir: Path, *, anchors: bool) -> None:
    """Number and hash the platform's audit log anew, row by row; with `anchors`, put the heads that stand in the
    anchor's book right too."""
    heads: dict[int, str] = {}

    def chain(rows: Rows) -> None:
        prev = "0" * 64
        for seq, row in enumerate(rows, 1):
            row |= {"seq": seq, "prev_hash": prev}
            prev = sha256(canonical({name: value for name, value in row.items() if name != "hash"})).hexdigest()
            row["hash"] = heads[seq] = prev

    def anchor(rows: Rows) -> None:
        for row in rows:
            row["head_hash"] = heads.get(row["head_seq"], row["head_hash"])

    edit_book(run_dir, "platform.audit_log", chain)
    if anchors:
        edit_book(run_dir, "anchor.heads", anchor)


def reseal(run_dir: Path, **changes: Any) -> None:
    """Write manifest.json anew over what stands in the directory: files, book digests, journal head, digest, identity
    and its own hash. Fields that tell of the writer stay; `changes` are further fields of it."""
    content = json.loads((run_dir / MANIFEST).read_bytes())
    del content["self"]
    content |= changes
    present = {name: book_path(run_dir / BOOK_DIRECTORY, name) for name in BOOKS}
    digests = {name: canonical_digest(path, BOOKS[name]) for name, path in present.items() if path.exists()}
    seal = Seal.of(run_dir, lambda: digests, content["fingerprints"]["code"])
    content |= {
        "digest": seal.digest,
        "identity": seal.identity,
        "plan_sha256": seal.plan_sha256,
        "journal_events": seal.journal_events,
        "journal_head": seal.journal_head,
        "books": {name: {"rows": book.rows, "sha256": book.sha256} for name, book in seal.books.items()},
        "files": {name: manifest.file_sha256(run_dir / name) for name in manifest.files(run_dir)},
    }
    (run_dir / MANIFEST).write_bytes(manifest._render(content))
