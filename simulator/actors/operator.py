"""Ops: one person on call, who opens the runbook that an alert links to and does what it says, and nothing else.

Invariant: the only way from here to the platform is the executor of an open runbook. Where there is none, or where it
does not go as written, the matter is escalated, and from then on the platform stands alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from operations.runbooks.document import Runbook
from operations.runbooks.execute import Alert, Control, execute
from simulator.actors.context import World
from simulator.actors.witnesses import Page, PagerActor

HOUR_MS = 3_600_000
SHIFT_UTC_H = (12, 24)
"""When the person sits at the desk; at other hours the pager wakes."""
AT_DESK_MS, WOKEN_MS = (60_000, 300_000), (300_000, 1_200_000)
"""From the page to the acknowledgement."""

MakeControl = Callable[[Runbook, str, int], Control]


class OperatorActor:
    def __init__(
        self, world: World, principal: str, pager: PagerActor, library: Mapping[str, Runbook], control: MakeControl
    ) -> None:
        self._world, self._principal, self._pager = world, principal, pager
        self._library, self._control = library, control
        self._book = world.books["operator.escalations"]
        self._waiting: list[Page] = []
        self._busy = False
        self._visits: dict[str, int] = {}
        self._orders: set[str] = set()

    def paged(self, page: Page) -> None:
        """The pager rings. One matter at a time, in the order in which they came."""
        self._waiting.append(page)
        if not self._busy:
            self._busy = True
            self._world.runtime.spawn(self._work(), f"operator {self._principal}")

    def ordered(self, order: Page) -> None:
        """Told to carry a runbook out, by nobody's alert: it waits its turn like any other matter."""
        self._orders.add(order.dedup_key)
        self.paged(order)

    async def _work(self) -> None:
        while self._waiting:
            await self._attend(self._waiting.pop(0))
        self._busy = False

    async def _attend(self, page: Page) -> None:
        world = self._world
        visit = self._visits[page.dedup_key] = self._visits.get(page.dedup_key, 0) + 1
        now = world.runtime.now()
        from_h, until_h = SHIFT_UTC_H
        at_desk = from_h <= now // HOUR_MS % 24 < until_h
        pause = world.draws.between(*(AT_DESK_MS if at_desk else WOKEN_MS), "operator.wakes", page.dedup_key, visit)
        await world.runtime.sleep_until(now + pause)
        if page.dedup_key not in self._orders:
            if page.dedup_key not in self._pager.open:
                return  # It has resolved itself in the meantime.
            self._pager.receive("acknowledge", page.dedup_key, "", "", {"by": self._principal})
        url = str(page.details.get("runbook_url", ""))
        runbook = self._library.get(url)
        if runbook is None:
            reason = f"no runbook {url}" if url else "the page links to no runbook"
            self._escalate(page, None, "", reason, {"alert": page.details, "steps_tried": []})
            return
        labels = page.details.get("labels", {})
        alert = Alert(str(labels.get("alertname", page.dedup_key)), labels, page.at)
        outcome = await execute(runbook, alert, self._control(runbook, page.dedup_key, visit))
        if outcome.escalation is not None:
            escalation = outcome.escalation
            self._escalate(page, runbook, outcome.execution_id, escalation.reason, escalation.package())

    def _escalate(
        self, page: Page, runbook: Runbook | None, execution_id: str, reason: str, package: Mapping[str, Any]
    ) -> None:
        name = "" if runbook is None else runbook.id.text
        self._world.record(self._principal, "escalated", page.dedup_key, runbook=name, reason=reason)
        text = json.dumps(package, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self._book.note(
            self._world.runtime.now(), self._principal, page.dedup_key, name, execution_id, reason, text
        )  # fmt: skip
