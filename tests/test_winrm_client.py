"""What the platform's WinRM client makes of everything that may go wrong: which error, whether the command may have
run, whether it did, and whether a shell is left behind."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from contest_platform.errors import Meaning, code_of, known, meaning
from contest_platform.ports import (
    CommandResult,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    HostError,
    HttpAnswer,
    PortError,
)
from contest_platform.transports import soap
from seams.faults import Die, Effect, Falsify, LoseAnswer, LoseRequest, Refuse, Stall
from simulator.actors import wsman
from simulator.actors.winrm import IDLE_MS, SERVER_2008_R2
from tests.support.winrm_world import BUDGET_MS, HOST, Befalls, OneHost

HOUR_MS = 3_600_000
HTML, UNRELATED, NO_CODE = Falsify("html"), Falsify("unrelated"), Falsify("no_exit_code")


class Case(NamedTuple):
    """`operation` meets `effect`, each time. The client raises `error`; `says` is the fault's name if it has one, and
    `may` whether by its word the command may have run. `ran`: whether it did. `left`: how many shells stay open."""

    operation: str
    effect: Effect
    error: type[PortError]
    says: str = ""
    may: bool = False
    ran: bool = False
    left: int = 0


def surely(operation: str, effect: Effect, says: str, left: int = 0) -> Case:
    return Case(operation, effect, HostError, says, left=left)


def perhaps(operation: str, effect: Effect, says: str, *, ran: bool, left: int = 0) -> Case:
    return Case(operation, effect, HostError, says, may=True, ran=ran, left=left)


CASES = [
    # The way to the host.
    Case("connect", Refuse(), ConnectionFailed),
    Case("connect", LoseRequest(), ConnectionFailed),
    # Create: nothing has run, whatever comes.
    surely("create", LoseRequest(), "host_shell_unanswered"),
    surely("create", LoseAnswer(), "host_shell_unanswered", left=1),
    surely("create", Refuse(401), "host_unauthorized"),
    surely("create", Refuse(500), "host_unavailable"),
    surely("create", Refuse(503), "host_unavailable"),
    surely("create", HTML, "host_answer_unreadable"),
    surely("create", UNRELATED, "host_answer_unrelated", left=1),
    surely("create", Refuse(500, "timed_out"), "host_timed_out"),
    surely("create", Refuse(500, "schema"), "host_request_invalid"),
    # Command: a fault was told before anything ran, what is no answer proves nothing.
    Case("command", LoseRequest(), DeadlineExceeded, may=True),
    Case("command", LoseAnswer(), DeadlineExceeded, may=True, ran=True),
    surely("command", Refuse(401), "host_unauthorized"),
    perhaps("command", Refuse(500), "host_unavailable", ran=False),
    perhaps("command", Refuse(503), "host_unavailable", ran=False),
    perhaps("command", HTML, "host_answer_unreadable", ran=False),
    perhaps("command", UNRELATED, "host_answer_unrelated", ran=True),
    perhaps("command", Refuse(500, "timed_out"), "host_timed_out", ran=False),
    surely("command", Refuse(500, "file_not_found"), "host_file_not_found"),
    surely("command", Refuse(500, "schema"), "host_request_invalid"),
    surely("command", Die(committed=False), "host_shell_not_found"),
    Case("command", Die(committed=True), ConnectionLost, may=True),
    # Receive: it runs or has run.
    Case("receive", LoseRequest(), DeadlineExceeded, may=True, ran=True),
    Case("receive", LoseAnswer(), DeadlineExceeded, may=True, ran=True),
    Case("command", Stall(3 * HOUR_MS), DeadlineExceeded, may=True, ran=True),
    perhaps("receive", Refuse(401), "host_unauthorized", ran=True),
    perhaps("receive", Refuse(500), "host_unavailable", ran=True),
    perhaps("receive", Refuse(503), "host_unavailable", ran=True),
    perhaps("receive", HTML, "host_answer_unreadable", ran=True),
    perhaps("receive", UNRELATED, "host_answer_unrelated", ran=True),
    perhaps("receive", NO_CODE, "host_answer_unreadable", ran=True),
    perhaps("receive", Refuse(500, "command_not_found"), "host_shell_not_found", ran=True),
    perhaps("receive", Refuse(500, "parameter"), "host_command_not_found", ran=True),
    perhaps("receive", Die(committed=False), "host_shell_not_found", ran=True),
    Case("receive", Die(committed=True), ConnectionLost, may=True, ran=True),
]


def told(host: OneHost) -> PortError:
    with pytest.raises(PortError) as raised:
        host.run()
    return raised.value


def may_have_run(error: PortError) -> bool:
    """What a caller can tell from the error."""
    return error.may_have_run if isinstance(error, HostError) else not isinstance(error, ConnectionFailed)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.operation}-{case.effect}")
def test_every_failure_says_whether_the_command_may_have_run_and_leaves_no_shell_that_it_knows_of(case: Case) -> None:
    host = OneHost(Befalls(case.operation, case.effect))
    error = told(host)
    assert type(error) is case.error
    assert getattr(error, "fault", "") == case.says
    assert (may_have_run(error), host.ran()) == (case.may, int(case.ran))
    assert case.may or not case.ran, "what ran is never denied"
    assert host.world.bites
    assert host.world.runtime.now() <= host.world.rows("hosts.services")[0]["at"] + BUDGET_MS
    assert host.open_shells() == case.left
    assert known(code_of(error))
    assert meaning(code_of(error)) is (Meaning.UNKNOWN if case.may else Meaning.DID_NOT_HAPPEN)


QUOTAS = [name for name, kind in wsman.FAULTS.items() if kind.subcode == "w:QuotaLimit" or name == "not_allowed"]
CODES = {
    2150858793, 2150858843, 2150858815, 2150859173, 2150859174, 2150859175, 2150859176, 2150859179, 2150859180,
    *range(2150859236, 2150859242), 2147942402, 87, 2150858817,
}  # fmt: skip


def test_host_and_client_know_every_code_that_is_documented() -> None:
    assert {kind.code for kind in wsman.FAULTS.values()} == CODES == set(soap.FAULTS)
    assert len(QUOTAS) == 13


@pytest.mark.parametrize("operation", ["create", "command"])
@pytest.mark.parametrize("form", ["", "/wmi"])
@pytest.mark.parametrize("name", QUOTAS)
def test_a_quota_is_told_by_its_code_in_either_form_and_nothing_ran(name: str, form: str, operation: str) -> None:
    host = OneHost(Befalls(operation, Refuse(500, name + form)))
    error = told(host)
    assert isinstance(error, HostError)
    assert error.fault == soap.FAULTS[wsman.FAULTS[name].code]
    assert str(wsman.FAULTS[name].code) in error.message
    assert (error.may_have_run, host.ran(), host.open_shells()) == (False, 0, 0)


@pytest.mark.parametrize("times", [1, 1_000])
@pytest.mark.parametrize("operation", ["signal", "delete"])
@pytest.mark.parametrize(
    "effect",
    [LoseRequest(), LoseAnswer(), Refuse(401), Refuse(500), Refuse(503), HTML, UNRELATED, Refuse(500, "timed_out"),
     Die(committed=False)],
    ids=str,
)  # fmt: skip
def test_what_goes_wrong_in_closing_a_shell_never_costs_the_result(operation: str, effect: Effect, times: int) -> None:
    host = OneHost(Befalls(operation, effect, times))
    assert host.run() == CommandResult(0, "", "")
    assert host.ran() == 1
    if times == 1:
        assert host.open_shells() == 0, "it is tried a second time"


@pytest.mark.parametrize("operation", ["connect", "signal", "delete"])
def test_a_shell_that_could_not_be_closed_is_closed_as_soon_as_the_host_lets_us_in(operation: str) -> None:
    if operation == "connect":
        host = OneHost(Befalls(operation, Refuse(), times=1, spared=3))
    else:
        host = OneHost(Befalls(operation, Refuse(503), times=2))
    assert host.run() == CommandResult(0, "", "")
    if operation != "signal":
        assert len(host.world.rows("hosts.shells")) == 0, "it is open"
    host.run()
    assert [how for how, _, _ in host.shells()] == ["deleted", "deleted"]


def test_a_connection_that_is_refused_between_create_and_command_ran_nothing() -> None:
    host = OneHost(Befalls("connect", Refuse(), spared=1))
    assert isinstance(told(host), ConnectionFailed)
    assert host.ran() == 0


def test_a_connection_that_is_refused_after_command_is_no_proof_that_it_did_not_run() -> None:
    host = OneHost(Befalls("connect", Refuse(), spared=2))
    assert isinstance(told(host), ConnectionLost)
    assert host.ran() == 1


@pytest.mark.parametrize(("operation", "ran"), [("Create", 0), ("Command", 1), ("Receive", 1)])
def test_a_reset_is_ambiguous_from_command_on(operation: str, ran: int) -> None:
    host = OneHost(resets=operation)
    error = told(host)
    assert (may_have_run(error), host.ran()) == (bool(ran), ran)
    assert host.open_shells() == (operation == "Create")


# --- time ------------------------------------------------------------------------------------------------------------


def test_receive_is_asked_again_until_the_command_ends() -> None:
    host = OneHost(Befalls("command", Stall(35_000)))
    assert host.run() == CommandResult(0, "", "")
    assert host.operations() == ["Create", "Command", "Receive", "Receive", "Signal", "Delete"]
    faults = [row["fault"] for row in host.world.rows("hosts.exchanges")]
    assert faults == [None, None, 2150858793, None, None, None]


def test_a_command_without_end_is_ended_with_its_shell_at_the_deadline() -> None:
    host = OneHost(Befalls("command", Stall(24 * HOUR_MS)))
    started_at = host.world.runtime.now()
    assert isinstance(told(host), DeadlineExceeded)
    assert BUDGET_MS * 3 // 4 <= host.world.runtime.now() - started_at <= BUDGET_MS
    assert host.operations()[-2:] == ["Signal", "Delete"]
    assert host.open_shells() == 0


# --- quotas, leaks and restarts, as the host keeps them ---------------------------------------------------------------


def leak(host: OneHost, times: int) -> None:
    for _ in range(times):
        error = told(host)
        assert isinstance(error, HostError)
        assert error.fault == "host_shell_unanswered"


def test_shells_that_nobody_knows_of_count_for_two_hours_and_then_let_us_in_again() -> None:
    host = OneHost(Befalls("create", LoseAnswer(), times=5), release=SERVER_2008_R2)
    leak(host, 5)
    error = told(host)
    assert isinstance(error, HostError)
    assert error.fault == "host_shells_quota"
    host.world.run_for(IDLE_MS)
    assert host.run() == CommandResult(0, "", "")
    ends = [(how, closed_at - opened_at) for how, opened_at, closed_at in host.shells() if closed_at]
    assert ends[:5] == [("idle", IDLE_MS)] * 5
    assert ends[5][0] == "deleted"


def test_thirty_failures_do_not_use_up_the_quota() -> None:
    """As they do with a client that leaves its shell at every error (pywinrm's Session.run_cmd)."""
    host = OneHost(Befalls("receive", Refuse(503), times=40))
    for _ in range(40):
        told(host)
    assert host.run() == CommandResult(0, "", "")
    assert host.ran() == 41
    assert host.open_shells() == 0


def test_a_shell_of_before_a_reboot_is_forgotten_and_the_host_is_away_for_a_while() -> None:
    host = OneHost(Befalls("receive", Die(committed=True), times=1))
    assert isinstance(told(host), ConnectionLost)
    assert isinstance(told(host), ConnectionFailed), "it boots"
    host.world.run_for(120_000)
    assert host.run("Get-Service").exit_code == 0
    assert [how for how, _, _ in host.shells()] == ["reboot", "deleted"]
    [stopped, started] = [row for row in host.world.rows("hosts.services") if row["service"] == "ingestion"][-2:]
    assert (stopped["by"], started["by"]) == ("shutdown", "boot")


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [("a b",), ("it's",), ("",), ("$env:x; Remove-Item C:\\",), ("<&>\"'",), ("-Path", "HKLM:\\Software\\Run"), ("ü",)],
    ids=str,
)
def test_an_argument_arrives_as_it_was_sent(args: tuple[str, ...]) -> None:
    host = OneHost()
    host.run("Restart-Service", *args)
    [row] = host.world.rows("hosts.requests")
    assert (row["command"], json.loads(row["args"])) == ("Restart-Service", list(args))


BOMB = b'<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]><a>&d;</a>'


@pytest.mark.parametrize("body", [b"", b"<a", BOMB, b"<a/>", b"\xff\xfe<\x00a\x00/\x00>\x00", b"<a>" * 200_000])
def test_what_is_no_soap_is_unreadable_and_expands_nothing(body: bytes) -> None:
    with pytest.raises(HostError, match="host_answer_unreadable"):
        soap.read(HttpAnswer(200, body), "uuid:1")


def test_a_message_that_is_none_is_a_fault_of_the_schema() -> None:
    host = OneHost()
    answer: Any = host.world.run(host.service.handle(HOST, "somebody", wsman.parse(b"<not-soap/>")))
    with pytest.raises(HostError, match="host_request_invalid"):
        soap.read(answer, "uuid:1")
