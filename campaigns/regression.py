"""The test that is committed with a capsule: it fails as long as the failure comes back."""

from __future__ import annotations

from campaigns.capsules import Capsule

_TEXT = '''"""{fingerprint} broke first in {scenario}, seed {seed}: it must not come back.

The directory of this file is the capsule: `plan.json` and `capsule.json`. Runbooks and rules that are kept there are in
force; where they were what was wrong, remove them, and those that are shipped are.
"""

from dataclasses import replace
from pathlib import Path

from campaigns.capsules import documents_in, read, replay


def test_{word}_does_not_break_again() -> None:
    place = Path(__file__).parent
    capsule = read(place)
    assert capsule.fingerprint is not None
    trial = replay(replace(capsule, defect=None), operations=documents_in(place)).trial
    assert capsule.fingerprint not in trial.fingerprints
    assert capsule.fingerprint.assertion in trial.exercised, "it was not asked about: this test proves nothing any more"
'''


def test_of(capsule: Capsule) -> str:
    """The text of the test: it runs the capsule's plan on the code as it is then, with no defect planted. Raises
    ValueError for a capsule of a run that broke nothing."""
    if capsule.fingerprint is None:
        raise ValueError("a capsule without a failure has nothing that could come back")
    return _TEXT.format(
        fingerprint=capsule.fingerprint,
        scenario=capsule.scenario,
        seed=capsule.seed,
        word=capsule.fingerprint.assertion.replace(".", "_"),
    )
