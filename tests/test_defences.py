"""With the platform's defence taken away a fault is no longer survived: the run is judged FAIL, or the fault unproven.

Each case plants one defect in the platform and names an assertion that must find it; the same run without the defect is
in tests/test_faults_alone.py and passes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import simulator.world
from contest_platform import errors
from contest_platform.access import AccessControl, DeniedError
from contest_platform.audit import Context
from contest_platform.errors import Meaning
from contest_platform.ports import Intent, PortError, Tx
from contest_platform.service import Config
from contest_platform.services import payouts, refunds
from contest_platform.services.entries import EntriesService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.refunds import RefundsService
from tests.support.command import run_into, scenario_with

Plant = Callable[[pytest.MonkeyPatch], None]

# --- defects -------------------------------------------------------------------------------------------------------


def means(code: str, what: Meaning) -> Plant:
    """The platform takes an error code for something that it is not."""
    return lambda patch: patch.setitem(errors.REGISTRY, code, what)


def never_forgets_a_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(payouts, "KEY_LIFE_MS", 10**12)


def always_takes_a_new_key(patch: pytest.MonkeyPatch) -> None:
    def failed(self: PayoutsService, tx: Tx, transfer_id: str, n: int, code: str) -> None:
        row = self._row(tx, transfer_id)
        self._end_attempt(tx, Context(payouts.ACTOR, row["contest_id"]), transfer_id, n, "REJECTED", code)
        self._retry(tx, row, code, new_key=True)

    patch.setattr(PayoutsService, "_failed", failed)


def never_takes_a_new_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(payouts, "SAVED_REJECTIONS", frozenset())


def takes_a_new_key_after_its_own_silence(patch: pytest.MonkeyPatch) -> None:
    """What was sent and not written down is sent anew, as if it had not been."""
    submit = PayoutsService._submit

    def forgetful(self: PayoutsService, tx: Tx, transfer_id: str) -> Any:
        row = self._row(tx, transfer_id)
        if row["status"] == "SUBMITTED" and row["next_attempt_at"] <= tx.now:
            ctx = Context(payouts.ACTOR, row["contest_id"])
            self._end_attempt(tx, ctx, transfer_id, row["attempts"], "REJECTED", "connection_failed")
            self._again(tx, row, tx.now, "connection_failed", new_key=True)
        return submit(self, tx, transfer_id)

    patch.setattr(PayoutsService, "_submit", forgetful)


def says_nothing_of_unanswered_calls(patch: pytest.MonkeyPatch) -> None:
    async def silent(self: EntriesService, *about: object) -> None: ...

    patch.setattr(EntriesService, "_unanswered", silent)


def asks_for_an_intent_under_a_new_key_each_time(patch: pytest.MonkeyPatch) -> None:
    obtain = EntriesService._obtain_intent

    async def anew(self: EntriesService, payment: Any) -> str:
        key = self._ports.ids.new("key", "intent", payment["entry_id"], str(self._ports.runtime.now()))
        return await obtain(self, {**payment, "idempotency_key": key})

    patch.setattr(EntriesService, "_obtain_intent", anew)


def believes_that_what_it_canceled_is_canceled(patch: pytest.MonkeyPatch) -> None:
    cancel = EntriesService._canceled_intent

    async def hopeful(self: EntriesService, entry_id: str, intent_id: str) -> Intent:
        try:
            return await cancel(self, entry_id, intent_id)
        except PortError:
            return Intent(intent_id, 0, 0, "canceled", {}, 0, None)

    patch.setattr(EntriesService, "_canceled_intent", hopeful)


def gives_up_a_refund_that_failed(patch: pytest.MonkeyPatch) -> None:
    def give_up(self: RefundsService, tx: Tx, refund_id: str, code: str, rejected: bool) -> None:
        refunds.fail(tx, Context(refunds.ACTOR, refund_id), refund_id, code)

    patch.setattr(RefundsService, "_failed", give_up)


def waits_for_the_provider_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(simulator.world, "Config", partial(Config, provider_timeout_ms=10**12))


def lets_in_whom_nobody_denies(patch: pytest.MonkeyPatch) -> None:
    introspect = AccessControl._introspect

    async def trusting(self: AccessControl, claims: Any) -> None:
        try:
            await introspect(self, claims)
        except DeniedError as denied:
            if "unreachable" not in denied.reason:
                raise

    patch.setattr(AccessControl, "_introspect", trusting)


# --- the runs ------------------------------------------------------------------------------------------------------

NEVER, UNKNOWN = Meaning.NEVER_WILL, Meaning.UNKNOWN
CASES: list[tuple[str, str, Plant, str]] = [
    ("processor.error_saved", "", means("http_500", NEVER), "payouts.terminal_failures_have_reasons"),
    ("processor.error_saved", "", always_takes_a_new_key, "payouts.attempts_follow_idempotency"),
    ("processor.error_saved", "", never_forgets_a_key, "payouts.attempts_follow_idempotency"),
    ("processor.done_and_failed", "", always_takes_a_new_key, "payouts.exactly_once"),
    ("processor.rate_limited", "", means("rate_limit", NEVER), "payouts.terminal_failures_have_reasons"),
    ("processor.key_in_use", "", always_takes_a_new_key, "payouts.exactly_once"),
    ("processor.account_invalid", "", means("account_invalid", UNKNOWN), "recovery.converged"),
    ("processor.transfers_not_allowed", "", means("transfers_not_allowed", UNKNOWN), "recovery.converged"),
    ("processor.same_key_other_amount", "", means("idempotency_error", NEVER), "payouts.right_people_right_amounts"),
    ("processor.same_key_other_amount", "", always_takes_a_new_key, "payouts.attempts_follow_idempotency"),
    ("processor.funds_pending", "", means("balance_insufficient", NEVER), "payouts.right_people_right_amounts"),
    ("processor.funds_pending", "", never_takes_a_new_key, "payouts.attempts_follow_idempotency"),
    ("processor.key_expired", "", never_forgets_a_key, "payouts.exactly_once"),
    ("processor.charge_locked", "", means("lock_timeout", NEVER), "lifecycle.cancelled_are_refunded"),
    ("processor.intent_locked", "", believes_that_what_it_canceled_is_canceled, "recovery.converged"),
    ("processor.outage", "", means("http_503", NEVER), "payouts.right_people_right_amounts"),
    ("timeouts.transfer_request_lost", "", means("deadline_exceeded", NEVER), "payouts.right_people_right_amounts"),
    ("timeouts.transfer_answer_lost", "", always_takes_a_new_key, "payouts.exactly_once"),
    ("timeouts.intent_request_lost", "", says_nothing_of_unanswered_calls, "recovery.every_fault_bit"),
    ("timeouts.intent_answer_lost", "", asks_for_an_intent_under_a_new_key_each_time, "recovery.converged"),
    ("timeouts.cancel_request_lost", "", believes_that_what_it_canceled_is_canceled, "recovery.converged"),
    ("timeouts.refund_request_lost", "", gives_up_a_refund_that_failed, "lifecycle.cancelled_are_refunded"),
    ("timeouts.refund_answer_lost", "", gives_up_a_refund_that_failed, "ledger.reconciles_with_processor"),
    ("timeouts.provider", "", waits_for_the_provider_for_ever, "ingestion.every_publication_has_a_receipt"),
    ("timeouts.auth", "params: {lost: 2}", lets_in_whom_nobody_denies, "absence.access_log"),
    (
        "timeouts.database_commit",
        "bind: {entity: payouts.paid, occurrence: 1}",
        takes_a_new_key_after_its_own_silence,
        "payouts.exactly_once",
    ),
    (
        "timeouts.database_statement",
        "bind: {entity: entries.intent, occurrence: 1}, params: {statement: 1}",
        asks_for_an_intent_under_a_new_key_each_time,
        "recovery.converged",
    ),
]


@pytest.mark.parametrize(
    ("fault", "more", "plant", "assertion"),
    [pytest.param(*case, id=f"{case[0]}-{n}") for n, case in enumerate(CASES)],
)
def test_a_platform_without_its_defence_does_not_pass(
    fault: str, more: str, plant: Plant, assertion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    ran = run_into(tmp_path / "out", scenario_with(tmp_path, f"{fault}, {more}" if more else fault))
    assert ran.exit_code == (12 if assertion == "recovery.every_fault_bit" else 10), ran.stdout
    assert ran.status(assertion) == ("INCONCLUSIVE" if ran.exit_code == 12 else "FAIL")


OPERATIONS = (
    "entries.create", "entries.intent", "webhooks.record", "ingestion.apply", "settlement.execute", "settlement.close",
    "payouts.open", "payouts.submit", "payouts.paid",
)  # fmt: skip


@pytest.mark.parametrize("outcome", ["commit", "statement", "answer_lost"])
def test_silence_from_the_database_kills_no_process_and_doubles_nothing_wherever_it_falls(
    outcome: str, tmp_path: Path
) -> None:
    params = ", params: {statement: 2}" if outcome == "statement" else ""
    bound = [f"bind: {{entity: {operation}, occurrence: 1}}" for operation in OPERATIONS]
    faults = [f"timeouts.database_{outcome}, {where}{params}" for where in bound]
    ran = run_into(tmp_path / "out", scenario_with(tmp_path, *faults))
    assert ran.exit_code == 0, ran.stdout
    assert sorted(row.operation for row in ran.rows("database.incidents")) == sorted(OPERATIONS)
    assert "unit.failed" not in (ran.path / "journal.jsonl").read_text()


def test_a_reversed_payout_is_booked_and_stays_pending_where_nobody_is_on_call(tmp_path: Path) -> None:
    """The money comes back, and nobody is there to look into it."""
    bound = "processor.transfer_reversed, bind: {entity: short-strokes, from: day 8 12:00}"
    ran = run_into(tmp_path / "out", scenario_with(tmp_path, bound))
    assert ran.status("recovery.every_fault_bit") == "PASS"
    [reversed_transfer] = ran.rows("platform.transfers", status="REVERSED")
    assert {result.id for result in ran.verdict.results if result.status.value == "FAIL"} == {
        "ledger.participants_balances",
        "payouts.right_people_right_amounts",
        "recovery.converged",
        "runbooks.faults_recovered",
    }
    assert ran.status("ledger.reconciles_with_processor") == "PASS"
    [moved] = ran.rows("processor.transfers", entry_id=reversed_transfer.entry_id)
    assert moved.reversed_cents == moved.amount_cents == reversed_transfer.amount_cents


def test_a_payout_that_was_never_made_cannot_come_back(tmp_path: Path) -> None:
    """And a fault that meets nothing is no bug of ours."""
    bound = "processor.transfer_reversed, bind: {entity: short-strokes, from: day 8 12:00}, params: {transfer: 40}"
    ran = run_into(tmp_path / "out", scenario_with(tmp_path, bound))
    assert ran.exit_code == 12
    assert {missing.assertion for missing in ran.verdict.not_exercised} == {"recovery.every_fault_bit"}
    assert ran.rows("platform.transfers", status="REVERSED") == []
