"""The error budget: how many of a calendar month's requests may go unserved, and what is left of that.

It is counted by a process for its own life: a process that begins anew begins with a whole budget.
"""

from __future__ import annotations

from contest_platform.instants import rfc3339
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import Metrics

MAY_FAIL = 100
"""One request of so many."""
REQUESTS_MIN = 1_000
"""A month has at least so many requests, as long as it has not shown otherwise."""
DAY_MS = 24 * HOUR_MS


class ErrorBudget:
    def __init__(self, metrics: Metrics, now: int) -> None:
        self._metrics, self._month, self._same_until, self._since_at = metrics, "", 0, 0
        self._requests = self._failures = 0
        self._failed_at: int | None = None
        self._code = ""
        self._turn(now)

    def asked(self, now: int) -> None:
        """A request has come."""
        if now >= self._same_until:
            self._turn(now)
        self._requests += 1

    def failed(self, now: int, code: str) -> None:
        """It was not served, for what `code` says."""
        self._failures += 1
        self._failed_at, self._code = now, code
        self._export()

    def standing(self, now: int) -> dict[str, int | str | None]:
        """Of this month, and of this life of the process. `quiet_s`: for how long every request has been served.
        `counted_s`: for how long it has been counted."""
        failed_at = self._failed_at
        return {
            "month": self._month, "requests": self._requests, "failures": self._failures,
            "allowed": int(self._allowed()), "last_failed_at": failed_at, "last_code": self._code or None,
            "quiet_s": None if failed_at is None else (now - failed_at) // 1000,
            "counted_s": (now - self._since_at) // 1000,
        }  # fmt: skip

    def _turn(self, now: int) -> None:
        """It is another day, in UTC, and perhaps another month, which has all of its budget."""
        self._same_until = now - now % DAY_MS + DAY_MS
        month = rfc3339(now)[:7]
        if month != self._month:
            self._month, self._requests, self._failures, self._since_at = month, 0, 0, now
            self._export()

    def state(self) -> dict[str, int | str]:
        """How it stands, in basis points. `burn_rate_bp`: 10,000 is a rate of failures that would use up a month's
        budget in just that month."""
        return {
            "month": self._month,
            "since_at": self._since_at,
            "requests": self._requests,
            "failures": self._failures,
            "error_rate_bp": self._failures * 10_000 // max(self._requests, 1),
            "burn_rate_bp": self._failures * 10_000 * MAY_FAIL // max(self._requests, 1),
            "budget_remaining_bp": 10_000 - self._failures * 10_000 * MAY_FAIL // max(self._requests, REQUESTS_MIN),
        }

    def _export(self) -> None:
        self._metrics.set("error_budget_remaining", 1 - self._failures / self._allowed())

    def _allowed(self) -> float:
        return max(self._requests, REQUESTS_MIN) / MAY_FAIL
