"""Every defect that is hidden among twenty faults is shrunk to what it needs, by the command that a person gives.

Of the size that is known to be the least, what is found may be one and a half times at most: that bounds the median and
the worst of them alike.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from campaigns import capsules, passes
from campaigns.shrinking import RUNS
from campaigns.tries import tries
from tests.support.command import ROOT, absence
from tests.support.hidden import FAULTS, HIDDEN, Hidden

PATIENCE_S = 300


@pytest.mark.parametrize("hidden", HIDDEN, ids=lambda hidden: hidden.defect)
def test_a_defect_among_twenty_faults_is_shrunk_to_those_that_it_needs(hidden: Hidden, tmp_path: Path) -> None:
    plan, alone = hidden.among_others(tmp_path), hidden.alone(tmp_path)
    assert (len(plan.faults), len(alone.faults)) == (FAULTS, hidden.least)
    with tries() as attempt:
        assert attempt(plan, PATIENCE_S).status == "PASS", "the others break something by themselves"
    with tries(hidden.defect) as attempt:
        target = attempt(alone, PATIENCE_S).first
        assert target is not None
        for fault in alone.faults:
            others = [each.id for each in alone.faults if each is not fault]
            assert attempt(passes.with_faults(alone, others), PATIENCE_S).first is None, f"{fault.id} is not needed"

    (tmp_path / "plan.json").write_bytes(plan.canonical())
    ran = absence(
        "run", "--plan", tmp_path / "plan.json", "--defect", hidden.defect, "--out", tmp_path, "--name", "run"
    )
    assert ran.exit_code == 10, ran.stderr
    told = absence("shrink", tmp_path / "run", "--out", tmp_path / "shrunk", "--json")
    assert told.exit_code == 0, told.stderr
    found = told.json
    assert found["fingerprint"] == list(target)
    assert found["ended_by"] == ""
    assert found["runs"] <= RUNS
    assert found["before"]["faults"] == FAULTS
    assert hidden.least <= found["after"]["faults"] <= 1.5 * hidden.least
    capsule = capsules.read(tmp_path / "shrunk" / "capsule")
    left = [contest.id for contest in capsule.plan.contests]
    with tries(hidden.defect) as attempt:
        for contest in left:
            fewer = passes.with_contests(capsule.plan, [each for each in left if each != contest])
            assert not fewer.contests or attempt(fewer, PATIENCE_S).first != target, f"{contest} is not needed"
    again = capsules.replay(capsule)
    assert again.reproduced
    assert not [each for each in again.silent if not each.why.startswith("acted")], "a fault that is left never acts"
    print(
        f"{hidden.defect}: {FAULTS} to {found['after']['faults']} of {hidden.least}, {found['runs']} runs", flush=True
    )


def test_the_test_that_is_left_fails_with_the_defect_and_passes_without(tmp_path: Path) -> None:
    """Run by pytest, in the tree with the defect and in the one without."""
    from defects import defect
    from defects.planting import planted

    hidden = HIDDEN[0]
    (tmp_path / "plan.json").write_bytes(hidden.alone(tmp_path).canonical())
    absence("run", "--plan", tmp_path / "plan.json", "--defect", hidden.defect, "--out", tmp_path, "--name", "run")
    told = absence("shrink", tmp_path / "run", "--out", tmp_path / "shrunk", "--json", "--budget-runs", "1")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    with planted(defect(hidden.defect)) as tree:
        for place, code in ((tree, 1), (ROOT, 0)):
            ended = subprocess.run(
                [*command, told.json["test"]], cwd=place, env={"PYTHONPATH": str(place)}, capture_output=True, text=True
            )
            assert ended.returncode == code, ended.stdout
