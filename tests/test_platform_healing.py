"""Host healing: a report becomes an order, and an order ends when a probe has seen the host well, or in vain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from contest_platform.http import Request, Response
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import (
    CommandResult,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    HostError,
    PortError,
)
from contest_platform.services.healing import ORDER_LIFE_MS, RULES, HealingService
from contest_platform.services.healing_orders import AGAIN_MS
from tests.support.contest_world import ContestWorld
from tests.support.platform_ports import START


class Hosts:
    """The fleet. `stopped` are the services that do not run; `troubles[n]` befalls the n-th command (from 1): the
    error, and whether the command ran all the same."""

    def __init__(self) -> None:
        self.stopped = {("win-1", "app"), ("lin-1", "app")}
        self.unhealable = False
        self.troubles: dict[int, tuple[PortError, bool]] = {}
        self.down: PortError | None = None
        self.ran: list[tuple[str, ...]] = []

    async def run(self, *, host: str, command: str, args: Sequence[str]) -> CommandResult:
        self.ran.append((host, command, *args))
        error, done = self.troubles.get(len(self.ran), (self.down, self.down is None))
        result = self._do(host, command, *args) if done else None
        if error is not None:
            raise error
        assert result is not None
        return result

    def _do(self, host: str, *words: str) -> CommandResult:
        target = words[-1]
        if words[:-1] in (("Start-Service",), ("systemctl", "start")):
            if not self.unhealable:
                self.stopped.discard((host, target))
            return CommandResult(0, "", "")
        runs = (host, target) not in self.stopped
        if words[0] == "Get-Service":
            return CommandResult(0, "Running\n" if runs else "Stopped\n", "")
        return CommandResult(0 if runs else 3, "active\n" if runs else "inactive\n", "")


def a_fleet() -> tuple[ContestWorld, Hosts, HealingService]:
    world = ContestWorld()
    world.hosts = hosts = Hosts()
    return world, hosts, world.life(HealingService)


def report(
    world: ContestWorld, healing: HealingService, host: str = "win-1", principal: str = "", **body: Any
) -> Response:
    whole = {"host": host, "check": "service_running", "target": "app", "observed": "stopped", **body}
    request = Request("POST", "/api/agent/incidents", {}, {name: value for name, value in whole.items() if value})
    route = healing.routes()["POST", "/api/agent/incidents"]
    assert route.access == "agent"
    return world.run(route.handle(request, principal or f"agent:{host}"))  # type: ignore[arg-type]


def order(world: ContestWorld) -> dict[str, Any]:
    [only] = world.rows("select * from remediation_orders")
    return only


def incident(world: ContestWorld) -> dict[str, Any]:
    [only] = world.rows("select * from incidents")
    return only


PROBES = {"win-1": ("win-1", "Get-Service", "app"), "lin-1": ("lin-1", "systemctl", "is-active", "app")}
REMEDIES = {"win-1": ("win-1", "Start-Service", "app"), "lin-1": ("lin-1", "systemctl", "start", "app")}


# --- reports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "rule"), [("win-1", "L1-WIN-SERVICE-STOPPED"), ("lin-1", "L1-LIN-SERVICE-STOPPED")])
def test_a_report_becomes_an_incident_and_an_order_under_the_rule_of_its_system(host: str, rule: str) -> None:
    world, _, healing = a_fleet()
    assert report(world, healing, host).status == 202
    assert (incident(world)["status"], incident(world)["observed"]) == ("OPEN", "stopped")
    assert (order(world)["rule_id"], order(world)["status"]) == (rule, "ISSUED")
    assert order(world)["expires_at"] == START + ORDER_LIFE_MS
    assert [row["actor"] for row in world.audited("incidents.insert")] == [f"system:agent:{host}"]
    assert world.due(healing) == START


def test_there_is_one_open_incident_per_target() -> None:
    world, _, healing = a_fleet()
    first, second = report(world, healing).body, report(world, healing).body
    assert first == second == {"incident_id": incident(world)["incident_id"]}
    assert len(world.rows("select * from remediation_orders")) == 1
    report(world, healing, target="settlement")
    report(world, healing, host="lin-1")
    assert len(world.rows("select * from incidents")) == 3


def test_a_target_that_breaks_again_after_it_was_healed_is_a_new_incident() -> None:
    world, hosts, healing = a_fleet()
    report(world, healing)
    world.work(healing)
    hosts.stopped.add(("win-1", "app"))
    world.runtime.at += HOUR_MS
    report(world, healing)
    world.work(healing)
    assert [row["status"] for row in world.rows("select status from incidents")] == ["RESOLVED"] * 2
    assert [row["status"] for row in world.rows("select status from remediation_orders")] == ["COMPLETED"] * 2


@pytest.mark.parametrize(
    ("host", "principal"), [("win-1", "agent:lin-1"), ("win-1", "ops:kim"), ("mac-1", "agent:mac-1"), ("", "agent:")]
)
def test_an_agent_reports_only_its_own_host_of_the_fleet(host: str, principal: str) -> None:
    world, _, healing = a_fleet()
    assert report(world, healing, host, principal).status == 403
    assert world.rows("select * from incidents") == []


@pytest.mark.parametrize("missing", ["check", "target", "observed"])
def test_a_report_that_does_not_say_what_is_wrong_is_refused(missing: str) -> None:
    world, _, healing = a_fleet()
    response = report(world, healing, **{missing: ""})
    assert (response.status, response.body) == (422, {"error": f"missing: {missing}"})
    assert world.rows("select * from incidents") == []


@pytest.mark.parametrize("target", ["app; reboot", "$(whoami)", "a b", "app|more", "x'y", "`id`", "a&b", "a\nb"])
def test_a_target_that_a_shell_would_read_otherwise_is_refused(target: str) -> None:
    world, hosts, healing = a_fleet()
    assert report(world, healing, target=target).status == 422
    assert world.rows("select * from incidents") == []
    assert hosts.ran == []


def test_an_incident_that_no_rule_matches_stays_open_and_is_on_record() -> None:
    world, _, healing = a_fleet()
    report(world, healing, check="disk_space")
    [row] = world.audited("healing.unmatched")
    assert (row["subject"], row["reason"]) == (f"incidents/{incident(world)['incident_id']}", "no L1 rule")
    assert world.rows("select * from remediation_orders") == []
    assert world.due(healing) is None
    report(world, healing, check="disk_space")
    assert len(world.audited("healing.unmatched")) == 1


# --- orders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["win-1", "lin-1"])
def test_an_order_probes_acts_probes_again_and_then_ends(host: str) -> None:
    world, hosts, healing = a_fleet()
    report(world, healing, host)
    world.runtime.at += MINUTE_MS
    world.work(healing)
    assert hosts.ran == [PROBES[host], REMEDIES[host], PROBES[host]]
    row = order(world)
    assert row["status"] == "COMPLETED"
    assert row["delivered_at"] == row["acknowledged_at"] == row["finished_at"] == START + MINUTE_MS
    assert (incident(world)["status"], incident(world)["resolved_at"]) == ("RESOLVED", START + MINUTE_MS)
    states = [change["after"] for change in world.audited("remediation_orders.update")]
    assert [state.split('"status":"')[1].split('"')[0] for state in states] == [
        "DELIVERED", "ACKNOWLEDGED", "COMPLETED",
    ]  # fmt: skip
    assert world.due(healing) == row["finished_at"] + AGAIN_MS, "then it is looked at once more"
    world.runtime.at += AGAIN_MS
    world.work(healing)
    assert hosts.ran[3:] == [PROBES[host]]
    assert world.due(healing) is None


def test_what_is_well_already_is_left_alone() -> None:
    world, hosts, healing = a_fleet()
    report(world, healing)
    hosts.stopped.clear()
    world.work(healing)
    assert hosts.ran == [PROBES["win-1"]]
    assert order(world)["status"] == "COMPLETED"


@pytest.mark.parametrize("error", [DeadlineExceeded(), ConnectionLost()], ids=lambda error: error.code)
def test_after_a_lost_answer_the_host_is_probed_before_anything_is_repeated(error: PortError) -> None:
    world, hosts, healing = a_fleet()
    report(world, healing)
    hosts.troubles[2] = (error, True)
    world.work(healing)
    assert (order(world)["status"], order(world)["attempts"], order(world)["detail"]) == ("DELIVERED", 1, error.code)
    world.step(healing)
    assert hosts.ran == [PROBES["win-1"], REMEDIES["win-1"], PROBES["win-1"]]
    assert order(world)["status"] == "COMPLETED"


def test_a_command_that_was_lost_on_its_way_is_sent_again_after_a_probe() -> None:
    world, hosts, healing = a_fleet()
    report(world, healing)
    hosts.troubles[2] = (DeadlineExceeded(), False)
    world.work(healing)
    world.step(healing)
    assert hosts.ran == [PROBES["win-1"], REMEDIES["win-1"], PROBES["win-1"], REMEDIES["win-1"], PROBES["win-1"]]
    assert order(world)["status"] == "COMPLETED"


def test_an_order_is_tried_every_minute_until_it_expires() -> None:
    world, hosts, healing = a_fleet()
    hosts.down = HostError("refused", "nobody listens")
    report(world, healing)
    while order(world)["status"] == "ISSUED":
        world.step(healing)
    assert (order(world)["status"], order(world)["finished_at"]) == ("EXPIRED", START + ORDER_LIFE_MS)
    assert (order(world)["attempts"], order(world)["delivered_at"]) == (ORDER_LIFE_MS // MINUTE_MS, None)
    assert world.due(healing) is None
    assert incident(world)["status"] == "OPEN"


def test_a_remedy_without_effect_does_not_complete_the_order() -> None:
    world, hosts, healing = a_fleet()
    hosts.unhealable = True
    report(world, healing)
    world.work(healing)
    assert (order(world)["status"], order(world)["detail"]) == ("ACKNOWLEDGED", "not well yet")
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    assert (order(world)["status"], incident(world)["status"]) == ("EXPIRED", "OPEN")


def test_what_is_still_reported_after_its_order_expired_gets_a_new_order() -> None:
    world, hosts, healing = a_fleet()
    hosts.down = ConnectionFailed()
    first = report(world, healing).body
    world.runtime.at += ORDER_LIFE_MS
    world.work(healing)
    hosts.down = None
    assert report(world, healing).body == first
    world.work(healing)
    assert [row["status"] for row in world.rows("select status from remediation_orders order by issued_at")] == [
        "EXPIRED", "COMPLETED",
    ]  # fmt: skip
    assert incident(world)["status"] == "RESOLVED"


def test_a_host_that_does_not_answer_holds_up_no_other() -> None:
    world, hosts, healing = a_fleet()
    report(world, healing, "win-1")
    report(world, healing, "lin-1")
    hosts.troubles[1] = (DeadlineExceeded(), False)
    world.work(healing)
    assert len(world.rows("select * from remediation_orders where status = 'COMPLETED'")) == 1


def test_a_restarted_engine_goes_on_with_the_orders_of_its_predecessor() -> None:
    world, hosts, healing = a_fleet()
    report(world, healing)
    hosts.troubles[2] = (DeadlineExceeded(), True)
    world.work(healing)
    world.work(world.life(HealingService))
    assert order(world)["status"] == "COMPLETED"


def test_no_two_rules_answer_the_same_incident() -> None:
    assert len({(rule.os, rule.check) for rule in RULES}) == len(RULES)
    assert len({rule.id for rule in RULES}) == len(RULES)
