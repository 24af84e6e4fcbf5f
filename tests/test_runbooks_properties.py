"""Executing runbooks drawn at random: whatever step of whatever document fails, it is undone, on record, escalated."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from operations.runbooks import Output, check
from operations.runbooks.match import judge
from tests.support.runbook_execution import assert_on_record, carried_out, runbook_step
from tests.support.runbooks import KNOWN, LINES, Drawn, apply_patch, documents, parsed

QUICK = settings(max_examples=40, deadline=None)


@QUICK
@given(documents())
def test_every_drawn_document_passes_the_check_and_is_carried_out_to_its_end(drawn: Drawn) -> None:
    runbook = parsed(drawn.source)
    assert check([runbook], KNOWN) == []
    outcome, control = carried_out(runbook, drawn.answers)
    assert (outcome.status, outcome.escalation) == ("completed", None)
    assert control.sent == drawn.forward
    assert_on_record(outcome, control, runbook)


@QUICK
@given(documents(), LINES)
def test_whatever_step_fails_it_is_rolled_back_and_escalated_with_a_patch_that_fits(
    drawn: Drawn, said: list[str]
) -> None:
    runbook = parsed(drawn.source)
    bad = Output(9, "\n".join(said))
    for index, failing in enumerate(drawn.forward):
        outcome, control = carried_out(runbook, {**drawn.answers, failing: bad})
        went = drawn.forward[: index + 1]
        tries = control.sent.count(failing)
        assert tries == 1 or runbook_step(runbook, failing).expectation.every_s
        assert list(dict.fromkeys(control.sent)) == went + drawn.undoing(went)
        assert_on_record(outcome, control, runbook)
        assert outcome.status == "failed"
        assert [status for status, _, _ in control.of("complete")] == ["failed"]
        escalation = outcome.escalation
        assert escalation is not None
        assert (escalation.failed_step, escalation.rolled_back) == (failing, True)
        mended = parsed(apply_patch(drawn.source, escalation.patch))
        failed = next(record for record in outcome.records if record.matched == "mismatch")
        took = failed.ended_at - failed.began_at
        assert judge(runbook_step(mended, failing), bad, failed.bindings, took).ok
        assert not judge(runbook_step(runbook, failing), bad, failed.bindings, took).ok


@QUICK
@given(documents(), st.data())
def test_whatever_step_of_rollback_fails_nothing_more_is_sent(drawn: Drawn, data: st.DataObject) -> None:
    runbook = parsed(drawn.source)
    failing = data.draw(st.sampled_from(drawn.forward))
    due = drawn.undoing(drawn.forward[: drawn.forward.index(failing) + 1])
    if not due:
        return
    worse = data.draw(st.sampled_from(due))
    outcome, control = carried_out(runbook, {**drawn.answers, failing: Output(9, "no"), worse: Output(9, "no")})
    assert control.sent[-1] == worse
    assert list(dict.fromkeys(control.sent))[-1 - due.index(worse) :] == due[: due.index(worse) + 1]
    assert outcome.escalation is not None
    assert (outcome.escalation.failed_step, outcome.escalation.rolled_back) == (failing, False)


@QUICK
@given(documents())
def test_every_branch_of_every_document_leads_where_it_says(drawn: Drawn) -> None:
    runbook = parsed(drawn.source)
    usual, _ = carried_out(runbook, drawn.answers)
    taken = {(f"{one.section}/{one.number}", one.matched) for one in usual.records}
    for step in runbook.path():
        for number, branch in enumerate(step.branches, start=1):
            assert branch.condition is not None
            answers = {**drawn.answers, step.id: [Output(branch.condition.status, "x"), drawn.answers[step.id]]}
            outcome, control = carried_out(runbook, answers)
            record = next(one for one in outcome.records if f"{one.section}/{one.number}" == step.id)
            assert record.matched == f"branch {number}"
            taken.add((step.id, record.matched))
            at = drawn.forward.index(step.id)
            if branch.target.to == "done":
                assert (outcome.status, control.sent) == ("completed", drawn.forward[: at + 1])
            elif branch.target.to == "step":
                assert record.next == control.sent[at + 1] == str(branch.target)
                assert outcome.status == "completed"
            else:
                assert outcome.status == ("partial" if branch.target.to == "partial" else "failed")
                assert control.sent[: at + 1] == drawn.forward[: at + 1]
                assert list(dict.fromkeys(control.sent[at + 1 :])) == drawn.undoing(drawn.forward[: at + 1])
    assert taken == {(step.id, way) for step in runbook.path() for way in step.ways}
