"""Somebody on call who does not keep to the runbooks: he has the tools of ops, and a credential that is rightly his.

Invariant: he goes the way of everybody else to the platform, and writes none of it into the notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from hashlib import sha256
from typing import Any

from contest_platform.http import Request, Response
from operations.runbooks import parse
from operations.runbooks.document import Runbook
from seams.faults import Action
from simulator.actors.context import NoteAction, World
from simulator.wires.control import ANSWER_WITHIN_MS, COMPLETE, START


class InsiderActor:
    """`tokens` are those of ops, by principal; `library` is the one that the operator opens runbooks from, by
    link; `documents` their texts."""

    def __init__(
        self,
        world: World,
        tokens: Mapping[str, str],
        library: MutableMapping[str, Runbook],
        documents: Mapping[str, bytes],
    ) -> None:
        self._world, self._tokens = world, tokens
        self._library, self._documents = library, documents

    async def pull_call(self, action: Action, note: NoteAction) -> None:
        """The lever ops.call. Notes what he called. Raises PortError when nobody answers."""
        path = action.params["path"]
        self._world.record(action.entity, "admin.called_by_hand", path)
        await self._post(action.entity, path, action.params["body"])
        note(action, f"POST {path}")

    async def pull_pretend(self, action: Action, note: NoteAction) -> None:
        """The lever ops.pretend. Notes the execution that he has begun for it. Raises PortError when nobody answers."""
        path, runbook = action.params["path"], action.params["runbook"]
        self._world.record(action.entity, "admin.called_by_hand", path, runbook=runbook)
        begun = {"runbook_name": runbook, "runbook_version": "1.0.0", "executed_by": action.entity}
        execution_id = str((await self._post(action.entity, START, begun)).body["execution_id"])
        headers = {"runbook-execution": execution_id, "runbook-step": "Recovery/1"}
        await self._post(action.entity, path, action.params["body"], headers)
        await self._post(action.entity, COMPLETE, {"execution_id": execution_id, "status": "completed"})
        note(action, execution_id)

    async def pull_alter(self, action: Action, note: NoteAction) -> None:
        """The lever ops.alter. Notes the hash of the document as it stands then. Raises LookupError where there is no
        such line, or the document would not be a runbook any more."""
        link, written, altered = (action.params[name] for name in ("runbook", "written", "altered"))
        lines = self._documents[link].decode().split("\n")
        place = next((n for n, line in enumerate(lines) if line.strip() == written), None)
        if place is None:
            raise LookupError(f"{link} has no line {written!r}")
        lines[place] = lines[place].replace(written, altered)
        text = "\n".join(lines)
        runbook, problems = parse(text, link)
        if problems:
            raise LookupError(f"{link} would be no runbook: {problems[0]}")
        self._library[link] = runbook
        self._world.record(action.entity, "runbook.altered", link, line=place + 1)
        note(action, sha256(text.encode()).hexdigest())

    async def _post(
        self, principal: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Response:
        world, headers = self._world, {**(headers or {}), "Authorization": f"Bearer {self._tokens[principal]}"}
        asking = self._ask(Request("POST", path, headers, body))
        return await world.runtime.deadline(world.call(asking, f"{principal} {path}"), ANSWER_WITHIN_MS)

    async def _ask(self, request: Request) -> Response:
        return await self._world.edge.request(request)
