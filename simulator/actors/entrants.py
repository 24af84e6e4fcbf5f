"""The customers: they sign up, enter contests and pay at the processor, or change their minds, and write down which.

Invariant: a customer acts when the plan says so, or later because nobody answered; never without a row in the book.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from contest_platform.http import Request, Response
from contest_platform.ports import PortError, ProcessorError
from evidence.plan import Contest, EntryPlan, Plan
from seams.faults import Action
from simulator.actors.context import NoteAction, World

MINUTE_MS = 60_000
RETRY_MS = (2 * MINUTE_MS, 9 * MINUTE_MS)
"""How long a customer waits before trying again what was not answered, or answered with 5xx."""
GIVES_UP_MS = 2 * MINUTE_MS
"""So shortly before the lock nobody tries again."""

Confirm = Callable[[str, str], Awaitable[Any]]
"""(intent_id, user_id): pay at the processor, whose page the customer has before him. Raises PortError."""


class EntrantsActor:
    """`tokens` gives a customer's bearer token."""

    def __init__(self, world: World, plan: Plan, tokens: Callable[[str], str], confirm: Confirm) -> None:
        self._world, self._confirm = world, confirm
        self._issue = tokens
        self._contests = {contest.id: contest for contest in plan.contests}
        self._people = {entrant.id: entrant for entrant in plan.entrants}
        self._entries = sorted(plan.entries, key=lambda entry: (entry.enters_at, entry.user_id, entry.contest_id))
        self._tokens: dict[str, str] = {}
        self._signed_up: dict[str, bool] = {}
        """False while the first entry of a customer is about it."""
        self._entered: dict[str, tuple[EntryPlan, str]] = {}
        self._book = world.books["entrants.actions"]

    def start(self) -> None:
        self._world.runtime.spawn(self._live(), "entrants")

    async def _live(self) -> None:
        runtime = self._world.runtime
        for entry in self._entries:
            if entry.enters_at > runtime.now():
                await runtime.sleep_until(entry.enters_at)
            runtime.spawn(self._play(entry), f"entrant {entry.user_id} {entry.contest_id}")

    async def _play(self, entry: EntryPlan) -> None:
        """One entry from the first click to the money."""
        contest = self._contests[entry.contest_id]
        self._world.record(f"customer:{entry.user_id}", "entrant.enters", entry.contest_id)
        if not await self._sign_up(entry, contest):
            return
        answer = await self._insist(
            entry, contest, "POST", "/api/entries", {"contest_id": contest.id, "roster": entry.roster}
        )
        if answer is None:
            return
        if not answer.body.get("entry_id"):
            self._note(entry, contest, "refused", _why(answer))
            return
        entry_id, intent_id = str(answer.body["entry_id"]), answer.body.get("intent_id")
        self._note(entry, contest, "entered", "ok", entry_id, intent_id)
        self._entered[f"{contest.id}/{entry.user_id}"] = entry, entry_id
        await self._pay(entry, contest, entry_id, intent_id)

    async def _sign_up(self, entry: EntryPlan, contest: Contest) -> bool:
        """Sign up once, with the first entry; one that comes while that is under way waits."""
        user_id = entry.user_id
        while self._signed_up.get(user_id) is False:
            await self._world.runtime.sleep_until(self._world.runtime.now() + MINUTE_MS)
        if self._signed_up.get(user_id):
            return True
        self._signed_up[user_id] = False
        person = self._people[user_id]
        body = {"name": person.name, "email": person.email, "account_id": person.account_id}
        answer = await self._insist(entry, contest, "POST", "/api/users", body)
        if answer is not None and answer.status in (200, 201):
            self._signed_up[user_id] = True
            self._book.note(self._world.runtime.now(), user_id, None, "signed_up", None, None, None, "ok")
            return True
        del self._signed_up[user_id]
        if answer is not None:
            self._note(entry, contest, "refused", _why(answer))
        return False

    async def _pay(self, entry: EntryPlan, contest: Contest, entry_id: str, intent_id: str | None) -> None:
        runtime = self._world.runtime
        pays_at = entry.enters_at + entry.pay_after_s * 1_000
        if pays_at > runtime.now():
            await runtime.sleep_until(pays_at)
        if entry.pays == "abandons":
            self._note(entry, contest, "abandoned", "ok", entry_id, intent_id)
            return
        if intent_id is None:
            # The platform had no payment page to offer. It has one by now, unless the processor is still away.
            body = {"contest_id": contest.id, "roster": entry.roster}
            answer = await self._insist(entry, contest, "POST", "/api/entries", body, until_field="intent_id")
            intent_id = None if answer is None else answer.body.get("intent_id")
            if intent_id is None:
                return
        self._world.record(f"customer:{entry.user_id}", "entrant.pays", intent_id, amount_cents=contest.fee_cents)
        attempt = 0
        while True:
            try:
                await self._confirm(intent_id, entry.user_id)
            except ProcessorError as error:
                if error.status >= 500:
                    attempt += 1
                    if await self._wait(entry, contest, "pay", attempt):
                        continue
                self._note(entry, contest, "refused", error.error_code or str(error.status), entry_id, intent_id)
                return
            except PortError as error:
                attempt += 1
                if not await self._wait(entry, contest, "pay", attempt):
                    self._note(entry, contest, "abandoned", f"gave up: {error.code}", entry_id, intent_id)
                    return
                continue
            self._note(entry, contest, "paid", "ok", entry_id, intent_id)
            return

    # --- leaving ------------------------------------------------------------------------------------------------------

    async def pull_delete(self, action: Action, note: NoteAction) -> None:
        """The lever entrants.delete: a customer deletes his account, and asks again until somebody answers."""
        world, user_id = self._world, action.entity
        world.record(f"customer:{user_id}", "entrant.leaves", user_id)
        request = Request("DELETE", "/api/users", self._headers(user_id), {})
        for attempt in count(1):
            try:
                response = await world.edge.request(request)
            except PortError:
                pass
            else:
                if response.status < 500:
                    break
            wait_ms = world.draws.between(*RETRY_MS, "entrants.retry", user_id, "leave", attempt)
            await world.runtime.sleep_until(world.runtime.now() + wait_ms)
        done = response.status == 200
        what, result = ("deleted_account", "ok") if done else ("refused", _why(response))
        row = self._book.note(world.runtime.now(), user_id, None, what, None, None, None, result)
        if done:
            note(action, str(row))

    async def pull_withdraw(self, action: Action, note: NoteAction) -> None:
        """The lever entrants.withdraw: the customer asks for his fee back, and notes whether he was promised it."""
        entry, entry_id = self._entered[action.entity]
        contest = self._contests[entry.contest_id]
        self._world.record(f"customer:{entry.user_id}", "entrant.withdraws", entry_id)
        answer = await self._insist(entry, contest, "POST", "/api/entries/refund", {"entry_id": entry_id})
        if answer is not None:
            result = "ok" if answer.status in (200, 202) else _why(answer)
            note(action, str(self._note(entry, contest, "refund_requested", result, entry_id)))

    # --- patience -----------------------------------------------------------------------------------------------------

    async def _insist(
        self,
        entry: EntryPlan,
        contest: Contest,
        method: str,
        path: str,
        body: dict[str, Any],
        until_field: str | None = None,
    ) -> Response | None:
        """Ask until there is an answer that is not 5xx, with `until_field` in it unless it is a refusal. None, and a
        row in the book, when the customer gave up before that."""
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._world.edge.request(Request(method, path, self._headers(entry.user_id), body))
            except PortError as error:
                problem = error.code
            else:
                answered = until_field is None or response.status >= 400 or response.body.get(until_field) is not None
                if response.status < 500 and answered:
                    return response
                problem = _why(response)
            if not await self._wait(entry, contest, path, attempt):
                self._note(entry, contest, "abandoned", f"gave up: {problem}")
                return None

    async def _wait(self, entry: EntryPlan, contest: Contest, what: str, attempt: int) -> bool:
        """Wait some minutes. False when it is too late for another try."""
        world = self._world
        wait_ms = world.draws.between(*RETRY_MS, "entrants.retry", entry.user_id, contest.id, what, attempt)
        again_at = world.runtime.now() + wait_ms
        if again_at > contest.lock_at - GIVES_UP_MS:
            return False
        await world.runtime.sleep_until(again_at)
        return True

    # --- the customer's things ----------------------------------------------------------------------------------------

    def _headers(self, user_id: str) -> dict[str, str]:
        token = self._tokens.get(user_id)
        if token is None:
            token = self._tokens[user_id] = self._issue(user_id)
        return {"Authorization": f"Bearer {token}"}

    def _note(
        self,
        entry: EntryPlan,
        contest: Contest,
        action: str,
        result: str,
        entry_id: str | None = None,
        intent_id: str | None = None,
    ) -> int:
        return self._book.note(
            self._world.runtime.now(),
            entry.user_id,
            contest.id,
            action,
            contest.fee_cents,
            entry_id,
            intent_id,
            result,
        )


def _why(response: Response) -> str:
    return str(response.body.get("error", f"status {response.status}"))
