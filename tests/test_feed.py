"""The generated tournament against its calibration, and the recording against itself as pandas reads it."""

from __future__ import annotations

import csv
import itertools
import statistics
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd
import pytest

from evidence.plan import Tournament
from scenarios import recording
from scenarios.errors import ScenarioInvalid
from scenarios.feed import DAY, HOUR, MINUTE, cut_size, generate
from scenarios.official import final_cells, final_statuses, finishers
from seams.draws import Draws
from tests.support.data import data_dir

THURSDAY = 1_780_531_200_000  # 2026-06-04T00:00Z
SEEDS = range(6)


@pytest.fixture(scope="module")
def fields() -> list[Tournament]:
    return [generate(Draws(f"{n:032x}"), id="t1", name="Open", day_at=THURSDAY, golfers=90) for n in SEEDS]


def whole_rounds(tournament: Tournament) -> dict[tuple[str, int], int]:
    rounds: dict[tuple[str, int], list[int]] = defaultdict(list)
    for (golfer, round, _), strokes in final_cells(tournament).items():
        rounds[golfer, round].append(strokes)
    return {key: sum(strokes) for key, strokes in rounds.items() if len(strokes) == 18}


# --- the generator ----------------------------------------------------------------------------------------------------


def test_holes_fall_to_par_as_often_as_in_the_recording(fields: list[Tournament]) -> None:
    to_par = Counter(
        strokes - tournament.par[hole - 1]
        for tournament in fields
        for (_, _, hole), strokes in final_cells(tournament).items()
    )
    per_10_000 = {value: 10_000 * count // sum(to_par.values()) for value, count in to_par.items()}
    for value, expected, within in [(-2, 56, 25), (-1, 1830, 150), (0, 6000, 150), (1, 1840, 150), (2, 250, 50)]:
        assert abs(per_10_000[value] - expected) <= within, (value, per_10_000)
    assert 10 <= per_10_000[3] <= 60
    assert set(to_par) == {-2, -1, 0, 1, 2, 3}, "nothing is worse than a triple bogey"


def test_rounds_are_as_hard_and_spread_as_widely_as_in_the_recording(fields: list[Tournament]) -> None:
    totals = [total for tournament in fields for total in whole_rounds(tournament).values()]
    assert 72.0 <= statistics.mean(totals) <= 73.6
    assert 3.3 <= statistics.pstdev(totals) <= 4.1
    assert min(totals) >= 58
    assert max(totals) <= 92


def test_the_cut_falls_after_round_two_at_the_best_54_and_ties(fields: list[Tournament]) -> None:
    assert cut_size(90) == 54
    for tournament in fields:
        rounds, statuses = whole_rounds(tournament), final_statuses(tournament)
        cut = {golfer for golfer, status in statuses.items() if status == "cut"}
        total = {g: rounds[g, 1] + rounds[g, 2] for g in statuses if (g, 1) in rounds and (g, 2) in rounds}
        survivors = [golfer for golfer in total if (golfer, 3) in rounds]
        worst = max(total[golfer] for golfer in survivors)
        assert all(total[golfer] > worst for golfer in cut)
        assert len([golfer for golfer in survivors if total[golfer] < worst]) < 54 <= len(survivors)
        at = next(p.at for p in tournament.publications if any(status == "cut" for _, status in p.statuses))
        assert tournament.play[1][0] < at < tournament.play[2][0]


def test_somebody_withdraws_in_the_middle_of_a_round_and_somebody_is_disqualified(fields: list[Tournament]) -> None:
    for tournament in fields:
        statuses = final_statuses(tournament)
        played = Counter(golfer for golfer, _, _ in final_cells(tournament))
        half = [g for g, status in statuses.items() if status == "withdrawn" and played[g] % 18]
        overnight = [g for g, status in statuses.items() if status == "withdrawn" and not played[g] % 18]
        assert len(half) == 1
        assert 1 <= len(overnight) <= 2
        assert Counter(statuses.values())["disqualified"] == 1
        assert [played[g] for g, status in statuses.items() if status == "did_not_start"] == [0]
        assert all(played[golfer] == 72 for golfer, status in statuses.items() if status == "active")


def test_nobody_plays_on_after_leaving_but_for_the_batch_under_way(fields: list[Tournament]) -> None:
    for tournament in fields:
        left: dict[str, int] = {}
        for publication in tournament.publications:
            for golfer, *_ in publication.cells:
                assert golfer not in left or publication.at - left[golfer] <= 11 * MINUTE
            left |= {golfer: publication.at for golfer, _ in publication.statuses}


def test_holes_come_in_batches_of_about_ten_minutes_through_each_day(fields: list[Tournament]) -> None:
    for tournament in fields:
        assert len(tournament.play) == 4
        for day, (from_at, until_at) in enumerate(tournament.play):
            midnight = THURSDAY + day * DAY
            assert midnight + 12 * HOUR <= from_at <= midnight + 13 * HOUR
            assert midnight + 22 * HOUR <= until_at <= midnight + 24 * HOUR
            news = [p.at for p in tournament.publications if p.cells and from_at <= p.at < until_at]
            gaps = [after - before for before, after in itertools.pairwise(news)]
            assert min(gaps) >= 9 * MINUTE
            assert max(gaps) <= 22 * MINUTE
        assert all(any(a <= p.at < b for a, b in tournament.play) for p in tournament.publications if p.cells)


def test_the_end_is_published_once_and_last_some_minutes_after_the_last_putt(fields: list[Tournament]) -> None:
    for tournament in fields:
        instants = [publication.at for publication in tournament.publications]
        assert instants == sorted(set(instants))
        assert [p.at for p in tournament.publications if p.complete] == [tournament.ends_at] == instants[-1:]
        assert tournament.ends_at - max(p.at for p in tournament.publications if p.cells) <= HOUR


def test_a_hole_is_published_once(fields: list[Tournament]) -> None:
    for tournament in fields:
        cells = [cell[:3] for publication in tournament.publications for cell in publication.cells]
        assert len(cells) == len(set(cells))


def test_other_draws_give_another_tournament_and_the_same_draws_the_same(fields: list[Tournament]) -> None:
    again = generate(Draws(f"{0:032x}"), id="t1", name="Open", day_at=THURSDAY, golfers=90)
    assert again == fields[0]
    assert final_cells(fields[0]) != final_cells(fields[1])
    other = generate(Draws(f"{0:032x}"), id="t2", name="Open", day_at=THURSDAY, golfers=90)
    assert other.golfers == again.golfers, "the same people play every week"
    assert final_cells(other) != final_cells(again)


@pytest.mark.parametrize("golfers", [12, 20, 59, 156])
def test_fields_of_any_size_play_to_the_end(golfers: int) -> None:
    tournament = generate(Draws("ab" * 16), id="t1", name="Open", day_at=THURSDAY, golfers=golfers)
    assert len(tournament.golfers) == golfers
    assert len({golfer.name for golfer in tournament.golfers}) == golfers
    assert len(finishers(tournament)) >= golfers // 2
    assert tournament.ends_at < THURSDAY + 4 * DAY


# --- the recording ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deltas() -> Path:
    return data_dir() / "golf" / "masters2026_feed_deltas.csv"


@pytest.fixture(scope="module")
def recorded(deltas: Path) -> Tournament:
    return recording.load(deltas, id="t1", name="Masters", day_at=THURSDAY)


def instant(text: str) -> int:
    """A recorded instant, shifted as the fixture shifts it: from Thursday 9 April to Thursday 4 June."""
    return int(pd.Timestamp(text).value // 1_000_000) + 56 * DAY


def test_every_hole_ends_with_the_last_value_recorded(recorded: Tournament, deltas: Path) -> None:
    table = pd.read_csv(deltas).sort_values("snapshot_utc", kind="stable")
    last = table.groupby(["player_id", "round", "hole"])["strokes"].last()
    expected = {(str(player), round, hole): strokes for (player, round, hole), strokes in last.items()}
    assert len(expected) == 5220
    assert final_cells(recorded) == expected
    par = table.groupby("hole")["par"].first()
    assert recorded.par == list(par)
    assert {g.id: g.name for g in recorded.golfers} == {
        str(row.player_id): row.player for row in table.drop_duplicates("player_id").itertuples()
    }


def test_the_first_snapshot_is_of_another_event_and_the_second_is_empty(recorded: Tournament) -> None:
    assert [(g.kind, g.from_at, g.until_at) for g in recorded.glitches[:2]] == [
        ("wrong_event", instant("2026-04-09T16:37:34Z"), instant("2026-04-09T18:17:13Z")),
        ("empty", instant("2026-04-09T18:17:13Z"), instant("2026-04-09T18:45:08Z")),
    ]


def test_the_scrambled_snapshot_is_served_falsely_and_published_truly(recorded: Tournament, deltas: Path) -> None:
    _, _, glitch = recorded.glitches
    assert glitch.kind == "scrambled"
    assert (glitch.from_at, glitch.until_at) == (instant("2026-04-09T18:45:08Z"), instant("2026-04-09T19:11:18Z"))
    table = pd.read_csv(deltas)
    served = table[table["snapshot_utc"] == "2026-04-09T18:45:08+00:00"]
    rows = zip(served["player_id"].astype(str), served["round"], served["hole"], served["strokes"], strict=True)
    assert sorted(glitch.cells) == sorted(rows)
    assert len(glitch.cells) == 1098
    first = recorded.publications[0]
    assert first.at == glitch.from_at
    replacing = table[(table["snapshot_utc"] == "2026-04-09T19:11:18+00:00") & (table["change"] == "changed")]
    truly = zip(
        replacing["player_id"].astype(str), replacing["round"], replacing["hole"], replacing["strokes"], strict=True
    )
    assert sorted(first.cells) == sorted(truly)


def test_the_two_corrections_of_the_night_and_their_reversal_are_official(recorded: Tournament) -> None:
    campbell, novak = ("40000205", 1, 1), ("40002911", 1, 1)
    history = [
        (publication.at, cell[:3], cell[3])
        for publication in recorded.publications
        for cell in publication.cells
        if cell[:3] in (campbell, novak)
    ]
    corrected, reverted = instant("2026-04-10T12:10:14Z"), instant("2026-04-10T14:48:43Z")
    assert history[2:] == [
        (corrected, campbell, 4),
        (corrected, novak, 5),
        (reverted, campbell, 3),
        (reverted, novak, 4),
    ]
    cells = [cell[:3] for publication in recorded.publications for cell in publication.cells]
    assert len(cells) - len(set(cells)) == 4, "nothing else was ever corrected"
    assert not any(from_at <= corrected < until_at for from_at, until_at in recorded.play)


def test_a_recording_without_statuses_has_those_that_the_scores_imply(recorded: Tournament) -> None:
    assert Counter(final_statuses(recorded).values()) == {"active": 54, "cut": 37}
    cut_at = next(publication.at for publication in recorded.publications if publication.statuses)
    assert recorded.play[1][0] < cut_at < recorded.play[2][0]
    assert recorded.publications[-1].complete
    assert recorded.ends_at > recorded.publications[-2].at


def test_a_recording_keeps_its_time_of_day_and_moves_to_the_thursday_asked_for(recorded: Tournament) -> None:
    assert recorded.starts_at == instant("2026-04-09T16:37:34Z")
    assert len(recorded.play) == 4
    assert [from_at // DAY - THURSDAY // DAY for from_at, _ in recorded.play] == [0, 1, 2, 3]


def rewritten(deltas: Path, folder: Path, change: dict[tuple[int, str], str]) -> Path:
    """A copy of the recording with some values, by (line, column), replaced."""
    with deltas.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for (line, column), value in change.items():
        rows[line - 2][column] = value
    path = folder / "copy_deltas.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_every_broken_row_is_reported_at_its_line_and_column(deltas: Path, tmp_path: Path) -> None:
    broken = {(3, "strokes"): "four", (5, "hole"): "19", (9, "change"): "newish", (12, "snapshot_utc"): "yesterday"}
    path = rewritten(deltas, tmp_path, broken)
    with pytest.raises(ScenarioInvalid) as caught:
        recording.load(path, id="t1", name="Masters", day_at=THURSDAY)
    errors = caught.value.errors
    lines = path.read_text().splitlines()
    assert [error.line for error in errors] == [3, 5, 9, 12]
    for error, value in zip(errors, broken.values(), strict=True):
        text = lines[error.line - 1]
        assert text[error.column - 1 :].startswith(value)
        assert value in error.message
        assert text in error.message
        assert str(error).startswith(f"{path}:{error.line}:{error.column}: ")


def test_a_row_that_is_too_short_and_a_header_that_lacks_a_column_are_reported(deltas: Path, tmp_path: Path) -> None:
    lines = deltas.read_text().splitlines()
    short = tmp_path / "short.csv"
    short.write_text("\n".join([*lines[:6], lines[6].rpartition(",")[0], *lines[7:]]))
    with pytest.raises(ScenarioInvalid, match=r"short\.csv:7:1: expected 9 columns, got 8"):
        recording.load(short, id="t1", name="Masters", day_at=THURSDAY)
    headless = tmp_path / "headless.csv"
    headless.write_text("\n".join([lines[0].replace(",par", ",pars"), *lines[1:]]))
    with pytest.raises(ScenarioInvalid, match="columns par are missing"):
        recording.load(headless, id="t1", name="Masters", day_at=THURSDAY)


def test_an_empty_answer_in_the_middle_of_play_is_a_glitch_until_the_next(deltas: Path, tmp_path: Path) -> None:
    copy = tmp_path / "x_deltas.csv"
    copy.write_bytes(deltas.read_bytes())
    beside = deltas.with_name("masters2026_feed_snapshots.csv").read_text().splitlines()
    pulled = "2026-04-12T16:55:00+00:00,0000000000,92,0,0,0,4530,"
    (tmp_path / "x_snapshots.csv").write_text("\n".join([*beside, pulled]))
    tournament = recording.load(copy, id="t1", name="Masters", day_at=THURSDAY)
    glitch = tournament.glitches[-1]
    assert (glitch.kind, glitch.from_at) == ("empty", instant("2026-04-12T16:55:00Z"))
    assert glitch.until_at == instant("2026-04-12T17:00:13Z")
    assert len(final_cells(tournament)) == 5220
