"""The platform's scoring and prizes against contests worked by hand, published earnings, and any field at all.

Invariant: no expected number here comes from the code under test.
"""

import csv
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contest_platform.domain.prizes import Award, Rounding, contest_money, prize_table, split_prizes
from contest_platform.domain.scoring import GolferCard, ScoringConfig, rank, score_entries, score_golfers
from tests.support.data import data_dir

GOLDEN = sorted((Path(__file__).parent / "golden" / "scoring").glob("*.yaml"))

STROKES = ScoringConfig(kind="strokes", roster_size=6, counting=4, missed_round_penalty=1)
POINTS_JSON: dict[str, Any] = {
    "kind": "points",
    "roster_size": 3,
    "counting": 2,
    "points_tenths": {"-2": 80, "-1": 30, "0": 5, "1": -5, "2": -10},
    "finish_tenths": [300, 200, 180],
}


# Contests worked by hand


def golden_cards(golfers: Mapping[str, Any]) -> dict[str, GolferCard]:
    return {
        golfer: GolferCard(
            status=told["status"],
            holes={
                (round_no, hole): strokes
                for round_no, holes in enumerate(told["rounds"] or [], start=1)
                for hole, strokes in enumerate(holes or [], start=1)
                if strokes is not None
            },
        )
        for golfer, told in golfers.items()
    }


def test_at_least_twenty_golden_contests_are_there_to_be_reproduced() -> None:
    assert len(GOLDEN) >= 20


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_number_of_a_golden_contest_is_reproduced(path: Path) -> None:
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = ScoringConfig.from_json(told["scoring"])
    contest = told["contest"]
    entries = {str(entry): roster for entry, roster in told["entries"].items()}

    golfer_scores = score_golfers(config, told["par"], told["rounds"], golden_cards(told["golfers"]))
    entry_scores = score_entries(config, golfer_scores, entries)
    places = rank(config, entry_scores)
    money = contest_money(len(entries), contest["fee_cents"], contest["rake_bp"], contest["guaranteed_cents"])
    table = prize_table(money.pool_cents, contest["prize_shares_bp"], len(entries))
    awards = split_prizes(places, table)

    assert {
        "golfer_scores": golfer_scores,
        "entry_scores": entry_scores,
        "places": places,
        "rake_cents": money.rake_cents,
        "pool_cents": money.pool_cents,
        "overlay_cents": money.overlay_cents,
        "prizes_cents": {entry: award.cents for entry, award in awards.items()},
    } == told["expected"]
    assert ScoringConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


# Real results


def test_published_masters_earnings_of_2010_to_2017_are_reproduced_392_of_392() -> None:
    """Tied money places averaged among professionals only, rounded half up to dollars (FACTS section 4).

    The 392 are the earnings whose money places all lie in the table of 50; further down the club decides. In this
    source 2016 is a copy of 2017, so that 342 of them are independent.
    """
    golf = data_dir() / "golf"
    percentages = json.loads((golf / "masters_purse_percentages.json").read_text(), parse_float=Fraction)["percent"]
    paid_cents_of_year: defaultdict[str, dict[str, int]] = defaultdict(dict)
    position_of_year: defaultdict[str, dict[str, int]] = defaultdict(dict)
    with (golf / "masters_1970_2017_pgatourdotcom.csv").open(encoding="utf-8", newline="") as rows:
        for number, row in enumerate(csv.DictReader(rows)):
            if 2010 <= int(row["year"]) <= 2017 and row["earnings"]:  # an amateur takes no money, nor a money place
                professional = f"{number:04} {row['player']}"
                dollars = row["earnings"].removeprefix("$").removesuffix(".00").replace(",", "")
                paid_cents_of_year[row["year"]][professional] = int(dollars) * 100
                position_of_year[row["year"]][professional] = int(row["position"].removeprefix("T"))

    compared: list[tuple[str, str, int, int]] = []
    for year, paid_cents in paid_cents_of_year.items():
        purse_cents = max(paid_cents.values()) * 100 // 18
        table = [int(purse_cents * percent / 100) for percent in percentages]
        assert all(Fraction(purse_cents) * percent / 100 % 1 == 0 for percent in percentages)
        money_places = rank(STROKES, position_of_year[year])  # a position is a score of which the lowest is best
        awards = split_prizes(money_places, table, Rounding.WHOLE_DOLLARS_HALF_UP)
        sharing = defaultdict(list)
        for professional, place in money_places.items():
            sharing[place].append(professional)
        compared += [
            (year, professional, awards[professional].cents, paid_cents[professional])
            for place, professionals in sharing.items()
            if place + len(professionals) - 1 <= len(table)
            for professional in professionals
        ]

    assert [line for line in compared if line[2] != line[3]] == []
    assert len(compared) == 392
    assert len({(year, who) for year, who, _, _ in compared if year != "2016"}) == 342


def test_whole_dollars_round_a_half_up_and_need_not_conserve_the_pool() -> None:
    """The 36th to 39th of the 2017 Masters: 211,750 dollars of prizes, 52,937.50 each, 52,938 published."""
    table = [0] * 35 + [56_650_00, 53_900_00, 51_700_00, 49_500_00]
    places = {f"g{number:02}": number for number in range(1, 36)} | dict.fromkeys(("a", "b", "c", "d"), 36)
    awards = split_prizes(places, table, Rounding.WHOLE_DOLLARS_HALF_UP)
    assert [awards[golfer].cents for golfer in "abcd"] == [52_938_00] * 4
    assert sum(award.cents for award in awards.values()) == sum(table) + 2_00


# Any table, any ties, any field


@st.composite
def prize_shares(draw: st.DrawFn) -> list[int]:
    """Shares of 10 000 basis points, not in order and with zeros among them, the first not 0."""
    cuts = draw(st.lists(st.integers(1, 10_000), max_size=30))
    edges = [0, *sorted(cuts), 10_000]
    return [high - low for low, high in pairwise(edges)]


@st.composite
def contests(draw: st.DrawFn) -> tuple[list[int], int, dict[str, int]]:
    """Shares, pool in cents, and a score for each entry; few distinct scores, so that ties of every size come up."""
    scores = draw(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(-4, 4), min_size=1, max_size=40))
    return draw(prize_shares()), draw(st.integers(0, 10**12)), scores


@given(contests())
def test_any_table_any_ties_and_any_field_conserve_the_pool_exactly(
    contest: tuple[list[int], int, dict[str, int]],
) -> None:
    shares, pool_cents, scores = contest
    table = prize_table(pool_cents, shares, len(scores))
    awards = split_prizes(rank(STROKES, scores), table)
    assert sum(table) == pool_cents
    assert sum(award.cents for award in awards.values()) == pool_cents
    assert awards.keys() == scores.keys()
    assert all(type(award.cents) is int and award.cents >= 0 for award in awards.values())


@given(contests())
def test_every_prize_of_a_table_is_within_a_cent_of_its_exact_share(
    contest: tuple[list[int], int, dict[str, int]],
) -> None:
    shares, pool_cents, scores = contest
    table = prize_table(pool_cents, shares, len(scores))
    used = shares[: len(scores)]
    exact = [Fraction(pool_cents * share, sum(used)) for share in used]
    assert len(table) == min(len(scores), len(shares))
    assert all(abs(prize - share) < 1 for prize, share in zip(table, exact, strict=True))
    rounded_up = [share - int(share) for prize, share in zip(table, exact, strict=True) if prize > share]
    rounded_down = [share - int(share) for prize, share in zip(table, exact, strict=True) if prize < share]
    assert min(rounded_up, default=1) >= max(rounded_down, default=0), "a larger remainder went without its cent"


@given(contests())
def test_tied_entries_differ_by_at_most_a_cent_and_the_lowest_ids_have_it(
    contest: tuple[list[int], int, dict[str, int]],
) -> None:
    shares, pool_cents, scores = contest
    awards = split_prizes(rank(STROKES, scores), prize_table(pool_cents, shares, len(scores)))
    for score in set(scores.values()):
        group = [awards[entry] for entry in sorted(scores) if scores[entry] == score]
        cents = [award.cents for award in group]
        assert cents == sorted(cents, reverse=True)
        assert max(cents) - min(cents) <= 1
        assert [award.tie_break for award in group] == ([None] if len(group) == 1 else [*range(1, len(group) + 1)])


@given(contests(), st.randoms(use_true_random=False))
def test_the_order_in_which_entries_are_given_moves_no_cent(
    contest: tuple[list[int], int, dict[str, int]], shuffler: random.Random
) -> None:
    shares, pool_cents, scores = contest
    table = prize_table(pool_cents, shares, len(scores))
    shuffled = list(scores.items())
    shuffler.shuffle(shuffled)
    assert split_prizes(rank(STROKES, dict(shuffled)), table) == split_prizes(rank(STROKES, scores), table)


@given(st.dictionaries(st.text(max_size=3), st.integers(-4, 4), max_size=40))
def test_the_place_of_an_entry_is_one_more_than_the_number_of_better_ones(scores: dict[str, int]) -> None:
    points = ScoringConfig.from_json(POINTS_JSON)
    assert rank(STROKES, scores) == {e: 1 + sum(o < s for o in scores.values()) for e, s in scores.items()}
    assert rank(points, scores) == {e: 1 + sum(o > s for o in scores.values()) for e, s in scores.items()}


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10_000), st.none() | st.integers(0, 10**12))
def test_what_is_collected_less_rake_plus_overlay_is_the_pool(
    entries: int, fee_cents: int, rake_bp: int, guaranteed_cents: int | None
) -> None:
    money = contest_money(entries, fee_cents, rake_bp, guaranteed_cents)
    assert money.collected_cents == entries * fee_cents
    assert 0 <= Fraction(money.collected_cents * rake_bp, 10_000) - money.rake_cents < 1
    assert money.pool_cents == money.collected_cents - money.rake_cents + money.overlay_cents
    assert money.pool_cents >= (guaranteed_cents or 0)
    assert money.overlay_cents == 0 or money.pool_cents == guaranteed_cents


# Single rules


def test_equal_remainders_give_the_left_over_cent_to_the_better_place() -> None:
    assert prize_table(101, [5000, 5000], 2) == (51, 50)


def test_a_larger_remainder_beats_a_better_place() -> None:
    assert prize_table(100, [3340, 3325, 3335], 3) == (34, 33, 33)
    assert prize_table(101, [3325, 3340, 3335], 3) == (33, 34, 34)


def test_fewer_entries_than_places_renormalise_the_shares_in_use() -> None:
    assert prize_table(8000, [5000, 3000, 2000], 2) == (5000, 3000)


def test_the_tie_break_is_recorded_for_those_who_share_a_place_and_nobody_else() -> None:
    awards = split_prizes({"e9": 2, "e10": 2, "e2": 1, "e1": 4}, [50, 31, 20])
    assert awards == {"e2": Award(50, None), "e10": Award(26, 1), "e9": Award(25, 2), "e1": Award(0, None)}


def test_play_off_holes_never_score() -> None:
    par, points = [4, 3], ScoringConfig.from_json(POINTS_JSON)
    strokes = ScoringConfig(kind="strokes", roster_size=1, counting=1, missed_round_penalty=1)
    level = {(1, 1): 4, (1, 2): 3}
    cards = {
        "a": GolferCard("active", level),
        "b": GolferCard("active", level | {(2, 1): 2, (1, 3): 2, (0, 1): 2}),  # another round, hole or numbering
    }
    assert score_golfers(strokes, par, 1, cards) == {"a": 0, "b": 0}
    assert score_golfers(points, par, 1, cards) == {"a": 310, "b": 310}


def test_the_last_place_of_the_finish_table_is_paid_and_the_next_is_not() -> None:
    cards = {f"in {strokes}": GolferCard("active", {(1, 1): strokes}) for strokes in (4, 5, 6, 7)}
    assert score_golfers(ScoringConfig.from_json(POINTS_JSON), [4], 1, cards) == {
        "in 4": 5 + 300,
        "in 5": -5 + 200,
        "in 6": -10 + 180,
        "in 7": -10,
    }


def test_the_missed_round_of_a_golfer_costs_the_highest_total_of_the_whole_field_plus_the_penalty() -> None:
    strokes = ScoringConfig(kind="strokes", roster_size=1, counting=1, missed_round_penalty=2)
    cards = {
        "steady": GolferCard("active", {(1, 1): 4, (2, 1): 4}),
        "wild, then disqualified": GolferCard("disqualified", {(1, 1): 9}),
        "never came": GolferCard("did_not_start", {}),
    }
    assert score_golfers(strokes, [4], 3, cards) == {
        "steady": 0,
        "wild, then disqualified": 5 + 2,
        "never came": 5 + 2 + 2,
    }


def test_a_full_contest_of_45_000_entries_is_scored_ranked_and_split_within_a_second() -> None:
    dice = random.Random(20260412)
    golfers = {f"golfer_{number:03}": dice.randint(-12, 30) for number in range(91)}
    names = list(golfers)
    rosters = {f"entry_{number:05}": dice.sample(names, 6) for number in range(45_000)}
    shares = [2] * 5000

    started = time.process_time()
    places = rank(STROKES, score_entries(STROKES, golfers, rosters))
    awards = split_prizes(places, prize_table(99_999_999, shares, len(rosters)))
    spent_s = time.process_time() - started

    assert sum(award.cents for award in awards.values()) == 99_999_999
    assert spent_s < 1


# What is refused, so that a mistake cannot pay the wrong people


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "stableford"}, "stableford"),
        ({"kind": None}, "None"),
        ({"counting": 4}, "roster_size"),
        ({"counting": 0}, "roster_size"),
        ({"counting": 2.0}, "integer"),
        ({"roster_size": True}, "integer"),
        ({"missed_round_penalty": 1}, "no meaning under points"),
        ({"points_tenths": {}}, "without gaps"),
        ({"points_tenths": {"-1": 30, "1": -5}}, "without gaps"),
        ({"points_tenths": {"birdie": 30}}, "birdie"),
        ({"points_tenths": {"+1": 30}}, r"\+1"),
        ({"points_tenths": {"0": 0.5}}, "integer"),
        ({"points_tenths": [30]}, "mapping"),
        ({"finish_tenths": {"1": 300}}, "list"),
        ({"finish_tenths": ["300"]}, "place 1"),
        ({"finnish_tenths": [300]}, "finnish_tenths"),
    ],
)
def test_a_scoring_configuration_that_cannot_be_meant_is_refused_by_the_name_of_its_field(
    change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        ScoringConfig.from_json(POINTS_JSON | change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"missed_round_penalty": None}, "missed_round_penalty"),
        ({"missed_round_penalty": -1}, "missed_round_penalty"),
        ({"points_tenths": {"0": 5}}, "no meaning under strokes"),
        ({"finish_tenths": [300]}, "no meaning under strokes"),
    ],
)
def test_a_strokes_configuration_needs_its_penalty_and_no_points(change: dict[str, Any], reason: str) -> None:
    strokes = {"kind": "strokes", "roster_size": 6, "counting": 4, "missed_round_penalty": 1}
    assert ScoringConfig.from_json(strokes) == STROKES
    with pytest.raises(ValueError, match=reason):
        ScoringConfig.from_json(strokes | change)


def test_json_has_string_keys_for_results_to_par_and_reads_back_equal() -> None:
    config = ScoringConfig.from_json(POINTS_JSON)
    assert config.points_tenths == {-2: 80, -1: 30, 0: 5, 1: -5, 2: -10}
    assert config.to_json() == POINTS_JSON
    assert STROKES.to_json() == {"kind": "strokes", "roster_size": 6, "counting": 4, "missed_round_penalty": 1}


def test_an_unknown_status_is_refused_rather_than_read_as_not_active() -> None:
    with pytest.raises(ValueError, match="Active"):
        GolferCard("Active", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("roster", [["a", "b"], ["a", "b", "b"], ["a", "b", "c", "d"], ["a", "b", "stranger"]])
def test_a_roster_that_is_not_r_different_golfers_of_the_field_is_refused(roster: list[str]) -> None:
    with pytest.raises(ValueError, match="entry e1"):
        score_entries(ScoringConfig.from_json(POINTS_JSON), {"a": 1, "b": 2, "c": 3, "d": 4}, {"e1": roster})


def test_a_course_without_holes_or_rounds_is_refused() -> None:
    for par, rounds in (([], 4), ([4], 0)):
        with pytest.raises(ValueError, match="at least one"):
            score_golfers(STROKES, par, rounds, {})


@pytest.mark.parametrize("places", [{"a": 1, "b": 1, "c": 2}, {"a": 2, "b": 3}, {"a": 1, "b": 3}, {"a": 0}])
def test_places_that_are_no_ranking_are_refused_because_they_would_lose_or_invent_money(places: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="places"):
        split_prizes(places, [100])


def test_money_that_nobody_can_win_is_refused_rather_than_lost() -> None:
    with pytest.raises(ValueError, match="0 entries"):
        prize_table(100, [10_000], 0)
    with pytest.raises(ValueError, match="no share"):
        prize_table(100, [0, 10_000], 1)
    with pytest.raises(ValueError, match="beyond the 1 entries"):
        split_prizes({"a": 1}, [60, 40])
    assert prize_table(0, [10_000], 0) == ()


@pytest.mark.parametrize(
    ("pool_cents", "shares", "entries"),
    [(100, [5000, 4999], 2), (100, [], 2), (100, [11_000, -1000], 2), (-1, [10_000], 2), (100, [10_000], -1)],
)
def test_a_prize_table_of_impossible_amounts_is_refused(pool_cents: int, shares: list[int], entries: int) -> None:
    with pytest.raises(ValueError, match="prize"):
        prize_table(pool_cents, shares, entries)
    with pytest.raises(ValueError, match="negative"):
        split_prizes({"a": 1}, [-1])


@pytest.mark.parametrize(
    ("entries", "fee_cents", "rake_bp", "guaranteed_cents"),
    [(-1, 100, 0, None), (1, -100, 0, None), (1, 100, -1, None), (1, 100, 10_001, None), (1, 100, 0, -1)],
)
def test_contest_money_of_impossible_amounts_is_refused(
    entries: int, fee_cents: int, rake_bp: int, guaranteed_cents: int | None
) -> None:
    with pytest.raises(ValueError, match="contest money"):
        contest_money(entries, fee_cents, rake_bp, guaranteed_cents)
