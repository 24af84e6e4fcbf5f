"""What a timed action can pull at the payment processor, besides its dashboard: a bank behind it, a forger before it.

Invariant: each lever notes the key of the row that it left behind, and nothing when it left none.
"""

from __future__ import annotations

from contest_platform.ports import Runtime
from seams.faults import Action
from simulator.actors.context import NoteAction
from simulator.actors.processor import ProcessorActor

HOUR_MS = 3_600_000


class ProcessorLevers:
    def __init__(self, processor: ProcessorActor, runtime: Runtime) -> None:
        self._processor, self._runtime = processor, runtime

    async def pull_forge(self, action: Action, note: NoteAction) -> None:
        """The lever attacker.forge: the customer's own payment page shows him the intent that he has not paid."""
        intent = self._processor.intent_about(action.entity)
        if intent is None:
            return
        for number in await self._processor.attacker.forge(action.entity, intent):
            note(action, str(number))

    async def pull_dispute(self, action: Action, note: NoteAction) -> None:
        """The lever bank.dispute."""
        intent = self._processor.intent_about(action.entity)
        if intent is not None and intent.captured_at is not None:
            note(action, self._processor.open_dispute(intent.id))

    async def pull_decide(self, action: Action, note: NoteAction) -> None:
        """The lever bank.decide."""
        intent = self._processor.intent_about(action.entity)
        dispute_id = None if intent is None else self._processor.dispute_about(intent.id)
        if dispute_id is not None:
            self._processor.close_dispute(dispute_id, action.params["won"])
            note(action, dispute_id)

    async def pull_reverse(self, action: Action, note: NoteAction) -> None:
        """The lever processor.reverse; a transfer that something else has kept from being made is taken back within an
        hour after it was."""
        contest_id, n = action.entity, int(action.params["transfer"])
        while self._processor.transfers_made(contest_id) < n:
            await self._runtime.sleep_until(self._runtime.now() + HOUR_MS)
        try:
            row = self._processor.reverse_transfer(contest_id, n)
        except LookupError:
            return  # it has come back already
        note(action, str(row))
