"""Runs in which alerting told too little or too much, a dashboard said what was not so, or ops acted unasked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from assertions.model import Status
from tests.support.broken_runs.change import add, breaks, remove, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.observed import DAY, OPS, called
from tests.support.operated import EXECUTION, INCIDENT
from tests.support.scribe import Scribe, encode, rechain
from tests.support.small_run import COMPLETED, HOUR, PAID, T0

# --- alerts ----------------------------------------------------------------------------------------------------------


@breaks("alerts.incidents_raised")
def an_incident_of_which_nobody_was_told(evidence: FakeEvidence) -> None:
    evidence.books["monitoring.alerts"] = evidence.books["monitoring.alerts"][:1]


@breaks("alerts.incidents_raised")
def an_alert_that_came_half_a_day_after_its_incident(evidence: FakeEvidence) -> None:
    row(evidence, "monitoring.alerts", dedup_key=INCIDENT, state="firing")["at"] += 12 * HOUR


@breaks("alerts.incidents_raised", Status.INCONCLUSIVE)
def a_runbook_that_says_of_no_alert_that_it_is_for_it(evidence: FakeEvidence) -> None:
    texts = evidence.texts["runbooks"]
    texts["payout_stuck.md"] = texts["payout_stuck.md"].replace("alerts: [PayoutTransferStuck]\n", "")


@breaks("alerts.resolved")
def an_alert_that_never_ended(evidence: FakeEvidence) -> None:
    remove(evidence, "monitoring.alerts", dedup_key=INCIDENT, state="resolved")


@breaks("alerts.resolved")
def a_page_about_the_anchor_that_nobody_took_back(evidence: FakeEvidence) -> None:
    details = '{"runbook_url":"runbooks/audit_anchor_stale.md"}'
    add(evidence, "pager.events", at=T0 + DAY, action="trigger", dedup_key="audit_anchor_stale", severity="error",
        details=details)  # fmt: skip


def _quiet_alert(evidence: FakeEvidence, at: int) -> None:
    labels = '{"alertname":"IngestionLag","severity":"error"}'
    for state, later in (("firing", 0), ("resolved", HOUR)):
        add(evidence, "monitoring.alerts", at=at + later, alert="IngestionLag", dedup_key="IngestionLag", labels=labels,
            state=state, active_at=at)  # fmt: skip
    changes = evidence.books["monitoring.alerts"]
    changes.sort(key=lambda change: change["at"])
    for n, change in enumerate(changes, 1):
        change["n"] = n


@breaks("alerts.none_without_incident")
def an_alert_in_a_quiet_night(evidence: FakeEvidence) -> None:
    _quiet_alert(evidence, T0 + DAY)


@breaks("alerts.none_without_incident")
def an_alert_on_the_day_after_its_incident(evidence: FakeEvidence) -> None:
    for change in evidence.books["monitoring.alerts"][1:]:
        change.update(at=change["at"] + DAY, active_at=change["active_at"] + DAY)


@breaks("alerts.pager_agrees")
def an_alert_that_never_reached_the_pager(evidence: FakeEvidence) -> None:
    _quiet_alert(evidence, T0 + DAY)


@breaks("alerts.pager_agrees")
def an_end_that_never_reached_the_pager(evidence: FakeEvidence) -> None:
    row(evidence, "pager.events", dedup_key=INCIDENT, action="resolve")["at"] += DAY


@breaks("alerts.pager_agrees")
def a_page_for_what_had_not_fired(evidence: FakeEvidence) -> None:
    labels = {"alertname": "PayoutTransferStuck"}
    details = json.dumps({"labels": labels, "runbook_url": "runbooks/payout_stuck.md"})
    add(evidence, "pager.events", at=T0 + DAY, action="trigger", dedup_key="IngestionLag", severity="error",
        details=details)  # fmt: skip


@breaks("alerts.acknowledged")
def a_page_that_nobody_took(evidence: FakeEvidence) -> None:
    remove(evidence, "pager.events", action="acknowledge")
    row(evidence, "pager.events", dedup_key=INCIDENT, action="resolve")["at"] += DAY


@breaks("alerts.acknowledged")
def a_page_that_was_taken_after_hours(evidence: FakeEvidence) -> None:
    for action in ("acknowledge", "resolve"):
        row(evidence, "pager.events", action=action)["at"] += 6 * HOUR


@breaks("alerts.link_to_runbooks")
def a_page_without_a_link(evidence: FakeEvidence) -> None:
    row(evidence, "pager.events", dedup_key=INCIDENT)["details"] = '{"labels":{"alertname":"PayoutTransferStuck"}}'


@breaks("alerts.link_to_runbooks")
def a_rule_that_leads_to_a_runbook_that_is_not_there(evidence: FakeEvidence) -> None:
    texts = evidence.texts["alerts"]
    texts["payouts.yml"] = texts["payouts.yml"].replace("payout_stuck.md", "payout_lost.md")


@breaks("alerts.watchdog")
def alerting_that_ceased(evidence: FakeEvidence) -> None:
    watchdog = row(evidence, "monitoring.alerts", alert="Watchdog")
    add(evidence, "monitoring.alerts", **{**watchdog, "n": 9, "at": T0 + 5 * HOUR, "state": "resolved"})


@breaks("alerts.watchdog")
def alerting_that_began_on_the_second_day(evidence: FakeEvidence) -> None:
    row(evidence, "monitoring.alerts", alert="Watchdog")["at"] += DAY


@breaks("alerts.watchdog")
def alerting_that_is_missed_outside_and_nothing_stands_still(evidence: FakeEvidence) -> None:
    missed(evidence, T0 + DAY)


def missed(evidence: FakeEvidence, at: int) -> None:
    """Whoever expects the Watchdog outside sends the page that says so."""
    details = '{"labels":{"alertname":"AlertingDown"},"runbook_url":"runbooks/payout_stuck.md"}'
    add(evidence, "pager.events", at=at, action="trigger", dedup_key="AlertingDown:1", severity="critical",
        details=details)  # fmt: skip


# --- dashboards ------------------------------------------------------------------------------------------------------


def look(evidence: FakeEvidence, dashboard: str, day: int) -> dict[str, Any]:
    """The look at a dashboard on a day, counted from 0."""
    return [one for one in evidence.books["observer.dashboards"] if one["dashboard"] == dashboard][day]


def says(evidence: FakeEvidence, dashboard: str, day: int, change: Callable[[dict[str, Any]], object]) -> None:
    """Have a page say something else."""
    one = look(evidence, dashboard, day)
    body = json.loads(one["body"])
    change(body)
    one["body"] = encode(body)


def _summary(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda body: body["items"][0].update(values)


@breaks("dashboards.sampled")
def a_dashboard_that_did_not_show_on_a_quiet_day(evidence: FakeEvidence) -> None:
    look(evidence, "audit", 1).update(status=None, body=None, problem="deadline_exceeded")


@breaks("dashboards.sampled", Status.INCONCLUSIVE)
def a_day_on_which_nobody_looked(evidence: FakeEvidence) -> None:
    evidence.books["observer.dashboards"].remove(look(evidence, "contests", 7))


@breaks("dashboards.of_one_instant")
def a_page_of_yesterday(evidence: FakeEvidence) -> None:
    look(evidence, "audit", 5)["body"] = look(evidence, "audit", 4)["body"]


@breaks("dashboards.of_one_instant")
def a_page_that_names_a_row_of_yesterday(evidence: FakeEvidence) -> None:
    before = json.loads(look(evidence, "errors", 3)["body"])["items"][0]["audit_seq"]
    says(evidence, "errors", 4, _summary(audit_seq=before))


@breaks("dashboards.of_one_instant")
def a_page_that_names_a_row_still_to_come(evidence: FakeEvidence) -> None:
    after = json.loads(look(evidence, "errors", 4)["body"])["items"][0]["audit_seq"]
    says(evidence, "errors", 3, _summary(audit_seq=after))


@breaks("dashboards.state_as_audited")
def a_number_that_is_another(evidence: FakeEvidence) -> None:
    says(evidence, "operational", 2, _summary(contests_scheduled=1))


@breaks("dashboards.state_as_audited")
def a_number_that_is_not_there(evidence: FakeEvidence) -> None:
    says(evidence, "operational", 2, lambda body: body["items"][0].pop("payments_unpaid"))


@breaks("dashboards.money_as_at_the_processor")
def a_transfer_paid_that_the_processor_never_made(evidence: FakeEvidence) -> None:
    evidence.books["processor.transfers"].pop()


@breaks("dashboards.money_as_at_the_processor")
def a_transfer_made_that_was_never_shown(evidence: FakeEvidence) -> None:
    says(evidence, "operational", 6, _summary(transfers_paid=1))


@breaks("dashboards.money_as_at_the_processor")
def a_dispute_that_was_never_shown(evidence: FakeEvidence) -> None:
    add(evidence, "processor.disputes", dispute_id="dp_1", created_at=COMPLETED)
    del evidence.books["processor.disputes"][0]["n"]


@breaks("dashboards.contests_as_audited")
def a_contest_shown_in_another_state(evidence: FakeEvidence) -> None:
    says(evidence, "contests", 3, lambda body: body["contests"][0].update(status="LOCKED"))


@breaks("dashboards.contests_as_audited")
def a_contest_that_is_not_shown(evidence: FakeEvidence) -> None:
    says(evidence, "contests", 3, lambda body: body["contests"].clear())


@breaks("dashboards.lag_as_polled")
def no_lag_shown_although_nothing_came_for_hours(evidence: FakeEvidence) -> None:
    says(evidence, "contests", 3, lambda body: body["contests"][0].update(lag_s=0))


@breaks("dashboards.lag_as_polled")
def a_lag_shown_although_no_play_was_on(evidence: FakeEvidence) -> None:
    says(evidence, "contests", 1, lambda body: body["contests"][0].update(lag_s=600))


@breaks("dashboards.alerts_are_the_pagers")
def an_open_incident_that_is_not_shown(evidence: FakeEvidence) -> None:
    says(evidence, "operational", 6, lambda body: body["alerts"].clear())


@breaks("dashboards.alerts_are_the_pagers")
def an_alert_shown_that_was_over(evidence: FakeEvidence) -> None:
    over = {"dedup_key": INCIDENT, "status": "acknowledged", "since_at": PAID}
    says(evidence, "operational", 6, lambda body: body["alerts"].append(over))


@breaks("dashboards.alerts_are_the_pagers")
def an_alert_that_fired_long_ago_and_is_not_shown(evidence: FakeEvidence) -> None:
    _quiet_alert(evidence, T0 + DAY)


@breaks("dashboards.alerts_are_the_pagers")
def a_dashboard_that_had_not_heard_the_pager(evidence: FakeEvidence) -> None:
    says(evidence, "operational", 1, _summary(pager_answers=False))


@breaks("dashboards.executions_as_noted")
def an_execution_that_is_not_shown(evidence: FakeEvidence) -> None:
    says(evidence, "audit", 6, lambda body: body["executions"].clear())


@breaks("dashboards.executions_as_noted")
def an_execution_shown_as_still_going_on(evidence: FakeEvidence) -> None:
    says(evidence, "audit", 6, lambda body: body["executions"][0].update(status="in_progress"))


@breaks("dashboards.executions_as_noted")
def an_execution_shown_that_no_notebook_knows(evidence: FakeEvidence) -> None:
    made = {"id": "x9", "runbook_name": "payout_stuck", "status": "completed"}
    says(evidence, "audit", 2, lambda body: body["executions"].append(made))


@breaks("dashboards.executions_as_noted")
def a_failed_execution_that_is_not_shown_as_an_escalation(evidence: FakeEvidence) -> None:
    row(evidence, "operator.notebook", action="completed")["action"] = "failed"


@breaks("dashboards.executions_as_noted")
def an_escalation_shown_of_what_had_been_completed(evidence: FakeEvidence) -> None:
    says(evidence, "operational", 6, lambda body: body["escalations"].append({"id": EXECUTION}))


@breaks("dashboards.trail_as_audited")
def an_operation_shown_as_somebody_elses(evidence: FakeEvidence) -> None:
    says(evidence, "audit", 6, lambda body: body["operations"][0].update(actor="ops:lee"))


@breaks("dashboards.trail_as_audited")
def a_change_of_state_that_is_not_shown(evidence: FakeEvidence) -> None:
    says(evidence, "audit", 6, lambda body: body["state_changes"].pop(0))


@breaks("dashboards.errors_as_others_saw")
def failures_that_are_not_shown(evidence: FakeEvidence) -> None:
    delivery = row(evidence, "processor.deliveries", event_id="evt_c1-u1")
    for n in range(90, 93):
        add(evidence, "processor.deliveries", **{**delivery, "n": n, "status": 503})


@breaks("dashboards.errors_as_others_saw")
def fewer_requests_than_the_processor_alone_made(evidence: FakeEvidence) -> None:
    says(evidence, "errors", 2, _summary(requests=1))


@breaks("dashboards.errors_as_others_saw")
def failures_before_anything_went_wrong(evidence: FakeEvidence) -> None:
    says(evidence, "errors", 1, _summary(failures=2, burn_rate_bp=1_000, budget_remaining_bp=9_000))


@breaks("dashboards.errors_as_others_saw")
def a_budget_that_does_not_follow_from_its_failures(evidence: FakeEvidence) -> None:
    says(evidence, "errors", 6, _summary(budget_remaining_bp=5_000))


@breaks("dashboards.errors_as_others_saw")
def a_count_from_before_the_process_began(evidence: FakeEvidence) -> None:
    row(evidence, "hosts.services", service="app")["at"] += DAY


def _top(source: str, errors: int) -> Callable[[dict[str, Any]], object]:
    return lambda body: next(one for one in body["errors"] if one["source"] == source).update(errors=errors)


@breaks("dashboards.errors_as_others_saw")
def denials_that_are_not_shown(evidence: FakeEvidence) -> None:
    says(evidence, "errors", 0, _top("denied", 0))


@breaks("dashboards.errors_as_others_saw")
def refusals_that_are_not_shown(evidence: FakeEvidence) -> None:
    says(evidence, "errors", 1, _top("refused", 0))


@breaks("dashboards.errors_as_others_saw")
def a_rejected_transfer_that_is_not_shown(evidence: FakeEvidence) -> None:
    says(evidence, "errors", 5, lambda body: body["errors"].clear())


@breaks("dashboards.errors_as_others_saw")
def more_rejected_transfers_than_the_processor_rejected(evidence: FakeEvidence) -> None:
    more = {"source": "transfer", "code": "account_closed", "errors": 9}
    says(evidence, "errors", 5, lambda body: body["errors"].append(more))


# --- calls -----------------------------------------------------------------------------------------------------------


def _calls(evidence: FakeEvidence, at: int) -> None:
    scribe = Scribe(evidence.plan)
    scribe.evidence, scribe.books = evidence, evidence.books
    called(scribe, at, "POST /api/admin/transfers/retry")


@breaks("absence.acts_in_steps")
def a_call_while_no_execution_was_open(evidence: FakeEvidence) -> None:
    _calls(evidence, T0 + 2 * HOUR)


@breaks("absence.acts_in_steps")
def a_call_in_an_execution_of_which_no_step_tells(evidence: FakeEvidence) -> None:
    row(evidence, "operator.notebook", step="Recovery/1")["step"] = "Recovery/2"


@breaks("absence.acts_in_steps")
def a_call_on_record_under_another_execution(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="ops.transfers_retry")["correlation"] = "execution_9"
    rechain(evidence)


@breaks("absence.acts_in_steps")
def a_call_in_somebody_elses_execution(evidence: FakeEvidence) -> None:
    for note in evidence.books["operator.notebook"]:
        note["principal"] = "ops:lee"


@breaks("absence.calls_on_record")
def a_call_that_the_platform_did_not_write_down(evidence: FakeEvidence) -> None:
    at = look(evidence, "audit", 1)["at"]
    remove(evidence, "platform.access_log", principal=OPS, at=at + 100)
