"""Run roots that hold a few runs, small ones that are whole, and records that refer to some of them."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path
from typing import Any

from closure.decision import Decision, Outcome, RunUsed
from evidence import store
from evidence.layout import MANIFEST
from evidence.manifest import Manifest
from tests.support.command import runs_in
from tests.support.runs import publish_small

DAY_S = 86_400


def put(root: Path, seed: int, verdict: str = "PASS", name: str | None = None, day: int | None = None) -> Path:
    """A run of `root`, begun on that day; by default its seed says on which."""
    begun = {"run": "small", "started": (seed if day is None else day) * DAY_S, "version": "0"}
    judged = {"scenario": "small", "seed": seed, "status": verdict, "version": 1}
    return publish_small(
        root, name, seed, log=json.dumps(begun).encode() + b"\n", verdict=json.dumps(judged).encode()
    ).path  # fmt: skip


def used(run_dir: Path) -> RunUsed:
    stated = Manifest.read(run_dir / MANIFEST)
    return RunUsed(str(run_dir), stated.name, stated.identity, "small", 1, "PASS")


def decision(runs: list[Path], baseline: Path | None = None) -> str:
    """What the gate keeps of a decision about these."""
    return Decision(
        Outcome.CLOSE, "policy", "0" * 64, [used(run) for run in runs], (),
        baseline=None if baseline is None else used(baseline),
    ).to_json()  # fmt: skip


def decide(root: Path, runs: list[Path], baseline: Path | None = None) -> Path:
    return store.record(root, decision(runs, baseline))


def incident(root: Path, run: dict[str, Any] | None, name: str = "20260101T000000Z-STATE_CORRUPT-0") -> Path:
    path = root / "incidents" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({
        "version": 1, "code": 30, "name": "STATE_CORRUPT", "at": "2026-01-01T00:00:00+00:00",
        "command": "absence verify", "run": run, "lines": ["plan.json: is missing"],
    }))  # fmt: skip
    return path


def whole(run_dir: Path, like: Path) -> bool:
    """Whether a run directory is, file by file, what it was."""
    files = [path.relative_to(like) for path in like.rglob("*") if path.is_file()]
    found = [path.relative_to(run_dir) for path in run_dir.rglob("*") if path.is_file()]
    _, mismatch, errors = filecmp.cmpfiles(run_dir, like, files, shallow=False)
    return sorted(files) == sorted(found) and not mismatch and not errors


def names(root: Path) -> set[str]:
    """Of the run directories of a root."""
    return {path.name for path in runs_in(root) if path.is_dir() and not path.name.startswith(".")}
