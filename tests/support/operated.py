"""A page, and the runbook that ops carried out for it; and one that the clock opened: written the way an honest pager,
operator and platform do."""

from __future__ import annotations

import json
from hashlib import sha256

from tests.support.scribe import Scribe

EXECUTION, INCIDENT, OPS = "execution_1", "PayoutTransferStuck:contest_id=c1", "ops:kim"
DOCUMENT = """# A payout is stuck

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
SUNDAY_14_00 = (1_780_840_800_000, 1_781_445_600_000)
"""2026-06-07 and a week later. The run ends the day before the Sunday after."""
LABELS = {"alertname": "PayoutTransferStuck", "contest_id": "c1"}
STEPS = (
    ("Diagnosis", "opsctl transfers list --contest {alert.contest_id}", "opsctl transfers list --contest c1",
     "transfer_id=tf-u1 status=RETRYABLE\n"),
    ("Recovery", "opsctl transfers retry {transfer}", "opsctl transfers retry tf-u1", "accepted: transfer_id=tf-u1\n"),
)  # fmt: skip


def operate(scribe: Scribe) -> None:
    scribe.evidence.texts["runbooks"] = {"payout_stuck.md": DOCUMENT, "weekly_look.md": PROCEDURE}
    details = json.dumps({"labels": LABELS, "runbook_url": "runbooks/payout_stuck.md"})
    for action in ("trigger", "acknowledge"):
        scribe.note("pager.events", at=scribe.now, action=action, dedup_key=INCIDENT, severity="error", details=details)
    row = scribe.insert(
        "runbook_executions", OPS, id=EXECUTION, runbook_name="payout_stuck", runbook_version="1.0.0", executed_by=OPS,
        status="in_progress", start_time=scribe.now, created_at=scribe.now, updated_at=scribe.now,
    )  # fmt: skip
    _of_the_execution(scribe)
    _note(scribe, "started")
    bindings = {f"alert.{name}": value for name, value in LABELS.items()}
    for n, (section, template, sent, output) in enumerate(STEPS, 1):
        told = {
            "template": template, "template_sha256": sha256(template.encode()).hexdigest(), "sent": sent,
            "exit_status": 0, "output": output, "matched": "expected", "ok": True,
            "line": 1 + [line.strip() for line in DOCUMENT.split("\n")].index(template),
            "bindings": json.dumps(bindings, sort_keys=True, separators=(",", ":")),
        }  # fmt: skip
        _note(scribe, "step", step=f"{section}/1", **told)
        scribe.insert(
            "runbook_execution_steps", OPS, execution_id=EXECUTION, n=n, at=scribe.now, section=section, number=1,
            file="runbooks/payout_stuck.md", **told,
        )  # fmt: skip
        _of_the_execution(scribe)
        bindings["transfer"] = "tf-u1"
    scribe.now += 60_000
    _note(scribe, "completed")
    scribe.update("runbook_executions", OPS, row, status="completed", end_time=scribe.now, updated_at=scribe.now,
                  duration_seconds=60)  # fmt: skip
    _of_the_execution(scribe)


def look_around(scribe: Scribe) -> None:
    """Each Sunday that is left of the run."""
    for n, due_at in enumerate(SUNDAY_14_00, 1):
        execution, began_at = f"look_{n}", due_at + 180_000
        told = {"incident": f"weekly_look:{n}", "runbook": "weekly_look", "execution_id": execution}
        scribe.now = began_at
        row = scribe.insert(
            "runbook_executions", OPS, id=execution, runbook_name="weekly_look", runbook_version="1.0.0",
            executed_by=OPS, status="in_progress", start_time=began_at, created_at=began_at, updated_at=began_at,
        )  # fmt: skip
        _of_the_execution(scribe, execution)
        _note(scribe, "started", **told)
        scribe.now += 60_000
        _note(scribe, "completed", **told)
        scribe.update("runbook_executions", OPS, row, status="completed", end_time=scribe.now, updated_at=scribe.now,
                      duration_seconds=60)  # fmt: skip
        _of_the_execution(scribe, execution)


def _of_the_execution(scribe: Scribe, execution: str = EXECUTION) -> None:
    scribe.books["platform.audit_log"][-1]["correlation"] = execution


def _note(scribe: Scribe, action: str, **columns: object) -> None:
    told = {"incident": INCIDENT, "runbook": "payout_stuck", "execution_id": EXECUTION, **columns}
    scribe.note("operator.notebook", at=scribe.now, principal=OPS, action=action, version="1.0.0", detail="", **told)
