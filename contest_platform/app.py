"""The platform's edge: finds the route of a request, has access control establish who calls, and has it served.

Invariant: no handler sees a request whose caller has not passed the access check of its route.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contest_platform.access import AccessControl, DeniedError
from contest_platform.admin import dashboards
from contest_platform.budget import ErrorBudget
from contest_platform.http import Request, Response
from contest_platform.metrics import count_failure
from contest_platform.ports import PortError, Ports, Tx
from contest_platform.service import Config, Route, Service


class App:
    """Raises ValueError when two services claim one route."""

    def __init__(self, ports: Ports, config: Config, services: Sequence[Service]) -> None:
        self._ports = ports
        self._access = AccessControl(ports, config)
        self._budget = ErrorBudget(ports.metrics, ports.runtime.now())
        ports.metrics.add("database_connection_timeouts_total", 0)
        self._routes: dict[str, dict[str, Route]] = {}
        self._add("GET", "/api/admin/status", Route("admin", self._status, "How many contests stand where"))
        self._add("GET", "/api/admin/budget", Route("admin", self._spent, "How many requests were not served"))
        self._add("GET", dashboards.ERRORS, dashboards.errors(ports, self._budget))
        for service in services:
            for (method, path), route in service.routes().items():
                self._add(method, path, route)

    def _add(self, method: str, path: str, route: Route) -> None:
        methods = self._routes.setdefault(path, {})
        if method in methods:
            raise ValueError(f"two routes for {method} {path}")
        methods[method] = route

    @property
    def routes(self) -> Mapping[str, Mapping[str, Route]]:
        """path -> method -> route."""
        return self._routes

    async def handle(self, request: Request) -> Response:
        """Answer one request. 503 says that something the platform depends on did not serve, and that the caller may
        try again. Any other exception of a handler is a bug and is raised on."""
        self._budget.asked(self._ports.runtime.now())
        methods = self._routes.get(request.path)
        if methods is None:
            return Response(404, {"error": "no such resource"})
        route = methods.get(request.method)
        if route is None:
            return Response(405, {"error": "method not allowed", "allow": sorted(methods)})
        try:
            principal = await self._access.establish(request, route.access)
            return await route.handle(request, principal)
        except DeniedError as denied:
            return Response(denied.status, {"error": denied.reason})
        except PortError as error:
            count_failure(self._ports.metrics, error)
            self._budget.failed(self._ports.runtime.now(), error.code)
            return Response(503, {"error": error.code})

    async def _spent(self, request: Request, principal: str) -> Response:
        return Response(200, {"items": [self._budget.standing(self._ports.runtime.now())]})

    async def _status(self, request: Request, principal: str) -> Response:
        def count(tx: Tx) -> dict[str, int]:
            rows = tx.all("select status, count(*) as contests from contests group by status order by status")
            return {row["status"]: row["contests"] for row in rows}

        return Response(200, {"contests": await self._ports.store.transact("admin.status", count)})
