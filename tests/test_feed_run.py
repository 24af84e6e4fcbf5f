"""A run on a recorded live feed: its lies are met and told apart, and the end is what the recording says last."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.command import Ran, SharedRuns, absence, runs_in
from tests.support.data import data_dir


@pytest.fixture(scope="session")
def recording() -> Path:
    return data_dir() / "golf" / "masters2026_feed_deltas.csv"


@pytest.fixture(scope="session")
def feed_run(runs: SharedRuns, recording: Path) -> Ran:
    return runs("default", "--feed", recording, "--seed", "7")


def last_values(path: Path) -> dict[tuple[str, int, int], int]:
    """The last value of each golfer, round and hole, read without any code of ours."""
    frame = pd.read_csv(path, dtype={"player_id": str})
    frame["at"] = pd.to_datetime(frame["snapshot_utc"])
    last = frame.sort_values("at", kind="stable").groupby(["player_id", "round", "hole"])["strokes"].last()
    return {(str(player), int(round), int(hole)): int(strokes) for (player, round, hole), strokes in last.items()}


def receipts(ran: Ran, verdict: str) -> list[Any]:
    return ran.rows("platform.ingestion_receipts", tournament_id="t1", verdict=verdict)


def test_the_run_on_the_recording_passes(feed_run: Ran) -> None:
    assert feed_run.exit_code == 0, feed_run.stdout
    assert feed_run.verdict.status.value == "PASS"
    planned = feed_run.evidence.plan.faults
    assert f"{len(planned)} of {len(planned)} bit" in feed_run.stdout
    assert len(planned) >= 10, "the faults of the scenario are on beside what the recording does by itself"


def test_the_platforms_scores_are_the_last_values_of_the_recording(feed_run: Ran, recording: Path) -> None:
    expected = last_values(recording)
    assert len(expected) == 5_220
    ours = {
        (score.golfer_id, score.round, score.hole): score.strokes
        for score in feed_run.rows("platform.hole_scores", tournament_id="t1")
    }
    by_fault = {
        (cell.golfer_id, cell.round, cell.hole): cell.strokes
        for fault in feed_run.evidence.plan.faults
        if fault.fault == "provider.correction" and str(fault.entity).startswith("t1/")
        for cell in feed_run.rows("provider.publications", event_id="event-t1", correction=True)
        if cell.golfer_id == str(fault.entity).partition("/")[2]
        and (cell.round, cell.hole) == (fault.params["round"], fault.params["hole"])
    }
    assert len(by_fault) <= 1
    assert {**expected, **by_fault} == ours


def test_the_last_values_are_not_what_an_earlier_reading_would_give(recording: Path) -> None:
    """If nothing was ever changed, equality with the last values would say little."""
    first: dict[tuple[str, str, str], str] = {}
    with recording.open() as file:
        for row in csv.DictReader(file):
            first.setdefault((row["player_id"], row["round"], row["hole"]), row["strokes"])
    changed = [
        key
        for key, strokes in last_values(recording).items()
        if int(first[key[0], str(key[1]), str(key[2])]) != strokes
    ]
    assert len(changed) > 500


def test_the_answer_about_another_event_was_rejected(feed_run: Ran) -> None:
    served = feed_run.rows("provider.requests", glitch="wrong_event")
    assert served
    refused = [
        batch
        for batch in feed_run.rows("platform.ingestion_batches", tournament_id="t1")
        if batch.event_id != "event-t1"
    ]
    assert refused
    assert min(batch.requested_at for batch in refused) <= served[0].at
    for batch in refused:
        assert batch.admitted == batch.duplicates == batch.corrections == batch.quarantined == 0
        [audited] = feed_run.rows("platform.audit_log", subject=f"ingestion_batches/{batch.batch_id}")
        assert audited.reason == f"REJECT WRONG_EVENT {batch.event_id}"
        assert all(
            receipt.verdict == "REJECT"
            for receipt in feed_run.rows("platform.ingestion_receipts", batch_id=batch.batch_id)
        )
    field = {golfer.id for tournament in feed_run.evidence.plan.tournaments for golfer in tournament.golfers}
    assert {golfer.golfer_id for golfer in feed_run.rows("platform.golfers")} <= field


def test_empty_answers_came_while_play_was_on_and_were_no_success(feed_run: Ran) -> None:
    empty = feed_run.rows("provider.requests", glitch="empty")
    assert len({(row.at // 86_400_000) for row in empty}) >= 1
    assert all(row.status == 200 and row.cells == 0 for row in empty)
    play = next(t for t in feed_run.evidence.plan.tournaments if t.id == "t1").play
    assert all(any(from_at <= row.at < until_at for from_at, until_at in play) for row in empty)


def test_the_scrambled_holes_were_quarantined_and_the_quarantine_resolved(feed_run: Ran) -> None:
    assert feed_run.rows("provider.requests", glitch="scrambled")
    quarantined = receipts(feed_run, "QUARANTINE")
    assert len(quarantined) > 500
    assert all(receipt.reason for receipt in quarantined)
    resolved = {row.batch_id: row for row in feed_run.rows("platform.quarantine_resolutions")}
    assert {receipt.batch_id for receipt in quarantined} == set(resolved)
    batches = {batch.batch_id for batch in feed_run.rows("platform.ingestion_batches")}
    for row in resolved.values():
        assert row.resolved_by_batch_id in batches
        assert row.resolved_by_batch_id > row.batch_id
        assert row.how
    assert feed_run.status("ingestion.no_quarantine_left") == "PASS"


def test_no_scrambled_stroke_was_ever_admitted(feed_run: Ran) -> None:
    tournament = next(t for t in feed_run.evidence.plan.tournaments if t.id == "t1")
    [scrambled] = [glitch for glitch in tournament.glitches if glitch.kind == "scrambled"]
    official: dict[tuple[str, int, int], set[int]] = {}
    for cell in feed_run.rows("provider.publications", event_id="event-t1"):
        official.setdefault((cell.golfer_id, cell.round, cell.hole), set()).add(cell.strokes)
    false = {(g, r, h): strokes for g, r, h, strokes in scrambled.cells if strokes not in official[g, r, h]}
    assert len(false) > 500
    admitted = {
        (receipt.golfer_id, receipt.round, receipt.hole, receipt.strokes)
        for verdict in ("ADMIT", "CORRECTION")
        for receipt in receipts(feed_run, verdict)
    }
    assert not admitted & {(*key, strokes) for key, strokes in false.items()}


def test_corrections_were_admitted_and_those_that_were_reverted_too(feed_run: Ran) -> None:
    """Two overnight corrections of the recording were taken back two and a half hours later."""
    history: dict[tuple[str, int, int], list[int]] = {}
    for receipt in feed_run.rows("platform.ingestion_receipts", tournament_id="t1"):
        if receipt.verdict in ("ADMIT", "CORRECTION"):
            history.setdefault((receipt.golfer_id, receipt.round, receipt.hole), []).append(receipt.strokes)
    corrected = {key: values for key, values in history.items() if len(values) > 1}
    reverted = [key for key, values in corrected.items() if len(values) == 3 and values[0] == values[2]]
    assert len(corrected) > len(reverted) >= 2
    expected = Counter(
        (cell.golfer_id, cell.round, cell.hole)
        for cell in feed_run.rows("provider.publications", event_id="event-t1", correction=True)
    )
    assert {key: len(values) - 1 for key, values in corrected.items()} == expected


# --- broken recordings ----------------------------------------------------------------------------------------------


@pytest.fixture
def lines(recording: Path) -> list[str]:
    return recording.read_text().splitlines()


def test_a_broken_row_of_a_recording_is_named(tmp_path: Path, lines: list[str]) -> None:
    feed = tmp_path / "mine.csv"
    broken = lines[99].split(",")
    broken[6] = "four"
    feed.write_text("\n".join([*lines[:99], ",".join(broken), *lines[100:]]))
    told = absence("run", "--feed", feed, "--out", tmp_path / "out")
    assert told.exit_code == 20
    column = len(",".join(broken[:6])) + 2
    assert f"{feed}:100:{column}: strokes: expected a whole number, got 'four'" in told.stderr
    assert ",".join(broken) in told.stderr, "the row itself is shown"
    assert runs_in(tmp_path / "out") == []


def test_all_broken_rows_are_named_at_once(tmp_path: Path, lines: list[str]) -> None:
    feed = tmp_path / "mine.csv"
    feed.write_text("\n".join([*lines[:10], "2026-04-09T18:45:08,x", lines[11].replace("new", "old"), *lines[12:20]]))
    told = absence("run", "--feed", feed, "--out", tmp_path / "out")
    assert told.exit_code == 20
    assert f"{feed}:11:1: expected 9 columns, got 2" in told.stderr
    assert f"{feed}:12:" in told.stderr
    assert "expected new or changed, got 'old'" in told.stderr


def test_a_file_that_is_no_recording_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    feed = tmp_path / "mine.csv"
    feed.write_text("a,b\n1,2\n")
    told = absence("run", "--feed", feed, "--out", tmp_path / "out")
    assert told.exit_code == 20
    assert f"{feed}:1:1: the columns snapshot_utc," in told.stderr
