"""How a sweep is carried out: prepared from what the command was given, run, and its result written beside its book.

Invariant: what is written at the end is worked out from the book alone, so it is the same however often it was stopped.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from absence import collecting
from absence.covering import processors
from absence.fingerprint import PACKAGES
from absence.pipeline import execute, replay_command
from campaigns import canary, corpus, sweep, sweep_table
from campaigns.capsules import CAPSULE
from campaigns.corpus import CorpusInvalid, PastFailure
from campaigns.executors import Executor, Processes
from campaigns.seeds import Work, inputs_of
from campaigns.swarm import plan_of
from campaigns.sweep import Limits, Pace
from campaigns.sweep_book import Sheet, SweepBook
from evidence import atomic, manifest, store
from evidence.layout import MANIFEST
from evidence.manifest import Manifest
from evidence.verify import verify
from reports.sweep import render
from scenarios import load
from simulator.operations import ROOT

SWEEPS = Path("sweeps")
RESULT, PAGE, FAILURES = "sweep.json", "report.html", "failures"
KEPT_MAX = 50
"""So many groups of failures have a run kept."""
_ROOMS = (*PACKAGES, "campaigns", "defects")
"""What decides on a sweep: of `campaigns` and `defects` a run knows nothing."""


@dataclass(frozen=True, slots=True)
class Options:
    """As the command has them; None stands for the default."""

    swarm: bool
    again_every: int
    canary: str | None
    corpus: Path | None
    workers: int | None
    cluster: str | None
    budget_s: int | None
    failures: int | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sweep that could begin. `scenario`: as it was named, for the commands that are told."""

    scenario: str
    root: Path
    sheet: Sheet
    work: Work
    past: Sequence[PastFailure]


def prepare(scenario: str, seeds: range, options: Options, root: Path | None) -> Prepared:
    """Read what there is to read, plan the first seed, and find the place. Raises ScenarioInvalid, CorpusInvalid,
    UnknownDefect, RunbooksInvalid, RulesInvalid."""
    from defects import defect

    loaded = load(scenario)
    inputs = inputs_of(loaded, seeds.start, options.swarm)
    past = corpus.read(options.corpus or corpus.CORPUS)
    if options.corpus is not None and not past:
        raise CorpusInvalid(
            f"{options.corpus} has nothing to replay: no directory below it holds the capsule ({CAPSULE}) of a failure."
        )
    code = manifest.code_sha256([ROOT / room for room in _ROOMS])
    sheet = Sheet(
        scenario=loaded.model.name,
        scenario_sha256=loaded.sha256,
        first=seeds.start,
        last=seeds.stop,
        swarm=options.swarm,
        again_every=options.again_every,
        canary=defect(options.canary or canary.CANARY).id,
        corpus=_hashed(past),
        code=code,
        **inputs._asdict(),
    )
    if root is None:
        root = SWEEPS / f"{sheet.scenario}-{sheet.first}-{sheet.last}-{sheet.sha256()[:10]}"
    return Prepared(scenario, root, sheet, Work(loaded, options.swarm, code, _ROOMS, seeds.start, inputs), past)


def _hashed(past: Sequence[PastFailure]) -> str:
    digest = sha256()
    for one in past:
        plan, kept = sha256(one.plan_json).hexdigest(), "" if one.operations is None else one.operations.sha256
        digest.update(f"{one.name}\0{one.fingerprint}\0{plan}\0{kept}\n".encode())
    return digest.hexdigest()


def carry_out(prepared: Prepared, options: Options, progress: Callable[[Pace], None]) -> dict[str, Any]:
    """Do what is left of the sweep, and write its result; returns it. The root exists and is ours.

    Raises OtherSweep, BookBroken, ClusterRefused, CodeDiffers, WorkersDie, TrialFailed."""
    with SweepBook(prepared.root, prepared.sheet) as book:
        if book.canary is None:
            sung = canary.sing(prepared.sheet.canary, prepared.work.scenario.path, prepared.sheet.first)
            book.add("canary", sung.defect, sung._asdict())
        with closing(_executor(prepared.work, options)) as executor:
            pace = sweep.run(book, executor, prepared.past, Limits(options.budget_s, options.failures), progress)
        told = sweep_table.table(book, prepared.past)
    for group in told["failures"][:KEPT_MAX]:
        _keep(prepared, group)
    told |= {"rate": pace.to_json(), "report": str(prepared.root / PAGE)}
    ours = {_name(":".join(line["first"]), seed) for seed, line in book.lines.items() if line["status"] == "FAIL"}
    _prune(prepared.root / FAILURES, ours - {group["run"] for group in told["failures"] if "run" in group})
    atomic.write(prepared.root / PAGE, render(told))
    atomic.write_json(prepared.root / RESULT, told)
    return told


def _executor(work: Work, options: Options) -> Executor:
    if options.cluster is not None:
        from campaigns.cluster import Cluster

        return Cluster(work, options.cluster)
    return Processes(work, options.workers or processors(), collecting.rarely)


def _keep(prepared: Prepared, group: dict[str, Any]) -> None:
    """Run the simplest seed of a group once more, as a run directory, unless a whole one stands there. What differs is
    told as `unlike`."""
    simplest = group["simplest"]
    seed, flags = simplest["seed"], " --swarm" if prepared.work.swarm else ""
    group["command"] = f"absence run {shlex.quote(prepared.scenario)} --seed {seed}{flags}"
    if not simplest["digest"]:
        return  # it never began: the command shows it
    plan = plan_of(prepared.work.scenario, seed, prepared.work.swarm).plan
    name = _name(group["fingerprint"], seed)
    path = prepared.root / FAILURES / name
    if not path.exists() or verify(path):  # over what is damaged nothing is published: that is said, with the remedy
        execute(plan, path.parent, name)
    group["run"] = name
    group["replay"] = replay_command(path)
    group["unlike"] = Manifest.read(path / MANIFEST).digest != simplest["digest"]


def _name(fingerprint: str, seed: int) -> str:
    """Of the run that is kept of a failure."""
    return f"{fingerprint.replace(':', '-').replace('/', '-')}-s{seed}"


def _prune(root: Path, names: set[str]) -> None:
    """Runs that were the simplest of their group until a simpler one came."""
    if root.is_dir():
        for run in store.scan(root)[0]:
            if run.name in names:
                store.prune(run)
