"""Snapshots of each simulated midnight, a replay that compares them, and one that stops to look."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from absence.exit_codes import ExitCode
from contest_platform.store.tables import TABLES
from evidence.layout import SNAPSHOTS
from evidence.run import Evidence
from evidence.verify import verify
from scenarios import load, make_plan
from simulator.snapshots import DAY_MS, OF_CUSTOMERS, Snapshots
from simulator.standing import standing
from tests.support import alone
from tests.support.command import Ran, SharedRuns, Told, absence, scenario_with

CALM_MIDNIGHTS = 18
"""Fourteen days and the recovery after them."""


def snapshots(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / SNAPSHOTS).read_bytes().splitlines()]


# --- what stands in them ----------------------------------------------------------------------------------------------


def test_each_midnight_has_its_snapshot_and_they_are_in_the_manifest(default_run: Ran) -> None:
    taken, plan = snapshots(default_run.path), default_run.evidence.plan
    assert [one["days"] for one in taken] == list(range(1, CALM_MIDNIGHTS + 1))
    assert [one["at"] for one in taken] == [plan.starts_at + one["days"] * DAY_MS for one in taken]
    assert SNAPSHOTS in default_run.evidence.manifest.files


def test_a_snapshot_names_the_last_event_and_audit_row_before_it(default_run: Ran) -> None:
    events = list(default_run.evidence.journal())
    heads = {event.id: json.loads(line)["hash"] for event, line in zip(
        events, (default_run.path / "journal.jsonl").read_bytes().splitlines(), strict=True)}  # fmt: skip
    rows = default_run.evidence.rows("platform.audit_log", "seq", "at", "hash")
    audit = {seq: (at, digest) for seq, at, digest in rows}
    for one in snapshots(default_run.path):
        count = sum(event.at < one["at"] for event in events)
        assert (one["events"], one["head"]) == (count, heads[f"e{count}"])
        seq = max(seq for seq, (at, _) in audit.items() if at < one["at"])
        assert one["audit"] == {"seq": seq, "hash": audit[seq][1]}


def test_the_last_snapshot_is_what_the_books_come_to(default_run: Ran) -> None:
    last = snapshots(default_run.path)[-1]
    evidence = default_run.evidence
    assert last["rows"] == {table: evidence.count(f"platform.{table}") for table in TABLES}
    balances: dict[str, int] = {}
    for account, cents in evidence.rows("platform.ledger_postings", "account", "amount_cents"):
        shown = f"{account.rpartition(':')[0]}:*" if account.startswith(OF_CUSTOMERS) else account
        balances[shown] = balances.get(shown, 0) + cents
    assert last["ledger"] == {account: cents for account, cents in balances.items() if cents}
    contests: dict[str, list[str]] = {}
    for contest, status in evidence.rows("platform.contests", "contest_id", "status"):
        contests.setdefault(status, []).append(contest)
    assert last["contests"] == contests


def test_the_money_of_customers_is_one_line_of_the_ledger_and_every_snapshot_is_in_balance(default_run: Ran) -> None:
    taken = snapshots(default_run.path)
    assert all(sum(one["ledger"].values()) == 0 for one in taken)
    assert any("liabilities:user_wallet:*" in one["ledger"] for one in taken)
    assert max(len(one["ledger"]) for one in taken) < 40


def test_snapshots_are_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    plan, taken = make_plan(load("small"), 1), list[bytes]()
    without = alone.simulated(plan, tmp_path / "without")
    watched = alone.simulated(plan, tmp_path / "watched", onlookers=[Snapshots(plan.starts_at, taken.append)])
    assert len(taken) == (plan.recovery_until_at - plan.starts_at) // DAY_MS
    assert without.evidence.manifest.identity == watched.evidence.manifest.identity


def test_a_halted_run_has_the_midnights_that_it_saw(tmp_path: Path) -> None:
    scenario = scenario_with(tmp_path, "violations.audit_tail_cut")
    told = absence("run", scenario, "--halt-on-anomaly", "--out", tmp_path / "out", "--json").json
    evidence = Evidence.open(Path(told["run_dir"]))
    assert evidence.halt is not None
    days = (evidence.halt.at - evidence.plan.starts_at) // DAY_MS
    assert [one["days"] for one in snapshots(evidence.path)] == list(range(1, days + 1))


# --- compared by a replay ---------------------------------------------------------------------------------------------


@pytest.fixture
def copied(small_run: Ran, tmp_path: Path) -> Path:
    return Path(copytree(small_run.path, tmp_path / "copy"))


def altered(run_dir: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    taken = snapshots(run_dir)
    change(taken)
    lines = [json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n" for one in taken]
    (run_dir / SNAPSHOTS).write_text("".join(lines))


def test_a_replay_says_how_many_snapshots_agreed(small_run: Ran) -> None:
    told = absence("replay", small_run.path, "--json")
    assert (told.exit_code, told.json["snapshots"]) == (0, len(snapshots(small_run.path)))


def test_to_write_them_anew_unaltered_changes_nothing(copied: Path) -> None:
    altered(copied, list)
    assert verify(copied) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda taken: taken[4]["rows"].update(entries=7), "snapshot 5 (line 5 of snapshots.jsonl, day 6 Sun 07 Jun"),
        (lambda taken: taken[4]["rows"].update(entries=7), "rows.entries was 7, and is 20 in the replay"),
        (lambda taken: taken[9]["ledger"].pop("assets:stripe_available"), "ledger.assets:stripe_available was None"),
        (lambda taken: taken[2].update(head="0", events=1), "(1 more values differ)"),
        (lambda taken: taken.pop(),
         "snapshot 18 (line 18 of snapshots.jsonl, day 19 Sat 20 Jun 00:00 UTC): the recorded run had ended before it"),
        (lambda taken: taken.append(taken[-1]),
         "snapshot 19 (line 19 of snapshots.jsonl, day 19 Sat 20 Jun 00:00 UTC): the replay has ended before it"),
    ],
)  # fmt: skip
def test_a_snapshot_that_differs_is_named_with_its_first_value(
    change: Callable[[list[dict[str, Any]]], Any], said: str, copied: Path
) -> None:
    altered(copied, change)
    told = absence("replay", copied)
    assert told.exit_code == ExitCode.STATE_CORRUPT
    assert told.stdout.startswith("DIVERGED at snapshot ")
    assert said in told.stdout
    assert absence("replay", copied, "--json").json["reproduced"] is False
    assert SNAPSHOTS in {problem.file for problem in verify(copied)}


def test_the_replay_of_a_run_without_any_compares_none(copied: Path) -> None:
    (copied / SNAPSHOTS).unlink()
    told = absence("replay", copied, "--json")
    assert (told.exit_code, told.json["snapshots"]) == (0, 0)


# --- stopped to look --------------------------------------------------------------------------------------------------


def until(run_dir: Path, text: str) -> dict[str, Any]:
    told = absence("replay", run_dir, "--until", text, "--json")
    assert told.exit_code == 0, told.stdout + told.stderr
    return dict(told.json)


MIDNIGHT = (
    "day 5", "day 5 00:00", "2026-06-06", "2026-06-06T00:00Z", "2026-06-06T02:00:00+02:00", "+4d", "+3d24h", "+95h60m",
)  # fmt: skip


@pytest.mark.parametrize("text", MIDNIGHT)
def test_an_instant_can_be_said_in_many_ways(text: str, small_run: Ran) -> None:
    stopped = until(small_run.path, text)
    day = snapshots(small_run.path)[3]
    assert stopped["state"]["at"] == day["at"]
    assert (stopped["events"], stopped["snapshots"]) == (day["events"], 4)
    assert {name: stopped["state"][name] for name in ("head", "audit", "ledger", "rows")} == {
        name: day[name] for name in ("head", "audit", "ledger", "rows")
    }


def test_an_instant_is_before_what_is_due_at_it_and_an_event_after(small_run: Ran) -> None:
    plan = small_run.evidence.plan
    locked = next(
        event for event in small_run.evidence.journal()
        if event.subject == "contests.advance" and event.at == plan.contests[0].lock_at
    )  # fmt: skip
    hours = (plan.contests[0].lock_at - plan.starts_at) // 60_000
    before, after = until(small_run.path, f"+{hours}m"), until(small_run.path, locked.id)
    assert [contest["status"] for contest in before["state"]["contests"]] == ["SCHEDULED"]
    assert [contest["status"] for contest in after["state"]["contests"]] == ["LOCKED"]
    assert before["state"]["at"] == after["state"]["at"] == locked.at
    assert before["events"] < int(locked.id[1:]) <= after["events"]


def test_the_state_there_is_printed_for_people(small_run: Ran) -> None:
    told = absence("replay", small_run.path, "--until", "day 9 06:00")
    assert told.exit_code == 0
    for words in ("REPRODUCED to day 9 Wed 10 Jun 06:00 UTC: ", "8 snapshots agree", "short-strokes", "Ledger",
                  "assets:stripe_available", "Open alerts: none", "Under way", "Stopped services: none"):  # fmt: skip
        assert words in told.stdout, words


def test_what_is_under_way_and_open_is_told(runs: SharedRuns) -> None:
    ran = runs("iteration06")
    [first, *_] = ran.rows("platform.runbook_executions", runbook_name="payout_transfer_stuck_in_retryable")
    event = next(event for event in ran.evidence.journal() if event.at > first.start_time + 1_000)
    state = until(ran.path, event.id)["state"]
    assert first.id in {execution["id"] for execution in state["under_way"]["executions"]}
    assert any("PayoutTransferStuck" in alert["dedup_key"] for alert in state["alerts"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("day 99", "day 99 is 2026-09-08T00:00:00Z: the run is from 2026-06-02T00:00:00Z to 2026-06-20T00:00:00Z"),
        ("day 1", "the run is from"),
        ("2025-01-01", "the run is from"),
        ("+999999999d", "+999999999d is in no year of the calendar: the run is from"),
        ("+99999999999999999d", "is in no year of the calendar"),
        ("0001-01-01T00:00+14:00", "is in no year of the calendar"),
        ("e99999", "there is no event e99999: the run has "),
        ("yesterday", "'yesterday' is no instant: give `day 5`"),
        ("+3", "is no instant"),
        ("e0", "is no instant"),
    ],
)
def test_what_is_no_instant_of_the_run_is_wrong_usage(text: str, said: str, small_run: Ran) -> None:
    told = absence("replay", small_run.path, "--until", text)
    assert told.exit_code == ExitCode.USAGE
    assert said in " ".join(told.stderr.split())


def test_the_event_with_which_a_run_ends_is_not_stopped_at(small_run: Ran) -> None:
    last = f"e{small_run.evidence.manifest.journal_events}"
    told = absence("replay", small_run.path, "--until", last)
    assert told.exit_code == ExitCode.USAGE
    assert f"{last} is written as the run ends" in told.stderr


def test_a_difference_before_the_instant_is_found_and_one_after_it_is_not(copied: Path) -> None:
    altered(copied, lambda taken: taken[4]["rows"].update(entries=7))

    def stopped(text: str) -> Told:
        return absence("replay", copied, "--until", text)

    assert stopped("day 5 23:00").exit_code == 0
    assert stopped("day 6").exit_code == ExitCode.STATE_CORRUPT


def test_to_look_changes_nothing(tmp_path: Path) -> None:
    class Looker:
        calls = None

        def __init__(self, at: int) -> None:
            self.next_at = at

        def look(self, world: Any, kernel: Any) -> bool:
            self.next_at += 6 * 3_600_000
            standing(world, kernel)
            return True

    plan = make_plan(load("small"), 1)
    without = alone.simulated(plan, tmp_path / "without")
    watched = alone.simulated(plan, tmp_path / "watched", onlookers=[Looker(plan.starts_at + 1)])
    assert without.evidence.manifest.identity == watched.evidence.manifest.identity
