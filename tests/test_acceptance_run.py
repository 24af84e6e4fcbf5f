"""Acceptance tests in whole runs: a day on which nothing could be settled, and platforms whose tests are no tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from contest_platform.ports import Tx
from contest_platform.services import acceptance
from contest_platform.services.acceptance import TESTS
from tests.support.command import ROOT, Ran, run_into

DOWN = """
operations: true
faults:
  - {fault: provider.outage, params: {outage_min: 170}, bind: {entity: t1, from: day 7 23:10, until: day 8 14:10}}
"""
"""From before the cut-off until after noon: the scores do not become official."""


def run(folder: Path, more: str = "") -> Ran:
    path = folder / "accepted.yaml"
    path.write_text((ROOT / "scenarios" / "small.yaml").read_text() + more)
    return run_into(folder / "out", path)


def results(ran: Ran) -> list[list[str]]:
    return [[getattr(row, column) for column in TESTS.values()] for row in ran.rows("platform.settlement_acceptance")]


def test_a_day_on_which_nothing_could_be_settled_fails_pages_ops_and_is_blocked_with_evidence(tmp_path: Path) -> None:
    ran = run(tmp_path, DOWN)
    assert ran.exit_code == 0, ran.stdout
    none = "NOT_APPLICABLE"
    assert results(ran)[:3] == [["FAIL", "FAIL", "FAIL", "BLOCKED"], ["PASS"] * 4, [none, none, none, "PASS"]]
    first = ran.rows("platform.settlement_acceptance")[0]
    told = orjson.loads(first.evidence)["blocked"]
    assert [why["reason"] for why in told.values()] == ["scores_not_official"]
    opened = ran.rows("platform.runbook_executions", runbook_name="settlement_acceptance_failed")
    assert [row.status for row in opened] == ["completed"] * 3, "one for each test that failed"
    for promise in ("recomputes", "passes"):
        assert ran.status(f"settlement.acceptance_{promise}") == "PASS"


def test_a_contest_that_was_given_up_for_good_blocks_the_lvi_by_its_error_and_the_tests_fail_to_the_end(
    tmp_path: Path,
) -> None:
    damaged = "  - {fault: database.page_damaged, params: {step: settlement.open, occurrence: 1, times: 100}}\n"
    ran = run(tmp_path, f"\noperations: true\nfaults:\n{damaged}")
    assert ran.exit_code == 10
    assert set(map(tuple, results(ran))) == {("FAIL", "FAIL", "FAIL", "BLOCKED")}
    for row in ran.rows("platform.settlement_acceptance"):
        [why] = orjson.loads(row.evidence)["blocked"].values()
        assert why == {"reason": "contest_in_error", "error_code": "settlement_impossible"}
    assert ran.status("settlement.acceptance_recomputes") == "PASS", "what it says is so"
    assert ran.status("settlement.acceptance_passes") == "FAIL"


# --- tests that are none ----------------------------------------------------------------------------------------------

Counted = Callable[..., dict[str, Any]]


def passes_always(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(acceptance, "_grown", lambda _work, _grown: "PASS")


def never_fails(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(acceptance, "_grown", lambda work, _grown: "PASS" if work else "NOT_APPLICABLE")


def looks_back_for_a_month(patch: pytest.MonkeyPatch) -> None:
    """Yesterday's growth passes today."""
    of_contest: Counted = acceptance._of_contest

    def ever(tx: Tx, contest: Any, since: int, day_at: int, over: Any) -> dict[str, Any]:
        return of_contest(tx, contest, since - 30 * acceptance.DAY_MS, day_at, over)

    patch.setattr(acceptance, "_of_contest", ever)


def counts_nothing_executed(patch: pytest.MonkeyPatch) -> None:
    """The LVI is zero though work was completed."""
    of_contest: Counted = acceptance._of_contest
    patch.setattr(acceptance, "_of_contest", lambda *given: {**of_contest(*given), "executed_linked": 0})


def adds_up_wrong(patch: pytest.MonkeyPatch) -> None:
    """A total that contradicts its rows."""
    canonical = acceptance.audit.canonical

    def wrong(value: Any) -> str:
        if isinstance(value, Mapping) and "totals" in value:
            value = {**value, "totals": {**value["totals"], "executed": value["totals"]["executed"] + 1}}
        return canonical(value)

    patch.setattr(acceptance.audit, "canonical", wrong)


def calls_everything_blocked(patch: pytest.MonkeyPatch) -> None:
    def blocked(tx: Tx, contests: Any, rows: Any, day_at: int) -> dict[str, Any]:
        return {row["contest_id"]: {"reason": "packs_unexecuted", "packs": []} for row in rows}

    patch.setattr(acceptance, "_blocked", blocked)


def makes_none(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(acceptance, "_next_noon", lambda _tx: None)


@pytest.mark.parametrize(
    ("plant", "more"),
    [
        (passes_always, ""), (looks_back_for_a_month, ""), (never_fails, DOWN), (counts_nothing_executed, ""),
        (adds_up_wrong, ""), (calls_everything_blocked, DOWN), (makes_none, ""),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)  # fmt: skip
def test_a_platform_whose_acceptance_tests_are_none_is_found_out(
    plant: Callable[[pytest.MonkeyPatch], None], more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    ran = run(tmp_path, more)
    assert ran.exit_code == 10, ran.stdout
    assert ran.status("settlement.acceptance_recomputes") == "FAIL"
