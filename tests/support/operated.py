"""A page, and the runbook that ops carried out for it; and one that the clock opened: written the way an honest pager,
operator and platform do."""

from __future__ import annotations

import json
from hashlib import sha256

from tests.support.observed import OPS, called, observe
from tests.support.scribe import Scribe

EXECUTION, INCIDENT = "execution_1", "PayoutTransferStuck:contest_id=c1"
DOCUMENT = """---
id: payout_stuck
alerts: [PayoutTransferStuck]
---
# A payout is stuck

## Diagnosis

1. See which transfer it is.

   ```sh
   opsctl transfers list --contest {alert.contest_id}
   ```

   ```expect
   ...
   capture transfer: /^transfer_id=(\\S+)/
   ```

## Recovery

1. Send it again.

   ```sh
   opsctl transfers retry {transfer}
   ```
"""
PROCEDURE = """---
id: weekly_look
schedule: weekly on sunday at 14:00
---
# Look around
"""
EXERCISE = """---
id: exercise
---
# What the plan orders once
"""
SUNDAY_14_00 = (1_780_840_800_000, 1_781_445_600_000)
"""2026-06-07 and a week later. The run ends the day before the Sunday after."""
RULES = """groups:
  - name: payouts
    rules:
      - alert: PayoutTransferStuck
        expr: time() - payout_transfer_retryable_oldest_timestamp_seconds > 60
        for: 1m
        labels: {severity: error}
        annotations: {runbook_url: runbooks/payout_stuck.md}
      - alert: Watchdog
        expr: vector(1)
        labels: {severity: none}
        annotations: {when_missed: AlertingDown, runbook_url: runbooks/alerting_down.md}
"""
STATE = '{"ledger_out_of_balance":"0"}'
LABELS = {"alertname": "PayoutTransferStuck", "contest_id": "c1"}
STEPS = (
    ("Diagnosis", "opsctl transfers list --contest {alert.contest_id}", "opsctl transfers list --contest c1",
     "transfer_id=tf-u1 status=RETRYABLE\n"),
    ("Recovery", "opsctl transfers retry {transfer}", "opsctl transfers retry tf-u1", "accepted: transfer_id=tf-u1\n"),
)  # fmt: skip


def begin_watching(scribe: Scribe) -> None:
    """The documents are in force, and alerting begins."""
    texts = {"payout_stuck.md": DOCUMENT, "weekly_look.md": PROCEDURE, "exercise.md": EXERCISE}
    scribe.evidence.texts["runbooks"] = texts
    scribe.evidence.texts["alerts"] = {"payouts.yml": RULES}
    _alert(scribe, "firing", "Watchdog", "Watchdog", "none")


def operate(scribe: Scribe) -> None:
    details = json.dumps({"labels": LABELS, "runbook_url": "runbooks/payout_stuck.md"})
    _alert(scribe, "firing", LABELS["alertname"], INCIDENT, "error")
    scribe.note("pager.events", at=scribe.now, action="trigger", dedup_key=INCIDENT, severity="error", details=details)
    scribe.now += 300_000
    by = json.dumps({"by": OPS})
    scribe.note("pager.events", at=scribe.now, action="acknowledge", dedup_key=INCIDENT, severity="", details=by)
    called(scribe, scribe.now, "POST /api/admin/runbooks/start")
    row = scribe.insert(
        "runbook_executions", OPS, id=EXECUTION, runbook_name="payout_stuck", runbook_version="1.0.0", executed_by=OPS,
        status="in_progress", start_time=scribe.now, created_at=scribe.now, updated_at=scribe.now,
        system_state_before=STATE,
    )  # fmt: skip
    _of_the_execution(scribe)
    _note(scribe, "started", detail=sha256(DOCUMENT.encode()).hexdigest())
    bindings = {f"alert.{name}": value for name, value in LABELS.items()}
    for n, (section, template, sent, output) in enumerate(STEPS, 1):
        told = {
            "template": template, "template_sha256": sha256(template.encode()).hexdigest(), "sent": sent,
            "exit_status": 0, "output": output, "matched": "expected", "ok": True,
            "line": 1 + [line.strip() for line in DOCUMENT.split("\n")].index(template),
            "bindings": json.dumps(bindings, sort_keys=True, separators=(",", ":")),
        }  # fmt: skip
        if section == "Recovery":
            called(scribe, scribe.now, "POST /api/admin/transfers/retry")
            why = f"runbook step {section}/1"
            scribe.audit(
                OPS, "ops.transfers_retry", "admin/api/admin/transfers/retry", {"transfer_id": "tf-u1"}, reason=why
            )
            _of_the_execution(scribe)
        _note(scribe, "step", step=f"{section}/1", **told)
        scribe.insert(
            "runbook_execution_steps", OPS, execution_id=EXECUTION, n=n, at=scribe.now, section=section, number=1,
            file="runbooks/payout_stuck.md", **told,
        )  # fmt: skip
        _of_the_execution(scribe)
        bindings["transfer"] = "tf-u1"
    scribe.now += 60_000
    _note(scribe, "completed")
    called(scribe, scribe.now, "POST /api/admin/runbooks/complete")
    scribe.update("runbook_executions", OPS, row, status="completed", end_time=scribe.now, updated_at=scribe.now,
                  duration_seconds=60, result_json=json.dumps({"steps": len(STEPS)}),
                  system_state_after=STATE)  # fmt: skip
    _of_the_execution(scribe)
    _alert(scribe, "resolved", LABELS["alertname"], INCIDENT, "error")
    scribe.note("pager.events", at=scribe.now, action="resolve", dedup_key=INCIDENT, severity="error", details="{}")


def _alert(scribe: Scribe, state: str, alert: str, key: str, severity: str) -> None:
    labels = json.dumps({**(LABELS if key == INCIDENT else {"alertname": alert}), "severity": severity})
    scribe.note(
        "monitoring.alerts", at=scribe.now, alert=alert, dedup_key=key, labels=labels, state=state, active_at=scribe.now
    )


def look_around(scribe: Scribe) -> None:
    """Each Sunday that is left of the run; and between them once what the plan orders, a drill."""
    first, second = SUNDAY_14_00
    _carry_out(scribe, first, "look_1", "weekly_look:1", "weekly_look", PROCEDURE)
    [drill] = scribe.evidence.plan.drills
    _carry_out(scribe, drill.at, "drilled", drill.id, drill.runbook, EXERCISE)
    _carry_out(scribe, second, "look_2", "weekly_look:2", "weekly_look", PROCEDURE)


def _carry_out(scribe: Scribe, at: int, execution: str, incident: str, runbook: str, text: str) -> None:
    """A runbook without a step, begun three minutes after `at`."""
    began_at, told = at + 180_000, {"incident": incident, "runbook": runbook, "execution_id": execution}
    observe(scribe, began_at)
    scribe.now = began_at
    row = scribe.insert(
        "runbook_executions", OPS, id=execution, runbook_name=runbook, runbook_version="1.0.0",
        executed_by=OPS, status="in_progress", start_time=began_at, created_at=began_at, updated_at=began_at,
        system_state_before=STATE,
    )  # fmt: skip
    _of_the_execution(scribe, execution)
    called(scribe, scribe.now, "POST /api/admin/runbooks/start")
    _note(scribe, "started", **told, detail=sha256(text.encode()).hexdigest())
    scribe.now += 60_000
    _note(scribe, "completed", **told)
    called(scribe, scribe.now, "POST /api/admin/runbooks/complete")
    scribe.update("runbook_executions", OPS, row, status="completed", end_time=scribe.now, updated_at=scribe.now,
                  duration_seconds=60, result_json='{"steps":0}', system_state_after=STATE)  # fmt: skip
    _of_the_execution(scribe, execution)


def _of_the_execution(scribe: Scribe, execution: str = EXECUTION) -> None:
    scribe.books["platform.audit_log"][-1]["correlation"] = execution


def _note(scribe: Scribe, action: str, **columns: object) -> None:
    told = {"incident": INCIDENT, "runbook": "payout_stuck", "execution_id": EXECUTION, "detail": "", **columns}
    scribe.note("operator.notebook", at=scribe.now, principal=OPS, action=action, version="1.0.0", **told)
