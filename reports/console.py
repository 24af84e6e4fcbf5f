"""The summary for the terminal: what the first screen of the report says, in plain lines.

Markup is added only when asked for, and then everything that came from data is escaped first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assertions.model import Result, Status
from reports import words
from reports.story import SYMBOLS, FaultStory, Story, headline, why_not_exercised

if TYPE_CHECKING:
    from collections.abc import Callable

LINES_MAX = 25
NAMED_MAX = 6
STYLES = {Status.PASS: "bold green", Status.FAIL: "bold red", Status.INCONCLUSIVE: "bold yellow"}


def summary(story: Story, *, replay_command: str, report_path: str, markup: bool = False) -> list[str]:
    """At most LINES_MAX lines. With `markup` they are rich markup, else plain text."""
    say = Say(markup)
    plan = story.plan
    status = f"{SYMBOLS[story.status]} {story.status.value}"
    out = [f"{say.style(status, STYLES[story.status])}  {say.data(headline(story))}"]
    out.append("  " + say.style(say.data(f"{plan.scenario}, seed {plan.seed}, digest {story.digest[:12]}"), "dim"))
    first = story.first
    if first is not None:
        out += [
            "",
            say.style("First broken promise", "bold"),
            f"  {say.data(first.claim)}",
            f"  {say.data(first.message)}",
        ]
        out.append(say.item("when", story.when(first.at)))
        out.append(say.item("at risk", story.risk_sentence()))
        out.append(say.item("fault", story.fault_sentence()))
        out.append(say.item("runbook", story.step_sentence()))
    bitten = sum(1 for fault in story.faults if fault.bites)
    out += ["", say.item("faults", f"{bitten} of {len(story.faults)} bit" if story.faults else "none planned")]
    if plan.operations:
        out.append(say.item("ops", story.attended.sentence()))
        out += [say.style("    ✕ ", "red") + say.data(one.sentence(), 240) for one in story.attended.handed_on[:1]]
    if story.lab.told:
        out.append(say.item("hosts", story.lab.sentence()))
    out += _not_exercised(story, say)
    out += [say.item("replay", replay_command, exact=True), say.item("report", report_path, exact=True)]
    return out[:LINES_MAX]


def lab(story: Story, *, markup: bool = False) -> list[str]:
    """A line for each host that drifted: what became of it."""
    say = Say(markup)
    width = max((len(one.experiment.name) for one in story.lab.told), default=0)
    marks = {True: say.style("✓", "green"), False: say.style("✕", "red")}
    return [
        f"    {marks[one.healed]} {one.experiment.os:<7} {say.data(f'{one.experiment.name:<{width}}')} "
        f"{say.data(one.experiment.host)}: {say.data(one.sentence(), 400)}"
        for one in story.lab.told
    ]


def smallest(story: Story, *, markup: bool = False) -> list[str]:
    """The story of a run that was shrunk to what it needs: what broke, and every fault that is left of it."""
    say, first = Say(markup), story.first
    if first is None:
        return []
    out = ["", say.style(say.data(first.claim), "bold"), f"  {say.data(first.message)}"]
    out += [say.item("when", story.when(first.at)), say.item("at risk", story.risk_sentence())]
    out += [say.item(fault.label, f"{fault.plan.title} ({_bound(fault, story)})") for fault in story.faults]
    return out if story.faults else [*out, say.item("faults", "none is needed")]


def _bound(fault: FaultStory, story: Story) -> str:
    plan = fault.plan
    told = [plan.entity or plan.seam]
    told += [] if plan.occurrence is None else [f"{plan.operation} no. {plan.occurrence}"]
    told += [] if plan.from_at is None else [story.when(plan.from_at)]
    return ", ".join([*told, *(f"{name} {value}" for name, value in plan.params.items())])


def _not_exercised(story: Story, say: Say) -> list[str]:
    unsure, idle = story.of(Status.INCONCLUSIVE), story.of(Status.NOT_APPLICABLE)
    if not unsure and not idle:
        return [say.item("unproven", "nothing: every promise was exercised")]
    out = []
    if unsure:
        out.append(say.item("unproven", words.plural(len(unsure), "promise") + " could not be proven"))
        out += [
            say.style("    ? ", "yellow") + say.data(f"{r.id}: {why_not_exercised(r)}", 150) for r in unsure[:NAMED_MAX]
        ]
        if len(unsure) > NAMED_MAX:
            out.append(f"    and {len(unsure) - NAMED_MAX} more, see the report")
    if idle:
        out.append(say.item("idle", f"{words.plural(len(idle), 'promise')} not applicable: {_named(idle)}"))
    return out


def _named(results: list[Result]) -> str:
    more = f" and {len(results) - NAMED_MAX} more" if len(results) > NAMED_MAX else ""
    return ", ".join(result.id for result in results[:NAMED_MAX]) + more


class Say:
    """How text is written: plainly, or as rich markup."""

    def __init__(self, markup: bool) -> None:
        self._escape: Callable[[str], str] | None = None
        if markup:
            from rich.markup import escape

            self._escape = escape

    def data(self, text: str, longest: int | None = None) -> str:
        """Words that may have come from data: on one line, with nothing that a terminal would obey."""
        line = " ".join(words.printable(text).split())
        if longest is not None and len(line) > longest:
            line = line[: longest - 1] + "…"
        return line if self._escape is None else self._escape(line)

    def style(self, text: str, style: str) -> str:
        return text if self._escape is None else f"[{style}]{text}[/]"

    def item(self, name: str, text: str, exact: bool = False) -> str:
        """A named fact; `exact` keeps every space, since a command or path is there to be copied."""
        clean = words.printable(text).replace("\n", "\ufffd")
        said = self.data(text) if not exact else clean if self._escape is None else self._escape(clean)
        return self.style(f"  {name:<9}", "dim") + said
