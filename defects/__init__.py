"""Bugs planted in the platform, one at a time: what a harness that has never caught one cannot prove.

Adding a defect is one entry in the CATALOGUE of a module of this package; nothing else names it.
"""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches
from functools import cache
from types import ModuleType

from defects.model import Defect


class UnknownDefect(LookupError):
    """The catalogue has no such defect."""


def families() -> list[ModuleType]:
    """The modules that have a CATALOGUE."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [module for module in modules if hasattr(module, "CATALOGUE")]


@cache
def catalogue() -> dict[str, Defect]:
    """Every defect by its id, in the order of ids. Raises ValueError for an id that is there twice."""
    found: dict[str, Defect] = {}
    for family in families():
        for defect in family.CATALOGUE:
            if defect.id in found:
                raise ValueError(f"defect {defect.id} is in the catalogue twice")
            found[defect.id] = defect
    return dict(sorted(found.items()))


def defect(id: str) -> Defect:
    """Raises UnknownDefect, with what is nearest."""
    known = catalogue()
    if id not in known:
        close = get_close_matches(id, known, 1)
        raise UnknownDefect(f"there is no defect {id}" + (f": did you mean {close[0]}?" if close else ""))
    return known[id]
