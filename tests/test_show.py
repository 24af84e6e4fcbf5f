"""One thing of a run is shown as it stood at an instant, with what had happened to it by then, and nothing of later."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.words import iso
from tests.support.command import Ran, SharedRuns, absence, held, scenario_with

DAY_MS = 86_400_000


def shown(ran: Ran, until: str, entity: str) -> Any:
    told = absence("replay", ran.path, "--until", until, "--show", entity, "--json")
    assert told.exit_code == 0, told.stdout + told.stderr
    return told.json


def images(ran: Ran, table: str, until_at: int) -> dict[str, dict[str, Any]]:
    """The rows of `table` as they stood before `until_at`, by the platform's own audit trail: what each change left."""
    rows: dict[str, dict[str, Any]] = {}
    for row in ran.rows("platform.audit_log"):
        kind, _, key = row.subject.partition("/")
        if kind == table and row.after is not None and row.at < until_at:
            rows.setdefault(key, {}).update(json.loads(row.after))
    return rows


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


@pytest.fixture(scope="module")
def crashed(runs: SharedRuns, shared: Path) -> Ran:
    """A run in which a service dies and is healed."""
    folder = shared / "crashed"
    folder.mkdir(exist_ok=True)
    with held(folder / "lock"):
        return runs(scenario_with(folder, "platform.crash"))


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("entries", "created_at"),
        ("entries", "valid_at"),
        ("contests", "completed_at"),
        ("settlement_packs", "terminalized_at"),
        ("transfers", "done_at"),
    ],
)
def test_what_is_shown_is_what_the_audit_trail_says_of_that_instant(small_run: Ran, table: str, column: str) -> None:
    """A moment after the first of its kind got there, when others have not."""
    instants = sorted(at for row in small_run.rows(f"platform.{table}") if (at := getattr(row, column)) is not None)
    until_at = instants[0] + 1
    by_audit = images(small_run, table, until_at)
    key = next(key for key, row in by_audit.items() if row.get(column) == instants[0])
    told = shown(small_run, iso(until_at), key)
    [row] = [found["row"] for found in told["rows"] if found["is_it"] and found["table"] == table]
    assert told["at"] == until_at
    assert row[column] == instants[0]
    assert row | by_audit[key] == row


def test_a_thing_changes_between_two_instants(small_run: Ran) -> None:
    contest = small_run.evidence.plan.contests[0]
    early, late = (
        next(row["row"] for row in shown(small_run, until, contest.id)["rows"] if row["is_it"])
        for until in ("day 2", "day 12")
    )
    assert (early["status"], late["status"]) == ("SCHEDULED", "PAID_OUT")


def test_every_row_and_event_that_names_it_is_there_and_no_other(small_run: Ran) -> None:
    plan = small_run.evidence.plan
    user = min(entry.user_id for entry in plan.entries)
    told = shown(small_run, "day 8", user)
    until_at, whole = plan.starts_at + 7 * DAY_MS, re.compile(rf"(^|[^\w-]){user}($|[^\w-])")
    by_journal = [
        event.id
        for event in small_run.evidence.journal()
        if event.at < until_at and any(map(whole.search, texts(event._asdict())))
    ]
    assert by_journal
    assert [event["id"] for event in told["events"]] == by_journal
    audited = [row["row"]["seq"] for row in told["rows"] if row["table"] == "audit_log"]
    assert audited == [
        row.seq
        for row in small_run.rows("platform.audit_log")
        if row.at < until_at and any(map(whole.search, texts(row._asdict())))
    ]
    assert {row["table"] for row in told["rows"]} >= {"users", "entries", "ledger_postings", "audit_log"}


def test_an_id_is_not_found_in_a_longer_one(small_run: Ran) -> None:
    user = small_run.evidence.plan.entries[0].user_id
    told = absence("replay", small_run.path, "--until", "day 8", "--show", user[:-1])
    assert told.exit_code == 2
    assert f"nothing is called {user[:-1]}" in told.stderr


def test_a_row_of_any_table_is_found_by_table_and_key(small_run: Ran) -> None:
    told = shown(small_run, "day 8", "audit_log/7")
    [row] = [each["row"] for each in told["rows"] if each["is_it"]]
    [written] = small_run.rows("platform.audit_log", seq=7)
    assert (row["seq"], row["hash"]) == (7, written.hash)


def test_of_a_host_it_is_told_which_services_run(crashed: Ran) -> None:
    [bite] = crashed.rows("injector.bites")
    stopped = next(row for row in crashed.rows("hosts.services") if row.by == "crash")
    event = next(event for event in crashed.evidence.journal() if event.kind == "service.stopped")
    assert bite.entity == stopped.service
    assert shown(crashed, event.id, stopped.host)["services"][stopped.service] is False
    assert shown(crashed, "day 12", stopped.host)["services"][stopped.service] is True


def test_a_person_reads_it_in_days_and_dollars(small_run: Ran) -> None:
    contest = small_run.evidence.plan.contests[0]
    told = absence("replay", small_run.path, "--until", "day 8", "--show", contest.id)
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert lines[0].startswith(f"{contest.id}, as it stood on day 8 ")
    assert "  fee_cents         $10.00" in lines
    assert any(line.startswith("Events, ") for line in lines)


def test_what_does_not_exist_is_refused_with_what_is_nearest(small_run: Ran) -> None:
    contest = small_run.evidence.plan.contests[0].id
    told = absence("replay", small_run.path, "--until", "day 2", "--show", f"{contest}s")
    assert told.exit_code == 2
    assert f"did you mean {contest} or " in told.stderr


def test_what_is_not_there_yet_is_refused_with_when_it_comes(small_run: Ran) -> None:
    transfer = small_run.rows("processor.transfers")[0].transfer_id
    first = next(event for event in small_run.evidence.journal() if transfer in texts(event._asdict()))
    told = absence("replay", small_run.path, "--until", "day 2", "--show", transfer)
    assert told.exit_code == 2
    assert f"first named by event {first.id}, day " in told.stderr


def test_what_is_to_be_shown_needs_an_instant(small_run: Ran) -> None:
    told = absence("replay", small_run.path, "--show", "anything")
    assert told.exit_code == 2
    assert "--until" in told.stderr
