"""Each way in which somebody reaches in: the run fails, and the first screen says what broke, when, and who did it."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from assertions.words import instant
from contest_platform.store.schema import APPEND_ONLY
from contest_platform.store.tables import DDL
from evidence.plan import FaultPlan
from fault_injectors import registry
from scenarios import load, shipped
from tests.support.command import ROOT, Ran, bitten, run_into
from tests.support.data import data_dir

VIOLATIONS = [name for name, fault in registry().items() if fault.kind == "violation" and not name.startswith("ops.")]
"""Those of ops need somebody on call: tests/test_violations_of_ops.py."""
REWRITES_HISTORY = ("violations.row_edited", "violations.row_deleted", "violations.audit_tail_cut")
"""After these the platform's own rows say of earlier instants what is not true."""


def variants(name: str) -> list[dict[str, Any]]:
    """The parameters of a violation, for every choice that it offers: a new one is tested without an edit here."""
    fields = registry()[name].Params.model_fields.items()
    choices = {key: get_args(field.annotation) for key, field in fields if get_origin(field.annotation) is Literal}
    return [dict(zip(choices, chosen, strict=True)) for chosen in product(*choices.values())]


ALL = [
    pytest.param((name, params), id="-".join([name, *map(str, params.values())]))
    for name in VIOLATIONS
    for params in variants(name)
]


@pytest.fixture(scope="module", params=ALL)
def violated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A small run with one violation and no fault. Quarantines, and so their table, need a feed that tells lies, and
    nobody carries out a runbook or heals a host unless something is out of order."""
    folder = tmp_path_factory.mktemp("violated")
    name, params = request.param
    text = (ROOT / "scenarios" / "small.yaml").read_text()
    if params.get("table") == "quarantine_resolutions":
        text = text.replace("golfers: 20", f"feed: {data_dir() / 'golf' / 'masters2026_feed_deltas.csv'}")
        assert "feed:" in text
    incident = ""
    if params.get("table") in ("backups", "config_versions"):
        text += "\noperations: true\nsettings: {auth_timeout_ms: 8000}\ndrills:\n"
        text += "  - {runbook: backup_contest_data, at: day 2 13:00}\n"
        text += "  - {runbook: configuration_change, at: day 2 15:00}\n"
    if "runbook" in params.get("table", ""):
        text, incident = f"{text}\noperations: true\n", "  - {fault: provider.outage, params: {outage_min: 170}}\n"
    if params.get("table") == "healing_telemetry":
        incident = "  - {fault: platform.crash}\n"
    path = folder / "violated.yaml"
    path.write_text(f"{text}\nfaults:\n{incident}  - {{fault: {name}, params: {json.dumps(params)}}}\n")
    return run_into(folder / "out", path)


def the_violation(violated: Ran) -> FaultPlan:
    [violation] = [fault for fault in violated.evidence.plan.faults if fault.kind == "violation"]
    return violation


def test_the_run_fails_with_exit_10(violated: Ran) -> None:
    assert violated.exit_code == 10, violated.stdout
    assert violated.verdict.status.value == "FAIL"
    assert violated.stdout.startswith("✕ FAIL")


def test_the_violation_really_happened(violated: Ran) -> None:
    violation = the_violation(violated)
    assert violation.kind == "violation"
    assert bitten(violated, violation)
    assert violated.status("recovery.every_fault_bit") == "PASS"


def test_nothing_breaks_before_the_human_acts(violated: Ran) -> None:
    """Otherwise the verdict would be right for the wrong reason."""
    violation = the_violation(violated)
    assert violation.from_at is not None
    instants = [broken.at for result in violated.verdict.results for broken in result.broken]
    assert instants
    early_ms = [violation.from_at - at for at in instants if at is not None and at < violation.from_at]
    assert early_ms == [] or violation.fault in REWRITES_HISTORY


def test_the_first_broken_promise_says_who_what_and_when(violated: Ran) -> None:
    first = violated.verdict.first_broken
    violation = the_violation(violated)
    assert first is not None
    assert first.at == violation.from_at
    assert instant(violation.from_at) in first.message, "when"
    assert str(violation.entity) in first.message, "who"
    what = {
        "database": violation.params.get("table", "database session"),
        "identity": "got past the identity provider",
        "dashboard": violation.operation.replace("transfer", "transfers.create"),
        "deployment": violation.params.get("what"),
    }[violation.seam]
    assert str(what).partition("_")[0] in first.message, "what"


def test_the_first_broken_promise_is_printed_with_who_did_it(violated: Ran) -> None:
    first = violated.verdict.first_broken
    assert first is not None
    violation = the_violation(violated)
    screen = violated.stdout
    assert "First broken promise" in screen
    assert first.claim in screen
    assert first.message in screen
    assert violation.title in screen
    assert violation.entity is not None
    assert violation.entity.startswith(("founder:", "engineer:"))
    assert violation.entity in screen, "the screen does not say who did it"


def test_the_violation_breaks_a_promise_that_names_the_founder(violated: Ran) -> None:
    violation = the_violation(violated)
    told = [
        broken.message for result in violated.verdict.results if result.family == "absence" for broken in result.broken
    ]
    assert any(str(violation.entity) in message for message in told), told


def test_the_post_mortem_is_begun(violated: Ran) -> None:
    first = violated.verdict.first_broken
    assert first is not None
    assert first.message in (violated.path / "postmortem.md").read_text().replace("\\", "")


def test_every_table_that_a_trigger_protects_is_among_those_that_are_edited() -> None:
    protected = set(re.findall(r"(?:update|delete|insert)(?: of \w+)? on (\w+)", "".join(DDL)))
    assert protected >= set(APPEND_ONLY)
    for name in ("violations.row_edited", "violations.row_edit_refused", "violations.row_deleted"):
        assert {params["table"] for params in variants(name)} == protected


def test_what_the_triggers_refused_changed_nothing(tmp_path: Path, small_run: Ran) -> None:
    ran = run_into(tmp_path / "out", "violations", "--only", "violations.row_edit_refused")
    assert ran.rows("platform.settlement_packs") == small_run.rows("platform.settlement_packs")
    [session] = [row for row in ran.rows("database.sessions") if row.role == "superuser"]
    assert (session.writes, session.principal) == (0, ran.evidence.plan.faults[0].entity)


def test_a_founder_who_is_denied_breaks_nothing_and_is_on_record(tmp_path: Path) -> None:
    ran = run_into(tmp_path / "out", "violations", "--only", "violations.revoked_probe")
    assert ran.exit_code == 0, ran.stdout
    [probe] = ran.evidence.plan.faults
    denials = [row for row in ran.rows("platform.access_log", principal=probe.entity) if row.at >= (probe.from_at or 0)]
    assert [(row.allowed, row.reason) for row in denials] == [(False, "revoked")]
    found = ran.result("absence.denials_recorded")
    assert found.saw == found.owed + 1, "those of the pre-flight phase, and this one"


def test_all_violations_at_once_fail(tmp_path: Path) -> None:
    ran = run_into(tmp_path / "out", "violations")
    assert ran.exit_code == 10
    assert ran.status("recovery.every_fault_bit") == "PASS"
    assert {fault.fault for fault in ran.evidence.plan.faults} >= set(VIOLATIONS)


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
