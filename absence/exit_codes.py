"""The exit codes of `absence`, for people and for CI. 2 is wrong usage, as everywhere."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    SUCCESS = 0
    USAGE = 2
    BUSINESS_REJECT = 10
    BUSINESS_SKIP = 11
    INCONCLUSIVE = 12
    DATA_INVALID = 20
    STATE_CORRUPT = 30
    LOCK_TIMEOUT = 40
    INTERNAL_ERROR = 50
    ANOMALY_HALT = 60


BY_STATUS = {
    "PASS": ExitCode.SUCCESS,
    "FAIL": ExitCode.BUSINESS_REJECT,
    "INCONCLUSIVE": ExitCode.INCONCLUSIVE,
}
