"""The run directory: what is written is what is read, what changes is named, and a kill leaves nothing in between."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence import books, journal, manifest, verify, writer
from evidence.books import BookDamaged, BookDigest, BookRefused, BookSet, book_path, canonical_digest, read_rows
from evidence.columns import arrow_schema
from evidence.journal import JournalBroken, JournalWriter
from evidence.run import Evidence, NotARun, UnknownName
from evidence.schemas import BOOKS, BookSchema, Column
from evidence.verify import Problem
from evidence.writer import IdentityConflict, OutputRefused, RunWriter, check_writable, sweep
from tests.support.runs import FINGERPRINTS, publish_small, sample_rows, small_plan, write_journal

ROOT = Path(__file__).resolve().parents[1]
AUDIT = "platform.audit_log"
KILL_POINTS = 21
PACKER = ThreadPoolExecutor(1)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, which no test changes."""
    return publish_small(tmp_path_factory.mktemp("runs")).path


@pytest.fixture
def run_dir(published: Path, tmp_path: Path) -> Path:
    """A copy of a whole run, to be damaged."""
    return shutil.copytree(published, tmp_path / "run")


def problems_of(run_dir: Path) -> dict[str, list[Problem]]:
    found: dict[str, list[Problem]] = {}
    for problem in verify.verify(run_dir):
        found.setdefault(problem.file, []).append(problem)
    return found


def write_book(tmp_path: Path, name: str, rows: list[tuple[Any, ...]]) -> tuple[Path, BookDigest]:
    written = BookSet(tmp_path)
    written[name].extend(rows)
    return book_path(tmp_path, name), written.close()[name]


# --- books ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("book", BOOKS)
def test_every_column_of_a_book_comes_back_as_it_was_written_nulls_included(published: Path, book: str) -> None:
    rows = sample_rows(BOOKS[book])
    evidence = Evidence.open(published)
    assert list(evidence.rows(book)) == rows
    assert evidence.count(book) == len(rows)
    assert [tuple(record) for record in evidence.records(book)] == rows
    for place, column in enumerate(BOOKS[book].columns):
        assert [value for (value,) in evidence.rows(book, column)] == [row[place] for row in rows]
    nullable = [place for place, name in enumerate(BOOKS[book].columns) if name not in BOOKS[book].key]
    assert any(row[place] is None for row in rows for place in nullable)


def test_rows_stand_in_key_order_whatever_the_order_in_which_they_came(tmp_path: Path) -> None:
    rows = sample_rows(BOOKS["platform.hole_scores"], 50)
    shuffled = random.Random(1).sample(rows, len(rows))
    _, in_order = write_book(tmp_path / "a", "platform.hole_scores", rows)
    path, from_chaos = write_book(tmp_path / "b", "platform.hole_scores", shuffled)
    assert list(read_rows(path, BOOKS["platform.hole_scores"], list(BOOKS["platform.hole_scores"].columns))) == rows
    assert from_chaos == in_order


@pytest.mark.parametrize("order", ["ascending", "shuffled"])
def test_a_book_of_many_chunks_is_the_same_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    schema = BOOKS["platform.ledger_postings"]
    rows = [(txn, n, f"account-{n}", txn * n or None) for txn in range(20) for n in range(5)]
    _, one_chunk = write_book(tmp_path / "one", "platform.ledger_postings", rows)
    monkeypatch.setattr(books, "CHUNK_ROWS", 7)
    given_rows = rows if order == "ascending" else random.Random(3).sample(rows, len(rows))
    path, many_chunks = write_book(tmp_path / "many", "platform.ledger_postings", given_rows)
    assert pq.ParquetFile(path).num_row_groups > 10
    assert list(read_rows(path, schema, tuple(schema.columns))) == rows
    assert many_chunks == one_chunk == canonical_digest(path, schema)


def test_a_numbered_book_counts_on_from_chunk_to_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "CHUNK_ROWS", 3)
    written = BookSet(tmp_path)
    anchor = written["anchor.heads"]
    assert [anchor.note(at, at, "h") for at in range(4)] == [1, 2, 3, 4]
    anchor.extend(iter([(5, 0, 0, "h"), (6, 0, 0, "h"), (7, 0, 0, "h"), (8, 0, 0, "h")]))
    assert anchor.note(9, 9, "h") == anchor.count == 9
    written.close()
    assert [n for (n,) in read_rows(book_path(tmp_path, "anchor.heads"), BOOKS["anchor.heads"], ["n"])] == list(
        range(1, 10)
    )


def test_a_book_for_which_there_was_no_room_is_not_passed_over_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "CHUNK_ROWS", 2)
    written = BookSet(tmp_path / "books")
    anchor = written["anchor.heads"]
    shutil.rmtree(tmp_path / "books")
    anchor.note(1, 1, "h")
    with pytest.raises(OSError, match="No such file"):  # at once, for nothing is kept back without bound
        anchor.extend((n, n, n, "h") for n in range(2, 100))
    with pytest.raises(OSError, match="No such file"):
        anchor.close()


def test_what_is_abandoned_is_not_written_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "CHUNK_ROWS", 2)
    with RunWriter(tmp_path, "run") as unfinished:
        anchor = unfinished.books["anchor.heads"]
        for at in range(2 * books.PENDING_CHUNKS_MAX):
            anchor.note(at, at, "h")
    with pytest.raises(RuntimeError, match="after shutdown"):
        anchor.extend([(9, 9, 9, "h"), (10, 10, 10, "h")])
    assert not list(tmp_path.iterdir())


def test_booleans_may_come_as_sqlite_has_them(tmp_path: Path) -> None:
    rows = [(1, 0, "ops:kim", "login", "api", 1, None), (2, 0, "ops:kim", "login", "api", 0, None)]
    path, _ = write_book(tmp_path, "platform.access_log", rows)
    assert [allowed for (allowed,) in read_rows(path, BOOKS["platform.access_log"], ["allowed"])] == [True, False]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((2, 5, 7, "h", "extra"), "anchor.heads row 2 has 5 values, the schema 4 columns"),
        ((2, 5, 7), "anchor.heads row 2 has 3 values"),
        ((2, 5.0, 7, "h"), "anchor.heads row 2, column at: takes at, not 5.0"),
        ((2, 5, 2**63, "h"), "row 2, column head_seq: takes int"),
        ((2, 5, 7, b"h"), "row 2, column head_hash: takes str, not b'h'"),
        ((2, 5, 7, "\ud800"), "row 2, column head_hash: takes str"),
        ((None, 5, 7, "h"), "row 2, column n: is part of the key and may not be null"),
    ],
)
@pytest.mark.parametrize("by", ["add", "extend"])
def test_what_is_not_a_row_is_refused_with_its_row_and_column(
    tmp_path: Path, row: tuple[Any, ...], said: str, by: str
) -> None:
    written = BookSet(tmp_path)
    written["anchor.heads"].add(1, None, None, None)
    with pytest.raises(BookRefused) as refused:  # noqa: PT012
        if by == "add":
            written["anchor.heads"].add(*row)
        else:
            written["anchor.heads"].extend([row])
        written.close()
    assert said in str(refused.value)


@pytest.mark.parametrize("values", [(5, 7), (5, 7, "h", "extra")])
def test_a_numbered_row_of_a_wrong_width_is_refused_and_not_counted(tmp_path: Path, values: tuple[Any, ...]) -> None:
    anchor = BookSet(tmp_path)["anchor.heads"]
    anchor.note(1, 1, "h")
    with pytest.raises(BookRefused, match=f"row 2 has {len(values) + 1} values, the schema 4 columns"):
        anchor.note(*values)
    assert anchor.note(2, 2, "h") == 2


def test_a_boolean_is_not_just_any_number(tmp_path: Path) -> None:
    with pytest.raises(BookRefused, match="row 1, column allowed: takes bool, not 2"):
        write_book(tmp_path, "platform.access_log", [(1, 0, "p", "a", "r", 2, None)])


# --- the canonical digest --------------------------------------------------------------------------------------------


def digest_by_hand(schema: BookSchema, rows: list[tuple[Any, ...]]) -> str:
    """The published definition of a book's digest, once more, value by value."""
    head = [[name, kind.value] for name, kind in schema.columns.items()]
    whole = sha256(json.dumps([head, len(rows)]).encode())
    for place, kind in enumerate(schema.columns.values()):
        presence, fixed, text = b"", b"", b""
        for row in rows:
            value = row[place]
            presence += b"\0" if value is None else b"\1"
            if kind in (Column.STR, Column.JSON):
                data = (value or "").encode()
                fixed += struct.pack("<i", len(value or "")) if data.isascii() else struct.pack("<i", len(data))
                text += data
            elif kind is Column.BOOL:
                fixed += b"\1" if value else b"\0"
            else:
                fixed += struct.pack("<q", value or 0)
        for stream in (presence, fixed, text):
            whole.update(sha256(stream).digest())
    return whole.hexdigest()


@pytest.mark.parametrize("book", BOOKS)
def test_the_digest_of_a_book_is_what_its_definition_says(published: Path, book: str) -> None:
    path = book_path(published / "books", book)
    assert canonical_digest(path, BOOKS[book]).sha256 == digest_by_hand(BOOKS[book], sample_rows(BOOKS[book]))


@pytest.mark.parametrize("book", [AUDIT, "platform.hole_scores", "hosts.requests"])
@pytest.mark.parametrize(
    "layout",
    [
        {"row_group_size": 3, "compression": "snappy"},
        {"row_group_size": 1, "use_dictionary": True, "compression": "none"},
        {"data_page_size": 64, "compression": "gzip", "version": "1.0"},
    ],
)
@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_the_digest_depends_on_rows_alone_not_on_how_parquet_lays_them_out(
    tmp_path: Path, published: Path, book: str, layout: dict[str, Any], order: str
) -> None:
    schema = BOOKS[book]
    path = book_path(published / "books", book)
    table = pq.read_table(path).cast(arrow_schema(schema))
    if order == "descending":
        table = table.take(list(reversed(range(table.num_rows))))
    other = tmp_path / "other.parquet"
    pq.write_table(table, other, **layout)
    assert other.read_bytes() != path.read_bytes()
    assert canonical_digest(other, schema) == canonical_digest(path, schema)


def test_no_two_different_books_have_one_digest(tmp_path: Path) -> None:
    variants: list[list[tuple[Any, ...]]] = [
        [],
        [("a", 0, 0, "")],
        [("a", 0, 0, None)],
        [("a", 0, None, "")],
        [("a", None, 0, "")],
        [("a", 1, 0, "")],
        [("b", 0, 0, "")],
        [("a", 0, 0, ""), ("b", 0, 0, "")],
        [("a", 0, 0, "b"), ("ab", 0, 0, "")],
        [("a", 0, 0, ""), ("ab", 0, 0, "b")],
    ]
    schema = BookSchema(
        "test", "a row", {"id": Column.STR, "count": Column.INT, "at": Column.AT, "note": Column.STR}, ("id",)
    )
    digests = []
    for number, rows in enumerate(variants):
        book = books.Book("test", schema, tmp_path / f"{number}.parquet", PACKER)
        book.extend(rows)
        digests.append(book.close().sha256)
    assert len(set(digests)) == len(variants)


# --- what an assertion sees ----------------------------------------------------------------------------------------


def test_records_have_the_names_of_their_columns_and_are_nobody_elses_list(published: Path) -> None:
    evidence = Evidence.open(published)
    records = evidence.records("platform.entries", "entry_id", "status")
    assert records[0].entry_id == "key-0001-é"
    assert records[0]._fields == ("entry_id", "status")
    records.clear()
    assert len(evidence.records("platform.entries", "entry_id", "status")) == 11


def test_a_book_too_large_to_keep_reads_the_same(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Evidence.open(published)
    monkeypatch.setattr("evidence.run.KEPT_ROWS_MAX", 10)
    streamed = Evidence.open(published)
    assert list(streamed.rows(AUDIT, "at", "seq")) == list(kept.rows(AUDIT, "at", "seq"))
    assert streamed.records(AUDIT) == kept.records(AUDIT)
    assert streamed.table(AUDIT).equals(kept.table(AUDIT))
    assert streamed._kept[AUDIT].table is None


def test_the_chunks_of_a_book_are_its_rows_column_by_column(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Evidence.open(published)
    monkeypatch.setattr("evidence.run.KEPT_ROWS_MAX", 10)
    monkeypatch.setattr("evidence.books.CHUNK_ROWS", 4)
    streamed = Evidence.open(published)
    seqs = [seq for (seq,) in kept.rows(AUDIT, "seq")]
    assert [len(chunk) for _, chunk in streamed.chunks(AUDIT, "at", "seq")] == [4, 4, 3]
    for evidence in (kept, streamed):
        assert [seq for _, chunk in evidence.chunks(AUDIT, "at", "seq") for seq in chunk] == seqs
        assert {len(chunk) for chunk in evidence.chunks(AUDIT)} == {len(BOOKS[AUDIT].columns)}
        with pytest.raises(UnknownName):
            evidence.chunks(AUDIT, "sequence")


def test_a_book_without_rows_has_no_chunk(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "empty") as writer:
        writer.write_plan(small_plan())
        writer.seal({"code": "c" * 64})
        evidence = Evidence.open(writer.path)
        assert (list(evidence.chunks(AUDIT)), list(evidence.rows(AUDIT)), evidence.count(AUDIT)) == ([], [], 0)


def test_a_frame_keeps_cents_whole_and_instants_in_utc(published: Path) -> None:
    frame = Evidence.open(published).table("platform.transfers")
    assert str(frame["amount_cents"].dtype) == "Int64"
    assert frame["amount_cents"].isna().any()
    assert str(frame["created_at"].dt.tz) == "UTC"
    amounts = [amount for (amount,) in Evidence.open(published).rows("platform.transfers", "amount_cents")]
    assert [None if value is None else int(value) for value in frame["amount_cents"].astype(object).where(
        frame["amount_cents"].notna(), None
    )] == amounts  # fmt: skip


def test_plan_and_journal_come_back(published: Path) -> None:
    evidence = Evidence.open(published)
    assert evidence.plan == small_plan()
    assert evidence.plan_sha256 == evidence.manifest.plan_sha256 == small_plan().sha256()
    events = list(evidence.journal())
    assert [event.id for event in events] == ["e1", "e2", "e3", "e4", "e5", "e6"]
    assert events[1] == ("e2", 1, "system:test", "test.event", "subject-1", "e1", {"n": 1, "ä": "ö"})


def test_a_name_that_is_not_in_the_contract_is_answered_with_one_that_is(published: Path) -> None:
    evidence = Evidence.open(published)
    with pytest.raises(UnknownName, match=r"no book 'platform.entry': did you mean platform.entries\?"):
        evidence.count("platform.entry")
    with pytest.raises(UnknownName, match=r"no column of platform.entries 'entry': did you mean entry_id\?"):
        evidence.rows("platform.entries", "entry")


def test_a_directory_that_is_no_run_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match=r"holds no plan.json and no journal.jsonl and no books"):
        Evidence.open(tmp_path)


def test_writing_and_reading_a_run_never_loads_pandas(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.support.runs import publish_small;"
        "from evidence.run import Evidence, BOOKS;"
        "e = Evidence.open(publish_small(Path(sys.argv[1])).path); [e.records(b) for b in BOOKS];"
        "sys.exit('pandas' in sys.modules or 'pyarrow.compute' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=True, timeout=60)


# --- versions of the contract ----------------------------------------------------------------------------------------


def rewrite_book(path: Path, schema: Any) -> None:
    table = pq.read_table(path).cast(schema) if isinstance(schema, pa.Schema) else schema(pq.read_table(path))
    pq.write_table(table, path)


def test_a_book_of_an_unknown_version_is_reported_in_words(run_dir: Path) -> None:
    path = book_path(run_dir / "books", AUDIT)
    rewrite_book(path, arrow_schema(BOOKS[AUDIT]).with_metadata({"version": "9"}))
    words = "is written in version 9 of the book contract; this reader knows 1 and 2"
    with pytest.raises(BookDamaged, match=words):
        Evidence.open(run_dir).count(AUDIT)
    assert any(words in problem.message for problem in problems_of(run_dir)[f"books/{AUDIT}.parquet"])


def test_a_book_of_the_previous_version_is_read_with_null_for_what_it_lacked(run_dir: Path) -> None:
    book = "provider.requests"
    path = book_path(run_dir / "books", book)
    rewrite_book(path, lambda table: table.drop_columns(["answered"]).replace_schema_metadata({"version": "2"}))
    with pytest.raises(BookDamaged, match="column answered: is missing"):
        Evidence.open(run_dir).count(book)
    rewrite_book(path, lambda table: table.replace_schema_metadata({"version": "1"}))
    evidence, rows = Evidence.open(run_dir), sample_rows(BOOKS[book])
    assert list(evidence.rows(book, "n", "at")) == [(row[0], row[1]) for row in rows]
    assert evidence.lacked == set()
    assert list(evidence.rows(book, "n", "answered")) == [(row[0], None) for row in rows]
    assert evidence.lacked == {f"{book}.answered"}
    assert evidence.columns(book) == tuple(name for name in BOOKS[book].columns if name != "answered")
    assert canonical_digest(path, BOOKS[book]).rows == len(rows)


def test_a_column_that_the_previous_version_had_may_not_be_missing(run_dir: Path) -> None:
    path = book_path(run_dir / "books", AUDIT)
    rewrite_book(path, lambda table: table.drop_columns(["reason"]).replace_schema_metadata({"version": "1"}))
    found = problems_of(run_dir)[f"books/{AUDIT}.parquet"]
    assert Problem(f"books/{AUDIT}.parquet", "column reason", "is missing") in found
    assert Problem(f"books/{AUDIT}.parquet", "version", "is of version 1 of the contract, the manifest says 2") in found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.append_column("mood", pa.array(["glad"] * 11)), "column mood: is not in the schema"),
        (lambda table: table.set_column(1, "at", pa.array([1.5] * 11)), "column at: holds double, not timestamp"),
    ],
)
def test_a_book_whose_columns_are_not_the_contracts_is_reported(run_dir: Path, change: Any, said: str) -> None:
    path = book_path(run_dir / "books", AUDIT)
    rewrite_book(path, lambda table: change(table).replace_schema_metadata({"version": "1"}))
    with pytest.raises(BookDamaged) as damaged:
        Evidence.open(run_dir).count(AUDIT)
    assert said in str(damaged.value)


# --- the journal -----------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**62), 2**62), st.text(), st.text(), st.text(), st.none() | st.text(),
            st.dictionaries(
                st.text(),
                st.integers(-(2**63), 2**63 - 1) | st.text() | st.none() | st.booleans() | st.lists(st.text()),
            ),
        ),
        max_size=3,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_journal_line_is_the_canonical_json_of_its_event(events: list[tuple[Any, ...]]) -> None:
    stream = BytesIO()
    written = JournalWriter(stream)
    for event in events:
        written.append(*event)
    lines = stream.getvalue().decode().split("\n")
    previous = journal.GENESIS
    for number, (line, (at, actor, kind, subject, cause, data)) in enumerate(zip(lines, events, strict=False), 1):
        body: dict[str, Any] = {
            "actor": actor, "at": at, "cause": cause, "data": data, "id": f"e{number}", "kind": kind,
            "prev": previous, "subject": subject,
        }  # fmt: skip
        bare = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = sha256(bare.encode()).hexdigest()
        assert line == bare[:-1] + f',"hash":"{previous}"}}'
    assert (written.head, written.count, lines[-1]) == (previous, len(events), "")


def test_an_integer_that_other_readers_of_json_would_round_is_refused() -> None:
    with pytest.raises(TypeError, match="64-bit"):
        JournalWriter(BytesIO()).append(0, "a", "k", "s", None, {"cents": 2**64})


def _alter(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b"subject-3", b"subject-9") for line in lines]


def _alter_with_its_hash(lines: list[bytes]) -> list[bytes]:
    body = json.loads(lines[2])
    del body["hash"]
    body["subject"] = "subject-9"
    bare = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return [*lines[:2], f'{bare[:-1]},"hash":"{sha256(bare.encode()).hexdigest()}"}}\n'.encode(), *lines[3:]]


@pytest.mark.parametrize(
    ("damage", "line", "why"),
    [
        (_alter, 4, "hashes to"),
        (_alter_with_its_hash, 4, "breaks the chain"),
        (lambda lines: lines[:3] + lines[4:], 4, "carries the id 'e5' and breaks the chain"),
        (lambda lines: [*lines[:1], lines[2], lines[1], *lines[3:]], 2, "carries the id 'e3'"),
        (lambda lines: lines[:2] + lines[1:], 3, "carries the id 'e2'"),
        (lambda lines: [*lines[:5], lines[5][:40]], 6, "is not a journal line"),
        (lambda lines: [*lines[:5], lines[5].rstrip(b"\n")], 6, "does not end with its own hash"),
        (lambda lines: [*lines[:2], b'{"id":"e3"}\n', *lines[3:]], 3, "is not a journal line"),
        (lambda lines: [*lines[:2], b"[" * 100_000 + b"\n", *lines[3:]], 3, "is not a journal line"),
    ],
)
def test_a_damaged_journal_is_named_at_the_first_event_that_is_not_what_was_written(
    run_dir: Path, damage: Any, line: int, why: str
) -> None:
    path = run_dir / "journal.jsonl"
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(JournalBroken) as broken:
        list(Evidence.open(run_dir).journal())
    assert (broken.value.line, broken.value.event_id) == (line, f"e{line}")
    assert why in broken.value.why
    [in_file, in_chain] = problems_of(run_dir)["journal.jsonl"]
    assert "the manifest says" in in_file.message
    assert in_chain == Problem("journal.jsonl", f"line {line}, event e{line}", broken.value.why)


def test_a_journal_whose_end_was_cut_off_is_named_at_the_first_event_gone(run_dir: Path) -> None:
    path = run_dir / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    assert Problem("journal.jsonl", "event e5", "holds 4 events, the manifest says 6") in verify.verify(run_dir)


# --- verification ----------------------------------------------------------------------------------------------------


def test_a_whole_run_has_no_problem_and_answers_to_the_anchors_noted_of_it(published: Path) -> None:
    stated = Evidence.open(published).manifest
    assert verify.verify(published) == []
    for anchor in (stated.self_sha256, stated.identity, stated.digest):
        assert verify.verify(published, anchor=anchor) == []
    assert "this is not that run" in verify.verify(published, anchor="0" * 64)[0].message


def test_a_byte_flipped_in_any_file_names_that_file(published: Path, tmp_path: Path) -> None:
    places = random.Random(5)
    hashed = list(manifest.files(published))
    assert len(hashed) == len(BOOKS) + 4
    run_dir = shutil.copytree(published, tmp_path / "run")
    for names in [["manifest.json"], hashed] * 3:
        for name in names:
            content = bytearray((published / name).read_bytes())
            content[places.randrange(len(content))] ^= 1 << places.randrange(8)
            (run_dir / name).write_bytes(content)
        assert set(names) <= set(problems_of(run_dir))
        for name in names:
            shutil.copy(published / name, run_dir / name)
        assert verify.verify(run_dir) == []


@pytest.mark.parametrize("name", ["plan.json", "journal.jsonl", "manifest.json", f"books/{AUDIT}.parquet", "log.jsonl"])
def test_verification_reports_whatever_stands_in_place_of_a_file_and_raises_nothing(run_dir: Path, name: str) -> None:
    path = run_dir / name
    whole = path.read_bytes()
    garbage = [
        b"", b"\0" * 50, b"null", b"[]", b"{}", b'{"schema_version":9}', b"\xff\xfe", b"[" * 200_000, b"PAR1PAR1",
        b'{"name":"\\ud800"}', b'{"hash":"\\ud800","prev":1}\n', *(whole[: len(whole) * part // 7] for part in (1, 6)),
    ]  # fmt: skip
    for content in garbage:
        path.write_bytes(content)
        assert name in problems_of(run_dir), content[:20]
    path.unlink()
    assert Problem(name, "", "is missing") in verify.verify(run_dir)
    path.mkdir()
    assert verify.verify(run_dir)
    path.rmdir()
    path.symlink_to(run_dir / "verdict.json")
    assert verify.verify(run_dir)


def test_a_file_that_was_added_is_named(run_dir: Path) -> None:
    (run_dir / "books" / "notes").mkdir()
    (run_dir / "books" / "notes" / "later.txt").write_text("I was never here")
    assert verify.verify(run_dir) == [Problem("books/notes/later.txt", "", "is not in the manifest")]


def test_a_book_rewritten_with_one_cell_changed_is_named_though_its_file_hash_was_put_right(run_dir: Path) -> None:
    path = book_path(run_dir / "books", AUDIT)
    rows = sample_rows(BOOKS[AUDIT])
    changed = books.Book(AUDIT, BOOKS[AUDIT], path, PACKER)
    changed.extend([*rows[:4], (*rows[4][:3], "forged", *rows[4][4:]), *rows[5:]])
    changed.close()
    _rehash(run_dir)
    [problem] = verify.verify(run_dir)
    assert (problem.file, problem.where) == (f"books/{AUDIT}.parquet", "rows")
    assert "its rows hash to" in problem.message


def test_evidence_changed_together_with_all_its_hashes_is_shown_by_the_anchor_alone(run_dir: Path) -> None:
    anchor = Evidence.open(run_dir).manifest.self_sha256
    (run_dir / "verdict.json").write_bytes(b'{"verdict":"FAIL"}')
    _rehash(run_dir)
    assert verify.verify(run_dir) == []
    assert verify.verify(run_dir, anchor=anchor) != []


def test_a_manifest_that_states_another_identity_than_the_evidence_makes_is_reported(run_dir: Path) -> None:
    _rehash(run_dir, identity="0" * 64)
    [problem] = verify.verify(run_dir)
    assert (problem.file, problem.where) == ("manifest.json", "identity")


def _rehash(run_dir: Path, **changes: Any) -> None:
    """What a forger does: state the hashes of the files as they are now, and the manifest's own."""
    content = Evidence.open(run_dir).manifest.model_dump(exclude={"self_sha256"})
    content["files"] = {name: manifest.file_sha256(run_dir / name) for name in content["files"]}
    (run_dir / "manifest.json").write_bytes(manifest._render({**content, **changes}))


def test_two_rows_under_one_key_are_reported(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as run:
        run.write_plan(small_plan())
        run.books["anchor.heads"].extend([(1, 0, 1, "b"), (2, 0, 1, "c"), (1, 0, 1, "a")])
        run.seal(FINGERPRINTS)
        path = run.publish().path
    [problem] = verify.verify(path)
    assert problem == Problem("books/anchor.heads.parquet", "key 1", "two rows share this key")


def test_a_null_in_the_key_of_a_foreign_book_is_reported(run_dir: Path) -> None:
    path = book_path(run_dir / "books", "anchor.heads")
    names = list(BOOKS["anchor.heads"].columns)
    arrays = [pa.array([1, None], kind) for kind in arrow_schema(BOOKS["anchor.heads"]).types[:3]]
    table = pa.Table.from_arrays([*arrays, pa.array(["a", "b"])], names=names)
    pq.write_table(table.replace_schema_metadata({"version": "1"}), path)
    found = problems_of(run_dir)["books/anchor.heads.parquet"]
    assert found[1] == Problem("books/anchor.heads.parquet", "column n", "is part of the key and holds a null")


# --- publishing ------------------------------------------------------------------------------------------------------


def test_a_run_is_named_by_scenario_seed_and_digest_and_holds_a_manifest_of_itself(published: Path) -> None:
    stated = Evidence.open(published).manifest
    plan, lines = (published / "plan.json").read_bytes(), (published / "journal.jsonl").read_bytes()
    assert stated.digest == sha256(plan + lines).hexdigest()
    assert published.name == stated.name == f"small-s7-{stated.identity[:10]}"
    assert stated.journal_head == json.loads(lines.splitlines()[-1])["hash"]
    assert stated.plan_sha256 == small_plan().sha256()
    assert stated.books[AUDIT].rows == 11
    assert stated.versions["python"].startswith("3.")


def test_the_same_run_published_again_is_a_no_op_that_says_so(tmp_path: Path) -> None:
    first = publish_small(tmp_path, log=b"at noon\n")
    second = publish_small(tmp_path, log=b"at midnight\n")
    assert (first.existed, second.existed) == (False, True)
    assert second.path == first.path
    assert (first.path / "log.jsonl").read_bytes() == b"at noon\n"
    assert os.listdir(tmp_path) == [first.path.name]


@pytest.mark.parametrize("other", [{"seed": 8}, {"code": "f00d" * 16}])
def test_another_run_under_the_same_name_is_refused_and_nothing_is_overwritten(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    first = publish_small(tmp_path, "closure")
    before = (first.path / "manifest.json").read_bytes()
    with pytest.raises(IdentityConflict, match="is another run"):
        publish_small(tmp_path, "closure", **other)
    assert (first.path / "manifest.json").read_bytes() == before
    assert os.listdir(tmp_path) == ["closure"]


@pytest.mark.parametrize(("damaged", "said"), [("journal.jsonl", "is damaged"), ("manifest.json", "cannot be told")])
def test_a_damaged_run_is_not_taken_for_the_same_run(tmp_path: Path, damaged: str, said: str) -> None:
    first = publish_small(tmp_path)
    (first.path / damaged).write_bytes(b"{}")
    with pytest.raises(IdentityConflict, match=said):
        publish_small(tmp_path)


def test_a_file_in_the_place_of_the_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closure").write_text("mine")
    with pytest.raises(IdentityConflict, match="cannot be told"):
        publish_small(tmp_path, "closure")
    assert (tmp_path / "closure").read_text() == "mine"


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunWriter(tmp_path) as run:  # noqa: PT012
        write_journal(run)
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_sealed_run_can_be_judged_before_it_is_published(tmp_path: Path) -> None:
    with RunWriter(tmp_path) as run:
        run.write_plan(small_plan())
        write_journal(run)
        run.books["anchor.heads"].note(5, 1, "h")
        seal = run.seal(FINGERPRINTS)
        evidence = Evidence.open(run.path)
        assert (evidence.count("anchor.heads"), sum(1 for _ in evidence.journal())) == (1, 6)
        run.write("reports/report.md", seal.identity.encode())
        path = run.publish().path
    assert (path / "reports" / "report.md").read_text() == Evidence.open(path).manifest.identity
    assert verify.verify(path) == []


def test_output_that_cannot_be_written_is_refused_before_the_run_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    for root in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(OutputRefused, match=r"cannot be written to .*Give a directory that you may write to"):
            RunWriter(root)
    monkeypatch.setattr(writer, "FREE_BYTES_MIN", 1 << 80)
    with pytest.raises(OutputRefused, match=r"MiB are free, .* are needed. Prune old runs"):
        check_writable(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_directory_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputRefused, match="Permission denied"):
        check_writable(tmp_path)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", ".hidden", "..", ""])
def test_a_name_that_leaves_the_run_root_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputRefused, match="cannot be the name of a run directory"):
        RunWriter(tmp_path, name)


def test_the_sweep_takes_what_the_dead_left_and_nothing_of_the_living(tmp_path: Path) -> None:
    stale = tmp_path / ".staging-1-dead" / "books"
    stale.mkdir(parents=True)
    (stale / "half.parquet").write_bytes(b"PAR1")
    with RunWriter(tmp_path) as living:
        assert not stale.exists()
        living.write_plan(small_plan())
        assert sweep(tmp_path) == []
        another = publish_small(tmp_path, "another")
        assert (living.path / "plan.json").exists()
        living.seal(FINGERPRINTS)
        assert verify.verify(living.publish().path) == []
    assert verify.verify(another.path) == []


def test_code_is_fingerprinted_by_name_and_content_wherever_it_lies(tmp_path: Path) -> None:
    def package(root: str, **contents: str) -> str:
        folder = tmp_path / root / "pkg" / "inner"
        folder.mkdir(parents=True)
        for name, text in contents.items():
            (folder / name.replace("_", ".")).write_text(text)
        return manifest.code_sha256([tmp_path / root / "pkg"])

    here = package("here", a_py="x = 1", b_yaml="k: v", notes_txt="one")
    assert package("there", a_py="x = 1", b_yaml="k: v", notes_txt="two") == here
    assert len({here, package("c", a_py="x = 2", b_yaml="k: v"), package("d", c_py="x = 1", b_yaml="k: v")}) == 3


# --- killed at any instant -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    base = tmp_path_factory.mktemp("killed")
    script = ROOT / "tests" / "support" / "killed_writer.py"
    command = [sys.executable, str(script), str(base), str(KILL_POINTS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120, capture_output=True, text=True)
    signals = [line.split()[1] for line in done.stdout.splitlines()]
    assert signals == ["9"] * KILL_POINTS
    return {point: base / f"point-{point}" for point in range(KILL_POINTS)}


@pytest.mark.parametrize("point", range(KILL_POINTS))
def test_a_kill_leaves_no_run_or_a_whole_one(killed: dict[int, Path], tmp_path: Path, point: int) -> None:
    root = shutil.copytree(killed[point], tmp_path / "runs")
    runs = [path for path in root.iterdir() if not path.name.startswith(".")]
    assert all(verify.verify(path) == [] for path in runs)
    again = publish_small(root)
    assert again.existed == bool(runs)
    assert os.listdir(root) == [again.path.name]


def test_the_kills_fell_before_during_and_after_the_publication(killed: dict[int, Path]) -> None:
    left = [os.listdir(root) if root.exists() else [] for root in killed.values()]
    third = KILL_POINTS // 3
    assert all(names[0].startswith(".staging-") for names in left[third : 2 * third])
    assert all(names[0].startswith("small-s7-") for names in left[2 * third :])
