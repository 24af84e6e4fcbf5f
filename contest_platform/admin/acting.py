"""Acting endpoints: each is one transaction that admits the caller, writes down what is asked, and has a service do it.

Invariant: nothing is done but in a step of a runbook execution that is in progress and the caller's own; whatever is
not done is refused on record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.fields import BadFieldError, Field, checked
from contest_platform.http import Request, Response
from contest_platform.ports import Ports, Tx
from contest_platform.service import Handler, Refusal, Route
from contest_platform.services import runbooks


class Act(NamedTuple):
    """Who acts, in which step of which execution, and what the request carries."""

    principal: str
    execution_id: str
    step: str
    given: Mapping[str, Any]

    @property
    def ctx(self) -> Context:
        return Context(self.principal, self.execution_id)

    @property
    def why(self) -> str:
        reason = self.given.get("reason")
        return f"runbook step {self.step}" + (f": {reason}" if reason else "")


class Action(NamedTuple):
    """`take` answers what was done, or why it was not. What asks elsewhere does so in `follow`, once it is on record
    that it was asked for, and answers in the place of `take`."""

    path: str
    summary: str
    fields: tuple[Field, ...]
    take: Callable[[Tx, Act], dict[str, Any] | Refusal]
    follow: Callable[[Act], Awaitable[dict[str, Any] | Refusal]] | None = None

    @property
    def name(self) -> str:
        return self.path.removeprefix("/api/admin/").replace("/", "_")

    def route(self, ports: Ports) -> Route:
        return Route("admin", self._handler(ports), self.summary, self.fields, acting=True)

    def _handler(self, ports: Ports) -> Handler:
        async def handle(request: Request, principal: str) -> Response:
            store, operation = ports.store, f"admin.{self.name}"
            response, act = await store.transact(operation, lambda tx: self._run(tx, request, principal))
            if act is None or self.follow is None:
                return response
            answer = await self.follow(act)
            if isinstance(answer, Refusal):
                refusal = answer
                return await store.transact(operation, lambda tx: self._refuse(tx, act.ctx, refusal))
            return Response(200, answer)

        return handle

    def _run(self, tx: Tx, request: Request, principal: str) -> tuple[Response, Act | None]:
        """The answer and, unless it was refused, what is done."""
        execution_id, step, problem = runbooks.execution_problem(tx, principal, request)
        ctx = Context(principal, execution_id or "runbooks")
        if problem is not None:
            return self._refuse(tx, ctx, Refusal(409, problem)), None
        try:
            act = Act(principal, execution_id, step, checked(self.fields, request.body))
        except BadFieldError as bad:
            return self._refuse(tx, ctx, Refusal(400, str(bad)), field=bad.field), None
        runbooks.note_acting(tx, execution_id, step)
        audit.append(tx, ctx, f"ops.{self.name}", f"admin{request.path}", after=act.given, reason=act.why)
        answer = self.take(tx, act)
        if isinstance(answer, Refusal):
            return self._refuse(tx, ctx, answer), None
        return Response(200, answer), act

    def _refuse(self, tx: Tx, ctx: Context, refusal: Refusal, **more: str) -> Response:
        audit.append(tx, ctx, f"refuse.{self.name}", f"admin{self.path}", reason=refusal.reason)
        return Response(refusal.status, {"error": refusal.reason, **more})
