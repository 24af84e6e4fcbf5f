"""The simulated host, driven by the WinRM clients that others have written: it is real enough for pywinrm and pypsrp,
and what is known of their behaviour comes out of it. Ours is held against theirs where theirs is known to fail."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Awaitable
from typing import Any

import pypsrp.exceptions
import pytest
import requests
import winrm
from pypsrp.shell import Process, WinRS
from pypsrp.wsman import WSMan
from winrm.exceptions import (
    InvalidCredentialsError,
    WinRMError,
    WinRMOperationTimeoutError,
    WinRMTransportError,
    WSManFaultError,
)

from contest_platform.ports import (
    CommandResult,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    HostError,
    HttpAnswer,
    PortError,
)
from contest_platform.transports.winrm import WinRM
from seams.faults import Die, Effect, Falsify, LoseAnswer, Refuse, Stall
from simulator.actors import wsman
from simulator.actors.winrm import SERVER_2008_R2
from tests.support.winrm_world import HOST, Befalls, OneHost
from tests.support.wsman_server import listening


def session(port: int) -> winrm.Session:
    return winrm.Session(
        f"http://127.0.0.1:{port}/wsman", auth=("svc-healing", "secret"), transport="basic",
        read_timeout_sec=2, operation_timeout_sec=1,
    )  # fmt: skip


def failed(host: OneHost) -> BaseException:
    """What pywinrm raises."""
    with listening(host) as port, pytest.raises(Exception) as raised:
        session(port).run_ps("Restart-Service ingestion")
    return raised.value


# --- pywinrm ---------------------------------------------------------------------------------------------------------


def test_pywinrm_runs_a_command_and_leaves_nothing_behind() -> None:
    host = OneHost()
    with listening(host) as port:
        told = session(port).run_ps("Get-Service ingestion")
    assert (told.status_code, told.std_err) == (0, b"")
    assert b"Running  ingestion" in told.std_out
    assert host.operations() == ["Create", "Command", "Receive", "Signal", "Delete"]
    assert host.open_shells() == 0


def test_pywinrm_asks_again_for_as_long_as_receive_times_out() -> None:
    host = OneHost(Befalls("command", Stall(20_000)))
    with listening(host) as port:
        assert session(port).run_ps("Restart-Service ingestion").status_code == 0
    faults = [row["fault"] for row in host.world.rows("hosts.exchanges") if row["operation"] == "Receive"]
    assert len(faults) > 15
    assert faults == [2150858793] * (len(faults) - 1) + [None]


@pytest.mark.parametrize("operation", ["create", "command", "signal"])
def test_pywinrm_has_an_error_that_is_no_winrm_error_for_a_time_out_elsewhere(operation: str) -> None:
    error = failed(OneHost(Befalls(operation, Refuse(500, "timed_out"))))
    assert isinstance(error, WinRMOperationTimeoutError)
    assert not isinstance(error, WinRMError)


@pytest.mark.parametrize("name", sorted(wsman.FAULTS.keys() - {"timed_out"}))
@pytest.mark.parametrize("form", ["", "/wmi"])
def test_pywinrm_reads_the_code_of_every_fault(name: str, form: str) -> None:
    error = failed(OneHost(Befalls("create", Refuse(500, name + form))))
    assert isinstance(error, WSManFaultError)
    assert isinstance(error, WinRMError)
    code = wsman.FAULTS[name].code
    assert (error.wsman_fault_code, error.wmierror_code) == ((None, code) if form else (code, None))


@pytest.mark.parametrize(
    ("operation", "effect", "expected"),
    [
        ("create", Refuse(401), InvalidCredentialsError),
        ("create", Refuse(500), WinRMTransportError),
        ("command", Refuse(503), WinRMTransportError),
        ("connect", Refuse(), requests.exceptions.ConnectionError),
        ("command", LoseAnswer(), requests.exceptions.ReadTimeout),
        ("receive", Die(committed=True), requests.exceptions.ConnectionError),
        ("create", Falsify("html"), StopIteration),
        ("receive", Falsify("no_exit_code"), StopIteration),
        ("delete", Falsify("unrelated"), AssertionError),
    ],
    ids=str,
)
def test_pywinrm_fails_as_it_is_known_to(operation: str, effect: Effect, expected: type[BaseException]) -> None:
    error = failed(OneHost(Befalls(operation, effect)))
    assert type(error) is expected
    assert not isinstance(error, WinRMError) or expected is InvalidCredentialsError


def test_a_shell_that_is_lost_is_a_fault_with_its_code() -> None:
    error = failed(OneHost(Befalls("receive", Die(committed=False))))
    assert isinstance(error, WSManFaultError)
    assert (error.wsman_fault_code, error.fault_subcode) == (2150858843, "w:InvalidSelectors")


def test_pywinrm_leaks_a_shell_at_every_error_until_it_is_let_in_no_more_and_ours_leaks_none() -> None:
    def broken() -> OneHost:
        return OneHost(Befalls("receive", Refuse(503), times=5), release=SERVER_2008_R2)

    theirs = broken()
    for _ in range(5):
        assert isinstance(failed(theirs), WinRMTransportError)
    error: Any = failed(theirs)
    assert error.wsman_fault_code == 2150859173
    assert theirs.open_shells() == 5

    ours = broken()
    for _ in range(5):
        with pytest.raises(PortError):
            ours.run()
    assert ours.run().exit_code == 0
    assert ours.open_shells() == 0


@pytest.mark.parametrize("operation", ["signal", "delete"])
def test_pywinrm_loses_a_result_to_what_fails_after_it_and_ours_does_not(operation: str) -> None:
    def broken() -> OneHost:
        return OneHost(Befalls(operation, Refuse(503), times=1))

    assert isinstance(failed(broken()), WinRMTransportError)
    assert broken().run().exit_code == 0


# --- ours ------------------------------------------------------------------------------------------------------------


class OverHttp:
    """The Wsman port as a deployment would have it, with the standard library's own client behind it."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def post(self, *, host: str, body: bytes) -> HttpAnswer:
        assert host == HOST
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("POST", "/wsman", body, {"Content-Type": "application/soap+xml;charset=UTF-8"})
            answer = connection.getresponse()
            return HttpAnswer(answer.status, answer.read())
        except ConnectionRefusedError as error:
            raise ConnectionFailed(str(error)) from error
        except http.client.RemoteDisconnected as error:
            raise ConnectionLost(str(error)) from error
        finally:
            connection.close()


class RealTime:
    """As much of the Runtime port as the client uses."""

    def now(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def deadline(self, call: Awaitable[HttpAnswer], after_ms: int) -> HttpAnswer:
        try:
            return await asyncio.wait_for(call, after_ms / 1_000)
        except TimeoutError as error:
            raise DeadlineExceeded(str(error)) from error


async def running(host: OneHost, port: int) -> CommandResult:
    client = WinRM(OverHttp(port), RealTime(), host.message_id, 10_000)  # type: ignore[arg-type]
    return await client.run(HOST, "Get-Service", ("ingestion",))


def ours(host: OneHost) -> CommandResult:
    with listening(host) as port:
        return asyncio.run(running(host, port))


def test_our_client_talks_to_the_same_port_over_a_real_connection() -> None:
    host = OneHost()
    assert ours(host).stdout.split()[-3:] == ["Running", "ingestion", "ingestion"]
    assert host.operations() == ["Create", "Command", "Receive", "Signal", "Delete"]


@pytest.mark.parametrize("operation", ["signal", "delete"])
def test_our_client_keeps_the_result_where_closing_fails_over_a_real_connection(operation: str) -> None:
    host = OneHost(Befalls(operation, Refuse(503), times=1))
    assert ours(host).exit_code == 0
    assert host.open_shells() == 0


def test_our_client_says_so_where_the_connection_is_refused_or_reset() -> None:
    with listening(OneHost()) as free:
        pass
    with pytest.raises(ConnectionFailed):
        asyncio.run(running(OneHost(), free))
    with pytest.raises(HostError, match="host_shell_unanswered"):
        ours(OneHost(Befalls("connect", Refuse(), times=1)))
    host = OneHost(Befalls("receive", Die(committed=True), times=1))
    with pytest.raises(ConnectionLost):
        ours(host)


# --- pypsrp ----------------------------------------------------------------------------------------------------------


def ran_by_pypsrp(host: OneHost) -> Process:
    with listening(host) as port:
        there = WSMan(
            "127.0.0.1", port=port, ssl=False, auth="basic", encryption="never", username="svc-healing",
            password="secret", operation_timeout=1, read_timeout=2, reconnection_retries=3, reconnection_backoff=0.01,
        )  # fmt: skip
        with there, WinRS(there) as shell:
            process = Process(shell, "powershell.exe", ["Get-Service", "ingestion"])
            process.invoke()
    return process


def test_pypsrp_runs_a_command_and_deletes_the_shell() -> None:
    host = OneHost()
    process = ran_by_pypsrp(host)
    assert (process.rc, process.stderr) == (0, b"")
    assert b"Running  ingestion" in process.stdout
    assert host.operations()[0] == "Create"
    assert host.operations()[-1] == "Delete"
    assert host.open_shells() == 0


@pytest.mark.parametrize(
    ("operation", "effect", "expected"),
    [
        ("create", Refuse(401), pypsrp.exceptions.AuthenticationError),
        ("command", Refuse(503), pypsrp.exceptions.WinRMTransportError),
        ("command", Refuse(500, "shells"), pypsrp.exceptions.WSManFaultError),
        ("command", LoseAnswer(), requests.exceptions.ReadTimeout),
        ("receive", Falsify("unrelated"), pypsrp.exceptions.WinRMError),
    ],
    ids=str,
)
def test_pypsrp_fails_as_it_is_known_to(operation: str, effect: Effect, expected: type[BaseException]) -> None:
    host = OneHost(Befalls(operation, effect, times=1))
    with pytest.raises(expected):
        ran_by_pypsrp(host)
    if operation != "create":
        assert host.operations()[-1] == "Delete", "what it opened in a with-block it deletes"
