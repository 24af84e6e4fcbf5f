"""report.html: the report in one self-contained file, which answers the ten-second questions in its first screen.

Invariant: it loads and sends nothing (its own content policy forbids it), and data passes autoescape or `html.escape`.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from assertions.model import Result, Status
from reports import lanes, words
from reports.history import Event, Life, cut
from reports.markdown import run_facts
from reports.story import SYMBOLS, WORDS, Story, headline, why_not_exercised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template
    from markupsafe import Markup

    from reports.coverage import Coverage
    from reports.money import Accounts

EVENTS_MAX = 160
BROKEN_MAX = 6
LINES_MAX = 120
CONTESTS_MAX = 60
EXECUTIONS_MAX = 60
NAMED_MAX = 4
"""How many unproven promises the first screen names; the table of promises has them all."""

_TEMPLATES = Path(__file__).parent / "templates"


class Figure(NamedTuple):
    name: str
    value: str
    note: str = ""
    bad: bool = False


def render(
    story: Story,
    accounts: Accounts,
    contests: list[Life],
    events: list[Event],
    replay_command: str,
    coverage: Coverage | None = None,
) -> bytes:
    """The whole file."""
    shown_events = cut(events, EVENTS_MAX)
    lines, lines_left_out = accounts.shown(LINES_MAX)
    picture = lanes.draw(story, contests, _troubled(story, contests))
    page = template("report.html.j2").render(
        css=css(),
        story=story,
        plan=story.plan,
        first=story.first,
        headline=headline(story),
        away=words.duration(story.plan.absence_until_at - story.plan.starts_at),
        status=story.status,
        replay_command=words.printable(replay_command),
        unsure=story.of(Status.INCONCLUSIVE),
        idle=story.of(Status.NOT_APPLICABLE),
        figures=_figures(story, accounts, contests),
        picture=picture,
        left_out=Counter(life.status for life in picture.left_out).most_common(),
        not_drawn=[fault for fault in story.faults if fault.span is None],
        lines=lines,
        lines_left_out=lines_left_out,
        accounts=accounts,
        contests=accounts.contests[:CONTESTS_MAX],
        lives={life.contest_id: life for life in contests},
        families=_families(story.verdict.results),
        events=shown_events,
        events_left_out=len(events) - len(shown_events),
        run_facts=run_facts(story, accounts),
        coverage=coverage,
        attended=story.attended,
        limits={"broken": BROKEN_MAX, "named": NAMED_MAX, "contests": CONTESTS_MAX, "executions": EXECUTIONS_MAX},
    )
    return with_policy(page).encode(errors="replace")


@cache
def template(name: str) -> Template:
    """One of the templates, its filters ready and everything escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,  # one page is rendered, so an optimised template costs more than it saves
        finalize=lambda value: words.printable(value) if type(value) is str else value,
    )
    env.filters |= {
        "dollars": words.dollars,
        "plural": words.plural,
        "duration": words.duration,
        "spoken": lanes.spoken,
        "why": why_not_exercised,
        "word": WORDS.__getitem__,
        "symbol": SYMBOLS.__getitem__,
        "css": lambda status: status.value.lower().replace("_", "-"),
    }
    return env.get_template(name)


@cache
def css() -> Markup:
    """What every page looks like."""
    from markupsafe import Markup

    return Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8"))


def with_policy(page: str) -> str:
    """Fill in the content policy: nothing from anywhere, and only the script that is in the page."""
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(sha256(script[1].encode()).digest()).decode() if script else ""
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    return page.replace("@content-policy@", f"{policy}; form-action 'none'", 1)


def _troubled(story: Story, contests: list[Life]) -> frozenset[str]:
    """The contests that broken promises are about, or that stand in ERROR."""
    ids = {life.contest_id for life in contests}
    named = {part for _, broken in story.broken() for part in re.split(r"[/\s:,]+", broken.subject) if part in ids}
    return frozenset(named | {life.contest_id for life in contests if life.status == "ERROR"})


def _figures(story: Story, accounts: Accounts, contests: list[Life]) -> list[Figure]:
    """The run in six numbers, and a seventh where hosts have drifted."""
    bitten = sum(1 for fault in story.faults if fault.bites)
    paid_out = sum(1 for life in contests if life.status == "PAID_OUT")
    cancelled = sum(1 for life in contests if life.status == "CANCELLED")
    collected = sum(of.collected_cents - of.refunded_cents for of in accounts.contests)
    paid = sum(of.paid_cents for of in accounts.contests)
    held = len(story.of(Status.PASS))
    judged = len(story.results) - len(story.of(Status.NOT_APPLICABLE))
    differing = len(accounts.differing)
    healed, drifted = sum(one.healed for one in story.lab.told), len(story.lab.told)
    hosts = [Figure("Hosts healed", f"{healed:,} of {drifted:,}", bad=healed < drifted)] if drifted else []
    return [
        Figure("Promises kept", f"{held:,} of {judged:,}"),
        Figure(
            "Contests paid out", f"{paid_out:,} of {len(contests):,}", f"{cancelled:,} cancelled" if cancelled else ""
        ),
        Figure(
            "Fees collected",
            words.dollars(collected),
            words.plural(sum(of.entries for of in accounts.contests), "entry", "entries"),
        ),
        Figure("Prizes paid out", words.dollars(paid)),
        Figure("Faults that bit", f"{bitten:,} of {len(story.faults):,}"),
        *hosts,
        Figure(
            "Lines that differ",
            f"{differing:,} of {len(accounts.lines):,}",
            "of the reconciliation",
            bad=differing > 0,
        ),
    ]


class Family(NamedTuple):
    name: str
    results: list[Result]
    kept: int
    judged: int


def _families(results: Sequence[Result]) -> list[Family]:
    """The results by family, families with trouble first, the judge's order otherwise."""
    by: dict[str, list[Result]] = {}
    for result in results:
        by.setdefault(result.family, []).append(result)
    worst = [Status.FAIL, Status.INCONCLUSIVE, Status.PASS, Status.NOT_APPLICABLE]
    families = [
        Family(
            name,
            sorted(found, key=lambda result: worst.index(result.status)),
            sum(result.status is Status.PASS for result in found),
            sum(result.status is not Status.NOT_APPLICABLE for result in found),
        )
        for name, found in by.items()
    ]
    return sorted(families, key=lambda family: min(worst.index(result.status) for result in family.results) > 1)
