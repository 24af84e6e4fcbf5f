"""Family settlement: every valid entry's pack reached an end, by the daemon alone, on evidence that can be recomputed.

Invariant: which packs there have to be comes from the processor and the plan; the scores that were settled on, from the
provider.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from assertions import version_1
from assertions.facts import facts
from assertions.model import Finding, assertion
from assertions.trail import trail
from assertions.words import instant
from evidence.canonical import canonical

if TYPE_CHECKING:
    from evidence.run import Evidence

DAEMON = "system:settlement"
"""The daemon; `settled_by` names one life of it, `system:settlement:<daemon id>`."""
TERMINAL = frozenset({"EXECUTED", "FAILED", "ORPHANED_OUTCOME_MISSING"})


def is_daemon(settled_by: str | None) -> bool:
    return settled_by is not None and (settled_by == DAEMON or settled_by.startswith(f"{DAEMON}:"))


@assertion(
    "settlement.packs_are_terminal",
    "Every valid entry has one settlement pack, and it left PENDING by the daemon's hand",
)
def packs_are_terminal(evidence: Evidence) -> Finding:
    known, by = facts(evidence), trail(evidence).terminalized_by
    due = {intent.entry_id: contest for contest, entries in known.valid.items() for intent in entries}
    found = Finding("settlement packs", 0, len(due))
    seen: set[str] = set()
    for pack, contest, entry, status, settled_by, at in evidence.rows(
        "platform.settlement_packs", "pack_id", "contest_id", "entry_id", "status", "settled_by", "terminalized_at"
    ):
        found.saw += 1
        subject = f"settlement_packs/{pack}"
        if due.get(entry) != contest:
            found.breaks(f"pack {pack} settles {entry} in {contest}, which is no valid entry of it", subject, at)
        if entry in seen:
            found.breaks(f"{entry} has a second pack, {pack}", subject, at)
        seen.add(entry)
        if status not in TERMINAL or at is None:
            found.breaks(f"pack {pack} of {entry} in {contest} is {status} at the end", subject, known.ended_at)
            continue
        row = known.contest_rows.get(contest)
        if row is not None and row.settled_at is not None and at > row.settled_at:
            found.breaks(f"pack {pack} of {entry} became {status} after {contest} had been settled", subject, at)
        if not is_daemon(settled_by) or by.get(pack) != DAEMON:
            found.breaks(
                f"pack {pack} became {status} at {instant(at)} by {settled_by}, in the audit by {by.get(pack)}: it is "
                f"for {DAEMON} alone",
                subject, at,
            )  # fmt: skip
    return found


@assertion(
    "settlement.waits_for_official_scores",
    "A contest was settled only after the provider had given everything again, asked at or after the cut-off",
)
def waits_for_official_scores(evidence: Evidence) -> Finding:
    known, transitions = facts(evidence), trail(evidence).transitions
    found = Finding("contests", 0, len(known.valid))
    told: dict[str, list[int]] = {}
    for at, event_id, since, status, glitch in evidence.rows(
        "provider.requests", "at", "event_id", "since_revision", "status", "glitch"
    ):
        if since is None and status == 200 and not glitch:
            told.setdefault(event_id, []).append(at)
    for contest_id, entries in known.valid.items():
        settled_at = next((step.at for step in transitions.get(contest_id, ()) if step.after == "SETTLED"), None)
        if settled_at is None:
            continue
        found.saw += 1
        cutoff_at = known.cutoff_at(contest_id)
        event_id = known.tournaments[known.contests[contest_id].tournament_id].event_id
        if not any(cutoff_at <= at <= settled_at for at in told.get(event_id, ())):
            found.breaks(
                f"{contest_id} was settled at {instant(settled_at)}, and the provider had not told everything since "
                f"the cut-off at {instant(cutoff_at)}",
                f"contests/{contest_id}", settled_at, sum(intent.amount_cents for intent in entries),
            )  # fmt: skip
    return found


@assertion(
    "settlement.executed_packs_are_linked",
    "A pack was executed only through a link to the official outcome of its entry",
)
def executed_packs_are_linked(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("executed packs", 0, sum(map(len, known.valid.values())))
    links = {
        pack: (outcome, at)
        for pack, outcome, at in evidence.rows("platform.outcome_pack_links", "pack_id", "outcome_id", "linked_at")
    }
    outcomes: dict[str, str] = dict(evidence.rows("platform.outcomes", "outcome_id", "entry_id"))
    explained = {
        pack for pack, why in evidence.rows("platform.post_mortem_settlement", "pack_id", "fail_reason_code") if why
    }
    for pack, entry, status, code, at in evidence.rows(
        "platform.settlement_packs", "pack_id", "entry_id", "status", "fail_reason_code", "terminalized_at"
    ):
        found.saw += 1
        subject = f"settlement_packs/{pack}"
        outcome, linked_at = links.get(pack, (None, None))
        if status == "EXECUTED":
            if outcome is None:
                found.breaks(f"pack {pack} of {entry} was executed without a link to an outcome", subject, at)
            elif outcomes.get(outcome) != entry:
                found.breaks(
                    f"pack {pack} of {entry} is linked to {outcome}, which is not its outcome", subject, linked_at
                )
            elif linked_at is not None and at is not None and linked_at > at:
                found.breaks(f"pack {pack} of {entry} was linked only after it was executed", subject, linked_at)
        elif status in TERMINAL and (pack not in explained or not code):
            found.breaks(f"pack {pack} of {entry} ended {status} without a reason and a post-mortem", subject, at)
    return found


@assertion(
    "settlement.evidence_recomputes",
    "The settlement log has one row a pack, and its evidence hash is that of the official scores",
)
def evidence_recomputes(evidence: Evidence) -> Finding:
    known = facts(evidence)
    found = Finding("settlement log rows", 0, sum(map(len, known.valid.values())))
    packs = {
        pack: (contest, entry, status)
        for pack, contest, entry, status in evidence.rows(
            "platform.settlement_packs", "pack_id", "contest_id", "entry_id", "status"
        )
    }
    outcomes: dict[str, list[Any]] = {
        outcome: values
        for outcome, *values in evidence.rows(
            "platform.outcomes", "outcome_id", "score", "place", "prize_cents", "scores_hash"
        )
    }

    @cache
    def right(contest: str) -> tuple[str, ...]:
        official = known.official_for(contest)
        of_lines = [version_1.scores_hash(official)] if evidence.version == version_1.VERSION else []
        return (official.scores_hash, *of_lines)

    told: set[str] = set()
    for row, pack, prior, status, outcome, stated, at, by in evidence.rows(
        "platform.outcome_settlement_log",
        "settlement_id", "pack_id", "prior_status", "new_status", "outcome_id", "settlement_evidence_hash",
        "settled_at", "settled_by",
    ):  # fmt: skip
        found.saw += 1
        subject = f"outcome_settlement_log/{row}"
        contest, entry, is_now = packs.get(pack, (None, None, None))
        if pack in told or (prior, status) != ("PENDING", is_now) or not is_daemon(by):
            found.breaks(
                f"the log says that {pack} went from {prior} to {status} by {by} at {instant(at)}; the pack is {is_now}"
                f"{', and was told of before' if pack in told else ''}",
                subject, at,
            )  # fmt: skip
        told.add(pack)
        score, place, prize, scores_hash = outcomes.get(outcome, (None, None, None, None))
        if scores_hash is not None and contest in known.contests and scores_hash not in right(contest):
            found.breaks(
                f"the outcome {outcome} of {entry} in {contest} was made from other scores than the official ones "
                f"(scores_hash {scores_hash[:12]}…)",
                subject, at,
            )  # fmt: skip
        body = {
            "pack_id": pack, "contest_id": contest, "entry_id": entry, "outcome_id": outcome, "score": score,
            "place": place, "prize_cents": prize, "scores_hash": scores_hash,
        }  # fmt: skip
        if sha256(canonical(body)).hexdigest() != stated:
            found.breaks(f"the evidence hash of {pack} is not that of its pack and outcome", subject, at, prize or 0)
    for pack, (_, _, status) in packs.items():
        if status in TERMINAL and pack not in told:
            found.breaks(f"{pack} became {status} without a row in the settlement log", f"settlement_packs/{pack}")
    return found
