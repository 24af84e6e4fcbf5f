"""What a fault is met with is really needed: without it the same fault, alone, breaks a promise.

The scenario is the small one with a second contest, in which places count, and a third that is too small to run, so
that there are refunds; more of its customers pay late.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import defenceless
from tests.support.command import ROOT, Ran, run_into
from tests.support.defenceless import Plant

OTHER_CONTESTS = """
  - id: short-points
    tournament: t1
    name: Short Finish Points
    fee_cents: 2000
    entries: 25
    min_entries: 5
    max_entries: 30
    rake_bp: 1000
    prizes: {shares_bp: [4000, 3000, 2000, 1000]}
    scoring:
      kind: points
      roster_size: 4
      counting: 4
      points_tenths: {-2: 80, -1: 30, 0: 5, 1: -5, 2: -10}
      finish_tenths: [300, 260, 230, 200, 180, 160, 140, 120, 100, 80, 60, 40, 20]

  - id: short-private
    tournament: t1
    name: Short Table of Forty
    fee_cents: 5000
    entries: 12
    min_entries: 40
    max_entries: 40
    rake_bp: 800
    prizes: {winner_takes_all: true}
    scoring: {kind: strokes, roster_size: 4, counting: 4, missed_round_penalty: 2}
"""

NEEDED: list[tuple[str, Plant, str]] = [
    ("webhooks.duplicate", defenceless.delivered_is_applied, "ledger."),
    ("webhooks.lost", defenceless.webhooks_are_the_truth, "ledger."),
    ("webhooks.twin", defenceless.twins_are_two, "ledger."),
    ("webhooks.storm", defenceless.delivered_is_applied, "ledger."),
    ("webhooks.out_of_order", defenceless.delivered_is_applied, "ledger."),
    ("webhooks.before_row", defenceless.pending_refund_is_foreign, "ledger."),
    ("endpoint.forged_signature", defenceless.no_signature_is_checked, "absence.forgeries_refused"),
    ("endpoint.stale_signature", defenceless.signatures_never_age, "absence.forgeries_refused"),
    ("endpoint.secret_rotation", defenceless.one_secret_is_known, "recovery.webhooks_accepted"),
    ("endpoint.down", defenceless.old_events_are_refused, "recovery.webhooks_accepted"),
    ("customers.chargeback_lost", defenceless.a_lost_dispute_stays_a_claim, "ledger."),
    ("customers.chargeback_won", defenceless.what_a_bank_gives_back_is_not_posted, "ledger."),
    ("customers.chargeback_of_refund", defenceless.what_a_bank_has_given_stays_owed, "ledger.participants_balances"),
    ("customers.refund_requested", defenceless.who_withdraws_plays_on, "payouts.right_people_right_amounts"),
    ("provider.outage", defenceless.a_failure_starts_over, "ingestion.resumes_from_checkpoint"),
    ("provider.empty", defenceless.an_empty_answer_starts_over, "ingestion.resumes_from_checkpoint"),
    ("provider.wrong_event", defenceless.any_event_will_do, "ingestion.admitted_is_published"),
    ("provider.scrambled", defenceless.totals_are_not_compared, "ingestion.admitted_is_published"),
    ("provider.garbled", defenceless.totals_are_not_compared, "ingestion.received_in_time"),
    ("provider.malformed", defenceless.a_failure_starts_over, "ingestion.resumes_from_checkpoint"),
    ("provider.stale", defenceless.a_stale_answer_is_the_truth, "ingestion.no_readmission"),
    ("corrections.reverted", defenceless.a_value_once_left_does_not_return, "ingestion.scores_equal_official"),
    ("corrections.after_cutoff", defenceless.late_is_like_any_other, "ingestion.late_corrections_told"),
    ("corrections.after_cutoff", defenceless.the_cut_off_is_not_looked_at, "settlement.evidence_recomputes"),
    ("golfers.disqualified_late", defenceless.the_cut_off_is_not_looked_at, "ingestion.official_at_cutoff"),
    ("corrections.after_settled", defenceless.late_is_like_any_other, "ingestion.late_corrections_told"),
    ("golfers.withdrawn", defenceless.withdrawals_are_not_noticed, "ingestion.statuses_equal_official"),
    ("golfers.disqualified", defenceless.after_the_end_nothing_changes, "ingestion.statuses_equal_official"),
    ("golfers.cut", defenceless.there_is_one_cut, "ingestion.statuses_equal_official"),
    ("daemons.paused", defenceless.what_was_read_is_still_so, "settlement.nothing_left_behind"),
]
"""(fault, the defect that lays the platform open to it, the family or promise that must break)."""
FAILS_ANYWAY = {defenceless.withdrawals_are_not_noticed}
"""Golfers withdraw in every tournament."""


def run(folder: Path, *faults: str) -> Ran:
    scenario = (ROOT / "scenarios" / "small.yaml").read_text().replace("late_bp: 500", "late_bp: 3000") + OTHER_CONTESTS
    path = folder / "alone.yaml"
    path.write_text(scenario + "\nfaults: [" + ", ".join(f"{{fault: {fault}}}" for fault in faults) + "]\n")
    return run_into(folder / "out", path)


def failed(ran: Ran) -> set[str]:
    return {result.id for result in ran.verdict.results if result.status.value == "FAIL"}


@pytest.mark.parametrize(
    ("fault", "plant", "promise"), NEEDED, ids=[f"{fault}-{plant.__name__}" for fault, plant, _ in NEEDED]
)
def test_without_its_defence_the_platform_does_not_get_over_the_fault(
    fault: str, plant: Plant, promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    ran = run(tmp_path, fault)
    assert ran.exit_code == 10, ran.stdout
    assert any(broken.startswith(promise) for broken in failed(ran)), failed(ran)
    assert ran.status("recovery.every_fault_bit") == "PASS"


@pytest.mark.parametrize(
    "plant", sorted({plant for _, plant, _ in NEEDED} - FAILS_ANYWAY, key=lambda plant: plant.__name__)
)
def test_the_defect_alone_breaks_nothing(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is the fault that the test above is about."""
    plant(monkeypatch)
    ran = run(tmp_path)
    assert ran.exit_code == 0, ran.stdout


@pytest.mark.parametrize("fault", sorted({fault for fault, *_ in NEEDED}))
def test_with_its_defence_it_does(fault: str, tmp_path: Path) -> None:
    ran = run(tmp_path, fault)
    assert ran.exit_code == 0, ran.stdout
    assert ran.status("recovery.every_fault_bit") == "PASS"
