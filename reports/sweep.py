"""The page of a sweep: report.html in one self-contained file, with the look of the report of a run.

Invariant: it says what the table says that it is given, and draws nothing of its own making.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from assertions.model import Status
from reports.html import Figure, css, template, with_policy

_WIDTH, _HEIGHT, _EDGE = 640, 160, 8


class Curve(NamedTuple):
    """A step line in a box of `width` by `height`, and what it ends at."""

    path: str
    width: int
    height: int
    seeds: int
    found: int


def render(told: Mapping[str, Any]) -> bytes:
    """The whole file, from the result of a sweep (sweep.json)."""
    page = template("sweep.html.j2").render(
        css=css(),
        told=told,
        sheet=told["sheet"],
        status=Status(told["verdict"]),
        headline=headline(told),
        figures=_figures(told),
        curve=_curve(told["behaviours"]["curve"]),
    )
    return with_policy(page).encode(errors="replace")


def headline(told: Mapping[str, Any]) -> str:
    """What it came to, in a sentence."""
    if told["why"]:
        return f"{'. '.join(why[:1].upper() + why[1:] for why in told['why'][:2])}."
    return f"{told['done']:,} seeds, and nothing broke in any of them."


def _figures(told: Mapping[str, Any]) -> list[Figure]:
    counts, rate, twice = told["counts"], told["rate"], told["twice"]
    return [
        Figure("Passed", f"{counts['PASS']:,}", f"of {told['done']:,} seeds"),
        Figure("Failed", f"{counts['FAIL']:,}", f"in {len(told['failures']):,} groups", bad=counts["FAIL"] > 0),
        Figure("Inconclusive", f"{counts['INCONCLUSIVE'] + counts['LOST']:,}"),
        Figure("Ran twice", f"{twice['compared']:,}", f"{len(twice['differ']):,} differ", bad=bool(twice["differ"])),
        Figure(
            "Behaviours", f"{told['behaviours']['found']:,}", f"the last new one at {told['behaviours']['last_new']:,}"
        ),
        Figure("Rate", f"{rate['per_second']:.2f}/s", f"{rate['per_core_second']:.2f} per second of a core"),
    ]


def _curve(points: Sequence[Sequence[int]]) -> Curve | None:
    if len(points) < 2:
        return None
    seeds, found = points[-1]
    steps = [
        (_EDGE + (_WIDTH - 2 * _EDGE) * count // seeds, _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * news // found)
        for count, news in points
    ]
    return Curve("M" + " L".join(f"{x} {y}" for x, y in steps), _WIDTH, _HEIGHT, seeds, found)
