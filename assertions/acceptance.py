"""Family settlement: the daily acceptance tests AT-1 to AT-4 were made on every day with work, and say what was so.

Invariant: which noons there have to be comes from the processor and the plan; every count is made anew from the rows of
packs, links and log, and the platform's own totals are held against it and against the rows that they are totals of.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from assertions.facts import Facts, facts
from assertions.model import Finding, assertion
from assertions.once import once
from assertions.words import HOUR_MS, instant
from evidence.canonical import canonical

if TYPE_CHECKING:
    from evidence.run import Evidence

DAY_MS, NOON_MS = 24 * HOUR_MS, 12 * HOUR_MS
WEEK_MS = 7 * DAY_MS
GRACE_MS = HOUR_MS
"""So long after its cut-off an unsettled contest is work that was not done."""
JUDGED_WITHIN_MS = 2 * HOUR_MS
TESTS = ("link_growth", "executed", "log_growth", "lvi")
NAMES = dict(zip(TESTS, ("AT-1", "AT-2", "AT-3", "AT-4"), strict=True))


@dataclass(slots=True)
class _Contest:
    """When each pack of a contest was linked, ended, executed, executed through a link to its own outcome, and logged;
    sorted."""

    due: int
    ready_at: int
    settled_at: int | None
    linked: list[int] = field(default_factory=list)
    linked_or_ended: list[int] = field(default_factory=list)
    """The instants from which a pack has no link to grow."""
    ended: list[int] = field(default_factory=list)
    executed: list[int] = field(default_factory=list)
    executed_linked: list[int] = field(default_factory=list)
    logged: list[int] = field(default_factory=list)
    unexecuted: list[tuple[int, str]] = field(default_factory=list)

    def is_of(self, day_at: int) -> bool:
        if self.settled_at is not None and self.settled_at < day_at:
            return self.settled_at >= day_at - WEEK_MS
        return self.ready_at + GRACE_MS <= day_at

    def counts(self, day_at: int) -> dict[str, int]:
        since = day_at - DAY_MS
        ended_before = _by(self.ended, since)
        return {
            "due": self.due, "ended": _by(self.ended, day_at),
            "to_link": self.due - _by(self.linked_or_ended, since),
            "linked": _by(self.linked, day_at) - _by(self.linked, since),
            "to_execute": self.due - ended_before,
            "executed": _by(self.executed, day_at) - _by(self.executed, since),
            "to_log": self.due - ended_before, "logged": _by(self.logged, day_at) - _by(self.logged, since),
            "executed_linked": _by(self.executed_linked, day_at),
        }  # fmt: skip


def _by(instants: list[int], at: int) -> int:
    """How many were before `at`."""
    return bisect_left(instants, at)


class _Books:
    def __init__(self, evidence: Evidence) -> None:
        known = facts(evidence)
        self.contests: dict[str, _Contest] = {}
        for contest_id, entries in known.valid.items():
            row = known.contest_rows.get(contest_id)
            settled_at = None if row is None else row.settled_at
            self.contests[contest_id] = _Contest(len(entries), known.cutoff_at(contest_id), settled_at)
        links: dict[str, tuple[str, int]] = {
            pack: (outcome, at)
            for pack, outcome, at in evidence.rows("platform.outcome_pack_links", "pack_id", "outcome_id", "linked_at")
        }
        outcomes: dict[str, str] = dict(evidence.rows("platform.outcomes", "outcome_id", "entry_id"))
        of: dict[str, _Contest] = {}
        for pack, contest_id, entry, status, ended_at in evidence.rows(
            "platform.settlement_packs", "pack_id", "contest_id", "entry_id", "status", "terminalized_at"
        ):
            contest = self.contests.get(contest_id)
            if contest is None:
                continue
            of[pack] = contest
            outcome, linked_at = links.get(pack, (None, None))
            if linked_at is not None:
                contest.linked.append(linked_at)
            begun = [at for at in (linked_at, ended_at) if at is not None]
            contest.linked_or_ended.extend([min(begun)] if begun else [])
            if ended_at is None:
                continue
            contest.ended.append(ended_at)
            if status == "EXECUTED":
                contest.executed.append(ended_at)
                if outcome is not None and outcomes.get(outcome) == entry:
                    contest.executed_linked.append(ended_at)
            else:
                contest.unexecuted.append((ended_at, pack))
        self.log = sorted(
            evidence.rows(
                "platform.outcome_settlement_log",
                "settlement_id", "pack_id", "prior_status", "new_status", "outcome_id", "settlement_reason_code",
                "settlement_evidence_hash", "settled_at", "settled_by",
            ),
            key=lambda row: (row[7], row[0]),
        )  # fmt: skip
        for logged in self.log:
            if logged[1] in of:
                of[logged[1]].logged.append(logged[7])
        for contest in self.contests.values():
            for instants in (
                contest.linked, contest.linked_or_ended, contest.ended, contest.executed, contest.executed_linked,
                contest.logged,
            ):  # fmt: skip
                instants.sort()

    def noons(self, until: int) -> list[int]:
        """Every noon by `until` of which there is something to judge."""
        if not self.contests:
            return []
        first = min(contest.ready_at for contest in self.contests.values())
        at = -(-(first - NOON_MS) // DAY_MS) * DAY_MS + NOON_MS
        found = []
        while at <= until:
            if any(contest.is_of(at) for contest in self.contests.values()):
                found.append(at)
            at += DAY_MS
        return found

    def log_until(self, instants: list[int]) -> Iterator[tuple[int, str]]:
        """(rows, hash) of the settlement log at each of these instants, which rise."""
        state, seen = sha256(), 0
        for until in instants:
            while seen < len(self.log) and self.log[seen][7] < until:
                state.update(canonical(list(self.log[seen])) + b"\n")
                seen += 1
            yield seen, state.hexdigest()


def _grown(work: int, grown: int) -> str:
    return "NOT_APPLICABLE" if not work else "PASS" if grown else "FAIL"


@assertion(
    "settlement.acceptance_recomputes",
    "Every day with work has its acceptance tests AT-1 to AT-4, and they say what packs, links and log say",
)
def acceptance_recomputes(evidence: Evidence) -> Finding:
    known, books = facts(evidence), once(evidence, _Books)
    due = _due(known, books)
    found = Finding("days", 0, len(due))
    rows = sorted(
        evidence.rows(
            "platform.settlement_acceptance",
            "day_at", "at", *TESTS, "lvi_executed", "lvi_due", "log_rows", "log_hash", "evidence",
        )
    )  # fmt: skip
    told = {row[0] for row in rows}
    for day_at in due:
        if day_at not in told:
            found.breaks(
                f"nobody judged the settlements of the day to {instant(day_at)}", "settlement_acceptance", day_at
            )
    logs = books.log_until([row[0] for row in rows])
    for (day_at, at, *results, executed, of, log_rows, log_hash, text), log in zip(rows, logs, strict=True):
        found.saw += day_at in due
        subject, stated = f"settlement_acceptance/{day_at}", json.loads(text)
        contests = {name: contest.counts(day_at) for name, contest in books.contests.items() if contest.is_of(day_at)}
        total = {name: sum(one[name] for one in contests.values()) for name in stated["totals"]}
        if at < day_at:
            found.breaks(f"the day to {instant(day_at)} was judged before it was over", subject, at)
        if {row.pop("contest_id"): row for row in [dict(one) for one in stated["contests"]]} != contests:
            found.breaks(
                f"the counts of the day to {instant(day_at)} are not those of its packs, links and log", subject, at
            )
        if stated["totals"] != total or (executed, of) != (total["executed_linked"], total["due"]):
            found.breaks(f"the totals of the day to {instant(day_at)} are not the sums of its contests", subject, at)
        if (log_rows, log_hash) != log:
            found.breaks(
                f"the settlement log of {instant(day_at)} was {log_rows} rows, and is {log[0]}, or others", subject, at
            )
        expected = [
            _grown(total["to_link"], total["linked"]), _grown(total["to_execute"], total["executed"]),
            _grown(total["to_log"], total["logged"]), _grown(total["due"], total["executed_linked"]),
        ]  # fmt: skip
        blocked = _is_blocked(evidence, known, books, day_at, contests, stated["blocked"])
        if expected[3] == "FAIL" and blocked:
            expected[3] = "BLOCKED"
        if results != expected:
            found.breaks(
                f"the tests of the day to {instant(day_at)} are {', '.join(results)}, and should be "
                f"{', '.join(expected)}",
                subject, at,
            )  # fmt: skip
    return found


def _is_blocked(
    evidence: Evidence, known: Facts, books: _Books, day_at: int, contests: dict[str, dict[str, int]],
    stated: dict[str, Any],
) -> bool:  # fmt: skip
    """Whether all work of the week was blocked, and what is said of why is so by other books too."""
    working = [name for name, counts in contests.items() if counts["due"]]
    if not working or any(contests[name]["executed_linked"] for name in working) or set(stated) != set(working):
        return False
    for name in working:
        told, contest = stated[name], books.contests[name]
        if told["reason"] == "packs_unexecuted":
            explained = {pack for (pack,) in evidence.rows("platform.post_mortem_settlement", "pack_id")}
            packs = sorted(pack for at, pack in contest.unexecuted if at < day_at)
            is_so = len(packs) == contest.due and told["packs"] == packs and explained.issuperset(packs)
        elif told["reason"] == "scores_not_official":
            event_id = known.tournaments[known.contests[name].tournament_id].event_id
            is_so = not any(
                event == event_id
                and contest.ready_at <= at <= day_at
                and since is None
                and status == 200
                and not glitch
                for at, event, since, status, glitch in evidence.rows(
                    "provider.requests", "at", "event_id", "since_revision", "status", "glitch"
                )
            )
        else:
            runs = evidence.rows("platform.settlement_audit", "contest_id", "status", "finished_at", "error_json")
            is_so = told["reason"] == "contest_in_error" and any(
                contest_id == name and status == "FAILED" and (at or 0) <= day_at + DAY_MS
                and json.loads(error)["code"] == told["error_code"]
                for contest_id, status, at, error in runs
            )  # fmt: skip
        if not is_so:
            return False
    return True


@assertion(
    "settlement.acceptance_passes",
    "No acceptance test failed on a day when nothing kept the platform from its work, and none has failed for good",
)
def acceptance_passes(evidence: Evidence) -> Finding:
    known, books = facts(evidence), once(evidence, _Books)
    found = Finding("tests", 0, 4 if _due(known, books) else 0)
    last: dict[str, tuple[str, int]] = {}
    for day_at, *results in sorted(evidence.rows("platform.settlement_acceptance", "day_at", *TESTS)):
        working = [
            name
            for name, contest in books.contests.items()
            if contest.is_of(day_at) and contest.counts(day_at)["to_execute"]
        ]
        excused = all(_is_excused(known, books.contests[name], day_at) for name in working)
        for test, result in zip(TESTS, results, strict=True):
            if result == "NOT_APPLICABLE":
                continue
            found.saw += 1
            last[test] = (result, day_at)
            if result == "FAIL" and not (working and excused):
                found.breaks(
                    f"{NAMES[test]} failed for the day to {instant(day_at)}, and no fault kept the platform from it",
                    f"settlement_acceptance/{day_at}", day_at,
                )  # fmt: skip
    for test, (result, day_at) in last.items():
        if result == "FAIL":
            found.breaks(
                f"{NAMES[test]} failed for the day to {instant(day_at)}, and has not passed since",
                f"settlement_acceptance/{day_at}", day_at,
            )  # fmt: skip
    return found


def _due(known: Facts, books: _Books) -> list[int]:
    """The noons that must have been judged by the end of the run."""
    ended_at = known.ended_at
    return [at for at in books.noons(ended_at) if known.deadline(at, JUDGED_WITHIN_MS)[0] <= ended_at]


def _is_excused(known: Facts, contest: _Contest, day_at: int) -> bool:
    """Whether a fault was in the way of a settlement, and it has ended since or may take until after `day_at`."""
    until_at, faults = known.deadline(contest.ready_at, GRACE_MS)
    is_over = contest.settled_at is not None and contest.settled_at < day_at
    return bool(faults) and (is_over or until_at > day_at)
