"""From scenario and seed to the plan: everything that chance decides beforehand is decided here.

Invariant: the same scenario, seed and options give the same bytes, in any process, at a cost linear in the entries.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from evidence.plan import Contest, Drill, EntryPlan, Plan, Scoring, Tournament
from scenarios import people
from scenarios.binding import Offer, bind_faults
from scenarios.errors import Located, ScenarioInvalid
from scenarios.feed import DAY, HOUR, MINUTE, generate
from scenarios.model import BASIS_POINTS, ContestModel, Scenario, TournamentModel, minutes_of
from scenarios.official import finishers
from seams.draws import GOLDEN, Draws, mix

PERIOD_DAYS = 14
LOCK_MARGIN = 15 * MINUTE
"""Contests lock so long before the first tee time."""
_CAPTURED_BY = 30 * MINUTE
_ENTERED_BY = 75 * MINUTE
"""The last capture and the last entry, before the lock."""
_TOO_LATE_S = (3, 50)
"""Who pays too late does so in the minute after the lock, while the payment page still takes his money."""
_OPENS_DAYS, _OPENS_AT = 2, 6 * HOUR
_END_GRACE = 6 * HOUR
_PAYOUTS_TAKE = 24 * HOUR


def root_key(seed: int) -> str:
    """The key of all chance under `seed`: 32 hex characters."""
    return blake2b(str(seed).encode(), digest_size=16, person=b"absence-plan").hexdigest()


def make_plan(
    scenario: Scenario,
    seed: int,
    *,
    days: int | None = None,
    feed: Path | None = None,
    field: int = 1,
    dropped: list[str] | None = None,
) -> Plan:
    """The plan of a run.

    `days` sets the length of the absence and repeats the scenario's two weeks in it, as far as tournaments end within
    the absence and their prizes can be paid by the end of the recovery. `feed` puts a recording in the place of the
    first tournament. `field` multiplies customers, entries and all that grows with them. A fault that finds nothing to
    befall is an error; with `dropped` it is left out, and its id added there. Raises ScenarioInvalid, and ValueError
    for days or field below 1.
    """
    return _Planner(scenario, seed, days, feed, field).plan(dropped)


@dataclass(frozen=True, slots=True)
class _Week:
    """A tournament of the plan with the part of the scenario it comes from."""

    tournament: Tournament
    model_id: str
    suffix: str
    day_at: int
    finishers: list[str]


class _Planner:
    def __init__(self, scenario: Scenario, seed: int, days: int | None, feed: Path | None, field: int) -> None:
        if field < 1 or (days is not None and days < 1):
            raise ValueError(f"expected at least 1 day and a field of at least 1, got days={days}, field={field}")
        self.scenario, self.model, self.field, self.feed = scenario, scenario.model, field, feed
        self.seed, self.draws = seed, Draws(root_key(seed))
        self.repeats = days is not None
        calendar = self.model.calendar
        self.days = calendar.days if days is None else days
        self.starts_at = (calendar.starts - datetime.date(1970, 1, 1)).days * DAY
        self.absence_until_at = self.starts_at + self.days * DAY
        self.recovery_until_at = self.absence_until_at + calendar.recovery_h * HOUR
        self.errors: list[Located] = []

    def plan(self, dropped: list[str] | None) -> Plan:
        weeks = self._weeks()
        contests, entries = [], []
        reserved: set[tuple[str, str]] = set()
        winners: list[tuple[str, str]] = []
        entrants = people.entrants(self.draws.derive("entrants"), self.model.entrants.pool * self.field)
        users = [entrant.id for entrant in entrants]
        for week in weeks:
            for index, model in enumerate(self.model.contests):
                if model.tournament != week.model_id:
                    continue
                contest = self._contest(index, model, week)
                best = week.finishers[: model.scoring.roster_size] if model.ties else []
                reserved |= {(week.tournament.id, golfer) for golfer in best}
                contests.append(contest)
                own = self._entries(model, contest, week.tournament, users, best)
                winners += [(contest.id, entry.user_id) for entry in own[: model.ties]]
                entries += own
        entries.sort(key=lambda entry: (entry.enters_at, entry.contest_id, entry.user_id))
        counts = self.model.people
        principals = people.principals(self.draws.derive("principals"), counts.founders, counts.engineers, counts.ops)
        tournaments = [week.tournament for week in weeks]
        offer = Offer(
            self.starts_at,
            self.absence_until_at,
            tournaments,
            contests,
            entries,
            principals,
            frozenset(reserved),
            {week.tournament.id: week.finishers for week in weeks},
            winners,
            self.model.operations,
        )
        faults, errors, unbound = bind_faults(self.scenario, offer, self.draws.derive("faults"))
        if dropped is None:
            errors += [each.error for each in unbound]
        else:
            dropped += [each.fault_id for each in unbound]
        drills = self._drills()
        if self.errors or errors:
            raise ScenarioInvalid(self.errors + errors)
        return Plan(
            scenario=self.model.name,
            scenario_sha256=self.scenario.sha256,
            seed=self.seed,
            root_key=root_key(self.seed),
            starts_at=self.starts_at,
            absence_until_at=self.absence_until_at,
            recovery_until_at=self.recovery_until_at,
            owner_capital_cents=self.model.owner_capital_usd * 100 * self.field,
            principals=principals,
            operations=self.model.operations,
            settings={str(name): value for name, value in self.model.settings.items()},
            drills=drills,
            unhealed=self.model.unhealed,
            tournaments=tournaments,
            contests=contests,
            entrants=entrants,
            entries=entries,
            faults=faults,
        )

    # --- the calendar -----------------------------------------------------------------------------------------------

    def _weeks(self) -> list[_Week]:
        """The tournaments that fit, in the order of their days."""
        last = max(tournament.starts_day for tournament in self.model.tournaments)
        period = -(-last // PERIOD_DAYS) * PERIOD_DAYS
        rounds = range(-(-self.days // period)) if self.repeats else range(1)
        weeks = []
        for time in rounds:
            for index, model in enumerate(self.model.tournaments):
                suffix = f"-{time + 1}" if time else ""
                day_at = self.starts_at + (model.starts_day - 1 + time * period) * DAY
                if day_at >= self.absence_until_at:
                    self._does_not_fit(index)
                    continue
                tournament = self._tournament(index, model, suffix, day_at)
                hold = max((c.hold_h for c in self.model.contests if c.tournament == model.id), default=0) * HOUR
                due_at = tournament.ends_at + hold + _PAYOUTS_TAKE
                if tournament.ends_at > self.absence_until_at or due_at > self.recovery_until_at:
                    self._does_not_fit(index)
                    continue
                weeks.append(_Week(tournament, model.id, suffix, day_at, finishers(tournament)))
        if not weeks:
            self._error(
                ("tournaments",), f"no tournament can be played and paid out within {self.days} days of absence"
            )
            raise ScenarioInvalid(self.errors)
        return sorted(weeks, key=lambda week: (week.tournament.starts_at, week.tournament.id))

    def _does_not_fit(self, index: int) -> None:
        """An error, unless the caller chose the days: then what does not fit is left out."""
        if not self.repeats:
            message = (
                f"the tournament does not end, or is not paid out, within {self.days} days and the recovery after them"
            )
            self._error(("tournaments", index, "starts_day"), message)

    def _tournament(self, index: int, model: TournamentModel, suffix: str, day_at: int) -> Tournament:
        path = Path(model.feed) if model.feed != "generated" else None
        if path is not None:
            path = self.scenario.path.parent / path
        if self.feed is not None and index == 0 and not suffix:
            path = self.feed
        name = f"{model.name} {suffix[1:]}".rstrip()
        if path is not None:
            from scenarios import recording  # few plans need it

            return recording.load(path, id=model.id + suffix, name=name, day_at=day_at)
        return generate(self.draws, id=model.id + suffix, name=name, day_at=day_at, golfers=model.golfers)

    def _drills(self) -> list[Drill]:
        """Those that fall within the run. One that does not is an error, unless the caller chose the days."""
        drills = []
        for index, model in enumerate(self.model.drills):
            at = self.starts_at + minutes_of(model.at) * MINUTE
            if at < self.recovery_until_at:
                drills.append(
                    Drill(id=f"drill:{model.runbook}#{index + 1}", runbook=model.runbook, at=at, labels=model.labels)
                )
            elif not self.repeats:
                self._error(("drills", index, "at"), f"at: {model.at} is after the end of the run")
        return drills

    # --- contests and entries ---------------------------------------------------------------------------------------

    def _contest(self, index: int, model: ContestModel, week: _Week) -> Contest:
        tournament = week.tournament
        entries = model.entries * self.field
        try:
            shares = model.prizes.by_place(entries, self.field)
        except ValueError as error:
            self._error(("contests", index, "prizes"), f"prizes: {error}")
            shares = []
        golfers = week.finishers if model.ties else tournament.golfers
        if model.scoring.roster_size > len(golfers):
            self._error(("contests", index, "scoring"), f"scoring: no roster of {model.scoring.roster_size} can be had")
        return Contest(
            id=model.id + week.suffix,
            tournament_id=tournament.id,
            name=model.name,
            fee_cents=model.fee_cents,
            rake_bp=model.rake_bp,
            guaranteed_cents=None if model.guaranteed_cents is None else model.guaranteed_cents * self.field,
            prize_shares_bp=shares,
            min_entries=model.min_entries * self.field,
            max_entries=model.max_entries * self.field,
            scoring=Scoring(**model.scoring.model_dump()),
            opens_at=max(self.starts_at + HOUR, week.day_at - _OPENS_DAYS * DAY + _OPENS_AT),
            lock_at=tournament.starts_at - LOCK_MARGIN,
            start_at=tournament.starts_at,
            end_at=tournament.ends_at + _END_GRACE,
            hold_s=model.hold_h * 3_600,
        )

    def _entries(
        self, model: ContestModel, contest: Contest, tournament: Tournament, users: Sequence[str], best: list[str]
    ) -> list[EntryPlan]:
        draws = self.draws.derive("entries", contest.id)
        habits = self.model.entrants
        golfers = [golfer.id for golfer in tournament.golfers]
        size = min(contest.scoring.roster_size, len(golfers))
        span = contest.lock_at - _ENTERED_BY - contest.opens_at
        latest = contest.lock_at - _CAPTURED_BY
        seed = draws.bits("entries")
        entries = []
        for n, user in enumerate(draws.shuffled(users, "who")[: model.entries * self.field]):
            bits = mix(
                seed + n * GOLDEN
            )  # one stream a contest: a keyed draw an entry would cost more than all the rest
            enters_at = contest.opens_at + (bits * span >> 64)
            rest, abandoned = divmod(mix(bits + GOLDEN), BASIS_POINTS)
            rest, late = divmod(rest, BASIS_POINTS)
            rest, too_late = divmod(rest, BASIS_POINTS)
            low, high = (7_200, 72_000) if late < habits.late_bp else (20, 600)
            high = min(high, (latest - enters_at) // 1_000)
            low = min(low, high)
            pays: Literal["pays", "too_late", "abandons"] = "pays"
            if n >= model.ties and abandoned < habits.abandon_bp:
                pays = "abandons"
            elif n >= model.ties and too_late < habits.too_late_bp:
                pays = "too_late"
                low, high = ((contest.lock_at - enters_at) // 1_000 + seconds for seconds in _TOO_LATE_S)
            entries.append(
                EntryPlan(
                    user_id=user,
                    contest_id=contest.id,
                    enters_at=enters_at,
                    pay_after_s=low + rest % (high - low + 1),
                    pays=pays,
                    roster=sorted(best) if n < model.ties else _roster(golfers, size, bits),
                )
            )
        return entries

    def _error(self, loc: tuple[str | int, ...], message: str) -> None:
        while loc not in self.scenario.marks:
            loc = loc[:-1]
        line, column = self.scenario.marks[loc]
        self.errors.append(Located(str(self.scenario.path), line, column, message))


def _roster(golfers: Sequence[str], size: int, bits: int) -> list[str]:
    """`size` different golfers, each as likely as any other."""
    chosen: set[str] = set()
    count = len(golfers)
    point, counter = 0, 1
    while len(chosen) < size:
        if point < count << 16:  # what is left of the 64 bits is too little for an even choice
            counter += 1
            point = mix(bits + counter * GOLDEN)
        point, index = divmod(point, count)
        chosen.add(golfers[index])
    return sorted(chosen)
