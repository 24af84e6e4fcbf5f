"""The processor's dashboard: what a human with a login there can do, past the platform.

Invariant: whatever was done is a request in the processor's book, with the login as its caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from contest_platform.ports import ProcessorError
from seams.faults import Action
from simulator.actors.context import NoteAction

ELSEWHERE = "/webhooks/tried-out"
"""A path at which the platform serves nothing."""


class Processor(Protocol):
    """The processor as far as its dashboard needs it."""

    @property
    def requests(self) -> int:
        """How many requests it has had."""

    def handle(
        self, caller: str, operation: str, params: Mapping[str, Any], idempotency_key: str | None, entity: str
    ) -> Any: ...


class Dashboard:
    """`intent_of` finds the payment of an entity, "contest_id/user_id"; `endpoint` is the platform's, by its id."""

    def __init__(self, processor: Processor, intent_of: Callable[[str], str], endpoint: str) -> None:
        self._processor, self._intent_of, self._endpoint = processor, intent_of, endpoint

    def request(self, caller: str, operation: str, params: Mapping[str, Any], entity: str) -> int:
        """One request by a human; `caller` is the login. Returns the number of its row in processor.requests, which
        says what came of it."""
        with suppress(ProcessorError):
            self._processor.handle(caller, operation, params, None, entity)
        return self._processor.requests

    async def pull_transfer(self, action: Action, note: NoteAction, destination: str) -> None:
        """The lever dashboard.transfer; `destination` is the customer's connected account."""
        params = action.params
        about = {"contest_id": params["contest_id"], "user_id": params["user_id"]}
        asked = {
            "amount_cents": params["amount_cents"],
            "destination": destination,
            "transfer_group": params["contest_id"],
            "metadata": about,
        }
        note(action, str(self.request(action.entity, "transfers.create", asked, params["contest_id"])))

    async def pull_refund(self, action: Action, note: NoteAction) -> None:
        """The lever dashboard.refund."""
        params = action.params
        entity = f"{params['contest_id']}/{params['user_id']}"
        asked = {"intent": self._intent_of(entity), "amount_cents": params["amount_cents"], "metadata": {}}
        note(action, str(self.request(action.entity, "refunds.create", asked, entity)))

    async def pull_intent(self, action: Action, note: NoteAction) -> None:
        """The lever dashboard.intent."""
        asked = {"amount_cents": action.params["amount_cents"], "metadata": {}}
        note(action, str(self.request(action.entity, "intents.create", asked, "")))

    async def pull_webhook_endpoint(self, action: Action, note: NoteAction) -> None:
        """The lever dashboard.webhook_endpoint."""
        if action.params["what"] == "create":
            asked: dict[str, Any] = {"url": "https://example.org/copy", "enabled_events": ["payout.failed"]}
        else:
            asked = {"endpoint": self._endpoint, "url": ELSEWHERE}
        operation = f"webhook_endpoints.{action.params['what']}"
        note(action, str(self.request(action.entity, operation, asked, "webhook_endpoints")))
