"""The WinRM client: one command, in a shell of its own, with an end to it whatever the host does (MS-WSMV).

Create, Command, Receive until done, Signal, Delete. Invariant: whoever calls learns whether the command may have run;
a shell that was opened is closed on every way out, and what goes wrong in closing it never costs a result.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from contest_platform.ports import (
    CommandResult,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    HostError,
    PortError,
    Runtime,
    Wsman,
)
from contest_platform.transports import lines, soap
from contest_platform.transports.soap import SHELL, TIMED_OUT, UNREADABLE, WSMAN

OPERATION_TIMEOUT_MS = 20_000
"""How long the service may take over one operation: what pywinrm asks for."""
NETWORK_MS = 5_000
"""How much later than that the client waits for the answer: NetworkDelayms of the service's own client."""
CLOSING_MS = 10_000
"""What is kept of a command's time to close its shell in, or a quarter of it."""
CLOSING_POST_MS = 3_000
LEAST_MS = 1_000
"""With less time left than this it is not worth asking how a command stands."""
TERMINATE = f"{SHELL}/signal/terminate"
DONE = f"{SHELL}/CommandState/Done"


@dataclass(slots=True)
class _Shell:
    """`command_id`: of the command in it, once the host has told."""

    host: str
    id: str
    command_id: str = ""


@dataclass(slots=True)
class _Output:
    exit_code: int | None = None
    streams: dict[str, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})

    def result(self) -> CommandResult:
        assert self.exit_code is not None
        stdout, stderr = (bytes(stream).decode(errors="replace") for stream in self.streams.values())
        return CommandResult(self.exit_code, stdout, stderr)


class WinRM:
    """`message_id` gives a new `uuid:…` at each call. `budget_ms`: how long a command may take, its shell's end
    included."""

    def __init__(self, wsman: Wsman, runtime: Runtime, message_id: Callable[[], str], budget_ms: int) -> None:
        self._wsman, self._runtime, self._message_id, self._budget_ms = wsman, runtime, message_id, budget_ms
        self._left: list[_Shell] = []
        """Shells that could not be closed: whoever next gets in to their host closes them."""

    async def run(self, host: str, command: str, args: Sequence[str]) -> CommandResult:
        """Raises ConnectionFailed and HostError whose `may_have_run` is False when the command surely did not run;
        DeadlineExceeded, ConnectionLost and HostError whose `may_have_run` is True when it may have."""
        ends_at = self._runtime.now() + self._budget_ms
        until = ends_at - min(CLOSING_MS, self._budget_ms // 4)
        shell = await self._create(host, until)
        try:
            await self._command(shell, command, args, until)
            result = await self._receive(shell, until)
        except PortError:
            await self._close(shell, ends_at)
            raise
        await self._close(shell, ends_at)
        return result

    # --- the five operations -----------------------------------------------------------------------------------------

    async def _create(self, host: str, until: int) -> _Shell:
        body = (
            "<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams>"
            "<rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>"
        )
        options = {"WINRS_NOPROFILE": "TRUE", "WINRS_CODEPAGE": "65001"}
        try:
            answer = await self._post("Create", host, body, until, options=options)
        except (ConnectionLost, DeadlineExceeded) as error:
            # A shell may be open of which we do not know. It ends when it has been idle for long enough.
            raise HostError(
                "host_shell_unanswered", f"{host} did not say whether it opened a shell: {error}"
            ) from error
        for selector in answer.iter(f"{{{WSMAN}}}Selector"):
            if selector.get("Name") == "ShellId" and selector.text:
                return _Shell(host, selector.text)
        raise HostError(UNREADABLE, f"{host} opened a shell and did not say which")

    async def _command(self, shell: _Shell, command: str, args: Sequence[str], until: int) -> None:
        script = lines.powershell(command, args)
        arguments = "".join(f"<rsp:Arguments>{soap.escaped(word)}</rsp:Arguments>" for word in lines.encoded(script))
        body = f"<rsp:CommandLine><rsp:Command>powershell.exe</rsp:Command>{arguments}</rsp:CommandLine>"
        options = {"WINRS_CONSOLEMODE_STDIN": "TRUE", "WINRS_SKIP_CMD_SHELL": "FALSE"}
        try:
            answer = await self._post("Command", shell.host, body, until, shell.id, options)
        except HostError as error:
            raise error if error.fault in soap.PROVEN else _perhaps(error) from None
        shell.command_id = answer.findtext(f".//{{{SHELL}}}CommandId", "")
        if not shell.command_id:
            raise HostError(UNREADABLE, f"{shell.host} began a command and did not say which", may_have_run=True)

    async def _receive(self, shell: _Shell, until: int) -> CommandResult:
        """What comes while there is nothing to tell is the service's own time-out, which says that it still runs: we
        ask again until our time is over."""
        streams = f'<rsp:DesiredStream CommandId="{soap.escaped(shell.command_id)}">stdout stderr</rsp:DesiredStream>'
        body, options = f"<rsp:Receive>{streams}</rsp:Receive>", {"WSMAN_CMDSHELL_OPTION_KEEPALIVE": "TRUE"}
        output = _Output()
        while output.exit_code is None:
            if until - self._runtime.now() < LEAST_MS:
                raise DeadlineExceeded(f"{shell.host} has not come to the end of a command in time")
            try:
                answer = await self._post("Receive", shell.host, body, until, shell.id, options)
            except HostError as error:
                if error.fault == TIMED_OUT:
                    continue
                raise _perhaps(error) from None
            except ConnectionFailed as error:  # the command went out before
                raise ConnectionLost(str(error)) from error
            _take(answer, shell, output)
        return output.result()

    async def _close(self, shell: _Shell, ends_at: int) -> None:
        """End the command and the shell, and those that were left behind on the same host. Never raises PortError:
        what cannot be closed now is kept in mind."""
        open_shells = [shell, *(one for one in self._left if one.host == shell.host)]
        self._left = [one for one in self._left if one.host != shell.host]
        for number, one in enumerate(open_shells):
            try:
                await self._signal(one, ends_at)
                await self._delete(one, ends_at)
            except PortError:
                self._left += open_shells[number:]
                return

    async def _signal(self, shell: _Shell, ends_at: int) -> None:
        """Raises ConnectionFailed. Whatever else fails: with its shell the command ends too."""
        if not shell.command_id:
            return
        body = f'<rsp:Signal CommandId="{soap.escaped(shell.command_id)}"><rsp:Code>{TERMINATE}</rsp:Code></rsp:Signal>'
        with suppress(HostError, ConnectionLost, DeadlineExceeded):
            await self._post("Signal", shell.host, body, self._closing_until(ends_at), shell.id)
        shell.command_id = ""

    async def _delete(self, shell: _Shell, ends_at: int) -> None:
        """A shell that is gone is closed. Raises PortError if it fails twice."""
        for is_last in (False, True):
            try:
                await self._post("Delete", shell.host, "", self._closing_until(ends_at), shell.id)
                return
            except PortError as error:
                if isinstance(error, HostError) and error.fault == soap.SHELL_NOT_FOUND:
                    return
                if is_last:
                    raise

    def _closing_until(self, ends_at: int) -> int:
        return min(ends_at, self._runtime.now() + CLOSING_POST_MS)

    async def _post(
        self, operation: str, host: str, body: str, until: int, shell_id: str = "", options: Mapping[str, str] = {}
    ) -> Element:
        """One message and the body of its answer. Raises DeadlineExceeded when there is none by `until`, or when the
        service has had its time and the network some more."""
        left_ms = until - self._runtime.now()
        if left_ms <= 0:
            raise DeadlineExceeded(f"no time is left for {operation} on {host}")
        wait_ms = min(left_ms, OPERATION_TIMEOUT_MS + NETWORK_MS)
        timeout_ms = min(OPERATION_TIMEOUT_MS, max(wait_ms - NETWORK_MS, wait_ms // 2))
        message_id = self._message_id()
        message = soap.request(operation, message_id, f"http://{host}:5985/wsman", timeout_ms, body, shell_id, options)
        return soap.read(await self._runtime.deadline(self._wsman.post(host=host, body=message), wait_ms), message_id)


def _perhaps(error: HostError) -> HostError:
    return HostError(error.fault, error.message, may_have_run=True)


def _take(answer: Element, shell: _Shell, output: _Output) -> None:
    """Add to `output` what one answer to Receive brought. Raises HostError if it is not what it should be."""
    state = answer.find(f".//{{{SHELL}}}CommandState")
    for stream in answer.iter(f"{{{SHELL}}}Stream"):
        kept = output.streams.get(stream.get("Name", ""))
        if kept is not None and stream.text:
            try:
                kept += b64decode(stream.text)
            except NoBase64 as error:
                raise HostError(
                    UNREADABLE, f"the output from {shell.host} cannot be read", may_have_run=True
                ) from error
    if state is None:
        raise HostError(UNREADABLE, f"{shell.host} did not say how the command stands", may_have_run=True)
    if state.get("State") == DONE:
        code = state.findtext(f"{{{SHELL}}}ExitCode", "").strip()
        if not code.removeprefix("-").isdigit():
            raise HostError(UNREADABLE, f"{shell.host} did not say how the command ended", may_have_run=True)
        output.exit_code = int(code)
