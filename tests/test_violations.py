"""Each way in which somebody reaches in: the run fails, and the first screen says what broke, when, and who did it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fault_injectors import registry
from scenarios import load, shipped
from tests.support.command import Ran, bitten, run_into, scenario_with

VIOLATIONS = [name for name, fault in registry().items() if fault.kind == "violation"]


@pytest.fixture(scope="module", params=VIOLATIONS)
def violated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A small run with one violation and no fault."""
    folder = tmp_path_factory.mktemp("violated")
    return run_into(folder / "out", scenario_with(folder, request.param))


def test_the_run_fails_with_exit_10(violated: Ran) -> None:
    assert violated.exit_code == 10, violated.stdout
    assert violated.verdict.status.value == "FAIL"
    assert violated.stdout.startswith("✕ FAIL")


def test_the_violation_really_happened(violated: Ran) -> None:
    [violation] = violated.evidence.plan.faults
    assert violation.kind == "violation"
    assert bitten(violated, violation)
    assert violated.status("recovery.every_fault_bit") == "PASS"


def test_nothing_breaks_before_the_founder_acts(violated: Ran) -> None:
    """Otherwise the verdict would be right for the wrong reason."""
    [violation] = violated.evidence.plan.faults
    assert violation.from_at is not None
    instants = [broken.at for result in violated.verdict.results for broken in result.broken]
    assert instants
    early_ms = [violation.from_at - at for at in instants if at is not None and at < violation.from_at]
    assert early_ms == []


def test_the_first_broken_promise_is_printed_with_who_did_it(violated: Ran) -> None:
    first = violated.verdict.first_broken
    assert first is not None
    [violation] = violated.evidence.plan.faults
    screen = violated.stdout
    assert "First broken promise" in screen
    assert first.claim in screen
    assert first.message in screen
    assert violation.title in screen
    assert violation.entity is not None
    assert violation.entity.startswith("founder:")
    assert violation.entity in screen, "the screen does not say who did it"


def test_the_violation_breaks_a_promise_that_names_the_founder(violated: Ran) -> None:
    [violation] = violated.evidence.plan.faults
    told = [
        broken.message for result in violated.verdict.results if result.family == "absence" for broken in result.broken
    ]
    assert any(str(violation.entity) in message for message in told), told


def test_the_post_mortem_is_begun(violated: Ran) -> None:
    first = violated.verdict.first_broken
    assert first is not None
    assert first.message in (violated.path / "postmortem.md").read_text().replace("\\", "")


def test_each_violation_comes_with_a_scenario() -> None:
    planned = {fault.fault for name in shipped() for fault in load(name).model.faults}
    assert set(VIOLATIONS) <= planned


def test_a_scenario_with_a_founder_who_stays_away_passes(small_run: Ran) -> None:
    """The same scenario without the violation: it is the violation that fails."""
    assert small_run.exit_code == 0
    assert small_run.evidence.plan.faults == []
    assert not (small_run.path / "postmortem.md").exists()


def test_the_scenario_file_says_the_same_as_the_command(tmp_path: Path) -> None:
    ran = run_into(tmp_path / "out", "violation_founder_login")
    assert ran.exit_code == 10
    [fault] = ran.evidence.plan.faults
    assert fault.fault == "violations.founder_login"
