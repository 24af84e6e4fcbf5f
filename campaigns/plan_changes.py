"""Two plans held against each other: what was added, removed and changed, by the ids of what they are about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from evidence.plan import Plan

_KEYS = ("id", "user_id", "contest_id")
"""What tells the members of a list apart, where they have it."""


class Change(NamedTuple):
    """`place`: like `faults.webhooks.lost#1.params.delay_s`. `was` and `now` are JSON; one of them is None where the
    whole was added or removed, as `how` says."""

    how: str
    place: str
    was: Any
    now: Any


def plan_changes(ours: Plan, theirs: Plan) -> list[Change]:
    """In the order of the plan's fields, faults first: what somebody compares two plans for."""
    was, now = ours.model_dump(mode="json"), theirs.model_dump(mode="json")
    names = sorted(was, key=lambda name: (name != "faults", list(was).index(name)))
    return [change for name in names for change in _changes(name, was[name], now[name])]


def _changes(place: str, was: Any, now: Any) -> Iterator[Change]:
    if was == now:
        return
    if isinstance(was, dict) and isinstance(now, dict):
        yield from _members(place, was, now)
    elif isinstance(was, list) and isinstance(now, list) and (keyed := _keyed(was, now)) is not None:
        yield from _members(place, *keyed)
    else:
        yield Change("changed", place, was, now)


def _members(place: str, was: dict[str, Any], now: dict[str, Any]) -> Iterator[Change]:
    for name in was:
        if name not in now:
            yield Change("removed", f"{place}.{name}", was[name], None)
    for name, value in now.items():
        if name not in was:
            yield Change("added", f"{place}.{name}", None, value)
        else:
            yield from _changes(f"{place}.{name}", was[name], value)


def _keyed(was: list[Any], now: list[Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Both lists by the keys of their members, or by their places where these have none and there are as many; None
    where members cannot be told apart."""
    keyed = [{_key(member): member for member in members} for members in (was, now)]
    if "" not in keyed[0] and "" not in keyed[1] and [len(was), len(now)] == list(map(len, keyed)):
        return keyed[0], keyed[1]
    if len(was) == len(now) and all(isinstance(member, dict) for member in (*was, *now)):
        return {str(n): member for n, member in enumerate(was)}, {str(n): member for n, member in enumerate(now)}
    return None


def _key(member: Any) -> str:
    if not isinstance(member, dict):
        return ""
    return str(member.get("id") or "/".join(str(member[name]) for name in _KEYS if name in member))
