"""What a fault is, and what it may do: a closed vocabulary of effects at named seams.

A fault never touches the platform. It sees calls that cross a seam and answers with an effect, which the seam carries
out and the other party's book records; or it asks for actions on the world at given instants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, cast

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict

from seams.draws import Draws

# --- what crosses a seam ----------------------------------------------------------------------------------------


class Call(NamedTuple):
    """A crossing: `entity` is whom it is about, `occurrence` counts from 1 per (seam, operation, entity)."""

    seam: str
    operation: str
    entity: str
    occurrence: int
    at: int


# --- what may happen to it --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that happens to a call instead of its normal course. Each seam documents which it carries out."""


@dataclass(frozen=True, slots=True)
class LoseRequest(Effect):
    """The request never arrives; the caller waits until its own deadline."""


@dataclass(frozen=True, slots=True)
class LoseAnswer(Effect):
    """The callee does the work; its answer never arrives; the caller waits until its own deadline."""


@dataclass(frozen=True, slots=True)
class Refuse(Effect):
    """The callee is not there (status 0: connection refused) or answers with an HTTP status and does nothing."""

    status: int = 0
    error_code: str = ""
    done: bool = False
    """Whether the work was done all the same, and only the answer says otherwise (a 500 proves nothing)."""


@dataclass(frozen=True, slots=True)
class Abort(Effect):
    """The connection breaks before the k-th statement of a transaction, or before its commit if it has fewer or `k` is
    0; the callee undoes what it has begun, and the caller waits until its own deadline."""

    k: int


@dataclass(frozen=True, slots=True)
class Hang(Effect):
    """The connection is half-open: neither answer nor error comes, and the caller waits for as long as it lives."""


@dataclass(frozen=True, slots=True)
class Overlook(Effect):
    """The callee does its work as if one row that it holds were not there: `what` names the row."""

    what: str


@dataclass(frozen=True, slots=True)
class Occupy(Effect):
    """So many connections of the caller's pool are taken; it gets none if there is no other in it."""

    connections: int


@dataclass(frozen=True, slots=True)
class Stall(Effect):
    """The callee begins at once and takes `by_ms` over it; whoever asks the same meanwhile is told that it is at it."""

    by_ms: int


@dataclass(frozen=True, slots=True)
class Delay(Effect):
    """The call takes its course `by_ms` later."""

    by_ms: int


@dataclass(frozen=True, slots=True)
class Drop(Effect):
    """A delivery, and every retry of it, is lost for good."""


@dataclass(frozen=True, slots=True)
class Die(Effect):
    """The process dies at its transaction: before anything of it is committed, or just after."""

    committed: bool


@dataclass(frozen=True, slots=True)
class Repeat(Effect):
    """The same delivery arrives `times` more times, `gap_ms` apart, each freshly signed."""

    times: int
    gap_ms: int


@dataclass(frozen=True, slots=True)
class Twin(Effect):
    """The callee tells of the same change a second time, under an id of its own, `gap_ms` later."""

    gap_ms: int


@dataclass(frozen=True, slots=True)
class Behind(Effect):
    """The delivery waits until the next one about the same entity has been accepted."""


@dataclass(frozen=True, slots=True)
class Copy(Effect):
    """Somebody on the way keeps a copy of the delivery, signature and all, and posts it again `after_ms` later."""

    after_ms: int


@dataclass(frozen=True, slots=True)
class Falsify(Effect):
    """The callee answers at 200 OK, and what it says is not so: `kind` names how. `age_ms`: how old a stale answer is.
    `since_at`: since when it goes on, for what must stay the same meanwhile."""

    kind: str
    since_at: int = 0
    age_ms: int = 0


# --- what a fault may ask of the world at an instant ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """A timed act on the world: `lever` names it, as listed in `seams.catalogue.LEVERS`."""

    at: int
    lever: str
    entity: str
    params: Mapping[str, Any] = field(default_factory=dict)


# --- declaration ------------------------------------------------------------------------------------------------


class Parameters(BaseModel):
    """Typed parameters of a fault. Units stand last in the name: `delay_s`, `outage_min`, `times`.

    A required integer with bounds (`Field(ge=…, le=…)`) that nobody gave is drawn between them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def drawn(cls, draws: Draws, given: Mapping[str, Any]) -> Self:
        """The parameters `given`, those left open drawn. Raises pydantic.ValidationError for what does not fit."""
        values = dict(given)
        for name, info in cls.model_fields.items():
            if name not in values and info.is_required():
                bounds = {type(rule): rule for rule in info.metadata}
                low, high = bounds.get(Ge), bounds.get(Le)
                if isinstance(low, Ge) and isinstance(high, Le):
                    values[name] = draws.between(cast(int, low.ge), cast(int, high.le), "params", name)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class BiteSpec:
    """The bite as data: see `evidence.plan.Bite`."""

    book: str
    where: Mapping[str, Any]
    at_least: int = 1


@dataclass(frozen=True, slots=True)
class RecoverySpec:
    by: Literal["itself", "rule", "runbook", "none"]
    how: str
    within_s: int
    runbook: str = ""
    """The id of the runbook, where it is by one."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What the planner bound a fault to. `occasion`: faults that must be in the plan too for this one to be met.
    `params`: parameters that only the binding could settle; the plan keeps them over those given."""

    entity: str | None = None
    occurrence: int | None = None
    from_at: int | None = None
    until_at: int | None = None
    occasion: tuple[Occasion, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Occasion:
    fault: str
    binding: Binding
    params: Mapping[str, Any] = field(default_factory=dict)


class Guarantees(Protocol):
    """What is bound to happen whatever else goes wrong: the planner's offer to a fault that wants to bite."""

    starts_at: int
    absence_until_at: int

    def transfers(self) -> Sequence[tuple[str, int]]:
        """(contest_id, n): at least n transfers will be created for this contest."""

    def payments(self) -> Sequence[tuple[str, int]]:
        """("contest_id/user_id", captured_at): payments that will be captured before the lock, by half an hour."""

    def refunds(self) -> Sequence[tuple[str, int]]:
        """("contest_id/user_id", captured_at): payments for contests that surely do not run, so that each is refunded
        at the lock."""

    def unpaid(self) -> Sequence[tuple[str, int, int]]:
        """("contest_id/user_id", from_at, until_at): entries that have been made and are not paid for yet."""

    def cancellations(self) -> Sequence[str]:
        """ "contest_id/user_id" of entries that will never be paid for, so that their intents are canceled."""

    def payouts(self) -> Sequence[tuple[str, int]]:
        """(contest_id, due_at): its first transfers will be created within two hours from due_at, on a day when nothing
        else goes wrong."""

    def transactions(self) -> Sequence[tuple[str, int]]:
        """(operation, n): at least n transactions of this name will be begun."""

    def withdrawable(self) -> Sequence[tuple[str, int, int]]:
        """("contest_id/user_id", from_at, until_at): entries that are paid and known to be, of contests that run even
        without them; and when their customers may ask for the fee back."""

    def play(self) -> Sequence[tuple[str, int, int]]:
        """(tournament_id, from_at, until_at): windows in which play is on and polls bring holes."""

    def correctable(self) -> Sequence[tuple[str, str, int, int, int, int]]:
        """(tournament_id, golfer_id, round, hole, strokes, official_end_at): holes whose published value may be
        corrected after the event ended at official_end_at and before the cut-off of its contests."""

    def cutoffs(self) -> Sequence[tuple[str, int]]:
        """(tournament_id, at): the last cut-off on it, if its contests are complete the moment that it ends. They may
        take a quarter of an hour more: nobody hears of the end at once."""

    def also_rans(self) -> Sequence[tuple[str, str, int, int]]:
        """(tournament_id, golfer_id, from_at, until_at): golfers who will miss the cut, and when their second round is
        played. Nothing else befalls their scores."""

    def before_last_round(self) -> Sequence[tuple[str, str, int]]:
        """(tournament_id, golfer_id, at): golfers who would play to the end; the last round but one is over by then."""

    def locks(self) -> Sequence[tuple[str, int]]:
        """(contest_id, lock_at): contests that surely run."""

    def cancelled(self) -> Sequence[tuple[str, int]]:
        """(contest_id, lock_at): contests that surely do not run, so that each fee is owed back from the lock on."""

    def settlements(self) -> Sequence[tuple[str, int, int]]:
        """(contest_id, from_at, until_at): the contest is settled, and its payouts begin, between these instants."""

    def winners(self) -> Sequence[tuple[str, str]]:
        """(contest_id, user_id): who will win money whatever the scores are."""

    def founders(self) -> Sequence[str]:
        """The principals who are founders: revoked at the start, and tempted all the same."""

    def engineers(self) -> Sequence[str]:
        """The principals who are engineers, revoked too."""

    def on_call(self) -> Sequence[str]:
        """The principals who are paged and carry runbooks out; nobody in a plan without operations."""


class Fault:
    """A misbehaviour of the world (kind "fault") or a breach of the absence promise (kind "violation").

    A subclass is one class in a module of `fault_injectors/`; defining it registers it.
    """

    id: ClassVar[str]
    kind: ClassVar[Literal["fault", "violation"]] = "fault"
    title: ClassVar[str]
    seam: ClassVar[str]
    operation: ClassVar[str]
    also: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Further (seam, operation) pairs at which it acts: what one outage takes together."""
    imitates: ClassVar[str]
    """The documented real behaviour, with its source."""
    exercises: ClassVar[str]
    """The failure mode of the platform that it exercises."""
    recovery: ClassVar[RecoverySpec]
    bite: ClassVar[BiteSpec]
    Params: ClassVar[type[Parameters]] = Parameters

    def __init__(self, fault_id: str, binding: Binding, params: Parameters) -> None:
        self.fault_id, self.binding, self.params = fault_id, binding, params

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        """Choose whom it befalls among what is guaranteed to happen; None when the plan offers nothing."""
        raise NotImplementedError

    def effect(self, call: Call) -> Effect | None:
        """What happens to `call`, or None for its normal course. Called for every crossing of (seam, operation)."""
        return None

    def actions(self) -> Sequence[Action]:
        """What to do to the world, and when."""
        return ()

    def is_bound_to(self, call: Call) -> bool:
        """Whether `call` is the (entity, occurrence) that the planner chose."""
        binding = self.binding
        return binding.entity == call.entity and binding.occurrence == call.occurrence

    def in_window(self, call: Call) -> bool:
        """Whether `call` falls into the bound window and, where one is bound, on the bound entity."""
        from_at, until_at = self.binding.from_at, self.binding.until_at
        if from_at is None or until_at is None:
            return False
        return from_at <= call.at < until_at and self.binding.entity in (None, call.entity)
