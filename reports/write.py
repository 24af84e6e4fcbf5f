"""All report files of a run, from one reading of its books.

Invariant: the same evidence and verdict give the same bytes: no wall clock, no machine, no locale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reports import beancount, html, junit, markdown, postmortem, trace
from reports.history import lives, timeline
from reports.money import account_for

if TYPE_CHECKING:
    from evidence.run import Evidence
    from reports.coverage import Coverage
    from reports.story import Story


def write_all(
    evidence: Evidence,
    story: Story,
    write: Callable[[str, bytes], None],
    *,
    replay_command: str,
    run_name: str = "",
    coverage: Coverage | None = None,
) -> None:
    """Hand each file to `write(name, content)`: report.html, report.md, junit.xml, trace.json, ledger.beancount and,
    unless the verdict is PASS, postmortem.md. `replay_command` is printed as the command that replays the run;
    `run_name` is its directory's name; `coverage` is told if operations were on call."""
    contests = lives(evidence, story.end_at)
    events = timeline(evidence, story, contests)
    accounts = account_for(evidence, story.end_at)
    write("report.html", html.render(story, accounts, contests, events, replay_command, coverage))
    write("report.md", markdown.render(story, accounts, events, replay_command, coverage))
    write("junit.xml", junit.render(story, replay_command, run_name))
    write("trace.json", trace.render(evidence, story, contests))
    write("ledger.beancount", beancount.render(evidence))
    explained = postmortem.render(evidence, story, events, replay_command)
    if explained is not None:
        write("postmortem.md", explained)
