"""An observer outside, who looks at the platform's dashboards once a day and at the end, and writes down what they say.

Invariant: it only reads, through the public address, with a token of ops; what was not answered is written down too.
"""

from __future__ import annotations

import json

from contest_platform.http import Request, Response
from contest_platform.ports import PortError
from simulator.actors.context import World

DASHBOARDS = ("operational", "contests", "audit", "errors")
PATH = "/api/admin/dashboards/"
DAY_MS = 86_400_000
ANSWER_WITHIN_MS = 60_000
LAST_BEFORE_MS = 600_000
"""How long before the end of the run the last look is."""


class ObserverActor:
    def __init__(self, world: World, token: str) -> None:
        self._world, self._headers = world, {"Authorization": f"Bearer {token}"}
        self._book = world.books["observer.dashboards"]

    async def watch(self, from_at: int, until_at: int) -> None:
        """Look at an instant of each day that nobody can know beforehand, and once more when all is over."""
        world, last_at = self._world, until_at - LAST_BEFORE_MS
        for day, midnight in enumerate(range(from_at, until_at, DAY_MS)):
            at = midnight + world.draws.between(0, DAY_MS - 1, "observer.looks", str(day))
            if at < last_at:
                await self._look(at)
        await self._look(last_at)

    async def _look(self, at: int) -> None:
        await self._world.runtime.sleep_until(at)
        for name in DASHBOARDS:
            await self._ask(name)

    async def _ask(self, name: str) -> None:
        world, runtime = self._world, self._world.runtime
        asked_at = runtime.now()
        world.record("observer", "dashboard.asked", name)
        asking = world.call(self._request(PATH + name), f"observer {name}")
        status, body, problem = None, None, ""
        try:
            answer = await runtime.deadline(asking, ANSWER_WITHIN_MS)
        except PortError as error:
            problem = error.code
        else:
            status = answer.status
            if status == 200:
                body = json.dumps(answer.body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            else:
                problem = str(answer.body.get("error", ""))
        world.record("observer", "dashboard.answered", name, status=status, problem=problem)
        self._book.note(asked_at, runtime.now(), name, status, body, problem)

    async def _request(self, path: str) -> Response:
        return await self._world.edge.request(Request("GET", path, self._headers))
