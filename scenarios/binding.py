"""Binds faults to what the plan guarantees to happen, so that each of them bites.

Invariant: no two faults of a plan claim the same call, window, host or hole; a fault's binding depends on its own draws
and, through such claims only, on the faults before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError

from evidence.plan import Bite, Contest, EntryPlan, FaultPlan, Principal, Recovery, Tournament
from fault_injectors import bind, registry
from scenarios.errors import Located
from scenarios.feed import HOUR, MINUTE
from scenarios.model import BASIS_POINTS, FaultModel, Scenario, minutes_of
from scenarios.official import final_cells, final_statuses
from seams.draws import Draws
from seams.faults import Binding, Fault

WELL_BEFORE_LOCK = HOUR // 2
"""Captured so long before the lock, a payment is reconciled in time even if no webhook tells of it."""
_APART = 2 * HOUR
"""Two acts on the same thing at least this far apart: a crash needs a worker that has come back from the last one."""
_QUIET = 30 * MINUTE
_RETIRE = "retire"
_ENTERED = 15 * MINUTE
"""After so long a customer who came has entered, and so long before the lock nobody enters any more."""
_POLLS_LEAST = 12
"""Polls of a tournament that bring news, whatever becomes of the others."""
_RECONCILED = 90 * MINUTE
"""After so long a payment is known even if no webhook tells of it."""
_SPARE = 10
_PLAY_LEAST = 60 * MINUTE
_HOLD_FOR_CORRECTIONS = 12 * HOUR
_SETTLED_WITHIN = HOUR
"""After the hold of a contest whose event ended on time, without any fault: a poll that tells of the end, a full one
after the cut-off and the settlement take 10 min at most each, and a payout begins with the settlement."""
_ATTEMPTS = 64


@dataclass(slots=True)
class Offer:
    """What the plan guarantees, whatever goes wrong: implements seams.faults.Guarantees. Each list is made once."""

    starts_at: int
    absence_until_at: int
    tournaments: Sequence[Tournament]
    contests: Sequence[Contest]
    entries: Sequence[EntryPlan]
    principals: Sequence[Principal]
    reserved: frozenset[tuple[str, str]]
    """(tournament, golfer) whose scores must stay what they are."""
    finishers: Mapping[str, Sequence[str]]
    """By tournament, who is active to the end and has played every hole."""
    sure_winners: Sequence[tuple[str, str]]
    """(contest, customer) of those who hold the best roster."""
    operations: bool = False
    """Whether somebody is on call."""
    _paying: dict[str, int] = field(default_factory=dict)
    _lists: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in self.entries:
            if entry.pays == "pays":
                self._paying[entry.contest_id] = self._paying.get(entry.contest_id, 0) + 1

    def _runs(self, contest: Contest) -> bool:
        """Whether the contest surely runs: it is guaranteed and somebody pays, or enough of them do."""
        paying = self._paying.get(contest.id, 0)
        return paying >= (contest.min_entries if contest.guaranteed_cents is None else 1)

    def transfers(self) -> Sequence[tuple[str, int]]:
        if "transfers" not in self._lists:
            self._lists["transfers"] = [(c.id, self._paid_places(c)) for c in self.contests if self._runs(c)]
        return self._lists["transfers"]

    def _paid_places(self, contest: Contest) -> int:
        """Places worth a cent at least; ties only add winners, since they share what these places are worth."""
        paying = self._paying[contest.id]
        collected = paying * contest.fee_cents
        pool = max(collected - collected * contest.rake_bp // BASIS_POINTS, contest.guaranteed_cents or 0)
        return sum(pool * share >= BASIS_POINTS for share in contest.prize_shares_bp[:paying])

    def payments(self) -> Sequence[tuple[str, int]]:
        if "payments" not in self._lists:
            latest = {contest.id: contest.lock_at - WELL_BEFORE_LOCK for contest in self.contests}
            captured = [
                (f"{entry.contest_id}/{entry.user_id}", at)
                for entry in self.entries
                if entry.pays == "pays"
                and (at := entry.enters_at + entry.pay_after_s * 1_000) <= latest[entry.contest_id]
            ]
            self._lists["payments"] = captured
        return self._lists["payments"]

    def refunds(self) -> Sequence[tuple[str, int]]:
        if "refunds" not in self._lists:
            asked: dict[str, int] = {}
            for entry in self.entries:
                asked[entry.contest_id] = asked.get(entry.contest_id, 0) + 1
            never = [c for c in self.contests if c.guaranteed_cents is None and asked.get(c.id, 0) < c.min_entries]
            self._lists["cancelled"] = [(contest.id, contest.lock_at) for contest in never]
            ids = {contest.id for contest in never}
            self._lists["refunds"] = [item for item in self.payments() if item[0].partition("/")[0] in ids]
        return self._lists["refunds"]

    def cancelled(self) -> Sequence[tuple[str, int]]:
        self.refunds()
        return self._lists["cancelled"]

    def unpaid(self) -> Sequence[tuple[str, int, int]]:
        if "unpaid" not in self._lists:
            latest = {contest.id: contest.lock_at - _ENTERED for contest in self.contests}
            self._lists["unpaid"] = [
                (f"{entry.contest_id}/{entry.user_id}", from_at, until_at)
                for entry in self.entries
                for from_at in [entry.enters_at + _ENTERED]
                for until_at in [min(entry.enters_at + entry.pay_after_s * 1_000, latest[entry.contest_id])]
                if until_at - from_at >= _ENTERED
            ]
        return self._lists["unpaid"]

    def cancellations(self) -> Sequence[str]:
        return [f"{entry.contest_id}/{entry.user_id}" for entry in self.entries if entry.pays == "abandons"]

    def payouts(self) -> Sequence[tuple[str, int]]:
        ends = {tournament.id: tournament.ends_at for tournament in self.tournaments}
        return [(c.id, min(ends[c.tournament_id], c.end_at) + c.hold_s * 1_000) for c in self.contests if self._runs(c)]

    def transactions(self) -> Sequence[tuple[str, int]]:
        paid, sent = len(self.payments()), sum(n for _, n in self.transfers())
        running = sum(self._runs(contest) for contest in self.contests)
        polled = len(self.play()) and _POLLS_LEAST
        # Of what follows on an answer some may be learnt otherwise (an event, a look-up): half is certain.
        counted = [
            ("entries.create", paid),
            ("entries.intent", paid // 2),
            ("webhooks.record", paid // 2),
            ("refunds.answered", len(self.refunds()) // 2),
            ("ingestion.apply", polled),
            ("settlement.execute", running),
            ("settlement.close", running),
            ("payouts.open", running),
            ("payouts.submit", sent),
            ("payouts.paid", sent // 2),
        ]
        return [(operation, n) for operation, n in counted if n > 0]

    def withdrawable(self) -> Sequence[tuple[str, int, int]]:
        spare = {
            contest.id: contest.lock_at - WELL_BEFORE_LOCK
            for contest in self.contests
            if self._runs(contest) and self._paying[contest.id] >= contest.min_entries + _SPARE
        }
        return [
            (entity, from_at, spare[contest_id])
            for entity, captured_at in self.payments()
            for contest_id, from_at in [(entity.partition("/")[0], captured_at + _RECONCILED)]
            if contest_id in spare and from_at <= spare[contest_id]
        ]

    def _played_for(self) -> list[Tournament]:
        """Tournaments on which a contest surely runs: nobody polls the others."""
        wanted = {contest.tournament_id for contest in self.contests if self._runs(contest)}
        return [tournament for tournament in self.tournaments if tournament.id in wanted]

    def play(self) -> Sequence[tuple[str, int, int]]:
        if "play" not in self._lists:
            self._lists["play"] = [
                (tournament.id, from_at, until_at)
                for tournament in self._played_for()
                for from_at, until_at in _lively(tournament)
                if self.starts_at <= from_at and until_at <= self.absence_until_at and until_at - from_at >= _PLAY_LEAST
            ]
        return self._lists["play"]

    def correctable(self) -> Sequence[tuple[str, str, int, int, int, int]]:
        if "correctable" not in self._lists:
            self._lists["correctable"] = [
                (tournament.id, golfer, round, hole, cells[golfer, round, hole], tournament.ends_at)
                for tournament in self._played_for()
                if self._hold_ms(tournament) >= _HOLD_FOR_CORRECTIONS
                for cells in [final_cells(tournament)]
                for golfer in sorted(self.finishers[tournament.id])
                if (tournament.id, golfer) not in self.reserved
                for round in range(1, tournament.rounds + 1)
                for hole in range(1, len(tournament.par) + 1)
            ]
        return self._lists["correctable"]

    def cutoffs(self) -> Sequence[tuple[str, int]]:
        return [
            (tournament.id, tournament.ends_at + hold_s * 1_000)
            for tournament in self._played_for()
            for hold_s in [max(c.hold_s for c in self.contests if c.tournament_id == tournament.id)]
        ]

    def also_rans(self) -> Sequence[tuple[str, str, int, int]]:
        if "also_rans" not in self._lists:
            self._lists["also_rans"] = [
                (tournament.id, golfer, instants[0], instants[-1])
                for tournament in self._played_for()
                for statuses in [final_statuses(tournament)]
                for golfer, instants in sorted(_second_rounds(tournament).items())
                if statuses[golfer] == "cut" and instants[0] < instants[-1] <= self.absence_until_at
            ]
        return self._lists["also_rans"]

    def before_last_round(self) -> Sequence[tuple[str, str, int]]:
        return [
            (tournament.id, golfer, tournament.play[-2][1])
            for tournament in self._played_for()
            if len(tournament.play) == tournament.rounds > 1
            for golfer in sorted(self.finishers[tournament.id])
            if (tournament.id, golfer) not in self.reserved
        ]

    def _hold_ms(self, tournament: Tournament) -> int:
        return min(c.hold_s for c in self.contests if c.tournament_id == tournament.id) * 1_000

    def locks(self) -> Sequence[tuple[str, int]]:
        return [(contest.id, contest.lock_at) for contest in self.contests if self._runs(contest)]

    def settlements(self) -> Sequence[tuple[str, int, int]]:
        ends = {tournament.id: tournament.ends_at for tournament in self.tournaments}
        held = [(c.id, ends[c.tournament_id] + c.hold_s * 1_000) for c in self.contests if self._runs(c)]
        return [(contest_id, held_until, held_until + _SETTLED_WITHIN) for contest_id, held_until in held]

    def winners(self) -> Sequence[tuple[str, str]]:
        """Of those who hold the best roster, those who enter nothing afterwards: whoever may leave, leaves for good."""
        lock_at = {contest.id: contest.lock_at for contest in self.contests if self._runs(contest)}
        last_at: dict[str, int] = {}
        for entry in self.entries:
            last_at[entry.user_id] = max(last_at.get(entry.user_id, 0), entry.enters_at)
        return [(contest, user) for contest, user in self.sure_winners if last_at[user] < lock_at.get(contest, 0)]

    def founders(self) -> Sequence[str]:
        return [principal.id for principal in self.principals if principal.role == "founder"]

    def engineers(self) -> Sequence[str]:
        return [principal.id for principal in self.principals if principal.role == "engineer"]

    def on_call(self) -> Sequence[str]:
        return [principal.id for principal in self.principals if principal.role == "ops"] if self.operations else []


def _second_rounds(tournament: Tournament) -> dict[str, list[int]]:
    """By golfer, when the holes of his second round are published."""
    instants: dict[str, list[int]] = {}
    for publication in tournament.publications:
        for golfer, round, _, _ in publication.cells:
            if round == 2:
                instants.setdefault(golfer, []).append(publication.at)
    return instants


def _lively(tournament: Tournament) -> list[tuple[int, int]]:
    """Stretches of play in which holes keep coming, at most half an hour apart, and nothing is served wrongly."""
    news = sorted(publication.at for publication in tournament.publications if publication.cells)
    stretches: list[tuple[int, int]] = []
    for from_at, until_at in tournament.play:
        for glitch in tournament.glitches:
            if glitch.from_at < until_at and from_at < glitch.until_at:
                from_at = max(from_at, glitch.until_at)
        stretch: list[int] = []
        for at in [at for at in news if from_at <= at < until_at]:
            if stretch and at - stretch[-1] > _QUIET:
                stretches.append((stretch[0], stretch[-1]))
                stretch = []
            stretch.append(at)
        if stretch:
            stretches.append((stretch[0], stretch[-1]))
    return stretches


Claim = tuple[str, str, Binding]
"""(seam, operation, binding)"""


def _clash(one: Claim, other: Claim) -> bool:
    """Whether two faults claim the same thing, so that one of them might not bite."""
    a, b = one[2], other[2]
    if one[0] == other[0] == "provider" and _RETIRE in (one[1], other[1]) and a.entity == b.entity:
        return True  # a hole that is not played any more cannot be corrected
    if one[:2] != other[:2] or (a.entity != b.entity and None not in (a.entity, b.entity)):
        return False
    if a.occurrence is not None and b.occurrence is not None:
        return a.occurrence == b.occurrence
    if a.from_at is None or b.from_at is None:
        return True
    if _thing(a) and _thing(a) == _thing(b):
        return True
    return a.from_at < (b.until_at or b.from_at) + _APART and b.from_at < (a.until_at or a.from_at) + _APART


def _thing(binding: Binding) -> dict[str, Any]:
    """What a binding settled beside its entity: the hole that it corrects, whatever to."""
    return {key: value for key, value in binding.params.items() if key != "strokes"}


class Unbound(NamedTuple):
    """A fault (`webhooks.lost#2`) for which the plan guarantees nothing, and where that stands as an error."""

    fault_id: str
    error: Located


class _Binder:
    def __init__(self, scenario: Scenario, offer: Offer, draws: Draws) -> None:
        self.scenario, self.offer, self.draws = scenario, offer, draws
        self.claims: list[Claim] = []
        self.counts: dict[str, int] = {}
        self.errors: list[Located] = []
        self.unbound: list[Unbound] = []

    def bind_all(self) -> list[FaultPlan]:
        plans: list[FaultPlan] = []
        for index, fault in enumerate(self.scenario.model.faults):
            for _ in range(fault.count):
                plans += self._bind_one(index, fault)
        return plans

    def _bind_one(self, index: int, fault: FaultModel) -> list[FaultPlan]:
        number = self.counts[fault.fault] = self.counts.get(fault.fault, 0) + 1
        cls = registry()[fault.fault]
        try:
            bound = self._explicit(cls, fault, number) if fault.bind else self._drawn(cls, fault, number)
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                self._error(index, f"{fault.fault}: parameter {'.'.join(map(str, error['loc']))}: {error['msg']}")
            return []
        if bound is None:
            if not fault.disabled:
                message = f"{fault.fault} cannot be bound: the plan guarantees nothing (more) that it could befall"
                self.unbound.append(Unbound(f"{fault.fault}#{number}", self._located(index, message)))
            return []
        binding, params = bound
        self.claims += _claims(cls, binding)
        if fault.disabled:
            return []
        fault_id = f"{fault.fault}#{number}"
        plans = [_plan(cls, fault_id, binding, params)]
        for n, occasion in enumerate(binding.occasion, start=1):
            plans.append(_plan(registry()[occasion.fault], f"{fault_id}/{n}", occasion.binding, dict(occasion.params)))
        return plans

    def _drawn(self, cls: type[Fault], fault: FaultModel, number: int) -> tuple[Binding, dict[str, Any]] | None:
        for attempt in range(_ATTEMPTS):
            draws = self.draws.derive("fault", fault.fault, number, attempt)
            bound = bind(fault.fault, self.offer, draws, fault.params)
            if bound is None:
                return None
            wanted = _claims(cls, bound[0])
            if not any(_clash(one, other) for one in wanted for other in self.claims):
                return bound
        return None

    def _explicit(self, cls: type[Fault], fault: FaultModel, number: int) -> tuple[Binding, dict[str, Any]]:
        assert fault.bind is not None
        params = cls.Params.drawn(self.draws.derive("fault", fault.fault, number, 0), fault.params)
        binding = Binding(
            entity=fault.bind.entity,
            occurrence=fault.bind.occurrence,
            from_at=self._instant(fault.bind.from_),
            until_at=self._instant(fault.bind.until),
        )
        return binding, params.model_dump(mode="json")

    def _instant(self, text: str | None) -> int | None:
        return None if text is None else self.offer.starts_at + minutes_of(text) * MINUTE

    def _error(self, index: int, message: str) -> None:
        self.errors.append(self._located(index, message))

    def _located(self, index: int, message: str) -> Located:
        line, column = self.scenario.marks[("faults", index)]
        return Located(str(self.scenario.path), line, column, message)


def _claims(cls: type[Fault], binding: Binding) -> list[Claim]:
    occasions = [(registry()[occasion.fault], occasion.binding) for occasion in binding.occasion]
    return [(fault.seam, fault.operation, bound) for fault, bound in [(cls, binding), *occasions]]


def _plan(cls: type[Fault], fault_id: str, binding: Binding, params: dict[str, Any]) -> FaultPlan:
    """Self-contained: bite and recovery are copied, so that a run can be judged without the class."""
    return FaultPlan(
        id=fault_id,
        fault=cls.id,
        kind=cls.kind,
        title=cls.title,
        seam=cls.seam,
        operation=cls.operation,
        entity=binding.entity,
        occurrence=binding.occurrence,
        from_at=binding.from_at,
        until_at=binding.until_at,
        params=params,
        bite=Bite(book=cls.bite.book, where=dict(cls.bite.where), at_least=cls.bite.at_least),
        recovery=Recovery(
            by=cls.recovery.by, how=cls.recovery.how, within_s=cls.recovery.within_s, runbook=cls.recovery.runbook
        ),
    )


def bind_faults(scenario: Scenario, offer: Offer, draws: Draws) -> tuple[list[FaultPlan], list[Located], list[Unbound]]:
    """The scenario's faults bound, each followed by its occasions; what is wrong with any; and those that find nothing
    to befall."""
    binder = _Binder(scenario, offer, draws)
    return binder.bind_all(), binder.errors, binder.unbound
