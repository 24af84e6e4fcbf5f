"""Two incidents of a host, each healed by an order: a worker that crashed, a setting that drifted. Written the way an
honest host, agent and platform do."""

from __future__ import annotations

from evidence.plan import Bite, FaultPlan, Recovery
from tests.support.scribe import Scribe

HOST, HEALING = "win", "system:healing"
MINUTE = 60_000
SERVICE, SIGNING, PROMOTED = "L1-1", "L1-2", "L1-3"
CHECKS = {SERVICE: "service_running", SIGNING: "smb_signing", PROMOTED: "defender_realtime"}
RUNBOOK = "payout_stuck"


def drift() -> FaultPlan:
    return FaultPlan(
        id="f3", fault="hosts.smb_signing", kind="fault", title="A setting drifts", seam="hosts", operation="drift",
        entity=HOST, bite=Bite(book="hosts.drifts", where={"n": "$victim", "host": "$entity", "by": "drift"}),
        recovery=Recovery(by="rule", how="healed", within_s=3_600),
    )  # fmt: skip


def rules(scribe: Scribe) -> None:
    """Two of the release, and one that ops has earned."""
    for rule, check in CHECKS.items():
        source, at = ("promoted", scribe.now) if rule == PROMOTED else ("builtin", None)
        scribe.insert(
            "healing_rules", HEALING, rule_id=rule, source=source, os="windows", check_name=check, runbook_id=RUNBOOK,
            status="ACTIVE", created_at=scribe.now - MINUTE, promoted_at=at,
        )  # fmt: skip


def heal(scribe: Scribe) -> None:
    began_at = scribe.now
    for n in range(5):
        _tell(scribe, f"te-l2-{n}", PROMOTED, "L2", "in-1", None, "WELL")
    _drifted(scribe, "wrong", "drift")
    scribe.note("injector.bites", at=began_at, fault="hosts.smb_signing", fault_id="f3", entity=HOST, victim="1")
    for n, rule in enumerate((SERVICE, SIGNING), 1):
        scribe.now = began_at
        _ordered(scribe, n, rule)
    scribe.now = began_at + 20 * MINUTE
    _asked(scribe)
    scribe.now = began_at


def _ordered(scribe: Scribe, n: int, rule: str) -> None:
    incident = scribe.insert(
        "incidents", HEALING, incident_id=f"in-{n}", host=HOST, check_name=CHECKS[rule], status="OPEN", level="L1",
        reported_at=scribe.now,
    )  # fmt: skip
    order = scribe.insert(
        "remediation_orders", HEALING, order_id=f"or-{n}", incident_id=f"in-{n}", rule_id=rule, runbook_id=RUNBOOK,
        host=HOST, status="ISSUED", issued_at=scribe.now, expires_at=scribe.now + 60 * MINUTE,
    )  # fmt: skip
    scribe.now += MINUTE
    _asked(scribe)
    if rule == SIGNING:
        _drifted(scribe, "right", "command")
    told = {"delivered_at": scribe.now, "acknowledged_at": scribe.now, "finished_at": scribe.now}
    scribe.update("remediation_orders", HEALING, order, status="COMPLETED", **told)
    scribe.update("incidents", HEALING, incident, status="RESOLVED", resolved_at=scribe.now)
    _tell(scribe, f"te-{n}", rule, "L1", f"in-{n}", f"or-{n}", "COMPLETED")


def _drifted(scribe: Scribe, state: str, by: str) -> None:
    scribe.note(
        "hosts.drifts", at=scribe.now, host=HOST, os="windows", setting="smb.signing", check_name="smb_signing",
        value="False" if state == "wrong" else "True", state=state, by=by,
    )  # fmt: skip


def _asked(scribe: Scribe) -> None:
    scribe.note("hosts.requests", at=scribe.now, host=HOST, transport="winrm", outcome="ran", ran=True, answered=True)


def _tell(scribe: Scribe, name: str, rule: str, level: str, incident: str, order: str | None, outcome: str) -> None:
    scribe.insert(
        "healing_telemetry", HEALING, telemetry_id=name, at=scribe.now, level=level, rule_id=rule, runbook_id=RUNBOOK,
        incident_id=incident, order_id=order, host=HOST, check_name=CHECKS[rule], stage="order", outcome=outcome,
    )  # fmt: skip
