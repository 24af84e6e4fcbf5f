"""The messages of WinRM against those captured from real hosts: what the simulated host answers to each captured
request, and what the platform's client makes of each captured answer. A structural comparison: prefixes and the values
that differ from host to host do not count."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
import yaml

from contest_platform.ports import CommandResult, HostError, HttpAnswer
from contest_platform.transports.winrm import WinRM
from simulator.actors import wsman
from simulator.actors.winrm import SERVER_2008_R2, SHIPPED, WinrmService
from tests.support.data import data_dir
from tests.support.fake_world import FakeWorld

HOST = "win-ingest-1"
WINRS = ("standard", "stderr_rc", "unicode", "environment", "operation_timeout", "send", "no_cmd_shell", "bad_cmd_id")
SAID = {
    "Action", "To", "ResourceURI", "ResourceUri", "IdleTimeOut", "InputStreams", "OutputStreams", "Value", "Text",
    "Message", "FaultDetail", "ExitCode", "Variable", "ShellRunTime", "ShellInactivity", "ProviderFault",
}  # fmt: skip
"""Elements whose text is the same on every host."""
MEANT = {"State", "Code", "Name", "End", "provider", "path"}
"""Attributes whose value is."""


def captured(name: str) -> list[dict[str, Any]]:
    path = data_dir() / "winrm" / f"pypsrp_test_{name}.yml"
    found = yaml.safe_load(Path(path).read_text())["messages"]
    assert found
    return list(found)


def local(tag: str) -> str:
    return tag.rpartition("}")[2]


def shape(element: Element, variables: bool = True) -> tuple[Any, ...]:
    """(tag, attributes, text, children) as far as they are the same on every host. How many pieces the output comes in
    is chance, and so is what is in them."""
    text = " ".join((element.text or "").split()) if local(element.tag) in SAID else None
    attributes = {
        name: value if local(name) in MEANT and (variables or local(element.tag) != "Variable") else None
        for name, value in element.attrib.items()
    }
    children: list[tuple[Any, ...]] = []
    for child in element:
        one = shape(child, variables)
        if local(child.tag) == "Stream" and "End" not in child.attrib and one in children:
            continue
        children.append(one)
    return element.tag, tuple(sorted(attributes.items())), text, tuple(children)


def relates_to(message: str) -> str:
    found = re.search(r"MessageID>([^<]+)<", message)
    assert found
    return found[1]


def streams(answers: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for answer in answers:
        for stream in fromstring(answer).iter():
            if local(stream.tag) == "Stream" and stream.text:
                yield stream.attrib["Name"], base64.b64decode(stream.text)


def printed(exchanges: Sequence[dict[str, Any]]) -> CommandResult:
    """What a captured command printed, and how it ended."""
    answers = [exchange["response"] for exchange in exchanges]
    found = list(streams(answers))
    stdout, stderr = (b"".join(part for name, part in found if name == which) for which in ("stdout", "stderr"))
    [code] = [text for answer in answers for text in re.findall(r"ExitCode>(\d+)<", answer)]
    return CommandResult(int(code), stdout.decode(), stderr.decode())


# --- the host --------------------------------------------------------------------------------------------------------


class Runs:
    """A host on which every command does what the captured one did."""

    def __init__(self, result: CommandResult) -> None:
        self.result = result
        self.on_down: Any = None
        self.ran: list[tuple[str, tuple[str, ...]]] = []

    def run(self, host: str, command: str, args: Sequence[str], answered: bool) -> CommandResult:
        self.ran.append((command, tuple(args)))
        return self.result


def replay(name: str, exchanges: list[dict[str, Any]], **how: Any) -> Iterator[tuple[Element, Element, int, int]]:
    """(captured answer, ours, its status, ours) of each exchange: the captured request goes to our host, with the ids
    that our host gave."""
    result = CommandResult(0, "", "") if name == "bad_cmd_id" else printed(exchanges)
    world = FakeWorld()
    tells = "ActivityId" in exchanges[0]["response"]
    release = SHIPPED if tells else SERVER_2008_R2
    host = WinrmService(world, Runs(result), release)  # type: ignore[arg-type]
    given: dict[str, str] = {}
    for exchange in exchanges:
        request = exchange["request"]
        for theirs, ours in given.items():
            request = request.replace(theirs, ours)
        answer = world.run(host.handle(HOST, "vagrant", wsman.parse(request.encode()), **how))
        ours = fromstring(answer.body)
        theirs = fromstring(exchange["response"])
        for tag in ("ShellId", "CommandId"):
            for one, other in zip(find(theirs, tag), find(ours, tag), strict=True):
                given[one] = other
        yield theirs, ours, exchange.get("transport_error", {}).get("code", 200), answer.status


def find(root: Element, tag: str) -> list[str]:
    return [element.text or "" for element in root.iter() if local(element.tag) == tag]


@pytest.mark.parametrize("name", WINRS)
def test_the_host_answers_each_captured_request_as_the_real_one_did(name: str) -> None:
    exchanges = captured(f"winrs_{name}")
    if name == "operation_timeout":
        how = {"slower_ms": 25_000}
    else:
        how = {}
    compared = 0
    for theirs, ours, status, our_status in replay(name, exchanges, **how):
        if name == "operation_timeout":
            theirs, ours = (without_output(one) for one in (theirs, ours))
        # One variable's name was changed by the host on its way through the registry of cmd.exe.
        assert shape(ours, variables=name != "environment") == shape(theirs, variables=name != "environment")
        assert our_status == status
        compared += 1
    assert compared == len(exchanges) >= 5


def without_output(root: Element) -> Element:
    """Which of the pieces of output came before the silence is chance; that some came, is not compared here."""
    for element in list(root.iter()):
        for child in [child for child in element if local(child.tag) == "Stream" and "End" not in child.attrib]:
            element.remove(child)
    return root


def test_an_unknown_command_is_an_invalid_parameter_on_an_older_release() -> None:
    exchanges = captured("winrs_bad_cmd_id")
    world = FakeWorld()
    host = WinrmService(world, Runs(CommandResult(0, "", "")), SERVER_2008_R2)  # type: ignore[arg-type]
    opened = world.run(host.handle(HOST, "vagrant", wsman.parse(exchanges[0]["request"].encode())))
    [theirs], [ours] = find(fromstring(exchanges[0]["response"]), "ShellId"), find(fromstring(opened.body), "ShellId")
    asked = exchanges[2]["request"].replace(theirs, ours)
    answer = world.run(host.handle(HOST, "vagrant", wsman.parse(asked.encode())))
    assert answer.status == 500
    assert b'Code="87"' in answer.body


def test_a_shell_that_is_gone_is_told_as_captured() -> None:
    """The captured message was a Get, of which this host knows nothing: a Delete is about the shell as much."""
    *_, lost = captured("psrp_is_alive_invalid_selectors")
    world = FakeWorld()
    host = WinrmService(world, Runs(CommandResult(0, "", "")), SERVER_2008_R2)  # type: ignore[arg-type]
    asked = lost["request"].replace("transfer/Get", "transfer/Delete")
    answer = world.run(host.handle(HOST, "vagrant", wsman.parse(asked.encode())))
    assert shape(fromstring(answer.body)) == shape(fromstring(lost["response"]))
    assert answer.status == lost["transport_error"]["code"] == 500


def test_captured_requests_are_understood_whatever_their_prefixes_are() -> None:
    """The same requests, with the prefixes of another client."""
    exchanges = captured("winrs_standard")
    swapped = {"s:": "env:", "wsa:": "a:", "wsman:": "w:"}
    for exchange in exchanges:
        for theirs, ours in swapped.items():
            exchange["request"] = re.sub(rf"(?<=[</ ]){theirs}|(?<=xmlns:){theirs[:-1]}(?==)",
                                         lambda found, ours=ours: ours if found[0].endswith(":") else ours[:-1],
                                         exchange["request"])  # fmt: skip
        assert "<env:Envelope" in exchange["request"]
    assert [our for *_, our in replay("standard", exchanges)] == [200] * 5


# --- the client ------------------------------------------------------------------------------------------------------


class Replays:
    """The Wsman port: answers each operation with the captured answers to it, in their order, as if to our message."""

    def __init__(self, exchanges: list[dict[str, Any]]) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, list[dict[str, Any]]] = {}
        for exchange in exchanges:
            self._answers.setdefault(self._operation(exchange["request"]), []).append(exchange)

    @staticmethod
    def _operation(request: str) -> str:
        found = re.search(r"Action[^>]*>[^<]*/(\w+)<", request)
        assert found
        return found[1]

    async def post(self, *, host: str, body: bytes) -> HttpAnswer:
        operation = self._operation(body.decode())
        self.asked.append(operation)
        answers = self._answers[operation]
        exchange = answers.pop(0) if len(answers) > 1 else answers[0]
        answer = exchange["response"].replace(relates_to(exchange["request"]), relates_to(body.decode()))
        return HttpAnswer(exchange.get("transport_error", {}).get("code", 200), answer.encode())


def run(replays: Replays) -> CommandResult:
    world, count = FakeWorld(), iter(range(1, 100))
    client = WinRM(replays, world.runtime, lambda: f"uuid:OURS-{next(count)}", 60_000)
    return world.run(client.run(HOST, "cmd.exe", ()))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["standard", "stderr_rc", "unicode", "environment", "operation_timeout", "send"])
def test_the_client_reads_what_a_captured_command_printed_and_how_it_ended(name: str) -> None:
    exchanges = captured(f"winrs_{name}")
    replays = Replays(exchanges)
    assert run(replays) == printed(exchanges)
    receives = sum("windows/shell/Receive<" in exchange["request"] for exchange in exchanges)
    # The captured answer to one Delete relates to another message: it is asked again, and the result is not lost.
    deletes = 1 + (relates_to(exchanges[-1]["request"]) not in exchanges[-1]["response"])
    assert replays.asked == ["Create", "Command", *["Receive"] * receives, "Signal", *["Delete"] * deletes]
    assert deletes == (2 if name == "unicode" else 1)


def test_the_client_says_that_a_command_whose_file_was_not_found_did_not_run() -> None:
    replays = Replays(captured("winrs_no_cmd_shell"))
    with pytest.raises(HostError, match="host_file_not_found") as told:
        run(replays)
    assert not told.value.may_have_run
    assert replays.asked == ["Create", "Command", "Delete"]


def test_the_client_says_that_a_command_of_which_the_host_knows_nothing_may_have_run() -> None:
    replays = Replays(captured("winrs_bad_cmd_id"))
    with pytest.raises(HostError, match="host_shell_not_found") as told:
        run(replays)
    assert told.value.may_have_run
    assert replays.asked == ["Create", "Command", "Receive", "Signal", "Delete"]
