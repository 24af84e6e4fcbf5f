"""What fails in or under the platform itself: a run each, which looks at what the platform gets over it by."""

from __future__ import annotations

from itertools import product
from typing import Any, Literal, get_args, get_origin

import pytest

from contest_platform import access
from contest_platform.access import AccessControl
from contest_platform.services import payouts
from contest_platform.services.ingestion import IngestionService
from contest_platform.services.payouts import PayoutsService
from fault_injectors import registry
from scenarios import load, shipped
from tests.support.command import ROOT, Ran, SharedRuns, bitten, run_into

PLATFORM = [name for name in registry() if name.startswith("platform.")]


def alone(runs: SharedRuns, name: str) -> Ran:
    return runs("platform", "--only", name)


def by_platform(ran: Ran) -> list[Any]:
    """What the platform told the pager; to acknowledge it is what ops does there."""
    return [row for row in ran.rows("pager.events") if row.action != "acknowledge"]


def without(defence: str, name: str, tmp_path: Any) -> Ran:
    """The same run once `defence` has been taken away: never a shared one."""
    return run_into(tmp_path / defence, "platform", "--only", name)


def test_the_scenario_holds_every_fault_of_the_family_in_every_choice_that_names_a_moment_or_a_place() -> None:
    planned = load("platform").model.faults
    scenarios = [load(name).model for name in shipped()]
    attended = {fault.fault for scenario in scenarios if scenario.operations for fault in scenario.faults}
    assert {fault.fault for fault in planned} >= {name for name in PLATFORM if name != "platform.crash"} - attended
    for name in ("platform.crash_at", "platform.ingestion_crash_at", "platform.pool_exhausted"):
        fields = registry()[name].Params.model_fields
        choices = {
            key: get_args(field.annotation) for key, field in fields.items() if get_origin(field.annotation) is Literal
        }
        wanted = {tuple(zip(choices, chosen, strict=True)) for chosen in product(*choices.values())}
        defaults = {key: fields[key].default for key in choices}
        found = {
            tuple((key, {**defaults, **fault.params}[key]) for key in choices)
            for fault in planned
            if fault.fault == name
        }
        assert found == wanted, name
    steps = {fault.params.get("step") for fault in planned if fault.fault == "platform.crash_in_step"}
    assert steps == set(get_args(registry()["platform.crash_in_step"].Params.model_fields["step"].annotation))


# --- processes -------------------------------------------------------------------------------------------------------


def test_a_service_that_died_in_a_step_is_started_by_its_host_and_the_step_is_taken_once(runs: SharedRuns) -> None:
    ran = alone(runs, "platform.crash_in_step")
    for fault in ran.evidence.plan.faults:
        [stop] = bitten(ran, fault)
        again = [row for row in ran.rows("hosts.services", service=stop.service, state="running") if row.n > stop.n]
        assert (again[0].by, again[0].at - stop.at) == ("systemd", 5_000)
    paid = [row.entry_id for row in ran.rows("processor.transfers")]
    assert len(paid) == len(set(paid))
    assert {row.status for row in ran.rows("platform.transfers")} == {"PAID"}
    assert {row.status for row in ran.rows("platform.settlement_packs")} == {"EXECUTED"}


def test_a_payout_committed_as_sent_by_a_process_that_then_died_is_not_sent_twice(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defence is the key: a sender that took a new one for what its predecessor had begun would pay twice."""
    end_attempt = PayoutsService._submit

    def with_a_new_key(self: PayoutsService, tx: Any, transfer_id: str) -> Any:
        row = self._row(tx, transfer_id)
        if row["status"] == "SUBMITTED" and row["next_attempt_at"] <= tx.now:
            tx.run(
                "update transfers set idempotency_key = idempotency_key || '-again' where transfer_id = :t",
                {"t": transfer_id},
            )
        return end_attempt(self, tx, transfer_id)

    monkeypatch.setattr(PayoutsService, "_submit", with_a_new_key)
    ran = without("key", "platform.crash_in_step", tmp_path)
    assert ran.exit_code == 10
    assert ran.status("payouts.exactly_once") == "FAIL"


def test_what_the_database_turned_away_kills_nobody_and_is_done_a_minute_later(runs: SharedRuns) -> None:
    ran = alone(runs, "platform.pool_exhausted")
    assert len(ran.rows("database.refusals")) > 10
    assert {row.principal for row in ran.rows("database.refusals")} >= {"system:app", "system:ingestion"}
    assert ran.rows("hosts.services", state="stopped") == []


# --- who watches -----------------------------------------------------------------------------------------------------


def test_the_head_after_the_outage_covers_what_could_not_be_anchored(runs: SharedRuns) -> None:
    ran = alone(runs, "platform.anchor_down")
    [outage] = ran.evidence.plan.faults
    assert outage.from_at is not None
    assert outage.until_at is not None
    assert len(ran.rows("anchor.refusals")) >= 5
    heads = ran.rows("anchor.heads")
    assert [row for row in heads if outage.from_at <= row.at < outage.until_at] == []
    after = next(row for row in heads if row.at >= outage.until_at)
    assert after.at - outage.until_at <= 3_600_000 + 1_000
    assert after.head_seq >= max(row.head_seq for row in ran.rows("anchor.refusals"))
    pages = [(row.action, row.dedup_key) for row in by_platform(ran)]
    assert set(pages[:-1]) == {("trigger", "audit_anchor_stale")}
    assert pages[-1] == ("resolve", "audit_anchor_stale")


@pytest.mark.parametrize("name", ["platform.pager_down", "platform.page_lost"])
def test_a_page_that_did_not_get_through_is_on_record_and_sent_again(name: str, runs: SharedRuns) -> None:
    ran = alone(runs, name)
    unanswered = ran.rows("platform.audit_log", action="call.page_unanswered")
    assert {row.reason for row in unanswered} == {
        "service_unavailable" if name == "platform.pager_down" else "deadline_exceeded"
    }
    pages = by_platform(ran)
    assert {row.action for row in pages[:-1]} == {"trigger"}
    assert pages[-1].action == "resolve"
    assert max(row.at for row in unanswered) < pages[0].at < max(row.at for row in ran.rows("anchor.refusals"))


def test_while_nobody_can_be_asked_nobody_is_let_in_and_customers_go_on(runs: SharedRuns) -> None:
    ran = alone(runs, "platform.auth_down")
    outage, probe = ran.evidence.plan.faults
    [denial] = [row for row in ran.rows("platform.access_log", principal=probe.entity) if row.at > (probe.from_at or 0)]
    assert (denial.allowed, denial.reason) == (False, "identity provider unreachable: service_unavailable")
    assert ran.status("lifecycle.customers_are_let_in") == "PASS"
    assert outage.fault == "platform.auth_down"


def test_letting_in_whoever_cannot_be_checked_breaks_the_promise(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    introspect = AccessControl._introspect

    async def trusting(self: AccessControl, claims: access.Claims) -> None:
        try:
            await introspect(self, claims)
        except access.DeniedError as denied:
            if "unreachable" not in denied.reason:
                raise

    monkeypatch.setattr(AccessControl, "_introspect", trusting)
    ran = without("introspection", "platform.auth_down", tmp_path)
    assert ran.exit_code == 10
    assert ran.status("absence.access_log") == "FAIL"


# --- clocks, certificates, customers ---------------------------------------------------------------------------------


def test_scores_are_official_by_the_stores_clock_however_wrong_the_hosts_is(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, runs: SharedRuns
) -> None:
    assert alone(runs, "platform.clock_skew").status("settlement.waits_for_official_scores") == "PASS"
    poll = IngestionService._poll

    async def by_the_host(self: IngestionService, tournament: Any, full_at: int | None = None) -> int | None:
        read_at = await poll(self, tournament, None if full_at is None else self._ports.runtime.now())
        return None if read_at is None else self._ports.runtime.now()

    monkeypatch.setattr(IngestionService, "_poll", by_the_host)
    ran = without("clock", "platform.clock_skew", tmp_path)
    assert ran.exit_code == 10
    assert ran.status("settlement.waits_for_official_scores") == "FAIL"


def test_a_customer_is_not_turned_away_because_our_clock_is_behind(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "SKEW_MS", 0)
    ran = without("leeway", "platform.clock_skew", tmp_path)
    assert ran.exit_code == 10
    assert ran.status("lifecycle.customers_are_let_in") == "FAIL"


def test_nothing_is_read_from_a_provider_that_cannot_prove_who_it_is(runs: SharedRuns) -> None:
    ran = alone(runs, "provider.certificate_expired")
    [fault] = ran.evidence.plan.faults
    ended = ran.rows("provider.requests", glitch="certificate_expired")
    assert len(ended) >= 5
    assert {row.cells for row in ended} == {0}
    lagging = ran.rows("platform.audit_log", action="ingestion.lagging")
    assert [row.reason for row in lagging] == ["certificate_expired"]
    assert fault.from_at is not None
    assert fault.until_at is not None
    received = [row.received_at for row in ran.rows("platform.ingestion_batches", tournament_id=fault.entity)]
    assert not [at for at in received if fault.from_at + 1_000 < at < fault.until_at]


def test_payouts_that_cannot_begin_begin_as_soon_as_they_can(runs: SharedRuns) -> None:
    ran = alone(runs, "platform.payouts_not_begun")
    [fault] = ran.evidence.plan.faults
    assert fault.from_at is not None
    assert fault.until_at is not None
    late = [row for row in ran.rows("platform.contests") if fault.from_at < (row.settled_at or 0) < fault.until_at]
    made = [row.created_at for one in late for row in ran.rows("platform.transfers", contest_id=one.contest_id)]
    assert made
    assert all(fault.until_at <= at <= fault.until_at + 120_000 for at in made)
    assert {row.operation for row in bitten(ran, fault)} == {"payouts.open"}


def test_who_left_is_not_paid_his_prize_stays_owed_and_everybody_else_is_paid(runs: SharedRuns) -> None:
    ran = alone(runs, "platform.user_deleted")
    left, held = ran.evidence.plan.faults
    [given_up] = ran.rows("platform.transfers", status="FAILED_TERMINAL")
    assert (given_up.user_id, given_up.reason, given_up.contest_id) == (left.entity, "user_deleted", held.entity)
    contest = next(row for row in ran.rows("platform.contests") if row.contest_id == held.entity)
    assert contest.settled_at < left.from_at < given_up.done_at
    assert contest.status == "PAID_OUT"
    assert {row.status for row in ran.rows("platform.transfers") if row != given_up} == {"PAID"}
    owed = f"liabilities:prize_payable:{held.entity}:{left.entity}"
    assert sum(row.amount_cents for row in ran.rows("platform.ledger_postings", account=owed)) == -given_up.amount_cents
    assert ran.rows("processor.transfers", user_id=left.entity, contest_id=held.entity) == []


def test_a_platform_that_does_not_look_who_has_left_is_found_out(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(tx: Any, row: Any) -> bool:
        return False

    monkeypatch.setattr(payouts, "_is_gone", never)
    ran = without("gone", "platform.user_deleted", tmp_path)
    assert ran.exit_code == 10
    assert ran.status("payouts.nobody_else_paid") == "FAIL"


def test_every_fault_of_the_platform_and_every_violation_has_one_row_in_the_docs() -> None:
    for family in ("platform", "violations", "ops", "database", "daemons", "hosts"):
        text = (ROOT / "docs" / "faults" / f"{family}.md").read_text()
        listed = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
        own = [name for name in listed if family != "hosts" or name.startswith("hosts.")]  # WinRM's stand beside them
        assert sorted(own) == sorted(name for name in registry() if name.startswith(f"{family}."))
