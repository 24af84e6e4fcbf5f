"""The corpus of past failures: capsules (plan.json and capsule.json), each of which must not fail that way again.

Of this project's own, those in which somebody reaches in (a violation) have to fail now as then, which a test holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from campaigns import capsules
from campaigns.trial import Fingerprint
from operations.alerts import RulesInvalid
from operations.runbooks import RunbooksInvalid
from simulator.operations import ROOT, Operations

CORPUS = ROOT / "tests" / "capsules" / "failures"


class PastFailure(NamedTuple):
    """`fingerprint`: how its plan failed once. `operations`: the runbooks and rules that are kept with it, which are in
    force in its plan's run; None: those that are shipped, if the plan has any."""

    name: str
    fingerprint: Fingerprint
    plan_json: bytes
    operations: Operations | None = None


class CorpusInvalid(Exception):
    """A capsule cannot be read, or there is none. The message says which, and why."""


def read(folder: Path) -> list[PastFailure]:
    """Those in directories below `folder`, by their path in it; none where there is no such directory. Of this
    project's own, those that have to fail are left out. Raises CorpusInvalid."""
    found, own = [], CORPUS.resolve()
    for path in sorted(folder.glob(f"**/*/{capsules.CAPSULE}")):
        try:
            capsule = capsules.read(path.parent)
            is_own = own in path.resolve().parents
            if capsule.fingerprint is None or (is_own and _has_violation(capsule.plan_json)):
                continue  # a run that broke nothing, or has to break something, is kept for other ends
            name, kept = path.parent.relative_to(folder).as_posix(), capsules.documents_in(path.parent)
            found.append(PastFailure(name, capsule.fingerprint, capsule.plan_json, kept))
        except (capsules.CapsuleInvalid, RunbooksInvalid, RulesInvalid, ValueError, KeyError, TypeError) as error:
            raise CorpusInvalid(f"{path.parent} is no capsule: {error}") from None
    return found


def _has_violation(plan_json: bytes) -> bool:
    return any(fault["kind"] == "violation" for fault in json.loads(plan_json)["faults"])
