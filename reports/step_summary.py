"""What CI shows below a job: a verdict, or a gate's decision, as Markdown that fits whatever there is to tell.

Invariant: it has at most `limit` bytes, is cut between two items and never within one, and says how many are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from assertions.model import Status
from reports import words
from reports.markdown import fenced, table
from reports.story import SYMBOLS, WORDS, Story, headline, why_not_exercised
from reports.words import code
from reports.words import markdown as md

if TYPE_CHECKING:
    from assertions.model import Broken, Result

LIMIT = 1024 * 1024
"""Bytes. Of a step whose summary is larger GitHub shows nothing."""
TEXT_MAX = 600
"""Characters of one text that came from data."""
_REST_MAX = 80
"""Bytes of the line that counts what is left out of a list."""


class Listing(NamedTuple):
    """A heading and its `total` items, a line each: a list, or the rows of a table if `columns` are given. An item is
    made when there is room for it. `one`, `many`: what it is called."""

    title: str
    total: int
    items: Iterable[str]
    one: str
    many: str
    columns: Sequence[str] = ()

    @property
    def head(self) -> str:
        return f"\n## {self.title}\n\n" + (table(self.columns, []) + "\n" if self.columns else "")

    def rest(self, count: int) -> str:
        return f"\nand {words.plural(count, f'more {self.one}', f'more {self.many}')}\n"


def for_story(story: Story, replay_command: str, *, limit: int = LIMIT) -> str:
    """The summary of a run."""
    plan = story.plan
    counts = [[f"{SYMBOLS[status]} {WORDS[status]}", f"{len(story.of(status)):,}"] for status in SYMBOLS]
    bitten = sum(1 for fault in story.faults if fault.bites)
    head = [
        f"# {SYMBOLS[story.status]} {story.status.value}: {md(plan.scenario)}, seed {plan.seed}",
        headline(story),
        *_first(story),
        fenced(_short(replay_command)),
        table(["promises", ""], [*counts, ["faults that bit", f"{bitten:,} of {len(story.faults):,}"]], right=[1]),
        f"Run digest {code(story.digest)}",
    ]
    broken, unsure = story.broken(), story.of(Status.INCONCLUSIVE)
    return fitted(
        head,
        [
            Listing(
                "Broken promises", len(broken), (_broken(story, result, found) for result, found in broken),
                "broken promise", "broken promises",
            ),
            Listing(
                "Not exercised", len(unsure),
                (f"- {code(result.id)}: {md(_short(why_not_exercised(result)))}" for result in unsure),
                "promise", "promises",
            ),
        ],
        limit,
    )  # fmt: skip


def _first(story: Story) -> list[str]:
    first = story.first
    if first is None:
        return []
    facts = [
        ("promise", f"{md(_short(first.claim))} ({code(first.assertion)})"),
        ("when", md(story.when(first.at))),
        ("money at risk", md(story.risk_sentence())),
        ("fault active", md(_short(story.fault_sentence()))),
        ("runbook step active", md(_short(story.step_sentence()))),
    ]
    return [f"**{md(_short(first.message))}**", table(["first broken promise", ""], facts)]


def _broken(story: Story, result: Result, broken: Broken) -> str:
    at_risk = f", {words.dollars(broken.money_cents)} at risk" if broken.money_cents else ""
    return f"- {md(story.when(broken.at) + at_risk)}: {md(_short(broken.message))} ({code(result.id)})"


def for_decision(decision: Mapping[str, Any], *, limit: int = LIMIT) -> str:
    """The summary of a gate's decision (closure.decision.Decision, as JSON)."""
    blockers, deferrals = decision["blockers"], decision.get("deferrals", ())
    runs = [*decision["runs"], *([decision["baseline"]] if decision.get("baseline") else [])]
    closes = decision["outcome"] in ("CLOSE", "UNLOCK")
    head = [
        f"# {SYMBOLS[_status(closes)]} {md(decision['outcome'])}: {md(_short(decision['policy']))}",
        f"{words.plural(len(blockers), 'blocker')}, "
        f"{words.plural(len(decision.get('proofs', ())), 'criterion holds', 'criteria hold')}, "
        f"{len(deferrals):,} put off.",
        f"Policy SHA-256 {code(decision['policy_sha256'])}",
    ]
    figures = decision.get("figures", ())
    return fitted(
        head,
        [
            Listing("Blockers", len(blockers), map(_blocker, blockers), "blocker", "blockers"),
            Listing(
                "Put off", len(deferrals),
                (_row(code(one["id"]), *_cells(one, "claim", "until", "by", "reason")) for one in deferrals),
                "criterion", "criteria", ("criterion", "claim", "until", "by", "reason"),
            ),
            Listing(
                "Against the baseline", len(figures),
                (_row(code(one["id"]), *_cells(one, "baseline", "candidate", "rail"), SYMBOLS[_status(one["holds"])])
                 for one in figures),
                "figure", "figures", ("figure", "baseline", "candidate", "has to be", ""),
            ),
            Listing(
                "Made of", len(runs),
                (_row(code(_short(one["name"])), *_cells(one, "scenario", "seed", "verdict"), code(one["identity"]))
                 for one in runs),
                "run", "runs", ("run", "scenario", "seed", "verdict", "identity"),
            ),
        ],
        limit,
    )  # fmt: skip


def _blocker(one: Mapping[str, Any]) -> str:
    return f"- {code(one['id'])} ({md(one['phase'])}): {md(_short(one['missing']))}, see {code(_short(one['where']))}"


def _cells(one: Mapping[str, Any], *names: str) -> list[str]:
    return [md(_short(str(one[name]))) for name in names]


def _status(holds: bool) -> Status:
    return Status.PASS if holds else Status.FAIL


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT_MAX else line[: TEXT_MAX - 1] + "…"


def fitted(head: Sequence[str], listings: Iterable[Listing], limit: int) -> str:
    """The paragraphs of `head`, and of each listing as many items as there is room for. Where there is not even room
    for the head nothing is told: half of a verdict may be read as another one. The head says how many there are."""
    text = "\n\n".join(head) + "\n"
    lists = [listing for listing in listings if listing.total]
    if _size(text) > limit:
        return ""
    room = limit - _size(text) - sum(_size(listing.head) + _REST_MAX for listing in lists)
    if room < 0:
        return words.printable(text)
    parts = [text]
    for listing in lists:
        shown: list[str] = []
        for item in listing.items:
            if _size(item) + 1 > room:
                break
            room -= _size(item) + 1
            shown.append(f"{item}\n")
        left_out = listing.total - len(shown)
        parts += [listing.head, *shown, listing.rest(left_out) if left_out else ""]
    return words.printable("".join(parts))


def _size(text: str) -> int:
    return len(words.printable(text).encode())
