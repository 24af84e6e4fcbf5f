"""A platform with its admin endpoints and an opsctl in front of them, around a contest in miniature.

Invariant: what ops does goes through the platform's edge with a token, as a request over the network would.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from contest_platform import opsctl
from contest_platform.admin.service import AdminService
from contest_platform.app import App
from contest_platform.http import Request, Response
from contest_platform.opsctl import Output
from contest_platform.ports import CommandResult, Introspection, PagerIncident
from contest_platform.services.runbooks import RunbooksService
from contest_platform.store.tables import TABLES
from tests.support.contest_world import CONFIG, ContestWorld
from tests.support.platform_ports import FakeAuth, token

KIM, LEE, EVE = "ops:kim", "ops:lee", "founder:eve"
START = {"runbook_name": "transfer_stuck", "runbook_version": "1.0.0", "executed_by": KIM}
TEMPLATE = "opsctl transfers retry {transfer}"
STEP = {
    "n": 1, "section": "Recovery", "number": 2, "file": "runbooks/transfer_stuck.md", "line": 40,
    "template": TEMPLATE, "template_sha256": sha256(TEMPLATE.encode()).hexdigest(),
    "bindings": {"transfer": "payout_1"}, "sent": "opsctl transfers retry payout_1", "exit_status": 0,
    "output": "accepted: transfer_id=payout_1 changed=yes\n", "matched": "accepted: *", "ok": True,
    "next": "Recovery/3",
}  # fmt: skip


class Fleet:
    """Every service runs but those of `stopped`, of which those of `broken` cannot be started; a host of `down` raises
    what stands there. The clock of a host is right but for `ahead_s`, and those of `broken_clocks` stay wrong."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.ahead_s: dict[str, int] = {}
        self.broken_clocks: set[str] = set()
        self.stopped: set[tuple[str, str]] = set()
        self.broken: set[tuple[str, str]] = set()
        self.down: dict[str, Exception] = {}
        self.restarted: list[tuple[str, str]] = []
        self.on_restart: Callable[[], None] = lambda: None

    async def run(self, *, host: str, command: str, args: Any) -> CommandResult:
        if host in self.down:
            raise self.down[host]
        if command == "date" or command.startswith("[DateTimeOffset]"):
            return CommandResult(0, f"{self._now() // 1000 + self.ahead_s.get(host, 0)}\n", "")
        if command in ("chronyc", "w32tm"):
            if host in self.broken_clocks:
                return CommandResult(1, "", "506 Cannot talk to daemon\n")
            self.ahead_s.pop(host, None)
            return CommandResult(0, "200 OK\n", "")
        if command in ("Start-Service", "Restart-Service") or args[0] in ("start", "restart"):
            if (host, args[-1]) not in self.broken:
                self.stopped.discard((host, args[-1]))
            if command == "Restart-Service" or args[0] == "restart":
                self.restarted.append((host, args[-1]))
                self.on_restart()
            return CommandResult(0, "", "")
        words = {"systemctl": ("active", "inactive"), "Get-Service": ("Running", "Stopped")}[command]
        return CommandResult(0, words[(host, args[-1]) in self.stopped] + "\n", "")


class Pager:
    """Takes everything, and knows of the incidents that a test opens at it; `down` raises for whoever asks."""

    def __init__(self) -> None:
        self.open: list[PagerIncident] = []
        self.down: Exception | None = None

    async def send(self, **event: Any) -> None:
        return None

    async def incidents(self) -> list[PagerIncident]:
        if self.down is not None:
            raise self.down
        return list(self.open)


class AdminWorld(ContestWorld):
    def __init__(self) -> None:
        super().__init__()
        self.pager = Pager()
        self.auth, self.hosts = FakeAuth(), Fleet(lambda: self.runtime.at)
        for principal in (KIM, LEE, EVE):
            self.auth.answers[f"tok-{principal}"] = Introspection(True, principal, "")
        self.restart()

    def restart(self) -> None:
        """A new life of the edge: it reads its configuration."""
        self.app: App = self.life(
            lambda ports, config: App(ports, config, [RunbooksService(ports, config), AdminService(ports, config)])
        )

    def headers(self, principal: str = KIM, **more: str) -> dict[str, str]:
        life_s = 30 * 86_400
        return {"Authorization": f"Bearer {token(principal, key=CONFIG.token_key, life_s=life_s)}", **more}

    def call(
        self, method: str, path: str, body: Any = None, principal: str = KIM, query: Any = None, **headers: str
    ) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method, f"/api/admin/{path}", self.headers(principal, **named), body or {}, b"", query or {})
        return self.run(self.app.handle(request))

    def start(self, principal: str = KIM, **more: Any) -> str:
        """The id of a new execution."""
        body = {**START, "executed_by": principal, **more}
        response = self.call("POST", "runbooks/start", body, principal)
        assert response.status == 200, response
        return str(response.body["execution_id"])

    def within(self, execution_id: str, step: str = "Recovery/2") -> dict[str, str]:
        return {"runbook_execution": execution_id, "runbook_step": step}

    def act(self, path: str, execution_id: str, **body: Any) -> Response:
        return self.call("POST", path, body, **self.within(execution_id))

    def opsctl(self, line: str, execution_id: str = "") -> Output:
        """The output of a command line without a shell's `opsctl`; in a step of an execution, if one is given."""
        step = {"runbook-execution": execution_id, "runbook-step": "Recovery/2"} if execution_id else {}
        return self.run(opsctl.run(shlex.split(line), self.app.handle, self.headers(**step)))

    def refusals(self) -> list[tuple[str, str, str]]:
        """(action, actor, reason) of everything that was refused."""
        rows = self.rows("select action, actor, reason from audit_log where action like 'refuse.%' order by seq")
        return [(row["action"], row["actor"], row["reason"]) for row in rows]

    def whole(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table but the two logs and the note of who acts: the same when nothing was done."""
        rows = {
            name: self.rows(f"select * from {name} order by {', '.join(table.key)}")
            for name, table in sorted(TABLES.items()) if not name.endswith("_log")
        }  # fmt: skip
        rows["checkpoints"] = [row for row in rows["checkpoints"] if not row["name"].startswith("runbooks.acted:")]
        return rows
