"""A tournament that never was: generated hole by hole, calibrated on the live feed of the 2026 Masters.

Invariant: integer arithmetic on keyed draws only, so the same draws give the same tournament on every machine.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from evidence.plan import Publication, Tournament
from scenarios import people
from seams.draws import GOLDEN, Draws, mix

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ROUNDS, HOLES = 4, 18
COURSE = (4,) * 10 + (3,) * 4 + (5,) * 4
GOLFERS_MAX = 156

# Weights of -2, -1, 0, +1, +2, +3 (triple bogey or worse) to par, per 10 000 holes of that par, as counted in the final
# scores of the recording: 1 160 holes of par 3, 2 900 of par 4, 1 160 of par 5.
TO_PAR = (-2, -1, 0, 1, 2, 3)
WEIGHTS = {
    3: (9, 1371, 6440, 1870, 276, 34),
    4: (14, 1279, 6200, 2262, 238, 7),
    5: (207, 3672, 5078, 741, 233, 69),
}
# How far a golfer's skill, his form of the day and the conditions of a round move weight from birdie to bogey at most,
# per 10 000 holes: chosen so that rounds spread as widely as the recording's (standard deviation 3.7 strokes, where
# holes alone would give 3.0).
_SKILL, _FORM, _CONDITIONS = 850, 650, 300

FIRST_TEE = 12 * HOUR
_SECOND_WAVE = 16 * HOUR + 10 * MINUTE
_WAVE_LASTS = 160 * MINUTE
_WEEKEND_LAST_TEE = 18 * HOUR + 45 * MINUTE
_BEHIND_S = 5 * 60
"""A group leaves a hole at least this long after the group in front of it."""
_HOLE_S = {3: (660, 780), 4: (780, 960), 5: (960, 1140)}


def cut_size(golfers: int) -> int:
    """How many make the cut, ties apart: 54 of 90, as in the recording."""
    return golfers * 3 // 5


@dataclass(slots=True)
class _Book:
    """What has been published, by instant."""

    cells: dict[int, list[tuple[str, int, int, int]]] = field(default_factory=dict)
    statuses: dict[int, list[tuple[str, str]]] = field(default_factory=dict)

    def publications(self, complete_at: int) -> list[Publication]:
        return [
            Publication(
                at=at,
                cells=sorted(self.cells.get(at, [])),
                statuses=sorted(self.statuses.get(at, [])),
                complete=at == complete_at,
            )
            for at in sorted({*self.cells, *self.statuses, complete_at})
        ]


@dataclass(slots=True)
class _Field:
    """Who is still in, with their strokes so far and the instant at which a golfer's last round ended."""

    active: list[str]
    strokes: dict[str, int]
    skill: dict[str, int]
    leaves_after: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Golfers who withdraw in the middle of a round: (round, last hole played)."""


def generate(draws: Draws, *, id: str, name: str, day_at: int, golfers: int) -> Tournament:
    """A tournament of four rounds on four days from `day_at` (midnight UTC of its Thursday).

    `golfers` counts the field, 12 to 156. Play is from about 12:00 to about 23:30 UTC; `ends_at` is the instant when
    the result becomes official, some minutes after the last putt.
    """
    # The same people play every week; what they do there is drawn for the tournament.
    players = people.golfers(draws.derive("golfers"), golfers)
    draws = draws.derive("tournament", id)
    par = draws.shuffled(COURSE, "course")
    ids = [golfer.id for golfer in players]
    skill = {g: draws.between(-_SKILL, _SKILL, "skill", g) for g in ids}
    state = _Field(active=ids, strokes=dict.fromkeys(ids, 0), skill=skill)
    book = _Book()
    _plan_casualties(draws, state, book, day_at)
    play: list[tuple[int, int]] = []
    for round in range(1, ROUNDS + 1):
        first_at, last_at = _play_round(draws, state, book, par, round, day_at + (round - 1) * DAY)
        # One more poll after the last batch belongs to the day's play: it brings the last putts.
        play.append((first_at, last_at + 10 * MINUTE))
        _after_round(draws, state, book, round, last_at)
    complete_at = play[-1][1] + draws.between(5, 25, "complete") * MINUTE
    return Tournament(
        id=id,
        event_id=f"event-{id}",
        name=name,
        par=par,
        rounds=ROUNDS,
        starts_at=play[0][0],
        ends_at=complete_at,
        golfers=players,
        publications=book.publications(complete_at),
        play=play,
    )


def _plan_casualties(draws: Draws, state: _Field, book: _Book, day_at: int) -> None:
    """Who does not start, and who withdraws in the middle of a round; the rest is decided as the days end."""
    order = draws.shuffled(state.active, "casualties")
    half_round = order.pop()
    state.leaves_after[half_round] = (draws.between(1, 2, "half round"), draws.between(3, 14, "half round", "hole"))
    if len(order) >= 60:
        absent = order.pop()
        state.active = [g for g in state.active if g != absent]
        book.statuses.setdefault(day_at + FIRST_TEE - 30 * MINUTE, []).append((absent, "did_not_start"))


def _after_round(draws: Draws, state: _Field, book: _Book, round: int, last_at: int) -> None:
    """The evening: a disqualification, the cut, withdrawals overnight, each some minutes after the last putt."""
    gone: list[tuple[int, str, str]] = []
    if round == draws.choice((1, 3), "disqualified"):
        # Never the best of the field: a scenario may need their rosters to finish.
        others = [g for g in state.active if g not in state.leaves_after]
        mortal = sorted(others, key=lambda g: (state.strokes[g], g))[len(others) // 2 :]
        gone.append((40, draws.choice(mortal, "disqualified", "who"), "disqualified"))
    if round == 1:
        others = [g for g in state.active if g not in state.leaves_after and all(g != who for _, who, _ in gone)]
        for who in draws.shuffled(others, "overnight")[: draws.between(1, 2, "overnight", "how many")]:
            gone.append((600, who, "withdrawn"))
    if round == 2:
        order = sorted(state.strokes[g] for g in state.active)
        limit = order[min(cut_size(len(state.strokes)), len(order)) - 1]
        gone += [(20, g, "cut") for g in state.active if state.strokes[g] > limit]
    for minutes, golfer, status in gone:
        book.statuses.setdefault(last_at + minutes * MINUTE, []).append((golfer, status))
    left = {golfer for _, golfer, _ in gone}
    state.active = [g for g in state.active if g not in left]


def _groups(draws: Draws, state: _Field, round: int) -> list[tuple[int, list[str]]]:
    """The tee sheet: (time of day in ms, golfers). Threes in two waves that change places, then twos, leaders last."""
    if round <= 2:
        order = draws.shuffled(state.active, "tee sheet")
        threes = [order[i : i + 3] for i in range(0, len(order), 3)]
        half = (len(threes) + 1) // 2
        waves = (threes[:half], threes[half:]) if round == 1 else (threes[half:], threes[:half])
        gap = min(11 * MINUTE, _WAVE_LASTS // half)
        return [
            (start + n * gap, group)
            for start, wave in zip((FIRST_TEE, _SECOND_WAVE), waves, strict=True)
            for n, group in enumerate(wave)
        ]
    order = sorted(state.active, key=lambda g: (-state.strokes[g], g))
    twos = [order[i : i + 2] for i in range(0, len(order), 2)]
    gap = min(14 * MINUTE, (_WEEKEND_LAST_TEE - FIRST_TEE) // len(twos))
    first = _WEEKEND_LAST_TEE - (len(twos) - 1) * gap
    return [(first + n * gap, group) for n, group in enumerate(twos)]


def _play_round(draws: Draws, state: _Field, book: _Book, par: list[int], round: int, day_at: int) -> tuple[int, int]:
    """Play a round into the book. Returns the first tee time and the instant of the day's last batch."""
    conditions = draws.between(-_CONDITIONS, _CONDITIONS, "conditions", round)
    finished: list[tuple[int, list[tuple[str, int, int, int]]]] = []
    withdrawn: list[str] = []
    ahead = [0] * HOLES
    groups = _groups(draws, state, round)
    for tee_at, group in groups:
        cards = {g: _strokes(draws, g, round, par, state.skill[g] + conditions) for g in group}
        for golfer in group:
            leaves_round, last_hole = state.leaves_after.get(golfer, (0, 0))
            if leaves_round == round:
                del cards[golfer][last_hole:]
            state.strokes[golfer] += sum(cards[golfer])
        pace = draws.bits("pace", round, group[0])
        at = day_at + tee_at
        for hole in range(HOLES):
            low, high = _HOLE_S[par[hole]]
            at += (low + (mix(pace + hole * GOLDEN) * (high - low + 1) >> 64)) * SECOND
            at = ahead[hole] = max(at, ahead[hole] + _BEHIND_S * SECOND)
            cells = [(g, round, hole + 1, card[hole]) for g, card in cards.items() if hole < len(card)]
            if cells:
                finished.append((at, cells))
            if len(cells) < len(group):
                gone = [g for g, card in cards.items() if len(card) == hole]
                withdrawn += gone
                for golfer in gone:
                    book.statuses.setdefault(at, []).append((golfer, "withdrawn"))
    state.active = [g for g in state.active if g not in withdrawn]
    return day_at + groups[0][0], _publish(draws, book, finished, round, day_at + groups[0][0])


def _strokes(draws: Draws, golfer: str, round: int, par: Sequence[int], shift: int) -> list[int]:
    """A golfer's strokes by hole; `shift` moves weight from birdie to bogey (per 10 000; negative: the other way)."""
    seed = draws.bits("strokes", round, golfer)
    shift += (mix(seed - GOLDEN) * (2 * _FORM + 1) >> 64) - _FORM
    bounds = {value: list(accumulate(_shifted(WEIGHTS[value], shift))) for value in WEIGHTS}
    return [
        value + TO_PAR[bisect(bounds[value], mix(seed + hole * GOLDEN) * bounds[value][-1] >> 64)]
        for hole, value in enumerate(par)
    ]


def _shifted(weights: Sequence[int], shift: int) -> list[int]:
    """Move |shift| of weight to bogey (or birdie) from the other, and from par what the other does not have."""
    shifted = list(weights)
    gains, loses = (3, 1) if shift > 0 else (1, 3)
    taken = min(abs(shift), shifted[loses])
    shifted[loses] -= taken
    shifted[2] -= abs(shift) - taken
    shifted[gains] += abs(shift)
    return shifted


def _publish(
    draws: Draws, book: _Book, finished: list[tuple[int, list[tuple[str, int, int, int]]]], round: int, first_at: int
) -> int:
    """Publish finished holes in batches about ten minutes apart; returns the instant of the last one."""
    batch, batch_at = 0, first_at
    for at, cells in sorted(finished, key=lambda item: item[0]):
        while at > batch_at:
            batch += 1
            batch_at += draws.between(540, 660, "batch", round, batch) * SECOND
        book.cells.setdefault(batch_at, []).extend(cells)
    return batch_at
