"""What ops makes of a page, in a whole run: the runbook that it leads to is opened and carried out to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contest_platform.metrics import METRICS
from operations.alerts import AlertRule, read
from operations.alerts.tree import selectors
from operations.runbooks import read as read_runbook
from operations.runbooks.render import PLACEHOLDER
from tests.support.command import ROOT, Ran, run_into

FAULTS = """
operations: true
faults:
  - {fault: corrections.after_cutoff}
  - {fault: platform.anchor_down}
  - {fault: platform.clock_skew, params: {host: win-ingest-1}}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder: Path = tmp_path_factory.mktemp("pages")
    (folder / "pages.yaml").write_text((ROOT / "scenarios" / "small.yaml").read_text() + FAULTS)
    return run_into(folder / "out", folder / "pages.yaml")


def opened(ran: Ran) -> dict[str, str]:
    """Incident -> the runbook that was opened for it."""
    return {row.incident: row.runbook for row in ran.rows("operator.notebook", action="started")}


def test_the_platforms_own_pages_lead_to_a_runbook_as_those_of_alerts_do(ran: Ran) -> None:
    assert ran.exit_code == 0, ran.stdout
    found = opened(ran)
    [late] = [incident for incident in found if incident.startswith("late_correction:")]
    assert found[late] == "correction_after_settlement"
    assert found["audit_anchor_stale"] == "audit_anchor_stale"
    assert ran.rows("operator.escalations") == []
    assert {row.status for row in ran.rows("platform.runbook_executions")} == {"completed"}


def test_every_page_that_opens_an_incident_says_which_runbook_is_for_it(ran: Ran) -> None:
    pages = ran.rows("pager.events", action="trigger")
    assert {page.dedup_key.partition(":")[0] for page in pages} >= {
        "late_correction", "audit_anchor_stale", "CorrectionAfterSettlement", "HostClockSkew",
    }  # fmt: skip
    for page in pages:
        assert (ROOT / json.loads(page.details)["runbook_url"]).is_file(), page


def test_what_a_runbook_binds_is_in_the_labels_of_the_platforms_page(ran: Ran) -> None:
    [late] = [page for page in ran.rows("pager.events", action="trigger") if page.dedup_key.startswith("late_")]
    contest_id = json.loads(late.details)["labels"]["contest_id"]
    sent = [row.sent for row in ran.rows("operator.notebook", action="step") if row.incident == late.dedup_key]
    assert sent[0] == f"opsctl contests show {contest_id}"
    assert f"opsctl audit tail --subject pager/late_correction:{contest_id} --limit 5" in sent


def test_a_clock_that_is_wrong_is_set_right_within_the_hour_and_stays_so(ran: Ran) -> None:
    wrong, right = ran.rows("hosts.clocks")
    assert (wrong.host, wrong.state, right.state, right.offset_ms) == ("win-ingest-1", "wrong", "right", 0)
    assert right.at - wrong.at < 3_600_000
    assert "host_clock_skew" in opened(ran).values()


BY_THE_PLATFORM = {"correction_after_settlement": {"contest_id"}, "audit_anchor_stale": set[str]()}
"""The labels of the pages that the platform sends itself, by the runbook that they lead to."""


def carried(rule: AlertRule) -> set[str]:
    """The labels that an alert has whatever series fires it: its own, and those of the metrics that it reads."""
    names = [matcher.value for one in selectors(rule.expr) for matcher in one.matchers if matcher.label == "__name__"]
    metrics = [{*METRICS[name].labels, "job"} for name in names if name in METRICS]
    return set(rule.labels) | (set.intersection(*metrics) if metrics else set())


def test_every_label_that_a_runbook_binds_is_one_that_each_of_its_pages_carries() -> None:
    rules = [rule for group in read(sorted((ROOT / "alerts").glob("*.yml"))) for rule in group.rules]
    pages: dict[str, list[set[str]]] = {name: [labels] for name, labels in BY_THE_PLATFORM.items()}
    for rule in rules:
        if isinstance(rule, AlertRule):
            name = Path(rule.annotations["runbook_url"].text).stem
            pages.setdefault(name, []).append(carried(rule))
    bound = 0
    for path in sorted((ROOT / "runbooks").glob("*.md")):
        runbook, problems = read_runbook(path)
        assert runbook is not None
        assert problems == []
        labels = {
            name[1].removeprefix("alert.")
            for name in PLACEHOLDER.finditer(runbook.source)
            if name[1].startswith("alert.")
        }
        bound += len(labels)
        assert all(labels <= carries for carries in pages.get(path.stem, [set()])), (path.stem, labels)
    assert bound > 15
