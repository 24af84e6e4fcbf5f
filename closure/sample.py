"""A run as it is scored: verified, judged anew, timed by its own log.

Invariant: nothing is read of a run that is not what was written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from closure import timings
from closure.decision import RunUsed
from evidence.run import Evidence
from evidence.verify import Problem, verify

if TYPE_CHECKING:
    from assertions.judge import Verdict

VERDICT = "verdict.json"


class Altered(Exception):
    """A run is not what was written: `problems` names file and record."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        super().__init__(path, problems)
        self.path, self.problems = path, problems


class Sample:
    """One run directory. Everything is worked out when it is asked for, once."""

    def __init__(self, path: Path) -> None:
        """Raises NotARun and Altered."""
        self.path = path
        self.evidence = Evidence.open(path)
        problems = verify(path)
        if problems:
            raise Altered(path, problems)
        self.plan = self.evidence.plan
        self.manifest = self.evidence.manifest

    @cached_property
    def verdict(self) -> Verdict:
        """What today's assertions say of its books."""
        from assertions.judge import judge

        return judge(self.evidence)

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

    def used(self) -> RunUsed:
        return RunUsed(
            str(self.path), self.manifest.name, self.manifest.identity, self.plan.scenario, self.plan.seed,
            self.verdict.status.value,
        )  # fmt: skip
