"""A plan that other code made, read as far as today's code can follow it.

Invariant: what is left out is named, each by its place in the plan; what is kept is as it was planned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

import fault_injectors
from evidence.plan import Plan
from seams.faults import Parameters

_UNKNOWN = "extra_forbidden"


class PlanUnreadable(Exception):
    """Not even leniently can it be read as a plan. The message says where it fails."""


def read_plan(raw: bytes) -> Plan:
    """The plan as it stands. Raises PlanUnreadable, for a fault that nobody knows too."""
    plan, left_out = read_leniently(raw)
    if left_out:
        more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        raise PlanUnreadable(f"{left_out[0]}{more}. `absence replay DIR --tolerant` reads it as far as it goes.")
    return plan


def read_leniently(raw: bytes) -> tuple[Plan, tuple[str, ...]]:
    """The plan without what today's code does not know, and what that was: fields, faults, parameters of faults.
    Raises PlanUnreadable where what is left is no plan."""
    try:
        values = json.loads(raw)
    except ValueError as error:
        raise PlanUnreadable(f"plan.json is no JSON: {error}") from None
    left_out: list[str] = []
    plan = _validated(values, left_out)
    kept = []
    for number, fault in enumerate(plan.faults):
        params, told = _known_params(fault.fault, fault.params)
        where = f"faults.{number} ({fault.id}, {fault.fault})"
        left_out += [f"{where}: {each}" for each in told]
        if params is not None:
            kept.append(fault if params == fault.params else fault.model_copy(update={"params": params}))
    return plan.model_copy(update={"faults": kept}) if left_out else plan, tuple(left_out)


def _validated(values: Any, left_out: list[str]) -> Plan:
    """`values` as a plan, of which is deleted what no model knows, and whole faults that do not fit."""
    while True:
        try:
            return Plan.model_validate(values)
        except ValidationError as invalid:
            errors = invalid.errors()
        removable = [error for error in errors if error["type"] == _UNKNOWN or _of_fault(error["loc"])]
        if not removable:
            first = errors[0]
            raise PlanUnreadable(f"plan.json: {_place(first['loc'])}: {first['msg']}")
        error = removable[-1]  # from the end: what is deleted from a list moves nothing that is still to come
        place = error["loc"] if error["type"] == _UNKNOWN else error["loc"][:2]
        left_out.insert(0, f"{_place(error['loc'])}: {_told(error)}")
        _delete(values, place)


def _of_fault(place: tuple[int | str, ...]) -> bool:
    return len(place) >= 2 and place[0] == "faults"


def _told(error: Any) -> str:
    return "no such field" if error["type"] == _UNKNOWN else f"{error['msg']}: this fault is left out"


def _place(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place)) or "the whole"


def _delete(values: Any, place: tuple[int | str, ...]) -> None:
    for step in place[:-1]:
        values = values[step]
    del values[place[-1]]


def _known_params(fault: str, params: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Those of `params` that the fault has today, None where it cannot be built; and what was left out."""
    cls = fault_injectors.registry().get(fault)
    if cls is None:
        return None, ["there is no such fault: it is left out"]
    unknown = sorted(set(params) - set(cls.Params.model_fields))
    known = {name: value for name, value in params.items() if name not in unknown}
    told = [f"params.{name}: no such parameter" for name in unknown]
    misfits = [f"{each}: this fault is left out" for each in _misfits(cls.Params, known)]
    return (None if misfits else known), told + misfits


def _misfits(params: type[Parameters], values: dict[str, Any]) -> Iterator[str]:
    try:
        params.model_validate(values)
    except ValidationError as invalid:
        for error in invalid.errors():
            yield f"params.{_place(error['loc'])}: {error['msg']}"
