"""opsctl: the one way in which ops acts on the platform. A command is data: its words, options, endpoint and printer.

Invariant: every command is one call of one admin endpoint, and its output one record a line, `key=value` pairs apart by
single blanks. There is no command that edits rows.

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 the platform did not answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from contest_platform.http import Request, Response
from contest_platform.opsctl_commands import COMMANDS, Command, Option
from contest_platform.opsctl_printing import printed, quoted
from contest_platform.ports import PortError

DONE, REFUSED, USAGE, NO_ANSWER = 0, 1, 2, 3
Send = Callable[[Request], Awaitable[Response]]


class UsageError(Exception):
    """The words and options are no command. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Output:
    """Exit status, and the lines printed, each ended by a newline."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A command with the values of its options, by the names of the endpoint's fields."""

    command: Command
    given: Mapping[str, Any]

    def request(self, headers: Mapping[str, str]) -> Request:
        if not self.command.acting:
            query = {name: str(value) for name, value in self.given.items()}
            return Request("GET", self.command.path, headers, query=query)
        return Request("POST", self.command.path, headers, self.given, orjson.dumps(self.given))


async def run(argv: Sequence[str], send: Send, headers: Mapping[str, str]) -> Output:
    """Run one command. `headers` are those of every request: whose token, and which step of which execution."""
    if not argv or "--help" in argv or "-h" in argv:
        return Output(DONE, usage([word for word in argv if not word.startswith("-")]))
    try:
        call = parse(argv)
    except UsageError as error:
        return _failed(USAGE, str(error))
    try:
        response = await send(call.request(headers))
    except PortError as error:
        return _failed(NO_ANSWER, f"the platform did not answer: {error.code}")
    if response.status == 503:
        return _failed(NO_ANSWER, f"the platform did not answer: {response.body.get('error', 'service_unavailable')}")
    if not 200 <= response.status < 300:
        return _failed(REFUSED, str(response.body.get("error", f"status {response.status}")))
    return Output(DONE, "".join(f"{line}\n" for line in printed(call.command.printer, response.body)))


def _failed(status: int, reason: str) -> Output:
    return Output(status, f"error: {' '.join(reason.split())}\n")


# --- words and options --------------------------------------------------------------------------------------------


def parse(argv: Sequence[str]) -> Call:
    """The call that the words ask for. Raises UsageError."""
    command = _command(argv)
    rest = list(argv[len(command.words) :])
    arguments = [option for option in command.options if not option.name.startswith("--")]
    named = {option.name: option for option in command.options if option.name.startswith("--")}
    given: dict[str, Any] = {}
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            name, has_value, value = word.partition("=")
            option = named.get(name)
            if option is None:
                raise UsageError(f"unknown option {name}; usage: {command.usage}")
            if option.kind == "boolean":
                if has_value:
                    raise UsageError(f"{name} takes no value; usage: {command.usage}")
            elif not has_value:
                if not rest:
                    raise UsageError(f"{name} needs a value; usage: {command.usage}")
                value = rest.pop(0)
            if option.field in given:
                raise UsageError(f"{name} is given twice; usage: {command.usage}")
        elif arguments:
            option, value = arguments.pop(0), word
        else:
            raise UsageError(f"unexpected {quoted(word)}; usage: {command.usage}")
        given[option.field] = True if option.kind == "boolean" else _value(option, value, command)
    missing = [option.name for option in command.options if option.required and option.field not in given]
    if missing:
        raise UsageError(f"missing {', '.join(missing)}; usage: {command.usage}")
    return Call(command, given)


def _command(argv: Sequence[str]) -> Command:
    """The command whose words begin `argv`: of several the longest."""
    for words in range(len(argv), 0, -1):
        command = COMMANDS.get(tuple(argv[:words]))
        if command is not None:
            return command
    group = sorted(" ".join(words) for words in COMMANDS if words[0] == argv[0])
    expected = group or sorted({words[0] for words in COMMANDS})
    raise UsageError(f"unknown command {quoted(' '.join(argv[:2]))}; expected one of: {', '.join(expected)}")


def _value(option: Option, value: str, command: Command) -> Any:
    if option.kind == "integer":
        if not (value.isascii() and value.isdigit()):
            raise UsageError(f"{option.name} needs a whole number, not {quoted(value)}; usage: {command.usage}")
        return int(value)
    if not value:
        raise UsageError(f"{option.name} is empty; usage: {command.usage}")
    if option.choices and value not in option.choices:
        raise UsageError(
            f"{option.name} is one of {', '.join(option.choices)}, not {quoted(value)}; usage: {command.usage}"
        )
    return value


# --- help ---------------------------------------------------------------------------------------------------------


def usage(words: Sequence[str]) -> str:
    """What can be said with `words`: all commands, those of a group, or one with its options and an example."""
    command = COMMANDS.get(tuple(words))
    if command is not None:
        lines = [f"usage: {command.usage}", "", f"{command.help}.", ""]
        lines += [f"  {option.name:<14} {option.described}" for option in command.options]
        lines += ["", f"example: {command.example}"] if command.options else [f"example: {command.example}"]
        if command.acting:
            lines.append("Acts: only in a step of a runbook execution that is in progress.")
        return "\n".join(lines) + "\n"
    shown = [command for found, command in COMMANDS.items() if not words or found[0] == words[0]]
    lines = ["usage: opsctl COMMAND [ARGUMENT]… [--option VALUE]…", ""]
    lines += [f"  {' '.join(command.words):<20} {command.help}" for command in shown or COMMANDS.values()]
    lines += ["", "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 the platform did not answer."]
    lines += ["opsctl COMMAND --help tells of one command."]
    return "\n".join(lines) + "\n"
