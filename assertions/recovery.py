"""Family recovery: every planned fault really happened, and once it was over the platform came to rest.

Invariant: a fault has bitten when the book of its victim says so; the injector's own book is not enough.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from assertions.facts import facts
from assertions.lab import allowed
from assertions.model import Finding, assertion
from assertions.windows import deadline
from assertions.words import HOUR_MS, MINUTE_MS, dollars, instant

if TYPE_CHECKING:
    from evidence.plan import FaultPlan
    from evidence.run import Evidence

ACCEPTED_WITHIN_MS = 30 * HOUR_MS
"""By when a webhook that nothing but the platform could refuse is accepted. The processor's retries double in distance:
after half a day without the endpoint the next one comes within half a day more."""
EXPIRED_WITHIN_MS = 15 * MINUTE_MS
"""An order whose time is over ends at the next look at it: one comes each minute, and may be busy with other hosts."""
INTENT_ENDS = frozenset({"succeeded", "canceled"})
ORDER_ENDS = frozenset({"COMPLETED", "FAILED", "EXPIRED"})


@assertion(
    "recovery.every_fault_bit",
    "Every planned fault and violation happened: its victim's own book shows it",
    "reachable",
)
def every_fault_bit(evidence: Evidence) -> Finding:
    faults = evidence.plan.faults
    found = Finding("faults", 0, len(faults))
    victims: dict[str, list[tuple[str, str]]] = {}
    for fault_id, victim, entity in evidence.rows("injector.bites", "fault_id", "victim", "entity"):
        victims.setdefault(fault_id, []).append((victim, entity))
    rows = _matching_rows(evidence, faults, victims)
    for fault in faults:
        acted, shown, wanted = len(victims.get(fault.id, ())), rows.get(fault.id, 0), fault.bite.at_least
        if acted and shown >= wanted:
            found.saw += 1
        elif not acted:
            found.missing.append(f"{fault.id} ({fault.title}) never acted")
        else:
            found.missing.append(
                f"{fault.id} ({fault.title}) acted {acted} times, but {fault.bite.book} shows {shown} rows of it where "
                f"there had to be {wanted}"
            )
    return found


Condition = tuple[tuple[int, str | None], ...]
"""(place of the column, its value as text) for each column of a bite."""


def _matching_rows(
    evidence: Evidence, faults: list[FaultPlan], victims: dict[str, list[tuple[str, str]]]
) -> dict[str, int]:
    """How many rows of its victim's book show each fault. Each book is read once, and each row looks only at the faults
    whose key it carries."""
    by_book: dict[str, list[FaultPlan]] = {}
    for fault in faults:
        if fault.id in victims:
            by_book.setdefault(fault.bite.book, []).append(fault)
    shown: Counter[str] = Counter()
    for book, planned in by_book.items():
        columns = sorted({column for fault in planned for column in fault.bite.where})
        index: dict[int, dict[str | None, list[tuple[str, Condition]]]] = {}
        for fault in planned:
            key = _key_column(fault)
            for victim, entity in dict.fromkeys(victims[fault.id]):
                bound = {"$victim": victim, "$entity": fault.entity if fault.entity is not None else entity}
                condition = tuple(
                    (columns.index(column), _text(bound.get(value, value) if isinstance(value, str) else value))
                    for column, value in fault.bite.where.items()
                )
                pivot = next((place, text) for place, text in condition if key in (None, columns[place]))
                index.setdefault(pivot[0], {}).setdefault(pivot[1], []).append((fault.id, condition))
        for chunk in evidence.chunks(book, *columns):
            for place, faults_by_text in index.items():  # all of one fault's conditions are under one place
                for number, key in enumerate(map(_text, chunk[place])):
                    if key in faults_by_text:
                        shown.update({
                            fault_id
                            for fault_id, condition in faults_by_text[key]
                            if all(_text(chunk[at][number]) == text for at, text in condition)
                        })  # fmt: skip
    return shown


def _key_column(fault: FaultPlan) -> str | None:
    """The column that tells a fault's rows from others best: the victim's key, or the entity's."""
    for key in ("$victim", "$entity"):
        for column, value in fault.bite.where.items():
            if value == key:
                return column
    return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


@assertion(
    "recovery.converged",
    "Once the faults are over nothing is pending: no payment, payout, refund, pack, entry, webhook, incident or order",
)
def converged(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("items", 0, len(known.effects))
    end = known.ended_at

    def pending(subject: str, what: str, since_at: int | None, cents: int = 0) -> None:
        found.breaks(f"{what}, pending since {instant(since_at)}", subject, end, cents)

    for entry, contest, user, status, at in evidence.rows(
        "platform.entries", "entry_id", "contest_id", "user_id", "status", "created_at"
    ):
        found.saw += 1
        if status == "PENDING_PAYMENT" and contest in known.contests and known.contests[contest].lock_at < end:
            pending(f"entries/{entry}", f"the entry {entry} of {user} in {contest} is neither valid nor abandoned", at)
    codes = {
        transfer: code or outcome
        for transfer, outcome, code in evidence.rows("platform.transfer_attempts", "transfer_id", "outcome", "code")
    }
    for transfer, contest, entry, user, cents, status, reason, attempts, at in evidence.rows(
        "platform.transfers",
        "transfer_id", "contest_id", "entry_id", "user_id", "amount_cents", "status", "reason", "attempts",
        "created_at",
    ):  # fmt: skip
        found.saw += 1
        is_looked_into = status == "REVERSED" and (contest, entry) in known.taken_back
        if status not in ("PAID", "FAILED_TERMINAL") and not is_looked_into:
            why = reason or codes.get(transfer) or "no reason given"
            pending(
                f"transfers/{transfer}",
                f"the payout {transfer} of {dollars(cents)} to {user} is {status} after {attempts} attempts ({why})",
                at, cents,
            )  # fmt: skip
    for refund, entry, cents, status, reason, attempts, at in evidence.rows(
        "platform.refunds", "refund_id", "entry_id", "amount_cents", "status", "reason", "attempts", "created_at"
    ):
        found.saw += 1
        if status == "PENDING":
            pending(
                f"refunds/{refund}",
                f"the refund {refund} of {dollars(cents)} for {entry} ({reason}) is {status} after {attempts} attempts",
                at, cents,
            )  # fmt: skip
    for intent in known.intents:
        contest_of = known.contests.get(intent.contest_id)
        found.saw += 1
        if intent.status not in INTENT_ENDS and contest_of is not None and contest_of.lock_at + HOUR_MS < end:
            pending(
                f"processor.intents/{intent.intent_id}",
                f"the payment {intent.intent_id} for the locked {intent.contest_id} is {intent.status}: "
                f"{intent.user_id} can still pay it",
                intent.created_at, intent.amount_cents,
            )  # fmt: skip
    may_stay = {(host, one.check) for host, unhealed in allowed(evidence).items() for one in unhealed}
    for incident, host, check, status, at in evidence.rows(
        "platform.incidents", "incident_id", "host", "check_name", "status", "reported_at"
    ):
        found.saw += 1
        if status == "OPEN" and (host, check) not in may_stay:
            pending(f"incidents/{incident}", f"the incident {incident} ({check} on {host}) is OPEN", at)
    for book, name, key, is_open, since in (
        ("settlement_packs", "the settlement pack", "pack_id", {"PENDING"}, "created_at"),
        ("webhook_inbox", "the webhook", "event_id", {"WAITING"}, "received_at"),
        ("remediation_orders", "the order", "order_id", {"ISSUED", "DELIVERED", "ACKNOWLEDGED"}, "issued_at"),
    ):
        for item, status, at in evidence.rows(f"platform.{book}", key, "status", since):
            found.saw += 1
            if status in is_open:
                pending(f"{book}/{item}", f"{name} {item} is {status}", at)
    return found


@assertion(
    "recovery.webhooks_accepted",
    "Every webhook that the processor sent was accepted in the end, however often it was sent",
)
def webhooks_accepted(evidence: Evidence) -> Finding:
    known = facts(evidence)
    first_due: dict[str, int] = {}
    accepted: set[str] = set()
    last_status: dict[str, int | None] = {}
    for event, due_at, sent, status in evidence.rows("processor.deliveries", "event_id", "due_at", "sent", "status"):
        if status is not None and 200 <= status < 300:
            accepted.add(event)
        elif sent:
            first_due.setdefault(event, due_at)
            last_status[event] = status
    found = Finding("webhooks", len(accepted), len(known.effects) and 1)
    for event in first_due.keys() - accepted:
        due_at = first_due[event]
        if known.deadline(due_at, ACCEPTED_WITHIN_MS)[0] <= known.ended_at:
            status = last_status[event]
            answer = "nobody answered" if status is None else f"the last answer was {status}"
            found.breaks(
                f"the webhook {event}, due at {instant(due_at)}, was never accepted: {answer}",
                f"processor.events/{event}", due_at,
            )  # fmt: skip
    found.broken.sort(key=lambda broken: (broken.at or 0, broken.subject))
    return found


@assertion(
    "recovery.orders_end", "Every remediation order ended in its time, and each that a fault made necessary was issued"
)
def orders_end(evidence: Evidence) -> Finding:
    known = facts(evidence)
    by_rule = {fault.id for fault in known.plan.faults if fault.recovery.by == "rule"}
    bitten = {fault_id for (fault_id,) in evidence.rows("injector.bites", "fault_id")}
    # To end an order takes the platform alone, whatever keeps it from its host.
    elsewhere = {fault.id for fault in known.plan.faults if _is_between_us_and_a_host(fault)}
    excuses = [span for span in known.spans if span.fault_id not in elsewhere]
    found = Finding("remediation orders", 0, 1 if by_rule & bitten else 0)
    for order, host, rule, status, issued_at, finished_at, expires_at, detail in evidence.rows(
        "platform.remediation_orders",
        "order_id", "host", "rule_id", "status", "issued_at", "finished_at", "expires_at", "detail",
    ):  # fmt: skip
        found.saw += 1
        if status in ORDER_ENDS and finished_at is not None:
            until_at = deadline(excuses, expires_at, EXPIRED_WITHIN_MS)[0]
            if finished_at > until_at:
                found.breaks(
                    f"the order {order} to {host} (rule {rule}) expired at {instant(expires_at)} and ended only at "
                    f"{instant(finished_at)}",
                    f"remediation_orders/{order}", until_at,
                )  # fmt: skip
            continue
        stuck_at = expires_at if expires_at is not None else known.ended_at
        if stuck_at <= known.ended_at:
            found.breaks(
                f"the order {order} to {host} (rule {rule}), issued at {instant(issued_at)}, is {status} and has not "
                f"ended ({detail or 'no detail'})",
                f"remediation_orders/{order}", stuck_at,
            )  # fmt: skip
    return found


def _is_between_us_and_a_host(fault: FaultPlan) -> bool:
    """Whether a fault is on the way to a host, or kills what runs there and is not the platform's public process."""
    return fault.seam in ("winrm", "ssh") or (fault.seam == "services" and fault.entity != "app")
