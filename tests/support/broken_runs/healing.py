"""Runs in which healing breaks its promises: hosts that stay as they are, orders half over, ids that lead nowhere."""

from __future__ import annotations

from assertions.model import Status
from tests.support.broken_runs.change import add, breaks, remove, row
from tests.support.fake_evidence import FakeEvidence

ORDERS, RULES, TOLD = "platform.remediation_orders", "platform.healing_rules", "platform.healing_telemetry"


@breaks("healing.drifts_healed")
def a_host_is_not_healed(evidence: FakeEvidence) -> None:
    remove(evidence, "hosts.drifts", state="right")


@breaks("healing.drifts_healed")
def it_comes_back_and_stays(evidence: FakeEvidence) -> None:
    right = row(evidence, "hosts.drifts", state="right")
    add(evidence, "hosts.drifts", **{**right, "n": 3, "at": right["at"] + 60_000, "state": "wrong", "by": "policy"})


@breaks("healing.drifts_healed")
def one_that_may_stay_unhealed_is_silently_pending(evidence: FakeEvidence) -> None:
    remove(evidence, "hosts.drifts", state="right")
    evidence.plan = evidence.plan.model_copy(update={"unhealed": ["hosts.smb_signing"]})


@breaks("healing.drifts_healed")
def another_may_stay_unhealed(evidence: FakeEvidence) -> None:
    remove(evidence, "hosts.drifts", state="right")
    evidence.plan = evidence.plan.model_copy(update={"unhealed": ["hosts.srv_firewall"]})


@breaks("healing.drifts_healed", Status.INCONCLUSIVE)
def the_hosts_tell_of_no_drift(evidence: FakeEvidence) -> None:
    evidence.books["hosts.drifts"].clear()


@breaks("healing.orders_are_over")
def an_order_is_left(evidence: FakeEvidence) -> None:
    evidence.books[ORDERS][0].update(status="ACKNOWLEDGED", finished_at=None)


@breaks("healing.orders_are_over")
def an_order_is_completed_and_its_incident_is_not(evidence: FakeEvidence) -> None:
    row(evidence, "platform.incidents", incident_id="in-1").update(status="OPEN", resolved_at=None)


@breaks("healing.orders_are_over")
def an_order_is_completed_and_its_host_ran_nothing(evidence: FakeEvidence) -> None:
    for asked in evidence.books["hosts.requests"]:
        asked.update(ran=False, outcome="refused")


@breaks("healing.orders_are_over")
def an_order_is_acknowledged_by_a_host_that_it_never_reached(evidence: FakeEvidence) -> None:
    evidence.books[ORDERS][0]["delivered_at"] = None


@breaks("healing.ids_resolve")
def the_ids_of_the_rules_are_of_another_kind(evidence: FakeEvidence) -> None:
    row(evidence, RULES, rule_id="L1-2")["rule_id"] = "RB-AUTO-SMB_SIGN"


@breaks("healing.ids_resolve")
def an_id_is_cut_to_the_width_of_a_column(evidence: FakeEvidence) -> None:
    told = row(evidence, TOLD, rule_id="L1-3")
    told["rule_id"] = told["rule_id"][:2]


@breaks("healing.ids_resolve")
def a_promoted_rule_maps_to_no_runbook(evidence: FakeEvidence) -> None:
    row(evidence, RULES, source="promoted")["runbook_id"] = "placeholder"


@breaks("healing.ids_resolve")
def a_builtin_rule_is_served_twice(evidence: FakeEvidence) -> None:
    served = row(evidence, RULES, rule_id="L1-1")
    evidence.books[RULES].append({**served, "rule_id": "L1-1-again"})


@breaks("healing.ids_resolve")
def nothing_is_told_of_an_order(evidence: FakeEvidence) -> None:
    remove(evidence, TOLD, order_id="or-2")


@breaks("healing.looked_at_again")
def nobody_looks_again(evidence: FakeEvidence) -> None:
    asked = evidence.books["hosts.requests"]
    asked.remove(max(asked, key=lambda one: one["at"]))


@breaks("healing.rules_are_earned")
def a_rule_is_promoted_for_nothing(evidence: FakeEvidence) -> None:
    remove(evidence, TOLD, telemetry_id="te-l2-4")


@breaks("healing.rules_are_earned")
def what_helped_five_times_is_no_rule(evidence: FakeEvidence) -> None:
    row(evidence, RULES, source="promoted").update(status="CANDIDATE", promoted_at=None)


@breaks("healing.rules_are_earned")
def a_promoted_rule_never_heals_and_is_served_on(evidence: FakeEvidence) -> None:
    for n in range(3):
        evidence.books[ORDERS].append({**evidence.books[ORDERS][0], "order_id": f"vain-{n}", "rule_id": "L1-3",
                                       "status": "EXPIRED"})  # fmt: skip
