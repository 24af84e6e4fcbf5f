"""The judge's oracles of scoring and prizes, held against contests worked by hand and published earnings.

Invariant: nothing here imports the platform, so an agreement of the two is worth something.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]
from hypothesis import given
from hypothesis import strategies as st

from assertions.oracles.prizes import award, award_whole_dollars, money, prize_table
from assertions.oracles.scoring import Card, ScoringRules, entry_scores, golfer_scores, places
from tests.support import data as support_data
from tests.support.data import data_dir

GOLDEN = sorted((Path(__file__).parent / "golden" / "scoring").glob("*.yaml"))
STROKES = ScoringRules(kind="strokes", roster_size=1, counting=1)
POINTS = ScoringRules(kind="points", roster_size=1, counting=1, points_tenths={-1: 30, 0: 5, 1: -5})


# --- contests worked by hand ------------------------------------------------------------------------------------------


def test_there_are_at_least_twenty_golden_contests() -> None:
    assert len(GOLDEN) >= 20, f"expected at least 20 contests in tests/golden/scoring, found {len(GOLDEN)}"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_number_of_a_golden_contest_is_reproduced(path: Path) -> None:
    contest: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert reproduce(contest) == contest["expected"]


def reproduce(golden: Mapping[str, Any]) -> dict[str, Any]:
    """The `expected` section of a golden contest, recomputed from its other sections."""
    rules = ScoringRules.from_mapping(golden["scoring"])
    cards = {
        golfer: Card(status=card["status"], rounds=tuple(tuple(holes) for holes in card["rounds"]))
        for golfer, card in golden["golfers"].items()
    }
    contest, entries = golden["contest"], golden["entries"]
    by_golfer = golfer_scores(rules, golden["par"], golden["rounds"], cards)
    by_entry = entry_scores(rules, by_golfer, entries)
    place_of = places(rules, by_entry)
    cash = money(len(entries), contest["fee_cents"], contest["rake_bp"], contest["guaranteed_cents"])
    table = prize_table(cash.pool_cents, contest["prize_shares_bp"], len(entries))
    return {
        "golfer_scores": by_golfer,
        "entry_scores": by_entry,
        "places": place_of,
        "rake_cents": cash.rake_cents,
        "pool_cents": cash.pool_cents,
        "overlay_cents": cash.overlay_cents,
        "prizes_cents": award(place_of, table),
    }


# --- published results: the Masters, 2010 to 2017 ---------------------------------------------------------------------
# The file's rows of 2016 are those of 2017 again, so 392 published earnings are 342 independent ones.


def finishers_by_year(*, amateurs: bool) -> dict[int, dict[str, dict[str, str]]]:
    """The rows of those who made the cut, by year and player; an amateur is one who made it and earned nothing."""
    path = data_dir() / "golf" / "masters_1970_2017_pgatourdotcom.csv"
    years: dict[int, dict[str, dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            finished = row["position"] not in ("CUT", "W/D", "DQ")
            if 2010 <= int(row["year"]) <= 2017 and finished and (row["earnings"] or amateurs):
                years.setdefault(int(row["year"]), {})[row["player"]] = row
    assert len(years) == 8, f"expected the years 2010 to 2017 in {path}, got {sorted(years)}"
    return years


def published_place(row: Mapping[str, str]) -> int:
    return int(row["position"].removeprefix("T"))


def published_cents(row: Mapping[str, str]) -> int:
    return int(Decimal(row["earnings"].removeprefix("$").replace(",", "") or "0") * 100)


def reproduced_earnings(
    rounding: Callable[[Mapping[str, int], list[int]], dict[str, int]], *, amateurs: bool = False
) -> tuple[int, int]:
    """How many published earnings the percentages' money places give exactly, and how many they speak of.

    A tie that reaches beyond the last percentage is out of reach: the tournament decides what those are paid.
    """
    path = data_dir() / "golf" / "masters_purse_percentages.json"
    shares = [Fraction(percent) / 100 for percent in json.loads(path.read_text(), parse_float=str)["percent"]]
    right = told = 0
    for field in finishers_by_year(amateurs=amateurs).values():
        purse_cents = Fraction(max(published_cents(row) for row in field.values())) / Fraction("0.18")
        table_cents = [purse_cents * share for share in shares]
        assert all(cents.denominator == 1 for cents in table_cents), "a share of the purse is not whole cents"
        money_places = places(STROKES, {player: published_place(row) for player, row in field.items()})
        beyond = [0] * (len(field) - len(table_cents))
        earned = rounding(money_places, [int(cents) for cents in table_cents[: len(field)]] + beyond)
        for player, place in money_places.items():
            tied = sum(other == place for other in money_places.values())
            if place + tied - 1 <= len(shares) and field[player]["earnings"]:
                told += 1
                right += earned[player] == published_cents(field[player])
    return right, told


def test_published_masters_earnings_are_reproduced_in_392_of_392_rows() -> None:
    assert reproduced_earnings(award_whole_dollars) == (392, 392)


def test_an_amateur_who_took_a_money_place_would_break_the_published_earnings() -> None:
    right, told = reproduced_earnings(award_whole_dollars, amateurs=True)
    assert right < told


def test_sharing_in_cents_would_break_the_published_earnings_which_are_rounded() -> None:
    right, told = reproduced_earnings(award)
    assert right < told


def test_published_places_follow_from_the_strokes_of_everybody_who_made_the_cut() -> None:
    checked = 0
    for year, field in finishers_by_year(amateurs=True).items():
        # The winner of a play-off is level on strokes with the loser; one stroke fewer stands for the play-off.
        strokes = {player: int(row["strokes"]) - (row["position"] == "1") for player, row in field.items()}
        assert places(STROKES, strokes) == {player: published_place(row) for player, row in field.items()}, year
        checked += len(field)
    assert checked == 432


def test_missing_data_fails_and_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSENCE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(pytest.fail.Exception, match=r"nowhere.*set ABSENCE_DATA to the folder"):
        data_dir()
    monkeypatch.delenv("ABSENCE_DATA")
    monkeypatch.setattr(support_data, "PROJECT_ROOT", tmp_path / "project")
    with pytest.raises(pytest.fail.Exception, match=r"shared/data .*ABSENCE_DATA is not set"):
        data_dir()


# --- prizes: properties -----------------------------------------------------------------------------------------------

POOLS = st.integers(0, 10**11)
SHARES = st.lists(st.integers(1, 10_000), min_size=1, max_size=40)
FIELDS = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(-5, 5), min_size=1, max_size=60)


@given(pool_cents=POOLS, shares=SHARES, scores=FIELDS)
def test_the_pool_is_conserved_to_the_cent_and_no_prize_is_negative(
    pool_cents: int, shares: list[int], scores: dict[str, int]
) -> None:
    table = prize_table(pool_cents, shares, len(scores))
    prizes = award(places(STROKES, scores), table)
    assert sum(table) == sum(prizes.values()) == pool_cents
    assert prizes.keys() == scores.keys()
    assert min(prizes.values()) >= 0


@given(pool_cents=POOLS, shares=SHARES, scores=FIELDS)
def test_tied_entries_share_the_prizes_of_their_places(
    pool_cents: int, shares: list[int], scores: dict[str, int]
) -> None:
    """They get the sum of their places, differ by at most a cent, and the cents go to the lowest ids."""
    table = prize_table(pool_cents, shares, len(scores))
    place_of = places(STROKES, scores)
    prizes = award(place_of, table)
    for place in set(place_of.values()):
        tied = [prizes[entry] for entry in sorted(scores) if place_of[entry] == place]
        assert sum(tied) == sum(table[place - 1 : place - 1 + len(tied)])
        assert max(tied) - min(tied) <= 1
        assert tied == sorted(tied, reverse=True)


@given(pool_cents=POOLS, shares=SHARES, scores=FIELDS)
def test_a_better_place_never_gets_less_than_a_worse_one(
    pool_cents: int, shares: list[int], scores: dict[str, int]
) -> None:
    falling = sorted(shares, reverse=True)
    place_of = places(STROKES, scores)
    prizes = award(place_of, prize_table(pool_cents, falling, len(scores)))
    by_place = [prizes[entry] for entry in sorted(scores, key=lambda entry: (place_of[entry], entry))]
    assert by_place == sorted(by_place, reverse=True)


@given(pool_cents=POOLS, shares=SHARES, entries=st.integers(1, 60))
def test_a_place_is_less_than_a_cent_from_its_renormalised_share(
    pool_cents: int, shares: list[int], entries: int
) -> None:
    used = shares[:entries]
    table = prize_table(pool_cents, shares, entries)
    assert len(table) == len(used)
    for cents, share in zip(table, used, strict=True):
        assert abs(cents - Fraction(pool_cents * share, sum(used))) < 1


@given(pool_cents=POOLS, shares=SHARES)
def test_cents_left_over_in_the_table_go_to_the_largest_remainders_and_then_to_the_better_places(
    pool_cents: int, shares: list[int]
) -> None:
    exact = [Fraction(pool_cents * share, sum(shares)) for share in shares]
    table = prize_table(pool_cents, shares, len(shares))
    rounded_up = [cents - int(quota) for cents, quota in zip(table, exact, strict=True)]
    order = sorted(range(len(shares)), key=lambda place: (int(exact[place]) - exact[place], place))
    in_order = [rounded_up[place] for place in order]
    assert in_order == sorted(in_order, reverse=True)


@given(
    entries=st.integers(0, 50_000),
    fee_cents=st.integers(0, 10**6),
    rake_bp=st.integers(0, 10_000),
    guaranteed_cents=st.none() | POOLS,
)
def test_what_is_collected_less_the_rake_plus_the_overlay_is_the_pool(
    entries: int, fee_cents: int, rake_bp: int, guaranteed_cents: int | None
) -> None:
    cash = money(entries, fee_cents, rake_bp, guaranteed_cents)
    assert cash.collected_cents == entries * fee_cents
    assert cash.collected_cents - cash.rake_cents + cash.overlay_cents == cash.pool_cents
    assert 0 <= Fraction(cash.collected_cents * rake_bp, 10_000) - cash.rake_cents < 1
    assert cash.pool_cents >= (guaranteed_cents or 0)
    assert cash.overlay_cents == 0 or cash.pool_cents == guaranteed_cents


@given(table=st.lists(st.integers(0, 10**9), max_size=20), scores=FIELDS)
def test_published_earnings_are_the_average_of_the_tied_places_half_up_to_a_dollar(
    table: list[int], scores: dict[str, int]
) -> None:
    place_of = places(STROKES, scores)
    earned = award_whole_dollars(place_of, table)
    for entry, place in place_of.items():
        tied = sum(other == place for other in place_of.values())
        average = Fraction(sum(table[place - 1 : place - 1 + tied]), 100 * tied)
        assert earned[entry] % 100 == 0
        assert Fraction(-1, 2) < earned[entry] // 100 - average <= Fraction(1, 2)


def test_half_a_dollar_is_published_as_the_dollar_above() -> None:
    assert award_whole_dollars({"a": 1}, [250]) == {"a": 300}
    assert award_whole_dollars({"a": 1}, [249]) == {"a": 200}


# --- what the rules refuse --------------------------------------------------------------------------------------------


def test_a_pool_with_nobody_to_go_to_is_refused() -> None:
    assert prize_table(0, [10_000], 0) == []
    assert prize_table(0, [0, 0], 2) == [0, 0]
    with pytest.raises(ValueError, match="500 cents have nobody to go to: 0 entries"):
        prize_table(500, [10_000], 0)
    with pytest.raises(ValueError, match="500 cents have nobody to go to: 2 entries"):
        prize_table(500, [0, 0], 2)


def test_a_table_longer_than_the_field_is_refused_because_its_tail_would_vanish() -> None:
    with pytest.raises(ValueError, match="1 entries cannot take 2 prizes"):
        award({"a": 1}, [60, 40])


@pytest.mark.parametrize("wrong", [{"a": 2}, {"a": 1, "b": 1, "c": 2}, {"a": 1, "b": 3}, {"a": 0, "b": 1}])
def test_places_that_are_not_competition_ranks_are_refused(wrong: dict[str, int]) -> None:
    for share in (award, award_whole_dollars):
        with pytest.raises(ValueError, match="places must go 1, 2, 2, 4"):
            share(wrong, [10])


@pytest.mark.parametrize(
    ("entries", "fee_cents", "rake_bp", "guaranteed_cents"),
    [(-1, 1, 0, None), (1, -1, 0, None), (1, 1, -1, None), (1, 1, 10_001, None), (1, 1, 0, -1)],
)
def test_impossible_money_is_refused(entries: int, fee_cents: int, rake_bp: int, guaranteed_cents: int | None) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        money(entries, fee_cents, rake_bp, guaranteed_cents)


@pytest.mark.parametrize(("pool_cents", "shares"), [(-1, [10_000]), (1, [10_001, -1])])
def test_a_negative_pool_or_share_is_refused(pool_cents: int, shares: list[int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        prize_table(pool_cents, shares, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "matchplay"}, "must be 'strokes' or 'points'"),
        ({"counting": 3}, "counting must be from 1 to roster_size 2"),
        ({"counting": 0}, "counting must be from 1 to roster_size 2"),
        ({"kind": "points"}, "needs points_tenths"),
        ({"kind": "points", "points_tenths": {-1: 30, 1: -5}}, "every result between its ends"),
        ({"penalty": 1}, "unknown keys \\['penalty'\\]"),
    ],
)
def test_rules_that_cannot_score_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScoringRules.from_mapping({"kind": "strokes", "roster_size": 2, "counting": 1} | change)


def test_rules_without_a_roster_size_are_refused() -> None:
    with pytest.raises(ValueError, match="missing keys \\['roster_size'\\]"):
        ScoringRules.from_mapping({"kind": "strokes", "counting": 1})


def test_rules_read_from_json_equal_those_read_from_yaml() -> None:
    mapping = {"kind": "points", "roster_size": 1, "counting": 1, "points_tenths": {-1: 30, 0: 5, 1: -5}}
    assert ScoringRules.from_mapping(json.loads(json.dumps(mapping))) == ScoringRules.from_mapping(mapping) == POINTS


@pytest.mark.parametrize("strokes", [0, 4.0, float("nan"), "4"])
def test_a_hole_that_no_card_can_show_is_refused(strokes: object) -> None:
    with pytest.raises(ValueError, match="round 2: a hole is an int from 1"):
        Card(status="active", rounds=((4, 4), (4, cast(int, strokes))))


def test_an_unknown_status_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown golfer status 'MDF'; known are \\['active', 'cut'"):
        Card(status="MDF", rounds=())


def test_a_round_of_more_holes_than_the_course_is_refused() -> None:
    with pytest.raises(ValueError, match="golfer g: a round has more than the 1 holes"):
        golfer_scores(STROKES, [4], 1, {"g": Card("active", ((4, 4),))})


@pytest.mark.parametrize(
    ("roster", "message"), [([], "must have 1 golfers, got 0"), (["stranger"], "'stranger' has no card")]
)
def test_a_roster_that_the_field_cannot_score_is_refused(roster: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"entry e: .*{message}"):
        entry_scores(STROKES, {"g": 0}, {"e": roster})


# --- scoring: what hand-worked contests may leave open ----------------------------------------------------------------


@pytest.mark.parametrize("rules", [STROKES, POINTS])
def test_a_play_off_after_the_scheduled_rounds_never_scores(rules: ScoringRules) -> None:
    alone = {"g": Card("active", ((3, 4),))}
    with_play_off = {"g": Card("active", ((3, 4), (3, 3)))}
    assert golfer_scores(rules, [4, 4], 1, with_play_off) == golfer_scores(rules, [4, 4], 1, alone)


def test_the_last_place_of_the_finish_table_is_paid_and_the_next_is_not() -> None:
    rules = ScoringRules(kind="points", roster_size=1, counting=1, points_tenths={0: 0}, finish_tenths=(300, 200))
    cards = {"first": Card("active", ((3,),)), "second": Card("active", ((4,),)), "third": Card("active", ((5,),))}
    assert golfer_scores(rules, [4], 1, cards) == {"first": 300, "second": 200, "third": 0}


def test_holes_left_out_at_the_end_of_a_round_are_unplayed() -> None:
    cards = {"half": Card("withdrawn", ((3,),)), "whole": Card("active", ((4, 6),))}
    assert golfer_scores(STROKES, [4, 4], 1, cards) == {"half": 2, "whole": 2}
    assert golfer_scores(POINTS, [4, 4], 1, cards) == {"half": 30, "whole": 0}


def test_a_contest_of_45000_entries_is_scored_and_paid_in_well_under_a_second() -> None:
    par = [4] * 18
    rules = ScoringRules(kind="strokes", roster_size=6, counting=4, missed_round_penalty=1)
    cards = {
        f"g{number:02}": Card(
            status="active",
            rounds=tuple(tuple(3 + (number * hole + day) % 4 for hole in range(18)) for day in range(4)),
        )
        for number in range(90)
    }
    field = list(cards)
    rosters = {f"e{number:05}": [field[(number * 7 + pick * 13) % 90] for pick in range(6)] for number in range(45_000)}
    started = time.process_time()
    scores = entry_scores(rules, golfer_scores(rules, par, 4, cards), rosters)
    cash = money(len(rosters), 1_000, 1_000, None)
    prizes = award(places(rules, scores), prize_table(cash.pool_cents, [5_000, 3_000, 2_000], len(rosters)))
    seconds = time.process_time() - started
    assert sum(prizes.values()) == cash.pool_cents
    assert seconds < 1, f"scoring took {seconds:.2f} s of processor time"
