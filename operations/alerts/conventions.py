"""What this house asks of an alerting rule beyond Prometheus: how loudly it pages, and what ops is to open.

Invariant: an alert that passes leads to a runbook, and with the runbooks' ids given to one that there is; one that
pages nobody leads to what is done when it is missed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from operations.alerts.located import Mistake, nearest
from operations.alerts.rules import AlertRule, Group

SEVERITIES = ("critical", "error", "warning", "info", "none")
_RUNBOOK = re.compile(r"runbooks/([a-z][a-z0-9_]*)\.md")


def runbook_of(rule: AlertRule) -> str | None:
    """The id of the runbook that an alert opens; None where its `runbook_url` is none of ours."""
    template = rule.annotations.get("runbook_url")
    match = _RUNBOOK.fullmatch(template.text) if template is not None else None
    return match.group(1) if match is not None else None


def check_conventions(groups: Iterable[Group], runbooks: Collection[str] | None = None) -> list[Mistake]:
    """Every alert that lacks its severity, summary or runbook, or names a runbook that is not among `runbooks`."""
    mistakes: list[Mistake] = []
    for rule in (rule for group in groups for rule in group.rules if isinstance(rule, AlertRule)):

        def wrong(message: str, remedy: str, rule: AlertRule = rule) -> None:
            mistakes.append(Mistake(rule.file, rule.line, 1, f"alert {rule.name}: {message}", remedy))

        severity = rule.labels.get("severity")
        if severity is None or severity.text not in SEVERITIES:
            wrong("no severity that a pager knows", f"set the label `severity` to one of {', '.join(SEVERITIES)}")
        if not (rule.annotations.get("summary") and rule.annotations["summary"].text.strip()):
            wrong("no summary", "say in the annotation `summary` what is wrong")
        texts = [*rule.labels.values(), *rule.annotations.values()]
        for label in sorted({label for text in texts for label in text.labels} & set(rule.labels)):
            wrong(f"`$labels.{label}` is empty, for templates see the labels of the series only", "write its value out")
        silent, missed = severity is not None and severity.text == "none", "when_missed" in rule.annotations
        if silent and not missed:
            wrong("it pages nobody", "name in `when_missed` the page that is sent when it stays away")
        if missed and not silent:
            wrong("`when_missed` is for one that pages nobody", "set `severity` to none, or leave `when_missed` out")
        runbook = runbook_of(rule)
        if runbook is None:
            wrong("no runbook", "set the annotation `runbook_url` to runbooks/ID.md")
        elif runbooks is not None and runbook not in runbooks:
            wrong(f"there is no runbook `{runbook}`", nearest(runbook, runbooks, f"write runbooks/{runbook}.md"))
    return mistakes
