"""A decision against a baseline in words: lines for a terminal, and decision.md.

Invariant: the outcome comes first, then what stands in the way, then the figures; everything is in decision.json.
"""

from __future__ import annotations

from closure.decision import Decision, Figure
from closure.tables import columns, markdown_rows

SECTIONS = {
    "runtime": "Runtime, in seconds",
    "admission": "Admission",
    "unchanged": "What has to be the same",
    "must_not_grow": "Warnings",
    "verdict": "Verdicts",
    "relaxed": "Relaxed",
}
SHOWN_IN_FULL = ("runtime", "admission", "relaxed")
SHOWN_FROM_S = 0.05
"""Lanes that took less in both runs are not shown on the terminal."""


def lines(decision: Decision) -> list[str]:
    """For a terminal: of figures that hold, those that somebody wants to see."""
    told = [headline(decision)]
    if decision.blockers:
        told += ["", f"Blockers ({len(decision.blockers)}):"]
        for one in decision.blockers:
            told.append(f"  {one.id}{' (carried over, not looked at)' if one.id in decision.carried else ''}")
            told += [f"      {one.missing}", f"      look at {one.where}"]
    told += figure_lines(decision)
    told += ["", *(f"candidate  {run.verdict:<12}  {run.path}" for run in decision.runs)]
    if decision.baseline is not None:
        told.append(f"baseline   {decision.baseline.verdict:<12}  {decision.baseline.path}")
    return told


def figure_lines(decision: Decision) -> list[str]:
    """Section by section, those that hold only where somebody wants to see them."""
    told: list[str] = []
    for section, title in SECTIONS.items():
        figures = [figure for figure in decision.figures if figure.id.startswith(f"{section}.")]
        if not figures:
            continue
        broken = [figure for figure in figures if not figure.holds]
        told += ["", f"{title}: {len(figures)} figures, {len(broken)} do not hold"]
        shown = [one for one in figures if _is_worth(one)] if section in SHOWN_IN_FULL else broken
        told += (
            columns([("", "baseline", "candidate", ""), *(_row(figure, section) for figure in shown)]) if shown else []
        )
    return told


def markdown(decision: Decision) -> str:
    """decision.md: every figure."""
    told = [f"# {headline(decision)}", "", f"Rails `{decision.policy}`, SHA-256 `{decision.policy_sha256}`."]
    if decision.reopens:
        told += ["", f"A bounded rerun of the decision with SHA-256 `{decision.reopens}`."]
    runs = [("candidate", run) for run in decision.runs]
    runs += [("baseline", decision.baseline)] if decision.baseline else []
    told += ["", *markdown_rows(("", "run", "scenario", "seed", "verdict", "identity"), [
        (kind, f"`{run.name}`", run.scenario, str(run.seed), run.verdict, f"`{run.identity[:12]}…`")
        for kind, run in runs
    ])]  # fmt: skip
    if decision.blockers:
        told += ["", "## What stands in the way", "", *markdown_rows(("blocker", "missing", "where"), [
            (f"`{one.id}`{', not looked at' if one.id in decision.carried else ''}", one.missing, one.where)
            for one in decision.blockers
        ])]  # fmt: skip
    return "\n".join([*told, *figure_tables(decision)]) + "\n"


def figure_tables(decision: Decision) -> list[str]:
    """Every figure, a table a section."""
    told: list[str] = []
    for section, title in SECTIONS.items():
        figures = [figure for figure in decision.figures if figure.id.startswith(f"{section}.")]
        if figures:
            told += ["", f"## {title}", "", *markdown_rows(("figure", "baseline", "candidate", "rail"), [
                (f"`{name}`", was, now, rail) for name, was, now, rail in (_row(one, section) for one in figures)
            ])]  # fmt: skip
    return told


def headline(decision: Decision) -> str:
    broken = sum(not figure.holds for figure in decision.figures)
    against = decision.baseline.name if decision.baseline else "nothing"
    return (
        f"{decision.outcome.value}: {decision.runs[0].name} against {against}, {len(decision.blockers)} blockers; "
        f"{len(decision.figures)} figures, {broken} do not hold"
    )


def _is_worth(figure: Figure) -> bool:
    if not figure.holds or "/" not in figure.id:
        return True
    return any(isinstance(one, float) and one >= SHOWN_FROM_S for one in (figure.baseline, figure.candidate))


def _row(figure: Figure, section: str) -> tuple[str, str, str, str]:
    rail = figure.rail if figure.holds else f"DOES NOT HOLD: {figure.rail}"
    return figure.id.removeprefix(f"{section}."), _cell(figure.baseline), _cell(figure.candidate), rail


def _cell(value: object) -> str:
    return "none" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
