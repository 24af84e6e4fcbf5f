"""Host healing: a reported incident is matched to a rule, whose order is carried out; what no rule heals is for ops.

Invariant: one incident at most is open for a check of a host and its target, and each that is has an open order, or had
some that ended in vain, or is for ops (level L2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from contest_platform import audit
from contest_platform.admin.acting import Act
from contest_platform.audit import Context
from contest_platform.errors import code_of
from contest_platform.fields import Field
from contest_platform.http import Request, Response
from contest_platform.jobs import MINUTE_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import PortError, Ports, Row, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import healing_rules
from contest_platform.services.healing_orders import OPEN, OPEN_SQL, ORDER_LIFE_MS, HopelessError, Orders
from contest_platform.services.healing_rules import ACTOR, RULES, SERVICE_RULES, Rule

__all__ = ["ORDER_LIFE_MS", "RULES", "HealingService"]

_OPEN_ORDERS = f"select host, min(issued_at) from remediation_orders where {OPEN_SQL} group by host order by host"
_VERIFIED = "select min(verify_at) from remediation_orders where verify_at is not null"
_UNMATCHED = """
    select host, check_name, max(reported_at) from incidents where status = 'OPEN' and level = 'L2'
    group by host, check_name order by host, check_name
"""
_FRUITLESS = """
    select rule_id, max(finished_at) from remediation_orders group by rule_id
    having sum(case when status = 'COMPLETED' then 1 else 0 end) = 0 and max(finished_at) is not null order by rule_id
"""
_WORD = re.compile(r"[\w.:/\\=@-]+")
"""What a command line may be put together with that others have said: no shell makes two words or a command of it."""
_REPORTED = {"host": "its own", "check": "which failed", "target": "of the check", "observed": "what it saw"}
RESTARTS = {"windows": ("Restart-Service", "{target}"), "linux": ("systemctl", "restart", "{target}")}
"""What restarts a service, whether it runs or not."""


class HealingService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._orders = Orders(ports, config)
        self._order_gauge, self._unmatched_gauge, self._fruitless_gauge, self._up_gauge = (
            Gauge(ports.metrics, name)
            for name in (
                "remediation_order_oldest_open_timestamp_seconds",
                "host_incident_unmatched_timestamp_seconds",
                "healing_rule_failed_timestamp_seconds",
                "host_up",
            )
        )

    def jobs(self) -> Sequence[Job]:
        return (Job("healing", "healing", MINUTE_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {
            ("POST", "/api/agent/incidents"): Route(
                "agent", self._report, "A host's agent reports a check that failed",
                tuple(Field(name, help) for name, help in _REPORTED.items()),
            ),
            ("POST", "/api/agent/boots"): Route(
                "agent", self._booted, "A host's agent tells that its host has started", (Field("host", "its own"),),
            ),
        }  # fmt: skip

    # --- what agents tell --------------------------------------------------------------------------------------------

    async def _report(self, request: Request, principal: str) -> Response:
        """An agent reports a failed check of its own host: one open incident per (host, check, target). When it is
        reported again after its order has ended in vain, a new order is issued; when it is reported before what an
        order did was looked at again, it came back."""
        body = request.body
        host = str(body.get("host", ""))
        if principal != f"agent:{host}" or host not in self._config.hosts:
            return Response(403, {"error": "an agent reports only its own host"})
        missing = [name for name in ("check", "target", "observed") if not body.get(name)]
        if missing:
            return Response(422, {"error": f"missing: {', '.join(missing)}"})
        if not _WORD.fullmatch(str(body["target"])):
            return Response(422, {"error": "target: expected one word of letters, digits and . : / \\ = @ _ -"})
        incident = {
            "host": host,
            "check_name": str(body["check"]),
            "target": str(body["target"]),
            "observed": str(body["observed"]),
        }

        def record(tx: Tx) -> str:
            about = {key: incident[key] for key in ("host", "check_name", "target")}
            same = tx.one(f"{_SAME} and status = 'OPEN'", about)
            if same is not None:
                if same["level"] == "L1" and _ended_in_vain(tx, same["incident_id"]):
                    self._issue(tx, same)
                return str(same["incident_id"])
            back = tx.one(f"{_SAME} and status = 'RESOLVED' and {_IN_QUESTION}", {**about, "now": tx.now})
            rule = healing_rules.served(tx, self._config.hosts[host], incident["check_name"])
            if back is not None and rule is not None:
                self._orders.reopen(tx, Context(ACTOR, back["incident_id"]), back["incident_id"], rule)
                return str(back["incident_id"])
            incident_id = self._ports.ids.new("incident", *about.values(), str(tx.now))
            row = {
                "incident_id": incident_id, **incident, "reported_at": tx.now, "status": "OPEN",
                "level": "L2" if rule is None else "L1", "resolved_at": None,
            }  # fmt: skip
            audit.insert(tx, Context(principal.replace("agent:", "system:agent:"), incident_id), "incidents", row,
                         "reported by the host's agent")  # fmt: skip
            self._issue(tx, row)
            return incident_id

        return Response(202, {"incident_id": await self._ports.store.transact("healing.report", record)})

    async def _booted(self, request: Request, principal: str) -> Response:
        host = str(request.body.get("host", ""))
        if principal != f"agent:{host}" or host not in self._config.hosts:
            return Response(403, {"error": "an agent reports only its own host"})
        orders = await self._ports.store.transact("healing.booted", lambda tx: self._orders.booted(tx, host))
        return Response(202, {"orders": orders})

    def _issue(self, tx: Tx, incident: Row) -> None:
        """Match the incident to a rule and issue its order; without a rule it is for ops."""
        rule = self._rule(tx, incident)
        ctx = Context(ACTOR, incident["incident_id"])
        if rule is None:
            audit.append(tx, ctx, "healing.unmatched", f"incidents/{incident['incident_id']}", reason="no L1 rule")
            if incident["level"] != "L2":
                key = {"incident_id": incident["incident_id"]}
                audit.update(tx, ctx, "incidents", key, {"level": "L2"}, "no L1 rule")
            tx.notify("healing")
            return
        self._orders.issue(tx, ctx, incident, rule, f"matched {rule.id}")

    def _rule(self, tx: Tx, incident: Row) -> Rule | None:
        return healing_rules.served(tx, self._config.hosts[incident["host"]], incident["check_name"])

    # --- what ops asks for -------------------------------------------------------------------------------------------

    def issue_again(self, tx: Tx, ctx: Context, incident_id: str, reason: str) -> str | Refusal:
        """Issue another order for an open incident all of whose orders have ended; returns its id."""
        incident = _incident(tx, incident_id)
        if isinstance(incident, Refusal):
            return incident
        if incident["status"] != "OPEN":
            return Refusal(409, f"incident {incident_id} is {incident['status']}")
        rule = self._rule(tx, incident)
        if rule is None:
            return Refusal(409, f"no rule answers {incident['check_name']} on {incident['host']}")
        sql = "select order_id, status from remediation_orders where incident_id = :i order by issued_at, order_id"
        unended = [order for order in tx.all(sql, {"i": incident_id}) if order["status"] in OPEN]
        if unended:
            return Refusal(409, f"order {unended[0]['order_id']} is {unended[0]['status']}")
        return self._orders.issue(tx, ctx, incident, rule, reason)

    def resolve_unmatched(self, tx: Tx, ctx: Context, incident_id: str, reason: str) -> bool | Refusal:
        """End an open incident that no rule heals; False: it has ended already. If its check goes on failing, the
        agent's next report opens another."""
        incident = self._for_ops(tx, incident_id)
        if isinstance(incident, Refusal) or incident["status"] == "RESOLVED":
            return incident if isinstance(incident, Refusal) else False
        changes = {"status": "RESOLVED", "resolved_at": tx.now}
        audit.update(tx, ctx, "incidents", {"incident_id": incident_id}, changes, reason)
        tx.notify("healing")
        return True

    def reopen_unmatched(self, tx: Tx, ctx: Context, incident_id: str, reason: str) -> bool | Refusal:
        """Take back that it ended; False: it is open, or another for the same check of the host is."""
        incident = self._for_ops(tx, incident_id)
        if isinstance(incident, Refusal):
            return incident
        about = {name: incident[name] for name in ("host", "check_name", "target")}
        if tx.one(f"{_SAME} and status = 'OPEN'", about) is not None:
            return False
        changes = {"status": "OPEN", "resolved_at": None}
        audit.update(tx, ctx, "incidents", {"incident_id": incident_id}, changes, reason)
        tx.notify("healing")
        return True

    def _for_ops(self, tx: Tx, incident_id: str) -> Row | Refusal:
        incident = _incident(tx, incident_id)
        if isinstance(incident, Refusal) or incident["level"] == "L2":
            return incident
        rule = self._rule(tx, incident)
        named = "its rule" if rule is None else rule.id
        return Refusal(409, f"incident {incident_id} ends with an order of {named}")

    def admit_remedy(self, tx: Tx, ctx: Context, incident_id: str) -> dict[str, Any] | Refusal:
        """Whether ops may try a remedy on an incident: one that is for ops, and for whose check one is known."""
        incident = self._for_ops(tx, incident_id)
        if isinstance(incident, Refusal):
            return incident
        if incident["status"] != "OPEN":
            return Refusal(409, f"incident {incident_id} is {incident['status']}")
        os = self._config.hosts[incident["host"]]
        if healing_rules.remedy_at_l2(tx, ctx, os, incident["check_name"]) is None:
            return Refusal(404, f"no remedy is known for {incident['check_name']} on {os}")
        return {}

    async def try_remedy(self, act: Act) -> dict[str, Any] | Refusal:
        """Have the host of an incident look, try the remedy if it is not well, and look again: what helps ends the
        incident, and what has helped often enough is a rule from then on. Raises PortError when the host does not
        answer: what ran is unknown then, and asking again looks first."""
        incident_id, store = act.given["incident_id"], self._ports.store

        def find(tx: Tx) -> tuple[dict[str, Any], Rule]:
            incident = _incident(tx, incident_id)
            assert not isinstance(incident, Refusal), "it has just been admitted"
            os = self._config.hosts[incident["host"]]
            rule = healing_rules.remedy_at_l2(tx, act.ctx, os, incident["check_name"])
            assert rule is not None, "it has just been admitted"
            return dict(incident), rule

        incident, rule = await store.transact("healing.l2", find)
        try:
            well = await self._orders.probe(incident, rule)
            if not well:
                await self._orders.remedy(incident, rule)
                well = await self._orders.probe(incident, rule)
        except HopelessError as hopeless:
            return Refusal(409, str(hopeless))

        def record(tx: Tx) -> bool:
            about = {
                "telemetry_id": self._ports.ids.new("telemetry", incident_id, act.execution_id, act.step, str(tx.now)),
                "incident_id": incident_id, "order_id": None, "host": incident["host"], "detail": act.why,
            }  # fmt: skip
            healing_rules.tell(tx, act.ctx, rule, "L2", "remedy", "WELL" if well else "NOT_WELL", about)
            if well:
                self.resolve_unmatched(tx, act.ctx, incident_id, f"{rule.id} helped")
            return healing_rules.promote(tx, act.ctx, healing_rules.by_id(tx, rule.id))

        promoted = await store.transact("healing.l2_done", record)
        return {"incident_id": incident_id, "rule_id": rule.id, "well": well, "promoted": promoted}

    # --- the job -----------------------------------------------------------------------------------------------------

    async def _due(self) -> int | None:
        def standing(tx: Tx) -> tuple[Any, ...]:
            [(verify_at,)] = tx.tuples(_VERIFIED)
            return (
                tx.now,
                verify_at,
                {(host,): at for host, at in tx.tuples(_OPEN_ORDERS)},
                {(host, check): at for host, check, at in tx.tuples(_UNMATCHED)},
                {(rule_id,): at for rule_id, at in tx.tuples(_FRUITLESS)},
            )

        now, verify_at, orders, unmatched, fruitless = await self._ports.store.transact("healing.due", standing)
        self._order_gauge.tell(orders)
        self._unmatched_gauge.tell(unmatched)
        self._fruitless_gauge.tell(fruitless)
        self._orders.up = {host: up for host, up in self._orders.up.items() if host in orders}
        self._up_gauge.tell(self._orders.up)
        due: int | None = now if orders else verify_at
        return due

    async def _work(self) -> None:
        await self._orders.work()
        self._up_gauge.tell(self._orders.up)

    # --- services ----------------------------------------------------------------------------------------------------

    async def look(self, host: str, service: str) -> tuple[str, str]:
        """(state, detail) of a service, asked of its host now: running, stopped, or unreachable. Changes nothing."""
        rule = SERVICE_RULES[self._config.hosts[host]]
        try:
            result = await self._orders.send(host, service, rule.probe)
        except PortError as error:
            return "unreachable", code_of(error)
        words = result.stdout.split()
        return "running" if rule.is_well(result.stdout) else "stopped", " ".join(words) or "no output"

    async def restart(self, service: str) -> list[str]:
        """Restart a service on every host on which it runs; which these are. Raises PortError when one of them stops
        answering: whether it restarts is unknown then, and the next have not been asked."""
        found = [host for host in sorted(self._config.hosts) if (await self.look(host, service))[0] == "running"]
        for host in found:
            await self._orders.send(host, service, RESTARTS[self._config.hosts[host]])
        return found


_SAME = "select * from incidents i where host = :host and check_name = :check_name and target = :target"
_IN_QUESTION = """exists (select 1 from remediation_orders o where o.incident_id = i.incident_id and o.verify_at > :now)
    order by resolved_at desc, incident_id"""


def _incident(tx: Tx, incident_id: str) -> Row | Refusal:
    incident = tx.one("select * from incidents where incident_id = :i", {"i": incident_id})
    return Refusal(404, f"no incident {incident_id}") if incident is None else incident


def _ended_in_vain(tx: Tx, incident_id: str) -> bool:
    """Whether an open incident had orders and all of them have ended."""
    rows = tx.all("select status from remediation_orders where incident_id = :incident", {"incident": incident_id})
    return bool(rows) and all(row["status"] not in OPEN for row in rows)
