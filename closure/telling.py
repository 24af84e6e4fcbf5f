"""A decision in words: lines for a terminal, and decision.md.

Invariant: the outcome comes first, then what stands in the way; what was proven comes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from closure.decision import Blocker, Decision
from closure.scored import figure_lines, figure_tables
from closure.tables import columns, markdown_rows

CODE_CHARS = 12


def lines(decision: Decision) -> list[str]:
    """For a terminal: read in ten seconds, and the rest below."""
    told = [_headline(decision), "", *columns([("phase", "proven", "deferred", "blocked"), *_phases(decision)])]
    if decision.blockers:
        told += ["", f"Blockers ({len({one.id for one in decision.blockers})}):"]
        for missing, where, ids in _grouped(decision.blockers):
            told += [f"  {', '.join(ids)}", f"      {missing}", f"      look at {where}"]
    if decision.deferrals:
        told += ["", f"Deferred ({len(decision.deferrals)}):"]
        for one in decision.deferrals:
            told += [f"  {one.id}: {one.claim}", f"      until {one.until}, by {one.by}: {one.reason}"]
    if decision.proofs:
        told += ["", f"Proven ({len(decision.proofs)}):"]
        told += [f"  {one.id}: {one.claim} [{one.saw:,} {one.unit}]" for one in decision.proofs]
    told += figure_lines(decision)
    told += ["", f"Runs ({len(decision.runs)}):"]
    told += [f"  {run.verdict:<12}  {run.scenario} seed {run.seed}  {run.path}" for run in decision.runs]
    if decision.baseline is not None:
        told.append(f"held against {decision.baseline.path}")
    return told


def markdown(decision: Decision) -> str:
    """decision.md: the same, as a document to be kept with the iteration."""
    told = [f"# {_headline(decision)}", ""]
    told += markdown_rows(("phase", "proven", "deferred", "blocked"), _phases(decision))
    told += ["", f"Policy `{decision.policy}`, SHA-256 `{decision.policy_sha256}`."]
    if decision.blockers:
        told += ["", "## What stands in the way", ""]
        told += markdown_rows(("criterion", "phase", "missing", "where"), [
            (f"`{one.id}`", one.phase, one.missing, one.where) for one in decision.blockers
        ])  # fmt: skip
    if decision.deferrals:
        told += ["", "## Deferred", ""]
        told += markdown_rows(("criterion", "claim", "until", "by", "reason"), [
            (f"`{one.id}`", one.claim, one.until, one.by, one.reason) for one in decision.deferrals
        ])  # fmt: skip
    if decision.proofs:
        told += ["", "## Proven", ""]
        told += markdown_rows(("criterion", "phase", "claim", "saw", "where"), [
            (f"`{one.id}`", one.phase, one.claim, f"{one.saw:,} {one.unit}", one.where) for one in decision.proofs
        ])  # fmt: skip
    told += figure_tables(decision)
    told += ["", "## Runs", ""]
    told += markdown_rows(("run", "scenario", "seed", "verdict", "identity"), [
        (f"`{run.name}`", run.scenario, str(run.seed), run.verdict, f"`{run.identity[:CODE_CHARS]}…`")
        for run in decision.runs
    ])  # fmt: skip
    return "\n".join(told) + "\n"


def _headline(decision: Decision) -> str:
    blocked = len({one.id for one in decision.blockers})
    return (
        f"{decision.outcome.value}: {decision.policy}, {len(decision.proofs)} criteria proven, "
        f"{len(decision.deferrals)} deferred, {blocked} blocked"
    )


def _phases(decision: Decision) -> list[tuple[str, ...]]:
    kinds = (
        Counter(one.phase for one in decision.proofs),
        Counter(one.phase for one in decision.deferrals),
        Counter(phase for phase, _ in {(one.phase, one.id) for one in decision.blockers}),
    )
    return [(phase, *(str(kind[phase]) for kind in kinds)) for phase in sorted({phase for k in kinds for phase in k})]


def _grouped(blockers: Sequence[Blocker]) -> list[tuple[str, str, list[str]]]:
    """What is missing for several criteria is said once."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in blockers:
        found.setdefault((one.missing, one.where), []).append(one.id)
    return [(missing, where, list(dict.fromkeys(ids))) for (missing, where), ids in found.items()]
