"""Ops: who is on duty opens the runbook that an alert links to, or that is due, and does what it says and no more.

Invariant: the only way from here to the platform is the executor of an open runbook. Where there is none, or where it
does not go as written, the matter is escalated, and from then on the platform stands alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from operations.runbooks.document import Runbook
from operations.runbooks.execute import Alert, Control, Outcome, execute
from operations.runbooks.schedule import DAY_MS, DESK_UTC_H, HOUR_MS
from simulator.actors.context import World
from simulator.actors.witnesses import Page, PagerActor

TURN_MS = 7 * DAY_MS
"""So long is one person on duty, by day at the desk and by night with the pager; then the next takes over."""
AT_DESK_MS, WOKEN_MS = (60_000, 300_000), (300_000, 1_200_000)
"""From the page, or from when a procedure is due, to the first look at it."""

MakeControl = Callable[[str, Runbook, str, int], Control]
"""(principal, runbook, incident, which time it is attended to) -> the way to the platform."""


class Procedure(NamedTuple):
    """A scheduled runbook that is due."""

    at: int
    runbook: Runbook

    @property
    def incident(self) -> str:
        """What the notebook calls this occasion."""
        return f"{self.runbook.id}:{self.at // 1_000}"


class OperatorActor:
    """`principals` take turns. One matter at a time: pages in the order in which they came, then what is due. Whoever
    began a matter ends it."""

    def __init__(
        self,
        world: World,
        principals: Sequence[str],
        pager: PagerActor,
        library: Mapping[str, Runbook],
        control: MakeControl,
    ) -> None:
        self._world, self._principals, self._pager = world, principals, pager
        self._library, self._control = library, control
        self._book, self._first_turn_at = world.books["operator.escalations"], world.runtime.now()
        self._pages: list[Page] = []
        self._procedures: list[Procedure] = []
        self._busy = False
        self._visits: dict[str, int] = {}

    def paged(self, page: Page) -> None:
        """The pager rings."""
        self._pages.append(page)
        self._get_up()

    async def keep_calendar(self, until_at: int) -> None:
        """See to it that what is due before `until_at` is done."""
        runtime = self._world.runtime
        due = [
            Procedure(at, runbook)
            for runbook in self._library.values()
            if runbook.schedule is not None
            for at in runbook.schedule.due(runtime.now(), until_at)
        ]
        for procedure in sorted(due, key=lambda one: (one.at, one.runbook.id.text)):
            await runtime.sleep_until(procedure.at)
            self._procedures.append(procedure)
            self._get_up()

    def _get_up(self) -> None:
        if not self._busy:
            self._busy = True
            self._world.runtime.spawn(self._work(), "operator")

    async def _work(self) -> None:
        while self._pages or self._procedures:
            if self._pages:
                await self._attend(self._pages.pop(0))
            else:
                await self._perform(self._procedures.pop(0))
        self._busy = False

    def _on_duty(self) -> str:
        turn = (self._world.runtime.now() - self._first_turn_at) // TURN_MS
        return self._principals[turn % len(self._principals)]

    # --- what there is to do -----------------------------------------------------------------------------------------

    async def _attend(self, page: Page) -> None:
        principal, runtime, key = self._on_duty(), self._world.runtime, page.dedup_key
        visit = self._visits[key] = self._visits.get(key, 0) + 1
        from_h, until_h = DESK_UTC_H
        at_desk = from_h <= runtime.now() // HOUR_MS % 24 < until_h
        await self._pause(AT_DESK_MS if at_desk else WOKEN_MS, "operator.wakes", key, visit)
        if key not in self._pager.open:
            return  # It has resolved itself in the meantime.
        self._pager.receive("acknowledge", key, "", "", {"by": principal})
        url = str(page.details.get("runbook_url", ""))
        runbook = self._library.get(url)
        if runbook is None:
            reason = f"no runbook {url}" if url else "the page links to no runbook"
            self._escalate(principal, key, "", "", reason, {"alert": page.details, "steps_tried": []})
            return
        labels = page.details.get("labels", {})
        alert = Alert(str(labels.get("alertname", key)), labels, page.at)
        outcome = await execute(runbook, alert, self._control(principal, runbook, key, visit))
        self._hand_on(principal, key, runbook, outcome)

    async def _perform(self, procedure: Procedure) -> None:
        principal, runbook, occasion = self._on_duty(), procedure.runbook, procedure.incident
        await self._pause(AT_DESK_MS, "operator.begins", occasion, 1)
        outcome = await execute(runbook, None, self._control(principal, runbook, occasion, 1))
        self._hand_on(principal, occasion, runbook, outcome)

    async def _pause(self, bounds: tuple[int, int], site: str, incident: str, visit: int) -> None:
        world = self._world
        await world.runtime.sleep_until(world.runtime.now() + world.draws.between(*bounds, site, incident, visit))

    def _hand_on(self, principal: str, incident: str, runbook: Runbook, outcome: Outcome) -> None:
        if outcome.escalation is not None:
            told, name = outcome.escalation, runbook.id.text
            self._escalate(principal, incident, name, outcome.execution_id, told.reason, told.package())

    def _escalate(
        self, principal: str, incident: str, runbook: str, execution_id: str, reason: str, package: Mapping[str, Any]
    ) -> None:
        self._world.record(principal, "escalated", incident, runbook=runbook, reason=reason)
        text = json.dumps(package, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self._book.note(self._world.runtime.now(), principal, incident, runbook, execution_id, reason, text)
