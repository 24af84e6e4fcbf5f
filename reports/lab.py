"""What became of hosts that drifted: healed of all by operating system, each experiment with its time to heal, and why
one was not healed.

Invariant: whether and when is from the hosts' own books; only why not is from anybody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from assertions import lab
from assertions.lab import Excuse, Experiment

if TYPE_CHECKING:
    from evidence.run import Evidence


class Told(NamedTuple):
    """`excuse`: what is on record of one that was not healed."""

    experiment: Experiment
    excuse: Excuse | None

    @property
    def healed(self) -> bool:
        return self.excuse is None

    def sentence(self) -> str:
        said = lab.sentence(self.experiment)
        if self.excuse is None:
            return said
        why, alert, page = (told or "none on record" for told in self.excuse)
        return f"{said}: {why}; alert: {alert}; handed on: {page}"


class Lab(NamedTuple):
    told: list[Told]

    def scores(self) -> list[lab.Score]:
        return lab.scores([one.experiment for one in self.told])

    def sentence(self) -> str:
        scores = self.scores()
        parts = [f"{one.os} {one.healed}/{one.total}" for one in scores]
        return f"healed {sum(one.healed for one in scores)}/{sum(one.total for one in scores)}: {', '.join(parts)}"

    def json(self) -> dict[str, Any]:
        return {
            "scores": {one.os: {"healed": one.healed, "total": one.total} for one in self.scores()},
            "experiments": [
                {
                    "experiment": one.experiment.name, "host": one.experiment.host, "os": one.experiment.os,
                    "healed": one.healed, "drifted_at": one.experiment.drifted_at,
                    "healed_at": one.experiment.healed_at, "time_to_heal_ms": one.experiment.took_ms,
                    "came_back": one.experiment.back,
                    "not_healed": None if one.excuse is None else one.excuse._asdict(),
                }
                for one in self.told
            ],
        }  # fmt: skip


def lab_of(evidence: Evidence) -> Lab:
    return Lab([
        Told(one, lab.excuse(evidence, one) if one.healed_at is None else None) for one in lab.experiments(evidence)
    ])  # fmt: skip
