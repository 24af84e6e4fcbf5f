"""Plans that Hypothesis has drawn, run: how many, always the same ones, and what has to hold of each."""

from __future__ import annotations

from hypothesis import HealthCheck, event, settings

from campaigns.trial import try_plan
from evidence.plan import Plan
from simulator.operations import NONE


def few(examples: int) -> settings:
    """So many examples, the same in every session."""
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )


def holds(plan: Plan) -> None:
    """Run twice, the plan gives one digest; nothing is broken, and what is not proven has its reason."""
    one, two = (try_plan(plan, NONE, "0" * 64) for _ in range(2))
    assert one == two
    event(one.status)
    assert one.status in ("PASS", "INCONCLUSIVE"), f"{one.first}: {[str(each) for each in one.fingerprints]}"
    assert one.status == "PASS" or one.missing, "inconclusive, and nothing is named"
