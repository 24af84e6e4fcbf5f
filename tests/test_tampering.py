"""Evidence that somebody altered: what shows it, and what shows it only to whoever noted a hash elsewhere.

Alterations come in two kinds: of the files as they lie there, by accident or without the code; and by somebody who has
the code and puts every hash right again (tests/support/tampering.py).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from absence import verifying
from assertions.rederived import rederive
from evidence import manifest, verify
from tests.support.command import ROOT, Ran, SharedRuns, absence
from tests.support.tampering import (
    Rows,
    edit_book,
    edit_journal,
    edit_plan,
    edit_verdict,
    rechain_audit,
    rejudge,
    reseal,
)

KINDS = (
    "manifest.json", "plan.json", "journal.jsonl", "verdict.json", "report.html", "report.md", "junit.xml",
    "trace.json", "ledger.beancount", "log.jsonl", "snapshots.jsonl", "books/platform.audit_log.parquet",
    "books/platform.ledger_postings.parquet", "books/operator.notebook.parquet",
)  # fmt: skip
"""A file of every kind: books with many rows, with few, and with none."""
SOME = ("manifest.json", "plan.json", "journal.jsonl", "verdict.json", "books/platform.ledger_postings.parquet")
"""Those that are read, not only hashed."""
POSITIONS: dict[str, Callable[[int], int]] = {
    "first": lambda _: 0,
    "fourth": lambda _: 3,
    "at a third": lambda size: size // 3,
    "in the middle": lambda size: size // 2,
    "near the end": lambda size: size - min(size, 9),
    "last": lambda size: size - 1,
}


@pytest.fixture
def copy(small_run: Ran, tmp_path: Path) -> Path:
    return shutil.copytree(small_run.path, tmp_path / "copy")


@pytest.fixture(scope="module")
def played_with(small_run: Ran, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that tests leave as it was."""
    return shutil.copytree(small_run.path, tmp_path_factory.mktemp("played") / "with")


def flip(path: Path, place: int, bit: int = 0) -> bytes:
    """Flip one bit of a file; what it held before."""
    before = path.read_bytes()
    content = bytearray(before)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return before


def named(run_dir: Path) -> set[str]:
    return {problem.file for problem in verify.verify(run_dir)}


# --- whatever happens to a file ---------------------------------------------------------------------------------------


def test_the_kinds_of_files_are_all_there(small_run: Ran) -> None:
    found = {"manifest.json", *manifest.files(small_run.path)}
    assert set(KINDS) <= found
    assert {name for name in found if not name.startswith("books/")} <= set(KINDS)


@pytest.mark.parametrize("position", POSITIONS)
def test_a_byte_flipped_in_every_file_names_every_file(played_with: Path, position: str) -> None:
    names = list(manifest.files(played_with))
    assert len(names) > 80
    before = {
        name: flip(played_with / name, POSITIONS[position]((played_with / name).stat().st_size)) for name in names
    }
    found = named(played_with)
    for name, content in before.items():
        (played_with / name).write_bytes(content)
    assert found == set(names)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("name", SOME)
def test_a_byte_flipped_in_one_file_names_that_file(played_with: Path, name: str, position: str) -> None:
    path = played_with / name
    before = flip(path, POSITIONS[position](path.stat().st_size), bit=5)
    found = named(played_with)
    path.write_bytes(before)
    assert name in found
    assert found <= {name, "manifest.json"}


@given(data=st.data())
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_byte_of_any_file_may_be_flipped_and_is_found(played_with: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["manifest.json", *manifest.files(played_with)]))
    path = played_with / name
    size = path.stat().st_size
    before = flip(path, data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, 7)))
    found = named(played_with)
    path.write_bytes(before)
    assert name in found


def test_what_was_played_with_is_whole(played_with: Path) -> None:
    assert verify.verify(played_with) == []


@pytest.mark.parametrize("name", [*SOME, "log.jsonl"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes() + b"\n"),
        lambda path: path.write_bytes(path.read_bytes()[::-1]),
        lambda path: path.unlink(),
    ],
    ids=["a byte short", "half", "empty", "a byte long", "backwards, of the same length", "deleted"],
)
def test_a_file_that_is_not_as_it_was_is_named(played_with: Path, name: str, damage: Callable[[Path], Any]) -> None:
    path = played_with / name
    before = path.read_bytes()
    damage(path)
    found = named(played_with)
    path.write_bytes(before)
    assert name in found


def test_the_command_names_the_file_and_ends_in_30(copy: Path) -> None:
    flip(copy / "books" / "platform.entries.parquet", 100)
    told = absence("verify", copy)
    assert told.exit_code == 30
    assert "  books/platform.entries.parquet" in told.stdout


@pytest.mark.parametrize(
    "name", ["books/later.txt", "notes.txt", "books/platform.entries.parquet.bak", "runbooks/x.md"]
)
def test_a_file_that_was_added_is_named(copy: Path, name: str) -> None:
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("later")
    assert [str(problem) for problem in verify.verify(copy)] == [f"{name}: is not in the manifest"]


@pytest.mark.parametrize(
    ("made", "told"), [("empty", "empty/"), ("books/empty", "books/empty/"), ("one/in/another", "one/")]
)
def test_an_empty_directory_that_was_added_is_named(copy: Path, made: str, told: str) -> None:
    (copy / made).mkdir(parents=True)
    assert [str(problem) for problem in verify.verify(copy)] == [
        f"{told}: is an empty directory that is not in the manifest"
    ]
    assert absence("verify", copy).exit_code == 30


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("books/processor.transfers.parquet", "books/processor.refunds.parquet"),
        ("report.md", "report.html"),
        ("verdict.json", "plan.json"),
        ("books/operator.notebook.parquet", "books/pager.events.parquet"),
    ],
)
def test_two_files_that_were_swapped_are_both_named(copy: Path, one: str, other: str) -> None:
    (copy / one).rename(copy / "aside")
    (copy / other).rename(copy / one)
    (copy / "aside").rename(copy / other)
    assert {one, other} <= named(copy)


@pytest.mark.parametrize("name", SOME)
def test_a_link_in_the_place_of_a_file_is_named_though_it_leads_to_the_same_bytes(
    copy: Path, tmp_path: Path, name: str
) -> None:
    shutil.move(copy / name, tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    assert f"{name}: is not a plain file" in map(str, verify.verify(copy))


def test_a_link_in_the_place_of_the_books_is_named(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / "books", tmp_path / "elsewhere")
    (copy / "books").symlink_to(tmp_path / "elsewhere")
    told = list(map(str, verify.verify(copy)))
    assert "books: is not in the manifest" in told
    assert "books/platform.entries.parquet: is missing" in told


@pytest.mark.parametrize("name", SOME)
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    told = absence("verify", copy)
    assert told.exit_code == 30
    assert f"{name}: is not a plain file" in told.stdout


def test_names_that_no_terminal_should_be_sent_are_escaped(copy: Path) -> None:
    (copy / "a\nb\x1b[2J").write_text("")
    Path(os.fsdecode(os.fsencode(copy) + b"/\xff\xfe")).write_text("")
    told = absence("verify", copy)
    assert told.exit_code == 30
    assert r"a\nb\x1b[2J: is not in the manifest" in told.stdout
    assert r"\udcff\udcfe: is not in the manifest" in told.stdout
    assert len(absence("verify", copy, "--json").json["runs"][0]["problems"]) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 64, b"null", b"[]", b"{}", b'"x"', b"1e999", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe\x00",
        b"PAR1PAR1", b"PAR1" + b"\xff" * 60 + b"PAR1", b'{"name":"\\ud800"}\n', b'{"hash":"\\ud800","prev":1}\n',
        b"9" * 5_000, b'{"version":1,"results":[],"status":[]}',
    ],
)  # fmt: skip
def test_whatever_bytes_stand_there_verify_tells_and_does_not_crash(played_with: Path, content: bytes) -> None:
    for name in ("manifest.json", "plan.json", "journal.jsonl", "verdict.json", "books/platform.entries.parquet"):
        before = (played_with / name).read_bytes()
        (played_with / name).write_bytes(content)
        problems = verifying.check(played_with).problems
        (played_with / name).write_bytes(before)
        assert name in {problem.file for problem in problems}


VALUES: list[Any] = [None, -1, 10**30, 1.5, "", "\ud800", [], {}, [None], {"a": 1}]


@pytest.mark.parametrize("name", ["manifest.json", "verdict.json", "plan.json"])
def test_whatever_value_stands_in_a_field_verify_tells_and_does_not_crash(played_with: Path, name: str) -> None:
    path = played_with / name
    before = path.read_bytes()
    whole = json.loads(before)
    for number, field in enumerate(whole):
        value = VALUES[number % len(VALUES)]
        if whole[field] != value:
            path.write_text(json.dumps({**whole, field: value}, sort_keys=True, indent=1) + "\n")
            assert name in {problem.file for problem in verifying.check(played_with).problems}, (field, value)
    path.write_bytes(before)


@pytest.mark.parametrize("field", ["results", "status", "first_broken", "not_exercised", "version"])
def test_a_verdict_that_is_none_is_told_though_every_hash_is_put_right(small_run: Ran, copy: Path, field: str) -> None:
    code = manifest.Manifest.read(copy / "manifest.json").fingerprints["code"]
    whole = json.loads((copy / "verdict.json").read_bytes())
    for value in VALUES:
        if whole[field] != value:
            (copy / "verdict.json").write_text(json.dumps({**whole, field: value}, sort_keys=True, indent=1) + "\n")
            assert {problem.file for problem in rederive(copy, code).problems} == {"verdict.json"}, value


# --- somebody who puts every hash right -------------------------------------------------------------------------------


def cell(book: str, number: int, column: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def edit(rows: Rows) -> None:
        rows[number][column] = change(rows[number][column])

    return lambda run_dir: edit_book(run_dir, book, edit)


def both_sides(run_dir: Path) -> None:
    def edit(rows: Rows) -> None:
        one, other = [row for row in rows if row["txn_id"] == 4]
        one["amount_cents"], other["amount_cents"] = one["amount_cents"] + 100, other["amount_cents"] - 100

    edit_book(run_dir, "platform.ledger_postings", edit)


def reason_of_an_audit_row(run_dir: Path, anchors: bool | None) -> None:
    """A reason says why and is compared with nothing. `anchors`: None, to leave the chain as it is."""
    cell("platform.audit_log", 9, "reason", lambda _: "I was told to")(run_dir)
    if anchors is not None:
        rechain_audit(run_dir, anchors=anchors)


def customers_name(run_dir: Path) -> None:
    """In the customer's row and in its audit; the chain and the anchors follow."""

    def row(rows: Rows) -> None:
        next(row for row in rows if row["user_id"] == user)["name"] = "Some Body"

    def audit(rows: Rows) -> None:
        image = next(row for row in rows if row["action"] == "users.insert")
        image["after"] = re.sub(r'"name":"[^"]*"', '"name":"Some Body"', image["after"])
        users.append(image["subject"].partition("/")[2])

    users: list[str] = []
    edit_book(run_dir, "platform.audit_log", audit)
    [user] = users
    edit_book(run_dir, "platform.users", row)
    rechain_audit(run_dir, anchors=True)


def journal(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(events: Rows) -> None:
        change(next(event for event in events if event["kind"] == "commit"))

    return lambda run_dir: edit_journal(run_dir, edit)


def all_passes(verdict: dict[str, Any]) -> None:
    for result in verdict["results"]:
        result["broken"], result["status"] = [], "PASS" if result["status"] == "FAIL" else result["status"]
    verdict["first_broken"], verdict["status"] = None, "PASS"


@dataclass(frozen=True)
class Alteration:
    """`named`: what of verdict.json the derived verdict contradicts, none if it is the same. `judged`: the status once
    the verdict was rewritten too. `replayed`: a book, or `event`, at which a replay differs."""

    what: str
    make: Callable[[Path], Any]
    named: str
    judged: str
    replayed: str
    scenario: str = "small"


ALTERATIONS = [
    Alteration("an amount in the ledger", cell("platform.ledger_postings", 5, "amount_cents", lambda cents: cents + 1),
               "ledger.transactions_balance", "FAIL", "platform.ledger_postings"),
    Alteration("both sides of a ledger transaction", both_sides,
               "ledger.reconciles_with_processor", "FAIL", "platform.ledger_postings"),
    Alteration("the amount of a transfer at the processor", cell("processor.transfers", 0, "amount_cents",
               lambda cents: cents + 100), "payouts.right_people_right_amounts", "FAIL", "processor.transfers"),
    Alteration("the account that a transfer went to", cell("processor.transfers", 0, "destination",
               lambda _: "acct_mine"), "payouts.nobody_else_paid", "FAIL", "processor.transfers"),
    Alteration("a score of the platform", cell("platform.hole_scores", 3, "strokes", lambda strokes: strokes + 1),
               "ingestion.scores_equal_official", "FAIL", "platform.hole_scores"),
    Alteration("a score that the provider published", cell("provider.publications", 3, "strokes",
               lambda strokes: strokes + 1), "ingestion.admitted_is_published", "FAIL", "provider.publications"),
    Alteration("who settled a pack", cell("platform.outcome_settlement_log", 0, "settled_by",
               lambda _: "system:settlement:other"), "audit.rows_match_images", "FAIL",
               "platform.outcome_settlement_log"),
    Alteration("an audit row", lambda run_dir: reason_of_an_audit_row(run_dir, None),
               "audit.chain_holds", "FAIL", "platform.audit_log"),
    Alteration("an audit row and the chain after it", lambda run_dir: reason_of_an_audit_row(run_dir, False),
               "audit.head_matches_anchor", "FAIL", "platform.audit_log"),
    Alteration("a payment that came to nothing is left out", lambda run_dir: edit_book(run_dir, "processor.intents",
               lambda rows: [row for row in rows if row["intent_id"] != uncaptured(rows)]),
               "audit.external_effects_are_audited", "PASS", "processor.intents"),
    Alteration("a founder's way in, in the identity provider's book", lambda run_dir: edit_book(run_dir,
               "identity.events", lambda rows: [row for row in rows if not row["principal"].startswith("founder")]),
               "absence.identity", "FAIL", "identity.events", "violation_founder_login"),
    Alteration("the plan", lambda run_dir: edit_plan(run_dir, lambda plan: plan.update(seed=2)),
               "seed", "PASS", "event"),
    Alteration("the verdict: all is well", lambda run_dir: edit_verdict(run_dir, all_passes),
               "absence.identity", "FAIL", "", "violation_founder_login"),
    Alteration("an audit row, the chain, and the heads that were anchored outside",
               lambda run_dir: reason_of_an_audit_row(run_dir, True), "", "PASS", "platform.audit_log"),
    Alteration("a customer's name, with its audit row, the chain and the anchors", customers_name,
               "", "PASS", "platform.users"),
    Alteration("a reason in the identity provider's book", cell("identity.events", 0, "reason", lambda _: "because"),
               "", "PASS", "identity.events"),
    Alteration("what an event of the journal is about", journal(lambda event: event.update(subject="somebody")),
               "", "PASS", "event"),
    Alteration("when an event of the journal was", journal(lambda event: event.update(at=event["at"] + 1)),
               "", "PASS", "event"),
    Alteration("the report", lambda run_dir: (run_dir / "report.html").write_text("PASS"), "", "PASS", ""),
    Alteration("the log", lambda run_dir: (run_dir / "log.jsonl").write_text(""), "", "PASS", ""),
]  # fmt: skip


def uncaptured(rows: Rows) -> str:
    return next(str(row["intent_id"]) for row in rows if row["captured_at"] is None)


@dataclass(frozen=True)
class Altered:
    alteration: Alteration
    sealed: Path
    """Altered, and every hash put right."""
    judged: Path
    """And the verdict rewritten as it follows."""
    anchors: dict[str, str]
    """Of the run before it was altered."""


@pytest.fixture(scope="module", params=ALTERATIONS, ids=lambda alteration: str(alteration.what))
def altered(
    request: pytest.FixtureRequest, runs: SharedRuns, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Altered]:
    alteration: Alteration = request.param
    whole = runs(alteration.scenario).path
    folder = tmp_path_factory.mktemp("altered")
    sealed = shutil.copytree(whole, folder / "sealed")
    alteration.make(sealed)
    reseal(sealed)
    judged = shutil.copytree(sealed, folder / "judged")
    rejudge(judged)
    reseal(judged)
    yield Altered(alteration, sealed, judged, verify.anchors(manifest.Manifest.read(whole / "manifest.json")))
    shutil.rmtree(folder)


def test_no_hash_shows_what_was_altered_and_sealed_again(altered: Altered) -> None:
    assert verify.verify(altered.sealed) == verify.verify(altered.judged) == []


def test_the_verdict_derived_again_names_what_the_evidence_contradicts(altered: Altered) -> None:
    told = absence("verify", altered.sealed)
    if altered.alteration.named:
        assert told.exit_code == 30
        assert f"verdict.json, {altered.alteration.named}: " in told.stdout
    else:
        assert told.exit_code == 0, told.stdout


def test_a_verdict_that_was_rewritten_too_tells_what_was_altered_as_a_broken_promise_if_anything_does(
    altered: Altered,
) -> None:
    assert absence("verify", altered.judged).exit_code == 0
    told = absence("report", altered.judged, "--json").json
    assert told["status"] == altered.alteration.judged
    statuses = {result["id"]: result["status"] for result in told["results"]}
    if altered.alteration.judged == "FAIL" and altered.alteration.scenario == "small":
        assert statuses[altered.alteration.named] == "FAIL"


def test_a_replay_names_the_event_or_the_book_that_is_not_as_it_was(altered: Altered) -> None:
    told = absence("replay", altered.judged)
    where = altered.alteration.replayed
    assert told.exit_code == (30 if where else 0)
    assert ("DIVERGED at event" if where == "event" else f"the book {where} holds other rows" if where else
            "REPRODUCED") in told.stdout  # fmt: skip


def test_a_hash_that_was_noted_elsewhere_shows_every_alteration(altered: Altered) -> None:
    told = absence("verify", altered.sealed, "--anchor", altered.anchors["self"])
    assert told.exit_code == 30
    assert "this is not that run" in told.stdout
    is_as_it_was = verify.anchors(manifest.Manifest.read(altered.judged / "manifest.json")) == altered.anchors
    assert is_as_it_was == altered.alteration.what.startswith("the verdict")
    again = absence("verify", altered.judged, "--anchor", altered.anchors["self"])
    assert again.exit_code == (0 if is_as_it_was else 30)


def test_the_alterations_and_what_shows_them_are_documented() -> None:
    section = (ROOT / "docs" / "evidence.md").read_text().partition("## Who finds what\n")[2].partition("\n## ")[0]
    rows = [[text.strip() for text in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    told = [
        [one.what, f"`{one.named}`" if one.named else "no", one.judged if one.named else "no",
         f"`{one.replayed}`" if "." in one.replayed else one.replayed or "no", "yes"]
        for one in ALTERATIONS
    ]  # fmt: skip
    assert rows[2:] == told


def test_a_book_that_is_not_what_its_hash_says_is_told_with_the_row_if_another_book_knows_it(copy: Path) -> None:
    cell("platform.hole_scores", 3, "strokes", lambda strokes: strokes + 1)(copy)
    told = absence("verify", copy)
    assert told.exit_code == 30
    lines = [line.strip() for line in told.stdout.splitlines()]
    assert lines[1].startswith("books/platform.hole_scores.parquet: hashes to ")
    assert lines[2].startswith("books/platform.hole_scores.parquet, rows: its rows hash to ")
    assert "t1, g001, round 1, hole 4 has 5 strokes" in lines[3]
