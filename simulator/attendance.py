"""What operations brings into a world: monitoring and who expects it to be heard, whoever is on call, and who looks in
from outside.

Invariant: a world in which nobody is on call and nothing is scraped has none of it, and loads none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from contest_platform.ports import Metrics
from evidence.plan import Drill
from operations.runbooks import Runbook
from seams.faults import Action
from simulator.actors.context import NoteAction, World
from simulator.actors.insider import InsiderActor
from simulator.actors.monitoring import MonitoringActor
from simulator.actors.observer import ObserverActor
from simulator.actors.operator import OperatorActor, Sleep
from simulator.actors.watchdog import MINUTE_MS, WatchdogReceiver
from simulator.actors.witnesses import Page, PagerActor
from simulator.operations import Operations
from simulator.wires.control import OpsControl
from simulator.wires.monitoring import MonitoringWire
from simulator.wires.witnesses import PagerWire


class Attendance:
    def __init__(self, world: World, operations: Operations, pager: PagerActor) -> None:
        self._world, self._operations, self._pager = world, operations, pager
        alerting = PagerWire(world, pager, lambda: None)
        self._monitoring = MonitoringActor(world, operations.groups, alerting)
        self._watchdog = WatchdogReceiver(world, operations.groups, alerting)
        self.lives = self._monitoring.lives
        self.levers = {
            "monitoring.stop": self._pull_stop,
            "ops.call": self._pull_call,
            "ops.pretend": self._pull_pretend,
            "ops.alter": self._pull_alter,
        }

    def metrics(self, unit: str, guard: Callable[[], None]) -> Metrics:
        """Those of one life of a unit."""
        return MonitoringWire(self._monitoring, unit, guard)

    def go_on_call(self, tokens: Mapping[str, str], drills: list[Drill], until_at: int) -> None:
        """Ops, by principal, have the pager from now on, the runbooks, and until the run ends the calendar of what is
        due."""
        world, runtime = self._world, self._world.runtime

        def control(principal: str, runbook: Runbook, incident: str, visit: int, sleep_until: Sleep) -> OpsControl:
            return OpsControl(world, principal, tokens[principal], runbook, incident, visit, sleep_until)

        library = dict(self._operations.runbooks)
        operator = OperatorActor(world, list(tokens), self._pager, library, control)
        self._pager.on_call = operator.paged
        runtime.spawn(operator.keep_calendar(until_at), "operator's calendar")
        self._insider = InsiderActor(world, tokens, library, self._operations.documents)
        for drill in drills:
            runtime.spawn(self._drill(drill, operator), f"drill {drill.id}")

    async def _drill(self, drill: Drill, operator: OperatorActor) -> None:
        await self._world.runtime.sleep_until(drill.at)
        self._world.record("harness", "drill.ordered", drill.id, runbook=drill.runbook)
        details = {"labels": drill.labels, "runbook_url": f"runbooks/{drill.runbook}.md"}
        operator.ordered(Page(drill.at, drill.id, "planned", "none", details))

    def watch(self, token: str, from_at: int, until_at: int) -> None:
        """Somebody outside looks at the dashboards from now on."""
        self._world.runtime.spawn(ObserverActor(self._world, token).watch(from_at, until_at), "observer")

    async def _pull_stop(self, action: Action, note: NoteAction) -> None:
        """From the last evaluation of the rules before it to the first after it nobody hears of the Watchdog."""
        last_at, next_at = (at - at % MINUTE_MS for at in (action.at, action.at + action.params["for_ms"]))
        self._monitoring.stand_still(next_at)
        for key in (await self._watchdog.misses(last_at, next_at))[:1]:
            note(action, key)

    async def _pull_call(self, action: Action, note: NoteAction) -> None:
        await self._insider.pull_call(action, note)

    async def _pull_pretend(self, action: Action, note: NoteAction) -> None:
        await self._insider.pull_pretend(action, note)

    async def _pull_alter(self, action: Action, note: NoteAction) -> None:
        await self._insider.pull_alter(action, note)
