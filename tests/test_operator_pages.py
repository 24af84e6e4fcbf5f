"""What ops makes of a page, in a whole run: the runbook that it leads to is opened and carried out to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
