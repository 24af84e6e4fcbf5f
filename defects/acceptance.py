"""Defects of the daily acceptance tests: of which day, of what work, and when."""

from __future__ import annotations

from defects.model import Defect, Edit

_ACCEPTANCE = "contest_platform/services/acceptance.py"

CATALOGUE = (
    Defect(
        "acceptance.day_from_midnight",
        "The day that is judged at noon begins at midnight, and what was settled the evening before is in none.",
        (
            Edit(
                _ACCEPTANCE,
                "    since = day_at - DAY_MS\n    contests = ",
                "    since = day_at - AT_HOUR_MS\n    contests = ",
            ),
        ),
        ("settlement.acceptance_recomputes",),
    ),
    Defect(
        "acceptance.idle_days_fail",
        "A test that saw nothing grow has failed, whether there was anything to do or not.",
        (
            Edit(
                _ACCEPTANCE,
                '    return "NOT_APPLICABLE" if not work else "PASS" if grown else "FAIL"\n',
                '    return "PASS" if grown else "FAIL"\n',
            ),
        ),
        ("settlement.acceptance_passes", "settlement.acceptance_recomputes"),
    ),
    Defect(
        "acceptance.judged_in_local_time",
        "Noon is that of the desk in another zone, and the day of UTC is judged by nobody.",
        (Edit(_ACCEPTANCE, "AT_HOUR_MS = 12 * HOUR_MS\n", "AT_HOUR_MS = 17 * HOUR_MS\n"),),
        ("settlement.acceptance_recomputes",),
    ),
    Defect(
        "acceptance.log_read_anew_each_day",
        "The hash of the log before is taken of nothing, so the log is never what it was when it was judged before.",
        (
            Edit(
                _ACCEPTANCE,
                "    problem = None if was == before else",
                "    problem = None if was == _Log(0, sha256().hexdigest()) == now else",
            ),
        ),
        ("settlement.acceptance_passes", "settlement.acceptance_recomputes"),
    ),
)
