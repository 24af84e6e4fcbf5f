"""Whether runbooks make sense: each by itself, and all of them beside the alerts that open them.

Invariant: a set of documents without a problem can be carried out by somebody who knows nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from operations.runbooks import flow
from operations.runbooks.commands import Commands, effect, misused
from operations.runbooks.document import MAY_CHANGE, NEEDS_STEPS, ROLLBACK, SECTIONS, Prose, Runbook, Section
from operations.runbooks.problems import Place, Problem, did_you_mean
from operations.runbooks.rules import Link

_THEM = r"(?:the |an? |our |your )?(?:engineer(?:s|ing)?|developers?|dev team|founders?|on-call engineer)"
_HAND_ON = r"(?:ask|call|contact|ping|page|phone|wait for|consult(?: with)?|check with|(?:hand|leave|pass) (?:\w+ )*to)"
_HANDED_ON = re.compile(
    rf"\b{_HAND_ON} {_THEM}\b|\b{_THEM} (?:will|should|must|can|has to|have to|needs? to|decides?|handles?|knows?)\b",
    re.IGNORECASE,
)
"""To notify somebody costs nothing. To need their hands or their head is what a runbook is there to prevent."""
_LEFT_OPEN = re.compile(
    r"\b(?:as (?:needed|appropriate|necessary)|if (?:appropriate|it makes sense)|use your (?:own )?judge?ment|"
    r"at your discretion|or similar|TBD|TODO|FIXME)\b"
)
_LINK = re.compile(r"[\w./-]*\b([a-z0-9_]+)\.md\b")


def check(
    runbooks: Sequence[Runbook], commands: Commands, links: Sequence[Link] | None = None, all_of_them: bool = True
) -> list[Problem]:
    """Everything that is wrong with `runbooks`, in the order of the files.

    `commands`: what `opsctl` knows. `links`: the alerts of the rule files, None to leave them out. `all_of_them`: there
    are no other runbooks, so an alert without one has none.
    """
    found: list[Problem] = list(_ids(runbooks))
    ids = {runbook.id.text: runbook for runbook in runbooks if runbook.id.text}
    for runbook in runbooks:
        found += _sections(runbook)
        found += _commands(runbook, commands)
        found += flow.problems(runbook)
        found += _words(runbook, set(ids))
    if links is not None:
        for runbook in runbooks:
            found += _alerts(runbook, links)
        if all_of_them:
            found += _unanswered(links, {PurePath(runbook.file).stem: runbook for runbook in runbooks})
    return sorted(dict.fromkeys(found))


def _ids(runbooks: Sequence[Runbook]) -> Iterator[Problem]:
    first: dict[str, Runbook] = {}
    for runbook in runbooks:
        name = runbook.id.text
        if name and first.setdefault(name, runbook) is not runbook:
            yield Problem(runbook.id.place, f"duplicate id {name}: {first[name].id.place} has it already")


# --- sections --------------------------------------------------------------------------------------------------------


def _sections(runbook: Runbook) -> Iterator[Problem]:
    expected = SECTIONS.get(runbook.kind.text)
    if expected is None:
        return
    kind = runbook.kind.text
    before: list[str] = []
    for section in runbook.sections:
        if section.name not in expected:
            if section.name:
                near = did_you_mean(section.name, expected)
                yield Problem(section.place, f"a {kind} runbook has no section {section.name}{near}")
            continue
        if section.name in before:
            yield Problem(section.place, f"a second section {section.name}: join them")
        elif before and expected.index(section.name) < expected.index(before[-1]):
            yield Problem(section.place, f"{section.name} has to stand above {before[-1]}: {', '.join(expected)}")
        before.append(section.name)
        yield from _emptiness(section)
    for name in expected:
        if name not in before:
            yield Problem(runbook.kind.place, f"missing section {name}: a {kind} runbook has {', '.join(expected)}")


def _emptiness(section: Section) -> Iterator[Problem]:
    if section.name in NEEDS_STEPS and not section.steps:
        yield Problem(section.place, f"{section.name} is empty: it needs a step that is carried out")
    elif not section.steps and not any(prose.text.strip() for prose in section.prose):
        yield Problem(section.place, f"{section.name} is empty: say what there is to say, if only why there is nothing")


# --- commands --------------------------------------------------------------------------------------------------------


def _commands(runbook: Runbook, known: Commands) -> Iterator[Problem]:
    undone = {str(step.after) for step in runbook.path(rollback=True) if step.after}
    always = any(effect(step.command, known) != "reads" for step in runbook.path(rollback=True) if step.after is None)
    for step in runbook.steps():
        yield from misused(step.command, known)
        does = effect(step.command, known)
        if does == "reads":
            continue
        if step.section not in MAY_CHANGE:
            where = next((name for name in ("Recovery", "Steps", "Promotion") if runbook.section(name)), "Recovery")
            yield Problem(step.command.place, f"one only looks in {step.section}: this belongs in {where}")
        if step.expectation.every_s is not None:
            yield Problem(
                step.expectation.place, "only a command that reads is sent again until it fits: leave `every` out"
            )
        if does == "acts" and step.section != ROLLBACK and not always and step.id not in undone:
            yield Problem(
                step.command.place,
                "this changes what there is, and Rollback has no step for it: "
                f"add one, with `- only after {step.section} step {step.number}`",
            )


# --- words -----------------------------------------------------------------------------------------------------------


def _words(runbook: Runbook, ids: set[str]) -> Iterator[Problem]:
    others = ids - {runbook.id.text}
    named = _naming(others)
    everything: list[Prose] = [*runbook.prose, *(prose for section in runbook.sections for prose in section.prose)]
    for prose in everything:
        for found in _LINK.finditer(prose.text):
            yield _at(prose, found, f"no runbook depends on another: put the steps of {found[0]} here")
        for found in named.finditer(prose.text) if named else ():
            yield _at(prose, found, f"no runbook depends on another: put the steps of {found[0]} here")
        if runbook.kind.text != "escalation":  # which says whom to tell, and with what
            for found in _HANDED_ON.finditer(prose.text):
                yield _at(prose, found, f"{found[0]!r} needs somebody who is not there: write what to do, or escalate")
        for found in _LEFT_OPEN.finditer(prose.text):
            yield _at(prose, found, f"{found[0]!r} leaves it to the reader: write when, and what")


def _naming(ids: set[str]) -> re.Pattern[str] | None:
    """What finds a runbook's id in a text. An id that is a plain word names a runbook only if it is said so."""
    told = [re.escape(name) for name in sorted(ids) if "_" in name]
    plain = [re.escape(name) for name in sorted(ids) if "_" not in name]
    ways = [rf"\b(?:{'|'.join(told)})\b(?!\.md)"] if told else []
    ways += [rf"`(?:{'|'.join(plain)})`|\brunbook (?:{'|'.join(plain)})\b"] if plain else []
    return re.compile("|".join(ways)) if ways else None


def _at(prose: Prose, found: re.Match[str], message: str) -> Problem:
    place = prose.place
    return Problem(Place(place.file, place.line, place.column + found.start()), message)


# --- alerts ----------------------------------------------------------------------------------------------------------


def _alerts(runbook: Runbook, links: Sequence[Link]) -> Iterator[Problem]:
    known = {link.alert: link for link in links if link.alert}
    for named in runbook.alerts:
        link = known.get(named.text)
        if link is None:
            silent = any(link.rule == named.text for link in links)
            near = ": that rule pages nobody" if silent else did_you_mean(named.text, known)
            yield Problem(named.place, f"there is no alert {named} in the rules{near}")
        elif PurePath(link.runbook).stem != runbook.id.text:
            where = link.runbook or "nowhere"
            yield Problem(named.place, f"the alert {named} leads to {where}, not here ({link.place})")


def _unanswered(links: Sequence[Link], ids: dict[str, Runbook]) -> Iterator[Problem]:
    for link in links:
        name = PurePath(link.runbook).stem
        if not link.alert:
            yield Problem(
                link.place,
                f"the alert {link.rule} pages nobody, and nobody hears when it is missed: give it another severity, or "
                "name in annotations.when_missed the page that is sent then",
            )
        elif not link.runbook:
            yield Problem(link.place, f"the alert {link.alert} has no runbook: give it annotations.runbook_url")
        elif name not in ids:
            near = did_you_mean(name, ids)
            yield Problem(link.place, f"the alert {link.alert} has no runbook: there is no {link.runbook}{near}")
        elif link.alert not in {named.text for named in ids[name].alerts}:
            yield Problem(link.place, f"the alert {link.alert} leads to {link.runbook}, whose alerts do not name it")
