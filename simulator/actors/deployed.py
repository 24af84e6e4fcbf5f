"""What is deployed, and the deployment system's own record of who changed it.

Invariant: a change is a row of deployment.changes, and every fingerprint is taken of what runs at that instant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from contest_platform.service import Config
from contest_platform.store.database import Database
from seams.faults import Action
from simulator import deployment
from simulator.actors.context import NoteAction, World
from simulator.actors.hosts import HostsActor

RESTARTED = "app"
"""The unit that a change by hand is about: it makes the calls to the processor."""
PATCHED = "services/payouts.py"


class Configured(World, Protocol):
    """The world with what the platform's units are configured with: what is set holds from the next start of a unit."""

    config: Config


class DeployedActor:
    """`patches` holds what was changed of the released source, by path: the bytes appended to the file."""

    def __init__(self, world: Configured, hosts: HostsActor, database: Database) -> None:
        self._world, self._hosts, self._database = world, hosts, database
        self._fingerprints, self._changes = world.books["deployment.fingerprints"], world.books["deployment.changes"]
        self.patches: dict[str, bytes] = {}

    def fingerprint(self) -> None:
        """Write down what runs now: code, configuration and database schema."""
        now = self._world.runtime.now()
        for what, sha256 in self._running().items():
            self._fingerprints.note(now, what, sha256)
        self._fingerprints.note(now, "schema", deployment.schema_sha256(self._database))

    def _running(self) -> dict[str, str]:
        return {
            "code": deployment.code_sha256(self.patches),
            "configuration": deployment.config_sha256(self._world.config),
        }

    def change(self, principal: str, what: str, timeout_ms: int) -> int:
        """A human changes the code or a setting of the app on its host, and restarts it. Returns the number of the row
        in deployment.changes."""
        before = self._running()[what]
        if what == "code":
            self.patches[PATCHED] = b"\n# fixed on the host\n"
        else:
            self._world.config = replace(self._world.config, processor_timeout_ms=timeout_ms)
        after = self._running()[what]
        self._world.record(principal, "deployment.changed", what, before=before, after=after)
        row = self._changes.note(self._world.runtime.now(), principal, what, before, after)
        self._hosts.restart(RESTARTED, "deployment")
        return row

    async def pull_change(self, action: Action, note: NoteAction) -> None:
        """The lever deployment.change."""
        note(action, str(self.change(action.entity, action.params["what"], action.params["timeout_ms"])))
