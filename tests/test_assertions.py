"""Every assertion passes on an honest run and catches each run that breaks it. An assertion without one fails here."""

from __future__ import annotations

import pytest

from assertions.judge import discover
from assertions.model import REGISTRY, Result, Status, judge_one
from tests.support.broken_runs import BREAKS, ONLY_INCONCLUSIVE, conduct, money
from tests.support.broken_runs.change import Break, add, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.scribe import encode, rechain
from tests.support.small_run import COMPLETED, CUTOFF, HOUR, LOCK, SETTLED, plan, small_run

discover()


def result(evidence: FakeEvidence, assertion: str) -> Result:
    return judge_one(REGISTRY[assertion], evidence)  # type: ignore[arg-type]


@pytest.mark.parametrize("assertion", sorted(REGISTRY))
def test_each_assertion_passes_on_an_honest_run_and_has_seen_what_it_owed(assertion: str) -> None:
    found = result(small_run(), assertion)
    assert (found.status, found.broken, found.missing) == (Status.PASS, (), ())
    assert found.saw >= found.owed


@pytest.mark.parametrize(
    ("assertion", "status", "change"), BREAKS, ids=[f"{change.__name__}-{name}" for name, _, change in BREAKS]
)
def test_each_assertion_catches_the_runs_that_break_it(assertion: str, status: Status, change: Break) -> None:
    evidence = small_run()
    change(evidence)
    found = result(evidence, assertion)
    assert found.status is status, (found.broken, found.missing)
    if status is Status.FAIL:
        assert all(broken.message and broken.subject for broken in found.broken)
    else:
        assert found.missing or found.saw < found.owed
        assert not any("the assertion itself failed" in what for what in found.missing)


@pytest.mark.parametrize("assertion", sorted(REGISTRY))
def test_no_assertion_is_without_a_run_that_breaks_it(assertion: str) -> None:
    caught = {status for name, status, _ in BREAKS if name == assertion}
    assert (Status.INCONCLUSIVE if assertion in ONLY_INCONCLUSIVE else Status.FAIL) in caught


@pytest.mark.parametrize("assertion", sorted(REGISTRY))
def test_no_assertion_passes_on_empty_books(assertion: str) -> None:
    assert result(FakeEvidence(plan()), assertion).status is not Status.PASS


@pytest.mark.parametrize("assertion", sorted(REGISTRY))
def test_an_assertion_that_is_owed_nothing_and_sees_nothing_is_not_applicable(assertion: str) -> None:
    nothing = plan().model_copy(
        update={
            "principals": [],
            "tournaments": [],
            "contests": [],
            "entrants": [],
            "entries": [],
            "faults": [],
            "drills": [],
        }
    )
    found = result(FakeEvidence(nothing), assertion)
    # What code ran has to be known even of a run in which nothing was planned.
    expected = Status.INCONCLUSIVE if assertion == "absence.fingerprints_constant" else Status.NOT_APPLICABLE
    assert (found.status, found.missing) == (expected, ())


def test_the_platforms_own_books_do_not_decide_how_much_there_is_to_see() -> None:
    """A platform that recorded nothing at all owes no less than an honest one."""
    honest, silent = small_run(), small_run()
    for book in silent.books:
        if book.startswith("platform."):
            silent.books[book] = []
    for assertion in sorted(REGISTRY):
        was, now = result(honest, assertion), result(silent, assertion)
        assert now.owed >= was.owed, assertion
        assert now.saw <= was.saw, assertion


def test_what_broke_is_told_with_who_what_when_and_how_much() -> None:
    evidence = small_run()
    money.a_winner_was_forgotten(evidence)
    [broken] = result(evidence, "payouts.right_people_right_amounts").broken
    assert broken.message == "u1 won $13.50 in c1 (place 1) and received $0.00"
    assert (broken.subject, broken.at, broken.money_cents) == ("entries/en-c1-u1", CUTOFF + 78 * HOUR, 1_350)


def test_an_edited_row_is_told_by_column_with_the_money_that_was_moved() -> None:
    evidence = small_run()
    row(evidence, "platform.transfers", transfer_id="tf-u1")["amount_cents"] += 500
    [broken] = result(evidence, "audit.rows_match_images").broken
    assert broken.message == "transfers/tf-u1: amount_cents is $18.50, audited as $13.50"
    assert broken.money_cents == 500


def test_a_fault_at_work_puts_a_bound_off_and_a_violation_does_not() -> None:
    late = small_run()
    conduct.transition(late, "c1", "LOCKED")["at"] = LOCK + HOUR
    rechain(late)
    assert result(late, "lifecycle.on_time").status is Status.FAIL
    [fault, *others] = late.plan.faults
    outage = {"from_at": LOCK - HOUR, "until_at": LOCK + 60_000}
    for kind, expected in (("fault", Status.PASS), ("violation", Status.FAIL)):
        excused = small_run()
        conduct.transition(excused, "c1", "LOCKED")["at"] = LOCK + HOUR
        rechain(excused)
        changed = fault.model_copy(update={**outage, "kind": kind})
        excused.plan = excused.plan.model_copy(update={"faults": [changed, *others]})
        excused.books["injector.bites"] = [one for one in excused.books["injector.bites"] if one["fault_id"] != "f1"]
        assert result(excused, "lifecycle.on_time").status is expected, kind


def settled_after(evidence: FakeEvidence, *steps: tuple[str, str, str]) -> FakeEvidence:
    """c1 took these steps (actor, before, after) between COMPLETE and SETTLED."""
    log, settled = evidence.books["platform.audit_log"], conduct.transition(evidence, "c1", "SETTLED")
    for actor, before, after in steps:
        told = {"actor": actor, "before": encode({"status": before}), "after": encode({"status": after})}
        log.insert(log.index(settled), {**settled, **told})
    for seq, one in enumerate(log, start=1):
        one["seq"] = seq
    rechain(evidence)
    return evidence


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([("system:settlement", "COMPLETE", "ERROR"), ("ops:kim", "ERROR", "COMPLETE")], Status.PASS),
        ([("system:settlement", "COMPLETE", "ERROR"), ("ops:kim", "ERROR", "COMPLETE")] * 2, Status.PASS),
        ([("system:settlement", "COMPLETE", "ERROR"), ("system:settlement", "ERROR", "COMPLETE")], Status.FAIL),
        ([("system:contests", "COMPLETE", "ERROR"), ("ops:kim", "ERROR", "COMPLETE")], Status.FAIL),
        ([("system:settlement", "COMPLETE", "ERROR")], Status.FAIL),
    ],
)
def test_a_contest_that_was_given_up_may_only_be_taken_up_by_ops(
    steps: list[tuple[str, str, str]], status: Status
) -> None:
    evidence = settled_after(small_run(), *steps)
    assert result(evidence, "lifecycle.states_in_order").status is status
    if status is Status.PASS:
        assert result(evidence, "lifecycle.on_time").status is Status.PASS, "it was COMPLETE when it first was"


def test_a_correction_after_the_cutoff_changes_no_prize_and_is_only_to_be_told() -> None:
    evidence = small_run()
    add(
        evidence, "provider.publications", event_id="ev1", revision=4, published_at=CUTOFF + 1, golfer_id="g1", round=1,
        hole=1, strokes=9, correction=True,
    )  # fmt: skip
    untold = {assertion for assertion in REGISTRY if result(evidence, assertion).status is not Status.PASS}
    assert untold == {"ingestion.late_corrections_told"}


@pytest.mark.parametrize(("before_ms", "status"), [(0, Status.PASS), (60_000, Status.PASS), (-1, Status.FAIL)])
def test_a_score_published_again_was_received_if_a_duplicate_tells_of_it(before_ms: int, status: Status) -> None:
    """The duplicate of batch 3 names an instant at which the score stood, not always that of its publication."""
    evidence = small_run()
    add(
        evidence, "provider.publications", event_id="ev1", revision=4, golfer_id="g1", round=1, hole=1, strokes=3,
        published_at=COMPLETED + 2 * HOUR - before_ms,
    )  # fmt: skip
    assert result(evidence, "ingestion.every_publication_has_a_receipt").status is status


def test_a_new_key_after_an_unknown_outcome_is_right_once_a_look_up_has_proved_absence() -> None:
    evidence = small_run()
    money.a_new_key_was_used_after_an_unknown_outcome(evidence)
    attempt = row(evidence, "platform.transfer_attempts", transfer_id="tf-u1", n=2)
    add(
        evidence, "processor.requests", at=attempt["sent_at"], caller="platform", operation="transfers.list", status=200
    )
    assert result(evidence, "payouts.attempts_follow_idempotency").broken == ()


def test_a_deleted_customer_confirms_that_his_payout_was_given_up() -> None:
    evidence = small_run()
    row(evidence, "processor.requests", idempotency_key="key-u2")["error_code"] = None
    assert result(evidence, "payouts.terminal_failures_have_reasons").status is Status.FAIL
    evidence = small_run()
    row(evidence, "processor.requests", idempotency_key="key-u2")["error_code"] = None
    add(evidence, "entrants.actions", at=SETTLED, user_id="u2", action="delete_account", result="done")
    assert result(evidence, "payouts.terminal_failures_have_reasons").status is Status.PASS
    assert result(evidence, "payouts.right_people_right_amounts").status is Status.PASS
