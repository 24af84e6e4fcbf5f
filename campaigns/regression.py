"""The test that is committed with a capsule: it fails as long as the failure comes back."""

from __future__ import annotations

from campaigns.capsules import Capsule

_TEXT = '''"""{fingerprint} broke first in {scenario}, seed {seed}: it must not come back.

The directory of this file is the capsule: `plan.json` and `capsule.json`.
"""

from dataclasses import replace
from pathlib import Path

from campaigns.capsules import read, replay


def test_{word}_does_not_break_again() -> None:
    capsule = read(Path(__file__).parent)
    assert capsule.fingerprint is not None
    trial = replay(replace(capsule, defect=None)).trial
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
