"""Rules in their table: each id resolves everywhere and in full, each rule is served once, what ops resolves becomes a
rule, and one that never heals is withdrawn. Source 002 had each of these otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contest_platform import audit
from contest_platform.http import Request
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import CommandResult, ConnectionFailed
from contest_platform.services import healing_rules
from contest_platform.services.healing import HealingService
from contest_platform.services.healing_orders import AGAIN_MS, GIVEN_UP_AT, LOOKS, ORDER_LIFE_MS
from contest_platform.services.healing_rules import KNOWN_AT_L2, PROMOTED_AT, RULES, WITHDRAWN_AT, Rule, rule_id
from contest_platform.statuses import ORDER_STATUSES, ORDER_STEPS
from tests.support.runbook_world import RunbookWorld

ROOT = Path(__file__).parents[1]
PATTERN = KNOWN_AT_L2[0]
LONG = "x" * 300


class Lab:
    """A fleet of hosts with one setting each; `helps`: whether a remedy does. `down` is what every command meets."""

    def __init__(self) -> None:
        self.wrong: set[str] = set()
        self.helps = True
        self.down: Exception | None = None
        self.unknown = False
        self.ran: list[str] = []

    async def run(self, *, host: str, command: str, args: Any) -> CommandResult:
        line = " ".join((command, *args))
        self.ran.append(line)
        if self.down is not None:
            raise self.down
        if self.unknown:
            return CommandResult(1, "", f"{line} : The term is not recognized as the name of a cmdlet\r\n")
        if line.startswith(("Set-", "Start-")):
            if self.helps:
                self.wrong.discard(host)
            return CommandResult(0, "", "")
        well = host not in self.wrong
        return CommandResult(
            0, {"Get-Service": ("Stopped", "Running")}.get(command, ("False", "True"))[well] + "\n", ""
        )


class Engine(RunbookWorld):
    def __init__(self) -> None:
        super().__init__()
        self.lab = Lab()
        self.hosts: Any = self.lab
        self.restart()
        self.healing_service = self.life(HealingService)

    def fails(self, check: str = "service_running", target: str = "app", host: str = "win-1") -> str:
        """It is no longer well, and its agent says so; the incident."""
        self.lab.wrong.add(host)
        self.report(self.healing_service, host, target, check)
        [open_] = [row for row in self.rows("select * from incidents where status = 'OPEN'") if row["host"] == host]
        return str(open_["incident_id"])

    def boots(self, host: str = "win-1") -> None:
        route = self.healing_service.routes()["POST", "/api/agent/boots"]
        assert self.run(route.handle(Request("POST", "/", {}, {"host": host}), f"agent:{host}")).status == 202  # type: ignore[arg-type]

    def later(self, ms: int) -> None:
        self.runtime.at += ms
        self.work(self.healing_service)

    def at_l2(self, incident: str) -> str:
        return self.opsctl(f"incidents remedy {incident} --reason looked", self.start()).text

    def told(self) -> list[tuple[str, str, str, str]]:
        rows = self.rows("select level, rule_id, stage, outcome from healing_telemetry order by at, telemetry_id")
        return [tuple(row.values()) for row in rows]  # type: ignore[misc]

    def only(self, table: str) -> dict[str, Any]:
        [row] = self.rows(f"select * from {table}")
        return row

    def rule(self, id: str = PATTERN.id) -> dict[str, Any]:
        return self.row("healing_rules", rule_id=id)


# --- one namespace ----------------------------------------------------------------------------------------------------


def test_every_rule_of_the_release_and_every_candidate_names_a_runbook_that_there_is() -> None:
    """Promoted rules mapped to placeholders."""
    runbooks = {path.stem for path in (ROOT / "runbooks").glob("*.md")}
    assert {rule.runbook_id for rule in (*RULES, *KNOWN_AT_L2)} <= runbooks


def test_rules_of_the_release_have_ids_of_one_kind_and_answer_one_check_each() -> None:
    every = (*RULES, *KNOWN_AT_L2)
    assert len({rule.id for rule in every}) == len({(rule.os, rule.check) for rule in every}) == len(every)
    assert all(rule.id.startswith({"windows": "L1-WIN-", "linux": "L1-LIN-"}[rule.os]) for rule in every)


def test_orders_telemetry_and_rules_join_on_the_same_id() -> None:
    """Ids of three kinds never matched: 65 % of the telemetry was blind."""
    engine = Engine()
    engine.fails()
    engine.later(MINUTE_MS)
    joined = engine.rows(
        "select o.order_id from remediation_orders o join healing_rules r on r.rule_id = o.rule_id"
        " join healing_telemetry t on t.rule_id = r.rule_id and t.order_id = o.order_id and t.runbook_id = r.runbook_id"
    )
    assert [row["order_id"] for row in joined] == [
        row["order_id"] for row in engine.rows("select * from remediation_orders")
    ]


def test_an_identifier_of_three_hundred_letters_is_whole_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures were cut to 64 characters, ids to 8."""
    long = Rule(
        rule_id("windows", LONG), PATTERN.runbook_id, "windows", LONG, PATTERN.probe, PATTERN.well, PATTERN.remedy
    )
    monkeypatch.setattr(healing_rules, "KNOWN_AT_L2", (long,))
    engine = Engine()
    for _ in range(PROMOTED_AT):
        assert f"rule_id={long.id} " in engine.at_l2(engine.fails(LONG, LONG))
        engine.runtime.at += HOUR_MS
    engine.fails(LONG, LONG)
    engine.later(MINUTE_MS)
    assert len(long.id) > 300
    assert engine.rule(long.id)["status"] == "ACTIVE"
    assert {row["rule_id"] for row in engine.rows("select rule_id from healing_telemetry")} == {long.id}
    assert {row["rule_id"] for row in engine.rows("select rule_id from remediation_orders")} == {long.id}
    assert {(row["check_name"], row["target"]) for row in engine.rows("select * from incidents")} == {(LONG, LONG)}
    assert [row["subject"] for row in engine.audited("healing_rules.update")] == [f"healing_rules/{long.id}"]


def test_a_rule_is_on_record_and_served_once_however_often_its_engine_starts() -> None:
    """Builtin rules were served twice, by the agent and by the server."""
    engine = Engine()
    for _ in range(3):
        engine.healing_service = engine.life(HealingService)
        engine.fails()
        engine.later(MINUTE_MS)
    rows = engine.rows("select rule_id, source, status from healing_rules order by rule_id")
    assert [row["rule_id"] for row in rows] == sorted(rule.id for rule in RULES)
    assert {(row["source"], row["status"]) for row in rows} == {("builtin", "ACTIVE")}
    assert len(engine.audited("healing_rules.insert")) == len(RULES)


def test_a_rule_of_a_later_release_is_put_on_record_beside_the_others() -> None:
    engine = Engine()
    engine.fails()
    more = Rule("L1-WIN-NEW", RULES[0].runbook_id, "windows", "new", PATTERN.probe, PATTERN.well, PATTERN.remedy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healing_rules, "RULES", (*RULES, more))
        engine.report(engine.life(HealingService), "win-1", "t", "new")
    assert engine.rule("L1-WIN-NEW")["status"] == "ACTIVE"
    assert [row["rule_id"] for row in engine.rows("select rule_id from remediation_orders where rule_id like '%NEW'")]


def test_two_checks_of_one_thing_that_fail_at_the_same_instant_are_two_incidents() -> None:
    engine = Engine()
    engine.fails("disk_usage", "C")
    engine.report(engine.healing_service, "win-1", "C", "disk_health")
    assert [row["check_name"] for row in engine.rows("select * from incidents order by check_name")] == [
        "disk_health", "disk_usage",
    ]  # fmt: skip


# --- orders -----------------------------------------------------------------------------------------------------------


def test_the_states_of_an_order_are_a_table_without_a_way_back() -> None:
    order = {status: place for place, status in enumerate(ORDER_STATUSES)}
    assert all(order[after] > order[before] for before, steps in ORDER_STEPS.items() for after in steps)
    assert {"EXPIRED", "FAILED"} <= set.intersection(*(set(steps) for steps in ORDER_STEPS.values()))
    assert set(ORDER_STEPS).isdisjoint({"COMPLETED", "FAILED", "EXPIRED"})


def test_an_order_and_its_incident_end_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders were completed in one table and stuck in another."""
    engine = Engine()
    engine.fails()
    update = audit.update

    def breaking(tx: Any, ctx: Any, table: str, *rest: Any, **more: Any) -> None:
        if table == "incidents":
            raise RuntimeError("the connection broke here")
        update(tx, ctx, table, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(audit, "update", breaking)
        with pytest.raises(RuntimeError):
            engine.later(MINUTE_MS)
    standing = [(row["status"], row["finished_at"]) for row in engine.rows("select * from remediation_orders")]
    assert standing == [("ACKNOWLEDGED", None)]
    engine.later(MINUTE_MS)
    assert engine.only("remediation_orders")["status"] == "COMPLETED"
    assert engine.only("incidents")["status"] == "RESOLVED"


def test_an_order_that_was_left_while_nobody_worked_expires_at_the_first_look() -> None:
    """425 orders were stale."""
    engine = Engine()
    engine.fails()
    engine.runtime.at += 30 * ORDER_LIFE_MS
    engine.healing_service = engine.life(HealingService)
    assert engine.due(engine.healing_service) is not None
    engine.later(0)
    row = engine.only("remediation_orders")
    assert (row["status"], row["detail"], engine.lab.ran) == ("EXPIRED", "time is over: never tried", [])
    assert engine.told() == [("L1", RULES[0].id, "order", "EXPIRED")]


def test_a_host_that_does_not_know_what_is_asked_of_it_fails_the_order_at_once() -> None:
    engine = Engine()
    engine.lab.unknown = True
    engine.fails()
    engine.later(MINUTE_MS)
    row = engine.only("remediation_orders")
    assert (row["status"], engine.due(engine.healing_service)) == ("FAILED", None)
    assert "is not recognized" in row["detail"]
    assert len(engine.lab.ran) == 1


def test_after_some_orders_in_vain_an_incident_is_for_ops_and_no_other_order_is_issued() -> None:
    engine = Engine()
    engine.lab.down = ConnectionFailed("down")
    incident = engine.fails()
    for n in range(1, GIVEN_UP_AT + 3):
        engine.later(ORDER_LIFE_MS)
        engine.report(engine.healing_service, "win-1", "app")
        assert len(engine.rows("select * from remediation_orders")) == min(n + 1, GIVEN_UP_AT)
    assert engine.row("incidents", incident_id=incident)["level"] == "L2"
    standing = {row["status"] for row in engine.rows("select status from remediation_orders")}
    assert standing == {"EXPIRED"}
    engine.lab.down = None
    assert f"incident_id={incident} rule_id={RULES[0].id} well=yes promoted=no" in engine.at_l2(incident)
    assert engine.row("incidents", incident_id=incident)["status"] == "RESOLVED"


# --- once more --------------------------------------------------------------------------------------------------------


def test_what_was_healed_is_looked_at_once_more_and_then_left_alone() -> None:
    engine = Engine()
    engine.fails()
    engine.later(MINUTE_MS)
    assert engine.due(engine.healing_service) == engine.runtime.at + AGAIN_MS
    engine.later(AGAIN_MS)
    assert engine.due(engine.healing_service) is None
    assert [row[2:] for row in engine.told()] == [("order", "COMPLETED"), ("again", "WELL")]
    assert engine.only("remediation_orders")["verified_at"] == engine.runtime.at


@pytest.mark.parametrize("seen_by", ["the second look", "the agent", "a reboot"])
def test_what_comes_back_opens_its_incident_again_with_another_order(seen_by: str) -> None:
    engine = Engine()
    incident = engine.fails()
    engine.later(MINUTE_MS)
    if seen_by == "a reboot":
        engine.later(AGAIN_MS)
        engine.runtime.at += 24 * HOUR_MS
        engine.lab.wrong.add("win-1")
        engine.boots()
        engine.later(0)
    elif seen_by == "the agent":
        engine.runtime.at += 2 * MINUTE_MS
        assert engine.fails() == incident
    else:
        engine.lab.wrong.add("win-1")
        engine.later(AGAIN_MS)
    assert engine.only("incidents")["status"] == "OPEN"
    assert [row["status"] for row in engine.rows("select status from remediation_orders order by issued_at")] == [
        "COMPLETED", "ISSUED",
    ]  # fmt: skip
    engine.later(MINUTE_MS)
    assert engine.only("incidents")["status"] == "RESOLVED"
    assert [outcome for *_, outcome in engine.told()].count("COMPLETED") == 2
    if seen_by == "a reboot":
        assert ("L1", RULES[0].id, "reboot", "BACK") in engine.told()


def test_a_reboot_long_after_puts_nothing_in_question() -> None:
    engine = Engine()
    engine.fails()
    engine.later(MINUTE_MS)
    engine.later(AGAIN_MS)
    engine.runtime.at += 8 * 24 * HOUR_MS
    engine.boots()
    assert engine.due(engine.healing_service) is None


def test_a_host_that_does_not_answer_is_not_asked_for_ever_whether_it_is_still_well() -> None:
    engine = Engine()
    engine.fails()
    engine.later(MINUTE_MS)
    engine.lab.down = ConnectionFailed("down")
    for _ in range(LOOKS):
        assert engine.due(engine.healing_service) is not None
        engine.later(AGAIN_MS)
    assert engine.due(engine.healing_service) is None
    assert engine.told()[-1] == ("L1", RULES[0].id, "again", "UNSEEN")
    assert engine.only("incidents")["status"] == "RESOLVED"


# --- L2, and what becomes of it ---------------------------------------------------------------------------------------


def resolved(engine: Engine, times: int) -> list[str]:
    """What ops was told, each time that it tried the remedy."""
    said = []
    for _ in range(times):
        said.append(engine.at_l2(engine.fails(PATTERN.check, "Defender")))
        engine.runtime.at += HOUR_MS
    return said


def test_what_ops_resolved_five_times_is_a_rule_that_heals_the_sixth() -> None:
    """The promotion was complete, and nothing ever got into it."""
    engine = Engine()
    said = resolved(engine, PROMOTED_AT)
    assert [line.strip().rsplit("=", 1)[1] for line in said] == ["no"] * (PROMOTED_AT - 1) + ["yes"]
    rule = engine.rule()
    assert (rule["status"], rule["source"], rule["runbook_id"]) == ("ACTIVE", "promoted", "host_incident_unmatched")
    assert json.loads(rule["remedy"]) == [list(line) for line in PATTERN.remedy], "what ops had the host do"
    engine.fails(PATTERN.check, "Defender")
    engine.later(MINUTE_MS)
    order = engine.only("remediation_orders")
    assert (order["rule_id"], order["status"]) == (PATTERN.id, "COMPLETED")
    assert engine.row("incidents", incident_id=order["incident_id"])["status"] == "RESOLVED"
    assert [row[0] for row in engine.told()] == ["L2"] * PROMOTED_AT + ["L1"]


def test_what_did_not_help_is_told_and_counts_for_nothing() -> None:
    engine = Engine()
    engine.lab.helps = False
    incident = engine.fails(PATTERN.check, "Defender")
    for _ in range(PROMOTED_AT + 1):
        assert "well=no promoted=no" in engine.at_l2(incident)
        engine.runtime.at += HOUR_MS
    assert engine.only("incidents")["status"] == "OPEN"
    assert engine.rule()["status"] == "CANDIDATE"
    assert {outcome for *_, outcome in engine.told()} == {"NOT_WELL"}


def test_a_remedy_without_an_answer_is_asked_for_again_and_looks_first() -> None:
    engine = Engine()
    incident = engine.fails(PATTERN.check, "Defender")
    engine.lab.down = ConnectionFailed("down")
    assert engine.opsctl(f"incidents remedy {incident} --reason x", engine.start()).status == 3
    engine.lab.down, engine.lab.wrong = None, set()
    engine.lab.ran.clear()
    assert "well=yes" in engine.at_l2(incident)
    assert engine.lab.ran == [" ".join(PATTERN.probe)], "it was well already: nothing is repeated"


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda engine: engine.fails("unheard_of", "t"), "no remedy is known for unheard_of on windows"),
        (lambda engine: engine.fails(), f"ends with an order of {RULES[0].id}"),
        (lambda _: "incident_9", "no incident incident_9"),
    ],
)
def test_a_remedy_is_refused_where_there_is_none_or_a_rule_heals(prepare: Callable[[Engine], str], why: str) -> None:
    engine = Engine()
    assert why in engine.at_l2(prepare(engine))
    assert engine.lab.ran == []
    assert engine.told() == []


def test_a_promoted_rule_that_never_heals_is_flagged_and_withdrawn_and_its_incident_is_for_ops() -> None:
    """Promoted rules with no success at all were served for ever."""
    engine = Engine()
    resolved(engine, PROMOTED_AT)
    engine.lab.helps = False
    incident = engine.fails(PATTERN.check, "Defender")
    for n in range(1, WITHDRAWN_AT + 1):
        assert engine.rule()["status"] == "ACTIVE"
        engine.later(MINUTE_MS)
        engine.later(ORDER_LIFE_MS)
        engine.report(engine.healing_service, "win-1", "Defender", PATTERN.check)
        assert len(engine.rows("select * from remediation_orders")) == min(n + 1, WITHDRAWN_AT)
    assert (engine.rule()["status"], engine.rule()["withdrawn_at"]) == ("WITHDRAWN", engine.runtime.at)
    assert engine.row("incidents", incident_id=incident)["level"] == "L2"
    assert [row["reason"] for row in engine.audited("healing_rules.update")][1:] == ["3 orders, and none has healed"]
    engine.due(engine.healing_service)
    standing = {series[0] for series in engine.metrics.standing}
    assert {"healing_rule_failed_timestamp_seconds", "host_incident_unmatched_timestamp_seconds"} <= standing
    assert engine.opsctl(f"orders issue {incident}", engine.start()).text.startswith("error: no rule answers ")


def test_a_rule_of_the_release_and_one_that_has_healed_are_never_withdrawn() -> None:
    engine = Engine()
    resolved(engine, PROMOTED_AT)
    engine.fails(PATTERN.check, "Defender")
    engine.later(MINUTE_MS)
    engine.later(AGAIN_MS)
    engine.lab.helps = False
    engine.fails(PATTERN.check, "Defender")
    engine.lab.wrong.add("lin-1")
    for _ in range(WITHDRAWN_AT + 1):
        engine.later(MINUTE_MS)
        engine.later(ORDER_LIFE_MS)
        engine.report(engine.healing_service, "win-1", "Defender", PATTERN.check)
        engine.report(engine.healing_service, "win-1", "app")
    assert {row["status"] for row in engine.rows("select status from healing_rules")} == {"ACTIVE"}
