"""Scenario files: their errors, and the plans that come of them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from evidence.plan import Plan
from fault_injectors import registry
from scenarios import ScenarioInvalid, load, make_plan, shipped
from scenarios.binding import Offer
from scenarios.compile_names import NAMES, compiled
from scenarios.feed import DAY, HOUR, MINUTE
from scenarios.model import Prizes, TopHeavy
from scenarios.official import final_cells, final_statuses, finishers
from tests.support.data import data_dir

ROOT = Path(__file__).resolve().parents[1]
SMALL = (ROOT / "scenarios" / "small.yaml").read_text()


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def errors_of(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    with pytest.raises(ScenarioInvalid) as caught:
        make_plan(load(path), 1)
    return [str(error).removeprefix(f"{path}:") for error in caught.value.errors]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(load("default"), 1)


def offer_of(plan: Plan) -> Offer:
    return Offer(
        plan.starts_at,
        plan.absence_until_at,
        plan.tournaments,
        plan.contests,
        plan.entries,
        plan.principals,
        frozenset(),
        {tournament.id: finishers(tournament) for tournament in plan.tournaments},
        [],
    )


# --- errors -----------------------------------------------------------------------------------------------------------


def test_five_mistakes_in_one_file_are_five_located_errors_with_suggestions(tmp_path: Path) -> None:
    text = SMALL.replace("rake_bp:", "rake_pb:").replace("tournament: t1", "tournament: t11")
    text = text.replace("max_entries: 20", "max_entries: twenty").replace("kind: strokes", "kind: stroke")
    text += "\nfaults:\n  - {fault: provider.outrage}\n"
    lines = text.splitlines()
    at = {word: n for n, line in enumerate(lines, start=1) for word in line.replace(",", " ").split()}
    assert errors_of(tmp_path, text) == [
        f"{at['t11']}:17: there is no tournament t11 (did you mean t1?)",
        f"{at['twenty']}:18: max_entries: expected a whole number, got 'twenty'",
        f"{at['rake_pb:']}:5: unknown key rake_pb (did you mean rake_bp?)",
        f"{at['stroke']}:21: kind: expected 'strokes' or 'points', got 'stroke' (did you mean strokes?)",
        f"{at['provider.outrage}']}:13: there is no fault provider.outrage (did you mean provider.outage?)",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("fee_cents: 1000", "fee_cents: 10.50"), "fee_cents: expected a whole number of cents, got 10.5"),
        (("rake_bp: 1000", "rake_bp: 10001"), "rake_bp: input should be less than or equal to 10000, got 10001"),
        (("rake_bp: 1000", "hold_h: 24h"), "hold_h: expected a whole number of hours, got '24h'"),
        (("rake_bp: 1000", "hold_min: 60"), "unknown key hold_min (did you mean hold_h?)"),
        (
            ("entries: 20\n", "entries: 40\n"),
            "entries: 40 entries need as many customers, and the pool of entrants has 30",
        ),
        (("[5000, 3000, 2000]", "[5000, 3000]"), "shares_bp: expected shares that sum to 10000 basis points, got 8000"),
        (("{shares_bp: [5000, 3000, 2000]}", "{}"), "prizes: expected exactly one of"),
        (("counting: 3", "counting: 5"), "counting: expected at most the roster_size of 4, got 5"),
        (("fee_cents: 1000", "fee_cents: 1000\n    fee_cents: 2000"), "fee_cents: this key stands here a second time"),
        (("starts_day: 3", "starts_day: 12"), "the tournament does not end, or is not paid out, within 14 days"),
        (("golfers: 20", "golfers: 20, feed: there.csv"), "no recording at there.csv"),
        (("name: small", "name: [small"), "this is not YAML: expected ',' or ']'"),
    ],
)
def test_a_mistake_is_explained_in_the_words_of_the_scenario(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    assert change[0] in SMALL
    assert any(expected in error for error in errors_of(tmp_path, SMALL.replace(*change)))


@pytest.mark.parametrize(
    ("item", "place", "expected"),
    [
        (
            "{fault: provider.outage, params: {outage_h: 2}}",
            "outage_h",
            "unknown key outage_h (did you mean outage_min?)",
        ),
        ("{fault: provider.outage, params: {outage_min: 5}}", "5", "outage_min: input should be greater than"),
        ("{fault: webhooks.duplicate, params: {times: two}}", "two", "times: expected a whole number, got 'two'"),
        ("{fault: provider.outage, bind: {from: day 9}}", "day 9", "from: expected an instant like `day 8 02:30`"),
        (
            "{fault: provider.outage, bind: {from: day 9 03:00, until: day 9 02:00}}",
            "day 9 02",
            "until: expected an inst",
        ),
        ("{fault: provider.outage, count: 2, bind: {entity: t1}}", "{entity", "bind: a binding is for one fault"),
        ("provider.outage", "provider", "item 1: expected keys with values, got 'provider.outage'"),
    ],
)
def test_a_mistake_in_a_fault_is_found_before_any_plan_is_made(
    tmp_path: Path, item: str, place: str, expected: str
) -> None:
    path = written(tmp_path, f"{SMALL}\nfaults:\n  - {item}\n")
    with pytest.raises(ScenarioInvalid) as caught:
        load(path)
    (error,) = caught.value.errors
    assert (error.line, error.column) == (len(path.read_text().splitlines()), 5 + item.index(place))
    assert error.message.startswith(expected)


def test_ids_are_unique_and_an_alias_of_itself_is_refused(tmp_path: Path) -> None:
    contest = SMALL[SMALL.index("  - id: short-strokes") :]
    assert errors_of(tmp_path, SMALL + contest) == ["22:9: the id short-strokes is taken by one of the contests above"]
    assert any("this alias contains itself" in error for error in errors_of(tmp_path, f"{SMALL}\nfaults: &a\n  - *a\n"))


def test_an_unknown_name_suggests_a_shipped_scenario() -> None:
    with pytest.raises(ScenarioInvalid, match=r"did you mean default\?"):
        load("defalt")


def test_ties_are_only_for_contests_whose_best_roster_is_known(tmp_path: Path) -> None:
    text = SMALL.replace("kind: strokes", "kind: points, points_tenths: {0: 5}").replace(
        ", missed_round_penalty: 1", ""
    )
    assert "has a roster that is known to be the best" in errors_of(tmp_path, f"{text}    ties: 2\n")[0]


def test_a_fault_that_nothing_guarantees_is_an_error_at_its_line(tmp_path: Path) -> None:
    text = SMALL + "\nfaults:\n  - {fault: timeouts.transfer_answer_lost, count: 4}\n"
    line = len(text.splitlines())
    expected = "timeouts.transfer_answer_lost cannot be bound: the plan guarantees nothing (more) that it could befall"
    assert errors_of(tmp_path, text) == [f"{line}:5: {expected}"], "three places are paid, and four transfers wanted"
    cancelled = SMALL.replace("min_entries: 5", "min_entries: 20").replace("abandon_bp: 500", "abandon_bp: 5000")
    assert "cannot be bound" in errors_of(tmp_path, f"{cancelled}\nfaults: [{{fault: provider.outage}}]\n")[0]


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_makes_a_plan_that_survives_its_own_bytes(name: str) -> None:
    plan = make_plan(load(name), 7)
    assert plan.scenario == name
    again = Plan.model_validate(json.loads(plan.canonical()))
    assert again == plan
    assert again.sha256() == plan.sha256()


def test_the_calendar_is_that_of_the_specification(plan: Plan) -> None:
    days = [(t.starts_at - plan.starts_at) // DAY + 1 for t in plan.tournaments]
    assert days == [3, 10]
    assert [(t.ends_at - plan.starts_at) // DAY + 1 for t in plan.tournaments] == [6, 13]
    assert plan.absence_until_at - plan.starts_at == 14 * DAY
    assert 0 < plan.recovery_until_at - plan.absence_until_at <= 96 * HOUR
    assert 400 <= len(plan.entries) <= 500
    assert len(plan.contests) == 5


def test_entries_are_whole_and_their_money_comes_well_before_the_lock(plan: Plan) -> None:
    contests = {contest.id: contest for contest in plan.contests}
    golfers = {t.id: {golfer.id for golfer in t.golfers} for t in plan.tournaments}
    seen = set()
    for entry in plan.entries:
        contest = contests[entry.contest_id]
        assert contest.opens_at <= entry.enters_at
        pays_at = entry.enters_at + entry.pay_after_s * 1_000
        if entry.pays == "too_late":
            assert contest.lock_at < pays_at < contest.lock_at + MINUTE
        else:
            assert pays_at <= contest.lock_at - 30 * MINUTE
        assert len(set(entry.roster)) == len(entry.roster) == contest.scoring.roster_size
        assert set(entry.roster) <= golfers[contest.tournament_id]
        seen.add((entry.contest_id, entry.user_id))
    assert len(seen) == len(plan.entries), "nobody enters a contest twice"
    pays = Counter(entry.pays for entry in plan.entries)
    assert 0 < pays["abandons"] < len(plan.entries) // 10
    assert any(entry.pay_after_s >= 7_200 for entry in plan.entries)
    assert len({e.email for e in plan.entrants}) == len({e.account_id for e in plan.entrants}) == len(plan.entrants)


def test_contests_lock_before_the_first_tee_time_and_end_after_the_last_putt(plan: Plan) -> None:
    tournaments = {tournament.id: tournament for tournament in plan.tournaments}
    for contest in plan.contests:
        tournament = tournaments[contest.tournament_id]
        assert contest.lock_at < contest.start_at == tournament.starts_at == tournament.play[0][0]
        assert contest.end_at > tournament.ends_at
        assert sum(contest.prize_shares_bp) == 10_000


def test_the_tied_entries_hold_the_roster_that_finished_lowest(plan: Plan) -> None:
    tournament = plan.tournaments[0]
    totals: Counter[str] = Counter()
    for (golfer, _, _), strokes in final_cells(tournament).items():
        totals[golfer] += strokes
    finished = [g for g, status in final_statuses(tournament).items() if status == "active"]
    best = sorted(sorted(finished, key=lambda g: (totals[g], g))[:6])
    tied = [e for e in plan.entries if e.contest_id == "azalea-strokes" and e.roster == best]
    assert len(tied) == 3
    assert {entry.pays for entry in tied} == {"pays"}


def test_the_contest_that_misses_its_minimum_does_so_and_the_guaranteed_one_needs_the_overlay(plan: Plan) -> None:
    paying = Counter(entry.contest_id for entry in plan.entries if entry.pays == "pays")
    contests = {contest.id: contest for contest in plan.contests}
    short = [c.id for c in plan.contests if c.guaranteed_cents is None and paying[c.id] < c.min_entries]
    assert short == ["azalea-private"]
    guaranteed = contests["azalea-points"]
    assert guaranteed.guaranteed_cents is not None
    assert paying[guaranteed.id] * guaranteed.fee_cents < guaranteed.guaranteed_cents
    assert short[0] not in dict(offer_of(plan).transfers())


def test_every_fault_of_the_default_scenario_is_bound_to_what_is_guaranteed(plan: Plan) -> None:
    offer = offer_of(plan)
    transfers, payments = dict(offer.transfers()), dict(offer.payments())
    cells = {(f"{t}/{g}", round, hole): strokes for t, g, round, hole, strokes, _ in offer.correctable()}
    families = {"timeouts": 0, "webhooks": 0, "provider": 0, "platform": 0, "winrm": 0}
    for fault in plan.faults:
        families[fault.fault.partition(".")[0]] += 1
        if fault.operation == "transfers.create":
            assert fault.occurrence in range(1, transfers[fault.entity or ""] + 1)
        elif fault.seam == "webhook":
            assert fault.entity in payments
        elif fault.fault == "provider.correction":
            value = cells[fault.entity or "", fault.params["round"], fault.params["hole"]]
            assert abs(fault.params["strokes"] - value) == 1
        else:
            assert fault.from_at is not None
            until_at = fault.until_at or fault.from_at + 1
            assert any(a <= fault.from_at and until_at <= b for _, a, b in offer.play()), fault.id
    assert all(families.values())
    crashes = {fault.from_at for fault in plan.faults if fault.fault == "platform.crash"}
    assert {f.from_at for f in plan.faults if f.seam == "winrm"} < crashes, "each is met in a crash of its own"
    assert len(crashes) == 3


def test_a_fault_of_the_plan_can_be_judged_without_its_class(plan: Plan) -> None:
    known = registry()
    for fault in plan.faults:
        assert fault.bite.book == known[fault.fault].bite.book
        assert fault.bite.where == dict(known[fault.fault].bite.where)
        assert fault.recovery.within_s == known[fault.fault].recovery.within_s


@pytest.mark.parametrize("seed", range(5))
def test_many_faults_never_claim_the_same_thing(tmp_path: Path, seed: int) -> None:
    text = (ROOT / "scenarios" / "default.yaml").read_text()
    more = text.replace("{fault: platform.crash}", "{fault: platform.crash, count: 4}").replace(
        "count: 2}", "count: 20}"
    )
    plan = make_plan(load(written(tmp_path, more)), seed)
    points = [(f.seam, f.operation, f.entity, f.occurrence) for f in plan.faults if f.occurrence is not None]
    assert len(points) == len(set(points)) == 20 * 4 + 3
    crashes = sorted(f.from_at or 0 for f in plan.faults if f.fault == "platform.crash")
    assert len(crashes) == 6
    assert min(after - before for before, after in itertools.pairwise(crashes)) >= 2 * HOUR


def test_a_correction_spares_the_rosters_that_must_stay_tied(tmp_path: Path) -> None:
    text = (ROOT / "scenarios" / "default.yaml").read_text()
    more = text.replace("{fault: provider.correction}", "{fault: provider.correction, count: 200}")
    plan = make_plan(load(written(tmp_path, more)), 3)
    best = {f"t1/{golfer}" for golfer in finishers(plan.tournaments[0])[:6]}
    corrections = [f for f in plan.faults if f.fault == "provider.correction"]
    assert len(corrections) == 200
    assert best.isdisjoint({f.entity for f in corrections})
    cells = {(f.entity, f.params["round"], f.params["hole"]) for f in corrections}
    assert len(cells) == 200, "no hole is corrected twice"


def test_disabling_a_fault_moves_no_other(tmp_path: Path, plan: Plan) -> None:
    text = (ROOT / "scenarios" / "default.yaml").read_text()
    less = text.replace("{fault: webhooks.delayed, count: 2}", "{fault: webhooks.delayed, count: 2, disabled: true}")
    without = make_plan(load(written(tmp_path, less)), 1)
    assert without.faults == [fault for fault in plan.faults if fault.fault != "webhooks.delayed"]
    assert without.entries == plan.entries


def test_an_explicit_binding_is_taken_as_it_stands() -> None:
    plan = make_plan(load("never_bites"), 1)
    (fault,) = plan.faults
    assert (fault.entity, fault.from_at) == ("t1", plan.starts_at + 8 * DAY + 2 * HOUR)
    assert fault.from_at is not None
    assert fault.until_at == plan.starts_at + 8 * DAY + 3 * HOUR
    assert not any(a < fault.until_at and fault.from_at < b for t in plan.tournaments for a, b in t.play)


def test_calm_is_the_default_without_its_faults(plan: Plan) -> None:
    calm = make_plan(load("calm"), 1)
    assert calm.faults == []
    assert calm.contests == plan.contests
    assert calm.entries == plan.entries
    assert calm.tournaments == plan.tournaments


@pytest.mark.parametrize(("days", "expected"), [(7, ["t1"]), (14, ["t1", "t2"]), (30, ["t1", "t2", "t1-2", "t2-2"])])
def test_other_days_hold_the_tournaments_that_can_be_paid_out_in_them(days: int, expected: list[str]) -> None:
    plan = make_plan(load("default"), 1, days=days)
    assert [tournament.id for tournament in plan.tournaments] == expected
    assert plan.absence_until_at - plan.starts_at == days * DAY
    for contest in plan.contests:
        ends_at = next(t.ends_at for t in plan.tournaments if t.id == contest.tournament_id)
        assert ends_at <= plan.absence_until_at
        assert ends_at + contest.hold_s * 1_000 < plan.recovery_until_at
    assert len(plan.contests) == {7: 3, 14: 5, 30: 10}[days]


def test_days_too_few_for_any_tournament_are_an_error() -> None:
    with pytest.raises(ScenarioInvalid, match="no tournament can be played and paid out within 3 days"):
        make_plan(load("default"), 1, days=3)


def test_a_recording_takes_the_place_of_the_first_tournament() -> None:
    feed = data_dir() / "golf" / "masters2026_feed_deltas.csv"
    plan = make_plan(load("default"), 1, feed=feed)
    first, second = plan.tournaments
    assert (first.id, len(first.golfers), len(first.glitches)) == ("t1", 91, 3)
    assert (first.starts_at - plan.starts_at) // DAY + 1 == 3
    assert second == make_plan(load("default"), 1).tournaments[1]
    served_wrongly = [(glitch.from_at, glitch.until_at) for glitch in first.glitches]
    for _, from_at, until_at in offer_of(plan).play():
        assert not any(a < until_at and from_at < b for a, b in served_wrongly)


def test_a_broken_recording_stops_the_plan_at_its_row(tmp_path: Path) -> None:
    feed = tmp_path / "feed.csv"
    feed.write_text("snapshot_utc,commit,player_id,player,round,hole,strokes,par,change\n,,,,,,,,\n")
    with pytest.raises(ScenarioInvalid, match=r"feed\.csv:2:1: snapshot_utc: expected an instant"):
        make_plan(load("small"), 1, feed=feed)


def test_a_field_of_ten_has_ten_times_the_entries_and_what_goes_with_them(plan: Plan) -> None:
    ten = make_plan(load("default"), 1, field=10)
    assert len(ten.entries) == 10 * len(plan.entries)
    assert len(ten.entrants) == 10 * len(plan.entrants)
    assert ten.tournaments == plan.tournaments
    offered, once = dict(offer_of(ten).transfers()), dict(offer_of(plan).transfers())
    assert offered.keys() == once.keys()
    assert offered["links-double"] == 10 * once["links-double"]
    assert [c.guaranteed_cents for c in ten.contests if c.guaranteed_cents] == [2_500_000]


def test_named_prize_shapes_are_prize_tables() -> None:
    assert Prizes(winner_takes_all=True).by_place(20, 1) == [10_000]
    assert Prizes(double_up=True).by_place(20, 1) == [1_000] * 10
    top = Prizes(top_heavy=TopHeavy(places=12)).by_place(130, 1)
    assert len(top) == 12
    assert sum(top) == 10_000
    assert top == sorted(top, reverse=True)
    assert top[0] > 3 * top[5]
    assert len(Prizes(top_heavy=TopHeavy(places=12)).by_place(13_000, 100)) == 1_200


def test_a_prize_table_without_a_place_is_an_error_and_no_contest_that_cannot_be_settled(tmp_path: Path) -> None:
    alone = SMALL
    for before, after in (
        ("{shares_bp: [5000, 3000, 2000]}", "{double_up: true}"),
        ("entries: 20\n    min_entries: 5", "entries: 1\n    min_entries: 1"),
    ):
        assert before in alone
        alone = alone.replace(before, after)
    path = tmp_path / "alone.yaml"
    path.write_text(alone)
    with pytest.raises(ScenarioInvalid, match="prizes: no place is paid: double_up pays half of the entries planned"):
        make_plan(load(path), 1)


def test_the_same_seed_gives_the_same_bytes_in_any_process_and_another_seed_others(plan: Plan) -> None:
    code = "import scenarios; print(scenarios.make_plan(scenarios.load('default'), 1).sha256())"
    for hash_seed, zone in (("1", "UTC"), ("4242", "Asia/Kathmandu")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == plan.sha256()
    assert make_plan(load("default"), 2).sha256() != plan.sha256()


def test_the_names_are_those_of_faker() -> None:
    """A newer Faker may have others: `make snapshots` takes them over, which changes every plan."""
    assert NAMES.read_text() == compiled()
