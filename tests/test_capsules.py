"""Evidence of the version before this one: it verifies and is judged; what it never had is neither kept nor broken."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assertions.judge import VERSION as VERDICT_VERSION
from assertions.judge import ActiveFault, FirstBroken, NotExercised, Verdict, judge
from assertions.model import REGISTRY as ASSERTIONS
from assertions.model import Broken, Finding, Result, Status, assertion, judge_one
from evidence import verify
from evidence.books import BookDamaged
from evidence.plan import Plan
from evidence.run import Evidence
from evidence.schemas import BOOKS, READABLE, VERSION, books_of, fingerprint, since, versions
from evidence.verify import Problem
from reports import tell
from tests.support.capsules import CAPSULES, NAMES, unpack
from tests.support.command import ROOT, absence
from tests.support.tampering import edit_book, reseal

FIRST, LAST = "v1-first", "v1-last"
CONTRACT = ROOT / "docs" / "evidence.md"
LACKED = "the version of that run did not have"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The capsules, which no test changes."""
    return {name: unpack(name, tmp_path_factory.mktemp(name)) for name in NAMES}


@pytest.fixture(params=NAMES)
def run_dir(request: pytest.FixtureRequest, unpacked: dict[str, Path]) -> Path:
    return unpacked[request.param]


@pytest.fixture
def first(unpacked: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the oldest capsule, to be changed."""
    return shutil.copytree(unpacked[FIRST], tmp_path / "run")


# --- what the capsules are -------------------------------------------------------------------------------------------


def test_there_is_a_capsule_of_the_first_and_of_the_last_code_that_wrote_version_1() -> None:
    assert NAMES == [FIRST, LAST]
    for name in NAMES:
        assert sum(path.stat().st_size for path in (CAPSULES / name).iterdir()) < 150_000


def test_a_capsule_is_of_the_version_before_this_one(run_dir: Path) -> None:
    assert READABLE == (1, 2)
    assert Evidence.open(run_dir).version == VERSION - 1


def test_the_first_capsule_has_the_books_and_columns_of_version_1_and_no_others(unpacked: dict[str, Path]) -> None:
    held = {
        path.stem: pq.ParquetFile(path).schema_arrow.names for path in (unpacked[FIRST] / "books").glob("*.parquet")
    }
    assert held == {book: list(schema.columns) for book, schema in books_of(1).items()}


# --- they are read ---------------------------------------------------------------------------------------------------


def test_a_capsule_verifies(run_dir: Path) -> None:
    told = absence("verify", run_dir)
    assert told.exit_code == 0, told.stdout
    assert "was judged by other assertions" in told.stdout
    assert "the verdict follows" not in told.stdout


def test_a_byte_changed_in_a_capsule_is_found(first: Path) -> None:
    path = first / "books" / "provider.requests.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    told = absence("verify", first)
    assert told.exit_code == 30
    assert "books/provider.requests.parquet" in told.stdout


def test_its_plan_is_read_with_defaults_for_what_came_later(unpacked: dict[str, Path]) -> None:
    raw = (unpacked[FIRST] / "plan.json").read_bytes()
    assert not {"operations", "drills", "settings", "unhealed"} & json.loads(raw).keys()
    plan = Evidence.open(unpacked[FIRST]).plan
    assert (plan.operations, plan.drills, plan.settings, plan.unhealed) == (False, [], {}, [])
    assert len(plan.entries) == 2
    assert {fault.recovery.runbook for fault in plan.faults} == {""}
    with pytest.raises(ValueError, match="owner_capital_cents"):
        Plan.model_validate({**json.loads(raw), "owner_capital_cents": None})


def test_its_verdict_is_read(unpacked: dict[str, Path]) -> None:
    verdicts = {name: Verdict.from_json((path / "verdict.json").read_bytes()) for name, path in unpacked.items()}
    assert verdicts[FIRST].status is Status.PASS
    assert verdicts[LAST].status is Status.FAIL
    assert verdicts[LAST].first_broken is not None
    assert verdicts[LAST].first_broken.assertion == "absence.database_sessions"


def test_a_column_that_it_lacks_reads_as_null_and_a_book_as_empty(unpacked: dict[str, Path]) -> None:
    evidence = Evidence.open(unpacked[FIRST])
    requests = list(evidence.rows("provider.requests", "n", "answered"))
    assert len(requests) > 10
    assert {answered for _, answered in requests} == {None}
    assert list(evidence.rows("operator.notebook")) == []
    assert evidence.count("operator.notebook") == 0
    assert evidence.columns("operator.notebook") == ()
    assert list(evidence.table("operator.notebook").columns) == list(BOOKS["operator.notebook"].columns)
    assert evidence.lacked == {"provider.requests.answered", "operator.notebook"}
    assert evidence.afresh().lacked == set()


def test_what_it_has_is_not_lacked(unpacked: dict[str, Path]) -> None:
    evidence = Evidence.open(unpacked[LAST])
    assert {answered for (answered,) in evidence.rows("provider.requests", "answered")} == {True}
    assert evidence.count("operator.notebook") == 0
    assert evidence.count("provider.requests") > 10
    assert evidence.lacked == set()


# --- they are judged -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(unpacked: dict[str, Path]) -> dict[str, Verdict]:
    return {name: judge(Evidence.open(path)) for name, path in unpacked.items()}


@pytest.mark.parametrize("name", NAMES)
def test_what_was_kept_or_broken_then_is_kept_or_broken_today_unless_it_needs_what_there_was_not(
    unpacked: dict[str, Path], judged: dict[str, Verdict], name: str
) -> None:
    """The assertions of that time agree with those of today wherever both could look."""
    then = {result.id: result for result in Verdict.from_json((unpacked[name] / "verdict.json").read_bytes()).results}
    now = {result.id: result for result in judged[name].results}
    differing = {id for id in then if now[id].status is not then[id].status}
    assert all(now[id].missing[0].startswith(LACKED) for id in differing), differing
    assert len(differing) <= 1
    kept = {id for id, result in then.items() if result.status is Status.PASS}
    assert {
        "audit.chain_holds",
        "payouts.right_people_right_amounts",
        "settlement.packs_are_terminal",
    } <= kept - differing


@pytest.mark.parametrize("name", NAMES)
def test_what_asked_for_something_that_was_not_there_says_so_and_neither_passes_nor_fails(
    judged: dict[str, Verdict], name: str
) -> None:
    lacking = [result for result in judged[name].results if any(LACKED in missing for missing in result.missing)]
    assert {result.status for result in lacking} == {Status.INCONCLUSIVE, Status.NOT_APPLICABLE}
    assert all(not result.broken for result in lacking)
    told = {result.id: result.missing for result in lacking}
    assert told["settlement.daemons_beat"][0] == f"{LACKED} platform.daemon_health"
    assert told["settlement.daemons_beat"][1].startswith("without it 2 would be broken: ")
    assert Counter(result.status for result in lacking)[Status.INCONCLUSIVE] == (6 if name == FIRST else 5)


def test_no_new_promise_fails_for_want_of_a_book(judged: dict[str, Verdict]) -> None:
    assert judged[FIRST].status is Status.INCONCLUSIVE
    assert [result.id for result in judged[FIRST].results if result.status is Status.FAIL] == []
    assert [result.id for result in judged[LAST].results if result.status is Status.FAIL] == [
        "audit.rows_match_images", "ledger.reconciles_with_processor", "ledger.transactions_balance",
        "absence.database_sessions",
    ]  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Assertions registered in a test are forgotten after it."""
    known = dict(ASSERTIONS)
    yield
    ASSERTIONS.clear()
    ASSERTIONS.update(known)


@pytest.mark.parametrize(
    ("book", "found", "status"),
    [
        ("operator.notebook", Finding("pages", 3, 3), Status.INCONCLUSIVE),
        ("operator.notebook", Finding("pages", 0, 2), Status.INCONCLUSIVE),
        ("operator.notebook", Finding("pages", 0, 0), Status.NOT_APPLICABLE),
        ("operator.notebook", Finding("pages", 3, 3, [Broken("nobody was paged", "pages/1")]), Status.INCONCLUSIVE),
        ("processor.transfers", Finding("pages", 3, 3), Status.PASS),
        ("processor.transfers", Finding("pages", 3, 3, [Broken("nobody was paged", "pages/1")]), Status.FAIL),
    ],
)
def test_an_assertion_is_neither_kept_nor_broken_where_its_book_did_not_exist(
    unpacked: dict[str, Path], asked: None, book: str, found: Finding, status: Status
) -> None:
    @assertion("test.asks", "Somebody asks for a book")
    def asks(evidence: Evidence) -> Finding:
        evidence.count(book)
        return found

    result = judge_one(ASSERTIONS["test.asks"], Evidence.open(unpacked[FIRST]))
    assert result.status is status
    assert any(f"{LACKED} operator.notebook" in missing for missing in result.missing) == (book == "operator.notebook")


@pytest.mark.parametrize("name", NAMES)
def test_a_capsule_is_reported_on_with_todays_assertions(
    unpacked: dict[str, Path], judged: dict[str, Verdict], name: str, tmp_path: Path
) -> None:
    told = absence("report", unpacked[name], "--out", tmp_path / "again")
    assert told.exit_code == (12 if name == FIRST else 10)
    assert f"{LACKED} platform.daemon_health" in told.stdout
    assert Verdict.from_json((tmp_path / "again" / "verdict.json").read_bytes()) == judged[name]
    assert LACKED in (tmp_path / "again" / "report.md").read_text()
    assert LACKED in (tmp_path / "again" / "report.html").read_text()
    assert (tmp_path / "again" / "ledger.beancount").stat().st_size > 1_000


def test_its_story_is_told(unpacked: dict[str, Path], judged: dict[str, Verdict]) -> None:
    story = tell(Evidence.open(unpacked[LAST]), judged[LAST])
    assert story.verdict.status is Status.FAIL
    assert story.digest == Evidence.open(unpacked[LAST]).manifest.digest


# --- what is wrong with an old run is told all the same ---------------------------------------------------------------


def test_a_book_that_version_1_had_may_not_be_missing_though_every_hash_is_put_right(first: Path) -> None:
    (first / "books" / "processor.refunds.parquet").unlink()
    reseal(first)
    assert verify.verify(first) == [Problem("books/processor.refunds.parquet", "", "is missing")]
    with pytest.raises(BookDamaged, match="is missing"):
        Evidence.open(first).count("processor.refunds")


def test_a_book_that_the_manifest_names_may_not_be_missing_though_version_1_did_not_promise_it(
    unpacked: dict[str, Path], tmp_path: Path
) -> None:
    run_dir = shutil.copytree(unpacked[LAST], tmp_path / "run")
    (run_dir / "books" / "operator.notebook.parquet").unlink()
    assert Problem("books/operator.notebook.parquet", "", "is missing") in verify.verify(run_dir)
    with pytest.raises(BookDamaged, match="is missing"):
        Evidence.open(run_dir).count("operator.notebook")


def test_receipts_that_were_hashed_as_lines_are_still_bound_by_their_hash(first: Path) -> None:
    def forge(rows: list[dict[str, object]]) -> None:
        rows[4]["reason"] = "because I say so"

    edit_book(first, "platform.ingestion_receipts", forge)
    reseal(first)
    verdict = judge(Evidence.open(first))
    [broken] = next(result for result in verdict.results if result.id == "audit.rows_match_images").broken
    assert "the receipts of ingestion batch 1 are not those that were hashed" in broken.message


def test_scores_that_were_hashed_as_lines_are_still_bound_by_their_hash(first: Path) -> None:
    def forge(rows: list[dict[str, object]]) -> None:
        rows[-1]["strokes"] = 9

    edit_book(first, "provider.publications", forge)
    reseal(first)
    verdict = judge(Evidence.open(first))
    broken = next(result for result in verdict.results if result.id == "settlement.evidence_recomputes").broken
    assert all("was made from other scores than the official ones" in one.message for one in broken)
    assert len(broken) == 2


# --- the contract ----------------------------------------------------------------------------------------------------


def stated(heading: str) -> dict[int, str]:
    """Version -> fingerprint, as the table under `heading` of docs/evidence.md has them."""
    section = CONTRACT.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return {int(version): told for version, told in re.findall(r"^\| (\d+) \| `([0-9a-f]{64})` \|", section, re.M)}


def test_the_schemas_are_those_of_the_versions_that_are_published() -> None:
    told = stated("Versions of the books")
    assert max(told) == VERSION
    actual = {version: fingerprint(version) for version in told}
    assert actual == told, (
        "the books are not those of the version that docs/evidence.md publishes. If that version was released, raise "
        "VERSION in evidence/schemas/versions.py, list there what came with it, and add a row to the table; if not, "
        "put the fingerprint right. A book or column that was published is never changed or taken away."
    )


def test_a_fingerprint_changes_with_whatever_a_reader_relies_on(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(VERSION)
    book = versions.BOOKS["anchor.heads"]
    changes = [
        {"columns": {**book.columns, "note": book.columns["head_hash"]}},
        {"columns": dict(reversed(book.columns.items()))},
        {"columns": {**book.columns, "at": book.columns["n"]}},
        {"key": ("n", "at")},
        {"party": "somebody"},
    ]
    seen = {before}
    for change in changes:
        told = {name: getattr(book, name) for name in ("party", "row", "columns", "key")} | change
        monkeypatch.setitem(versions.BOOKS, "anchor.heads", type(book)(**told))
        versions.books_of.cache_clear()
        seen.add(fingerprint(VERSION))
    monkeypatch.undo()
    versions.books_of.cache_clear()
    assert len(seen) == 1 + len(changes)
    assert fingerprint(VERSION) == before


def test_what_came_with_a_version_is_there_and_no_key_came_late() -> None:
    names = set(BOOKS) | {f"{book}.{column}" for book, schema in BOOKS.items() for column in schema.columns}
    for version, came in versions.CAME_WITH.items():
        assert 1 < version <= VERSION
        assert set(came) <= names
        assert list(came) == sorted(came)
    for book, schema in BOOKS.items():
        assert all(since(f"{book}.{column}") == 1 for column in schema.key)


def test_the_verdict_is_laid_out_as_it_is_published() -> None:
    kinds = (Verdict, Result, Broken, FirstBroken, ActiveFault, NotExercised)
    laid_out = {kind.__name__: ", ".join(f"`{field.name}`" for field in fields(kind)) for kind in kinds}
    section = CONTRACT.read_text().partition("## Versions of verdict.json\n")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| [^|]+ \| ([A-Z]\w+) \| ([^|]+) \|$", section, re.M))
    assert f"Version {VERDICT_VERSION}" in section
    assert told == laid_out, "raise VERSION in assertions/judge.py, read the version before it, and tell of it here"
