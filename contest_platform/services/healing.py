"""Host healing: a reported incident is matched to a rule, and the rule's order is carried out and verified.

A lost answer leaves unknown whether a command ran, so every attempt probes the host before it acts, and an order ends
only when a probe has seen the host right again or its time is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.errors import code_of
from contest_platform.fields import Field
from contest_platform.http import Request, Response
from contest_platform.jobs import HOUR_MS, MINUTE_MS, Job
from contest_platform.metrics import Gauge
from contest_platform.ports import PortError, Ports, Row, Tx
from contest_platform.service import Config, Refusal, Route

ACTOR = "system:healing"
ORDER_LIFE_MS = 2 * HOUR_MS
OPEN = ("ISSUED", "DELIVERED", "ACKNOWLEDGED")
_OPEN_ORDERS = """
    select host, min(issued_at) from remediation_orders where status in ('ISSUED', 'DELIVERED', 'ACKNOWLEDGED')
    group by host order by host
"""
_UNMATCHED = """
    select host, check_name, max(reported_at) from incidents i where status = 'OPEN'
      and not exists (select 1 from remediation_orders o where o.incident_id = i.incident_id)
    group by host, check_name
"""
_FRUITLESS = """
    select rule_id, max(finished_at) from remediation_orders
    group by rule_id having count(case when status = 'COMPLETED' then 1 end) = 0 and max(finished_at) is not null
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """An L1 rule: which incident it answers, how to see whether all is well, and what puts it right. `{target}` is the
    incident's target. `well` is what the probe prints when nothing is left to do."""

    id: str
    runbook_id: str
    os: str
    check: str
    probe: tuple[str, ...]
    well: str
    remedy: tuple[str, ...]


_REPORTED = {"host": "its own", "check": "which failed", "target": "of the check", "observed": "what it saw"}
RULES = (
    Rule(
        "L1-WIN-SERVICE-STOPPED", "host_service_stopped", "windows", "service_running",
        ("Get-Service", "{target}"), "Running", ("Start-Service", "{target}"),
    ),
    Rule(
        "L1-LIN-SERVICE-STOPPED", "host_service_stopped", "linux", "service_running",
        ("systemctl", "is-active", "{target}"), "active", ("systemctl", "start", "{target}"),
    ),
)  # fmt: skip

RESTARTS = {"windows": ("Restart-Service", "{target}"), "linux": ("systemctl", "restart", "{target}")}
"""What restarts a service, whether it runs or not."""


class HealingService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._order_gauge, self._unmatched_gauge, self._fruitless_gauge, self._up_gauge = (
            Gauge(ports.metrics, name)
            for name in (
                "remediation_order_oldest_open_timestamp_seconds",
                "host_incident_unmatched_timestamp_seconds",
                "healing_rule_failed_timestamp_seconds",
                "host_up",
            )
        )
        self._up: dict[tuple[str, ...], int] = {}
        """Of the hosts with open orders that have been spoken to: whether they answered."""

    def jobs(self) -> Sequence[Job]:
        return (Job("healing", "healing", MINUTE_MS, self._due, self._work),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        return {
            ("POST", "/api/agent/incidents"): Route(
                "agent", self._report, "A host's agent reports a check that failed",
                tuple(Field(name, help) for name, help in _REPORTED.items()),
            )
        }  # fmt: skip

    async def _report(self, request: Request, principal: str) -> Response:
        """An agent reports a failed check of its own host: one open incident per (host, check, target). When it is
        reported again after its order has ended in vain, a new order is issued."""
        body = request.body
        host = str(body.get("host", ""))
        if principal != f"agent:{host}" or host not in self._config.hosts:
            return Response(403, {"error": "an agent reports only its own host"})
        missing = [name for name in ("check", "target", "observed") if not body.get(name)]
        if missing:
            return Response(422, {"error": f"missing: {', '.join(missing)}"})
        incident = {
            "host": host,
            "check_name": str(body["check"]),
            "target": str(body["target"]),
            "observed": str(body["observed"]),
        }

        def record(tx: Tx) -> str:
            same = tx.one(
                "select * from incidents where host = :host and check_name = :check_name"
                " and target = :target and status = 'OPEN'",
                {key: incident[key] for key in ("host", "check_name", "target")},
            )
            if same is not None:
                if _ended_in_vain(tx, same["incident_id"]):
                    self._issue(tx, same)
                    tx.notify("healing")
                return str(same["incident_id"])
            incident_id = self._ports.ids.new("incident", host, incident["target"], str(tx.now))
            row = {
                "incident_id": incident_id, **incident, "reported_at": tx.now, "status": "OPEN", "resolved_at": None,
            }  # fmt: skip
            audit.insert(tx, Context(principal.replace("agent:", "system:agent:"), incident_id), "incidents", row,
                         "reported by the host's agent")  # fmt: skip
            self._issue(tx, row)
            tx.notify("healing")
            return incident_id

        return Response(202, {"incident_id": await self._ports.store.transact("healing.report", record)})

    def _issue(self, tx: Tx, incident: Row) -> None:
        """Match the incident to a rule and issue its order; without a rule the incident stays open for L2."""
        rule = self._rule(incident["host"], incident["check_name"])
        ctx = Context(ACTOR, incident["incident_id"])
        if rule is None:
            audit.append(tx, ctx, "healing.unmatched", f"incidents/{incident['incident_id']}", reason="no L1 rule")
            return
        self._write_order(tx, ctx, incident, rule, f"matched {rule.id}")

    def issue_again(self, tx: Tx, ctx: Context, incident_id: str, reason: str) -> str | Refusal:
        """Issue another order for an open incident all of whose orders have ended; returns its id."""
        incident = tx.one("select * from incidents where incident_id = :i", {"i": incident_id})
        if incident is None:
            return Refusal(404, f"no incident {incident_id}")
        if incident["status"] != "OPEN":
            return Refusal(409, f"incident {incident_id} is {incident['status']}")
        rule = self._rule(incident["host"], incident["check_name"])
        if rule is None:
            return Refusal(409, f"no rule answers {incident['check_name']} on {incident['host']}")
        sql = "select order_id, status from remediation_orders where incident_id = :i order by issued_at, order_id"
        unended = [order for order in tx.all(sql, {"i": incident_id}) if order["status"] in OPEN]
        if unended:
            return Refusal(409, f"order {unended[0]['order_id']} is {unended[0]['status']}")
        tx.notify("healing")
        return self._write_order(tx, ctx, incident, rule, reason)

    def resolve_unmatched(self, tx: Tx, ctx: Context, incident_id: str, reason: str) -> bool | Refusal:
        """End an open incident that no rule heals; False: it has ended already. If its check goes on failing, the
        agent's next report opens another."""
        incident = self._unmatched(tx, incident_id)
        if isinstance(incident, Refusal) or incident["status"] == "RESOLVED":
            return incident if isinstance(incident, Refusal) else False
        changes = {"status": "RESOLVED", "resolved_at": tx.now}
        audit.update(tx, ctx, "incidents", {"incident_id": incident_id}, changes, reason)
        tx.notify("healing")
        return True

    def reopen_unmatched(self, tx: Tx, ctx: Context, incident_id: str, reason: str) -> bool | Refusal:
        """Take back that it ended; False: it is open, or another for the same check of the host is."""
        incident = self._unmatched(tx, incident_id)
        if isinstance(incident, Refusal):
            return incident
        same = {name: incident[name] for name in ("host", "check_name", "target")}
        sql = "select 1 from incidents where host = :host and check_name = :check_name and target = :target"
        if tx.one(f"{sql} and status = 'OPEN'", same) is not None:
            return False
        changes = {"status": "OPEN", "resolved_at": None}
        audit.update(tx, ctx, "incidents", {"incident_id": incident_id}, changes, reason)
        tx.notify("healing")
        return True

    def _unmatched(self, tx: Tx, incident_id: str) -> Row | Refusal:
        incident = tx.one("select * from incidents where incident_id = :i", {"i": incident_id})
        if incident is None:
            return Refusal(404, f"no incident {incident_id}")
        rule = self._rule(incident["host"], incident["check_name"])
        if rule is not None:
            return Refusal(409, f"incident {incident_id} ends with an order of {rule.id}")
        return incident

    def _write_order(self, tx: Tx, ctx: Context, incident: Row, rule: Rule, reason: str) -> str:
        order = {
            "order_id": self._ports.ids.new("order", incident["incident_id"], str(tx.now)),
            "incident_id": incident["incident_id"],
            "rule_id": rule.id,
            "runbook_id": rule.runbook_id,
            "host": incident["host"],
            "status": "ISSUED",
            "attempts": 0,
            "issued_at": tx.now,
            "delivered_at": None,
            "acknowledged_at": None,
            "finished_at": None,
            "expires_at": tx.now + ORDER_LIFE_MS,
            "detail": None,
        }
        audit.insert(tx, ctx, "remediation_orders", order, reason)
        return str(order["order_id"])

    def _rule(self, host: str, check: str) -> Rule | None:
        os = self._config.hosts[host]
        return next((rule for rule in RULES if rule.os == os and rule.check == check), None)

    # --- carrying out orders -----------------------------------------------------------------------------------------

    async def _due(self) -> int | None:
        def standing(tx: Tx) -> tuple[int, dict[tuple[str, ...], int], dict[tuple[str, ...], int], Any]:
            return (
                tx.now,
                {(host,): at for host, at in tx.tuples(_OPEN_ORDERS)},
                {(host, check): at for host, check, at in tx.tuples(_UNMATCHED)},
                {(rule_id,): at for rule_id, at in tx.tuples(_FRUITLESS)},
            )

        now, orders, unmatched, fruitless = await self._ports.store.transact("healing.due", standing)
        self._order_gauge.tell(orders)
        self._unmatched_gauge.tell(unmatched)
        self._fruitless_gauge.tell(fruitless)
        self._up = {host: up for host, up in self._up.items() if host in orders}
        self._up_gauge.tell(self._up)
        return now if orders else None

    async def _work(self) -> None:
        orders = await self._ports.store.transact(
            "healing.list",
            lambda tx: [
                dict(row)
                for row in tx.all(
                    "select o.*, i.target, i.check_name from remediation_orders o"
                    " join incidents i on i.incident_id = o.incident_id"
                    " where o.status in ('ISSUED', 'DELIVERED', 'ACKNOWLEDGED') order by o.issued_at, o.order_id"
                )
            ],
        )
        for order in orders:
            await self._carry_out(order)

    async def _carry_out(self, order: Mapping[str, Any]) -> None:
        rule = self._rule(order["host"], order["check_name"])
        assert rule is not None, "an order was issued under a rule"
        store = self._ports.store
        if self._ports.runtime.now() >= order["expires_at"]:
            await store.transact("healing.expire", lambda tx: self._change(tx, order, "EXPIRED", "time is over"))
            return
        try:
            well = await self._probe(order, rule)
            await store.transact("healing.delivered", lambda tx: self._change(tx, order, "DELIVERED", "host answered"))
            if not well:
                result = await self._run(order, rule.remedy)
                await store.transact(
                    "healing.acknowledged",
                    lambda tx: self._change(tx, order, "ACKNOWLEDGED", f"exit {result[0]}"),
                )
                well = await self._probe(order, rule)
        except PortError as error:
            code = code_of(error)
            self._answered(order, 0)
            await store.transact("healing.attempt", lambda tx: self._change(tx, order, None, code))
            return
        self._answered(order, 1)
        if well:
            await store.transact("healing.done", lambda tx: self._complete(tx, order))
        else:
            await store.transact("healing.attempt", lambda tx: self._change(tx, order, None, "not well yet"))

    def _answered(self, order: Mapping[str, Any], up: int) -> None:
        self._up[order["host"],] = up
        self._up_gauge.tell(self._up)

    async def _probe(self, order: Mapping[str, Any], rule: Rule) -> bool:
        _, stdout = await self._run(order, rule.probe)
        return rule.well in stdout.split()

    async def _run(self, order: Mapping[str, Any], line: Sequence[str]) -> tuple[int, str]:
        return await self._send(order["host"], order["target"], line)

    async def _send(self, host: str, target: str, line: Sequence[str]) -> tuple[int, str]:
        command, *args = (part.format(target=target) for part in line)
        call = self._ports.hosts.run(host=host, command=command, args=args)
        result = await self._ports.runtime.deadline(call, self._config.host_timeout_ms)
        return result.exit_code, result.stdout

    async def look(self, host: str, service: str) -> tuple[str, str]:
        """(state, detail) of a service, asked of its host now: running, stopped, or unreachable. Changes nothing."""
        rule = self._rule(host, "service_running")
        assert rule is not None, "there is a rule for every operating system"
        try:
            _, stdout = await self._send(host, service, rule.probe)
        except PortError as error:
            return "unreachable", code_of(error)
        words = stdout.split()
        return "running" if rule.well in words else "stopped", " ".join(words) or "no output"

    async def restart(self, service: str) -> list[str]:
        """Restart a service on every host on which it runs; which these are. Raises PortError when one of them stops
        answering: whether it restarts is unknown then, and the next have not been asked."""
        found = [host for host in sorted(self._config.hosts) if (await self.look(host, service))[0] == "running"]
        for host in found:
            await self._send(host, service, RESTARTS[self._config.hosts[host]])
        return found

    def _change(self, tx: Tx, order: Mapping[str, Any], status: str | None, detail: str) -> None:
        """Move the order on, or (status None) count a failed attempt."""
        key = {"order_id": order["order_id"]}
        row = tx.one("select status, attempts from remediation_orders where order_id = :order_id", key)
        assert row is not None, order["order_id"]
        changes: dict[str, Any] = {"detail": detail}
        if status is None:
            changes["attempts"] = row["attempts"] + 1
        elif status in OPEN and OPEN.index(status) <= OPEN.index(row["status"]):
            return
        else:
            changes["status"] = status
            changes[_INSTANTS[status]] = tx.now
        audit.update(tx, Context(ACTOR, order["incident_id"]), "remediation_orders", key, changes, detail)

    def _complete(self, tx: Tx, order: Mapping[str, Any]) -> None:
        self._change(tx, order, "COMPLETED", "a probe saw it well")
        audit.update(
            tx, Context(ACTOR, order["incident_id"]), "incidents", {"incident_id": order["incident_id"]},
            {"status": "RESOLVED", "resolved_at": tx.now}, "a probe saw it well",
        )  # fmt: skip


def _ended_in_vain(tx: Tx, incident_id: str) -> bool:
    """Whether an open incident had orders and all of them have ended."""
    rows = tx.all("select status from remediation_orders where incident_id = :incident", {"incident": incident_id})
    return bool(rows) and all(row["status"] not in OPEN for row in rows)


_INSTANTS = {
    "DELIVERED": "delivered_at",
    "ACKNOWLEDGED": "acknowledged_at",
    "COMPLETED": "finished_at",
    "FAILED": "finished_at",
    "EXPIRED": "finished_at",
}
