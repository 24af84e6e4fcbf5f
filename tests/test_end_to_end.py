"""The default run, from command to verdict: its claims are checked in the books of those who are not the platform."""

from __future__ import annotations

import datetime
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from beancount import loader
from beancount.core.data import Open, Transaction

from evidence.plan import Contest
from evidence.schemas import BOOKS, Column
from tests.support.command import ROOT, Ran, SharedRuns, absence, bitten, run_into

DAY_MS = 86_400_000
FAULTS = {
    "timeouts.transfer_request_lost",
    "timeouts.transfer_answer_lost",
    "webhooks.duplicate",
    "webhooks.delayed",
    "webhooks.lost",
    "provider.outage",
    "provider.correction",
    "winrm.refused",
    "winrm.answer_lost",
    "platform.crash",
}


def contest(ran: Ran, contest_id: str) -> Contest:
    return next(one for one in ran.evidence.plan.contests if one.id == contest_id)


def captured_in_time(ran: Ran, contest_id: str) -> list[Any]:
    """The payments that make an entry valid, as the processor has them."""
    lock_at = contest(ran, contest_id).lock_at
    return [
        i for i in ran.rows("processor.intents", contest_id=contest_id) if i.captured_at and i.captured_at < lock_at
    ]


def paid_out(ran: Ran, contest_id: str) -> dict[str, int]:
    """What each winner got from the processor, by entry, in cents."""
    return {t.entry_id: t.amount_cents for t in ran.rows("processor.transfers", contest_id=contest_id)}


# --- what a default run is ------------------------------------------------------------------------------------------


def test_the_default_run_passes_and_says_where_its_report_is(default_run: Ran) -> None:
    assert default_run.exit_code == 0
    assert default_run.verdict.status.value == "PASS"
    assert default_run.stdout.startswith("✓ PASS")
    report = default_run.path / "report.html"
    assert str(report) in default_run.stdout
    assert "PASS" in report.read_text()
    assert f"absence replay {default_run.path}" in default_run.stdout


def test_the_calendar_is_a_fortnight_from_a_tuesday_and_at_most_four_days_of_recovery(default_run: Ran) -> None:
    plan = default_run.evidence.plan
    first = datetime.datetime.fromtimestamp(plan.starts_at / 1_000, datetime.UTC)
    assert (first.strftime("%A"), first.time()) == ("Tuesday", datetime.time())
    assert plan.absence_until_at - plan.starts_at == 14 * DAY_MS
    assert 0 < plan.recovery_until_at - plan.absence_until_at <= 4 * DAY_MS


def test_the_provider_published_two_tournaments_of_ninety_golfers_on_their_days(default_run: Ran) -> None:
    days: dict[str, set[int]] = defaultdict(set)
    golfers: dict[str, set[str]] = defaultdict(set)
    starts_at = default_run.evidence.plan.starts_at
    for cell in default_run.rows("provider.publications"):
        golfers[cell.event_id].add(cell.golfer_id)
        if not cell.correction:
            days[cell.event_id].add((cell.published_at - starts_at) // DAY_MS + 1)
    for status in default_run.rows("provider.statuses"):
        golfers[status.event_id].add(status.golfer_id)
    assert sorted(map(sorted, days.values())) == [[3, 4, 5, 6], [10, 11, 12, 13]]
    assert [len(field) for field in golfers.values()] == [90, 90]
    assert len(default_run.rows("provider.completions")) == 2


def test_customers_entered_five_contests_of_different_shape(default_run: Ran) -> None:
    entered = Counter(action.contest_id for action in default_run.rows("entrants.actions", action="entered"))
    assert len(entered) == 5
    assert 400 <= sum(entered.values()) <= 500
    plan = default_run.evidence.plan
    assert {one.scoring.kind for one in plan.contests} == {"strokes", "points"}
    for shape in ("fee_cents", "max_entries", "prize_shares_bp", "scoring"):
        assert len({str(getattr(one, shape)) for one in plan.contests}) == 5, shape
    assert len({one.rake_bp for one in plan.contests}) >= 3
    assert len(set(entered.values())) == 5


def test_every_contest_ended_and_one_was_cancelled(default_run: Ran) -> None:
    ends = Counter(one.status for one in default_run.rows("platform.contests"))
    assert ends == {"PAID_OUT": 4, "CANCELLED": 1}


# --- where the money went, as the processor saw it ------------------------------------------------------------------


def test_the_cancelled_contest_was_refunded_to_the_cent_and_paid_nobody(default_run: Ran) -> None:
    [cancelled] = default_run.rows("platform.contests", status="CANCELLED")
    paid = [i for i in default_run.rows("processor.intents", contest_id=cancelled.contest_id) if i.captured_at]
    assert 0 < len(paid) < contest(default_run, cancelled.contest_id).min_entries
    back: Counter[str] = Counter()
    for refund in default_run.rows("processor.refunds", status="succeeded"):
        back[refund.intent_id] += refund.amount_cents
    assert {i.intent_id: back[i.intent_id] for i in paid} == {i.intent_id: i.amount_cents for i in paid}
    assert paid_out(default_run, cancelled.contest_id) == {}
    assert {i.user_id for i in paid} == {
        a.user_id for a in default_run.rows("entrants.actions", action="paid", contest_id=cancelled.contest_id)
    }


def test_every_other_contest_paid_out_its_pool_exactly(default_run: Ran) -> None:
    for one in default_run.rows("platform.contests", status="PAID_OUT"):
        planned = contest(default_run, one.contest_id)
        collected = sum(intent.amount_cents for intent in captured_in_time(default_run, one.contest_id))
        pool = max(collected - collected * planned.rake_bp // 10_000, planned.guaranteed_cents or 0)
        assert sum(paid_out(default_run, one.contest_id).values()) == pool > 0, one.contest_id


def test_the_guaranteed_contest_paid_more_than_it_collected(default_run: Ran) -> None:
    [guaranteed] = [one for one in default_run.evidence.plan.contests if one.guaranteed_cents is not None]
    collected = sum(intent.amount_cents for intent in captured_in_time(default_run, guaranteed.id))
    assert sum(paid_out(default_run, guaranteed.id).values()) == guaranteed.guaranteed_cents
    assert guaranteed.guaranteed_cents is not None
    assert guaranteed.guaranteed_cents > collected, "there is no overlay"
    assert sum(paid_out(default_run, guaranteed.id).values()) > collected


def test_three_who_tied_for_the_first_prize_shared_the_first_three(default_run: Ran) -> None:
    plan = default_run.evidence.plan
    rosters = Counter((entry.contest_id, *sorted(entry.roster)) for entry in plan.entries)
    [((contest_id, *roster), count)] = [(key, count) for key, count in rosters.items() if count > 1]
    assert count == 3
    tied = {
        entry.user_id for entry in plan.entries if entry.contest_id == contest_id and sorted(entry.roster) == roster
    }
    transfers = default_run.rows("processor.transfers", contest_id=contest_id)
    shares = sorted(t.amount_cents for t in transfers if t.user_id in tied)
    assert len(shares) == 3
    assert shares[-1] - shares[0] <= 1
    pool = sum(t.amount_cents for t in transfers)
    first_three = pool * sum(contest(default_run, contest_id).prize_shares_bp[:3]) // 10_000
    assert abs(sum(shares) - first_three) <= 2
    assert shares[0] > max(t.amount_cents for t in transfers if t.user_id not in tied)


def test_nobody_was_paid_twice_and_everybody_at_his_own_account(default_run: Ran) -> None:
    transfers = default_run.rows("processor.transfers")
    assert len({(t.contest_id, t.entry_id) for t in transfers}) == len(transfers)
    accounts = {entrant.id: entrant.account_id for entrant in default_run.evidence.plan.entrants}
    assert all(t.destination == accounts[t.user_id] for t in transfers)
    assert {t.caller for t in transfers} == {"platform"}


def test_the_processor_holds_what_came_in_less_what_went_out(default_run: Ran) -> None:
    balance = default_run.rows("processor.balance")
    came = sum(i.amount_cents for i in default_run.rows("processor.intents") if i.captured_at)
    back = sum(r.amount_cents for r in default_run.rows("processor.refunds", status="succeeded"))
    went = sum(t.amount_cents - t.reversed_cents for t in default_run.rows("processor.transfers"))
    fees = sum(b.fee_cents for b in balance)
    owner = default_run.evidence.plan.owner_capital_cents
    assert sum(b.net_cents for b in balance) == owner + came - back - went - fees
    assert fees > 0


# --- the faults -----------------------------------------------------------------------------------------------------


def test_every_fault_of_the_default_scenario_shows_in_its_victims_book(default_run: Ran) -> None:
    planned = default_run.evidence.plan.faults
    assert {fault.fault for fault in planned} == FAULTS
    assert all(fault.kind == "fault" for fault in planned)
    for fault in planned:
        assert len(bitten(default_run, fault)) >= fault.bite.at_least, fault.id
    assert f"{len(planned)} of {len(planned)} bit" in default_run.stdout


def test_a_winner_whose_answer_was_lost_was_paid_once_under_one_key(default_run: Ran) -> None:
    for bite in default_run.rows("injector.bites", fault="timeouts.transfer_answer_lost"):
        asked = default_run.rows("processor.requests", operation="transfers.create", idempotency_key=bite.victim)
        assert asked[0].answered is False
        assert any(request.replayed and request.answered for request in asked)
        assert len({request.object_id for request in asked}) == 1


def test_a_payment_whose_webhook_was_lost_still_made_an_entry(default_run: Ran) -> None:
    valid = {entry.entry_id for entry in default_run.rows("platform.entries") if entry.valid_at is not None}
    for bite in default_run.rows("injector.bites", fault="webhooks.lost"):
        [event] = default_run.rows("processor.events", event_id=bite.victim)
        assert all(row.deliveries == 0 for row in default_run.rows("platform.webhook_inbox", event_id=bite.victim))
        [intent] = default_run.rows("processor.intents", intent_id=event.object_id)
        assert intent.entry_id in valid


def test_the_crashed_worker_was_started_again_by_its_host(default_run: Ran) -> None:
    for bite in default_run.rows("injector.bites", fault="platform.crash"):
        changes = default_run.rows("hosts.services", service="ingestion")
        stopped = next(place for place, change in enumerate(changes) if str(change.n) == bite.victim)
        assert changes[stopped].state == "stopped"
        assert changes[stopped + 1].state == "running"
        assert changes[stopped + 1].at - changes[stopped].at < 2 * 3_600_000


def test_the_corrected_hole_is_the_one_that_was_settled_on(default_run: Ran) -> None:
    events = {tournament.event_id: tournament.id for tournament in default_run.evidence.plan.tournaments}
    corrected = default_run.rows("provider.publications", correction=True)
    assert corrected
    for cell in corrected:
        [score] = default_run.rows(
            "platform.hole_scores", tournament_id=events[cell.event_id], golfer_id=cell.golfer_id, round=cell.round,
            hole=cell.hole,
        )  # fmt: skip
        assert score.strokes == cell.strokes


# --- the evidence ---------------------------------------------------------------------------------------------------


def test_the_run_directory_is_whole_and_verifies(default_run: Ran) -> None:
    expected = {
        "plan.json", "journal.jsonl", "verdict.json", "report.html", "report.md", "junit.xml", "trace.json",
        "ledger.beancount", "log.jsonl", "manifest.json", "snapshots.jsonl", "books",
    }  # fmt: skip
    assert {path.name for path in default_run.path.iterdir()} == expected
    assert {path.stem for path in (default_run.path / "books").iterdir()} == set(BOOKS)
    assert absence("verify", default_run.path).exit_code == 0


def test_no_event_holds_a_fraction(default_run: Ran) -> None:
    def refuse(text: str) -> float:
        raise AssertionError(f"a float in the journal: {text}")

    lines = (default_run.path / "journal.jsonl").read_text().splitlines()
    assert len(lines) > 1_000
    for line in lines:
        json.loads(line, parse_float=refuse, parse_constant=refuse)


def test_every_cause_is_an_event_that_came_before(default_run: Ran) -> None:
    seen: dict[str, int] = {}
    without = []
    before_at = 0
    for event in default_run.evidence.journal():
        assert before_at <= event.at, event
        before_at = event.at
        if event.cause is None:
            without.append(event.kind)
        else:
            assert seen[event.cause] <= event.at, event
        seen[event.id] = event.at
    assert without == ["run.started"], "only the start of a run has no cause"


def test_nothing_in_a_run_of_another_decade_carries_the_time_of_today(tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / "small.yaml").read_text()
    scenario = tmp_path / "later.yaml"
    scenario.write_text(f"{text}\ncalendar: {{starts: 2041-06-04, days: 14, recovery_h: 96}}\n")
    ran = run_into(tmp_path / "out", scenario)
    assert ran.exit_code == 0, ran.stdout
    plan = ran.evidence.plan
    assert all(plan.starts_at <= event.at <= plan.recovery_until_at for event in ran.evidence.journal())
    for name, schema in BOOKS.items():
        columns = [column for column, kind in schema.columns.items() if kind is Column.AT]
        for row in ran.evidence.rows(name, *columns) if columns else ():
            assert all(at is None or at >= plan.starts_at for at in row), (name, columns, row)
    for path in (ran.path / "journal.jsonl", ran.path / "plan.json"):
        assert f'"{datetime.datetime.now(datetime.UTC).year}-' not in path.read_text()


# --- the ledger, by an outside judge --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beancount(default_run: Ran) -> tuple[list[Any], list[Any]]:
    entries, errors, _ = loader.load_file(str(default_run.path / "ledger.beancount"))
    return entries, errors


def test_bean_check_passes_on_the_ledger(beancount: tuple[list[Any], list[Any]]) -> None:
    entries, errors = beancount
    assert errors == []
    assert sum(isinstance(entry, Transaction) for entry in entries) > 500


def test_beancount_finds_the_balances_of_the_ledger_book(
    default_run: Ran, beancount: tuple[list[Any], list[Any]]
) -> None:
    entries, _ = beancount
    ours: Counter[str] = Counter()
    for _, account, cents in default_run.evidence.rows("platform.ledger_postings", "txn_id", "account", "amount_cents"):
        ours[account] += cents
    names = {entry.account: entry.meta["ledger_account"] for entry in entries if isinstance(entry, Open)}
    theirs: Counter[str] = Counter()
    for entry in entries:
        if isinstance(entry, Transaction):
            for posting in entry.postings:
                assert posting.units is not None
                assert posting.units.number is not None
                cents = posting.units.number * 100
                assert cents == int(cents)
                theirs[names[posting.account]] += int(cents)
    assert dict(theirs) == dict(ours)
    assert len(ours) > 100


# --- other lengths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "tournaments"), [(7, 1), (30, 4)])
def test_an_absence_of_other_length_passes(runs: SharedRuns, days: int, tournaments: int) -> None:
    ran = runs("default", "--days", str(days))
    assert ran.exit_code == 0, ran.stdout
    assert ran.verdict.status.value == "PASS"
    plan = ran.evidence.plan
    assert plan.absence_until_at - plan.starts_at == days * DAY_MS
    assert len(ran.rows("provider.completions")) == tournaments
    ends = {one.status for one in ran.rows("platform.contests")}
    assert ends == {"PAID_OUT", "CANCELLED"}
    assert {bite.fault for bite in ran.rows("injector.bites")} == FAULTS
