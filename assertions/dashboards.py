"""Family dashboards: what the platform showed to whoever looked from outside was so, at the instant it told of.

Invariant: what a dashboard said is read from the observer's book, and what was so from another party's book where one
knows it, else from the audit trail up to the row that the page names; never from the tables that it was made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assertions.alerts import Change, changes
from assertions.facts import PLATFORM_KEY, facts
from assertions.hands import ENDS
from assertions.model import Finding, assertion
from assertions.outlook import LAST_BEFORE_MS, RECENT, Look, answered, due, looks, observed_from, outlook
from assertions.trail import trail
from assertions.words import DAY_MS, HOUR_MS, MINUTE_MS, duration, instant

if TYPE_CHECKING:
    from evidence.run import Evidence

DASHBOARDS = ("operational", "contests", "audit", "errors")
LEARNT_WITHIN_MS = 2 * HOUR_MS
"""By when the platform knows what happened at the processor: it reads the books there every hour."""
POLL_TAKEN_WITHIN_MS = 2 * MINUTE_MS
"""From the provider's answer to the platform's note that it came."""
TOLD_WITHIN_MS = 10 * MINUTE_MS
"""From what ops or monitoring noted to whoever was to be told: it is said again until it is taken."""
NOTED_WITHIN_MS = HOUR_MS
"""From the beginning of an execution by the platform's clock to ops' note of it, with every answer that was lost."""
OVER = frozenset({"PAID_OUT", "CANCELLED"})


@assertion("dashboards.sampled", "Each dashboard was looked at once a day and at the end, and it answered")
def sampled(evidence: Evidence) -> Finding:
    known, plan = facts(evidence), evidence.plan
    found = Finding("looks")
    last_at = plan.recovery_until_at - LAST_BEFORE_MS
    owed: list[tuple[int, int]] = []
    if observed_from(plan):
        owed = [(at, at + DAY_MS) for at in range(plan.starts_at, last_at - DAY_MS + 1, DAY_MS)]
        owed = [(at, until) for at, until in owed if until <= known.ended_at]
        owed += [(last_at, plan.recovery_until_at)] if known.ended_at >= plan.recovery_until_at else []
    found.owed = len(owed) * len(DASHBOARDS)
    seen = {(look.dashboard, _place(owed, look.at)) for look in looks(evidence)}
    found.saw = sum((name, span) in seen for name in DASHBOARDS for span in owed)
    for look in looks(evidence):
        if look.body is None and known.deadline(look.at, 0)[0] <= look.at:
            found.breaks(
                f"the dashboard {look.dashboard} was asked for at {instant(look.at)} and did not show "
                f"({look.problem or look.status}), with nothing out of order that would excuse it",
                look.subject, look.at,
            )  # fmt: skip
    return found


def _place(owed: list[tuple[int, int]], at: int) -> tuple[int, int] | None:
    return next((span for span in owed if span[0] <= at < span[1]), None)


@assertion("dashboards.of_one_instant", "Each page tells of an instant between question and answer, all of it")
def of_one_instant(evidence: Evidence) -> Finding:
    found = Finding("pages")
    truths = outlook(evidence)
    for look in answered(evidence):
        found.saw += 1
        at, seq, truth = look.told_at, look.audit_seq, truths[look.audit_seq]
        if not look.at <= at <= look.answered_at:
            found.breaks(
                f"the dashboard {look.dashboard}, asked for at {instant(look.at)}, tells of {instant(at)}",
                look.subject, look.at,
            )  # fmt: skip
        elif truth.at is None or truth.at > at or (truth.next_at is not None and truth.next_at < at):
            found.breaks(
                f"the dashboard {look.dashboard} of {instant(at)} says that audit row {seq} was the last, which "
                f"it was not then",
                look.subject, at,
            )  # fmt: skip
    found.owed = due(evidence)
    return found


@assertion("dashboards.state_as_audited", "How much stands where is what the audit trail up to that instant comes to")
def state_as_audited(evidence: Evidence) -> Finding:
    found = Finding("numbers", 0, due(evidence))
    for look in answered(evidence, "operational"):
        truth = outlook(evidence)[look.audit_seq]
        for name, count in truth.state.items():
            found.saw += 1
            if look.summary.get(name) != count:
                found.breaks(
                    f"the operational dashboard said at {instant(look.told_at)} that {name} is "
                    f"{look.summary.get(name)}; by the audit trail it was {count}",
                    look.subject, look.told_at,
                )  # fmt: skip
    return found


@assertion(
    "dashboards.money_as_at_the_processor",
    "Transfers paid and disputes open are those that the processor's own books show, as soon as it can be known",
)
def money_as_at_the_processor(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("amounts of things", 0, due(evidence))
    if not answered(evidence):
        return found
    learnt = {at: known.deadline(at, LEARNT_WITHIN_MS)[0] for at in _processor_instants(evidence)}
    paid = [transfer.created_at for transfer in known.transfers if transfer.caller == PLATFORM_KEY]
    disputes = list(evidence.rows("processor.disputes", "created_at", "closed_at"))
    for look in answered(evidence, "operational"):
        at = look.told_at
        told = look.summary.get("transfers_paid", 0) + look.summary.get("transfers_reversed", 0)
        least = sum(learnt[made] <= at for made in paid)
        most = sum(made <= at for made in paid)
        open_least = sum(learnt[made] <= at and (closed is None or closed > at) for made, closed in disputes)
        open_most = sum(made <= at and (closed is None or learnt[closed] > at) for made, closed in disputes)
        for what, said, fewest, highest in (
            ("transfers paid", told, least, most),
            ("disputes open", look.summary.get("disputes_open"), open_least, open_most),
        ):
            found.saw += 1
            if said is None or not fewest <= said <= highest:
                found.breaks(
                    f"the operational dashboard said at {instant(at)} that there were {said} {what}; by the "
                    f"processor's books there were {fewest}" + (f" to {highest}" if highest != fewest else ""),
                    look.subject, at,
                )  # fmt: skip
    return found


def _processor_instants(evidence: Evidence) -> set[int]:
    instants = {transfer.created_at for transfer in facts(evidence).transfers}
    for made, closed in evidence.rows("processor.disputes", "created_at", "closed_at"):
        instants |= {made} if closed is None else {made, closed}
    return instants


@assertion("dashboards.contests_as_audited", "Every contest that is not over is shown, in the state that it was in")
def contests_as_audited(evidence: Evidence) -> Finding:
    found = Finding("contests", 0, due(evidence) and len(evidence.plan.contests))
    transitions = trail(evidence).transitions if observed_from(evidence.plan) else {}
    for look in answered(evidence, "contests"):
        told = {row["contest_id"]: row["status"] for row in look.body["contests"]} if look.body else {}
        truth = {}
        for contest in evidence.plan.contests:
            states = [step.after for step in transitions.get(contest.id, ()) if step.seq <= look.audit_seq]
            if states and states[-1] not in OVER:
                truth[contest.id] = states[-1]
        for contest_id in sorted(told.keys() | truth.keys()):
            found.saw += 1
            if told.get(contest_id) != truth.get(contest_id):
                found.breaks(
                    f"the contest dashboard showed {contest_id} at {instant(look.told_at)} as "
                    f"{told.get(contest_id, 'over')}; it was {truth.get(contest_id, 'over')}",
                    look.subject, look.told_at,
                )  # fmt: skip
    return found


@assertion("dashboards.lag_as_polled", "The ingestion lag shown is the time since the provider's last sound answer")
def lag_as_polled(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("lags")
    if not answered(evidence):
        return found
    polls: dict[str, list[int]] = {}
    columns = ("event_id", "at", "status", "glitch", "answered", "since_revision", "revision")
    for event_id, at, status, glitch, lost, since, revision in evidence.rows("provider.requests", *columns):
        # An old answer that is just as old as what was asked from says, as any other, that nothing is new.
        sound = glitch is None or (glitch == "stale" and revision == since)
        if status == 200 and sound and lost is not False:
            polls.setdefault(event_id, []).append(at)
    for look in answered(evidence, "contests"):
        at = look.told_at
        for row in look.body["contests"] if look.body else ():
            tournament = known.tournaments[row["tournament_id"]]
            began = [from_at for from_at, until_at in tournament.play if from_at <= at < until_at]
            answers = [served for served in polls.get(tournament.event_id, ()) if served <= at]
            taken = [served for served in answers if served <= at - POLL_TAKEN_WITHIN_MS]
            found.saw += 1
            least_ms = at - max([began[0], *answers[-1:]]) if began else 0
            most_ms = at - max([began[0], *taken[-1:]]) if began else 0
            excused = known.deadline(at - most_ms, most_ms)[0] > at
            slack_ms = POLL_TAKEN_WITHIN_MS
            told_ms = row["lag_s"] * 1_000
            if told_ms < least_ms - slack_ms or (told_ms > most_ms and not excused):
                found.breaks(
                    f"the contest dashboard showed a lag of {duration(told_ms)} for {tournament.id} at {instant(at)}; "
                    f"by the provider's book it was {duration(least_ms)}",
                    look.subject, at,
                )  # fmt: skip
    return found


@assertion("dashboards.alerts_are_the_pagers", "The open alerts shown are the incidents that were open at the pager")
def alerts_are_the_pagers(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("pages of alerts", 0, due(evidence))
    events = list(evidence.rows("pager.events", "at", "action", "dedup_key")) if observed_from(evidence.plan) else []
    firing = changes(evidence) if events else []
    for look in answered(evidence, "operational"):
        found.saw += 1
        told = {row["dedup_key"]: row["status"] for row in look.body["alerts"]} if look.body else {}
        if not look.summary.get("pager_answers"):
            if known.deadline(look.at, 0)[0] <= look.at:
                found.breaks("the pager was not heard, with nothing out of order", look.subject, look.at)
            continue
        before, then = _open_until(events, look.at - 1), _open_until(events, look.told_at)
        moved = {key for at, _, key in events if look.at <= at <= look.told_at}
        for key in sorted((told.keys() | before.keys() | then.keys()) - moved):
            if told.get(key) != then.get(key):
                found.breaks(
                    f"the operational dashboard showed {key} at {instant(look.told_at)} as "
                    f"{told.get(key, 'not open')}; at the pager it was {then.get(key, 'not open')}",
                    look.subject, look.told_at,
                )  # fmt: skip
        for key, since_at in _firing_at(firing, look.at).items():
            if key not in told and key not in moved and known.deadline(since_at, TOLD_WITHIN_MS)[0] <= look.at:
                found.breaks(
                    f"{key} had been firing for {duration(look.at - since_at)} at {instant(look.at)}, and the "
                    f"operational dashboard did not show it",
                    look.subject, look.at,
                )  # fmt: skip
    return found


def _open_until(events: list[tuple[int, str, str]], until_at: int) -> dict[str, str]:
    """The open incidents with their states, by the pager's own rules (Events v2), after the events until then."""
    states: dict[str, str] = {}
    for at, action, key in events:
        if at > until_at:
            break
        if action == "resolve":
            states.pop(key, None)
        elif action == "acknowledge" and key in states:
            states[key] = "acknowledged"
        elif action == "trigger":
            states.setdefault(key, "triggered")
    return states


def _firing_at(changes: list[Change], until_at: int) -> dict[str, int]:
    """Alerts that somebody is to be paged for and that fire at this instant, and since when."""
    found: dict[str, int] = {}
    for change in changes:
        if change.at > until_at:
            break
        if change.state == "firing" and change.pages:
            found[change.dedup_key] = change.at
        else:
            found.pop(change.dedup_key, None)
    return found


@assertion(
    "dashboards.executions_as_noted", "The runbook executions shown, and the escalations, are those of ops' notebook"
)
def executions_as_noted(evidence: Evidence) -> Finding:
    found = Finding("lists of executions", 0, 2 * due(evidence))
    if not answered(evidence):
        return found
    notes = list(evidence.rows("operator.notebook", "at", "execution_id", "action", "runbook"))
    heard = {
        subject.partition("/")[2]: at
        for at, action, subject in evidence.rows("platform.audit_log", "at", "action", "subject")
        if action == "runbook_executions.update"
    }
    for look in answered(evidence, "audit", "operational"):
        found.saw += 1
        started: dict[str, tuple[int, str]] = {}
        ended: dict[str, tuple[int, str]] = {}
        for at, execution_id, action, runbook in notes:
            if action == "started" and at <= look.told_at + TOLD_WITHIN_MS:  # noted once the platform has answered
                started[execution_id] = (at, runbook)
            elif action in ENDS and heard.get(execution_id, look.answered_at + 1) <= look.answered_at:
                # An end of which the platform never heard is a matter of runbooks.on_record.
                ended[execution_id] = (max(at, heard[execution_id]), action)
        problems = (_executions if look.dashboard == "audit" else _escalations)(look, started, ended)
        for problem in problems:
            found.breaks(
                f"the {look.dashboard} dashboard of {instant(look.told_at)} {problem}", look.subject, look.told_at
            )
    return found


_Noted = dict[str, tuple[int, str]]


def _executions(look: Look, started: _Noted, ended: _Noted) -> list[str]:
    """What is wrong with the executions shown: an end is noted before the platform is told."""
    told = {row["id"]: row for row in look.body["executions"]} if look.body else {}
    problems = [f"showed the execution {one}, which no notebook knows" for one in told if one not in started]
    newest = sorted(started, key=lambda one: started[one][0], reverse=True)[:RECENT]
    oldest_at = min((started[one][0] for one in told if one in started), default=look.told_at)
    for one in newest:
        at, runbook = started[one]
        if one not in told:
            if at < look.told_at and (len(told) < RECENT or oldest_at < at - NOTED_WITHIN_MS):
                problems.append(f"did not show {runbook}, begun at {instant(at)}")
            continue
        end_at, end = ended.get(one, (look.answered_at + 1, "in_progress"))
        allowed = {end} if end_at + TOLD_WITHIN_MS < look.told_at else {end, "in_progress"}
        if told[one]["status"] not in allowed or told[one]["runbook_name"] != runbook:
            problems.append(f"showed {runbook} as {told[one]['status']}; by the notebook it was {end}")
    return problems


def _escalations(look: Look, started: _Noted, ended: _Noted) -> list[str]:
    told = [row["id"] for row in look.body["escalations"]] if look.body else []
    failed = {one: at for one, (at, end) in ended.items() if end in ("failed", "partial")}
    problems = [f"showed the escalation of {one}, which the notebook does not" for one in told if one not in failed]
    due = [one for one, at in failed.items() if at + TOLD_WITHIN_MS < look.told_at]
    newest = sorted(due, key=failed.__getitem__, reverse=True)[:RECENT]
    if len(told) < RECENT:
        problems += [f"did not show that {started[one][1]} had failed" for one in newest if one not in told]
    return problems


@assertion("dashboards.trail_as_audited", "The operations and changes of state shown are the last of the audit trail")
def trail_as_audited(evidence: Evidence) -> Finding:
    found = Finding("lists of audit rows", 0, due(evidence))
    for look in answered(evidence, "audit"):
        truth = outlook(evidence)[look.audit_seq]
        for name, rows in (("operations", truth.operations), ("state_changes", truth.changes)):
            found.saw += 1
            told = [tuple(row[part] for part in _TOLD) for row in (look.body or {}).get(name, ())]
            if told != list(reversed(rows)):
                odd = next((row for row in told if row not in rows), None) or "not all of them"
                found.breaks(
                    f"the audit dashboard of {instant(look.told_at)} showed other {name.replace('_', ' ')} than the "
                    f"audit trail has: {odd}",
                    look.subject, look.told_at,
                )  # fmt: skip
    return found


_TOLD = ("seq", "at", "actor", "action", "subject")
