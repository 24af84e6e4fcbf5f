"""Ops: who is on duty opens the runbook that an alert links to, or that is due, and does what it says and no more.

Invariant: the only way from here to the platform is the executor of an open runbook. Where there is none, or where it
does not go as written, the matter is escalated, and from then on the platform stands alone.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
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

LOOK_UP_MS = 60_000
"""How often somebody with both hands full looks up for what else has come."""
TRY_AGAIN_MS, PATIENCE_MS = HOUR_MS // 2, 2 * HOUR_MS
"""A procedure can be begun later where the platform takes no record of it now. A page cannot wait."""
ENDS_WITHIN_MS = 6 * HOUR_MS
"""What is due later than this before the end of the run is not begun: it might not end."""

Sleep = Callable[[int], Awaitable[None]]
MakeControl = Callable[[str, Runbook, str, int, Sleep], Control]
"""(principal, runbook, incident, which time it is attended to, how to wait until an instant) -> the way to the
platform."""


class Procedure(NamedTuple):
    """A scheduled runbook that is due."""

    at: int
    runbook: Runbook

    @property
    def incident(self) -> str:
        """What the notebook calls this occasion: a procedure is due once a day at most."""
        return f"{self.runbook.id}:{datetime.fromtimestamp(self.at / 1_000, UTC):%Y-%m-%d}"


class Place(NamedTuple):
    """In the row of what waits for hands to be free: for a runbook to be opened, or to be gone on with."""

    runbook: str
    for_page: bool
    begun: bool = False


class OperatorActor:
    """`principals` take turns. Pages are attended to in the order in which they came, what is due when no page is left;
    never two things at a time. While a runbook has one wait for the clock, hands are free for what stands in the row
    next: nothing is left lying because something else waits. Whoever began a matter ends it."""

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
        self._row: list[Place] = []
        """What waits for hands to be free, the longest first."""
        self._hands_full = False
        self._open: set[str] = set()
        """The runbooks that are open: nobody carries one out twice at once."""
        self._visits: dict[str, int] = {}
        self._orders: set[str] = set()

    def paged(self, page: Page) -> None:
        """The pager rings."""
        self._world.runtime.spawn(self._attend_in_turn(page), "operator")

    def ordered(self, order: Page) -> None:
        """Told to carry a runbook out, by nobody's alert: it waits its turn like any other matter."""
        self._orders.add(order.dedup_key)
        self.paged(order)

    async def _attend_in_turn(self, page: Page) -> None:
        url = str(page.details.get("runbook_url", ""))
        await self._take_up(Place(url, for_page=True))
        await self._attend(page)
        self._lay_down(url)

    async def keep_calendar(self, until_at: int) -> None:
        """Do what is due, one after the other, until the run ends at `until_at`."""
        runtime = self._world.runtime
        due = [
            Procedure(at, runbook)
            for runbook in self._library.values()
            if runbook.schedule is not None
            for at in runbook.schedule.due(runtime.now(), until_at - ENDS_WITHIN_MS)
        ]
        for procedure in sorted(due, key=lambda one: (one.at, one.runbook.id.text)):
            await runtime.sleep_until(procedure.at)
            await self._take_up(Place(procedure.runbook.file, for_page=False))
            await self._perform(procedure)
            self._lay_down(procedure.runbook.file)

    # --- two hands ---------------------------------------------------------------------------------------------------

    async def _take_up(self, place: Place) -> None:
        """Return when hands are free and it is the turn of `place`."""
        runtime = self._world.runtime
        self._row.append(place)
        while self._hands_full or self._next() is not place:
            await runtime.sleep_until(runtime.now() + LOOK_UP_MS)
        self._row = [other for other in self._row if other is not place]
        self._hands_full = True
        self._open.add(place.runbook)

    def _next(self) -> Place | None:
        """A page goes before what is due; what has to wait until its runbook is closed keeps nothing else back."""
        ready = [place for place in self._row if place.begun or place.runbook not in self._open]
        return min(ready, key=lambda place: not place.for_page, default=None)

    def _put_aside(self, runbook: Runbook, *, for_page: bool) -> Sleep:
        async def put_aside(until_at: int) -> None:
            self._hands_full = False
            await self._world.runtime.sleep_until(until_at)
            await self._take_up(Place(runbook.file, for_page, begun=True))

        return put_aside

    def _lay_down(self, runbook: str) -> None:
        self._hands_full = False
        self._open.discard(runbook)

    def _on_duty(self) -> str:
        turn = (self._world.runtime.now() - self._first_turn_at) // TURN_MS
        return self._principals[turn % len(self._principals)]

    # --- what there is to do -----------------------------------------------------------------------------------------

    async def _attend(self, page: Page) -> None:
        principal, runtime, key = self._on_duty(), self._world.runtime, page.dedup_key
        if self._is_over(key):
            return
        visit = self._visits[key] = self._visits.get(key, 0) + 1
        from_h, until_h = DESK_UTC_H
        at_desk = from_h <= runtime.now() // HOUR_MS % 24 < until_h
        await self._pause(AT_DESK_MS if at_desk else WOKEN_MS, "operator.wakes", key, visit)
        if self._is_over(key):
            return
        if key not in self._orders:
            self._pager.receive("acknowledge", key, "", "", {"by": principal})
        url = str(page.details.get("runbook_url", ""))
        runbook = self._library.get(url)
        if runbook is None:
            reason = f"no runbook {url}" if url else "the page links to no runbook"
            self._escalate(principal, key, "", "", reason, {"alert": page.details, "steps_tried": []})
            return
        labels = page.details.get("labels", {})
        alert = Alert(str(labels.get("alertname", key)), labels, page.at)
        control = self._control(principal, runbook, key, visit, self._put_aside(runbook, for_page=True))
        outcome = await execute(runbook, alert, control)
        self._hand_on(principal, key, runbook, outcome)

    def _is_over(self, key: str) -> bool:
        """Whether a page has resolved itself in the meantime."""
        return key not in self._orders and key not in self._pager.open

    async def _perform(self, procedure: Procedure) -> None:
        principal, runbook, occasion = self._on_duty(), procedure.runbook, procedure.incident
        await self._pause(AT_DESK_MS, "operator.begins", occasion, 1)
        put_aside = self._put_aside(runbook, for_page=False)
        for visit in count(1):
            outcome = await execute(runbook, None, self._control(principal, runbook, occasion, visit, put_aside))
            now = self._world.runtime.now()
            if outcome.execution_id or now >= procedure.at + PATIENCE_MS:
                break
            await put_aside(now + TRY_AGAIN_MS)  # No record could be begun, so nothing was done.
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
