"""The admin service: every endpoint of ops but those of runbook executions, and the few reads that ask elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from contest_platform import audit
from contest_platform.access import UNREACHABLE
from contest_platform.admin import dashboards
from contest_platform.admin.actions import actions
from contest_platform.admin.fleet import Fleet
from contest_platform.admin.reading import Answer, Given, read_route
from contest_platform.admin.reads import READS
from contest_platform.admin.tasks import SERVICES, Tasks
from contest_platform.audit import GENESIS
from contest_platform.fields import Field
from contest_platform.jobs import HOUR_MS, Job
from contest_platform.ports import PortError, Ports, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import backups
from contest_platform.services.healing import HealingService

PAGE = 1_000
NOBODY = "tok_health"
"""A token id that nobody was ever given: an identity provider that answers says that it is worth nothing."""


class AdminService:
    def __init__(self, ports: Ports, config: Config) -> None:
        self._ports, self._config = ports, config
        self._healing = HealingService(ports, config)
        self._tasks = Tasks(ports, config, self._healing)
        self._fleet = Fleet(ports, config, self._healing)

    def jobs(self) -> Sequence[Job]:
        """None of its own, but that a new life tells how old the last backup is."""
        return (Job("backups", "backups", HOUR_MS, partial(backups.tell_age, self._ports), _nothing),)

    def routes(self) -> Mapping[tuple[str, str], Route]:
        routes = {("GET", read.path): read.route(self._ports) for read in READS}
        routes |= {
            ("POST", action.path): action.route(self._ports)
            for action in (*actions(self._healing), *self._tasks.actions(), *self._fleet.actions())
        }
        host = (Field("host", "the host"),)
        return {
            **routes,
            **self._tasks.reads(),
            **self._fleet.reads(),
            ("GET", "/api/admin/hosts"): read_route("The fleet", (), self._hosts),
            ("GET", "/api/admin/hosts/services"): read_route("The services of a host", host, self._services),
            ("GET", "/api/admin/audit/verify"): read_route("Recompute the chain of the audit log", (), self._verify),
            ("GET", "/api/admin/auth/health"): read_route("Whether the identity provider answers", (), self._auth),
            **dashboards.routes(self._ports, self._config),
        }

    async def _hosts(self, given: Given, principal: str) -> Answer:
        def count(tx: Tx) -> dict[str, tuple[int, int]]:
            rows = tx.tuples(
                "select host, count(*), (select count(*) from remediation_orders o where o.host = i.host"
                " and o.status in ('ISSUED', 'DELIVERED', 'ACKNOWLEDGED'))"
                " from incidents i where status = 'OPEN' group by host order by host"
            )
            return {host: (incidents, orders) for host, incidents, orders in rows}

        counts = await self._ports.store.transact("admin.hosts", count)
        items = []
        for host, os in sorted(self._config.hosts.items()):
            incidents, orders = counts.get(host, (0, 0))
            items.append({"host": host, "os": os, "incidents_open": incidents, "orders_open": orders})
        return {"items": items, "more": False}

    async def _services(self, given: Given, principal: str) -> Answer:
        """Asked of the host itself, over its transport; of all services at once, for a host that is down lets each wait
        out its time."""
        host = given["host"]
        if host not in self._config.hosts:
            return Refusal(404, f"no host {host}")
        found: dict[str, tuple[str, str]] = {}

        async def look(service: str) -> None:
            found[service] = await self._healing.look(host, service)

        await self._ports.runtime.gather([look(service) for service in SERVICES], len(SERVICES))
        items = [
            {"host": host, "service": service, "state": found[service][0], "detail": found[service][1]}
            for service in SERVICES
        ]
        return {"items": items, "more": False}

    async def _verify(self, given: Given, principal: str) -> Answer:
        """From the first row to the last, some rows a transaction, so that nobody waits long for the database."""
        rows, head, problem = 0, GENESIS, None
        while problem is None:
            page = await self._ports.store.transact("admin.audit_verify", partial(_page, after=rows))
            rows, head, problem = audit.chain_holds(page, rows, head)
            if len(page) < PAGE:
                break
        item = {"intact": problem is None, "rows": rows, "head_hash": head, "problem": problem}
        return {"items": [item]}

    async def _auth(self, given: Given, principal: str) -> Answer:
        code = None
        try:
            call = self._ports.auth.introspect(token_id=NOBODY)
            await self._ports.runtime.deadline(call, self._config.auth_timeout_ms)
        except PortError as error:
            code = error.code

        def count(tx: Tx) -> tuple[int, int, int]:
            [row] = tx.tuples(
                "select count(*), coalesce(sum(case when allowed then 0 else 1 end), 0),"
                " coalesce(sum(case when reason like :unreachable || '%' then 1 else 0 end), 0)"
                " from access_log where at > :since",
                {"since": tx.now - HOUR_MS, "unreachable": UNREACHABLE},
            )
            return row[0], row[1], row[2]

        attempts, denied, unreachable = await self._ports.store.transact("admin.auth_health", count)
        item = {"answers": code is None, "code": code, "attempts_1h": attempts, "denied_1h": denied,
                "unanswered_1h": unreachable}  # fmt: skip
        return {"items": [item]}


async def _nothing() -> None:
    """Never due."""


def _page(tx: Tx, after: int) -> list[tuple[Any, ...]]:
    return tx.tuples(audit.CHAIN_SQL, {"after": after, "page": PAGE})
