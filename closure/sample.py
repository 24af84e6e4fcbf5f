"""A run as it is scored: verified, judged anew, timed by its own log.

Invariant: nothing is read of a run that is not what was written.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from closure import timings
from closure.runs import NotVerified, Run, verified

if TYPE_CHECKING:
    from assertions.judge import Verdict

VERDICT = "verdict.json"


class Sample(Run):
    """A run of which all is read that a comparison holds."""

    def __init__(self, path: Path) -> None:
        """Raises NotARun and NotVerified."""
        problems = verified(path)
        if problems:
            raise NotVerified([(path, problem) for problem in problems])
        super().__init__(path)

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
