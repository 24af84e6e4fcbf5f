"""`absence gate` on a small run: what is proven, what blocks, what is kept of it, and evidence that is not whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support import tampering
from tests.support.command import Ran, absence, process

POLICY = """\
name: mine
title: A small policy
sets:
  small: {scenarios: [small]}
phases:
  first:
    - {id: ends, claim: Every contest ends, source: [a 1], in: [small], assertion: [lifecycle.every_contest_ends]}
    - {id: paid, claim: Somebody is paid, source: [a 2], in: [small],
       rows: [{book: platform.transfers, where: {status: [PAID], reason: null}, each: {amount_cents: {not: 0}}}]}
  second:
    - {id: later, claim: It ran in staging, source: [b 1],
       deferred: {until: 2026-12-31, by: somebody, reason: there is no staging}}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(POLICY)
    return path


def changed(policy: Path, old: str, new: str) -> Path:
    text = policy.read_text()
    assert old in text
    policy.write_text(text.replace(old, new))
    return policy


def gate(run: Path, policy: Path, *arguments: str | Path, today: str = "2026-12-31"):  # type: ignore[no-untyped-def]
    return absence("gate", run, "--policy", policy, "--today", today, *arguments)


@pytest.fixture
def run(small_run: Ran, tmp_path: Path) -> Path:
    """A copy of the small run, alone in its run root."""
    path = tmp_path / "runs" / small_run.path.name
    shutil.copytree(small_run.path, path)
    return path


def test_what_is_proven_closes_and_the_first_line_says_so(run: Path, policy: Path) -> None:
    told = gate(run, policy)
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert lines[0] == "CLOSE: mine, 2 criteria proven, 1 deferred, 0 blocked"
    assert "  first   2       0         0" in lines
    assert "  second  0       1         0" in lines
    assert "      until 2026-12-31, by somebody: there is no staging" in lines
    assert any(line.startswith("  ends: Every contest ends [") for line in lines)


def test_a_deferral_holds_on_its_last_day_and_blocks_on_the_next(run: Path, policy: Path) -> None:
    assert gate(run, policy, today="2026-12-31").exit_code == 0
    told = gate(run, policy, "--json", today="2027-01-01")
    assert told.exit_code == 10
    [blocker] = told.json["blockers"]
    assert (blocker["id"], blocker["phase"]) == ("later", "second")
    assert "there is no staging" in blocker["missing"]


def test_what_is_deferred_and_proven_is_proven(run: Path, policy: Path) -> None:
    changed(policy, "source: [b 1],", "source: [b 1], in: [small], verdict: PASS,")
    told = gate(run, policy, "--json", today="2099-01-01")
    assert told.exit_code == 0
    assert [proof["id"] for proof in told.json["proofs"]] == ["ends", "paid", "later"]
    assert told.json["deferrals"] == []


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ("status: [PAID]", "status: REVERSED", "0 rows of platform.transfers with status = REVERSED, reason null"),
        ("{not: 0}", "{not: [0, null]}", None),
        ("{not: 0}", "0", "do not meet amount_cents = 0"),
        ("each: {amount_cents: {not: 0}}", "at_most: 1", "where there may be 1"),
        ("each: {amount_cents: {not: 0}}", "at_least: 99", "where there have to be 99"),
        ("each: {amount_cents: {not: 0}}", "distinct: contest_id, at_least: 2", "1 values of contest_id of"),
        ("each: {amount_cents: {not: 0}}", "each: {user_id: {holds: user}}", None),
        ("lifecycle.every_contest_ends", "healing.drifts_healed", "healing.drifts_healed is NOT_APPLICABLE"),
        ("[small]}\nphases", "[small, drills]}\nphases", "no run of drills was given"),
        ("{scenarios: [small]}", "{scenarios: [small], fingerprint: staging}", "with the fingerprint staging"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_figures(old: str, new: str, missing: str | None, run: Path, policy: Path) -> None:
    told = gate(run, changed(policy, old, new), "--json")
    assert told.exit_code == (10 if missing else 0)
    assert (missing is None) == (told.json["blockers"] == [])
    assert missing is None or missing in told.json["blockers"][0]["missing"]


def test_a_verdict_that_was_written_over_is_not_believed(run: Path, policy: Path) -> None:
    def stuck(rows: tampering.Rows) -> None:
        rows[0]["status"] = "ERROR"

    tampering.edit_book(run, "platform.contests", stuck)
    tampering.reseal(run)
    assert json.loads((run / "verdict.json").read_text())["status"] == "PASS"
    told = gate(run, policy, "--json")
    assert told.exit_code == 10
    assert [blocker["id"] for blocker in told.json["blockers"]] == ["ends"]
    assert told.json["runs"][0]["verdict"] == "FAIL"
    assert str(run) in told.json["blockers"][0]["where"]


def test_a_run_that_is_not_what_was_written_ends_the_gate_and_file_and_record_are_named(
    run: Path, policy: Path
) -> None:
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[6] = lines[6].replace(b'"actor":"', b'"actor":"not ')
    journal.write_bytes(b"".join(lines))
    told = gate(run, policy)
    assert told.exit_code == 30
    assert f"{run}: journal.jsonl, line 7, event e7:" in told.stderr
    assert told.stdout == ""
    assert not (run.parent / "decisions").exists()


def test_a_directory_without_a_run_is_no_evidence(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = gate(tmp_path / "empty", policy)
    assert told.exit_code == 20
    assert "is not a run directory, and holds none" in told.stderr


def test_runs_are_found_in_a_directory_and_counted_once(run: Path, policy: Path) -> None:
    told = absence("gate", run, run.parent, "--policy", policy, "--today", "2026-12-31", "--json")
    assert [one["name"] for one in told.json["runs"]] == [run.name]


def test_a_decision_is_kept_in_the_run_root_and_names_its_runs(run: Path, policy: Path) -> None:
    told = gate(run, policy, "--json")
    [kept] = (run.parent / "decisions").iterdir()
    assert json.loads(kept.read_text()) == told.json
    assert kept.suffix == ".json"
    [used] = told.json["runs"]
    assert used["name"] == run.name
    assert used["identity"] == json.loads((run / "manifest.json").read_text())["identity"]
    assert told.json["baseline"] is None
    gate(run, policy)
    assert list((run.parent / "decisions").iterdir()) == [kept]


def test_no_record_leaves_nothing_in_the_run_root(run: Path, policy: Path, tmp_path: Path) -> None:
    told = gate(run, policy, "--no-record", "--out", tmp_path / "said")
    assert told.exit_code == 0
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    assert {path.name for path in (tmp_path / "said").iterdir()} == {"decision.json", "decision.md"}
    told_in_full = (tmp_path / "said" / "decision.md").read_text()
    assert told_in_full.startswith("# CLOSE: mine")
    assert "| `later` | It ran in staging | 2026-12-31 | somebody | there is no staging |" in told_in_full


def test_the_same_runs_and_policy_make_the_same_decision_in_another_process(run: Path, policy: Path) -> None:
    here = gate(run, policy, "--json", "--no-record").json
    there = process("gate", run, "--policy", policy, "--today", "2026-12-31", "--json", "--no-record",
                    env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"})  # fmt: skip
    assert (there.exit_code, there.json) == (0, here)


def test_runs_of_different_code_are_a_blocker_unless_the_policy_says_otherwise(
    run: Path, policy: Path, tmp_path: Path
) -> None:
    other = tmp_path / "runs" / "other"
    shutil.copytree(run, other)
    tampering.reseal(other, name="other", fingerprints={"code": "c0de" * 16})
    told = absence("gate", run.parent, "--policy", policy, "--today", "2026-12-31", "--json", "--no-record")
    assert told.exit_code == 10
    assert [(one["id"], one["phase"]) for one in told.json["blockers"]] == [("same_code", "all")]
    changed(policy, "title:", "same_code: false\ntitle:")
    assert absence("gate", run.parent, "--policy", policy, "--today", "2026-12-31", "--no-record").exit_code == 0


def test_help_has_examples() -> None:
    told = absence("gate", "--help")
    assert "absence gate closing --policy mine.yaml --today 2026-12-31 --json" in told.stdout
