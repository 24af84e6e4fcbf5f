"""A bounded rerun: a candidate that was held is scored again, on a new run and only on the blockers that are named.

Invariant: what is not looked at stays as it was; while any of it blocks, nothing unlocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from closure.baseline import EXPLAINED, check_comparable, held, unexplained
from closure.decision import Decision, Outcome
from closure.rails import Rails
from closure.runs import Run
from located import did_you_mean


class NotReopened(Exception):
    """The decision cannot be reopened so: `reasons` says why, with the remedy."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(*reasons)
        self.reasons = list(reasons)


def reopen(before: Path, only: Iterable[str], candidate: Run, baseline: Run, rails: Rails) -> Decision:
    """Score `candidate` on the blockers `only` of the decision in the file `before` (all of them, if none is named),
    and carry everything else over. Raises NotReopened, and as `baseline.decide` does."""
    raw, earlier = _read(before)
    blocked = [blocker.id for blocker in earlier.blockers]
    named = list(dict.fromkeys(only)) or blocked
    check_comparable(candidate, baseline, rails.model)
    reasons = [f"{id} is no blocker of {before}{did_you_mean(id, blocked)}" for id in named if id not in blocked]
    if earlier.policy_sha256 != rails.sha256:
        reasons.append(f"{before} was made with other rails ({earlier.policy_sha256[:12]}…): score anew with these")
    if earlier.baseline is not None and earlier.baseline.identity != baseline.manifest.identity:
        reasons.append(f"{before} was made against another baseline, {earlier.baseline.path}: give that one")
    if reasons:
        raise NotReopened(reasons)
    # What a blocker has explained was not listed beside it: once it is gone, that has to hold too.
    looked_at = {*named, *(other for id in named for other in EXPLAINED.get(id, ()))}
    found = list(held(candidate, baseline, rails.model, looked_at))
    carried = [blocker for blocker in earlier.blockers if blocker.id not in looked_at]
    blockers = [*unexplained(found), *carried]
    fresh = {figure.id: figure for one in found for figure in one.figures}
    kept = [figure for figure in earlier.figures if figure.id not in fresh and not _is_of(figure.id, looked_at)]
    return Decision(
        Outcome.HOLD_REOPEN if blockers else Outcome.UNLOCK, rails.model.name, rails.sha256,
        [candidate.used(), *earlier.runs], blockers, baseline=baseline.used(), figures=[*fresh.values(), *kept],
        carried=[blocker.id for blocker in carried], reopens=sha256(raw).hexdigest(),
    )  # fmt: skip


def _is_of(figure: str, rails: Iterable[str]) -> bool:
    return any(figure == id or figure.startswith(f"{id}.") for id in rails)


def _read(path: Path) -> tuple[bytes, Decision]:
    raw = path.read_bytes()
    try:
        earlier = Decision.from_json(raw)
    except ValueError as error:
        raise NotReopened([f"{path} cannot be reopened: {error}. Give a decision.json of `absence score`."]) from None
    if earlier.outcome is not Outcome.HOLD_REOPEN:
        raise NotReopened([f"{path} says {earlier.outcome.value}: only what is held for reopening can be reopened"])
    return raw, earlier
