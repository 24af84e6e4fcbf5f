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

INCIDENTS = frozenset(code for code in ExitCode if code >= ExitCode.DATA_INVALID)
"""What somebody has to look into: a command that ends so leaves an incident file."""

INTERRUPTED = 130
"""Stopped by Ctrl-C, as shells report it: 128 + SIGINT."""

MEANING: dict[int, str] = {
    ExitCode.SUCCESS: "PASS, CLOSE; or what was asked for is so",
    ExitCode.USAGE: "wrong usage, or nothing can be written there",
    ExitCode.BUSINESS_REJECT: "FAIL: a promise was broken; HOLD: an iteration may not close",
    ExitCode.BUSINESS_SKIP: "another command is writing to the run root, and was not waited for",
    ExitCode.INCONCLUSIVE: "INCONCLUSIVE: nothing broke, but something was not exercised",
    ExitCode.DATA_INVALID: "a scenario, feed, plan, runbook or policy cannot be used",
    ExitCode.STATE_CORRUPT: "evidence does not verify, a replay differs, or the run root is frozen for it",
    ExitCode.LOCK_TIMEOUT: "the lock of the run root was waited for in vain, or is stale",
    ExitCode.INTERNAL_ERROR: "a bug of ours",
    ExitCode.ANOMALY_HALT: "--halt-on-anomaly ended the run early; what there was of it is judged and kept",
    INTERRUPTED: "stopped by Ctrl-C; nothing half-written is left",
}
"""The codes that today's commands end with, as `absence --help` lists them."""
