"""Progress on the terminal, and the wall-time budget of a run. Both hang on the end of each simulated day."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


class OverBudget(Exception):
    """The run took longer than its wall-time budget and was given up; nothing was published."""


class Bar:
    """A bar on standard error; silent where nobody looks (not a terminal, or `shown` false)."""

    def __init__(self, shown: bool, unit: str = "day") -> None:
        self._shown = shown and sys.stderr.isatty()
        self._unit = unit
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn(f"{self._unit} {{task.completed}} of {{task.total}}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("simulating", total=1)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def day(self, done: int, days: int) -> None:
        """So many of so many days, or of whatever the bar counts."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=days)

    def say(self, what: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=what)


class Budget:
    """Passes progress on to `bar`, and gives up once `budget_s` seconds have gone by."""

    def __init__(self, budget_s: int, bar: Bar) -> None:
        self._budget_s, self._bar = budget_s, bar
        self._begun = time.monotonic()

    def __call__(self, done: int, days: int) -> None:
        self._bar.day(done, days)
        if time.monotonic() - self._begun > self._budget_s:
            raise OverBudget(
                f"given up on day {done} of {days}: over the budget of {self._budget_s} s. Raise it with --budget-s."
            )
