"""`absence replay --until T --show ENTITY`: how one thing stood at an instant, and what had happened to it by then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from absence.output import print_json, print_lines, wants_markup

if TYPE_CHECKING:
    from absence.replaying import Stopped
    from evidence.plan import Plan
    from reports.console import Say

EVENTS_MAX = ROWS_MAX = 15
"""So many events, and so many rows of a table that only name it, are printed; --json has all."""


def tell_shown(run_dir: Path, entity: str, stopped: Stopped, plan: Plan, as_json: bool) -> None:
    """Print what `stopped` shows of `entity`. Raises BadParameter when nothing by then was, or named, such a thing."""
    state = stopped.state
    events, later = _events(run_dir, entity, stopped.events)
    if not (state["rows"] or state["services"] or events):
        raise click.BadParameter(_unknown(entity, later, state["near"], plan), param_hint="--show")
    if as_json:
        print_json({
            "entity": entity, "at": state["at"], "events_compared": stopped.events, "same_code": stopped.same_code,
            "rows": state["rows"], "services": state["services"], "events": events,
        })  # fmt: skip
        return
    from reports.console import Say

    markup = wants_markup()
    print_lines(_lines(entity, state, events, plan.starts_at, Say(markup)), markup)


def _events(run_dir: Path, entity: str, until: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Of the journal, those of the first `until` events that name `entity`, and the first after them that does."""
    from evidence.layout import JOURNAL
    from simulator.showing import word

    # In the journal a quote or a backslash of a text is escaped, and it is UTF-8; ids have none of either.
    named = re.compile(word(entity).encode())
    found: list[dict[str, Any]] = []
    with (run_dir / JOURNAL).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if named.search(line):
                event = orjson.loads(line)
                if number > until:
                    return found, event
                found.append(event)
    return found, None


def _unknown(entity: str, later: dict[str, Any] | None, near: list[str], plan: Plan) -> str:
    from reports.words import instant

    if later is not None:
        when = instant(later["at"], plan.starts_at)
        return f"nothing is called {entity} yet by then: it is first named by event {later['id']}, {when}"
    meant = f": did you mean {' or '.join(near)}?" if near else "; an id of any kind will do, or TABLE/KEY"
    return f"nothing is called {entity}, or names it, by then{meant}"


def _lines(entity: str, state: dict[str, Any], events: list[dict[str, Any]], starts_at: int, say: Say) -> Iterator[str]:
    from evidence.schemas import BOOKS, Column
    from reports.words import dollars, instant

    def cell(table: str, name: str, value: Any) -> str:
        kind = BOOKS[f"platform.{table}"].columns[name]
        if value is None:
            return "–"
        if kind is Column.AT:
            return instant(value, starts_at)
        return dollars(value) if kind is Column.CENTS else str(value)

    yield say.style(say.data(f"{entity}, as it stood on {instant(state['at'], starts_at)}"), "bold")
    for service, runs in state["services"].items():
        yield f"  {say.data(service)}  {'runs' if runs else say.style('is stopped', 'red')}"
    by_table: dict[str, list[dict[str, Any]]] = {}
    for found in state["rows"]:
        if not found["is_it"]:
            by_table.setdefault(found["table"], []).append(found["row"])
            continue
        yield ""
        yield say.style(f"{found['table']}", "bold")
        width = max(map(len, found["row"]))
        for name, value in found["row"].items():
            yield f"  {say.style(f'{name:<{width}}', 'dim')}  {say.data(cell(found['table'], name, value), 160)}"
    for table, rows in by_table.items():
        yield ""
        yield say.style(f"{table}, {len(rows):,} that name it", "bold")
        for row in rows[-ROWS_MAX:]:
            told = "  ".join(f"{name} {cell(table, name, value)}" for name, value in row.items() if value is not None)
            yield f"  {say.data(told, 200)}"
        if len(rows) > ROWS_MAX:
            yield say.style(f"  … the last {ROWS_MAX} of them: --json has all", "dim")
    yield ""
    yield say.style(f"Events, {len(events):,} that name it", "bold")
    for event in events[-EVENTS_MAX:]:
        told = f"{instant(event['at'], starts_at)}  {event['actor']}  {event['kind']}  {event['subject']}"
        yield f"  {event['id']:<7} {say.data(told)}"
    if len(events) > EVENTS_MAX:
        yield say.style(f"  … the last {EVENTS_MAX} of them: --json has all", "dim")
