"""Machines: a real service on a real store, whatever the world does to it, beside a model that says what must hold.

Invariant: a model is written from the specification and the processor's documents; it reads the world's books and the
platform's tables, and never asks the service what it would have done.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

STEPS = 25


def _machine(name: str) -> type[RuleBasedStateMachine]:
    made: type[RuleBasedStateMachine] = getattr(import_module(f"{__name__}.{name}"), name.title())
    return made


NAMES = ("ingestion", "ledger", "payouts", "settlement")
MACHINES: dict[str, Callable[[], type[RuleBasedStateMachine]]] = {name: partial(_machine, name) for name in NAMES}


def explore(machine: type[RuleBasedStateMachine], examples: int, steps: int = STEPS, shrink: bool = True) -> None:
    """Run `machine` through so many examples, always the same ones.

    Raises what the first invariant that breaks raises, after the shortest story found (`shrink`) or the first."""
    quiet: Any = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, derandomize=True, database=None, deadline=None,
            suppress_health_check=quiet, print_blob=False, report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        ),
    )  # fmt: skip
