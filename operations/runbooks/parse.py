"""Reads a runbook: Markdown that a person can follow and a program can carry out to the letter.

    ---
    id: payout_transfer_stuck_in_retryable      the file's name, and what `runbook_url` of an alert ends in
    version: 1.0.0
    date: 2026-06-02
    kind: failure                               failure, task, scheduled, escalation or promotion: decides the sections
    role: ops
    alerts: [PayoutTransfersStuck]              those whose runbook_url leads here; [] if none does
    failure_modes: [payout_stuck_retryable]
    schedule: daily at 14:00                    of kind scheduled only; or `weekly on monday at 15:00`; in UTC
    ---
    # Title

    ## Recovery                                 text for the reader may stand anywhere outside fences

    1. Text that says what is done and why.     numbered 1, 2, 3 … in each section; what belongs to it is indented

       ```sh
       opsctl transfers retry {transfer}        one line; no shell; {alert.LABEL} or {NAME} of a capture
       ```

       ```expect
       glob: accepted: * transfer={transfer}    `*` and `?`; or `regex: …`; or the line itself; or `line: …`
       ...                                      any further lines; what is not mentioned is a mismatch
       capture attempt: /attempt=(\\d+)/          the group becomes {attempt}
       exit 0                                   0 if not said
       within 30s                               60 s if not said; `within 600s every 60s` sends it again until it fits
       ```

       - if exit 3 → escalate                   the first that holds is taken, before `expect` is looked at
       - if glob: error: * PAID → Verification  a line of output; with exit 0 unless `if exit 1 and glob: …`
       - otherwise → step 1                     as expected, but not on to the next step

Branches lead to `step N`, `SECTION`, `SECTION step N`, `done` (nothing more to do), `escalate` or `partial` (both roll
back first). A step without branches goes on to the next, over the ends of sections and past Rollback. A step of
Rollback may say `- only after Recovery step 2`: it is not needed unless that step was sent.

Invariant: whatever is wrong with a file is said at once, each problem at its line and column, and nothing is skipped
in silence: what is not understood is a problem.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from operations.runbooks.document import (
    ANSWER_WITHIN_S,
    ROLLBACK,
    SECTIONS,
    Branch,
    Command,
    Expectation,
    Named,
    Prose,
    Runbook,
    Section,
    Step,
    Target,
)
from operations.runbooks.front import read_front
from operations.runbooks.problems import Place, Problem
from operations.runbooks.render import TemplateInvalid, tokens
from operations.runbooks.syntax import Block, read_branch, read_target

_FENCE = re.compile(r"( *)```(.*)$")
_HEADING = re.compile(r"(#+) +(.*?) *#*$")
_ITEM = re.compile(r"(\d{1,3})([.)]) +(.*)$")
_BULLET = re.compile(r"( +)[-*+] +(.*)$")
_ONLY_AFTER = "only after "


def read(path: Path, shown_as: str | None = None) -> tuple[Runbook | None, list[Problem]]:
    """The runbook in a file. `shown_as`: its name in places and records, by default the path as given."""
    file = shown_as or str(path)
    try:
        source = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return None, [Problem(Place(file, 1), f"expected UTF-8 text: {error}")]
    except FileNotFoundError:
        return None, [Problem(Place(file, 1), "there is no such file")]
    return parse(source, file)


def parse(source: str, file: str) -> tuple[Runbook, list[Problem]]:
    """The runbook in `source`, as far as it can be understood, and everything that cannot."""
    return _Parser(source, file).parse()


class _Draft:
    """A step while it is being read."""

    def __init__(self, section: str, number: int, text: str, place: Place) -> None:
        self.section, self.number, self.place = section, number, place
        self.text = [text]
        self.command: Command | None = None
        self.expectation: Expectation | None = None
        self.branches: list[Branch] = []
        self.after: Target | None = None
        self.after_place = place

    def done(self) -> Step:
        """The step. What it lacks is empty: it has been said, and others may lead here all the same."""
        nothing = Expectation((), (), 0, ANSWER_WITHIN_S, None, self.place, self.place.line)
        return Step(
            section=self.section,
            number=self.number,
            text=" ".join(part for part in self.text if part),
            command=self.command or Command("", self.place),
            expectation=self.expectation or nothing,
            branches=tuple(self.branches),
            after=self.after,
            after_place=self.after_place,
            place=self.place,
        )


class _Parser:
    def __init__(self, source: str, file: str) -> None:
        self.source, self.file = source, file
        self.lines = [line.removesuffix("\r") for line in source.split("\n")]
        self.problems: list[Problem] = []
        self.title = ""
        self.head: list[Prose] = []
        self.sections: list[tuple[str, Place, list[Step], list[Prose]]] = []
        self.draft: _Draft | None = None
        self.count = 0
        self.known: tuple[str, ...] = ()

    def say(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))

    def at(self, number: int, column: int = 1) -> Place:
        return Place(self.file, number, column)

    def parse(self) -> tuple[Runbook, list[Problem]]:
        front = read_front(self.lines, self.file, self.say)
        self.known = SECTIONS.get(front.text("kind"), ())
        number = front.ends + 1
        while number <= len(self.lines):
            number = self._line(number)
        self._end_step()
        if not self.title:
            self.say(self.at(front.ends + 1), "the title is missing: a line `# What this is about`")
        top = self.at(1)
        runbook = Runbook(
            file=self.file,
            id=front.values.get("id", Named("", top)),
            version=front.text("version"),
            date=front.text("date"),
            kind=front.values.get("kind", Named("", top)),
            role=front.text("role"),
            alerts=front.lists.get("alerts", ()),
            failure_modes=front.lists.get("failure_modes", ()),
            schedule=front.schedule,
            title=self.title,
            prose=tuple(self.head),
            sections=tuple(
                Section(name, tuple(steps), tuple(prose), place) for name, place, steps, prose in self.sections
            ),
            source=self.source,
            sha256=hashlib.sha256(self.source.encode()).hexdigest(),
        )
        return runbook, sorted(dict.fromkeys(self.problems))

    # --- lines ------------------------------------------------------------------------------------------------------

    def _line(self, number: int) -> int:
        """Read what begins at a line; returns the number of the line after it."""
        text = self.lines[number - 1]
        if fence := _FENCE.match(text):
            return self._fence(number, len(fence[1]), fence[2].strip())
        if text.strip() == "":
            return number + 1
        if heading := _HEADING.match(text):
            self._heading(number, len(heading[1]), heading[2])
        elif item := _ITEM.match(text):
            self._item(number, int(item[1]), item[3], item.start(3) + 1)
        elif self.draft is not None and (bullet := _BULLET.match(text)):
            self._bullet(number, bullet.start(2) + 1, bullet[2].rstrip())
        else:
            if self.draft is not None and not text.startswith(" "):
                self._end_step()
            self._prose(number, text)
        return number + 1

    def _prose(self, number: int, text: str) -> None:
        if self.draft is not None:
            self.draft.text.append(text.strip())
        prose = self.sections[-1][3] if self.sections else self.head
        prose.append(Prose(text, self.at(number)))

    def _heading(self, number: int, level: int, text: str) -> None:
        self._end_step()
        if level == 1:
            if self.title:
                self.say(self.at(number), "a second title: a file is one runbook; sections begin with ##")
            self.title = self.title or text
        elif level == 2:
            self.count = 0
            self.sections.append((text, self.at(number, 4), [], []))
        else:
            self._prose(number, text)

    def _item(self, number: int, count: int, text: str, column: int) -> None:
        self._end_step()
        if not self.sections:
            self.say(self.at(number), "a step stands in a section: put a line `## SECTION` above it")
            self.sections.append(("", self.at(number), [], []))
        self.count += 1
        if count != self.count:
            self.say(self.at(number), f"expected step {self.count}, found {count}: steps are numbered 1, 2, 3, …")
            self.count = count
        self.draft = _Draft(self.sections[-1][0], count, text, self.at(number))
        self.sections[-1][3].append(Prose(text, self.at(number, column)))

    def _end_step(self) -> None:
        draft, self.draft = self.draft, None
        if draft is None:
            return
        if draft.command is None:
            self.say(
                draft.place, f"step {draft.number} has no command: put a ```sh block with one opsctl line under it"
            )
        elif draft.expectation is None:
            self.say(draft.place, f"step {draft.number} does not say what to expect: put an ```expect block under it")
        self.sections[-1][2].append(draft.done())

    # --- what belongs to a step ---------------------------------------------------------------------------------------

    def _bullet(self, number: int, column: int, text: str) -> None:
        assert self.draft is not None
        place = self.at(number, column)
        if not text.startswith(_ONLY_AFTER):
            branch = read_branch(text, place, self.draft.section, self.known, self.say)
            if branch is None:
                return
            if self.draft.branches and self.draft.branches[-1].condition is None:
                self.say(place, "nothing comes after `otherwise`: put this branch above it")
            self.draft.branches.append(branch)
            return
        if self.draft.section != ROLLBACK or self.draft.after is not None:
            self.say(place, "`only after` stands in a step of Rollback, and once")
            return
        at = self.at(number, column + len(_ONLY_AFTER))
        target = read_target(text.removeprefix(_ONLY_AFTER), at, self.draft.section, self.known, self.say)
        if target is not None and (target.to != "step" or target.section == ROLLBACK):
            self.say(at, "expected the step that this one undoes, as in `only after Recovery step 2`")
        elif target is not None:
            self.draft.after, self.draft.after_place = target, at

    def _fence(self, number: int, indent: int, info: str) -> int:
        """A fenced block; returns the number of the line after it."""
        closing = number + 1
        while closing <= len(self.lines) and not self._ends_fence(self.lines[closing - 1], indent):
            closing += 1
        balanced = closing <= len(self.lines) and self.lines[closing - 1].strip() == "```"
        if not balanced:
            self.say(self.at(number, indent + 1), "this fence is not closed: end the block with a line ```")
        if info in ("sh", "expect"):
            if indent == 0:
                self._end_step()
            if self.draft is None:
                self.say(
                    self.at(number, indent + 1),
                    f"this {info} block belongs to no step: indent it under a numbered item",
                )
            elif info == "sh":
                self._command(number, closing, self.draft)
            else:
                self._expect(number, closing, indent, self.draft)
        elif self.draft is not None:
            self.say(
                self.at(number, indent + 1),
                f"a step has an sh block and an expect block, and not {info or 'one without a name'!r}",
            )
        return closing + 1 if balanced else closing

    def _ends_fence(self, text: str, indent: int) -> bool:
        """Another fence, a section, or, as Markdown has it, a line that is indented less: the list item ends there."""
        heading = _HEADING.match(text)
        if heading and heading[2] in self.known:
            return True
        return _FENCE.match(text) is not None or (text.strip() != "" and not text.startswith(" " * indent))

    def _command(self, number: int, closing: int, draft: _Draft) -> None:
        inside = [(n, self.lines[n - 1]) for n in range(number + 1, closing) if self.lines[n - 1].strip()]
        if draft.command is not None or len(inside) != 1:
            self.say(
                self.at(inside[1][0] if len(inside) > 1 else number),
                "a step sends one command: one line in one sh block",
            )
            if draft.command is not None or not inside:
                return
        line, text = inside[0]
        column = len(text) - len(text.lstrip()) + 1
        template = text.strip()
        try:
            tokens(template)
        except TemplateInvalid as invalid:
            self.say(self.at(line, column + invalid.offset), str(invalid))
        draft.command = Command(template, self.at(line, column))

    def _expect(self, number: int, closing: int, indent: int, draft: _Draft) -> None:
        if draft.expectation is not None:
            self.say(self.at(number, indent + 1), "a step has one expect block: join them")
            return
        before = len(self.problems)
        block = Block(self.say)
        for n in range(number + 1, closing):
            text = self.lines[n - 1]
            blanks = min(indent, len(text) - len(text.lstrip()))
            block.read(text[blanks:].rstrip(), self.at(n, blanks + 1))
        if not block.lines and len(self.problems) == before:
            self.say(self.at(number, indent + 1), "no output is expected here: give its lines, or `...` if any will do")
        draft.expectation = Expectation(
            lines=tuple(block.lines),
            captures=tuple(block.captures),
            status=block.status or 0,
            within_s=block.within_s or ANSWER_WITHIN_S,
            every_s=block.every_s,
            place=self.at(number, indent + 1),
            ends=closing,
        )
