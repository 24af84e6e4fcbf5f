"""report.md: the report for those who read it in a terminal, a pull request or a ticket.

Everything from data is escaped: a customer's name cannot become a heading, a link or another column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assertions.model import Status
from evidence.manifest import versions
from reports import words
from reports.history import Event, cut
from reports.story import SYMBOLS, WORDS, Story, headline, why_not_exercised
from reports.words import code
from reports.words import markdown as md

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reports.coverage import Coverage
    from reports.money import Accounts

EVENTS_MAX = 80
BROKEN_MAX = 10
LINES_MAX = 200
EXECUTIONS_MAX = 60


def render(
    story: Story, accounts: Accounts, events: list[Event], replay_command: str, coverage: Coverage | None = None
) -> bytes:
    """The whole file."""
    plan = story.plan
    parts = [
        f"# {SYMBOLS[story.status]} {story.status.value}: {md(plan.scenario)}, seed {plan.seed}",
        headline(story),
        *_first_broken(story),
        "## Replay",
        fenced(replay_command),
        "## Not exercised",
        *not_exercised(story),
        "## Promises",
        _promises(story),
        *_broken(story),
        "## Ledger against the other parties' books",
        _reconciliation(accounts),
        "## Money of the contests",
        _contests(accounts),
        "## Faults",
        faults(story),
        *(_attended(story) if plan.operations else ()),
        *(_lab(story) if story.lab.told else ()),
        *(_coverage(coverage) if coverage else ()),
        "## Timeline",
        timeline(story, cut(events, EVENTS_MAX)),
        "## Run",
        table(["fact", "value"], [[md(name), code(value)] for name, value in run_facts(story, accounts)]),
    ]
    return ("\n\n".join(parts) + "\n").encode(errors="replace")


def _lab(story: Story) -> list[str]:
    rows = [
        [code(one.experiment.name), md(one.experiment.host), story.when(one.experiment.drifted_at), md(one.sentence())]
        for one in story.lab.told
    ]
    told = f"{story.lab.sentence()}."
    return ["## Hosts that drifted", told, table(["experiment", "host", "drifted", "what became of it"], rows)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A Markdown table; `right` are the columns to align right. The cells are Markdown already."""
    rules = ["---:" if n in right else "---" for n in range(len(head))]
    lines = [head, rules, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fenced(text: str) -> str:
    """`text` as a code block that it cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{words.printable(text)}\n{fence}"


def run_facts(story: Story, accounts: Accounts) -> list[tuple[str, str]]:
    """Names and values of what identifies the run and tells its size."""
    plan = story.plan
    return [
        ("scenario", plan.scenario),
        ("scenario SHA-256", plan.scenario_sha256),
        ("seed", str(plan.seed)),
        ("plan SHA-256", story.verdict.plan_sha256),
        ("run digest", story.digest),
        ("begins", words.iso(plan.starts_at)),
        ("absence ends", words.iso(plan.absence_until_at)),
        ("last event", words.iso(story.end_at)),
        ("plan version", str(plan.version)),
        ("verdict version", str(story.verdict.version)),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
        ("journal events", f"{story.events:,}"),
        ("contests", f"{len(plan.contests):,}"),
        ("entries planned", f"{len(plan.entries):,}"),
        ("golfers", f"{sum(len(tournament.golfers) for tournament in plan.tournaments):,}"),
        ("ledger transactions", f"{accounts.ledger.transactions:,}"),
        ("ledger postings", f"{accounts.ledger.postings:,}"),
        ("faults planned", f"{len(plan.faults):,}"),
        ("promises", f"{len(story.results):,}"),
    ]


def _first_broken(story: Story) -> list[str]:
    first = story.first
    if first is None:
        return []
    facts = [
        ("When", story.when(first.at)),
        ("Money at risk", story.risk_sentence()),
        ("Fault active", story.fault_sentence()),
        ("Runbook step active", story.step_sentence()),
        ("About", first.subject),
        ("Promise", f"{first.claim} ({first.assertion})"),
    ]
    return [
        "## First broken promise",
        f"**{md(first.message)}**",
        "\n".join(f"- {name}: {md(value)}" for name, value in facts),
    ]


def not_exercised(story: Story) -> list[str]:
    """A paragraph or a list for each kind of promise that proves nothing in this run."""
    unsure, idle = story.of(Status.INCONCLUSIVE), story.of(Status.NOT_APPLICABLE)
    parts = (
        ["\n".join(f"- ? {code(result.id)}: {md(why_not_exercised(result))}" for result in unsure)] if unsure else []
    )
    if idle:
        parts.append(f"Not applicable: {', '.join(code(result.id) for result in idle)}.")
    return parts or ["Every promise was exercised."]


def _promises(story: Story) -> str:
    rows = [
        [
            f"{SYMBOLS[result.status]} {WORDS[result.status]}",
            code(result.id),
            md(result.claim),
            f"{result.saw:,} / {result.owed:,} {md(result.unit)}",
        ]
        for result in story.results
    ]
    return table(["status", "promise", "claim", "seen / owed"], rows, right=[3])


def _broken(story: Story) -> list[str]:
    parts = []
    for result in story.of(Status.FAIL):
        lines = [f"### {code(result.id)}", ""]
        for broken in result.broken[:BROKEN_MAX]:
            lines.append(
                f"- {story.when(broken.at)}, {words.dollars(broken.money_cents)} at risk: {md(broken.message)}"
            )
        if len(result.broken) > BROKEN_MAX:
            lines.append(f"- and {len(result.broken) - BROKEN_MAX} more")
        parts.append("\n".join(lines))
    return parts


def _reconciliation(accounts: Accounts) -> str:
    lines, left_out = accounts.shown(LINES_MAX)
    rows = [
        [
            md(accounts.names.get(line.scope, line.scope) if line.scope else "platform"),
            md(line.what),
            code(line.account),
            words.dollars(line.ledger_cents),
            md(line.witness),
            words.dollars(line.theirs_cents),
            words.dollars(line.difference_cents) if line.difference_cents else "agrees",
        ]
        for line in lines
    ]
    head = ["scope", "what", "ledger account", "ledger", "other book", "theirs", "difference"]
    more = f"\n\nNot listed: {words.plural(left_out, 'line')} of contests that agree." if left_out else ""
    return table(head, rows, right=[3, 5, 6]) + more


def _contests(accounts: Accounts) -> str:
    rows = [
        [
            md(accounts.names.get(of.contest_id, of.contest_id)),
            f"{of.entries:,}",
            *map(words.dollars, (of.collected_cents, of.overlay_cents, of.rake_cents, of.prizes_cents, of.paid_cents,
                                 of.payable_cents, of.escrow_cents)),
        ]
        for of in accounts.contests[:LINES_MAX]
    ]  # fmt: skip
    head = ["contest", "entries", "collected", "overlay", "rake", "prizes", "paid out", "still payable", "in escrow"]
    return table(head, rows, right=range(1, 9))


def faults(story: Story) -> str:
    """The table of faults, or a sentence where there are none."""
    if not story.faults:
        return "None were planned."
    rows = [
        [
            fault.label,
            md(fault.plan.title),
            fault.plan.kind,
            story.when(fault.bites[0].at) if fault.bites else "**never bit**",
            f"{len(fault.bites):,}",
            code(fault.plan.bite.book),
            md(fault.recovery()),
        ]
        for fault in story.faults
    ]
    return table(["", "fault", "kind", "first bite", "bites", "shows in", "recovery"], rows, right=[4])


def _attended(story: Story) -> list[str]:
    """What ops did, and what was handed on."""
    told = story.attended
    rows = [
        [
            story.when(one.from_at),
            code(one.runbook),
            md(one.why()),
            md(one.principal),
            words.duration(one.until_at - one.from_at) if one.until_at is not None else "not over",
            f"{len(one.sent):,}",
            one.status if one.went_as_written else f"**{one.status}**",
        ]
        for one in told.eventful[:EXECUTIONS_MAX]
    ]
    rows += [
        ["", code(routine.runbook), "due", "", f"{words.duration(routine.mean_ms)} on average", "",
         f"completed {words.plural(routine.times, 'time')}"]
        for routine in told.routines
    ]  # fmt: skip
    handed = [f"- {story.when(one.at)}: {md(one.sentence())}" for one in told.handed_on]
    head = ["opened", "runbook", "why", "by", "took", "steps", "ended"]
    parts = [
        "## What ops did",
        md(told.sentence()) + ".",
        "\n".join(handed),
        table(head, rows, right=[5]) if rows else "",
    ]
    return [part for part in parts if part]


def _coverage(coverage: Coverage) -> list[str]:
    """What of operations the run exercised, and by name what it did not."""
    shares = table(
        ["of", "exercised", "there are", "share"],
        [[what, f"{share.done:,}", f"{share.of:,}", share.percent] for what, share in coverage.shares.items()],
        right=[1, 2, 3],
    )
    opened = [document for document in coverage.documents if document.opened]
    runbooks = table(
        ["runbook", "completed", "opened", "steps", "branches"],
        [
            [code(document.id), f"{document.completed:,}", f"{document.opened:,}", str(document.taken),
             str(document.branches)]
            for document in opened
        ],
        right=[1, 2],
    )  # fmt: skip
    never = [
        f"Never {'taken in what was opened' if what in ('steps', 'branches') else 'exercised'}, "
        f"**{len(names):,} {what}**: {', '.join(map(code, names))}."
        for what, names in coverage.unexercised(whole=False).items()
        if names
    ]
    return ["## What of operations was exercised", shares, runbooks if opened else "No runbook was opened.", *never]


def timeline(story: Story, events: Sequence[Event]) -> str:
    rows = [[story.when(event.at), event.kind, md(event.text), code(event.book)] for event in events]
    return table(["when", "kind", "what", "book"], rows)
