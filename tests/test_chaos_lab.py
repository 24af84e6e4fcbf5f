"""The chaos lab, whole: sixteen of sixteen, and what is said where it is less."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from assertions import lab
from contest_platform.services import healing_rules
from scenarios import load
from scenarios.errors import ScenarioInvalid
from tests.support.command import ROOT, Ran, SharedRuns, run_into

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
WINRM = (ROOT / "scenarios" / "chaos_lab_winrm.yaml").read_text()
PROMOTED = (ROOT / "scenarios" / "healing_promoted.yaml").read_text()
UNHEALED = "unhealed: [hosts.ws_registry_run]"


def run_of(text: str, folder: Path) -> Ran:
    path = folder / "lab.yaml"
    path.write_text(text)
    return run_into(folder / "out", str(path))


def broken(ran: Ran, assertion: str) -> Sequence[str]:
    return [one.message for result in ran.verdict.results if result.id == assertion for one in result.broken]


# --- the score --------------------------------------------------------------------------------------------------------


def test_all_sixteen_are_healed_with_nobody_on_call(runs: SharedRuns) -> None:
    ran = runs("chaos_lab")
    assert ran.exit_code == 0
    found = lab.experiments(ran.evidence)
    assert [tuple(score) for score in lab.scores(found)] == [("linux", 8, 8), ("windows", 8, 8)]
    assert all(one.took_ms is not None and one.took_ms < 10 * MINUTE_MS for one in found)
    assert {one.fault for one in found} == {fault.fault for fault in ran.evidence.plan.faults}
    assert len(found) == 16


def test_the_score_is_printed_per_system_and_per_experiment_with_its_time_to_heal(runs: SharedRuns) -> None:
    ran = runs("chaos_lab")
    assert "hosts    healed 16/16: linux 8/8, windows 8/8" in ran.stdout
    lines = [line for line in ran.stdout.splitlines() if "healed after" in line]
    assert len(lines) == 16
    assert all(line.lstrip().startswith("✓") for line in lines)
    for report in ("report.md", "report.html"):
        text = (ran.path / report).read_text().replace("\\", "")
        assert "ealed 16/16: linux 8/8, windows 8/8" in text
        assert text.count("healed after") >= 16


def test_what_drifts_delays_business_until_it_is_healed(runs: SharedRuns) -> None:
    ran = runs("chaos_lab")
    by = {one.fault: one for one in lab.experiments(ran.evidence)}
    kernel = by["hosts.kernel_parameter"]
    refused = [row.at for row in ran.rows("database.refusals")]
    assert refused
    assert kernel.healed_at is not None
    assert all(kernel.drifted_at <= at <= kernel.healed_at for at in refused)
    stopped = [row.at for row in ran.rows("hosts.services", service="settlement") if row.state == "stopped"]
    assert stopped == [by["hosts.settlement_stopped"].drifted_at]


def test_a_rule_that_forgets_where_a_drift_comes_back_from_is_found_out_after_the_reboot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-Registry: removed, called healed, and back at the next start."""
    careless = tuple(
        rule if rule.check != "registry_run_key" else _but(rule, rule.remedy[1:]) for rule in healing_rules.RULES
    )
    monkeypatch.setattr(healing_rules, "RULES", careless)
    ran = run_into(tmp_path, "chaos_lab", "--only", "hosts.ws_registry_run")
    [one] = lab.experiments(ran.evidence)
    assert one.back == 1
    orders = sorted((row.issued_at, row.status) for row in ran.rows("platform.remediation_orders"))
    assert [status for _, status in orders] == ["COMPLETED", "COMPLETED"]
    [boot] = ran.rows("hosts.drifts", by="boot")
    assert orders[0][0] < boot.at < orders[1][0] < boot.at + 10 * MINUTE_MS
    assert ran.status("healing.drifts_healed") == "FAIL", "the task that writes it there is left"


def _but(rule: Any, remedy: Any) -> Any:
    return healing_rules.Rule(rule.id, rule.runbook_id, rule.os, rule.check, rule.probe, rule.well, remedy)


@pytest.mark.parametrize("check", sorted({rule.check for rule in healing_rules.RULES} - {"service_running"}))
def test_without_its_rule_a_drift_stays_and_the_run_fails(
    check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DC-DNS never healed: there was no rule for it."""
    monkeypatch.setattr(healing_rules, "RULES", tuple(one for one in healing_rules.RULES if one.check != check))
    ran = run_into(tmp_path, "chaos_lab")
    unhealed = [one.check for one in lab.experiments(ran.evidence) if one.healed_at is None]
    assert set(unhealed) == {check}
    assert ran.exit_code == 10
    assert len(broken(ran, "healing.drifts_healed")) == len(unhealed)
    assert "not healed" in ran.stdout


@pytest.mark.parametrize(
    ("check", "fault", "late"),
    [
        ("disk_usage", "hosts.lin_disk_full", "lifecycle.every_contest_ends"),
        ("disk_usage", "hosts.win_disk_full", "ingestion.every_publication_has_a_receipt"),
        ("dns_client_address", "hosts.dc_dns_address", "ingestion.every_publication_has_a_receipt"),
        ("kernel_parameter", "hosts.kernel_parameter", "lifecycle.on_time"),
    ],
)
def test_a_host_that_nobody_heals_holds_business_up(
    check: str, fault: str, late: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the services are bound to their hosts, and healing is what keeps the contests going."""
    monkeypatch.setattr(healing_rules, "RULES", tuple(one for one in healing_rules.RULES if one.check != check))
    ran = run_into(tmp_path, "chaos_lab", "--only", fault)
    assert ran.exit_code == 10
    assert ran.status(late) == "FAIL"
    assert ran.status("healing.drifts_healed") == "FAIL"


# --- where WinRM fails ------------------------------------------------------------------------------------------------


def test_a_degraded_score_is_explained_and_is_still_a_pass_where_the_scenario_says_so(runs: SharedRuns) -> None:
    ran = runs("chaos_lab_winrm")
    assert ran.exit_code == 0
    found = lab.experiments(ran.evidence)
    assert [tuple(score) for score in lab.scores(found)] == [("linux", 8, 8), ("windows", 7, 8)]
    [unhealed] = [one for one in found if one.healed_at is None]
    excuse = lab.excuse(ran.evidence, unhealed)
    assert excuse.missing == []
    assert "connection_failed" in excuse.reason
    assert "HostUnreachable" in excuse.alert
    late = {one.fault for one in found if one.took_ms is not None and one.took_ms > HOUR_MS}
    assert late == {"hosts.dc_dns_address", "hosts.dc_time_drift"}
    assert (
        "hosts.ws_registry_run win-ws-1: not healed: the order under L1-WIN-REGISTRY-RUN-KEY is EXPIRED" in ran.stdout
    )
    page = (ran.path / "report.html").read_text()
    assert '<dt>Hosts healed</dt><dd class="differs">15 of 16</dd>' in page, "on the first screen, PASS or not"


def test_while_the_domain_controller_is_out_of_reach_no_scores_come(runs: SharedRuns) -> None:
    ran = runs("chaos_lab_winrm")
    [one] = [one for one in lab.experiments(ran.evidence) if one.fault == "hosts.dc_dns_address"]
    assert one.healed_at is not None
    polls = [row.at for row in ran.rows("provider.requests")]
    assert not [at for at in polls if one.drifted_at <= at < one.healed_at]
    assert [at for at in polls if one.healed_at <= at < one.healed_at + 15 * MINUTE_MS]


def test_nothing_is_left_pending_of_what_stayed_unhealed(runs: SharedRuns) -> None:
    ran = runs("chaos_lab_winrm")
    orders = ran.rows("platform.remediation_orders", host="win-ws-1")
    assert {row.status for row in orders} == {"EXPIRED"}
    [incident] = ran.rows("platform.incidents", host="win-ws-1")
    assert (incident.status, incident.level) == ("OPEN", "L2"), "it is for ops, who handed it on"


def test_an_experiment_that_is_not_in_the_set_and_stays_unhealed_fails_the_run(tmp_path: Path) -> None:
    ran = run_of(WINRM.replace(UNHEALED, "unhealed: [hosts.dc_time_drift]"), tmp_path)
    assert ran.exit_code == 10
    [said] = broken(ran, "healing.drifts_healed")
    assert said.startswith("hosts.ws_registry_run#1 ")
    assert ran.status("runbooks.nothing_escalated") == "FAIL"
    assert ran.status("recovery.converged") == "FAIL"


def test_one_in_the_set_that_is_healed_is_none_the_worse(tmp_path: Path) -> None:
    text = "\n".join(line for line in WINRM.splitlines() if "winrm.unreachable, bind: {entity: win-ws-1" not in line)
    ran = run_of(text, tmp_path)
    assert ran.exit_code == 0
    assert all(one.healed_at is not None for one in lab.experiments(ran.evidence))


def test_with_nobody_on_call_what_stays_unhealed_is_silently_pending_and_fails(tmp_path: Path) -> None:
    ran = run_of(WINRM.replace("operations: true\n", ""), tmp_path)
    assert ran.exit_code == 10
    silent, given_up = broken(ran, "healing.drifts_healed")
    assert given_up.startswith("hosts.dc_time_drift#1 "), "its rule has given it up, and there is nobody to take it"
    assert silent.endswith("no alert and no escalation is on record")


@pytest.mark.parametrize(
    ("named", "near"), [("hosts.ws_registry", "did you mean hosts.ws_registry_run?"), ("winrm.refused", "no fault of")]
)
def test_only_drifts_of_the_scenario_may_be_said_to_stay_unhealed(named: str, near: str, tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(WINRM.replace(UNHEALED, f"unhealed: [{named}]"))
    with pytest.raises(ScenarioInvalid) as invalid:
        load(str(path))
    [error] = invalid.value.errors
    assert near in str(error)
    assert f":{1 + WINRM[: WINRM.index(UNHEALED)].count(chr(10))}:" in str(error)


def test_the_score_is_in_the_json_too(tmp_path: Path) -> None:
    ran = run_into(tmp_path, "chaos_lab_winrm", "--json")
    told = json.loads(ran.stdout)["lab"]
    assert told["scores"] == {"linux": {"healed": 8, "total": 8}, "windows": {"healed": 7, "total": 8}}
    [unhealed] = [one for one in told["experiments"] if not one["healed"]]
    assert (unhealed["experiment"], unhealed["time_to_heal_ms"]) == ("hosts.ws_registry_run", None)
    assert all(unhealed["not_healed"].values())


# --- promotion --------------------------------------------------------------------------------------------------------


def test_ops_heals_five_times_and_the_rule_made_of_it_the_sixth(runs: SharedRuns) -> None:
    ran = runs("healing_promoted")
    assert ran.exit_code == 0
    [rule] = ran.rows("platform.healing_rules", source="promoted")
    took = [one.took_ms for one in lab.experiments(ran.evidence)]
    assert all(ms is not None for ms in took)
    assert [ms > 10 * MINUTE_MS for ms in took if ms is not None] == [True] * 5 + [False]
    by_hand = [row for row in ran.rows("operator.notebook") if (row.sent or "").startswith("opsctl incidents remedy")]
    assert len({row.execution_id for row in by_hand}) == 5
    [order] = ran.rows("platform.remediation_orders")
    assert (order.rule_id, order.status, order.issued_at > rule.promoted_at) == (rule.rule_id, "COMPLETED", True)
    assert lab.by_promoted_rule(ran.evidence) == {"hosts.defender_off#6"}


def test_a_promoted_rule_that_cannot_heal_any_more_is_withdrawn_and_handed_on(tmp_path: Path) -> None:
    sixth = "bind: {entity: win-ws-1, from: day 8 09:00}"
    text = PROMOTED.replace(sixth, f"params: {{tampered: true}}, {sixth}")
    ran = run_of(text, tmp_path)
    [rule] = ran.rows("platform.healing_rules", source="promoted")
    assert rule.status == "WITHDRAWN"
    assert {row.status for row in ran.rows("platform.remediation_orders")} == {"EXPIRED"}
    fired = {row.alert for row in ran.rows("monitoring.alerts", state="firing")}
    assert {"HealingRuleNeverSucceeds", "RemediationOrderStuck", "HostIncidentUnmatched"} <= fired
    assert ran.exit_code == 10, "nothing heals it"
    assert ran.status("healing.rules_are_earned") == "PASS"
    assert ran.rows("operator.escalations")
