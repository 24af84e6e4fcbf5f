"""Remediation orders: carried out, verified, and verified again after a while and after a reboot.

A lost answer leaves unknown whether a command ran, so every attempt probes the host before it acts. An order ends only
when a probe has seen the host right again, when trying again cannot help, or when its time is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.errors import code_of
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import CommandResult, PortError, Ports, Row, Tx
from contest_platform.service import Config
from contest_platform.services import healing_rules
from contest_platform.services.healing_rules import ACTOR, Rule
from contest_platform.statuses import ORDER_STEPS

ORDER_LIFE_MS = 2 * HOUR_MS
AGAIN_MS = 15 * MINUTE_MS
"""So long after an order healed its host is looked at once more; after a reboot, as soon as its agent tells of it."""
LOOKS = 12
"""So often is a host that does not answer asked whether it is still well, AGAIN_MS apart."""
REBOOT_MS = 7 * 24 * HOUR_MS
"""A reboot so long after an order puts it in question."""
GIVEN_UP_AT = 6
"""After so many orders in vain an incident is no longer for a rule."""
OPEN = tuple(ORDER_STEPS)
OPEN_SQL = "status in ('ISSUED', 'DELIVERED', 'ACKNOWLEDGED')"
_UNKNOWN = ("command not found", "is not recognized", "Cannot find any service", ".service not found")
"""What a host says that does not know what it is asked for: no other attempt will find it there."""
_INSTANTS = {
    "DELIVERED": "delivered_at",
    "ACKNOWLEDGED": "acknowledged_at",
    "COMPLETED": "finished_at",
    "FAILED": "finished_at",
    "EXPIRED": "finished_at",
}
_DUE = f"""
    select o.*, i.target, i.check_name, i.status as incident_status
    from remediation_orders o join incidents i on i.incident_id = o.incident_id
    where o.{OPEN_SQL} or o.verify_at <= :now order by o.issued_at, o.order_id
"""


class HopelessError(Exception):
    """The host does not know what an order asks of it."""


class Orders:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self.up: dict[tuple[str, ...], int] = {}
        """Of the hosts with open orders that have been spoken to: whether they answered."""

    # --- issue -------------------------------------------------------------------------------------------------------

    def issue(self, tx: Tx, ctx: Context, incident: Row, rule: Rule, reason: str) -> str:
        order_id = self._ports.ids.new("order", incident["incident_id"], str(tx.now))
        order = {
            "order_id": order_id, "incident_id": incident["incident_id"], "rule_id": rule.id,
            "runbook_id": rule.runbook_id, "host": incident["host"], "status": "ISSUED", "attempts": 0,
            "issued_at": tx.now, "delivered_at": None, "acknowledged_at": None, "finished_at": None,
            "expires_at": tx.now + ORDER_LIFE_MS, "detail": None, "verify_at": None, "verified_at": None,
            "verifications": 0,
        }  # fmt: skip
        audit.insert(tx, ctx, "remediation_orders", order, reason)
        tx.notify("healing")
        return order_id

    # --- carry out ---------------------------------------------------------------------------------------------------

    async def work(self) -> None:
        store = self._ports.store
        due = await store.transact("healing.list", lambda tx: [dict(row) for row in tx.all(_DUE, {"now": tx.now})])
        for order in due:
            if order["status"] in OPEN:
                await self._carry_out(order)
            else:
                await self._look_again(order)

    async def _carry_out(self, order: Mapping[str, Any]) -> None:
        store = self._ports.store
        rule = await store.transact("healing.rule", lambda tx: healing_rules.by_id(tx, order["rule_id"]))
        if self._ports.runtime.now() >= order["expires_at"]:
            why = f"time is over: {order['detail'] or 'never tried'}"
            await store.transact("healing.expire", lambda tx: self._end(tx, order, "EXPIRED", why))
            return
        if rule.status == "WITHDRAWN":
            await store.transact("healing.fail", lambda tx: self._end(tx, order, "FAILED", "its rule was withdrawn"))
            return
        try:
            well = await self.probe(order, rule)
            await store.transact("healing.delivered", lambda tx: self._change(tx, order, "DELIVERED", "host answered"))
            if not well:
                result = await self.remedy(order, rule)
                await store.transact(
                    "healing.acknowledged",
                    lambda tx: self._change(tx, order, "ACKNOWLEDGED", f"exit {result.exit_code}"),
                )
                well = await self.probe(order, rule)
        except PortError as error:
            code = code_of(error)
            self.up[order["host"],] = 0
            await store.transact("healing.attempt", lambda tx: self._change(tx, order, None, code))
            return
        except HopelessError as hopeless:
            self.up[order["host"],] = 1
            why = str(hopeless)
            await store.transact("healing.fail", lambda tx: self._end(tx, order, "FAILED", why))
            return
        self.up[order["host"],] = 1
        if well:
            await store.transact("healing.done", lambda tx: self._complete(tx, order))
        else:
            await store.transact("healing.attempt", lambda tx: self._change(tx, order, None, "not well yet"))

    async def probe(self, about: Mapping[str, Any], rule: Rule) -> bool:
        """Whether the host is well by the rule. `about` holds host and target. Raises PortError and HopelessError."""
        return rule.is_well((await self._asked(about, rule.probe)).stdout)

    async def remedy(self, about: Mapping[str, Any], rule: Rule) -> CommandResult:
        """Send every line of the remedy; what came of the last. Raises PortError and HopelessError."""
        for line in rule.remedy:
            result = await self._asked(about, line)
        return result

    async def _asked(self, about: Mapping[str, Any], line: Sequence[str]) -> CommandResult:
        result = await self.send(about["host"], about["target"], line)
        if result.exit_code and any(words in result.stderr for words in _UNKNOWN):
            raise HopelessError(f"exit {result.exit_code}: {result.stderr.strip()}")
        return result

    async def send(self, host: str, target: str, line: Sequence[str]) -> CommandResult:
        command, *args = (part.format(target=target) for part in line)
        call = self._ports.hosts.run(host=host, command=command, args=args)
        return await self._ports.runtime.deadline(call, self._config.host_timeout_ms)

    # --- how an order goes on ----------------------------------------------------------------------------------------

    def _change(self, tx: Tx, order: Mapping[str, Any], status: str | None, detail: str, **more: Any) -> bool:
        """Move the order on, or (status None) count a failed attempt; whether it has moved."""
        key = {"order_id": order["order_id"]}
        row = tx.one("select status, attempts from remediation_orders where order_id = :order_id", key)
        assert row is not None, order["order_id"]
        changes: dict[str, Any] = {"detail": detail, **more}
        if status is None:
            changes["attempts"] = row["attempts"] + 1
        elif status not in ORDER_STEPS.get(row["status"], ()):
            return False
        else:
            changes["status"] = status
            changes[_INSTANTS[status]] = tx.now
        audit.update(tx, Context(ACTOR, order["incident_id"]), "remediation_orders", key, changes, detail)
        return True

    def _complete(self, tx: Tx, order: Mapping[str, Any]) -> None:
        if not self._change(tx, order, "COMPLETED", "a probe saw it well", verify_at=tx.now + AGAIN_MS):
            return
        ctx, key = Context(ACTOR, order["incident_id"]), {"incident_id": order["incident_id"]}
        changes = {"status": "RESOLVED", "resolved_at": tx.now}
        audit.update(tx, ctx, "incidents", key, changes, "a probe saw it well")
        self._tell(tx, order, "order", "COMPLETED", "a probe saw it well")

    def _end(self, tx: Tx, order: Mapping[str, Any], status: str, detail: str) -> None:
        """It has ended in vain: its rule may be no good, and its incident no longer one for a rule."""
        if not self._change(tx, order, status, detail):
            return
        self._tell(tx, order, "order", status, detail)
        ctx = Context(ACTOR, order["incident_id"])
        withdrawn = healing_rules.withdraw(tx, ctx, healing_rules.by_id(tx, order["rule_id"]))
        [(vain,)] = tx.tuples(
            "select count(*) from remediation_orders where incident_id = :i and status in ('FAILED', 'EXPIRED')",
            {"i": order["incident_id"]},
        )
        if withdrawn or vain >= GIVEN_UP_AT:
            reason = "its rule was withdrawn" if withdrawn else f"{vain} orders ended in vain"
            audit.update(tx, ctx, "incidents", {"incident_id": order["incident_id"]}, {"level": "L2"}, reason)

    def _tell(self, tx: Tx, order: Mapping[str, Any], stage: str, outcome: str, detail: str) -> None:
        about = {
            "telemetry_id": self._ports.ids.new("telemetry", order["order_id"], stage, str(tx.now)),
            "incident_id": order["incident_id"], "order_id": order["order_id"], "host": order["host"], "detail": detail,
        }  # fmt: skip
        rule = healing_rules.by_id(tx, order["rule_id"])
        healing_rules.tell(tx, Context(ACTOR, order["incident_id"]), rule, "L1", stage, outcome, about)

    # --- once more ---------------------------------------------------------------------------------------------------

    async def _look_again(self, order: Mapping[str, Any]) -> None:
        """Whether what an order healed is still well. If it came back, its incident is open again, with another
        order."""
        store = self._ports.store
        rule = await store.transact("healing.rule", lambda tx: healing_rules.by_id(tx, order["rule_id"]))
        try:
            well = await self.probe(order, rule)
        except (PortError, HopelessError) as error:
            why = code_of(error) if isinstance(error, PortError) else str(error)
            await store.transact("healing.unseen", lambda tx: self._unseen(tx, order, why))
            return
        await store.transact("healing.verified", lambda tx: self._verified(tx, order, rule, well))

    def _unseen(self, tx: Tx, order: Mapping[str, Any], why: str) -> None:
        times = order["verifications"] + 1
        over = times >= LOOKS
        changes = {"verifications": times, "verify_at": None if over else tx.now + AGAIN_MS}
        ctx, key = Context(ACTOR, order["incident_id"]), {"order_id": order["order_id"]}
        audit.update(tx, ctx, "remediation_orders", key, changes, why)
        if over:
            self._tell(tx, order, "again", "UNSEEN", why)

    def _verified(self, tx: Tx, order: Mapping[str, Any], rule: Rule, well: bool) -> None:
        ctx, key = Context(ACTOR, order["incident_id"]), {"order_id": order["order_id"]}
        said = "it is still well" if well else "it came back"
        changes = {"verify_at": None, "verified_at": tx.now, "verifications": order["verifications"] + 1}
        audit.update(tx, ctx, "remediation_orders", key, changes, said)
        stage = "again" if order["verified_at"] is None else "reboot"
        self._tell(tx, order, stage, "WELL" if well else "BACK", said)
        if not well:
            self.reopen(tx, ctx, order["incident_id"], rule)

    def reopen(self, tx: Tx, ctx: Context, incident_id: str, rule: Rule) -> bool:
        """What was healed came back: open its incident again and order anew, unless another is open for it."""
        incident = tx.one("select * from incidents where incident_id = :i", {"i": incident_id})
        assert incident is not None, incident_id
        same = {name: incident[name] for name in ("host", "check_name", "target")}
        sql = "select 1 from incidents where host = :host and check_name = :check_name and target = :target"
        if tx.one(f"{sql} and status = 'OPEN'", same) is not None:
            return False
        changes = {"status": "OPEN", "resolved_at": None}
        audit.update(tx, ctx, "incidents", {"incident_id": incident_id}, changes, "it came back")
        if rule.status == "ACTIVE":
            self.issue(tx, ctx, incident, rule, "it came back")
        else:
            audit.update(tx, ctx, "incidents", {"incident_id": incident_id}, {"level": "L2"}, "no rule heals it")
        return True

    def booted(self, tx: Tx, host: str) -> int:
        """A host has started: what its last orders healed is looked at once more; how many these are."""
        rows = tx.all(
            "select order_id, verify_at, verifications, incident_id from remediation_orders o"
            " where host = :host and status = 'COMPLETED' and finished_at >= :since and not exists (select 1"
            " from remediation_orders later where later.incident_id = o.incident_id and later.issued_at > o.issued_at)"
            " order by issued_at, order_id",
            {"host": host, "since": tx.now - REBOOT_MS},
        )
        for row in rows:
            ctx, key = Context(ACTOR, row["incident_id"]), {"order_id": row["order_id"]}
            changes = {"verify_at": tx.now, "verifications": 0}
            audit.update(tx, ctx, "remediation_orders", key, changes, "its host has started")
        if rows:
            tx.notify("healing")
        return len(rows)
