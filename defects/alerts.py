"""Defects of alerting: rule files that a hurried hand has changed, and pages that lead nowhere."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_ANCHORING = "contest_platform/services/anchoring.py"
_CONTESTS = "alerts/contests.yml"
_HOSTS = "alerts/hosts.yml"
_PLATFORM = "alerts/platform.yml"
_OVERDUE = "        expr: time() - settlement_due_timestamp_seconds > 3600\n"

CATALOGUE = (
    Defect(
        "alerts.advice_in_a_label",
        "Born in a rule file: what to do was written into a label, which is part of the key under which the pager is "
        "told; it takes 255 characters.",
        (
            Edit(
                _HOSTS,
                "        expr: time() - host_incident_unmatched_timestamp_seconds < 86400\n        labels:\n",
                "        expr: time() - host_incident_unmatched_timestamp_seconds < 86400\n"
                "        labels:\n"
                "          advice: >-\n"
                "            Look first whether the host answers and whether its clock is right; then "
                "whether orders were\n"
                "            tried in vain; then have it try what is known to help, and wait for a quarter of an hour\n"
                "            before the incident is ended by hand, for its agent reports every five minutes\n",
            ),
        ),
        ("alerts.pager_agrees", "runbooks.faults_recovered"),
        "healing_promoted",
        (Fault("hosts.check_failed"),),
    ),
    Defect(
        "alerts.age_in_a_label",
        "Born in a rule file: how long it has lasted was wanted in the alert's labels, so each minute "
        "ends one alert and "
        "begins another, and nobody gets to any of them.",
        (
            Edit(
                _HOSTS,
                "        expr: time() - host_incident_unmatched_timestamp_seconds < 86400\n        labels:\n",
                "        expr: time() - host_incident_unmatched_timestamp_seconds < 86400\n        labels:\n"
                '          since: "{{ $value | humanizeDuration }}"\n',
            ),
        ),
        ("runbooks.faults_recovered",),
        "healing_promoted",
        (Fault("hosts.check_failed"),),
    ),
    Defect(
        "alerts.anchor_page_leads_nowhere",
        "The runbook for a stale anchor was renamed, and the page that the platform itself sends still "
        "links to the old "
        "one.",
        (
            Edit(
                _ANCHORING,
                'RUNBOOK = "runbooks/audit_anchor_stale.md"\n',
                'RUNBOOK = "runbooks/anchor_stale.md"\n',
            ),
        ),
        ("alerts.link_to_runbooks", "runbooks.nothing_escalated"),
        "healing_promoted",
        (Fault("platform.anchor_down"),),
    ),
    Defect(
        "alerts.anchor_page_never_taken_back",
        "The page that the anchor is stale is sent as long as it is; that it is up to date again, the "
        "pager is not told.",
        (
            Edit(
                _ANCHORING,
                '        tells = stale or known["paged"]\n',
                "        tells = stale\n",
            ),
        ),
        ("alerts.resolved",),
        "healing_promoted",
        (Fault("platform.anchor_down"),),
    ),
    Defect(
        "alerts.link_to_a_draft",
        "Born in a rule file: the link is that of the draft of a runbook, which was filed under another name.",
        (
            Edit(
                _HOSTS,
                "          runbook_url: runbooks/host_incident_unmatched.md\n",
                "          runbook_url: runbooks/unmatched_host_incident.md\n",
            ),
        ),
        ("alerts.link_to_runbooks", "runbooks.nothing_escalated"),
        "healing_promoted",
        (Fault("hosts.check_failed"),),
    ),
    Defect(
        "alerts.page_key_of_the_hour",
        "The key under which the pager is told had the hour put in, so that each page is seen; the one "
        "that ends it has "
        "another hour.",
        (
            Edit(
                _ANCHORING,
                "            dedup_key=DEDUP_KEY,\n",
                '            dedup_key=f"{DEDUP_KEY}:{self._ports.runtime.now() // HOUR_MS}",\n',
            ),
        ),
        ("alerts.resolved",),
        "healing_promoted",
        (Fault("platform.anchor_down"),),
    ),
    Defect(
        "alerts.severity_of_another_pager",
        "Born in a rule file: a severity that the pager of before knew is none of this one's, which refuses the page.",
        (
            Edit(
                _CONTESTS,
                _OVERDUE + "        labels:\n          severity: error\n",
                _OVERDUE + "        labels:\n          severity: high\n",
            ),
        ),
        ("alerts.pager_agrees", "runbooks.faults_recovered"),
        "healing_promoted",
        (Fault("platform.scheduler_stopped"),),
    ),
    Defect(
        "alerts.threshold_in_another_unit",
        "Born in a rule file: an hour was written in hundredths of a second, as the ticket had it.",
        (Edit(_CONTESTS, _OVERDUE, _OVERDUE.replace("3600", "360000")),),
        ("runbooks.faults_recovered",),
        "healing_promoted",
        (Fault("platform.scheduler_stopped"),),
    ),
    Defect(
        "alerts.watchdog_holds_its_fire",
        "Born in a rule file: the Watchdog was given the patience that every other alert has, and for a quarter of an "
        "hour after a start nobody knows whether alerting works.",
        (
            Edit(
                _PLATFORM,
                "        expr: vector(1)\n        labels:\n",
                "        expr: vector(1)\n        for: 15m\n        labels:\n",
            ),
        ),
        ("alerts.watchdog",),
        "healing_promoted",
    ),
    Defect(
        "alerts.watchdog_of_a_metric",
        "Born in a rule file: the Watchdog was tied to a metric, to see scraping at work as well; this "
        "one is there only "
        "while scores are awaited.",
        (
            Edit(
                _PLATFORM,
                "        expr: vector(1)\n",
                "        expr: count(ingestion_answer_due_timestamp_seconds) > 0\n",
            ),
        ),
        ("alerts.watchdog",),
        "healing_promoted",
    ),
)
