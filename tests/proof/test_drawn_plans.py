"""Many drawn plans (PROOF_PLANS, 300 by default): each has one run, in which no promise is broken."""

from __future__ import annotations

import os

from hypothesis import given

from campaigns.strategies import plans
from evidence.plan import Plan
from tests.support.drawn import few, holds


@few(int(os.environ.get("PROOF_PLANS", "300")))
@given(plans())
def test_a_drawn_plan_holds(plan: Plan) -> None:
    holds(plan)
