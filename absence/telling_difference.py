"""A divergence in words: what an engineer reads first stands first, and no line is longer than it has to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from evidence.layout import PLAN
from reports.console import Say
from reports.words import instant, plural

if TYPE_CHECKING:
    from campaigns.book_changes import BookChange
    from campaigns.divergence import Divergence, Turn
    from campaigns.journals import Split
    from campaigns.lockstep import Stepped
    from campaigns.plan_changes import Change
    from evidence.run import Evidence

SHOWN_MAX = 12
"""So many changes of a kind are shown; how many more there are is said."""
CAUSES_MAX = 6
COLUMNS_MAX, CELL_MAX, VALUE_MAX = 3, 28, 72
_ONE_LOCALE = "  Both processes had the locale C: none that writes 1,5 for 1.5 is installed here."
Events = Sequence[dict[str, Any]]
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def text(found: Divergence, sides: tuple[Evidence, Evidence], names: tuple[str, str], markup: bool) -> list[str]:
    """The lines, rich markup if `markup`. `names`: what the two runs are called."""
    ours = _values(sides[0])
    plans = (ours, _values(sides[1]) if found.plan else ours)
    return list(_Telling(ours["starts_at"], Say(markup)).lines(found, plans, names))


def out_of_step(stepped: Stepped, markup: bool) -> list[str]:
    """What a lockstep came to: the first event, or the first rows, in which its two processes differ."""
    say = Say(markup)
    telling = _Telling(stepped.plan.starts_at, say)
    agreed = plural(stepped.events, "event")
    if stepped.in_step:
        head = say.style(f"= In step: {agreed} and every book agree.", "bold green")
        return [head, *([] if stepped.locale else [say.style(_ONE_LOCALE, "dim")])]
    if stepped.split is None:
        head = f"≠ {agreed} agree, and books do not: something differs that no event speaks of."
        return [say.style(head, "bold red"), *telling.books(stepped.books)]
    head = f"≠ Out of step at event e{stepped.split.number}, after {agreed} that agree."
    return [
        say.style(head, "bold red"),
        *telling.plans(stepped.changes),
        *telling.split(stepped.split, stepped.led_there),
    ]


class _Telling:
    def __init__(self, starts_at: int, say: Say) -> None:
        self._starts_at, self._say = starts_at, say

    def lines(self, found: Divergence, plans: Sequence[dict[str, Any]], names: tuple[str, str]) -> Iterator[str]:
        say = self._say
        yield say.style("= They are the same.", "bold green") if found.is_none else self._headline(found)
        for letter, name, plan in zip("AB", names, plans, strict=True):
            yield f"  {letter}  {say.data(name)}  {say.style(say.data(_what(plan)), 'dim')}"
        if not found.same_code:
            yield say.style("  They were made by different code.", "dim")
        yield from self.plans(found.plan)
        if found.split is not None:
            yield from self.split(found.split, found.led_there)
        if found.turns:
            yield from self._title("Promises")
            yield from (line for turn in found.turns for line in self._turn(turn))
        yield from self.books(found.books)

    def _headline(self, found: Divergence) -> str:
        if found.split is None:
            what = "Every event is the same; " + (
                "books differ." if found.books else "plans differ." if found.plan else "promises were judged otherwise."
            )
            return self._say.style(f"≠ {what}", "bold yellow")
        event = found.split.ours or found.split.theirs or {}
        where = f"event e{found.split.number}, {self._when(event.get('at'))}"
        return self._say.style(f"≠ They part at {where}.", "bold yellow")

    def _title(self, title: str) -> Iterator[str]:
        yield ""
        yield self._say.style(title, "bold")

    def _shortened(self, lines: Sequence[str]) -> Iterator[str]:
        yield from lines[:SHOWN_MAX]
        if len(lines) > SHOWN_MAX:
            yield f"  … and {len(lines) - SHOWN_MAX:,} more: --json has them all"

    def _when(self, at: Any) -> str:
        return instant(at if isinstance(at, int) else None, self._starts_at)

    # --- plans -----------------------------------------------------------------------------------------------------

    def plans(self, changes: Sequence[Change]) -> Iterator[str]:
        if changes:
            yield from self._title("Plans")
            yield from self._shortened([self._change(change) for change in changes])

    def _change(self, change: Change) -> str:
        sign, colour = _SIGNS[change.how]
        if change.how == "changed":
            said = f"{_value(change.was)} → {_value(change.now)}"
        else:
            said = _brief(change.now if change.was is None else change.was)
        return f"  {self._say.style(sign, colour)} {self._say.data(change.place)}  {self._say.data(said)}"

    # --- the event ---------------------------------------------------------------------------------------------------

    def split(self, split: Split, led_there: tuple[Events, Events]) -> Iterator[str]:
        yield from self._title(f"First event that differs: e{split.number}")
        for letter, event in zip("AB", (split.ours, split.theirs), strict=True):
            yield f"  {letter}  {self._event(event)}"
            if event is not None and event.get("data") and not split.is_one_event:
                yield f"     {self._say.style(self._say.data(_value(event['data'], 160)), 'dim')}"
        if split.is_one_event and split.ours is not None and split.theirs is not None:
            yield from self._fields(split, split.ours, split.theirs)
        ours, theirs = led_there
        if not theirs or not ours or ours[0].get("id") == theirs[0].get("id"):
            yield from self._causes("what led there, in both alike", ours or theirs)
        else:
            yield from self._causes("what led there in A", ours)
            yield from self._causes("what led there in B", theirs)

    def _fields(self, split: Split, ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
        from campaigns.journals import flat

        was, now = flat(ours), flat(theirs)
        width = max(map(len, split.fields), default=0)
        for name in split.fields:
            sides = (f"{_value(side[name])}" if name in side else "–" for side in (was, now))
            named = self._say.style(self._say.data(name), "dim") + " " * (width - len(name))
            yield f"     {named}  {self._say.data(' → '.join(sides))}"

    def _event(self, event: dict[str, Any] | None) -> str:
        if event is None:
            return self._say.style("has ended", "dim")
        if "unreadable" in event:
            return self._say.data(f"is no event: {event['unreadable']}")
        told = f"{self._when(event.get('at'))}  {event.get('actor')}  {event.get('kind')}  {event.get('subject')}"
        return self._say.data(told)

    def _causes(self, title: str, events: Events) -> Iterator[str]:
        if not events:
            return
        yield self._say.style(f"     {title}:", "dim")
        shown = list(events) if len(events) <= CAUSES_MAX else [*events[: CAUSES_MAX - 1], events[-1]]
        width = max(len(str(event.get("id"))) for event in shown)
        for event in shown:
            if event is events[-1] and len(shown) < len(events):
                yield self._say.style(f"       … {plural(len(events) - len(shown), 'cause')} between", "dim")
            number = str(event.get("id"))
            yield f"       {self._say.data(number)}{' ' * (width - len(number))}  {self._event(event)}"

    # --- promises and books ------------------------------------------------------------------------------------------

    def _turn(self, turn: Turn) -> Iterator[str]:
        say = self._say
        if turn.is_newly_broken:
            mark, style = "✕ newly broken", "red"
        elif turn.is_mended:
            mark, style = "✓ mended", "green"
        else:
            mark, style = "· otherwise", "dim"
        yield f"  {say.style(f'{mark:<14}', style)}  {turn.assertion}  {say.style(f'{turn.was} → {turn.now}', 'dim')}"
        if turn.message:
            yield f"                  {say.data(turn.message, 240)}"

    def books(self, changes: Sequence[BookChange]) -> Iterator[str]:
        if changes:
            yield from self._title("In whose books it shows first")
            width = max(len(change.book) for change in changes[:SHOWN_MAX])
            yield from self._shortened([self._book(change, width) for change in changes])

    def _book(self, change: BookChange, width: int) -> str:
        key = ", ".join(f"{name} {_value(value)}" for name, value in change.key)
        if change.only_in is not None:
            ours, theirs = change.rows
            what = f"only in {'A' if change.only_in == 'ours' else 'B'} ({ours:,} rows in A, {theirs:,} in B)"
        else:
            shown = change.columns[:COLUMNS_MAX]
            what = "; ".join(f"{name}: {_value(was, CELL_MAX)} → {_value(now, CELL_MAX)}" for name, was, now in shown)
            what += f"; {len(change.columns) - COLUMNS_MAX} more columns" if len(change.columns) > COLUMNS_MAX else ""
        when = "" if change.at is None else f"{self._when(change.at)}  "
        return f"  {change.book:<{width}}  {self._say.data(f'{when}{key}  {what}')}"


def _values(side: Evidence) -> dict[str, Any]:
    """What plan.json says: with tens of thousands of entries, to have it checked as well takes a third of a second."""
    import orjson

    values: dict[str, Any] = orjson.loads((side.path / PLAN).read_bytes())
    return values


def _what(plan: dict[str, Any]) -> str:
    return f"{plan['scenario']}, seed {plan['seed']}, {plural(len(plan['faults']), 'fault')}"


def _value(value: Any, longest: int = VALUE_MAX) -> str:
    """As JSON says it, on one line."""
    import json

    said = json.dumps(value, ensure_ascii=False, default=str)
    return said if len(said) <= longest else f"{said[: longest - 1]}…"


def _brief(value: Any) -> str:
    """What was added or removed: of a fault, where it acts."""
    if not isinstance(value, dict) or "seam" not in value:
        return _value(value)
    bound = f" on {value['entity']}" if value.get("entity") else ""
    nth = f", occurrence {value['occurrence']}" if value.get("occurrence") else ""
    return f"{value['seam']}/{value['operation']}{bound}{nth}"
