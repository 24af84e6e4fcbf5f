"""The WinRM service of the Windows hosts: shells, the commands in them, what it allows, and what it forgets.

Invariant: a shell lives from its Create until its Delete, until it has been idle for two hours, or until the service
ends; `hosts.shells` tells of each, and `hosts.exchanges` of every message that came.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from contest_platform.ports import CommandResult, HttpAnswer
from seams.faults import Action
from simulator.actors import wsman
from simulator.actors.context import NoteAction, World
from simulator.actors.hosts import HostsActor
from simulator.actors.wsman import Message

IDLE_MS = 7_200_000
"""IdleTimeout: what a shell that nobody uses lives, and what it counts against its owner's quota."""
TIMEOUT_MS_MAX = 60_000
"""MaxTimeoutms: an operation that asks for more gets this."""
RUNS_MS = (150, 900)
"""How long a command takes, PowerShell's own start included."""

How = Literal["deleted", "idle", "restart", "reboot", "open"]


@dataclass(frozen=True, slots=True)
class Release:
    """What the service of a release allows as shipped (winrm get winrm/config), and how it answers. Commands count as
    operations as long as their shell lives: Signal does not take them off the count for a text-based shell (MS-WSMV,
    appendix A, note 118)."""

    shells: int = 30
    commands: int = 25
    users: int = 10
    operations: int = 1_500
    allows_shells: bool = True
    knows_commands: bool = True
    """Whether a command that is not there is an invalid selector, or an invalid parameter."""
    tells_activity: bool = True
    """Whether every answer bears an ActivityId."""


SHIPPED = Release()
SERVER_2008_R2 = Release(shells=5, commands=15, users=5, operations=15, knows_commands=False, tells_activity=False)


@dataclass(slots=True)
class _Command:
    """`prints_at`: when its output is there; `ends_at`: when it has ended. `is_told`: whether that was fetched."""

    id: str
    result: CommandResult
    prints_at: int
    ends_at: int
    is_told: bool = False


@dataclass(slots=True)
class _Shell:
    """`started`: how many commands were begun in it. `commands`: those that have not been signalled yet."""

    id: str
    user: str
    opened_at: int
    used_at: int
    started: int = 0
    commands: dict[str, _Command] = field(default_factory=dict)


class _Refused(Exception):
    """The service answers with a fault: the name of one in wsman.FAULTS."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


class WinrmService:
    """`release`: of every host."""

    def __init__(self, world: World, actor: HostsActor, release: Release = SHIPPED) -> None:
        self._world, self._actor, self.release = world, actor, release
        self._exchanges, self._book = world.books["hosts.exchanges"], world.books["hosts.shells"]
        self._shells: dict[str, dict[str, _Shell]] = {}
        self._ids = 0
        actor.on_down = lambda host: self.end(host, "reboot")

    # --- messages ----------------------------------------------------------------------------------------------------

    async def handle(
        self, host: str, user: str, message: Message | None, *, answered: bool = True, fails: str = "",
        slower_ms: int = 0, relates_to: str = "", with_exit_code: bool = True,
    ) -> HttpAnswer:  # fmt: skip
        """The answer to one message of `user`; None is one that could not be understood. `answered`: whether it will
        reach him. `fails`: what the command that the message begins says, having done nothing; `slower_ms`: how much
        longer that command takes. `relates_to`: to which other message the answer says to relate; `with_exit_code`
        False: it leaves the command's out."""
        exit_code = None
        try:
            if message is None:
                raise _Refused("schema")
            match message.operation:
                case "Create":
                    content = self._create(host, user, message)
                case "Command":
                    command = self._command(host, message, answered, fails, slower_ms)
                    content, exit_code = wsman.began(command.id), command.result.exit_code
                case "Receive":
                    content, exit_code = await self._receive(host, message, with_exit_code)
                case "Send":
                    self._command_of(self._shell(host, message), message)
                    content = wsman.SENT
                case "Signal":
                    content = self._signal(host, message)
                case "Delete":
                    self._close(host, self._shell(host, message), self._world.runtime.now(), "deleted")
                    content = wsman.DELETED
        except _Refused as refused:
            return self.refuse(host, message, refused.fault, answered=answered)
        self._note(host, message, 200, related=not relates_to, answered=answered, exit_code=exit_code)
        made = wsman.answer(message, self._id("uuid:"), content, relates_to=relates_to, activity_id=self._activity())
        return HttpAnswer(200, made)

    def refuse(
        self, host: str, message: Message | None, fault: str, *, wmi: bool = False, answered: bool = True
    ) -> HttpAnswer:
        """Answer with a fault."""
        self._note(host, message, 500, fault=wsman.FAULTS[fault].code, answered=answered)
        related = "" if message is None else message.message_id
        return HttpAnswer(500, wsman.fault(fault, self._id("uuid:"), related, host, self._activity(), wmi=wmi))

    def turn_away(self, host: str, message: Message | None, status: int, body: bytes = b"") -> HttpAnswer:
        """Answer as whatever stands before the service does, which knows no SOAP. Nothing is done."""
        self._note(host, message, status, soap=False)
        return HttpAnswer(status, body)

    def _note(
        self, host: str, message: Message | None, status: int, *, soap: bool = True, related: bool = True,
        fault: int | None = None, exit_code: int | None = None, answered: bool = True,
    ) -> None:  # fmt: skip
        whose = ("", "", "") if message is None else (message.operation, message.message_id, message.shell_id)
        self._exchanges.note(self._world.runtime.now(), host, *whose, status, soap, related, fault, exit_code, answered)

    # --- what a message does -----------------------------------------------------------------------------------------

    def _create(self, host: str, user: str, message: Message) -> str:
        allowed, shells = self.release, self._alive(host)
        own = [shell for shell in shells.values() if shell.user == user]
        if not allowed.allows_shells:
            raise _Refused("not_allowed")
        if not own and len({shell.user for shell in shells.values()}) >= allowed.users:
            raise _Refused("users")
        if len(own) >= allowed.shells:
            raise _Refused("shells")
        if sum(shell.started for shell in own) >= allowed.operations:
            raise _Refused("operations")
        shell = self._open(host, user)
        return wsman.created(message, shell.id, user, "10.0.0.10")

    def _open(self, host: str, user: str) -> _Shell:
        now = self._world.runtime.now()
        shell = _Shell(self._id(), user, now, now)
        self._shells.setdefault(host, {})[shell.id] = shell
        return shell

    def _command(self, host: str, message: Message, answered: bool, fails: str, slower_ms: int) -> _Command:
        shell, now = self._shell(host, message), self._world.runtime.now()
        if len(shell.commands) >= self.release.commands:
            raise _Refused("commands")
        own = [one for one in self._alive(host).values() if one.user == shell.user]
        if sum(one.started for one in own) >= self.release.operations:
            raise _Refused("operations")
        skips_cmd = message.options.get("WINRS_SKIP_CMD_SHELL", "").lower() == "true"
        if skips_cmd and "\\" not in message.words[0]:
            raise _Refused("file_not_found")  # only cmd looks for it along the path
        command, args = wsman.command_line(message.words)
        shell.started += 1
        if fails:
            result = self._actor.fail(host, command, args, fails)
        else:
            result = self._actor.run(host, command, args, answered)
        takes_ms = self._world.draws.between(*RUNS_MS, "hosts.takes", host, command, now)
        begun = _Command(self._id(), result, now + takes_ms, now + takes_ms + slower_ms)
        shell.commands[begun.id] = begun
        return begun

    async def _receive(self, host: str, message: Message, with_exit_code: bool) -> tuple[str, int | None]:
        """The content of the answer, and the exit code in it. What is printed is told then, the end when it comes."""
        shell, runtime = self._shell(host, message), self._world.runtime
        command = self._command_of(shell, message)
        patience_ends_at = runtime.now() + min(message.timeout_ms, TIMEOUT_MS_MAX)
        silent = command.is_told or not (command.result.stdout or command.result.stderr)
        await runtime.sleep_until(min(command.ends_at if silent else command.prints_at, patience_ends_at))
        # It may have been ended meanwhile, or with its shell.
        self._command_of(self._shell(host, message), message)
        now = runtime.now()
        if (command.ends_at if silent else command.prints_at) > now:
            raise _Refused("timed_out")
        printed = None if command.is_told else command.result
        command.is_told, is_done = True, command.ends_at <= now
        exit_code = command.result.exit_code if is_done and with_exit_code else None
        return wsman.received(command.id, printed, exit_code=exit_code, is_done=is_done), exit_code

    def _signal(self, host: str, message: Message) -> str:
        shell = self._shell(host, message)
        del shell.commands[self._command_of(shell, message).id]
        return wsman.SIGNALLED

    def _shell(self, host: str, message: Message) -> _Shell:
        shell = self._alive(host).get(message.shell_id)
        if shell is None:
            raise _Refused("shell_not_found")
        shell.used_at = self._world.runtime.now()
        return shell

    def _command_of(self, shell: _Shell, message: Message) -> _Command:
        command = shell.commands.get(message.command_id)
        if command is None:
            raise _Refused("command_not_found" if self.release.knows_commands else "parameter")
        return command

    # --- the lives of shells -----------------------------------------------------------------------------------------

    def _alive(self, host: str) -> dict[str, _Shell]:
        """The open shells, once those that have been idle for too long are ended: at the instant at which they were."""
        shells, now = self._shells.setdefault(host, {}), self._world.runtime.now()
        for shell in [shell for shell in shells.values() if shell.used_at + IDLE_MS <= now]:
            self._close(host, shell, shell.used_at + IDLE_MS, "idle")
        return shells

    def _close(self, host: str, shell: _Shell, at: int, how: How) -> None:
        del self._shells[host][shell.id]
        self._tell(host, shell, at, how)

    def _tell(self, host: str, shell: _Shell, at: int | None, how: How) -> None:
        self._book.note(shell.opened_at, host, shell.user, shell.id, shell.started, shell.used_at, at, how)

    def end(self, host: str, how: Literal["restart", "reboot"]) -> None:
        """The service of the host ends, and every shell with it."""
        for shell in list(self._alive(host).values()):
            self._close(host, shell, self._world.runtime.now(), how)

    def close_books(self) -> None:
        """Tell of the shells that are still open."""
        for host in sorted(self._shells):
            for shell in list(self._alive(host).values()):
                self._tell(host, shell, None, "open")

    async def pull_leak(self, action: Action, note: NoteAction) -> None:
        """The lever winrm.leak: somebody else's script, under our account, opens `shells` and never closes them, having
        run `commands` in each."""
        user, params = action.params["user"], action.params
        for _ in range(params["shells"]):
            shell = self._open(action.entity, user)
            shell.started = params["commands"]
            note(action, shell.id)

    def _activity(self) -> str:
        return self._id() if self.release.tells_activity else ""

    def _id(self, prefix: str = "") -> str:
        """A UUID as Windows writes it."""
        self._ids += 1
        digits = sha256(self._world.draws.hex("winrm.id", self._ids).encode()).hexdigest().upper()
        return f"{prefix}{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"
