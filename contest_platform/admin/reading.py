"""How the platform is read: an endpoint is fields and a query, and answers lists of records in a total order.

Invariant: reading changes nothing, and a list that was cut at its limit says so (`more`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from contest_platform.fields import BadFieldError, Field, checked, of_query
from contest_platform.http import Request, Response
from contest_platform.ports import Ports, Tx
from contest_platform.service import Handler, Refusal, Route

LIMIT = Field("limit", "the most records to give (100)", "integer", required=False, least=1)
LIMIT_DEFAULT = 100

Given = Mapping[str, Any]
Answer = dict[str, Any] | Refusal


class Read(NamedTuple):
    """`answer` runs in one transaction, with every field of `fields` and the principal who asks."""

    path: str
    summary: str
    fields: tuple[Field, ...]
    answer: Callable[[Tx, Given], Answer]

    def route(self, ports: Ports) -> Route:
        async def ask(given: Given, principal: str) -> Answer:
            operation = "admin." + self.path.removeprefix("/api/admin/").replace("/", "_")
            return await ports.store.transact(operation, lambda tx: self.answer(tx, given))

        return read_route(self.summary, self.fields, ask)


def read_route(
    summary: str, fields: tuple[Field, ...], ask: Callable[[Given, str], Awaitable[Answer]]
) -> Route:  # fmt: skip
    return Route("admin", _handler(fields, ask), summary, fields)


def _handler(fields: tuple[Field, ...], ask: Callable[[Given, str], Awaitable[Answer]]) -> Handler:
    async def handle(request: Request, principal: str) -> Response:
        try:
            given = checked(fields, of_query(fields, request.query))
        except BadFieldError as bad:
            return Response(400, {"error": str(bad), "field": bad.field})
        answer = await ask(given, principal)
        if isinstance(answer, Refusal):
            return Response(answer.status, {"error": answer.reason})
        return Response(200, answer)

    return handle


def listing(sql: str) -> Callable[[Tx, Given], Answer]:
    """The records that `sql` gives, at most `limit` of them. It may use every field, and `now`."""

    def answer(tx: Tx, given: Given) -> Answer:
        limit = given.get("limit") or LIMIT_DEFAULT
        rows = tx.all(f"{sql} limit :limit", {**given, "now": tx.now, "limit": limit + 1})
        return {"items": [dict(row) for row in rows[:limit]], "more": len(rows) > limit}

    return answer


def one(sql: str, what: str, **parts: str) -> Callable[[Tx, Given], Answer]:
    """The one record that `sql` gives, and the lists that belong to it; 404 when there is no such `what`."""

    def answer(tx: Tx, given: Given) -> Answer:
        row = tx.one(sql, given)
        if row is None:
            return Refusal(404, f"no {what} {' '.join(str(value) for value in given.values() if value is not None)}")
        return {"items": [dict(row)], **{name: [dict(row) for row in tx.all(of, given)] for name, of in parts.items()}}

    return answer
