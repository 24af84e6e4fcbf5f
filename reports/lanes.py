"""The picture of the run: one lane a contest on a day axis, with play, faults, bites and the end of the absence window.

Invariant: x is time in per cent of the run, y is pixels, so the picture reflows without scaling. Nothing is told by
colour alone: bars carry their status as text, faults their number, marks their shape.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

from reports import words
from reports.history import Life
from reports.story import FaultStory, Story

if TYPE_CHECKING:
    from collections.abc import Sequence

LANES_MAX = 40
TICKS_MAX = 24
LONG_LABELS_MAX = 14
"""With more faults than this the picture names them by number only; the table of faults has their titles."""

WIDTH_PX = 900
"""The narrowest the plot is ever drawn: what fits here fits everywhere."""
AXIS_PX, STRIP_PX, TOURNAMENT_PX, LANE_PX = 68, 20, 30, 44
CHAR_PX = 6.2
"""About how wide a character of a label is; names of statuses are set smaller."""
STATUS_CHAR_PX = 5.6
ABSENCE_Y, BROKEN_Y = AXIS_PX - 21, AXIS_PX - 7
"""A line each: the first promise may break on any day, that of the end of the absence too."""


class Label(NamedTuple):
    """A row of the column beside the plot."""

    text: str
    sub: str
    height_px: int
    troubled: bool = False


class Picture(NamedTuple):
    svg: str
    labels: list[Label]
    height_px: int
    left_out: list[Life]
    statuses: list[str]
    """The statuses that occur in it, for the legend, in the order of the lifecycle."""


LIFECYCLE = ("SCHEDULED", "LOCKED", "LIVE", "COMPLETE", "SETTLED", "PAID_OUT", "CANCELLED", "ERROR")


class _Scale:
    """From instants to per cent of the plot's width."""

    def __init__(self, from_at: int, until_at: int) -> None:
        self.from_at, self.until_at = from_at, max(until_at, from_at + 1)

    def x(self, at: int) -> float:
        clipped = min(max(at, self.from_at), self.until_at)
        return (clipped - self.from_at) * 100 / (self.until_at - self.from_at)

    def inside(self, from_at: int, until_at: int) -> bool:
        return from_at <= self.until_at and until_at >= self.from_at


def choose(contests: Sequence[Life], troubled: frozenset[str]) -> tuple[list[Life], list[Life]]:
    """The lanes to draw and those left out. With too many, the troubled and the unfinished come first."""
    if len(contests) <= LANES_MAX:
        return list(contests), []
    finished = ("PAID_OUT", "CANCELLED")
    worth = sorted(
        range(len(contests)),
        key=lambda n: (contests[n].contest_id not in troubled, contests[n].status in finished, n),
    )
    drawn = set(worth[:LANES_MAX])
    return [contests[n] for n in sorted(drawn)], [contests[n] for n in sorted(worth[LANES_MAX:])]


def draw(story: Story, contests: Sequence[Life], troubled: frozenset[str]) -> Picture:
    """The whole picture. `troubled` are the contests that a broken promise names."""
    plan = story.plan
    scale = _Scale(plan.starts_at, plan.recovery_until_at)
    shown, left_out = choose(contests, troubled)
    labels, strip, top = [Label("", "", AXIS_PX)], list[str](), AXIS_PX
    for name, sub, marks in (
        ("Faults", "window, bites", _fault_marks(story.faults)),
        ("Ops", "runbooks", _ops_marks(story)),
    ):
        parts, rows = _strip(marks, scale, top)
        if rows:
            labels.append(Label(name, sub if rows > 1 else "", rows * STRIP_PX + 6))
            strip += parts
            top += rows * STRIP_PX + 6
    body: list[str] = []
    names: list[str] = []
    for tournament in plan.tournaments:
        for from_at, until_at in tournament.play:
            if scale.inside(from_at, until_at):
                title = f"Play in {tournament.name}, {story.when(from_at)} to {story.when(until_at)}"
                body.append(_bar("play", scale, from_at, until_at, top + 8, 14, title))
        labels.append(Label(tournament.name, "", TOURNAMENT_PX))
        top += TOURNAMENT_PX
    lanes_top = top
    bites = _bites_by_contest(story.faults, {life.contest_id for life in shown})
    for life in shown:
        body += _lane(life, story, scale, top, bites.get(life.contest_id, []))
        names += _names(life, scale, top)
        labels.append(Label(life.name, spoken(life.status), LANE_PX, life.contest_id in troubled))
        top += LANE_PX
    height = top + 8
    parts = [
        *_axis(story, scale, height),
        *_windows(story, scale, lanes_top, height),
        *strip,
        *body,
        *_marks(story, scale, height),
        *names,
    ]
    seen = {segment.status for life in shown for segment in life.segments}
    statuses = [status for status in LIFECYCLE if status in seen] + sorted(seen.difference(LIFECYCLE))
    return Picture("".join(parts), labels, height, left_out, statuses)


def _bar(kind: str, scale: _Scale, from_at: int, until_at: int, y: int, height: int, title: str) -> str:
    x = scale.x(from_at)
    width = max(scale.x(until_at) - x, 0.12)
    return (
        f'<rect class="{kind}" x="{x:.3f}%" y="{y}" width="{width:.3f}%" height="{height}" rx="2">'
        f"<title>{escape(words.printable(title))}</title></rect>"
    )


def _text(kind: str, x: float, y: int, text: str, dx: int = 0, anchor: str = "start") -> str:
    where = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text class="{kind}" x="{x:.3f}%" y="{y}" dx="{dx}"{where}>{escape(words.printable(text))}</text>'


def _axis(story: Story, scale: _Scale, height: int) -> list[str]:
    parts = []
    at = story.plan.starts_at
    while at < scale.until_at:
        x = scale.x(at)
        weekend = " weekend" if words.weekday(at) in ("Sat", "Sun") else ""
        parts.append(f'<line class="day{weekend}" x1="{x:.3f}%" x2="{x:.3f}%" y1="0" y2="{height}"/>')
        number = words.day(at, story.plan.starts_at)
        step = (scale.until_at - scale.from_at) // words.DAY_MS // 20 + 1
        if (number - 1) % step == 0:
            parts.append(_text("daynum", x, 14, str(number), 4))
            parts.append(_text("date", x, 27, f"{words.weekday(at)} {words.day_month(at)[:2]}", 4))
        at += words.DAY_MS
    return parts


def _windows(story: Story, scale: _Scale, top: int, height: int) -> list[str]:
    """The recovery phase and the windows of outages, shaded behind the lanes."""
    plan = story.plan
    parts = [_bar("recovery", scale, plan.absence_until_at, plan.recovery_until_at, 0, height,
                  f"Recovery phase, from {story.when(plan.absence_until_at)}")]  # fmt: skip
    for fault in story.faults:
        if fault.window is not None and scale.inside(*fault.window):
            title = f"{fault.label} {fault.plan.title}"
            parts.append(_bar("outage", scale, *fault.window, AXIS_PX, height - AXIS_PX, title))
    return parts


class _Mark(NamedTuple):
    """Something with a label in a strip: a window, if it has a length to show, and ticks with a title each."""

    from_at: int
    until_at: int
    kind: str
    text: str
    window: bool
    ticks: list[tuple[int, str]]


def _fault_marks(faults: Sequence[FaultStory]) -> list[_Mark]:
    marks = []
    for fault in faults:
        if fault.span is None:
            continue
        title = _shortened(fault.plan.title)
        text = fault.label if len(faults) > LONG_LABELS_MAX else f"{fault.label} {title}"
        text += "" if fault.bites else ", never bit"
        ticks = [(bite.at, f"{text}: {bite.effect} {bite.entity}") for bite in fault.bites[:TICKS_MAX]]
        marks.append(
            _Mark(fault.span.from_at, fault.span.until_at, fault.plan.kind, text, fault.window is not None, ticks)
        )
    return marks


def _ops_marks(story: Story) -> list[_Mark]:
    """What was opened for a page or a drill, or did not go as written; the daily routine would hide it."""
    eventful = story.attended.eventful
    marks = []
    for one in eventful:
        until_at = story.end_at if one.until_at is None else one.until_at
        text = "" if len(eventful) > LONG_LABELS_MAX else _shortened(one.runbook)
        kind, sign = ("ops", "") if one.went_as_written else ("ops failed", "✕ ")
        title = f"{one.runbook} ({one.why()}) by {one.principal}, {one.status}"
        marks.append(_Mark(one.from_at, until_at, kind, sign + text, True, [(one.from_at, title)]))
    return marks


def _shortened(title: str) -> str:
    return title if len(title) <= 26 else title[:25] + "…"


def _strip(marks: Sequence[_Mark], scale: _Scale, top: int) -> tuple[list[str], int]:
    """All marks, packed into as few rows as they fit in with their labels; returns the parts and the number of rows."""
    parts: list[str] = []
    free_from: list[float] = []
    for mark in sorted(marks, key=lambda mark: mark.from_at):
        if not scale.inside(mark.from_at, mark.until_at):
            continue
        width = len(mark.text) * CHAR_PX * 100 / WIDTH_PX + (1.8 if mark.text else 0)
        x, until_x = scale.x(mark.from_at), scale.x(mark.until_at)
        beside = x if until_x - x > width else until_x  # a label stands in its window, or after it
        leftward = beside + width > 100
        start, end = (x - width, until_x + 0.5) if leftward else (x, max(beside + width, until_x + 0.5))
        row = next((n for n, free in enumerate(free_from) if free <= start), len(free_from))
        free_from[row:] = [end, *free_from[row + 1 :]]
        y = top + row * STRIP_PX
        if mark.window:
            parts.append(_bar(f"{mark.kind} window", scale, mark.from_at, mark.until_at, y + 2, 16, mark.text))
        for at, title in mark.ticks:
            parts.append(_tick(mark.kind, scale.x(at), y + 3, 14, title))
        if not mark.text:
            continue
        if leftward:
            parts.append(_text(f"flabel {mark.kind}", x, y + 14, mark.text, -5, "end"))
        else:
            parts.append(_text(f"flabel {mark.kind}", beside, y + 14, mark.text, 5))
    return parts, len(free_from)


def _tick(kind: str, x: float, y: int, height: int, title: str) -> str:
    return (
        f'<line class="tick {kind}" x1="{x:.3f}%" x2="{x:.3f}%" y1="{y}" y2="{y + height}">'
        f"<title>{escape(words.printable(title))}</title></line>"
    )


def _bites_by_contest(faults: Sequence[FaultStory], contests: set[str]) -> dict[str, list[tuple[int, FaultStory]]]:
    found: dict[str, list[tuple[int, FaultStory]]] = {}
    for fault in faults:
        for bite in fault.bites[:TICKS_MAX]:
            contest_id = (bite.entity or "").partition("/")[0]
            if contest_id in contests:
                found.setdefault(contest_id, []).append((bite.at, fault))
    return found


def _lane(life: Life, story: Story, scale: _Scale, top: int, bites: list[tuple[int, FaultStory]]) -> list[str]:
    parts = [f'<line class="rule" x1="0" x2="100%" y1="{top}" y2="{top}"/>']
    for segment in life.segments:
        if scale.inside(segment.from_at, segment.until_at):
            kind = segment.status if segment.status in LIFECYCLE else "unknown"
            title = f"{life.name}: {segment.status}, {story.when(segment.from_at)} to {story.when(segment.until_at)}"
            parts.append(_bar(f"s {kind}", scale, segment.from_at, segment.until_at, top + 11, 18, title))
    for at, fault in bites:
        parts.append(_tick(fault.plan.kind, scale.x(at), top + 31, 8, f"{fault.label} {fault.plan.title} bites here"))
    return parts


def _names(life: Life, scale: _Scale, top: int) -> list[str]:
    """The names of the states that are long enough to carry them, to be drawn above everything else."""
    if not life.segments:
        return [_text("empty", 0, top + 24, "the audit log tells nothing of this contest", 6)]
    parts = []
    for segment in life.segments:
        width_px = (scale.x(segment.until_at) - scale.x(segment.from_at)) * WIDTH_PX / 100
        name = spoken(segment.status)
        if width_px >= len(name) * STATUS_CHAR_PX + 4:
            parts.append(_text(f"st {segment.status}", scale.x(segment.from_at), top + 24, name, 4))
    return parts


def spoken(status: str) -> str:
    """`Paid out` for PAID_OUT."""
    return status.replace("_", " ").capitalize()


def _marks(story: Story, scale: _Scale, height: int) -> list[str]:
    """The end of the absence window, and the first broken promise."""
    x = scale.x(story.plan.absence_until_at)
    parts = [
        f'<line class="absence" x1="{x:.3f}%" x2="{x:.3f}%" y1="0" y2="{height}"/>',
        _text("absence", x, ABSENCE_Y, "absence ends", -5, "end"),
    ]
    first = story.first
    if first is not None and first.at is not None:
        x = scale.x(first.at)
        end = "end" if x > 80 else "start"
        parts.append(f'<line class="broken" x1="{x:.3f}%" x2="{x:.3f}%" y1="{AXIS_PX - 16}" y2="{height}"/>')
        parts.append(_text("broken", x, BROKEN_Y, "✕ first broken promise", -5 if end == "end" else 5, end))
    return parts
