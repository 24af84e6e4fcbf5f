"""Family lifecycle: every contest passes its states, in order and on time, and ends with everybody paid or refunded.

Invariant: what a contest had to do and when comes from the plan, the provider and the processor; what it did, from the
audit log.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from assertions.facts import COMPLETE_WITHIN_MS, PLATFORM_KEY, Facts, facts
from assertions.model import Finding, assertion
from assertions.rows import Intent
from assertions.trail import Transition, trail
from assertions.words import HOUR_MS, MINUTE_MS, dollars, duration, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

LOCKED_WITHIN_MS = 2 * MINUTE_MS
LIVE_WITHIN_MS = 15 * MINUTE_MS
SETTLED_WITHIN_MS = 6 * HOUR_MS
PAID_OUT_WITHIN_MS = 72 * HOUR_MS
"""Bounds on each step, from the instant at which it was due. A fault at work then puts a bound off until the end of its
own recovery bound; nothing puts PAID_OUT off beyond the recovery phase."""

ALLOWED = {
    None: {"SCHEDULED"},
    "SCHEDULED": {"LOCKED", "CANCELLED"},
    "LOCKED": {"LIVE", "CANCELLED"},
    "LIVE": {"COMPLETE", "CANCELLED"},
    "COMPLETE": {"SETTLED"},
    "SETTLED": {"PAID_OUT"},
}
"""State -> the states that may follow (SPEC 1.1). ERROR may not be entered, unless ops leaves it by a runbook: the one
that has a settlement run again (SPEC 2.2)."""
SETTLEMENT = "system:settlement"
STEPS_OF_ONE_THAT_RUNS = 6
"""SCHEDULED, LOCKED, LIVE, COMPLETE, SETTLED, PAID_OUT; one that does not run has two: SCHEDULED, CANCELLED."""


class _Due(NamedTuple):
    status: str
    due_at: int
    bound_ms: int


def _due(known: Facts, contest_id: str, reached: dict[str, int]) -> list[_Due]:
    """What a contest had to reach: not before `due_at`, and within the bound after it."""
    contest = known.contests[contest_id]
    if not known.runs(contest_id):
        return [_Due("CANCELLED", contest.lock_at, LOCKED_WITHIN_MS)]
    over_at, cutoff_at = known.over_at(contest_id), known.cutoff_at(contest_id)
    settled_at = reached.get("SETTLED", cutoff_at)
    return [
        _Due("LOCKED", contest.lock_at, LOCKED_WITHIN_MS),
        _Due("LIVE", contest.start_at, LIVE_WITHIN_MS),
        _Due("COMPLETE", over_at, COMPLETE_WITHIN_MS),
        _Due("SETTLED", cutoff_at, SETTLED_WITHIN_MS),
        _Due("PAID_OUT", settled_at, PAID_OUT_WITHIN_MS),
    ]


def _steps_owed(known: Facts) -> int:
    return sum(STEPS_OF_ONE_THAT_RUNS if known.runs(contest) else 2 for contest in known.contests)


@assertion(
    "lifecycle.states_in_order",
    "Every contest passed through its states in the allowed order, and through ERROR only if ops had it settled again",
)
def states_in_order(evidence: Evidence) -> Finding:
    known, transitions = facts(evidence), trail(evidence).transitions
    found = Finding("transitions", 0, _steps_owed(known))
    for contest_id, steps in transitions.items():
        status: str | None = None
        for step, following in zip_longest(steps, steps[1:]):  # None follows the last
            found.saw += 1
            if step.before != status:
                _tell(found, contest_id, step, f"from {step.before}, but it was {status}")
            elif step.after not in ALLOWED.get(status, ()) and not _settled_again(step, following):
                _tell(found, contest_id, step, f"from {status}, which is not allowed")
            status = step.after
        row = known.contest_rows.get(contest_id)
        if row is not None and row.status != status:
            found.breaks(
                f"{contest_id} is {row.status} in the end, but its last audited state is {status}",
                f"contests/{contest_id}",
            )
    return found


def _settled_again(step: Transition, following: Transition | None) -> bool:
    """Whether the settlement of a contest was given up and ops has taken it up, by this step or the following one."""
    if (step.before, step.after) == ("COMPLETE", "ERROR"):
        return step.actor == SETTLEMENT and following is not None and _settled_again(following, None)
    return (step.before, step.after) == ("ERROR", "COMPLETE") and step.actor.startswith("ops:")


def _tell(found: Finding, contest_id: str, step: Transition, why: str) -> None:
    found.breaks(
        f"{contest_id} became {step.after} at {instant(step.at)} {why} (audit row {step.seq}, by {step.actor})",
        f"contests/{contest_id}", step.at,
    )  # fmt: skip


@assertion("lifecycle.on_time", "Every contest locked, started, ended, settled and paid out when it was due")
def on_time(evidence: Evidence) -> Finding:
    known, transitions = facts(evidence), trail(evidence).transitions
    found = Finding("transitions with a due time", 0)
    last_at = known.plan.recovery_until_at
    for contest_id in known.contests:
        reached = {step.after: step.at for step in reversed(transitions.get(contest_id, ()))}  # when first
        at_stake = sum(intent.amount_cents for intent in known.paid_in_time[contest_id])
        for due in _due(known, contest_id, reached):
            until_at, excuses = known.deadline(due.due_at, due.bound_ms)
            until_at = min(until_at, last_at)
            at = reached.get(due.status)
            found.owed += 1
            found.saw += 1  # a step that never came was looked for, and is broken, not unseen
            if at is not None and at < due.due_at:
                found.breaks(
                    f"{contest_id} was {due.status} at {instant(at)}, {duration(due.due_at - at)} too early",
                    f"contests/{contest_id}", at, at_stake,
                )  # fmt: skip
            elif at is None or at > until_at:
                allowed = f"{duration(until_at - due.due_at)} allowed" + (
                    f", put off by {', '.join(excuses)}" if excuses else ""
                )
                came = "never was" if at is None else f"was only at {instant(at)}"
                found.breaks(
                    f"{contest_id} was due to be {due.status} at {instant(due.due_at)} ({allowed}) and {came}",
                    f"contests/{contest_id}", until_at, at_stake,
                )  # fmt: skip
    return found


@assertion("lifecycle.every_contest_ends", "Every contest ends PAID_OUT or CANCELLED; none is stuck or in ERROR")
def every_contest_ends(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("contests", 0, len(known.contests))
    for contest_id, paid in known.paid_in_time.items():
        row = known.contest_rows.get(contest_id)
        found.saw += 1
        if row is None or row.status not in ("PAID_OUT", "CANCELLED"):
            cents = sum(intent.amount_cents for intent in paid)
            state = (
                "does not exist in the platform" if row is None else f"is {row.status} ({row.error_code or 'no error'})"
            )
            found.breaks(
                f"{contest_id} {state} at the end, with {dollars(cents)} of {len(paid)} entries in it",
                f"contests/{contest_id}", known.plan.recovery_until_at, cents,
            )  # fmt: skip
    return found


@assertion(
    "lifecycle.paid_out_means_paid", "A contest is PAID_OUT only once each of its prizes has been sent or given up"
)
def paid_out_means_paid(evidence: Evidence) -> Finding:
    known, transitions = facts(evidence), trail(evidence).transitions
    found = Finding("contests", 0, len(known.valid))
    paid_out = {
        contest: step.at for contest in known.valid for step in transitions.get(contest, ()) if step.after == "PAID_OUT"
    }
    found.saw = len(paid_out)
    ends = [
        (contest, f"transfers/{transfer}", cents, at)
        for transfer, contest, cents, at in evidence.rows(
            "platform.transfers", "transfer_id", "contest_id", "amount_cents", "done_at"
        )
    ]
    ends += [
        (item.contest_id, f"processor.transfers/{item.transfer_id}", item.net_cents, item.created_at)
        for item in known.transfers
        if item.caller == PLATFORM_KEY
    ]
    for contest_id, subject, cents, at in ends:
        paid_out_at = paid_out.get(contest_id)
        if paid_out_at is not None and (at is None or at > paid_out_at):
            came = "never ended" if at is None else f"came only at {instant(at)}"
            found.breaks(
                f"{contest_id} was PAID_OUT at {instant(paid_out_at)}, but its payout of {dollars(cents)} {came}",
                subject, paid_out_at, cents,
            )  # fmt: skip
    return found


def _owed_back_at(known: Facts, intent: Intent) -> int | None:
    """Since when it was certain that a payment bought nothing: the lock, or the payment where that came later."""
    contest = known.contests.get(intent.contest_id)
    return intent.captured_at if contest is None else max(contest.lock_at, intent.captured_at or 0)


@assertion(
    "lifecycle.cancelled_are_refunded",
    "Every payment for a cancelled contest, or after the lock, is given back in full, once",
)
def cancelled_are_refunded(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("payments to give back", 0, len(known.to_refund))
    for intent in known.to_refund:
        found.saw += 1
        back = known.given_back_cents(intent)
        by_bank = known.charged_back_cents.get(intent.intent_id, 0)
        if back != intent.amount_cents or intent.refunded_cents != intent.amount_cents - by_bank:
            found.breaks(
                f"{intent.user_id} paid {dollars(intent.amount_cents)} for {intent.contest_id} at "
                f"{instant(intent.captured_at)}, which bought no entry, and got {dollars(back)} back",
                f"entries/{intent.entry_id}", _owed_back_at(known, intent), abs(intent.amount_cents - back),
            )  # fmt: skip
    for contest_id, row in known.contest_rows.items():
        if row.status == "CANCELLED":
            for intent in known.valid.get(contest_id, ()):
                back = known.refunded_cents.get(intent.intent_id, 0)
                if back != intent.amount_cents:
                    found.breaks(
                        f"{contest_id} was cancelled, and {intent.user_id} got {dollars(back)} of "
                        f"{dollars(intent.amount_cents)} back",
                        f"entries/{intent.entry_id}", row.closed_at, intent.amount_cents - back,
                    )  # fmt: skip
    return found


@assertion(
    "lifecycle.under_minimum_is_cancelled_guaranteed_runs",
    "A contest below its minimum is cancelled unless it is guaranteed; every other one runs",
)
def under_minimum_is_cancelled_guaranteed_runs(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("contests", 0, len(known.contests))
    for contest_id, contest in known.contests.items():
        row = known.contest_rows.get(contest_id)
        if row is None:
            found.missing.append(f"{contest_id} does not exist in the platform")
            continue
        found.saw += 1
        paid = known.paid_in_time[contest_id]
        if (row.status == "CANCELLED") == known.runs(contest_id):
            kind = "not guaranteed" if contest.guaranteed_cents is None else "guaranteed"
            found.breaks(
                f"{contest_id} had {len(paid)} entries paid before its lock, needs {contest.min_entries}, is {kind}: "
                f"it should {'run' if known.runs(contest_id) else 'be cancelled'}, and is {row.status}",
                f"contests/{contest_id}", contest.lock_at, sum(intent.amount_cents for intent in paid),
            )  # fmt: skip
    return found


WORTHLESS = frozenset({
    "bad signature", "expired", "issued in the future", "malformed token", "no bearer token",
    "not a principal for customer access",
})  # fmt: skip
"""What a customer is told whose token is taken for worth nothing."""


@assertion("lifecycle.customers_are_let_in", "No customer was turned away whose token the identity provider stood by")
def customers_are_let_in(evidence: Evidence) -> Finding:
    known = facts(evidence)
    good = {
        principal for principal, action in evidence.rows("identity.events", "principal", "action") if action == "issued"
    }
    good -= {
        principal
        for principal, action in evidence.rows("identity.events", "principal", "action")
        if action == "revoked"
    }
    found = Finding("customers' notes", 0, len(known.captured))
    for n, at, user, contest, action, result, cents in evidence.rows(
        "entrants.actions", "n", "at", "user_id", "contest_id", "action", "result", "amount_cents"
    ):
        found.saw += 1
        if action == "refused" and result in WORTHLESS and f"customer:{user}" in good:
            found.breaks(
                f"{user} was turned away at {instant(at)} ({result}), with a token that the identity provider had "
                f"issued and never revoked ({contest or 'no contest'})",
                f"entrants.actions/{n}", at, cents or 0,
            )  # fmt: skip
    return found
