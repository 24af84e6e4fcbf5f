"""Defects of the life of contests and of who is let in: instants, minimum, guarantee, clocks."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_CONTESTS = "contest_platform/services/contests.py"
_ACCESS = "contest_platform/access.py"

CATALOGUE = (
    Defect(
        "lifecycle.base64_of_files",
        "Tokens are decoded as files are, whose alphabet has two letters that those of the web have not.",
        (
            Edit(
                _ACCESS,
                '    return a2b_base64(part.encode("ascii").translate(_STANDARD) + b"=" * (-len(part) % 4), '
                "strict_mode=True)\n",
                '    return a2b_base64(part.encode("ascii") + b"=" * (-len(part) % 4), strict_mode=True)\n',
            ),
        ),
        ("lifecycle.customers_are_let_in",),
    ),
    Defect(
        "lifecycle.clocks_agree",
        "A token that is issued in the future is a forgery, it was said; the clock of our host was behind.",
        (Edit(_ACCESS, "SKEW_MS = 15 * 60_000\n", "SKEW_MS = 0\n"),),
        ("lifecycle.customers_are_let_in",),
        faults=(
            Fault(
                "platform.clock_skew",
                params={"host": "lin-app-1", "direction": "behind", "over": "entries", "offset_s": 600},
            ),
        ),
    ),
    Defect(
        "lifecycle.completion_signal_ignored",
        "A contest ends when it says that it ends, and that the provider has called it over earlier is not looked at.",
        (
            Edit(
                _CONTESTS,
                '    return int(contest["end_at"] if completed_at is None else min(contest["end_at"], completed_at))\n',
                '    return int(contest["end_at"])\n',
            ),
        ),
        ("lifecycle.on_time",),
    ),
    Defect(
        "lifecycle.guarantee_or_minimum",
        "An `and` became an `or`: what is not guaranteed is cancelled, however many have paid.",
        (
            Edit(
                _CONTESTS,
                '    if valid == 0 or (contest["guaranteed_cents"] is None and valid < contest["min_entries"]):\n',
                '    if valid == 0 or contest["guaranteed_cents"] is None or valid < contest["min_entries"]:\n',
            ),
        ),
        ("lifecycle.under_minimum_is_cancelled_guaranteed_runs",),
    ),
    Defect(
        "lifecycle.hold_forgotten",
        "The hold after the end was a setting of the contest that one place did not read.",
        (
            Edit(
                _CONTESTS,
                '    cutoff_at = tx.now + contest["hold_s"] * SECOND_MS\n',
                "    cutoff_at = tx.now\n",
            ),
        ),
        ("settlement.waits_for_official_scores", "lifecycle.on_time"),
    ),
    Defect(
        "lifecycle.minimum_not_asked",
        "A contest that has anybody in it runs: the minimum is a thing of the page that sells it.",
        (
            Edit(
                _CONTESTS,
                '    if valid == 0 or (contest["guaranteed_cents"] is None and valid < contest["min_entries"]):\n',
                "    if valid == 0:\n",
            ),
        ),
        ("lifecycle.under_minimum_is_cancelled_guaranteed_runs", "lifecycle.cancelled_are_refunded"),
        "incident_webhook_before_row",
    ),
)
