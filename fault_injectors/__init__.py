"""Faults and violations: one small class each, in a module or package per family. Adding one is adding its class.

Invariant: every id names exactly one class, and every class declares all that the plan, the bus and the judges need.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

from seams.catalogue import LEVERS, SEAMS
from seams.draws import Draws
from seams.faults import Binding, Fault, Guarantees

_DECLARED = ("id", "title", "seam", "operation", "imitates", "exercises", "recovery", "bite")
_KEYS = ("$victim", "$entity")


class DeclarationError(Exception):
    """A fault class that is not declared as it must be: the message names the class and what is wrong with it."""


def registry() -> dict[str, type[Fault]]:
    """Every fault by id, in the order of the ids. Raises DeclarationError."""
    return dict(_registry())


def bind(
    fault: str, guarantees: Guarantees, draws: Draws, given: Mapping[str, Any]
) -> tuple[Binding, dict[str, Any]] | None:
    """Bind `fault` among what is guaranteed: the binding, and all parameters as the plan keeps them; None when the plan
    offers nothing for it. `draws` are the fault's own. Raises KeyError for an unknown id, pydantic.ValidationError for
    `given` that do not fit."""
    cls = _registry()[fault]
    params = cls.Params.drawn(draws, given)
    binding = cls.bind(guarantees, draws, params)
    if binding is None:
        return None
    settled = cls.Params.model_validate({**params.model_dump(), **binding.params})
    return binding, settled.model_dump(mode="json")


def build(fault: str, fault_id: str, binding: Binding, params: Mapping[str, Any]) -> Fault:
    """The fault as planned, ready for the bus. Raises KeyError for an unknown id, pydantic.ValidationError for `params`
    that do not fit."""
    cls = _registry()[fault]
    return cls(fault_id, binding, cls.Params.model_validate(params))


def check(cls: type[Fault]) -> None:
    """Raise DeclarationError unless `cls` declares everything, at a seam or lever that exists, with an exact bite."""
    where = f"{cls.__module__}.{cls.__qualname__}"
    missing = [name for name in _DECLARED if not getattr(cls, name, None)]
    if missing:
        raise DeclarationError(f"{where} does not declare {', '.join(missing)}")
    family, _, name = cls.id.partition(".")
    home = cls.__module__.removeprefix(f"{__name__}.").partition(".")[0]
    if not name or family != home:
        raise DeclarationError(f"{where}: the id {cls.id!r} is not '{home}.…'")
    at_seam = cls.seam in SEAMS and cls.operation in SEAMS[cls.seam].operations
    if not at_seam and f"{cls.seam}.{cls.operation}" not in LEVERS:
        raise DeclarationError(f"{where}: neither a seam nor a lever is called {cls.seam}/{cls.operation}")
    for seam, operation in cls.also:
        if seam not in SEAMS or operation not in SEAMS[seam].operations:
            raise DeclarationError(f"{where}: no seam is called {seam}/{operation}")
    acts = cls.effect if at_seam else cls.actions
    if acts is (Fault.effect if at_seam else Fault.actions):
        raise DeclarationError(f"{where} does nothing: define {'effect' if at_seam else 'actions'}")
    if not any(value in _KEYS for value in cls.bite.where.values()):
        raise DeclarationError(f"{where}: the bite {dict(cls.bite.where)} names neither $victim nor $entity")
    if (cls.kind == "violation") != (cls.recovery.by == "none"):
        raise DeclarationError(f"{where}: nothing recovers from a violation, something must from a fault")
    named = cls.recovery.runbook or "no runbook"
    if (cls.recovery.by == "runbook") != bool(cls.recovery.runbook):
        raise DeclarationError(f"{where}: recovery is by {cls.recovery.by}, and it names {named}")


@cache
def _registry() -> dict[str, type[Fault]]:
    found: list[type[Fault]] = []
    for info in pkgutil.walk_packages(__path__, f"{__name__}."):
        module = importlib.import_module(info.name)
        found += [
            cls
            for cls in vars(module).values()
            if isinstance(cls, type) and issubclass(cls, Fault) and cls.__module__ == module.__name__
            if not cls.__name__.startswith("_")
        ]
    return index(found)


def index(classes: list[type[Fault]]) -> dict[str, type[Fault]]:
    """`classes` by id, each checked. Raises DeclarationError when two share an id."""
    faults: dict[str, type[Fault]] = {}
    for cls in classes:
        check(cls)
        if cls.id in faults:
            raise DeclarationError(f"{cls.id} is defined by {faults[cls.id].__qualname__} and by {cls.__qualname__}")
        faults[cls.id] = cls
    return dict(sorted(faults.items()))
