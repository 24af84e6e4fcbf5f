"""What ops needs for hosts beyond the orders that heal them: incidents that no rule heals, and clocks.

Invariant: an incident that a rule heals is ended by its order alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contest_platform.admin.acting import Act, Action
from contest_platform.admin.reading import LIMIT, Answer, Given, Read, listing, read_route
from contest_platform.fields import Field
from contest_platform.ports import Ports, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services.healing import HealingService
from contest_platform.services.host_clocks import HostClocks, Reading
from contest_platform.statuses import INCIDENT_STATUSES, LEVELS

REASON = Field("reason", "why, for the record")
INCIDENT = Field("incident_id", "the incident")
RULE = Field("rule_id", "only this", required=False)
_RULES = """
    select rule_id, source, status, os, check_name, runbook_id, created_at, promoted_at, withdrawn_at,
           (select count(*) from healing_telemetry t where t.rule_id = r.rule_id and t.level = 'L2'
              and t.outcome = 'WELL') as helped,
           (select count(*) from remediation_orders o where o.rule_id = r.rule_id and o.status = 'COMPLETED') as healed,
           (select count(*) from remediation_orders o where o.rule_id = r.rule_id
              and o.status in ('FAILED', 'EXPIRED')) as in_vain
    from healing_rules r where (:rule_id is null or rule_id = :rule_id) order by rule_id
"""
_INCIDENTS = """
    select incident_id, status, level, host, check_name, target, observed, reported_at, resolved_at,
           (:now - resolved_at) / 1000 as resolved_s,
           (select count(*) from remediation_orders o where o.incident_id = i.incident_id) as orders
    from incidents i where (:status is null or status = :status) and (:host is null or host = :host)
      and (:level is null or level = :level)
      and (:check is null or check_name = :check) and (:target is null or target = :target)
    order by reported_at, incident_id
"""


class Fleet:
    def __init__(self, ports: Ports, config: Config, healing: HealingService) -> None:
        self._ports, self._config, self._healing = ports, config, healing
        self._clocks = HostClocks(ports, config)

    def reads(self) -> Mapping[tuple[str, str], Route]:
        fields = (
            Field("status", "only these", required=False, choices=INCIDENT_STATUSES),
            Field("level", "only for these", required=False, choices=LEVELS),
            Field("host", "only of this", required=False),
            Field("check", "only of this check", required=False),
            Field("target", "only of this", required=False),
            LIMIT,
        )
        off = Field("off_s", "only those so many seconds off, and those not known", "integer", required=False)
        rules = Read("/api/admin/rules", "The rules by which hosts are healed", (RULE, LIMIT), listing(_RULES))
        incidents = Read("/api/admin/incidents", "What the agents of the hosts reported", fields, listing(_INCIDENTS))
        return {
            ("GET", incidents.path): incidents.route(self._ports),
            ("GET", rules.path): rules.route(self._ports),
            ("GET", "/api/admin/hosts/clocks"): read_route(
                "How far the clock of each host is from the database's", (off,), self._all_clocks
            ),
        }

    def actions(self) -> tuple[Action, ...]:
        return (
            Action(
                "/api/admin/incidents/resolve",
                "End an incident that no rule heals",
                (INCIDENT, REASON),
                self._resolve,
            ),
            Action(
                "/api/admin/incidents/remedy",
                "Try on its host what is known to help against an incident that no rule heals",
                (INCIDENT, REASON),
                self._admit,
                self._healing.try_remedy,
            ),
            Action("/api/admin/incidents/reopen", "Take that back", (INCIDENT, REASON), self._reopen),
            Action(
                "/api/admin/hosts/sync",
                "Have a host take the time from its source",
                (Field("host", "the host"), REASON),
                self._known_host,
                self._sync,
            ),
        )

    # --- incidents ---------------------------------------------------------------------------------------------------

    def _resolve(self, tx: Tx, act: Act) -> dict[str, Any] | Refusal:
        changed = self._healing.resolve_unmatched(tx, act.ctx, act.given["incident_id"], act.why)
        return _told(changed, act, "RESOLVED")

    def _admit(self, tx: Tx, act: Act) -> dict[str, Any] | Refusal:
        return self._healing.admit_remedy(tx, act.ctx, act.given["incident_id"])

    def _reopen(self, tx: Tx, act: Act) -> dict[str, Any] | Refusal:
        incident_id = act.given["incident_id"]
        changed = self._healing.reopen_unmatched(tx, act.ctx, incident_id, act.why)
        # Its check may have been reported again: then that incident is open, and this one stays as it is.
        row = tx.one("select status from incidents where incident_id = :i", {"i": incident_id})
        return _told(changed, act, "" if row is None else row["status"])

    # --- clocks ------------------------------------------------------------------------------------------------------

    async def _all_clocks(self, given: Given, principal: str) -> Answer:
        """Asked of all hosts at once, for one that is down lets the others wait."""
        found: dict[str, Reading] = {}

        async def look(host: str) -> None:
            found[host] = await self._clocks.read(host)

        hosts = sorted(self._config.hosts)
        await self._ports.runtime.gather([look(host) for host in hosts], len(hosts))
        off_s = given["off_s"] or 0
        told = [(host, found[host]) for host in hosts]
        items = [
            {"host": host, **reading._asdict()}
            for host, reading in told
            if reading.ahead_s is None or abs(reading.ahead_s) >= off_s
        ]
        return {"items": items, "more": False}

    def _known_host(self, tx: Tx, act: Act) -> dict[str, Any] | Refusal:
        host = act.given["host"]
        return {} if host in self._config.hosts else Refusal(404, f"no host {host}")

    async def _sync(self, act: Act) -> dict[str, Any] | Refusal:
        host = act.given["host"]
        return await self._clocks.sync(host) or {"host": host}


def _told(changed: bool | Refusal, act: Act, status: str) -> dict[str, Any] | Refusal:
    if isinstance(changed, Refusal):
        return changed
    return {"incident_id": act.given["incident_id"], "status": status, "changed": changed}
