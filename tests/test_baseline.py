"""A candidate is held against a baseline: what changed for the worse is a blocker, its own, and nothing else is."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from closure.decision import Decision, Figure
from closure.rails import DEFAULT
from tests.support.candidates import candidate, replaced, slower, small_on_call, with_log, with_row, without
from tests.support.command import Ran, SharedRuns, absence, run_into
from tests.support.tampering import Rows, edit_book, edit_journal, edit_plan, edit_verdict, reseal

T0 = 1_780_358_400_000  # the first instant of the run
RULE, NEXT_RULE = "      - alert: IngestionNothingNew", "      # Source: score_audit_mismatches"


@pytest.fixture(scope="session")
def base(runs: SharedRuns, shared: Path) -> Ran:
    return small_on_call(runs, shared)


def scored(run: Path, baseline: Path, *options: str | Path) -> tuple[int, Decision]:
    told = absence("score", run, "--baseline", baseline, "--json", *options)
    assert told.stdout.startswith("{"), told.stderr
    return told.exit_code, Decision.from_json(told.stdout)


def blockers(decision: Decision) -> dict[str, str]:
    return {one.id: one.missing for one in decision.blockers}


def one_more_event(run: Path) -> None:
    def append(events: Rows) -> None:
        events.insert(-1, {**events[-2], "actor": "harness", "kind": "harness.noted", "data": {}})

    edit_journal(run, append)


def rails(folder: Path, *changes: tuple[str, str]) -> Path:
    """The shipped rails with some of their text replaced."""
    text = DEFAULT.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "rails.yaml"
    path.write_text(text)
    return path


# --- equal runs ------------------------------------------------------------------------------------------------------


def test_two_runs_of_one_plan_have_no_blocker_whatever_the_machine_was_doing(small_run: Ran, tmp_path: Path) -> None:
    for number in range(3):
        again = run_into(tmp_path / str(number), "small")
        assert again.path != small_run.path
        code, decision = scored(again.path, small_run.path)
        assert (code, decision.outcome.value, blockers(decision)) == (0, "UNLOCK", {})
        timed = {figure.id for figure in decision.figures if figure.id.startswith("runtime.")}
        assert {"runtime.simulate", "runtime.judge", "runtime.simulate/ingestion"} <= timed
        assert all(figure.holds for figure in decision.figures)


def test_a_run_is_not_its_own_baseline(base: Ran) -> None:
    told = absence("score", base.path, "--baseline", base.path)
    assert told.exit_code == 20
    assert "one and the same directory" in told.stderr


# --- each thing that changed for the worse is one blocker, its own ---------------------------------------------------

CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a changed counter": (one_more_event, "unchanged.events"),
    "a new warning": (
        with_row("anchor.refusals", n=1, at=T0 + 10**7, head_seq=3, status=503),
        "must_not_grow.heads_refused",
    ),
    "a refused connection": (
        with_row("database.refusals", n=1, at=T0 + 10**7, principal="app", role="app", reason="too many"),
        "must_not_grow.connections_refused",
    ),
    "an alert rule that is gone": (
        without("alerts/ingestion.yml", RULE, "      - alert: IngestionQuarantine"),
        "relaxed.alert.ingestion.IngestionNothingNew",
    ),
    "an alert rule with another threshold": (
        replaced("alerts/ingestion.yml", "timestamp_seconds > 9000", "timestamp_seconds > 90000"),
        "relaxed.alert.ingestion.IngestionNothingNew",
    ),
    "an alert rule that escalates to nobody": (
        replaced("alerts/ingestion.yml", "escalate: ops_and_engineering", "escalate: nobody"),
        "relaxed.alert.ingestion.ScoreDiscrepancy",
    ),
    "a runbook that is gone": (
        lambda run: (run / "runbooks" / "backup_too_old.md").unlink(),
        "relaxed.runbook.backup_too_old",
    ),
    "a runbook that expects less": (
        replaced("runbooks/backup_too_old.md", "   glob: answers=yes *\n", ""),
        "relaxed.runbook.backup_too_old.Diagnosis/2",
    ),
    "a runbook with a branch less": (
        replaced("runbooks/backup_too_old.md", "   - if exit 3 → step 2\n", ""),
        "relaxed.runbook.backup_too_old.Recovery/1",
    ),
    "a slower phase": (slower("judge", 60), "runtime.judge"),
    "a slower lane": (slower("simulate", 60, "ingestion"), "runtime.simulate/ingestion"),
    "a phase that was not timed": (
        with_log(lambda line: line.update(stage="?") if line["phase"] == "judge" else None),
        "runtime.judge",
    ),
    "a phase that ended in another code": (
        with_log(lambda line: line.update(rc=50) if line["phase"] == "report" and "rc" in line else None),
        "must_not_grow.phases_failed",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_for_the_worse_is_a_blocker_and_the_only_one(what: str, base: Ran, tmp_path: Path) -> None:
    edit, blocker = CHANGES[what]
    code, decision = scored(candidate(base.path, tmp_path, edit), base.path)
    assert (code, decision.outcome.value) == (10, "HOLD_REOPEN")
    assert list(blockers(decision)) == [blocker]
    assert next(figure.id for figure in decision.figures if not figure.holds).startswith(blocker)


@pytest.mark.parametrize(
    ("what", "still"),
    [
        ("a changed counter", True),
        ("a new warning", False),
        ("an alert rule that is gone", False),
        ("an alert rule with another threshold", True),
        ("a runbook that is gone", False),
        ("a slower phase", False),
    ],
)
def test_the_same_the_other_way_round_is_no_relaxation_and_no_new_warning(
    what: str, still: bool, base: Ran, tmp_path: Path
) -> None:
    """What is quicker, warns less, or has one rule more than its baseline is not held; a count that has to be the same
    has to be so both ways, and a rule that reads otherwise was changed."""
    edit, blocker = CHANGES[what]
    _, decision = scored(base.path, candidate(base.path, tmp_path, edit))
    assert list(blockers(decision)) == ([blocker] if still else [])


def test_what_is_missing_is_told_with_both_figures(base: Ran, tmp_path: Path) -> None:
    edits = (one_more_event, CHANGES["an alert rule with another threshold"][0], slower("judge", 60))
    told = absence("score", candidate(base.path, tmp_path, *edits), "--baseline", base.path)
    assert told.exit_code == 10
    assert "harness.noted 0 → 1" in told.stdout
    assert re.search(r"was expr .* > 9000; now expr .* > 90000", told.stdout)
    assert re.search(r"runtime\.judge\n +\d\.\d+ → 6\d\.\d+; at most", told.stdout)
    assert told.stdout.startswith("HOLD_REOPEN: ")


# --- ingestion -------------------------------------------------------------------------------------------------------


def test_a_window_of_duplicates_only_is_a_blocker_of_its_own(base: Ran, tmp_path: Path) -> None:
    """At the end of a tournament its whole board is sent once more: that midnight holds nothing else."""
    midnight = rails(tmp_path, ("admission:\n", "admission:\n  from_day: 6.5\n  until_day: 7.5\n"))
    again = candidate(base.path, tmp_path)
    code, decision = scored(again, base.path, "--rails", midnight)
    assert (code, list(blockers(decision))) == (10, ["admission.duplicates_only"])
    assert "DUPLICATE 1070" in blockers(decision)["admission.duplicates_only"]
    before = rails(tmp_path, ("admission:\n", "admission:\n  until_day: 6.5\n"))
    assert scored(again, base.path, "--rails", before)[0] == 0


def test_a_run_that_admitted_nothing_is_told_once_for_its_receipts(base: Ran, tmp_path: Path) -> None:
    def duplicates(rows: Rows) -> None:
        for row in rows:
            row["verdict"] = "DUPLICATE"

    spoiled = candidate(base.path, tmp_path, lambda run: edit_book(run, "platform.ingestion_receipts", duplicates))
    _, decision = scored(spoiled, base.path)
    ingestion = [id for id in blockers(decision) if id.startswith(("admission.", "unchanged."))]
    assert ingestion == ["admission.duplicates_only"]
    assert {id for id in blockers(decision) if id not in ingestion} == {
        "verdict.audit.rows_match_images", "verdict.ingestion.admitted_is_published",
        "verdict.ingestion.no_readmission", "verdict.ingestion.nothing_rejected_silently",
        "verdict.ingestion.received_in_time", "verdict.ingestion.replay_reproduces",
    }  # fmt: skip


def test_ratio_and_rate_are_counted_from_the_receipts_of_the_run_whatever_its_batches_say(
    base: Ran, tmp_path: Path
) -> None:
    def quarter_are_duplicates(rows: Rows) -> None:
        for row in rows[::4]:
            row["verdict"] = "DUPLICATE"

    def claim_all(rows: Rows) -> None:
        for row in rows:
            row["admitted"], row["duplicates"] = 10**6, 0

    spoiled = candidate(
        base.path, tmp_path, lambda run: edit_book(run, "platform.ingestion_receipts", quarter_are_duplicates),
        lambda run: edit_book(run, "platform.ingestion_batches", claim_all),
    )  # fmt: skip
    _, decision = scored(spoiled, base.path)
    assert {"admission.ratio", "admission.rate"} <= blockers(decision).keys()
    ratio = next(figure for figure in decision.figures if figure.id == "admission.ratio")
    receipts = spoiled_verdicts(spoiled)
    assert ratio.candidate == pytest.approx(receipts.count("ADMIT") / len(receipts), abs=1e-6)


def spoiled_verdicts(run: Path) -> list[str]:
    found: list[str] = []
    edit_book(run, "platform.ingestion_receipts", lambda rows: found.extend(row["verdict"] for row in rows))
    return found


# --- verdicts and assertions -----------------------------------------------------------------------------------------


def test_a_promise_that_the_candidate_breaks_is_a_blocker_whatever_its_verdict_says(base: Ran, tmp_path: Path) -> None:
    """The verdict is derived again from the books: that of the candidate says PASS."""

    def overpay(rows: Rows) -> None:
        rows[0]["amount_cents"] += 100

    spoiled = candidate(base.path, tmp_path, lambda run: edit_book(run, "processor.transfers", overpay))
    assert json.loads((spoiled / "verdict.json").read_text())["status"] == "PASS"
    code, decision = scored(spoiled, base.path)
    assert code == 10
    assert decision.runs[0].verdict == "FAIL"
    told = blockers(decision)
    assert any(id.startswith(("verdict.ledger.", "verdict.payouts.")) for id in told)
    assert all("PASS → FAIL" in missing for id, missing in told.items() if id.startswith("verdict."))


def relaxed_assertion(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """A baseline whose own verdict held it to more than today's assertions do."""

    def edit(run: Path) -> None:
        def change_one(verdict: dict[str, Any]) -> None:
            change(next(result for result in verdict["results"] if result["id"] == "ledger.transactions_balance"))

        edit_verdict(run, change_one)

    return edit


RELAXED: dict[str, Callable[[dict[str, Any]], None]] = {
    "removed": lambda result: result.update(id="ledger.transactions_balance_twice"),
    "owes less": lambda result: result.update(owed=result["owed"] + 1),
    "claims something else": lambda result: result.update(claim="Every transaction balances, twice"),
    "is of a weaker kind": lambda result: result.update(kind="sometimes"),
}


@pytest.mark.parametrize("how", RELAXED)
def test_an_assertion_that_was_relaxed_since_the_baseline_is_named(how: str, base: Ran, tmp_path: Path) -> None:
    stricter = candidate(base.path, tmp_path, relaxed_assertion(RELAXED[how]))
    _, decision = scored(base.path, stricter)
    name = "ledger.transactions_balance_twice" if how == "removed" else "ledger.transactions_balance"
    assert list(blockers(decision)) == [f"relaxed.assertion.{name}"]


def test_an_assertion_that_the_candidate_was_not_held_to_is_named(base: Ran, tmp_path: Path) -> None:
    def forget(verdict: dict[str, Any]) -> None:
        verdict["results"] = [one for one in verdict["results"] if one["id"] != "ledger.transactions_balance"]

    laxer = candidate(base.path, tmp_path, lambda run: edit_verdict(run, forget))
    assert list(blockers(scored(laxer, base.path)[1])) == ["relaxed.assertion.ledger.transactions_balance"]


def test_a_relaxation_that_was_agreed_on_is_shown_and_does_not_block(base: Ran, tmp_path: Path) -> None:
    edit, id = CHANGES["an alert rule that is gone"]
    agreed = rails(tmp_path, ("agreed: []", f"agreed: [{id}]"))
    code, decision = scored(candidate(base.path, tmp_path, edit), base.path, "--rails", agreed)
    assert code == 0
    assert [figure.rail for figure in decision.figures if figure.id == id] == ["agreed"]


def decided(run: Ran | Path, root: Path, proofs: list[str], deferrals: list[str]) -> None:
    """A decision of the gate on a run, kept in its root."""
    path = run if isinstance(run, Path) else run.path
    manifest = json.loads((path / "manifest.json").read_text())
    used = {"path": str(path), "name": manifest["name"], "identity": manifest["identity"], "scenario": "small_on_call",
            "seed": 1, "verdict": "PASS"}  # fmt: skip
    whole = {
        "version": 1, "outcome": "CLOSE", "policy": "iteration06", "policy_sha256": "0" * 64, "runs": [used],
        "blockers": [], "baseline": None, "figures": [],
        "proofs": [{"id": id, "phase": "06A", "claim": id, "saw": 1, "unit": "rows", "where": ""} for id in proofs],
        "deferrals": [{"id": id, "phase": "06A", "claim": id, "reason": "", "by": "qa", "until": "2027-01-01"}
                      for id in deferrals],
    }  # fmt: skip
    (root / "decisions").mkdir()
    (root / "decisions" / "one.json").write_text(json.dumps(whole))


def test_a_criterion_that_the_policy_dropped_or_put_off_is_named(base: Ran, tmp_path: Path) -> None:
    roots = [tmp_path / "then", tmp_path / "now"]
    then, now = (candidate(base.path, root) for root in roots)
    decided(then, roots[0], ["a.one", "a.two", "a.three"], [])
    decided(now, roots[1], ["a.one", "a.four"], ["a.three"])
    _, decision = scored(now, then)
    assert list(blockers(decision)) == ["relaxed.policy.a.two", "relaxed.policy.a.three"]
    assert "deferred until 2027-01-01" in blockers(decision)["relaxed.policy.a.three"]


# --- what cannot be held against one another -------------------------------------------------------------------------


def test_a_baseline_of_another_scenario_is_refused_with_what_differs(base: Ran, small_run: Ran) -> None:
    told = absence("score", base.path, "--baseline", small_run.path)
    assert told.exit_code == 20
    assert "scenario small in the baseline, small_on_call in the candidate" in told.stderr
    assert "plan " in told.stderr


def test_a_baseline_of_another_seed_is_refused_unless_the_rails_leave_that_out(
    runs: SharedRuns, small_run: Ran, tmp_path: Path
) -> None:
    other = runs("small", "--seed", "2")
    told = absence("score", other.path, "--baseline", small_run.path)
    assert told.exit_code == 20
    assert "seed 1 in the baseline, 2 in the candidate" in told.stderr
    assert "scenario" not in told.stderr.splitlines()[1]
    anyway = rails(tmp_path, ("comparable: [scenario, seed, days, plan]", "comparable: [scenario, days]"))
    code, _ = scored(other.path, small_run.path, "--rails", anyway)
    assert code in (0, 10)


@pytest.mark.parametrize("which", ["candidate", "baseline"])
def test_a_run_that_does_not_verify_is_not_scored(which: str, base: Ran, tmp_path: Path) -> None:
    spoiled = tmp_path / "spoiled"
    shutil.copytree(base.path, spoiled)
    with (spoiled / "log.jsonl").open("a") as log:
        log.write("{}\n")
    pair = (spoiled, base.path) if which == "candidate" else (base.path, spoiled)
    told = absence("score", pair[0], "--baseline", pair[1])
    assert told.exit_code == 30
    assert "log.jsonl" in told.stderr


def test_a_plan_that_was_altered_is_another_plan(base: Ran, tmp_path: Path) -> None:
    other = candidate(base.path, tmp_path, lambda run: edit_plan(run, lambda plan: plan.update(owner_capital_cents=1)))
    assert absence("score", other, "--baseline", base.path).exit_code == 20


# --- the runtime gate of one lane ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "factor", "holds"),
    [
        ("{lane: simulate, reduced_by_percent: 20}", 0.79, True),
        ("{lane: simulate, reduced_by_percent: 20}", 0.81, False),
        ("{lane: simulate, at_most_s: 1000.0}", 1.5, True),
        ("{lane: simulate, at_most_s: 0.000001}", 0.1, False),
        ("{lane: simulate, at_most_s: 0.000001, reduced_by_percent: 20}", 0.79, True),
        ("{lane: simulate, at_most_s: 1000.0, reduced_by_percent: 20}", 1.1, True),
    ],
)
def test_a_target_is_met_by_its_seconds_or_by_its_reduction(
    target: str, factor: float, holds: bool, base: Ran, tmp_path: Path
) -> None:
    def scale(line: dict[str, Any]) -> None:
        if line["phase"] == "simulate" and line["stage"] in ("end", "lane"):
            line |= {name: line[name] * factor for name in ("seconds", "cpu_s") if name in line}

    aimed = rails(tmp_path, ("targets: []", f"targets: [{target}]"))
    _, decision = scored(candidate(base.path, tmp_path, with_log(scale)), base.path, "--rails", aimed)
    assert list(blockers(decision)) == ([] if holds else ["runtime.simulate"])


def test_a_lane_that_nobody_timed_does_not_meet_its_target(base: Ran, tmp_path: Path) -> None:
    aimed = rails(tmp_path, ("targets: []", "targets: [{lane: simulate/nothing, at_most_s: 5.0}]"))
    again = candidate(base.path, tmp_path)
    assert list(blockers(scored(again, base.path, "--rails", aimed)[1])) == ["runtime.simulate/nothing"]


def test_the_wall_clock_counts_where_the_rails_say_so(base: Ran, tmp_path: Path) -> None:
    def wait(line: dict[str, Any]) -> None:
        if (line["phase"], line["stage"]) == ("seal", "end"):
            line["seconds"] += 60  # waited for the disk

    waiting = candidate(base.path, tmp_path, with_log(wait))
    wall = rails(tmp_path, ("clock: cpu", "clock: wall"), ("slower_by_s: 0.5", "slower_by_s: 30.0"))
    assert blockers(scored(waiting, base.path)[1]) == {}
    assert list(blockers(scored(waiting, base.path, "--rails", wall)[1])) == ["runtime.seal"]


# --- what is written -------------------------------------------------------------------------------------------------


def test_the_decision_is_written_as_json_and_as_markdown(base: Ran, tmp_path: Path) -> None:
    spoiled = candidate(base.path, tmp_path, one_more_event)
    out = tmp_path / "out"
    told = absence("score", spoiled, "--baseline", base.path, "--out", out)
    assert told.exit_code == 10
    decision = Decision.from_json((out / "decision.json").read_text())
    assert decision.to_json() == (out / "decision.json").read_text()
    assert decision.baseline is not None
    assert decision.baseline.path == str(base.path)
    assert Figure("unchanged.events.harness.noted", 0, 1, "unchanged", False) in decision.figures
    markdown = (out / "decision.md").read_text()
    assert markdown.startswith("# HOLD_REOPEN: ")
    assert "| `events.harness.noted` | 0 | 1 | DOES NOT HOLD: unchanged |" in markdown
    assert all(f"`{figure.id.partition('.')[2]}`" in markdown for figure in decision.figures)


def test_resealing_alone_changes_nothing(base: Ran, tmp_path: Path) -> None:
    """The helper that makes candidates is no change of its own."""
    copy = candidate(base.path, tmp_path)
    reseal(copy)
    code, decision = scored(copy, base.path)
    assert (code, blockers(decision)) == (0, {})
    assert decision.runs[0].identity == json.loads((base.path / "manifest.json").read_text())["identity"]
