"""Family absence: founder and engineers were gone, and it was not merely assumed.

Invariant: each way in is judged from the book of the party who guards it: identity provider, platform, database,
processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assertions.facts import PLATFORM_KEY, facts
from assertions.model import Finding, assertion
from assertions.trail import trail
from assertions.words import HOUR_MS, dollars, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

PROBED_WITHIN_MS = HOUR_MS
"""The revocation is probed at the start of the absence, not some time later."""
SEEN_WITHIN_MS = HOUR_MS
"""How near the start and the end of the absence a fingerprint must have been taken."""
RECORDED_WITHIN_MS = 10_000
"""From the identity provider's word to the row of the platform's access log."""
FINGERPRINTS = 3
"""Code, configuration and schema."""
DATABASE_ROLES = frozenset({"app", "settlement", "ingestion"})
"""The services' own logins at the database; a human's session carries his principal."""
REFUSED_WEBHOOK = "refuse.webhook"
"""The action of the audit row of a webhook that is not believed."""
REVOKED = "revoked"
"""The action of identity.events that ends a credential."""
PROBES = frozenset({"introspected", "login", "denied"})
"""The actions of identity.events that tell of a credential that somebody has tried."""


@assertion(
    "absence.identity", "No founder or engineer held a live credential at the identity provider once the run had begun"
)
def identity(evidence: Evidence) -> Finding:
    known = facts(evidence)
    revoked: set[str] = set()
    seen: set[str] = set()
    found = Finding("absent principals", 0, len(known.absent))
    for n, at, action, principal, allowed, reason in evidence.rows(
        "identity.events", "n", "at", "action", "principal", "allowed", "reason"
    ):
        if not _is_absent(principal, known.absent):
            continue
        seen.add(principal)
        if action == REVOKED:
            revoked.add(principal)
        elif allowed and (principal in revoked or at > known.plan.starts_at):
            found.breaks(
                f"{principal} got past the identity provider at {instant(at)} ({action}; {reason or 'no reason'})",
                f"identity.events/{n}", at,
            )  # fmt: skip
    found.saw = len(seen & set(known.absent))
    found.missing += [f"{principal} was never revoked" for principal in known.absent if principal not in revoked]
    return found


@assertion("absence.access_log", "The platform let in services, customers and ops, and no other human")
def access_log(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("access decisions", 0, len(known.absent))
    ops = {item.id for item in known.plan.principals if item.role == "ops"}
    for n, at, principal, action, resource, allowed in evidence.rows(
        "platform.access_log", "n", "at", "principal", "action", "resource", "allowed"
    ):
        found.saw += 1
        if allowed and principal not in ops and not (principal or "").startswith(("system:", "customer:")):
            found.breaks(
                f"the platform let {principal or 'nobody it knows'} in at {instant(at)}: {action} {resource}",
                f"access_log/{n}", at,
            )  # fmt: skip
    return found


@assertion("absence.database_sessions", "Only the platform's services had sessions at the database")
def database_sessions(evidence: Evidence) -> Finding:
    found = Finding("database sessions", 0, 1 if evidence.plan.contests else 0)
    for n, at, principal, role, purpose, statements, writes in evidence.rows(
        "database.sessions", "n", "at", "principal", "role", "purpose", "statements", "writes"
    ):
        found.saw += 1
        if role not in DATABASE_ROLES or (principal not in DATABASE_ROLES and not principal.startswith("system:")):
            found.breaks(
                f"{principal} had a database session as {role} from {instant(at)} ({purpose}); "
                f"statements: {statements}, rows changed: {writes}",
                f"database.sessions/{n}", at,
            )  # fmt: skip
    return found


@assertion(
    "absence.processor_dashboard",
    "At the processor nobody acted but the platform's key and customers paying for themselves",
)
def processor_dashboard(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("requests at the processor", 0, len(known.effects))
    amounts = {item.transfer_id: item.amount_cents for item in known.transfers}
    amounts |= {item.refund_id: item.amount_cents for item in known.refunds}
    told = set()
    for n, at, caller, operation, object_id in evidence.rows(
        "processor.requests", "n", "at", "caller", "operation", "object_id"
    ):
        found.saw += 1
        if caller != PLATFORM_KEY and not caller.startswith("customer:"):
            told.add(object_id)
            cents = amounts.get(object_id, 0)
            over = f" over {dollars(cents)}" if cents else ""
            found.breaks(
                f"{caller} did {operation}{over} at the processor at {instant(at)} ({object_id or 'without effect'})",
                f"processor.requests/{n}", at, cents,
            )  # fmt: skip
    moved = [(item.transfer_id, item.caller, item.amount_cents, item.created_at) for item in known.transfers]
    moved += [(item.refund_id, item.caller, item.amount_cents, item.created_at) for item in known.refunds]
    for item_id, caller, cents, at in moved:
        if caller != PLATFORM_KEY and item_id not in told:
            found.breaks(
                f"{caller} made {item_id} over {dollars(cents)} at the processor at {instant(at)}", item_id, at, cents
            )
    return found


@assertion(
    "absence.forgeries_refused",
    "A webhook that the processor did not send was refused, put on record, and had no effect",
)
def forgeries_refused(evidence: Evidence) -> Finding:
    posts = list(evidence.rows("attacker.posts", "n", "at", "kind", "how", "event_id", "entity", "status"))
    found = Finding("forged or replayed webhooks", len(posts), len(posts))
    if not posts:
        return found
    made = {event for (event,) in evidence.rows("processor.events", "event_id")}
    taken = {event for (event,) in evidence.rows("platform.webhook_inbox", "event_id")}
    refusals = sum(action == REFUSED_WEBHOOK for (action,) in evidence.rows("platform.audit_log", "action"))
    answered = sum(status is not None for *_, status in posts)
    for n, at, kind, how, event, entity, status in posts:
        subject = f"attacker.posts/{n}"
        if status is not None and status < 300:
            found.breaks(
                f"a webhook about {entity} that was {kind} ({how}) was answered {status} at {instant(at)}", subject, at
            )
        if event in taken - made:
            found.breaks(f"the forged event {event} about {entity} is in the platform's inbox", subject, at)
    if refusals < answered:
        what = f"{answered} webhooks were forged or replayed, and only {refusals} refusals are on record"
        found.breaks(what, "audit_log", posts[0][1])
    return found


@assertion(
    "absence.revocation_probed",
    "Each revoked credential was tried at the start, and refused by platform and identity provider",
)
def revocation_probed(evidence: Evidence) -> Finding:
    """Whom nobody tried, that is not proven of; who was tried by either book has to be refused in both."""
    known = facts(evidence)
    until_at = known.plan.starts_at + PROBED_WITHIN_MS
    tries = {
        "identity.events": [
            (principal, allowed)
            for at, action, principal, allowed in evidence.rows(
                "identity.events", "at", "action", "principal", "allowed"
            )
            if action in PROBES and at <= until_at
        ],
        "platform.access_log": [
            (principal, allowed)
            for at, principal, allowed in evidence.rows("platform.access_log", "at", "principal", "allowed")
            if at <= until_at
        ],
    }
    tried = {principal for principal, _ in tries["identity.events"]}
    found = Finding("denied probes", 0, len(tries) * len(known.absent))
    for book, told in tries.items():
        for principal in known.absent:
            if (principal, False) in told:
                found.saw += 1
            elif (principal, True) in told:
                found.breaks(f"{principal} was tried by {instant(until_at)} and let in, by {book}", principal, until_at)
            elif principal in tried:
                found.breaks(
                    f"{principal} was tried by {instant(until_at)}, and {book} has no refusal of it",
                    principal,
                    until_at,
                )
            else:
                found.missing.append(f"{book} shows no denied attempt of {principal} by {instant(until_at)}")
    return found


@assertion("absence.fingerprints_constant", "Code, configuration and schema were the same at the start and at the end")
def fingerprints_constant(evidence: Evidence) -> Finding:
    plan = evidence.plan
    seen: dict[str, list[tuple[int, str]]] = {}
    for at, what, sha in evidence.rows("deployment.fingerprints", "at", "what", "sha256"):
        seen.setdefault(what, []).append((at, sha))
    found = Finding("fingerprints at start and end", 0, 2 * FINGERPRINTS)
    told = set()
    for n, at, principal, what, before, after in evidence.rows(
        "deployment.changes", "n", "at", "principal", "what", "before_sha256", "after_sha256"
    ):
        told.add(what)
        found.breaks(
            f"{principal} changed the {what} at {instant(at)}, from {before[:12]}… to {after[:12]}…, outside any "
            f"runbook step",
            f"deployment.changes/{n}", at,
        )  # fmt: skip
    for what, sightings in sorted(seen.items()):
        first_at, first = sightings[0]
        found.saw += (first_at <= plan.starts_at + SEEN_WITHIN_MS) + (
            sightings[-1][0] >= plan.absence_until_at - SEEN_WITHIN_MS
        )
        for at, sha in sightings:
            if sha != first and what not in told:
                found.breaks(
                    f"{what} was {first[:12]}… at {instant(first_at)} and {sha[:12]}… at {instant(at)}",
                    f"deployment/{what}", at,
                )  # fmt: skip
                break
    return found


@assertion("absence.denials_recorded", "Whom the identity provider called revoked, the platform has denied on record")
def denials_recorded(evidence: Evidence) -> Finding:
    known = facts(evidence)
    denials: dict[str, list[int]] = {}
    for at, principal, allowed in evidence.rows("platform.access_log", "at", "principal", "allowed"):
        if not allowed:
            denials.setdefault(principal, []).append(at)
    found = Finding("denials", 0, len(known.absent))
    for n, at, action, principal, allowed in evidence.rows(
        "identity.events", "n", "at", "action", "principal", "allowed"
    ):
        if action == "introspected" and not allowed and _is_absent(principal, known.absent):
            found.saw += 1
            if not any(at <= denied_at <= at + RECORDED_WITHIN_MS for denied_at in denials.get(principal, ())):
                found.breaks(
                    f"{principal} tried a credential at {instant(at)} that the identity provider told the platform was "
                    f"worth nothing, and the platform has no denial on record",
                    f"identity.events/{n}", at,
                )  # fmt: skip
    return found


@assertion(
    "absence.changes_trace_to_the_system",
    "Every audited change was made by a service, asked for by a customer, or a step of a runbook that ops executed",
)
def changes_trace_to_the_system(evidence: Evidence) -> Finding:
    known = trail(evidence)
    found = Finding("audited changes", known.rows, len(facts(evidence).effects))
    for damage in known.foreign.first:
        found.breaks(
            f"audit row {damage.seq} at {instant(damage.at)}: {damage.what}, outside any runbook step",
            f"audit_log/{damage.seq}", damage.at,
        )  # fmt: skip
    if known.foreign.count > len(known.foreign.first):
        found.breaks(f"and {known.foreign.count - len(known.foreign.first)} more such changes", "audit_log")
    return found


def _is_absent(principal: str | None, absent: list[str]) -> bool:
    return principal in absent or (principal or "").startswith(("founder:", "engineer:"))
