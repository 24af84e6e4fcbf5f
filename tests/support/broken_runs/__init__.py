"""Runs that break a promise, each by one change to the honest small run; `BREAKS` has them all."""

from __future__ import annotations

from tests.support.broken_runs import conduct, healing, money, operations, outside, scores, shells, watching
from tests.support.broken_runs.change import BREAKS, ONLY_INCONCLUSIVE

__all__ = [
    "BREAKS", "ONLY_INCONCLUSIVE", "conduct", "healing", "money", "operations", "outside", "scores", "shells",
    "watching",
]  # fmt: skip
