"""What should have come of the plan, worked out from the books of everybody but the platform, once per evidence.

Invariant: nothing here trusts the platform, except for the instant at which it closed a contest, which defines the
cut-off, and that only within the bound that assertions/lifecycle.py holds it to.
"""

from __future__ import annotations

from array import array
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, cast
from weakref import ref

from assertions.official import Official, Published
from assertions.once import once
from assertions.oracles import prizes, scoring
from assertions.rows import ContestRow, Intent, Refund, Standing, Transfer, TransferRequest, apart, read
from assertions.unpaid import given_up, taken_back
from assertions.windows import Span, deadline, spans
from assertions.words import MINUTE_MS

if TYPE_CHECKING:
    from evidence.plan import Contest, Plan, Tournament
    from evidence.run import Evidence

PLATFORM_KEY = "platform"
"""The caller in the processor's books when the platform's own API key was used."""
COMPLETE_WITHIN_MS = 15 * MINUTE_MS
"""How long after the official end a contest may take to be COMPLETE: one poll of 10 minutes and one transition tick."""
ANSWERED_WITHIN_MS = MINUTE_MS
"""How long after the platform agreed to something its customer may note that it did."""

_OBJECT = TransferRequest._fields.index("object_id")


class Facts:
    """Every value is worked out when it is first asked for, and kept."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = ref(evidence)  # facts() keeps these facts for as long as the evidence lives, and no longer
        self.plan: Plan = evidence.plan
        self.contests: dict[str, Contest] = {contest.id: contest for contest in self.plan.contests}
        self.tournaments: dict[str, Tournament] = {item.id: item for item in self.plan.tournaments}
        self.accounts = {entrant.id: entrant.account_id for entrant in self.plan.entrants}
        self.absent = sorted(item.id for item in self.plan.principals if item.role != "ops")
        self._officials: dict[tuple[str, int], Official] = {}
        self._distinct_officials: dict[tuple[str, int, int], Official] = {}
        self._standings: dict[str, dict[str, Standing]] = {}

    @property
    def evidence(self) -> Evidence:
        return cast("Evidence", self._evidence())

    # --- time ----------------------------------------------------------------------------------------------------

    @cached_property
    def event_instants(self) -> array[int]:
        """When each event of the journal was: event `e<k>` is number k - 1. Its chain is checked by evidence.verify."""
        return self.evidence.event_instants()

    @cached_property
    def ended_at(self) -> int:
        """The last instant of the run that anybody recorded (ms); the plan's end where nobody recorded any."""
        return self.event_instants[-1] if self.event_instants else self.plan.recovery_until_at

    @cached_property
    def spans(self) -> list[Span]:
        return spans(self.plan.faults, self.evidence.rows("injector.bites", "fault_id", "at"))

    def deadline(self, due_at: int, bound_ms: int) -> tuple[int, list[str]]:
        return deadline(self.spans, due_at, bound_ms)

    # --- money that came in --------------------------------------------------------------------------------------

    @cached_property
    def intents(self) -> list[Intent]:
        return list(read(self.evidence, "processor.intents", Intent))

    @cached_property
    def captured(self) -> list[Intent]:
        return [intent for intent in self.intents if intent.captured_at is not None]

    @cached_property
    def refunds(self) -> list[Refund]:
        return list(read(self.evidence, "processor.refunds", Refund))

    @cached_property
    def refunded_cents(self) -> dict[str, int]:
        """What was given back of each intent, by the processor's book of refunds."""
        return {
            intent_id: sum([refund.amount_cents for refund in given]) for intent_id, given in self._refunds_of.items()
        }

    @cached_property
    def charged_back_cents(self) -> dict[str, int]:
        """What a bank has given back for good of each intent, by the processor's book of disputes."""
        rows = self.evidence.rows("processor.disputes", "intent_id", "amount_cents", "status")
        return {intent_id: cents for intent_id, cents, status in rows if status == "lost"}

    def given_back_cents(self, intent: Intent) -> int:
        """What whoever paid an intent that bought nothing has got of it, from the platform or from his bank."""
        refunded_cents = self.refunded_cents.get(intent.intent_id, 0)
        return refunded_cents + self.charged_back_cents.get(intent.intent_id, 0)

    @cached_property
    def _asked_back(self) -> set[tuple[str, str]]:
        """(user, contest) of customers who, by their own book, were promised their fee back before the lock."""
        columns = ("at", "user_id", "contest_id", "action", "result")
        return {
            (user, contest)
            for at, user, contest, action, result in self.evidence.rows("entrants.actions", *columns)
            if action == "refund_requested" and result == "ok" and at <= self._lock_at(contest) + ANSWERED_WITHIN_MS
        }

    def _lock_at(self, contest_id: str) -> int:
        contest = self.contests.get(contest_id)
        return 0 if contest is None else contest.lock_at

    def _left(self, intent: Intent) -> bool:
        """Whether an entry left its contest before the lock: its customer was promised his money and has it back, or
        somebody else than the platform gave all of it back by then. What the platform gives back unasked excuses
        nothing."""
        if self.given_back_cents(intent) < intent.amount_cents:
            return False
        if (intent.user_id, intent.contest_id) in self._asked_back:
            return True
        lock_at = self._lock_at(intent.contest_id)
        back = [
            refund
            for refund in self._refunds_of.get(intent.intent_id, ())
            if refund.created_at < lock_at and refund.caller != PLATFORM_KEY
        ]
        return sum([refund.amount_cents for refund in back]) >= intent.amount_cents

    @cached_property
    def _refunds_of(self) -> dict[str, list[Refund]]:
        given: dict[str, list[Refund]] = {}
        for refund in self.refunds:
            if refund.status == "succeeded":
                given.setdefault(refund.intent_id, []).append(refund)
        return given

    @cached_property
    def paid_in_time(self) -> dict[str, list[Intent]]:
        """Payments captured before the lock of their contest and not given back by then: each makes a valid entry,
        however late its webhook. A payment that the cardholder disputes is one of them."""
        paid: dict[str, list[Intent]] = {contest: [] for contest in self.contests}
        for intent in self.captured:
            contest = self.contests.get(intent.contest_id)
            in_time = contest is not None and cast(int, intent.captured_at) < contest.lock_at
            if contest is not None and in_time and not self._left(intent):
                paid[contest.id].append(intent)
        return paid

    def runs(self, contest_id: str) -> bool:
        """Whether a contest runs: it has its minimum of valid entries at lock, or is guaranteed and has any."""
        contest, entries = self.contests[contest_id], len(self.paid_in_time[contest_id])
        return entries > 0 and (contest.guaranteed_cents is not None or entries >= contest.min_entries)

    @cached_property
    def valid(self) -> dict[str, list[Intent]]:
        """The valid entries of each contest that runs."""
        return {contest: paid for contest, paid in self.paid_in_time.items() if self.runs(contest)}

    @cached_property
    def to_refund(self) -> list[Intent]:
        """Captured payments that bought nothing: too late for the lock, withdrawn before it, or for a contest that
        does not run."""
        bought = {intent.intent_id for paid in self.valid.values() for intent in paid}
        return [intent for intent in self.captured if intent.intent_id not in bought]

    # --- money that went out -------------------------------------------------------------------------------------

    @cached_property
    def transfers(self) -> list[Transfer]:
        return list(read(self.evidence, "processor.transfers", Transfer))

    @cached_property
    def received(self) -> dict[tuple[str, str], list[Transfer]]:
        """What the processor sent, by contest and entry."""
        sent: dict[tuple[str, str], list[Transfer]] = {}
        for transfer in self.transfers:
            if transfer.contest_id is not None and transfer.entry_id is not None:
                sent.setdefault((transfer.contest_id, transfer.entry_id), []).append(transfer)
        return sent

    @cached_property
    def effects(self) -> list[str]:
        """The ids of all objects that the platform's key made at the processor."""
        return [
            *(intent.intent_id for intent in self.intents if intent.intent_id not in self._requests[2]),
            *(refund.refund_id for refund in self.refunds if refund.caller == PLATFORM_KEY),
            *(transfer.transfer_id for transfer in self.transfers if transfer.caller == PLATFORM_KEY),
        ]

    # --- scores --------------------------------------------------------------------------------------------------

    @cached_property
    def publications(self) -> dict[str, Published]:
        """What the provider officially published of each tournament of the plan."""
        columns = ("n", "published_at", "strokes", "golfer_id", "round", "hole")
        by_event = apart(self.evidence, "provider.publications", "event_id", *columns)
        found = {}
        for tournament in self.plan.tournaments:
            n, at, strokes, *cell = by_event.get(tournament.event_id, [[] for _ in columns])
            found[tournament.id] = Published(n, at, list(zip(repeat(tournament.id), *cell)), strokes)
        return found

    @cached_property
    def _statuses(self) -> dict[str, list[tuple[int, str, str]]]:
        found: dict[str, list[tuple[int, str, str]]] = {}
        for event_id, at, golfer_id, status in self.evidence.rows(
            "provider.statuses", "event_id", "published_at", "golfer_id", "status"
        ):
            found.setdefault(event_id, []).append((at, golfer_id, status))
        return found

    @cached_property
    def _completions(self) -> dict[str, int]:
        return dict(self.evidence.rows("provider.completions", "event_id", "published_at"))

    def official(self, tournament_id: str, at: int) -> Official:
        """The official scores of a tournament at the instant `at` (ms), that instant included."""
        known = self._officials.get((tournament_id, at))
        if known is None:
            known = self._officials[tournament_id, at] = self._official_until(self.tournaments[tournament_id], at)
        return known

    def _official_until(self, tournament: Tournament, at: int) -> Official:
        """The official scores at `at`; those of an earlier instant, when nothing was published between the two."""
        published, statuses = self.publications[tournament.id], self._statuses.get(tournament.event_id, [])
        scores = sum(map(at.__ge__, published.published_at))
        changes = sum([published_at <= at for published_at, _, _ in statuses])
        key = (tournament.id, scores, changes)
        known = self._distinct_officials.get(key)
        if known is None:
            known = self._distinct_officials[key] = Official(tournament, published, statuses, at)
        return known

    # --- contests ------------------------------------------------------------------------------------------------

    @cached_property
    def contest_rows(self) -> dict[str, ContestRow]:
        """What the platform says of its contests."""
        return {row.contest_id: row for row in read(self.evidence, "platform.contests", ContestRow)}

    def over_at(self, contest_id: str) -> int:
        """When a contest was over (ms): the provider's completion signal, or the explicit end where that came first."""
        contest = self.contests[contest_id]
        event_id = self.tournaments[contest.tournament_id].event_id
        return min(self._completions.get(event_id, contest.end_at), contest.end_at)

    def cutoff_at(self, contest_id: str) -> int:
        """Until when publications count (ms): COMPLETE + hold; the platform's COMPLETE if it was in time for it."""
        over_at = self.over_at(contest_id)
        row = self.contest_rows.get(contest_id)
        completed_at = row.completed_at if row else None
        if completed_at is None or not over_at <= completed_at <= self.deadline(over_at, COMPLETE_WITHIN_MS)[0]:
            completed_at = over_at
        return completed_at + self.contests[contest_id].hold_s * 1_000

    def last_cutoff_at(self, tournament_id: str) -> int | None:
        """Until when anything published of a tournament still counts for a contest; None where no contest is on it."""
        return max(
            (self.cutoff_at(item.id) for item in self.plan.contests if item.tournament_id == tournament_id),
            default=None,
        )

    def official_for(self, contest_id: str) -> Official:
        return self.official(self.contests[contest_id].tournament_id, self.cutoff_at(contest_id))

    @cached_property
    def _rosters(self) -> dict[tuple[str, str], list[str]]:
        rosters = {(entry.contest_id, entry.user_id): entry.roster for entry in self.plan.entries}
        if len(rosters) != len(self.plan.entries):
            raise ValueError("the plan has a customer twice in one contest: which roster counts is not known")
        return rosters

    def standings(self, contest_id: str) -> dict[str, Standing]:
        """The standing of each valid entry of a contest that runs, by the judge's own scoring and prize rules."""
        known = self._standings.get(contest_id)
        if known is None:
            known = self._standings[contest_id] = self._rank(self.contests[contest_id])
        return known

    def _rank(self, contest: Contest) -> dict[str, Standing]:
        entries = self.valid[contest.id]
        rosters = {intent.entry_id: self._rosters[contest.id, intent.user_id] for intent in entries}
        rules = scoring.ScoringRules.from_mapping(contest.scoring.model_dump())
        tournament = self.tournaments[contest.tournament_id]
        by_golfer = scoring.golfer_scores(rules, tournament.par, tournament.rounds, self.official_for(contest.id).cards)
        scores = scoring.entry_scores(rules, by_golfer, rosters)
        places = scoring.places(rules, scores)
        table = prizes.prize_table(self.money(contest.id).pool_cents, contest.prize_shares_bp, len(entries))
        won = prizes.award(places, table)
        return {
            intent.entry_id: Standing(
                intent.user_id, scores[intent.entry_id], places[intent.entry_id], won[intent.entry_id]
            )
            for intent in entries
        }

    def money(self, contest_id: str) -> prizes.Money:
        """The money of a contest that runs, recomputed from its number of valid entries."""
        contest = self.contests[contest_id]
        return prizes.money(len(self.valid[contest_id]), contest.fee_cents, contest.rake_bp, contest.guaranteed_cents)

    @cached_property
    def winners(self) -> dict[tuple[str, str], Standing]:
        """Contest and entry of everybody who has won money."""
        return {
            (contest, entry): standing
            for contest in self.valid
            for entry, standing in self.standings(contest).items()
            if standing.prize_cents > 0
        }

    # --- payouts that cannot be made -----------------------------------------------------------------------------

    @cached_property
    def transfer_requests(self) -> dict[str, list[TransferRequest]]:
        """The platform's requests for a transfer that reached the processor, by idempotency key."""
        return self._requests[0]

    @cached_property
    def lookups(self) -> array[int]:
        """When the platform looked up at the processor which transfers there are."""
        return self._requests[1]

    @cached_property
    def _requests(self) -> tuple[dict[str, list[TransferRequest]], array[int], set[str | None]]:
        """Transfer requests by key, the instants of look-ups, and the intents that another caller made."""
        creates: dict[str, list[TransferRequest]] = {}
        others: set[str | None] = set()
        lookups = array("q")
        columns = ("operation", "caller", "idempotency_key", *TransferRequest._fields)
        for operation, caller, key, *row in self.evidence.rows("processor.requests", *columns):
            if caller == PLATFORM_KEY:
                if operation == "transfers.create":
                    creates.setdefault(key or "", []).append(TransferRequest._make(row))
                elif operation == "transfers.list":
                    lookups.append(row[0])
            elif operation == "intents.create":
                others.add(row[_OBJECT])
        return creates, lookups, others

    @cached_property
    def payments(self) -> list[tuple[int, int, str, str, int, str]]:
        """(n, at, user, contest, cents, intent) of every payment that a customer, by his own book, has made."""
        columns = ("n", "at", "user_id", "contest_id", "amount_cents", "intent_id", "action", "result")
        return [
            (n, at, user, contest, cents, intent)
            for n, at, user, contest, cents, intent, action, result in self.evidence.rows("entrants.actions", *columns)
            if action == "paid" and result == "ok"
        ]

    @cached_property
    def left_at(self) -> dict[str, int]:
        """Customers who, by their own book, deleted their account, and when (ms)."""
        left: dict[str, int] = {}
        for user, at, action in self.evidence.rows("entrants.actions", "user_id", "at", "action"):
            if action.startswith("delete"):
                left.setdefault(user, at)
        return left

    @cached_property
    def taken_back(self) -> set[tuple[str, str]]:
        """Winners whose payout the processor took back, and somebody has looked into: what they won stays owed."""
        return taken_back(self.evidence, self)

    @cached_property
    def unpayable(self) -> set[tuple[str, str]]:
        """Winners who are rightly not paid, for a documented reason: what they won stays owed, and is not forgotten."""
        return given_up(self.evidence, self) | self.taken_back


def facts(evidence: Evidence) -> Facts:
    """The facts of this evidence."""
    return once(evidence, Facts)
