"""`absence verify`: what it calls corrupt and what it calls news, of one run or many, with hashes noted elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from absence import verifying
from assertions import rederived
from assertions.judge import discover
from assertions.model import REGISTRY, Finding, Status, merge
from evidence import manifest
from evidence.manifest import Manifest
from evidence.run import Evidence
from tests.support.command import Ran, SharedRuns, absence
from tests.support.tampering import Rows, edit_book, edit_verdict, reseal

OTHER_CODE = "0" * 64
NAMES = ("self", "identity", "digest", "journal_head")


@pytest.fixture
def copy(small_run: Ran, tmp_path: Path) -> Path:
    return shutil.copytree(small_run.path, tmp_path / "copy")


@pytest.fixture
def by_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the code had changed since the runs."""
    monkeypatch.setattr("absence.fingerprint.code_fingerprint", lambda: OTHER_CODE)


@pytest.fixture
def stricter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if one assertion had been made stricter, so that it fails, and another were new."""
    discover()
    known = REGISTRY["payouts.exactly_once"]

    def too_strict(evidence: Evidence) -> Finding:
        found = known.check(evidence)
        found.breaks("somebody was paid on a Tuesday", "transfers/1")
        return found

    monkeypatch.setitem(REGISTRY, known.id, type(known)(known.id, known.family, known.claim, known.kind, too_strict))
    fresh = type(known)("payouts.not_on_sundays", "payouts", "Nobody is paid on a Sunday", "always",
                        lambda _: Finding("transfers", 1, 1))  # fmt: skip
    monkeypatch.setitem(REGISTRY, fresh.id, fresh)


def result_of(verdict: dict[str, Any], id: str) -> dict[str, Any]:
    return next(result for result in verdict["results"] if result["id"] == id)


# --- a run that is whole ----------------------------------------------------------------------------------------------


def test_a_run_that_is_whole_verifies_and_tells_its_anchor(small_run: Ran) -> None:
    told = absence("verify", small_run.path)
    assert told.exit_code == 0
    first, second = told.stdout.splitlines()
    assert first.endswith("every book are as written, and the verdict follows from them.")
    assert second == f"  anchor: {small_run.path.name} {Evidence.open(small_run.path).manifest.self_sha256}"


def test_as_json_it_tells_of_every_run_what_was_found(small_run: Ran, copy: Path) -> None:
    (copy / "report.md").write_text("")
    told = absence("verify", small_run.path, copy, "--json")
    assert told.exit_code == 30
    stated = Evidence.open(small_run.path).manifest
    assert told.json["verified"] is False
    assert told.json["runs"][0] == {
        "run": str(small_run.path),
        "verified": True,
        "problems": [],
        "news": [],
        "anchors": {
            "self": stated.self_sha256,
            "identity": stated.identity,
            "digest": stated.digest,
            "journal_head": stated.journal_head,
        },
    }
    damaged = told.json["runs"][1]
    [problem] = damaged["problems"]
    assert (damaged["run"], damaged["verified"], problem["file"], problem["where"]) == (
        str(copy), False, "report.md", "",
    )  # fmt: skip
    assert problem["message"].startswith("hashes to ")


def test_a_run_without_a_manifest_is_told_without_anchors(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    told = absence("verify", copy, "--json")
    assert told.exit_code == 30
    assert told.json["runs"][0]["anchors"] == {}
    assert told.json["runs"][0]["problems"] == [{"file": "manifest.json", "where": "", "message": "is missing"}]


def test_several_runs_are_verified_at_once_and_counted(small_run: Ran, copy: Path) -> None:
    (copy / "journal.jsonl").write_bytes((copy / "journal.jsonl").read_bytes()[:-1])
    told = absence("verify", small_run.path, copy)
    assert told.exit_code == 30
    lines = told.stdout.splitlines()
    assert lines[0].startswith(f"{small_run.path} verifies")
    assert f"{copy} does not verify:" in lines
    assert any("event e" in line for line in lines)
    assert lines[-1] == "2 runs: 1 verify, 1 do not."


def test_none_of_several_runs_is_verified_where_one_is_no_run(small_run: Ran, tmp_path: Path) -> None:
    told = absence("verify", small_run.path, tmp_path)
    assert (told.exit_code, told.stdout) == (20, "")
    assert f"{tmp_path} is not a run directory" in told.stderr


def test_progress_is_told_run_by_run(small_run: Ran, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, Any]] = []
    monkeypatch.setattr("absence.progress.Bar.say", lambda _, what: said.append(("say", what)))
    monkeypatch.setattr("absence.progress.Bar.day", lambda _, done, days: said.append(("done", (done, days))))
    assert absence("verify", small_run.path, copy).exit_code == 0
    assert said == [
        ("say", f"verifying {small_run.path.name}"), ("done", (0, 2)), ("say", "verifying copy"), ("done", (1, 2)),
    ]  # fmt: skip


def test_nothing_to_verify_is_wrong_usage() -> None:
    assert absence("verify").exit_code == 2


# --- the verdict ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda verdict: verdict.update(status="INCONCLUSIVE"),
         ["status: says INCONCLUSIVE, its results merge to PASS"]),
        (lambda verdict: verdict.update(seed=5), ["seed: says 5, the plan makes 1"]),
        (lambda verdict: verdict.update(scenario="other"), ["scenario: says other, the plan makes small"]),
        (lambda verdict: verdict.update(plan_sha256="0"), ["plan_sha256: says 0, the plan makes "]),
        (lambda verdict: result_of(verdict, "audit.chain_holds").update(status="FAIL"),
         ["audit.chain_holds: says FAIL, by its own findings it is PASS",
          "status: says PASS, its results merge to FAIL"]),
        (lambda verdict: result_of(verdict, "audit.chain_holds").update(
            broken=[{"message": "m", "subject": "s", "at": None, "money_cents": 0}]),
         ["audit.chain_holds: says PASS, by its own findings it is FAIL", "first_broken: is not among"]),
        (lambda verdict: result_of(verdict, "audit.chain_holds").update(saw=0),
         ["audit.chain_holds: says PASS, by its own findings it is INCONCLUSIVE"]),
        (lambda verdict: verdict.update(first_broken={
            "assertion": "audit.chain_holds", "claim": "", "message": "m", "subject": "s", "at": None,
            "money_cents": 0, "active_faults": []}),
         ["first_broken: is not among the broken promises of its results"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("code", ["the same", "other"])
def test_a_verdict_that_contradicts_itself_is_corrupt_whoever_judged(
    copy: Path, edit: Callable[[dict[str, Any]], None], told: list[str], code: str
) -> None:
    judged_by = Evidence.open(copy).manifest.fingerprints["code"]
    edit_verdict(copy, edit)
    reseal(copy)
    found = list(map(str, rederived.rederive(copy, judged_by if code == "the same" else OTHER_CODE).problems))
    for what in told:
        assert any(problem.startswith(f"verdict.json, {what}") for problem in found), found


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda verdict: result_of(verdict, "audit.chain_holds").update(saw=5_000),
         "audit.chain_holds: says PASS, saw: 5000; the evidence makes "),
        (lambda verdict: result_of(verdict, "audit.chain_holds").update(claim="Nothing"),
         "audit.chain_holds: says PASS, claim: Nothing; the evidence makes The audit log runs from 1"),
        (lambda verdict: verdict["results"].remove(result_of(verdict, "audit.chain_holds")),
         "audit.chain_holds: says nothing of it, the evidence makes PASS"),
        (lambda verdict: verdict["results"].append({**result_of(verdict, "audit.chain_holds"), "id": "audit.is_fine"}),
         "audit.is_fine: says PASS, and there is no such assertion"),
        (lambda verdict: verdict["results"].reverse(), "results: says "),
        (lambda verdict: verdict["not_exercised"].append({"assertion": "audit.chain_holds", "what": "nothing"}),
         "not_exercised: says "),
    ],
)  # fmt: skip
def test_a_verdict_that_its_own_assertions_do_not_come_to_is_corrupt_and_that_of_others_is_not(
    copy: Path, edit: Callable[[dict[str, Any]], None], told: str
) -> None:
    judged_by = Evidence.open(copy).manifest.fingerprints["code"]
    edit_verdict(copy, edit)
    reseal(copy)
    [problem] = rederived.rederive(copy, judged_by).problems
    assert str(problem).startswith(f"verdict.json, {told}")
    assert rederived.rederive(copy, OTHER_CODE).problems == []


def test_a_result_that_was_made_a_pass_is_told_with_what_broke(runs: SharedRuns, tmp_path: Path) -> None:
    run_dir = shutil.copytree(runs("violation_founder_login").path, tmp_path / "run")

    def pass_it(verdict: dict[str, Any]) -> None:
        result_of(verdict, "absence.identity").update(status="PASS", broken=[])
        verdict["status"] = merge([Status(result["status"]) for result in verdict["results"]]).value
        verdict["first_broken"] = verdict["first_broken"] if verdict["status"] == "FAIL" else None

    edit_verdict(run_dir, pass_it)
    reseal(run_dir)
    told = absence("verify", run_dir)
    assert told.exit_code == 30
    assert "  verdict.json, absence.identity: says PASS, the evidence makes FAIL (founder:" in told.stdout


def test_a_verdict_laid_out_otherwise_is_corrupt(copy: Path) -> None:
    whole = json.loads((copy / "verdict.json").read_bytes())
    (copy / "verdict.json").write_text(json.dumps(whole))
    reseal(copy)
    told = absence("verify", copy)
    assert told.exit_code == 30
    assert "  verdict.json: is no verdict: it is not laid out as it was written" in told.stdout


def test_a_verdict_that_is_gone_is_corrupt_though_the_manifest_does_not_name_it(copy: Path) -> None:
    (copy / "verdict.json").unlink()
    reseal(copy)
    told = absence("verify", copy)
    assert told.exit_code == 30
    assert "  verdict.json: is no verdict: it is missing" in told.stdout


# --- judged by other code ---------------------------------------------------------------------------------------------


def test_a_run_that_other_code_judged_verifies_and_says_so(small_run: Ran, by_other_code: None) -> None:
    told = absence("verify", small_run.path)
    judged_by = Evidence.open(small_run.path).manifest.fingerprints["code"]
    assert told.exit_code == 0
    assert "the verdict follows" not in told.stdout
    assert told.stdout.splitlines()[2:] == [
        f"  news, no corruption: verdict.json: was judged by other assertions (code {judged_by[:12]}…, this is "
        f"{OTHER_CODE[:12]}…)"
    ]


def test_what_stricter_assertions_say_of_it_is_news_and_no_corruption(
    small_run: Ran, by_other_code: None, stricter: None
) -> None:
    told = absence("verify", small_run.path, "--json")
    assert told.exit_code == 0
    [run] = told.json["runs"]
    assert run["verified"] is True
    assert [(news["where"], news["message"]) for news in run["news"][1:]] == [
        ("payouts.exactly_once", "was PASS, is FAIL (somebody was paid on a Tuesday) today"),
        ("", "says nothing of 1 assertions that there are today: 1 PASS"),
        ("status", "was PASS, is FAIL today"),
    ]


def test_an_assertion_that_is_gone_since_is_news(
    small_run: Ran, by_other_code: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    discover()
    monkeypatch.delitem(REGISTRY, "payouts.exactly_once")
    [_, gone] = verifying.check(small_run.path).news
    assert gone.message == "speaks of assertions that there are no more: payouts.exactly_once"


def test_the_same_difference_by_the_same_code_is_corruption(small_run: Ran, stricter: None) -> None:
    found = verifying.check(small_run.path)
    assert [problem.where for problem in found.problems] == ["payouts.exactly_once", "payouts.not_on_sundays"]
    assert found.news == []


def test_the_books_of_a_run_that_other_code_judged_must_be_whole_all_the_same(copy: Path, by_other_code: None) -> None:
    def another_score(rows: Rows) -> None:
        rows[3]["strokes"] += 1

    edit_book(copy, "platform.hole_scores", another_score)
    told = absence("verify", copy)
    assert told.exit_code == 30
    assert "  books/platform.hole_scores.parquet, rows: its rows hash to " in told.stdout
    assert "  news, no corruption: verdict.json, ingestion.scores_equal_official: was PASS, is FAIL (" in told.stdout


# --- hashes that were noted elsewhere ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_any_of_its_hashes_is_an_anchor_of_a_run(small_run: Ran, name: str) -> None:
    anchors = verifying.check(small_run.path).anchors
    assert list(anchors) == list(NAMES)
    assert absence("verify", small_run.path, "--anchor", anchors[name]).exit_code == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_hash_of_another_run_is_no_anchor(small_run: Ran, runs: SharedRuns, name: str) -> None:
    other = verifying.check(runs("small", "--seed", "2").path).anchors[name]
    told = absence("verify", small_run.path, "--anchor", other)
    assert told.exit_code == 30
    assert f"manifest.json: the anchor {other[:12]}… is none of self, identity, digest, journal_head" in told.stdout


def test_anchors_of_many_runs_stand_in_a_file_as_verify_prints_them(
    small_run: Ran, runs: SharedRuns, tmp_path: Path
) -> None:
    other = runs("small", "--seed", "2").path
    printed = absence("verify", small_run.path, other).stdout.splitlines()
    noted = tmp_path / "anchors.txt"
    noted.write_text("# of Tuesday\n\n" + "\n".join(line for line in printed if "anchor:" in line) + "\n")
    assert absence("verify", small_run.path, other, "--anchor-file", noted).exit_code == 0
    assert absence("verify", f"{other}/", "--anchor-file", noted).exit_code == 0


def test_a_run_that_was_replaced_by_another_under_its_name_is_found(
    small_run: Ran, runs: SharedRuns, tmp_path: Path
) -> None:
    noted = tmp_path / "anchors.txt"
    noted.write_text(f"{small_run.path.name} {Evidence.open(small_run.path).manifest.identity}\n")
    replaced = shutil.copytree(runs("small", "--seed", "2").path, tmp_path / small_run.path.name)
    told = absence("verify", replaced, "--anchor-file", noted)
    assert told.exit_code == 30
    assert "this is not that run" in told.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "notes no anchor of copy"),
        ("other " + "0" * 64, "notes no anchor of copy"),
        ("# ours\ncopy 123", "anchors.txt:2: expected NAME HASH, got 'copy 123'"),
        ("copy", "anchors.txt:1: expected NAME HASH, got 'copy'"),
        ("copy " + "0" * 64 + "\ncopy " + "1" * 64, "anchors.txt:2: another anchor of copy"),
        ("\x00\xff", "anchors.txt:1: expected NAME HASH"),
    ],
)
def test_a_file_that_does_not_say_what_the_run_was_is_wrong_usage(copy: Path, content: str, said: str) -> None:
    noted = copy.parent / "anchors.txt"
    noted.write_text(content)
    told = absence("verify", copy, "--anchor-file", noted)
    assert told.exit_code == 2
    assert said in " ".join(told.stderr.split())


def test_one_anchor_is_of_one_run(small_run: Ran, copy: Path) -> None:
    anchor = manifest.Manifest.read(copy / "manifest.json").identity
    for arguments in ([small_run.path, copy], [copy, "--anchor-file", copy / "plan.json"]):
        told = absence("verify", *arguments, "--anchor", anchor)
        assert told.exit_code == 2
        assert "--anchor is of one run" in told.stderr
    told = absence("verify", copy, "--anchor", anchor[:12])
    assert told.exit_code == 2
    assert "an anchor is a SHA-256 in hex, 64 digits" in told.stderr


def test_a_fingerprint_changed_to_turn_corruption_into_news_is_shown_by_the_anchor(
    runs: SharedRuns, tmp_path: Path
) -> None:
    """The limit of judging again: who pretends that other code judged is not contradicted by it."""
    run_dir = shutil.copytree(runs("violation_founder_login").path, tmp_path / "run")
    stated = Manifest.read(run_dir / "manifest.json")

    def all_passes(verdict: dict[str, Any]) -> None:
        for result in verdict["results"]:
            result["broken"], result["status"] = [], "PASS" if result["status"] == "FAIL" else result["status"]
        verdict["first_broken"], verdict["status"] = None, "PASS"

    edit_verdict(run_dir, all_passes)
    reseal(run_dir, fingerprints={"code": OTHER_CODE})
    told = absence("verify", run_dir)
    assert told.exit_code == 0
    assert "news, no corruption: verdict.json, status: was PASS, is FAIL today" in told.stdout
    assert absence("verify", run_dir, "--anchor", stated.identity).exit_code == 30
    assert absence("report", run_dir).exit_code == 10


# --- before it is judged ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plan.json", "journal.jsonl", "manifest.json", "books/anchor.heads.parquet"])
def test_evidence_that_is_damaged_is_not_reported_on(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:-2])
    told = absence("report", copy, "--json")
    assert told.exit_code == 30
    assert name in {problem["file"] for problem in told.json["runs"][0]["problems"]}


def test_a_damaged_report_does_not_keep_the_evidence_from_being_reported_on(copy: Path) -> None:
    (copy / "report.html").write_text("")
    assert absence("report", copy).exit_code == 0
    assert absence("verify", copy).exit_code == 30
