"""Defects of what the platform exports to monitoring: units, instants, and what is never taken back."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_CONTESTS = "contest_platform/services/contests.py"
_INGESTION = "contest_platform/services/ingestion.py"
_METRICS = "contest_platform/metrics.py"
_SETTLEMENT = "contest_platform/services/settlement.py"

CATALOGUE = (
    Defect(
        "metrics.failures_never_taken_back",
        "A transition that failed is told of, and that it was made after all is not: the gauge goes up "
        "and stays there.",
        (Edit(_CONTESTS, "            raise\n        self._failed_gauge.tell({})\n", "            raise\n"),),
        ("alerts.resolved",),
        "healing_promoted",
        (Fault("platform.lock_transition_fails"),),
    ),
    Defect(
        "metrics.instants_in_milliseconds",
        "Instants are exported as the platform keeps them, in milliseconds; for the rules it is always far too early.",
        (
            Edit(
                _METRICS,
                '        self._per = 1000 if name.endswith("_timestamp_seconds") else 1\n',
                '        self._per = 1000 if name.endswith("_timestamp_ms") else 1\n',
            ),
        ),
        ("alerts.incidents_raised", "runbooks.faults_recovered"),
        "healing_promoted",
        (Fault("platform.scheduler_stopped"),),
    ),
    Defect(
        "metrics.lag_since_the_last_answer",
        "The lag is counted from the last answer and not from when the next one is due: a night without play is a lag.",
        (
            Edit(
                _INGESTION,
                "        at = due.at if due.failing_since is None else due.failing_since\n",
                "        at = self._ports.runtime.now() if due.failing_since is None else due.failing_since\n",
            ),
        ),
        ("alerts.none_without_incident",),
        "healing_promoted",
    ),
    Defect(
        "metrics.no_series_for_zero",
        "Where nothing is quarantined there was nothing to tell, so no series; and no series is what alerts when a "
        "metric is gone.",
        (
            Edit(
                _INGESTION,
                '            self._ports.metrics.set("quarantined_batches", quarantined, '
                "tournament_id=tournament.id)\n",
                "            if quarantined:\n"
                '                self._ports.metrics.set("quarantined_batches", quarantined, '
                "tournament_id=tournament.id)\n",
            ),
        ),
        ("alerts.none_without_incident", "alerts.resolved"),
        "healing_promoted",
    ),
    Defect(
        "metrics.overdue_from_completion",
        "A contest is told of as due for settlement from its completion on, as before there was a hold.",
        (
            Edit(
                _SETTLEMENT,
                "    select contest_id, status, cutoff_at, error_code from contests where status in "
                "('COMPLETE', 'ERROR')\n",
                "    select contest_id, status, completed_at, error_code from contests where status in "
                "('COMPLETE', 'ERROR')\n",
            ),
        ),
        ("alerts.none_without_incident",),
        "healing_promoted",
    ),
    Defect(
        "metrics.series_never_taken_back",
        "A gauge sets what stands, and was written without a thought of what stands no more: an order that has ended "
        "grows older and older.",
        (
            Edit(
                _METRICS,
                "        for values in [values for values in told if values not in standing]:\n"
                "            self.tell_of(None, *values)\n",
                "",
            ),
        ),
        ("alerts.resolved",),
        "healing_promoted",
        (Fault("platform.crash"),),
    ),
)
