"""A run root as a store of runs: what stands in it, what refers to which run, and how runs are pruned.

Invariant: a run goes only if nothing refers to it, and goes at once: one rename takes it out of the store, whole. What
is left of it after a kill bears a name that no reader takes for a run.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from evidence import atomic, manifest
from evidence.layout import DECISIONS, INCIDENTS, LOG, MANIFEST, PLAN, VERDICT
from evidence.manifest import Manifest, ManifestBroken
from evidence.sweeping import PRUNING_PREFIX, locked

UNJUDGED = "-"


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the store. `at` is when it was begun, by its own log: seconds since 1970; `verdict` "-" if none was
    written."""

    path: Path
    scenario: str
    seed: int
    digest: str
    identity: str
    verdict: str
    size_bytes: int
    at: float

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True, slots=True)
class NoRun:
    """What stands in the root and is no run, and what about it is wrong."""

    path: Path
    what: str


class RecordUnreadable(Exception):
    """A decision or incident does not say which runs it refers to. The message says where and what to do."""


def scan(root: Path) -> tuple[list[Run], list[NoRun]]:
    """The runs of `root`, newest first, and what else stands there under a name that a run could have.

    Looks at manifests, and at which files there are; whether these are what was written, `verify` says. Raises OSError.
    """
    runs, others = list[Run](), list[NoRun]()
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or path.name in (DECISIONS, INCIDENTS) or path.suffix == ".jsonl":
            continue
        found = _look(path)
        if isinstance(found, Run):
            runs.append(found)
        else:
            others.append(NoRun(path, found))
    return sorted(runs, key=lambda run: (-run.at, run.name)), others


def named(root: Path, identity: str) -> list[str]:
    """The names of the runs of `root` that have this identity."""
    stated = f'"identity": "{identity}"'.encode()
    return sorted(
        path.parent.name for path in root.glob(f"[!.]*/{MANIFEST}") if path.is_file() and stated in path.read_bytes()
    )


def _look(path: Path) -> Run | str:
    """A run, or what there is instead of one."""
    if not path.is_dir():
        return "not a run directory"
    if not (path / MANIFEST).exists() and not (path / PLAN).exists():
        return "not a run directory"
    try:
        stated = Manifest.read(path / MANIFEST)
        files = set(manifest.files(path))
        missing = sorted(set(stated.files) - files)
        if missing:
            return f"damaged: {missing[0]} is missing"
        told = _json(path / VERDICT) if VERDICT in files else {"status": UNJUDGED}
        plan = told if "scenario" in told and "seed" in told else _json(path / PLAN)
        return Run(
            path, str(plan["scenario"]), int(plan["seed"]), stated.digest, stated.identity, str(told["status"]),
            sum((path / name).stat().st_size for name in (*files, MANIFEST)), _begun(path),
        )  # fmt: skip
    except ManifestBroken as error:
        return f"damaged: {MANIFEST} {error}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"damaged: {type(error).__name__}: {error}"


def _begun(path: Path) -> float:
    try:
        if not (path / LOG).is_file():
            raise ValueError
        with (path / LOG).open("rb") as file:
            first = json.loads(file.readline())
            return float(first["started"]) if "started" in first else datetime.fromisoformat(first["at"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return (path / MANIFEST).stat().st_mtime


def _json(path: Path) -> dict[str, Any]:
    """Raises ValueError for what is no JSON object, and for a pipe, which would keep its reader waiting."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path.name} is not a plain file")
    told = json.loads(path.read_bytes())
    if not isinstance(told, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return told


# --- what refers to runs -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class References:
    """Which records refer to a run, by its identity and by its name."""

    by_identity: Mapping[str, Sequence[str]]
    by_name: Mapping[str, Sequence[str]]

    def to(self, run: Run) -> list[str]:
        """The records that refer to `run`: by either, since a record may outlive the run that it means."""
        return sorted({*self.by_identity.get(run.identity, ()), *self.by_name.get(run.name, ())})


def references(root: Path, decisions: Iterable[Path] = ()) -> References:
    """What the decisions of the gate, in `root` and in the directories `decisions`, and the open incidents of `root`
    refer to. Raises RecordUnreadable, OSError: what cannot be read may refer to anything."""
    by_identity, by_name = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    sources: list[tuple[Path, Callable[[dict[str, Any]], Iterator[Any]]]] = [
        (root / DECISIONS, _decided_on), *((directory, _decided_on) for directory in decisions),
        (root / INCIDENTS, _happened_to),
    ]  # fmt: skip
    for directory, runs_of in sources:
        for path in sorted(directory.glob("[!.]*.json")):
            record = f"{directory.name}/{path.name}"
            try:
                for run in runs_of(_json(path)):
                    if run["identity"]:
                        by_identity[str(run["identity"])].append(record)
                    by_name[str(run["name"])].append(record)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise RecordUnreadable(
                    f"{path} does not say which runs it refers to ({type(error).__name__}: {error}), so nothing is "
                    "pruned. Put it right from a copy, or move it away if it is none of ours."
                ) from None
    return References(by_identity, by_name)


def record(root: Path, decision: str) -> Path:
    """Keep a decision of the gate (JSON) in `root`, under its hash: the same again is the same file. Raises OSError."""
    content = decision.encode()
    path = root / DECISIONS / f"{sha256(content).hexdigest()[:16]}.json"
    if not path.exists():
        atomic.write(path, content)
    return path


def _decided_on(decision: dict[str, Any]) -> Iterator[Any]:
    yield from decision["runs"]
    if decision["baseline"] is not None:
        yield decision["baseline"]


def _happened_to(incident: dict[str, Any]) -> Iterator[Any]:
    if incident["run"] is not None:
        yield incident["run"]


# --- pruning -------------------------------------------------------------------------------------------------------


class UnknownRun(LookupError):
    """What is to be kept is not there, or it is not clear which it is."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which runs of a store go, and which stay, each with why."""

    go: Sequence[Run]
    stay: Sequence[tuple[Run, str]]


def choose(
    runs: Sequence[Run], refers: References, keep: Iterable[str] = (), keep_last: int = 0, keep_failing: bool = False
) -> Choice:
    """What prune does with `runs`, which stand newest first. `keep` are names, or beginnings of identity or digest of
    eight digits at least. Raises UnknownRun when one of them is none: whoever mistypes what is to stay loses it."""
    kept: dict[Path, list[str]] = {run.path: [] for run in runs}
    for wanted in keep:
        matching = [run for run in runs if _means(wanted, run)]
        if not matching:
            raise UnknownRun(wanted)
        for run in matching:
            kept[run.path].append(f"--keep {wanted}")
    for place, run in enumerate(runs):
        if place < keep_last:
            kept[run.path].append(f"one of the last {keep_last}")
        if keep_failing and run.verdict == "FAIL":
            kept[run.path].append("it failed")
        kept[run.path] += [f"{record} refers to it" for record in refers.to(run)]
    return Choice(
        [run for run in runs if not kept[run.path]],
        [(run, "; ".join(kept[run.path])) for run in runs if kept[run.path]],
    )


def _means(wanted: str, run: Run) -> bool:
    if wanted == run.name:
        return True
    return len(wanted) >= 8 and (run.identity.startswith(wanted) or run.digest.startswith(wanted))


def prune(run: Run) -> None:
    """Take a run out of the store, then from the disk. Raises OSError."""
    gone = run.path.with_name(f"{PRUNING_PREFIX}{run.name}-{secrets.token_hex(4)}")
    with locked(run.path):  # nobody sweeps it meanwhile
        os.rename(run.path, gone)
        atomic.flush(gone.parent)
        shutil.rmtree(gone)
