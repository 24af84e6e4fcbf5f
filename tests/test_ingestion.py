"""Ingestion: when it polls, what it makes of each answer, and that no crash and no lie of the feed costs a score."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from contest_platform.domain import receipts
from contest_platform.domain.polling import Standing, Tournament, next_poll
from contest_platform.services import scores
from contest_platform.services.ingestion import ask
from contest_platform.store.sqlite import SqliteTx
from evidence.plan import Glitch
from scenarios import recording
from seams.faults import Refuse
from tests.support.data import data_dir
from tests.support.fake_world import MONDAY
from tests.support.ingestion_world import (
    DAY,
    END,
    HOUR,
    MINUTE,
    TEE,
    IngestionWorld,
    fault_on_polls,
    publication,
    tournament,
)

HOLES = [(golfer, 1, hole, strokes) for golfer in ("g1", "g2") for hole, strokes in ((1, 4), (2, 3), (3, 5))]
PLAYED = [publication(TEE + (1 + 10 * n) * MINUTE, [cell]) for n, cell in enumerate(HOLES)]
"""Six holes of round 1, one every ten minutes from a minute after the start."""
OVER = publication(END - 5 * MINUTE, complete=True)


def played(*more: Any, glitches: Any = ()) -> IngestionWorld:
    publications = sorted([*PLAYED, OVER, *more], key=lambda publication: publication.at)
    return IngestionWorld(tournament(publications, glitches))


def glitch(kind: Any, from_min: int, until_min: int, *cells: tuple[str, int, int, int]) -> Glitch:
    return Glitch(kind=kind, from_at=TEE + from_min * MINUTE, until_at=TEE + until_min * MINUTE, cells=list(cells))


def official(world: IngestionWorld, cutoff_at: int) -> tuple[dict[str, Any], str]:
    return scores.official_cards(SqliteTx(world.db, 0, ""), "t1", cutoff_at)


def complete(world: IngestionWorld, hold_ms: int = DAY) -> int:
    """What the contests service does once the event is over. Returns the cut-off."""
    cutoff_at = world.runtime.now() + hold_ms
    world.set_contest("c1", status="COMPLETE", completed_at=world.runtime.now(), cutoff_at=cutoff_at)
    return cutoff_at


# --- when -----------------------------------------------------------------------------------------------------------


def test_polls_come_hourly_from_a_day_before_every_ten_minutes_in_play_and_hourly_after() -> None:
    world = played()
    world.run_until(END + 3 * HOUR)
    polls = world.polls()
    assert polls[:25] == [TEE + (n - 24) * HOUR for n in range(25)]
    assert polls[25:48] == [TEE + (n + 1) * 10 * MINUTE for n in range(23)]
    assert polls[48:] == [END, END + HOUR, END + 2 * HOUR]


def test_a_full_poll_follows_the_cut_off_and_settlement_is_told() -> None:
    world = played()
    world.run_until(END + 30 * MINUTE)
    cutoff_at = complete(world)
    world.run_until(cutoff_at + HOUR)
    noted = world.checkpoint("full_poll:t1")
    assert cutoff_at < noted["begun_at"] < noted["received_at"] < cutoff_at + 11 * MINUTE
    assert any(topic == "settlement" and at >= noted["received_at"] for at, topic in world.notified)
    full = [row for row in world.rows("provider.requests") if row["since_revision"] is None]
    assert [row["at"] > cutoff_at for row in full] == [False, True]


def test_a_full_poll_that_fails_is_tried_again_every_ten_minutes() -> None:
    world = played()
    world.run_until(END + 30 * MINUTE)
    cutoff_at = complete(world)
    fault_on_polls(world, lambda call: Refuse(503) if cutoff_at < call.at < cutoff_at + 35 * MINUTE else None)
    world.run_until(cutoff_at + 2 * HOUR)
    refused = [row["at"] // MINUTE for row in world.rows("provider.requests") if row["status"] == 503]
    assert [at - refused[0] for at in refused] == [0, 10, 20]
    assert cutoff_at + 35 * MINUTE < world.checkpoint("full_poll:t1")["begun_at"] < cutoff_at + 45 * MINUTE


def test_after_the_last_settlement_polls_grow_rare_and_end() -> None:
    world = played()
    world.run_until(END + 30 * MINUTE)
    cutoff_at = complete(world)
    world.run_until(cutoff_at + HOUR)
    settled_at = world.runtime.now()
    world.set_contest("c1", status="SETTLED", settled_at=settled_at)
    world.run_until(settled_at + 10 * DAY)
    afterwards = [at for at in world.polls() if at > settled_at]
    assert {at % (6 * HOUR) for at in afterwards} == {0}
    assert len(afterwards) == 8
    assert afterwards[-1] <= settled_at + 2 * DAY


def test_a_tournament_whose_contests_are_all_cancelled_is_played_to_its_end_and_then_left() -> None:
    world = played()
    world.run_until(TEE)
    world.set_contest("c1", status="CANCELLED", closed_at=TEE)
    world.run_until(TEE + 20 * DAY)
    assert len(world.scores()) == 6
    assert TEE + 2 * DAY - 6 * HOUR < world.polls()[-1] <= END + 2 * DAY


def test_an_ended_contest_is_owed_a_full_poll_though_the_event_never_said_that_it_was_over() -> None:
    world = IngestionWorld(tournament(PLAYED))
    world.run_until(END + 30 * MINUTE)
    cutoff_at = complete(world, hold_ms=2 * HOUR)
    world.run_until(cutoff_at + HOUR)
    assert world.checkpoint("full_poll:t1")["begun_at"] > cutoff_at
    assert world.all("select completed_at from tournaments") == [{"completed_at": None}]


PLAN = Tournament("t", "e", 2, 3, TEE, END, ((TEE, END),))
AHEAD = Standing(owed_at=None, event_over=False, over_at=None, retry=False)


def test_waiting_for_the_first_poll_costs_one_look_into_the_store() -> None:
    assert next_poll(PLAN, AHEAD, MONDAY) == TEE - DAY
    world = played()
    world.run_until(TEE - DAY)
    assert [operation for operation in world.transactions if operation.startswith("ingestion")] == [
        "ingestion.schedule"
    ]


def test_between_two_days_of_play_polls_are_hourly_from_the_last_instant_of_play_on() -> None:
    plan = replace(PLAN, play=((TEE, END), (TEE + DAY, END + DAY)))
    assert next_poll(plan, AHEAD, END - 20 * MINUTE) == END - 10 * MINUTE
    assert next_poll(plan, AHEAD, END - 10 * MINUTE) == END
    assert next_poll(plan, AHEAD, END) == END + HOUR


def test_after_the_last_putt_the_official_end_is_awaited_every_ten_minutes_but_not_for_ever() -> None:
    assert next_poll(PLAN, AHEAD, END) == END + 10 * MINUTE
    assert next_poll(PLAN, replace(AHEAD, event_over=True), END) == END + HOUR
    world = IngestionWorld(tournament(PLAYED))
    world.run_until(END + 12 * HOUR)
    waiting = [at - END for at in world.polls() if at >= END]
    assert waiting[:36] == [n * 10 * MINUTE for n in range(36)]
    assert {at % HOUR for at in waiting[38:]} == {0}


def test_play_that_begins_between_two_hours_is_met_at_its_first_tick() -> None:
    plan = replace(PLAN, play=((TEE + 15 * MINUTE, END),))
    assert next_poll(plan, AHEAD, TEE) == TEE + 20 * MINUTE


# --- what an answer is worth ----------------------------------------------------------------------------------------


def test_the_field_comes_in_before_the_start_and_contests_are_told() -> None:
    world = played()
    world.run_until(TEE - 23 * HOUR)
    assert [(row["golfer_id"], row["status"]) for row in world.table("golfers")] == [
        ("g1", "active"),
        ("g2", "active"),
        ("g3", "active"),
    ]
    ingested_at = world.all("select field_ingested_at from tournaments")[0]["field_ingested_at"]
    assert TEE - DAY < ingested_at < TEE - DAY + MINUTE
    assert (ingested_at, "contests") in world.notified
    assert json.loads(world.audited("field.ingest")[0]["after"]) == {"golfers": ["g1", "g2", "g3"]}


def test_each_hole_is_admitted_once_and_the_scores_show_it() -> None:
    world = played()
    world.run_until(END)
    assert world.scores() == {cell[:3]: cell[3] for cell in HOLES}
    assert Counter(row[4] for row in world.verdicts()) == {"ADMIT": 6}
    assert world.all("select published_at from hole_scores order by published_at") == [
        {"published_at": publication.at} for publication in PLAYED
    ]


def sha256_of_json(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()


def test_a_batch_is_one_transaction_with_one_audit_row_that_binds_its_receipts() -> None:
    world = played()
    world.run_until(END)
    batches = world.table("ingestion_batches")
    audited = world.audited("ingestion.batch")
    assert len(batches) == len(audited) == 6
    for batch, row in zip(batches, audited, strict=True):
        columns = "batch_id, n, tournament_id, golfer_id, round, hole, strokes, published_at, verdict, reason"
        receipts = [
            list(row.values())
            for row in world.all(
                f"select {columns} from ingestion_receipts where batch_id = ? order by n", batch["batch_id"]
            )
        ]
        assert batch["receipts_hash"] == sha256_of_json(receipts)
        assert json.loads(row["after"]) == {**batch, "full": bool(batch["full"])}
        assert row["subject"] == f"ingestion_batches/{batch['batch_id']}"
    assert world.transactions.count("ingestion.apply") == len(world.polls())


def test_polls_without_news_leave_no_batch_and_no_audit_row_and_are_counted() -> None:
    world = IngestionWorld(tournament([]))
    world.run_until(TEE - 20 * HOUR)
    rows = len(world.audited())
    world.run_until(END)
    assert world.table("ingestion_batches") == []
    assert len(world.audited()) == rows
    assert world.checkpoint()["polls"] == len(world.polls())
    assert world.checkpoint()["unchanged"] == len(world.polls()) - 1


def test_another_value_is_a_correction_and_a_reverted_one_too() -> None:
    world = played(publication(TEE + 65 * MINUTE, [("g1", 1, 1, 6)]), publication(TEE + 85 * MINUTE, [("g1", 1, 1, 4)]))
    world.run_until(END)
    corrections = [row for row in world.verdicts() if row[4] == "CORRECTION"]
    assert [row[3] for row in corrections] == [6, 4]
    assert world.scores()["g1", 1, 1] == 4


def test_a_full_answer_repeats_what_is_known_as_duplicates() -> None:
    world = played()
    world.run_until(END + 30 * MINUTE)
    cutoff_at = complete(world)
    world.run_until(cutoff_at + HOUR)
    batch = world.table("ingestion_batches")[-1]
    assert (batch["full"], batch["duplicates"], batch["admitted"], batch["since_revision"]) == (1, 6, 0, None)


def test_an_answer_about_another_event_is_rejected_whole_and_once() -> None:
    world = played(glitches=[glitch("wrong_event", 0, 35, ("g1", 1, 1, 9))])
    world.run_until(END)
    rejected = [row for row in world.table("ingestion_batches") if row["rejected"]]
    assert len(rejected) == 1
    assert rejected[0]["event_id"] != "event-t1"
    assert world.verdicts(rejected[0]["batch_id"]) == [("g1", 1, 1, 9, "REJECT", "WRONG_EVENT")]
    assert world.checkpoint()["repeated"] == 3
    assert world.scores() == {cell[:3]: cell[3] for cell in HOLES}


def test_a_wrong_event_as_the_first_answer_of_all_gives_no_field() -> None:
    world = played(glitches=[Glitch(kind="wrong_event", from_at=MONDAY, until_at=TEE - 20 * HOUR)])
    world.run_until(TEE - 21 * HOUR)
    assert world.table("golfers") == []
    assert len(world.table("ingestion_batches")) == 1
    world.run_until(TEE)
    assert len(world.table("golfers")) == 3


def test_scrambled_holes_are_quarantined_and_come_again_true() -> None:
    world = played(glitches=[glitch("scrambled", 0, 25, ("g1", 1, 1, 7), ("g1", 1, 2, 2))])
    world.run_until(TEE + 25 * MINUTE)
    assert world.scores() == {}
    assert {row[4:] for row in world.verdicts()} == {("QUARANTINE", "HOLE_SUM_MISMATCH")}
    assert world.checkpoint()["revision"] == 0
    assert world.checkpoint()["last_success_at"] < TEE + MINUTE
    world.run_until(END)
    assert world.scores() == {cell[:3]: cell[3] for cell in HOLES}
    resolutions = world.table("quarantine_resolutions")
    quarantined = [row["batch_id"] for row in world.table("ingestion_batches") if row["quarantined"]]
    assert [row["batch_id"] for row in resolutions] == quarantined
    assert {row["how"] for row in resolutions} == {"SUPERSEDED"}
    assert world.checkpoint()["open"] == []
    assert len(world.audited("quarantine_resolutions.insert")) == len(resolutions)


def test_quarantined_holes_that_prove_true_are_admitted() -> None:
    # Hole 1 is told true and hole 2 false: the round does not add up, and hole 1 waits with it.
    both = publication(TEE + MINUTE, [("g3", 1, 1, 4), ("g3", 1, 2, 3)])
    world = IngestionWorld(tournament([both]))
    world.tamper = lambda answer, _: (
        replace(answer, cells=answer.cells[:1]) if world.runtime.now() < TEE + 15 * MINUTE else answer
    )
    world.run_until(TEE + 30 * MINUTE)
    assert [row[4] for row in world.verdicts()] == ["QUARANTINE", "ADMIT", "ADMIT"]
    assert [
        (row["batch_id"], row["resolved_by_batch_id"], row["how"]) for row in world.table("quarantine_resolutions")
    ] == [(1, 2, "ADMITTED")]


def test_the_same_scrambled_content_again_leaves_no_row() -> None:
    world = IngestionWorld(
        tournament([publication(TEE + MINUTE, [("g1", 1, 1, 4)])], [glitch("scrambled", 0, 180, ("g1", 1, 1, 7))])
    )
    world.run_until(TEE + 175 * MINUTE)
    assert len(world.table("ingestion_batches")) == 1
    assert len(world.verdicts()) == 1
    assert world.checkpoint()["repeated"] == 16


def test_true_holes_beside_scrambled_ones_are_admitted_at_once_and_told_once() -> None:
    world = played(glitches=[glitch("scrambled", 0, 125, ("g1", 1, 1, 7))])
    world.run_until(TEE + 120 * MINUTE)
    assert {cell[0] for cell in world.scores()} == {"g2"}
    assert Counter(row[4] for row in world.verdicts()) == {"QUARANTINE": 3, "ADMIT": 3}
    world.run_until(END)
    assert Counter(row[4] for row in world.verdicts()) == {"QUARANTINE": 3, "ADMIT": 6}
    assert len(world.table("quarantine_resolutions")) == 3


def test_each_quarantined_batch_is_resolved_as_soon_as_its_own_rounds_add_up() -> None:
    world = IngestionWorld(
        tournament([publication(TEE + MINUTE, [("g1", 1, 1, 4)]), publication(TEE + 11 * MINUTE, [("g2", 1, 1, 4)])])
    )
    true_from = {"g1": TEE + 45 * MINUTE, "g2": TEE + 25 * MINUTE}
    world.tamper = lambda answer, _: replace(
        answer,
        cells=tuple(
            cell if world.runtime.now() > true_from[cell[0]] else (*cell[:3], 7, cell[4]) for cell in answer.cells
        ),
    )
    world.run_until(TEE + 35 * MINUTE)
    assert [row["batch_id"] for row in world.table("quarantine_resolutions")] == [2]
    assert world.checkpoint()["open"] == [1]
    assert world.scores() == {("g2", 1, 1): 4}
    world.run_until(END)
    assert [row["batch_id"] for row in world.table("quarantine_resolutions")] == [1, 2]


def test_a_scrambled_full_answer_is_refuted_by_the_next_that_adds_up() -> None:
    world = played()
    world.run_until(END + 30 * MINUTE)
    cutoff_at = complete(world)
    false = ("g1", 1, 1, 9)
    world.tamper = lambda answer, since: (
        replace(answer, cells=tuple((*false, cell[4]) if cell[:3] == false[:3] else cell for cell in answer.cells))
        if since is None and world.runtime.now() < cutoff_at + 15 * MINUTE
        else answer
    )
    world.run_until(cutoff_at + 12 * MINUTE)
    assert world.checkpoint("full_poll:t1") is None
    assert world.scores()["g1", 1, 1] == 4
    world.run_until(cutoff_at + HOUR)
    assert world.checkpoint("full_poll:t1")["begun_at"] > cutoff_at + 12 * MINUTE
    assert [row["how"] for row in world.table("quarantine_resolutions")] == ["SUPERSEDED"]


def test_statuses_and_the_end_told_by_a_scrambled_answer_wait_for_a_true_one() -> None:
    last = publication(TEE + MINUTE, [("g1", 1, 1, 4)], statuses=[("g3", "withdrawn")], complete=True)
    world = IngestionWorld(tournament([last], [glitch("scrambled", 0, 25, ("g1", 1, 1, 7))]))
    world.run_until(TEE + 25 * MINUTE)
    assert world.audited("golfer.status") == []
    assert world.all("select completed_at from tournaments") == [{"completed_at": None}]
    world.run_until(TEE + HOUR)
    assert len(world.audited("golfer.status")) == 1
    assert world.all("select completed_at from tournaments")[0]["completed_at"] > TEE + 25 * MINUTE


def test_an_empty_answer_is_no_success_and_no_news() -> None:
    world = played(glitches=[glitch("empty", 15, 35)])
    world.run_until(TEE + 35 * MINUTE)
    checkpoint = world.checkpoint()
    assert TEE + 10 * MINUTE < checkpoint["last_success_at"] < TEE + 11 * MINUTE
    assert checkpoint["empty"] == 2
    assert world.audited("refuse.") == []
    world.run_until(END)
    assert world.scores() == {cell[:3]: cell[3] for cell in HOLES}


def test_an_empty_answer_to_a_question_for_everything_is_refused_on_record_once() -> None:
    world = played(glitches=[Glitch(kind="empty", from_at=MONDAY, until_at=TEE - 20 * HOUR)])
    world.run_until(TEE)
    assert [row["subject"] for row in world.audited("refuse.empty_answer")] == ["tournaments/t1"]
    assert world.checkpoint()["empty"] == 4
    assert len(world.table("golfers")) == 3


def test_a_stale_answer_is_ignored_and_counted() -> None:
    world = played()
    world.run_until(TEE + 45 * MINUTE)
    before, batches = world.checkpoint(), len(world.table("ingestion_batches"))
    world.tamper = lambda answer, _: replace(answer, revision=1, cells=(("g1", 1, 1, 9, TEE + MINUTE),))
    world.run_until(TEE + 55 * MINUTE)
    after = world.checkpoint()
    assert after["stale"] == 1
    assert (after["revision"], after["last_success_at"]) == (before["revision"], before["last_success_at"])
    assert len(world.table("ingestion_batches")) == batches
    assert world.scores()["g1", 1, 1] == 4


def test_statuses_are_brought_up_to_date_and_unknown_ones_refused_on_record() -> None:
    world = played(publication(TEE + 65 * MINUTE, statuses=[("g3", "withdrawn")]))
    world.tamper = lambda answer, since: replace(
        answer, statuses={**answer.statuses, "g2": "abducted", "g9": "active"} if since is None else answer.statuses
    )
    world.run_until(END)
    assert [row["status"] for row in world.table("golfers")] == ["active", "active", "withdrawn"]
    [change] = world.audited("golfer.status")
    assert (change["subject"], change["before"], change["after"]) == (
        "golfers/t1/g3",
        '{"status":"active"}',
        '{"status":"withdrawn"}',
    )
    assert [(row["subject"], row["reason"]) for row in world.audited("refuse.golfer_status")] == [
        ("golfers/t1/g2", "UNKNOWN_STATUS abducted"),
        ("golfers/t1/g9", "UNKNOWN_GOLFER active"),
    ]


def test_the_end_of_the_event_is_noted_and_contests_are_told() -> None:
    world = played()
    world.run_until(END + HOUR)
    completed_at = world.all("select completed_at from tournaments")[0]["completed_at"]
    assert END - 5 * MINUTE < completed_at <= END + MINUTE
    assert (completed_at, "contests") in world.notified
    assert [row["subject"] for row in world.audited("tournaments.update")] == ["tournaments/t1"] * 2


def test_golfers_who_join_late_are_entered_beside_the_field() -> None:
    world = played()
    world.tamper = lambda answer, _: (
        replace(answer, field=("g1", "g2")) if world.runtime.now() < TEE - 20 * HOUR else answer
    )
    world.run_until(TEE)
    assert [json.loads(row["after"])["golfers"] for row in world.audited("field.ingest")] == [["g1", "g2"], ["g3"]]
    assert len(world.audited("tournaments.update")) == 1


def judged(cells: Any, totals: Any, known: Any = (), **more: Any) -> receipts.Judgement:
    arguments: dict[str, Any] = {
        "golfers": {"g1", "g2"},
        "rounds": 2,
        "holes": 3,
        "held": set(),
        "again": False,
        "full": False,
        **more,
    }
    return receipts.judge(cells, totals, receipts.Scores.of(known), **arguments)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (("g9", 1, 1, 4, 7), "UNKNOWN_GOLFER"),
        (("g1", 3, 1, 4, 7), "UNKNOWN_HOLE"),
        (("g1", 0, 1, 4, 7), "UNKNOWN_HOLE"),
        (("g1", 1, 4, 4, 7), "UNKNOWN_HOLE"),
        (("g1", 1, 0, 4, 7), "UNKNOWN_HOLE"),
        (("g1", 1, 1, 0, 7), "IMPOSSIBLE_STROKES"),
        (("g1", 1, 1, 16, 7), "IMPOSSIBLE_STROKES"),
    ],
)
def test_what_cannot_be_is_rejected_and_the_rest_of_the_answer_stands(cell: Any, reason: str) -> None:
    good = ("g2", 1, 1, 5, 7)
    judgement = judged([cell, good], {("g2", 1): 5, ("g1", 1): 0})
    assert judgement.receipts == [(*cell, "REJECT", reason), (*good, "ADMIT", "FIRST_SCORE")]
    assert judgement.broken == frozenset()


def test_impossible_strokes_leave_a_round_that_does_not_add_up() -> None:
    judgement = judged([("g1", 1, 1, 0, 7), ("g1", 1, 2, 3, 7)], {("g1", 1): 7})
    assert [row[5:] for row in judgement.receipts] == [
        ("REJECT", "IMPOSSIBLE_STROKES"),
        ("QUARANTINE", "HOLE_SUM_MISMATCH"),
    ]
    assert judgement.broken == {("g1", 1)}
    assert judgement.learned == receipts.Scores({}, {})


@pytest.mark.parametrize("strokes", [1, 15])
def test_an_ace_and_fifteen_strokes_are_possible(strokes: int) -> None:
    assert judged([("g1", 1, 1, strokes, 7)], {("g1", 1): strokes}).receipts[0][5] == "ADMIT"


def test_a_round_without_a_total_cannot_be_checked_and_is_quarantined() -> None:
    assert judged([("g1", 1, 1, 4, 7)], {}).receipts[0][5:] == ("QUARANTINE", "HOLE_SUM_MISMATCH")


def test_holes_known_before_count_into_the_sum() -> None:
    known = [("g1", 1, 1, 4, 5), ("g1", 1, 2, 3, 6)]
    assert judged([("g1", 1, 3, 5, 7)], {("g1", 1): 12}, known).receipts[0][5] == "ADMIT"
    assert judged([("g1", 1, 3, 5, 7)], {("g1", 1): 5}, known).receipts[0][5] == "QUARANTINE"


def test_several_values_of_a_hole_in_one_answer_are_told_in_order_and_the_last_counts() -> None:
    judgement = judged([("g1", 1, 1, 4, 5), ("g1", 1, 1, 6, 7), ("g1", 1, 1, 6, 8)], {("g1", 1): 6})
    assert [row[5] for row in judgement.receipts] == ["ADMIT", "CORRECTION", "DUPLICATE"]
    assert judgement.learned == receipts.Scores({("g1", 1, 1): ("g1", 1, 1, 6, 7)}, {("g1", 1): 6})


def test_a_value_older_than_the_known_one_changes_nothing() -> None:
    judgement = judged([("g1", 1, 1, 4, 5)], {("g1", 1): 6}, [("g1", 1, 1, 6, 7)])
    assert judgement.receipts[0][5:] == ("REJECT", "OLDER_THAN_KNOWN")
    assert judgement.learned == receipts.Scores({}, {("g1", 1): 6})


# --- failures, crashes ----------------------------------------------------------------------------------------------


def test_an_outage_is_on_record_when_it_begins_and_when_it_ends() -> None:
    world = played()
    fault_on_polls(world, lambda call: Refuse(503) if TEE + 15 * MINUTE < call.at < TEE + 55 * MINUTE else None)
    world.run_until(END)
    assert [(row["action"], row["reason"]) for row in world.audited("ingestion.") if "batch" not in row["action"]] == [
        ("ingestion.lagging", "service_unavailable"),
        ("ingestion.recovered", "a poll succeeded"),
    ]
    assert world.checkpoint()["failures"] == 4
    assert world.scores() == {cell[:3]: cell[3] for cell in HOLES}


def test_an_outage_outside_play_is_tried_again_after_ten_minutes() -> None:
    world = played()
    fault_on_polls(world, lambda call: Refuse(0) if call.at < TEE - 23 * HOUR - 45 * MINUTE else None)
    world.run_until(TEE - 21 * HOUR)
    assert world.polls() == [TEE - 23 * HOUR - 40 * MINUTE, TEE - 23 * HOUR, TEE - 22 * HOUR]


@pytest.mark.parametrize("after_s", [0, 600, 601, 905, 1800, 3000])
def test_a_worker_that_crashes_at_any_instant_neither_loses_nor_readmits(after_s: int) -> None:
    world = played()
    world.run_until(TEE + after_s * 1000 + 700)
    world.crash()
    world.run_until(TEE + after_s * 1000 + 4 * MINUTE)
    world.start()
    world.run_until(END)
    assert Counter(row[4] for row in world.verdicts()) == {"ADMIT": 6}
    assert world.scores() == {cell[:3]: cell[3] for cell in HOLES}
    assert len(world.audited("field.ingest")) == 1


def test_a_worker_that_crashes_while_holes_are_quarantined_goes_on_where_it_stood() -> None:
    world = played(glitches=[glitch("scrambled", 0, 35, ("g1", 1, 1, 7))])
    world.run_until(TEE + 25 * MINUTE)
    world.crash()
    world.start()
    world.run_until(END)
    assert Counter(row[4] for row in world.verdicts()) == {"QUARANTINE": 3, "ADMIT": 6}
    assert len(world.table("quarantine_resolutions")) == 3


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("operation", ["ingestion.apply", "ingestion.begin", "ingestion.schedule"])
def test_a_store_that_fails_costs_a_poll_and_no_score(moment: str, operation: str) -> None:
    world = played()
    failed: list[int] = []

    def fails(at: str) -> str | None:
        if at != operation or (len(failed) > 3 and len(failed) % 2):
            return None
        failed.append(world.runtime.now())
        return moment if len(failed) < 8 else None

    world.store_fails = fails
    world.run_until(END)
    assert failed
    assert Counter(row[4] for row in world.verdicts()) == {"ADMIT": 6}
    assert world.scores() == {cell[:3]: cell[3] for cell in HOLES}


def test_a_second_worker_does_not_admit_what_the_first_did() -> None:
    world = played()
    world.run_until(TEE + 5 * MINUTE)
    world.start()
    world.run_until(END)
    assert Counter(row[4] for row in world.verdicts()) == {"ADMIT": 6}


def test_without_its_checkpoint_ingestion_refuses_to_start_and_says_so_once() -> None:
    world = played()
    world.run_until(TEE + 25 * MINUTE)
    world.crash()
    world.db.execute("delete from checkpoints")
    world.start()
    polls, receipts_ = len(world.polls()), len(world.verdicts())
    world.run_until(TEE + 90 * MINUTE)
    assert len(world.polls()) == polls
    assert len(world.verdicts()) == receipts_
    assert [row["reason"] for row in world.audited("refuse.ingestion")] == ["NO_CHECKPOINT"]


def test_a_score_edited_by_hand_neither_misleads_ingestion_nor_escapes_the_audit() -> None:
    world = played()
    world.run_until(TEE + 25 * MINUTE)
    world.db.execute("update hole_scores set strokes = 9 where golfer_id = 'g1' and hole = 1")
    world.run_until(END + DAY)
    assert Counter(row[4] for row in world.verdicts()) == {"ADMIT": 6}
    assert [row["mismatches"] for row in world.table("score_audits")] == [1]


# --- after the cut-off ----------------------------------------------------------------------------------------------


def settled(world: IngestionWorld) -> int:
    world.run_until(END + 30 * MINUTE)
    cutoff_at = complete(world)
    world.run_until(cutoff_at + HOUR)
    world.set_contest("c1", status="SETTLED", settled_at=world.runtime.now())
    return cutoff_at


def test_a_correction_after_the_cut_off_is_recorded_paged_and_shown_and_not_official() -> None:
    world = played()
    cutoff_at = settled(world)
    world.provider.correct("t1", "g1", 1, 1, 6)
    world.run_until(cutoff_at + 8 * HOUR)
    [late] = [row for row in world.verdicts() if row[4] == "CORRECTION"]
    assert late == ("g1", 1, 1, 6, "CORRECTION", "AFTER_CUTOFF:c1")
    assert world.scores()["g1", 1, 1] == 6
    assert official(world, cutoff_at)[0]["g1"].holes[1, 1] == 4
    [page] = world.pager.sent
    assert (page["action"], page["dedup_key"], page["severity"]) == ("trigger", "late_correction:c1", "warning")
    opened = {"labels": {"contest_id": "c1"}, "runbook_url": "runbooks/correction_after_settlement.md"}
    assert page["details"] == {"contests": ["c1"], "cells": [["g1", 1, 1, 6]], **opened}
    assert [row["subject"] for row in world.audited("call.page")] == ["pager/late_correction:c1"]


def test_a_page_that_did_not_get_through_is_sent_again() -> None:
    world = played()
    cutoff_at = settled(world)
    world.provider.correct("t1", "g1", 1, 1, 6)
    world.pager.down = True
    world.run_until(cutoff_at + 8 * HOUR)
    world.crash()
    world.start()
    assert world.checkpoint()["page"] is not None
    world.pager.down = False
    world.run_until(cutoff_at + 9 * HOUR)
    assert len(world.pager.sent) == 1
    assert world.checkpoint()["page"] is None


def test_a_correction_before_the_cut_off_is_official_and_pages_nobody() -> None:
    world = played()
    world.run_until(END + 30 * MINUTE)
    cutoff_at = complete(world)
    world.provider.correct("t1", "g1", 1, 1, 6)
    world.run_until(cutoff_at + HOUR)
    assert official(world, cutoff_at)[0]["g1"].holes[1, 1] == 6
    assert world.pager.sent == []


def test_a_hole_changed_before_and_after_the_cut_off_between_two_polls_is_official_as_it_stood() -> None:
    world = played()
    world.run_until(END + 30 * MINUTE)
    cutoff_at = complete(world)
    world.run_until(cutoff_at - 5 * MINUTE)
    world.provider.correct("t1", "g1", 1, 1, 6)
    world.run_until(cutoff_at + 5 * MINUTE)
    world.provider.correct("t1", "g1", 1, 1, 4)
    world.run_until(cutoff_at + HOUR)
    assert world.checkpoint("full_poll:t1") is not None
    assert official(world, cutoff_at)[0]["g1"].holes[1, 1] == 6
    assert world.scores()["g1", 1, 1] == 4


def test_official_cards_cover_the_whole_field_and_their_hash_can_be_recomputed() -> None:
    world = played(publication(TEE + 65 * MINUTE, statuses=[("g3", "did_not_start")]))
    world.run_until(END)
    cards, scores_hash = official(world, END)
    assert {golfer: (card.status, len(card.holes)) for golfer, card in cards.items()} == {
        "g1": ("active", 3),
        "g2": ("active", 3),
        "g3": ("did_not_start", 0),
    }
    assert scores_hash == sha256_of_json(
        sorted([golfer, round_, hole, strokes] for golfer, round_, hole, strokes in HOLES)
    )
    early, _ = official(world, PLAYED[1].at)
    assert sum(len(card.holes) for card in early.values()) == 2


# --- the audit of scores --------------------------------------------------------------------------------------------


def test_every_night_after_play_the_receipts_are_replayed() -> None:
    world = played()
    world.run_until(END + 3 * DAY)
    [audit] = world.table("score_audits")
    assert (audit["at"], audit["holes"], audit["mismatches"]) == (MONDAY + 3 * DAY + 3 * HOUR, 6, 0)
    assert len(world.audited("score_audits.insert")) == 1


@pytest.mark.parametrize(
    ("edit", "holes", "mismatches"),
    [
        ("update hole_scores set strokes = 9 where golfer_id = 'g1' and hole = 1", 6, 1),
        ("delete from hole_scores where golfer_id = 'g1' and hole = 1", 6, 1),
        ("delete from hole_scores where golfer_id = 'g1'", 6, 3),
        ("insert into hole_scores values ('t1', 'g3', 1, 1, 4, 1, 0)", 7, 1),
        ("update hole_scores set strokes = 7 - strokes where golfer_id = 'g1' and hole < 3", 6, 2),
        ("update hole_scores set hole = 4 where golfer_id = 'g1' and hole = 1", 7, 2),
        ("update hole_scores set golfer_id = 'g3' where golfer_id = 'g1' and hole = 1", 7, 2),
    ],
)
def test_any_difference_between_receipts_and_scores_is_a_mismatch(edit: str, holes: int, mismatches: int) -> None:
    world = played()
    world.run_until(END)
    world.db.execute(edit)
    world.run_until(END + DAY)
    assert [(row["holes"], row["mismatches"]) for row in world.table("score_audits")] == [(holes, mismatches)]


def test_a_night_missed_by_a_crash_is_made_up_for() -> None:
    world = played()
    world.run_until(END + HOUR)
    world.crash()
    world.run_until(MONDAY + 3 * DAY + 5 * HOUR + MINUTE)
    world.start()
    world.run_until(MONDAY + 3 * DAY + 12 * HOUR)
    assert [row["at"] for row in world.table("score_audits")] == [MONDAY + 3 * DAY + 6 * HOUR]


# --- a real feed ----------------------------------------------------------------------------------------------------


def test_the_recorded_masters_with_all_its_lies_ends_as_it_was() -> None:
    path = data_dir() / "golf" / "masters2026_feed_deltas.csv"
    feed = recording.load(path, id="t1", name="Masters", day_at=MONDAY + 3 * DAY)
    assert {glitch.kind for glitch in feed.glitches} == {"wrong_event", "empty", "scrambled"}
    world = IngestionWorld(feed)
    world.run_until(feed.ends_at + 2 * HOUR)
    cutoff_at = complete(world)
    world.run_until(cutoff_at + HOUR)
    truth = {cell[:3]: cell[3] for publication in feed.publications for cell in publication.cells}
    assert world.scores() == truth
    cards, _ = official(world, cutoff_at)
    assert {(g, *hole): strokes for g, card in cards.items() for hole, strokes in card.holes.items()} == truth
    verdicts = Counter(row[4] for row in world.verdicts())
    assert verdicts["ADMIT"] == len(truth)
    assert verdicts["QUARANTINE"] > 500
    quarantined = [row["batch_id"] for row in world.table("ingestion_batches") if row["quarantined"]]
    assert [row["batch_id"] for row in world.table("quarantine_resolutions")] == quarantined
    assert all(row["mismatches"] == 0 for row in world.table("score_audits"))


# --- out of turn ------------------------------------------------------------------------------------------------------


def ask_for_a_poll(world: IngestionWorld) -> Any:
    tx = SqliteTx(world.db, world.runtime.now(), "e1")
    answer = ask(tx, "t1")
    for topic in tx.topics:
        world.kernel.signals.notify(topic)
    return answer


@pytest.mark.parametrize("crashed", [False, True])
def test_a_poll_that_was_asked_for_comes_at_the_next_instant_once_and_survives_a_restart(crashed: bool) -> None:
    world = played()
    world.run_until(TEE - 5 * HOUR + 13 * MINUTE)
    before = world.polls()
    assert ask_for_a_poll(world) is True
    assert ask_for_a_poll(world) is False
    if crashed:
        world.crash()
        world.start()
    world.run_until(TEE - 4 * HOUR + MINUTE)
    assert world.polls() == [*before, TEE - 5 * HOUR + 20 * MINUTE, TEE - 4 * HOUR]
    assert world.checkpoint("ingestion.asked:t1") is None
    assert ask_for_a_poll(world) is True


def test_a_poll_that_was_asked_for_and_fails_is_tried_again_as_every_other() -> None:
    world = played()
    fault_on_polls(world, lambda _: Refuse(503) if world.runtime.now() < TEE - 4 * HOUR - 25 * MINUTE else None)
    world.run_until(TEE - 5 * HOUR + 13 * MINUTE)
    ask_for_a_poll(world)
    world.run_until(TEE - 4 * HOUR)
    assert world.checkpoint("ingestion.asked:t1") is None
    assert world.checkpoint()["last_success_at"] is not None


def test_a_batch_that_a_runbook_has_resolved_is_not_resolved_again() -> None:
    world = played(glitches=[glitch("scrambled", 0, 25, ("g1", 1, 1, 7), ("g1", 1, 2, 2))])
    world.run_until(TEE + 25 * MINUTE)
    [batch] = [row["batch_id"] for row in world.table("ingestion_batches") if row["quarantined"]][:1]
    world.db.execute("insert into quarantine_resolutions values (?, ?, ?, 'SUPERSEDED')", (batch, batch + 1, 1))
    world.run_until(END)
    assert [row["at"] for row in world.table("quarantine_resolutions") if row["batch_id"] == batch] == [1]
    assert world.checkpoint()["open"] == []
