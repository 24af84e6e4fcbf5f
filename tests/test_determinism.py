"""One plan, one journal, whatever the process; and whoever alters either is found out, at the event he altered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import pytest

from contest_platform.store import sqlite
from evidence.manifest import Manifest
from evidence.plan import Plan
from simulator import opening
from tests.support.command import Ran, SharedRuns, Told, absence, start

ENVIRONMENTS = (
    {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8"},
    {"PYTHONHASHSEED": "4000000000", "TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "PYTHONUTF8": "0"},
)
ALTERED = 97
"""The event that the tests of this file alter."""


def manifest(run_dir: Path) -> Manifest:
    return Manifest.read(run_dir / "manifest.json")


# --- one plan, one journal ------------------------------------------------------------------------------------------


def test_processes_with_other_hashes_time_zones_and_locales_write_the_same_run(
    default_run: Ran, tmp_path: Path
) -> None:
    places = [tmp_path / f"process-{number}" for number in range(len(ENVIRONMENTS))]
    started = []
    for place, environment in zip(places, ENVIRONMENTS, strict=True):
        place.mkdir()
        started.append(start("run", "--out", "out", "--json", env=environment, cwd=place))
    for process in started:
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stdout + stderr
        assert json.loads(stdout)["digest"] == manifest(default_run.path).digest
    for place in places:
        [run_dir] = (place / "out").iterdir()
        for name in ("plan.json", "journal.jsonl", "verdict.json"):
            assert (run_dir / name).read_bytes() == (default_run.path / name).read_bytes(), name
        assert manifest(run_dir).books == manifest(default_run.path).books
        assert manifest(run_dir).identity == manifest(default_run.path).identity


def test_the_digest_is_that_of_plan_and_journal(default_run: Ran) -> None:
    content = (default_run.path / "plan.json").read_bytes() + (default_run.path / "journal.jsonl").read_bytes()
    assert sha256(content).hexdigest() == manifest(default_run.path).digest


def test_another_seed_is_another_run(small_run: Ran, runs: SharedRuns) -> None:
    other = runs("small", "--seed", "2")
    assert other.exit_code == 0
    one, two = manifest(small_run.path), manifest(other.path)
    assert one.digest != two.digest
    assert one.plan_sha256 != two.plan_sha256
    changed = {name for name in one.books if one.books[name].sha256 != two.books[name].sha256}
    assert {"processor.intents", "provider.publications", "platform.hole_scores"} <= changed


def test_a_replay_confirms_the_default_run(default_run: Ran) -> None:
    told = absence("replay", default_run.path)
    assert told.exit_code == 0
    assert told.stdout.startswith("REPRODUCED")
    assert manifest(default_run.path).digest in told.stdout


def test_a_run_too_large_for_memory_goes_the_same_way(small_run: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk = []

    def connect(directory: Path) -> apsw.Connection:
        connection = connect_unnamed(directory)
        connection.execute("pragma cache_size = 10")
        on_disk.append(connection)
        return connection

    connect_unnamed = sqlite.connect_unnamed
    monkeypatch.setattr(sqlite, "connect_unnamed", connect)
    monkeypatch.setattr(opening, "ENTRIES_IN_MEMORY_MAX", 0)
    assert absence("replay", small_run.path).stdout.startswith("REPRODUCED")
    assert len(on_disk) == 1


def test_a_replay_as_json_says_what_agreed(small_run: Ran) -> None:
    told = absence("replay", small_run.path, "--json")
    assert told.exit_code == 0
    events = len((small_run.path / "journal.jsonl").read_bytes().splitlines())
    assert told.json == {
        "reproduced": True,
        "digest": manifest(small_run.path).digest,
        "events": events,
        "snapshots": len((small_run.path / "snapshots.jsonl").read_bytes().splitlines()),
        "same_code": True,
        "differing_books": [],
    }


def test_the_plan_on_disk_is_canonical(small_run: Ran) -> None:
    """A plan that is read and written again keeps its hash: the capsule needs no generator."""
    raw = (small_run.path / "plan.json").read_bytes()
    assert Plan.model_validate_json(raw).canonical() == raw


# --- altered evidence -----------------------------------------------------------------------------------------------


@pytest.fixture
def copy(small_run: Ran, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run.path, tmp_path / "copy"))


def rewrite(run_dir: Path, number: int, change: Callable[[dict[str, Any]], None], rechain: bool = False) -> None:
    """Change event `number` of the journal; with `rechain`, hash it and all events after it again."""
    path = run_dir / "journal.jsonl"
    lines = path.read_text().splitlines()
    prev = json.loads(lines[number - 2])["hash"]
    for place in range(number - 1, len(lines) if rechain else number):
        event = json.loads(lines[place])
        hashed = event.pop("hash")
        if place == number - 1:
            change(event)
        if rechain:
            event["prev"] = prev
            hashed = sha256(canonical(event).encode()).hexdigest()
        lines[place] = f'{canonical(event)[:-1]},"hash":"{hashed}"}}'
        prev = hashed
    path.write_text("\n".join(lines) + "\n")


def canonical(event: dict[str, Any]) -> str:
    return json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def a_second_later(event: dict[str, Any]) -> None:
    event["at"] += 1_000


def another_actor(event: dict[str, Any]) -> None:
    event["actor"] = "founder:nobody"


def assert_named(told: Told, what: str) -> None:
    assert told.exit_code == 30, told.stdout + told.stderr
    assert what in told.stdout + told.stderr


def test_a_journal_rewritten_as_it_was_still_verifies(copy: Path) -> None:
    """The alterations below differ from what was written in nothing but what they mean to alter."""
    before = (copy / "journal.jsonl").read_bytes()
    rewrite(copy, ALTERED, lambda _: None, rechain=True)
    assert (copy / "journal.jsonl").read_bytes() == before
    assert absence("verify", copy).exit_code == 0


@pytest.mark.parametrize("change", [a_second_later, another_actor])
def test_an_altered_event_is_named_by_verify_and_by_replay(
    copy: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    rewrite(copy, ALTERED, change)
    assert_named(absence("verify", copy), f"event e{ALTERED}")
    assert_named(absence("replay", copy), f"event e{ALTERED}")


def test_an_event_that_a_process_of_the_platform_wrote_is_named_too(copy: Path) -> None:
    """The difference is found while that process runs, which must not take it for a failure of its own."""
    events = [json.loads(line) for line in (copy / "journal.jsonl").read_text().splitlines()]
    commits = [event for event in events if event["kind"] == "commit" and event["actor"] == "system:ingestion"]
    number = int(commits[len(commits) // 2]["id"][1:])
    rewrite(copy, number, a_second_later, rechain=True)
    told = absence("replay", copy)
    assert_named(told, f"event e{number}")
    assert "at: recorded" in told.stdout


def test_an_altered_event_is_found_though_every_hash_after_it_was_made_anew(copy: Path) -> None:
    rewrite(copy, ALTERED, a_second_later, rechain=True)
    told = absence("verify", copy)
    assert told.exit_code == 30
    assert "journal.jsonl" in told.stdout
    replayed = absence("replay", copy)
    assert_named(replayed, f"event e{ALTERED}")
    assert "at: recorded" in replayed.stdout


def test_the_replay_as_json_names_the_event_too(copy: Path) -> None:
    rewrite(copy, ALTERED, another_actor)
    told = absence("replay", copy, "--json")
    assert told.exit_code == 30
    assert told.json["reproduced"] is False
    assert told.json["event"] == f"e{ALTERED}"
    assert "actor: recorded 'founder:nobody'" in told.json["difference"]


def test_a_journal_cut_short_is_named_at_the_first_event_that_is_missing(copy: Path) -> None:
    path = copy / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]))
    first_missing = f"event e{len(lines) - 2}"
    assert_named(absence("verify", copy), first_missing)
    assert_named(absence("replay", copy), first_missing)


def test_a_journal_with_an_event_too_many_is_found(copy: Path) -> None:
    path = copy / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[-1]]))
    added = f"event e{len(lines) + 1}"
    assert_named(absence("verify", copy), added)
    assert_named(absence("replay", copy), added)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"seed":1', '"seed":2'), ('"fee_cents":1000', '"fee_cents":1001'), ('"version":1', '"version":"x"')],
)
def test_an_altered_plan_is_named(copy: Path, old: str, new: str) -> None:
    path = copy / "plan.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert_named(absence("verify", copy), "plan.json")
    assert_named(absence("replay", copy), "plan.json")


def test_an_altered_book_is_named(copy: Path) -> None:
    (copy / "books" / "processor.transfers.parquet").write_bytes(
        (copy / "books" / "processor.refunds.parquet").read_bytes()
    )
    assert_named(absence("verify", copy), "processor.transfers")


def test_evidence_that_does_not_verify_is_not_judged(copy: Path) -> None:
    rewrite(copy, ALTERED, a_second_later)
    told = absence("report", copy)
    assert_named(told, f"event e{ALTERED}")
    assert "PASS" not in told.stdout


def test_an_anchor_kept_elsewhere_finds_a_run_that_was_replaced(small_run: Ran, runs: SharedRuns) -> None:
    digest = manifest(small_run.path).digest
    assert absence("verify", small_run.path, "--anchor", digest).exit_code == 0
    other = runs("small", "--seed", "2")
    assert_named(absence("verify", other.path, "--anchor", digest, "--no-freeze"), digest[:12])
