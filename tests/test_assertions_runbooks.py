"""The judge on runbook executions: what ops does in one is traced to it, and what it recorded cannot be altered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from assertions.judge import discover
from assertions.model import REGISTRY, Finding, Status, judge_one
from evidence.plan import Drill
from evidence.schemas import BOOKS
from tests.support.admin_world import STEP
from tests.support.broken_runs.change import row
from tests.support.fake_evidence import FakeEvidence
from tests.support.scribe import encode, rechain
from tests.support.small_run import PAID, small_run

discover()

OPS, TRACED, IMAGES = "ops:kim", "absence.changes_trace_to_the_system", "audit.rows_match_images"


def status(evidence: FakeEvidence, assertion: str) -> Status:
    rechain(evidence)
    return judge_one(REGISTRY[assertion], evidence).status  # type: ignore[arg-type]


def told(evidence: FakeEvidence, assertion: str) -> list[str]:
    rechain(evidence)
    found: Finding = judge_one(REGISTRY[assertion], evidence)  # type: ignore[arg-type, assignment]
    return [broken.message for broken in found.broken]


def audited(
    evidence: FakeEvidence, action: str, subject: str, after: Any, before: Any = None, actor: str = OPS,
    correlation: str | None = "x1",
) -> dict[str, Any]:  # fmt: skip
    log = evidence.books["platform.audit_log"]
    one = {
        "seq": len(log) + 1, "at": log[-1]["at"], "actor": actor, "action": action, "subject": subject,
        "before": None if before is None else encode(before), "after": encode(after),
        "reason": "runbook step Recovery/2",
        "correlation": correlation, "cause": log[-1]["cause"],
    }  # fmt: skip
    log.append(one)
    return one


def insert(evidence: FakeEvidence, table: str, **values: Any) -> dict[str, Any]:
    schema = BOOKS[f"platform.{table}"]
    made = {name: values.get(name) for name in schema.columns}
    evidence.books[f"platform.{table}"].append(made)
    subject = f"{table}/" + "/".join(str(made[name]) for name in schema.key)
    audited(evidence, f"{table}.insert", subject, dict(made))
    return made


def executed(*, ended: bool = True) -> FakeEvidence:
    """An honest run in which ops retried u3's transfer in the second step of a runbook."""
    evidence = small_run()
    execution = insert(
        evidence, "runbook_executions", id="x1", runbook_name="transfer_stuck", runbook_version="1.0.0",
        executed_by=OPS, status="in_progress", start_time=PAID, created_at=PAID, updated_at=PAID,
        system_state_before="{}",
    )  # fmt: skip
    audited(evidence, "ops.transfers_retry", "admin/api/admin/transfers/retry", {"transfer_id": "tf-u3"})
    attempts = {"attempts": row(evidence, "platform.transfers", transfer_id="tf-u3")["attempts"]}
    audited(evidence, "transfers.update", "transfers/tf-u3", attempts, attempts)
    insert(evidence, "runbook_execution_steps", **{**STEP, "execution_id": "x1", "at": PAID, "bindings": "{}"})
    if ended:
        end = {
            "status": "completed", "end_time": PAID + 5_000, "duration_seconds": 5, "updated_at": PAID + 5_000,
            "result_json": '{"steps":1}', "system_state_after": "{}",
        }  # fmt: skip
        audited(evidence, "runbook_executions.update", "runbook_executions/x1", end, {n: execution[n] for n in end})
        execution.update(end)
    return evidence


@pytest.mark.parametrize("ended", [True, False])
def test_what_ops_does_in_a_runbook_is_traced_to_it_and_breaks_nothing(ended: bool) -> None:
    evidence = executed(ended=ended)
    for assertion in (TRACED, IMAGES, "audit.chain_holds", "audit.every_row_has_a_cause"):
        assert status(evidence, assertion) is Status.PASS, assertion


def by_somebody_else(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="ops.transfers_retry")["actor"] = "ops:lee"


def under_no_execution(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="ops.transfers_retry")["correlation"] = None


def under_an_execution_that_was_never_begun(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="ops.transfers_retry")["correlation"] = "x2"


def after_its_end(evidence: FakeEvidence) -> None:
    audited(evidence, "ops.transfers_retry", "admin/api/admin/transfers/retry", {})


def begun_in_anothers_name(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="runbook_executions.insert")["actor"] = "ops:lee"


def ended_by_another(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="runbook_executions.update")["actor"] = "ops:lee"


def by_a_founder(evidence: FakeEvidence) -> None:
    row(evidence, "platform.audit_log", action="ops.transfers_retry")["actor"] = "founder:ada"


@pytest.mark.parametrize(
    "change",
    [by_somebody_else, under_no_execution, under_an_execution_that_was_never_begun, after_its_end,
     begun_in_anothers_name, ended_by_another, by_a_founder],
)  # fmt: skip
def test_what_ops_does_otherwise_is_told(change: Callable[[FakeEvidence], None]) -> None:
    evidence = executed()
    change(evidence)
    assert status(evidence, TRACED) is Status.FAIL
    assert "outside any runbook step" in told(evidence, TRACED)[0]


def test_a_refusal_outside_a_runbook_changes_nothing() -> None:
    evidence = executed()
    audited(evidence, "refuse.transfers_retry", "admin/api/admin/transfers/retry", {}, correlation="runbooks")
    assert status(evidence, TRACED) is Status.PASS


@pytest.mark.parametrize(
    ("book", "change"),
    [
        ("platform.runbook_executions", {"status": "failed"}),
        ("platform.runbook_executions", {"executed_by": "ops:lee"}),
        ("platform.runbook_executions", {"duration_seconds": 4}),
        ("platform.runbook_execution_steps", {"sent": "opsctl transfers retry tf-u1"}),
        ("platform.runbook_execution_steps", {"ok": False}),
        ("platform.runbook_execution_steps", {"output": ""}),
    ],
    ids=str,
)
def test_a_record_that_is_not_what_was_audited_is_told(book: str, change: dict[str, Any]) -> None:
    evidence = executed()
    evidence.books[book][0].update(change)
    assert [message.partition(":")[2].split()[0] for message in told(evidence, IMAGES)] == list(change)


@pytest.mark.parametrize("book", ["platform.runbook_executions", "platform.runbook_execution_steps"])
def test_a_record_that_is_gone_or_was_never_audited_is_told(book: str) -> None:
    evidence = executed()
    made = evidence.books[book].pop()
    assert "is no longer in the database" in told(evidence, IMAGES)[0]
    evidence = executed()
    evidence.books[book].append({**made, BOOKS[book].key[0]: "x9"})
    assert "no audit row tells of it" in told(evidence, IMAGES)[0]


# --- the notebook and the record --------------------------------------------------------------------------------------


def noted(*steps: dict[str, Any]) -> FakeEvidence:
    """The execution with the notebook of whoever carried it out, in which these steps stand."""
    evidence = executed()
    columns = dict.fromkeys(BOOKS["operator.notebook"].columns)
    of = {"principal": OPS, "incident": "i1", "runbook": "transfer_stuck", "version": "1.0.0", "execution_id": "x1"}
    evidence.plan = evidence.plan.model_copy(update={"drills": []})
    rows = [{"action": "started"}, *({"action": "step", **step} for step in steps), {"action": "completed"}]
    notebook = evidence.books["operator.notebook"]
    notebook += [
        {**columns, "n": n, "at": PAID, "detail": "", **of, **row} for n, row in enumerate(rows, len(notebook) + 1)
    ]
    return evidence


SENT = {
    "step": "Recovery/2",
    "bindings": "{}",
    **{
        name: STEP[name]
        for name in ("line", "template", "template_sha256", "sent", "exit_status", "output", "matched", "ok")
    },
}
NOT_NEEDED = {**SENT, "step": "Rollback/1", "sent": "", "exit_status": None, "output": "", "matched": "not needed"}


def test_what_was_sent_is_on_record_and_what_was_not_sent_need_not_be() -> None:
    assert told(noted(SENT), "runbooks.on_record") == []
    two = noted(SENT, NOT_NEEDED)
    row(two, "platform.runbook_executions", id="x1")["result_json"] = '{"steps":2}'
    assert told(two, "runbooks.on_record") == []
    missing = "the steps of transfer_stuck on record are not those in the notebook"
    assert missing in told(noted(SENT, {**SENT, "step": "Recovery/3"}), "runbooks.on_record")
    assert told(noted(NOT_NEEDED), "runbooks.on_record") == [missing]
    assert told(noted({**SENT, "bindings": '{"transfer":"payout_2"}'}), "runbooks.on_record") == [missing]


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("result_json", None, "its result"),
        ("result_json", '{"steps":2}', "its result"),
        ("error_reason", "who knows", "why it ended so"),
        ("system_state_before", None, "the state before it"),
        ("system_state_after", None, "the state after it"),
        ("end_time", PAID - 1, "when it was"),
        ("start_time", PAID + 1, "when it was"),
    ],
)
def test_what_a_record_leaves_out_is_named(column: str, value: Any, what: str) -> None:
    evidence = noted(SENT)
    row(evidence, "platform.runbook_executions", id="x1")[column] = value
    assert told(evidence, "runbooks.on_record") == [f"the record of transfer_stuck lacks {what}"]


# --- drills -----------------------------------------------------------------------------------------------------------

DRILLS, DAY_MS = "runbooks.drills_performed", 86_400_000


def ordered(evidence: FakeEvidence, *, runbook: str = "transfer_stuck", earlier_ms: int = 60_000) -> FakeEvidence:
    """The execution is that of a drill, which was to be `earlier_ms` before it."""
    [execution] = [row for row in evidence.books["platform.runbook_executions"] if row["id"] == "x1"]
    for step in evidence.books["operator.notebook"]:
        if step["execution_id"] == "x1":
            step["incident"] = "drill:1"
    drill = Drill(id="drill:1", runbook=runbook, at=execution["start_time"] - earlier_ms)
    evidence.plan = evidence.plan.model_copy(update={"drills": [drill]})
    return evidence


def test_a_drill_that_was_performed_is_seen_and_where_none_was_planned_none_is_owed() -> None:
    assert status(noted(SENT), DRILLS) is Status.NOT_APPLICABLE
    assert status(ordered(noted(SENT)), DRILLS) is Status.PASS


def test_a_drill_is_performed_by_its_own_runbook_to_its_end_in_time_and_by_the_record() -> None:
    evidence = ordered(noted(SENT))
    evidence.books["operator.notebook"] = []
    assert told(evidence, DRILLS) == ["transfer_stuck was ordered and nobody began it"]
    other = ordered(noted(SENT), runbook="restart_services")
    assert "the record has transfer_stuck completed by" in told(other, DRILLS)[0]
    for name, value in (("status", "failed"), ("executed_by", "engineer:jo")):
        evidence = ordered(noted(SENT))
        row(evidence, "platform.runbook_executions", id="x1")[name] = value
        assert f"{value}" in told(evidence, DRILLS)[0]
    evidence = ordered(noted(SENT))
    evidence.books["platform.runbook_executions"] = []
    assert "the record has nothing" in told(evidence, DRILLS)[0]
    assert "was ordered for" in told(ordered(noted(SENT), earlier_ms=-1), DRILLS)[0]
    assert "was ordered for" in told(ordered(noted(SENT), earlier_ms=DAY_MS), DRILLS)[0]
