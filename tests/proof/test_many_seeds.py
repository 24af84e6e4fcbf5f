"""The default run under many seeds (PROOF_SEEDS, 200 by default): no false alarm, and nothing that differs twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from absence.pipeline import RunOutcome, execute
from evidence.manifest import Manifest
from scenarios import ScenarioInvalid, load, make_plan
from tests.support.command import process

SEEDS = range(1, int(os.environ.get("PROOF_SEEDS", "200")) + 1)
TWICE_EVERY = 10
"""One seed in so many is run a second time, by a process that hashes, tells time and sorts text in its own way."""
ELSEWHERE = {"PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}


def run(seed: int, out: Path) -> RunOutcome:
    """Skips, with the reason, for a seed that honestly proves nothing."""
    try:
        outcome = execute(make_plan(load("default"), seed), out)
    except ScenarioInvalid as invalid:
        pytest.skip(f"seed {seed} makes no plan: {invalid}")
    verdict = outcome.story.verdict
    if verdict.status.value == "INCONCLUSIVE":
        assert verdict.not_exercised, "inconclusive, and nothing is named"
        pytest.skip(f"seed {seed} is inconclusive: {'; '.join(missing.what for missing in verdict.not_exercised)}")
    return outcome


@pytest.mark.parametrize("seed", SEEDS)
def test_the_default_run_passes_whatever_the_seed(seed: int, tmp_path: Path) -> None:
    outcome = run(seed, tmp_path)
    first = outcome.story.first
    assert first is None, f"seed {seed}: {first and first.assertion}: {first and first.message}"
    assert outcome.story.status.value == "PASS"


@pytest.mark.parametrize("seed", SEEDS[::TWICE_EVERY])
def test_the_same_seed_gives_the_same_run_in_another_process(seed: int, tmp_path: Path) -> None:
    here = run(seed, tmp_path / "here")
    told = process("run", "--seed", str(seed), "--out", tmp_path / "there", "--json", env=ELSEWHERE)
    assert told.json["digest"] == here.story.digest
    one, two = (Manifest.read(path / "manifest.json") for path in (here.published.path, Path(told.json["run_dir"])))
    assert one.books == two.books
    assert one.identity == two.identity
