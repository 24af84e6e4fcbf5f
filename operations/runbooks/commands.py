"""What a command of `opsctl` takes and does, and whether a line of a runbook is one.

Invariant: nothing is known here of any particular command. The platform's table is handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from operations.runbooks.document import Command
from operations.runbooks.problems import Place, Problem, did_you_mean
from operations.runbooks.render import PROGRAM, TemplateInvalid, Token, placeholders, tokens


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command. `arguments`: names of the positional ones, all required. `options`: those that take a value, with
    their dashes; `flags`: those that take none; `required`: the options that have to be there; `choices`: the only
    values that an option takes.

    `effect`: it `reads`; or it `nudges` the platform to do now what it would do by itself, which leaves nothing to
    undo; or it `acts`, and Rollback has to undo it.
    """

    effect: Literal["reads", "nudges", "acts"]
    arguments: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


Commands = Mapping[tuple[str, ...], CommandSpec]
DRY_RUN = "--dry-run"
"""The flag with which a command that acts says what it would do, and does not."""


def effect(command: Command, known: Commands) -> Literal["reads", "nudges", "acts"]:
    """What a command line does; one that is no command does nothing, which is said elsewhere."""
    spec = find(command, known)
    if spec is None or (DRY_RUN in spec.flags and any(word.text == DRY_RUN for word in tokens(command.template))):
        return "reads"
    return spec.effect


def find(command: Command, known: Commands) -> CommandSpec | None:
    """What the table has for a command line, or None."""
    try:
        words = tokens(command.template)[1:]
    except TemplateInvalid:
        return None
    path = _path(words, known)
    return None if path is None else known[path]


def misused(command: Command, known: Commands) -> Iterator[Problem]:
    """What is wrong with a command line, by the table. What is no command line at all, the parser has said."""
    try:
        words = tokens(command.template)[1:]
    except TemplateInvalid:
        return
    path = _path(words, known)
    if path is None:
        yield _unknown(command, words, known)
        return
    yield from _arguments(command, path, words[len(path) :], known[path])


def _path(words: list[Token], known: Commands) -> tuple[str, ...] | None:
    for length in range(min(len(words), max(map(len, known), default=0)), 0, -1):
        path = tuple(word.text for word in words[:length])
        if path in known:
            return path
    return None


def _unknown(command: Command, words: list[Token], known: Commands) -> Problem:
    leading = []
    for word in words:
        if word.text.startswith(("-", "{")):
            break
        leading.append(word.text)
    said = " ".join(leading[:2])
    names = [" ".join(path) for path in known]
    near = did_you_mean(said, names) or did_you_mean(leading[0] if leading else "", names)
    place = _at(command, words[0]) if words else command.place
    return Problem(place, f"unknown command {PROGRAM} {said}".rstrip() + near)


def _arguments(command: Command, path: tuple[str, ...], words: list[Token], spec: CommandSpec) -> Iterator[Problem]:
    name = " ".join((PROGRAM, *path))
    given: set[str] = set()
    positional = 0
    value_of = ""
    for word in words:
        if value_of:
            if word.text.startswith("--"):
                yield Problem(_at(command, word), f"{value_of} takes a value, not {word.text}")
            else:
                yield from _choice(command, word, value_of, word.text, spec)
            value_of = ""
        elif word.text.startswith("-"):
            option, equals, value = word.text.partition("=")
            if option in given:
                yield Problem(_at(command, word), f"{option} stands here a second time")
            given.add(option)
            if option in spec.options:
                value_of = "" if equals else option
                if equals:
                    yield from _choice(command, word, option, value, spec)
            elif option in spec.flags:
                if equals:
                    yield Problem(_at(command, word), f"{option} takes no value")
            else:
                near = did_you_mean(option, (*spec.options, *spec.flags))
                yield Problem(_at(command, word), f"{name} has no option {option}{near}")
        else:
            positional += 1
            if positional > len(spec.arguments):
                takes = ", ".join(spec.arguments) or "no arguments"
                yield Problem(_at(command, word), f"{name} takes {takes}: {word.text} is one too many")
    if value_of:
        yield Problem(command.place, f"{value_of} takes a value, and the line ends")
    for missing in spec.arguments[positional:]:
        yield Problem(command.place, f"{name} needs an argument: {missing}")
    for option in spec.required:
        if option not in given:
            yield Problem(command.place, f"{name} needs the option {option}")


def _choice(command: Command, word: Token, option: str, value: str, spec: CommandSpec) -> Iterator[Problem]:
    choices = spec.choices.get(option, ())
    if choices and value not in choices and not placeholders(value):
        near = did_you_mean(value, choices)
        yield Problem(_at(command, word), f"{option} is one of {', '.join(choices)}, not {value}{near}")


def _at(command: Command, word: Token) -> Place:
    return Place(command.place.file, command.place.line, command.place.column + word.offset)
