"""The fleet's settings: what drifts is found by its check, put right by its rule, and comes back from its source."""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform.ports import CommandResult, ConnectionFailed
from contest_platform.services.healing_rules import KNOWN_AT_L2, RULES, Line, Rule
from fault_injectors import build, registry
from seams.faults import Action, Binding, Fault
from simulator.actors.fleet import FLEET
from simulator.actors.host_commands import asked
from simulator.actors.host_settings import REFRESH_MS, SETTINGS
from simulator.actors.hosts import BOOT_MS
from tests.support.fake_world import MONDAY
from tests.test_hosts import Fleet

MINUTE = 60_000
DRIFTS = {name: fault for name, fault in registry().items() if (fault.seam, fault.operation) == ("hosts", "drift")}
LAB = [name for name, fault in DRIFTS.items() if fault.recovery.by == "rule"]


def drift(fleet: Fleet, name: str, **settings: str) -> str:
    """Have it drift, and report; the host."""
    fault: Any = build(name, "f1", Binding(DRIFTS[name].host, from_at=MONDAY), {"reboot_after_min": 0})  # type: ignore[attr-defined]
    [action] = fault.actions()
    told = Action(action.at, action.lever, action.entity, {"settings": {**action.params["settings"], **settings}})
    fleet.world.run(fleet.actor.drifts.pull_drift(told, lambda *_: None))
    fleet.world.run_for(2 * MINUTE)
    return str(action.entity)


def reported(fleet: Fleet) -> tuple[str, str]:
    """(check, target) of the last report."""
    _, request = fleet.world.edge.seen[-1]
    return request.body["check"], request.body["target"]


def rule_for(fleet: Fleet, host: str) -> Rule:
    check, _ = reported(fleet)
    [rule] = [rule for rule in (*RULES, *KNOWN_AT_L2) if (rule.os, rule.check) == (FLEET[host].os, check)]
    return rule


def send(fleet: Fleet, host: str, line: Line) -> CommandResult:
    _, target = reported(fleet)
    return fleet.run(host, *(part.format(target=target) for part in line))


def is_well(fleet: Fleet, host: str, rule: Rule) -> bool:
    return rule.is_well(send(fleet, host, rule.probe).stdout)


def heal(fleet: Fleet, host: str, rule: Rule) -> None:
    for line in rule.remedy:
        assert send(fleet, host, line).exit_code == 0, line


def states(fleet: Fleet) -> list[tuple[str, str, str]]:
    return [(row["setting"], row["state"], row["by"]) for row in fleet.world.rows("hosts.drifts")]


# --- the sixteen ------------------------------------------------------------------------------------------------------


def test_the_lab_has_eight_experiments_on_each_system_and_a_rule_for_each() -> None:
    hosts = [FLEET[DRIFTS[name].host].os for name in LAB]  # type: ignore[attr-defined]
    assert (hosts.count("windows"), hosts.count("linux"), len(RULES)) == (8, 8, 16)


@pytest.mark.parametrize("name", DRIFTS)
def test_what_drifted_is_reported_and_its_rule_puts_it_right_however_often_it_is_sent(name: str) -> None:
    fleet = Fleet()
    host = drift(fleet, name)
    rule = rule_for(fleet, host)
    assert not is_well(fleet, host, rule)
    wrong = len(states(fleet))
    heal(fleet, host, rule)
    assert is_well(fleet, host, rule)
    after = states(fleet)
    assert {state for _, state, _ in after[wrong:]} == {"right"}
    heal(fleet, host, rule)
    assert states(fleet) == after, "nothing is left to do"
    seen = len(fleet.world.edge.seen)
    fleet.world.run_for(60 * MINUTE)
    assert len(fleet.world.edge.seen) == seen, "nobody reports what is right"


@pytest.mark.parametrize("name", LAB)
def test_what_its_rule_healed_stays_well_through_a_reboot_and_a_refresh(name: str) -> None:
    fleet = Fleet()
    host = drift(fleet, name)
    rule = rule_for(fleet, host)
    heal(fleet, host, rule)
    fleet.world.run_for(REFRESH_MS + MINUTE)
    assert is_well(fleet, host, rule)
    reboot(fleet, host)
    assert is_well_as(fleet, host, rule)


def is_well_as(fleet: Fleet, host: str, rule: Rule) -> bool:
    target = next(request.body["target"] for _, request in fleet.world.edge.seen if "target" in request.body)
    result = fleet.run(host, *(part.format(target=target) for part in rule.probe))
    return rule.is_well(result.stdout)


def reboot(fleet: Fleet, host: str) -> None:
    fleet.world.run(fleet.actor.drifts.pull_reboot(Action(0, "hosts.reboot", host), lambda *_: None))
    fleet.world.run_for(BOOT_MS + 1)


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "by"),
    [
        ("hosts.srv_firewall", ("Set-NetFirewallProfile", "-Name", "Domain", "-Enabled", "True"), "policy"),
        (
            "hosts.ws_registry_run",
            ("Remove-ItemProperty", "-Path", r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Run", "-Name",
             "SvcUpdate", "-ErrorAction", "Ignore"),
            "boot",
        ),
        ("hosts.kernel_parameter", ("sysctl", "-w", "kernel.threads-max=63704"), "boot"),
    ],
)  # fmt: skip
def test_what_is_put_right_without_what_it_is_fed_from_comes_back_and_is_reported(
    name: str, line: tuple[str, ...], by: str
) -> None:
    fleet = Fleet()
    host = drift(fleet, name)
    check, rule = reported(fleet), rule_for(fleet, host)
    assert fleet.run(host, *line).exit_code == 0
    assert is_well(fleet, host, rule)
    if by == "boot":
        reboot(fleet, host)
    fleet.world.run_for(REFRESH_MS + MINUTE)
    setting, state, cause = states(fleet)[-1]
    assert (SETTINGS[setting].check, state, cause) == (rule.check, "wrong", by)
    assert reported(fleet) == check


def test_a_changed_file_does_nothing_before_it_is_loaded() -> None:
    fleet = Fleet()
    host = drift(fleet, "hosts.ssh_root_login")
    rule = rule_for(fleet, host)
    send(fleet, host, rule.remedy[0])
    assert not is_well(fleet, host, rule)
    send(fleet, host, rule.remedy[1])
    assert is_well(fleet, host, rule)


def test_a_reboot_puts_right_what_is_only_wrong_until_then() -> None:
    fleet = Fleet()
    told = Action(0, "hosts.drift", "lin-db-1", {"settings": {"sysctl.threads": "128"}})
    fleet.world.run(fleet.actor.drifts.pull_drift(told, lambda *_: None))
    reboot(fleet, "lin-db-1")
    assert states(fleet) == [("sysctl.threads", "wrong", "drift"), ("sysctl.threads", "right", "boot")]


def test_what_is_protected_against_tampering_cannot_be_set() -> None:
    fleet = Fleet()
    host = drift(fleet, "hosts.defender_off", **{"defender.tamper": "True"})
    rule = rule_for(fleet, host)
    heal(fleet, host, rule)
    assert not is_well(fleet, host, rule)


# --- reboots ----------------------------------------------------------------------------------------------------------


def test_a_host_that_restarts_lets_nobody_in_and_its_services_and_agent_come_back() -> None:
    fleet = Fleet()
    fleet.actor.reboot("win-ingest-1")
    fleet.world.run_for(MINUTE - 1)
    assert not fleet.control.alive["ingestion"]
    with pytest.raises(ConnectionFailed):
        fleet.run("win-ingest-1", "Get-Service", "ingestion")
    fleet.world.run_for(BOOT_MS)
    assert fleet.control.alive["ingestion"]
    assert [state[1:3] for state in fleet.states("ingestion")] == [
        ("running", "boot"), ("stopped", "shutdown"), ("running", "boot"),
    ]  # fmt: skip
    [(_, told)] = fleet.world.edge.seen
    assert (told.path, told.body) == ("/api/agent/boots", {"host": "win-ingest-1"})
    assert [row["outcome"] for row in fleet.world.rows("hosts.requests")] == ["refused"]


@pytest.mark.parametrize(
    ("host", "line"), [("win-ws-1", ("Restart-Computer", "-Force")), ("lin-app-1", ("systemctl", "reboot"))]
)
def test_a_host_can_be_told_to_restart(host: str, line: tuple[str, ...]) -> None:
    fleet = Fleet()
    assert fleet.run(host, *line).exit_code == 0
    fleet.world.run_for(10_000)
    with pytest.raises(ConnectionFailed):
        fleet.run(host, *line)


# --- commands ---------------------------------------------------------------------------------------------------------


def test_a_command_about_something_else_is_not_taken_for_one_that_is_known() -> None:
    assert asked("ssh", "sysctl", ("-n", "kernel.threads-max")) is not None
    assert asked("ssh", "sysctl", ("-n", "vm.swappiness")) is None
    assert asked("winrm", "sysctl", ("-n", "kernel.threads-max")) is None
    fleet = Fleet()
    assert fleet.run("lin-db-1", "sysctl", "-n", "vm.swappiness").exit_code == 127


# --- what it does to the platform -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hosts.dc_dns_address", "hosts.dc_dns_stopped"])
def test_without_the_dns_of_the_domain_controller_windows_finds_no_name_and_linux_does(name: str) -> None:
    fleet = Fleet()
    drifts = fleet.actor.drifts
    assert drifts.resolves("win-ingest-1")
    host = drift(fleet, name)
    assert not drifts.resolves("win-ingest-1")
    assert drifts.resolves("lin-app-1")
    heal(fleet, host, rule_for(fleet, host))
    assert drifts.resolves("win-ingest-1")


def test_connections_are_refused_for_want_of_room_and_of_processes() -> None:
    fleet = Fleet()
    drifts = fleet.actor.drifts
    assert [drifts.refuses(host, "x") for host in FLEET] == [""] * 6
    drift(fleet, "hosts.win_disk_full")
    drift(fleet, "hosts.lin_disk_full")
    full = [host for host in FLEET if drifts.refuses(host, "x") == "no space left on device"]
    assert full == ["win-ingest-1", "lin-settle-1"]
    drift(fleet, "hosts.kernel_parameter")
    refused = [bool(drifts.refuses("lin-app-1", "x")) for _ in range(300)]
    assert 60 < sum(refused) < 140, "every third or so"


def test_every_fault_that_drifts_a_host_names_settings_of_its_own_system() -> None:
    for name, fault in DRIFTS.items():
        one: Fault = build(name, "f1", Binding(fault.host, from_at=0), {})  # type: ignore[attr-defined]
        for setting in one.actions()[0].params["settings"]:
            if setting in SETTINGS:
                assert SETTINGS[setting].transport == FLEET[fault.host].transport, name  # type: ignore[attr-defined]
