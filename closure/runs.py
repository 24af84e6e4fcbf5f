"""The runs that a decision is made of: verified, judged anew, and asked for what they exercised and took.

Invariant: nothing here believes verdict.json; a verdict is what today's assertions say of the books. What was stated is
there to be held beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from closure import timings
from closure.decision import RunUsed
from evidence.layout import ALERTS, MANIFEST, RUNBOOKS, VERDICT
from evidence.run import Evidence, NotARun
from evidence.verify import Problem, verify

if TYPE_CHECKING:
    from assertions.judge import Verdict
    from assertions.model import Result
    from closure.coverage import Seen

DOCUMENTS = (RUNBOOKS, ALERTS)


class NotVerified(Exception):
    """Runs are not what was written: `problems` names file and record, run by run."""

    def __init__(self, problems: Sequence[tuple[Path, Problem]]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for path, problem in problems))
        self.problems = problems


class NotEvidence(Exception):
    """In these runs a bug was planted in the platform: `planted` names run and defect. Whatever they show, they show it
    of another platform than the one that is to be closed."""

    def __init__(self, planted: Sequence[tuple[Path, str]]) -> None:
        super().__init__("\n".join(f"{path}: {defect}" for path, defect in planted))
        self.planted = planted


class Run:
    """One run directory. Everything is worked out when it is asked for, once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.evidence = Evidence.open(path)
        self.plan = self.evidence.plan
        self.manifest = self.evidence.manifest

    @property
    def scenario(self) -> str:
        return self.plan.scenario

    @property
    def code(self) -> str:
        """The fingerprint of the code that ran."""
        return self.manifest.fingerprints.get("code", "")

    @classmethod
    def verified(cls, path: Path) -> Run:
        """Raises NotARun, NotVerified and NotEvidence."""
        problems = verified(path)
        if problems:
            raise NotVerified([(path, problem) for problem in problems])
        return _unplanted([cls(path)])[0]

    @cached_property
    def verdict(self) -> Verdict:
        return judged(self)

    @cached_property
    def results(self) -> dict[str, Result]:
        return {result.id: result for result in self.verdict.results}

    @cached_property
    def stated(self) -> Verdict | None:
        """What the assertions of its own code said, if that can be read."""
        from assertions.judge import Verdict

        try:
            return Verdict.from_json((self.path / VERDICT).read_bytes())
        except (OSError, ValueError):
            return None

    @cached_property
    def timings(self) -> timings.Timings:
        return timings.read(self.path)

    @cached_property
    def kinds(self) -> dict[str, int]:
        """How many events of each kind its journal has."""
        return dict(Counter(event.kind for event in self.evidence.journal(verify=False)))

    @cached_property
    def exercised(self) -> Seen:
        return exercised(self)

    @cached_property
    def documents(self) -> dict[str, str]:
        """The texts in force during the run, by path."""
        return {f"{at}/{name}": text for at in DOCUMENTS for name, text in self.evidence.documents(at).items()}

    def used(self) -> RunUsed:
        manifest = self.manifest
        return RunUsed(
            str(self.path), manifest.name, manifest.identity, self.scenario, self.plan.seed, self.verdict.status.value
        )


def opened(paths: Iterable[Path]) -> list[Run]:
    """The runs in `paths`: run directories, and directories that hold some. Each run once, however often it is given.

    Raises NotARun, NotVerified with every problem of every run, and NotEvidence.
    """
    found = list(dict.fromkeys(path for given in paths for path in _runs_in(given)))
    problems = [(path, problem) for path in found for problem in verified(path)]
    if problems:
        raise NotVerified(problems)
    runs: dict[str, Run] = {}
    for run in _unplanted([Run(path) for path in found]):
        runs.setdefault(run.manifest.identity, run)
    return list(runs.values())


def _unplanted(runs: list[Run]) -> list[Run]:
    planted = [(run.path, run.manifest.defect) for run in runs if run.manifest.defect is not None]
    if planted:
        raise NotEvidence(planted)
    return runs


def _runs_in(path: Path) -> Iterator[Path]:
    if (path / MANIFEST).is_file() or (path / "plan.json").is_file():
        yield path
        return
    below = sorted(manifest.parent for manifest in path.glob(f"[!.]*/{MANIFEST}"))
    if not below:
        raise NotARun(f"{path} is not a run directory, and holds none")
    yield from below


def verified(path: Path) -> list[Problem]:
    """What is wrong with a run directory."""
    return verify(path)


def judged(run: Run) -> Verdict:
    """What today's assertions say of a run's books."""
    from assertions.judge import judge

    return judge(run.evidence)


def exercised(run: Run) -> Seen:
    """What of its documents a run has exercised."""
    from closure.coverage import seen

    return seen(run.evidence)
