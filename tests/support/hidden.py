"""Defects hidden among twenty faults: which of them each needs is known, and no other has anything to do with it.

Invariant: that a set is the least is tried, not believed: all of it breaks the promise, and with one less nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from defects import defect
from evidence.plan import Plan
from scenarios import load, make_plan
from tests.support.command import CANCELLED, ROOT

FAULTS = 20
SMALL = (ROOT / "scenarios" / "small.yaml").read_text()
BASE = (SMALL + CANCELLED).replace("pool: 30, abandon_bp: 500", "pool: 40, abandon_bp: 1500")
"""Two small contests: one runs, the other is cancelled. In seed 1 several entries of both are never paid."""
OTHERS = (
    "webhooks.duplicate", "webhooks.lost", "timeouts.intent_answer_lost", "provider.empty", "webhooks.delayed",
    "timeouts.transfer_answer_lost", "provider.correction", "violations.revoked_probe", "platform.crash",
    "webhooks.twin", "timeouts.refund_answer_lost", "provider.stale", "provider.outage", "processor.rate_limited",
    "timeouts.cancel_answer_lost", "winrm.refused", "webhooks.duplicate", "provider.wrong_event",
    "corrections.reverted", "endpoint.stale_signature", "timeouts.database_answer_lost", "golfers.withdrawn",
    "provider.malformed", "webhooks.lost", "timeouts.transfer_request_lost", "webhooks.before_row",
    "customers.chargeback_won", "webhooks.delayed", "webhooks.twin", "webhooks.duplicate",
)  # fmt: skip
"""Faults that the platform gets over, and that do not disturb one another."""

_PAYOUTS = ("timeouts.transfer", "processor.", "timeouts.database")
_REFUNDS = ("timeouts.refund", "webhooks.before_row", "customers.")
_CANCELS = ("timeouts.cancel",)
_POLLS = ("provider.outage", "provider.malformed")
_CORRECTIONS = ("provider.correction", "corrections.", "golfers.")
_CRASHES = ("platform.crash", "winrm.")


@dataclass(frozen=True)
class Hidden:
    """`near`: what the faults begin with that the defect might show under too: none of them is among the others."""

    defect: str
    near: Sequence[str] = ()

    def needed(self) -> list[dict[str, Any]]:
        """The least set of faults, as items of a scenario."""
        return [fault.item() for fault in defect(self.defect).faults or ()]

    @property
    def least(self) -> int:
        return sum(fault.count for fault in defect(self.defect).faults or ())

    def alone(self, folder: Path) -> Plan:
        """The plan with what it needs and nothing else."""
        return _plan(self.needed(), folder)

    def among_others(self, folder: Path) -> Plan:
        """The plan with FAULTS faults, those that it needs somewhere among them."""
        others = [name for name in OTHERS if not name.startswith(tuple(self.near))]
        items = self.needed()
        for count in range(len(others) + 1):
            mixed = [{"fault": name} for name in others[:count]]
            mixed[count // 2 : count // 2] = items
            plan = _plan(mixed, folder)
            if len(plan.faults) == FAULTS:
                return plan
        raise AssertionError(f"{self.defect}: there are not faults enough to hide it among")


def _plan(faults: list[dict[str, Any]], folder: Path) -> Plan:
    path = folder / "hidden.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(BASE), "name": "hidden", "faults": faults}, sort_keys=False))
    return make_plan(load(path), 1)


HIDDEN = (
    Hidden("hidden.anchor_given_up"),
    Hidden("hidden.backoff_by_the_day", _PAYOUTS),
    Hidden("hidden.cancel_in_doubt_is_done", _CANCELS),
    Hidden("hidden.cancellations_stop_after_two", _CANCELS),
    Hidden("hidden.checkpoint_with_failures_not_trusted", (*_POLLS, *_CRASHES)),
    Hidden("hidden.corrections_two_at_most", _CORRECTIONS),
    Hidden("hidden.key_in_use_is_final", _PAYOUTS),
    Hidden("hidden.payouts_rate_limited_thrice", _PAYOUTS),
    Hidden("hidden.payouts_second_doubt_new_key", _PAYOUTS),
    Hidden("hidden.payouts_stop_after_two", _PAYOUTS),
    Hidden("hidden.payouts_third_attempt_is_last", _PAYOUTS),
    Hidden("hidden.payouts_two_kinds_of_trouble", _PAYOUTS),
    Hidden("hidden.polls_budgeted", _POLLS),
    Hidden("hidden.polls_end_with_an_error", _POLLS),
    Hidden("hidden.polls_two_kinds_of_trouble", _POLLS),
    Hidden("hidden.refunds_in_doubt_are_final", _REFUNDS),
    Hidden("hidden.refunds_stop_after_three", _REFUNDS),
    Hidden("hidden.refunds_two_kinds_of_trouble", (*_REFUNDS, "processor.")),
    Hidden("hidden.worker_restarted_once", _CRASHES),
    Hidden("hidden.worker_restarted_twice", _CRASHES),
)
