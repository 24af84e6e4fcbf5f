"""A run that was halted before its time: what of its judgement stands, and what the halt has kept from being judged.

Invariant: what was still to come is no broken promise. Of a halted run only a promise counts as broken that nothing
which came later could have kept; any other is said to be not exercised, because of the halt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from assertions.model import Result, Status
from assertions.words import instant

if TYPE_CHECKING:
    from evidence.halts import Halt

GUARD = "guard"
"""Who is named beside what was not exercised because of the halt itself."""

STANDS = frozenset({
    "absence.access_log",
    "absence.changes_trace_to_the_system",
    "absence.database_sessions",
    "absence.fingerprints_constant",
    "absence.identity",
    "absence.processor_dashboard",
    "absence.revocation_probed",
    "audit.chain_holds",
    "audit.every_row_has_a_cause",
    "audit.head_matches_anchor",
    "audit.rows_match_images",
    "ingestion.admitted_is_published",
    "ingestion.no_readmission",
    "ingestion.nothing_rejected_silently",
    "ingestion.replay_reproduces",
    "ingestion.resumes_from_checkpoint",
    "ledger.business_keys_unique",
    "ledger.escrow_empty_after_settlement",
    "ledger.no_rounding_account",
    "ledger.transactions_balance",
    "lifecycle.customers_are_let_in",
    "lifecycle.paid_out_means_paid",
    "lifecycle.states_in_order",
    "payouts.exactly_once",
    "payouts.nobody_else_paid",
    "runbooks.sent_as_written",
    "settlement.evidence_recomputes",
    "settlement.executed_packs_are_linked",
    "settlement.waits_for_official_scores",
})  # fmt: skip
"""Assertions about what must never be at any instant. All others are about what is so in the end, once what was on its
way has come: a step that has acted, say, is put on record after that."""


def as_far_as_it_went(result: Result, halt: Halt) -> Result:
    """What the evidence of a halted run says of one assertion."""
    because = because_of(halt)
    if result.status is Status.FAIL and result.id not in STANDS:
        return replace(result, status=Status.INCONCLUSIVE, broken=(), missing=(*result.missing, because))
    if result.status is Status.INCONCLUSIVE:
        return replace(result, missing=(*result.missing, because))
    return result


def because_of(halt: Halt) -> str:
    return f"the run was halted at {instant(halt.at)}, before its time"
