"""The corpus of past failures: capsules (plan.json and capsule.json), each of which must not fail that way again.

Of this project's own, those in which somebody reaches in (a violation) have to fail now as then, which a test holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from campaigns.trial import Fingerprint
from evidence.layout import PLAN
from simulator.operations import ROOT

CORPUS = ROOT / "tests" / "capsules" / "failures"
_CAPSULE = "capsule.json"


class PastFailure(NamedTuple):
    """`fingerprint`: how its plan failed once."""

    name: str
    fingerprint: Fingerprint
    plan_json: bytes


class CorpusInvalid(Exception):
    """A capsule cannot be read. The message says which, and why."""


def read(folder: Path) -> list[PastFailure]:
    """Those in `folder`, by name; none where there is no such directory. Of this project's own, those that have to fail
    are left out. Raises CorpusInvalid."""
    found = []
    for path in sorted(folder.glob(f"*/{_CAPSULE}")):
        try:
            stated = json.loads(path.read_bytes())
            plan_json = (path.parent / PLAN).read_bytes()
            if stated["fingerprint"] is None or (folder == CORPUS and _has_violation(plan_json)):
                continue  # a run that broke nothing, or has to break something, is kept for other ends
            assertion, kind = stated["fingerprint"]
            failure = Fingerprint(str(assertion), str(kind))
            found.append(PastFailure(path.parent.name, failure, plan_json))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorpusInvalid(f"{path.parent} is no capsule: {type(error).__name__}: {error}") from None
    return found


def _has_violation(plan_json: bytes) -> bool:
    return any(fault["kind"] == "violation" for fault in json.loads(plan_json)["faults"])
