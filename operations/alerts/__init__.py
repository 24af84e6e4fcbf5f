"""Prometheus alerting rules: read, checked, and evaluated on the run's own clock.

    read(paths)            rule files → groups; RulesInvalid says everything that is wrong with them
    Store.series(…)        what is measured: samples, or values that hold until the next
    Engine(groups, store)  what is pending, firing and resolved, by transition instead of by minute

Invariant: what fires, and when, is what Prometheus 2 makes of the same rules and samples.
"""

from operations.alerts.conventions import check_conventions
from operations.alerts.engine import Alert, Change, Engine, Failure
from operations.alerts.located import Mistake, RulesInvalid
from operations.alerts.rules import AlertRule, Group, RecordRule, read, read_text
from operations.alerts.series import Series, Store

__all__ = [
    "Alert",
    "AlertRule",
    "Change",
    "Engine",
    "Failure",
    "Group",
    "Mistake",
    "RecordRule",
    "RulesInvalid",
    "Series",
    "Store",
    "check_conventions",
    "read",
    "read_text",
]
