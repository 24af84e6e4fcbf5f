"""Asks `promtool` (Debian's package prometheus) what it makes of rules and series, many at a time.

Invariant: where promtool is missing, nothing that needs it passes: it is skipped aloud, and in CI it fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from operations.alerts import Alert, Engine, Store, read_text
from operations.alerts.series import STALE

MINUTE = 60_000


def promtool() -> str:
    """The command's path. Skips the test where there is none, fails it in CI."""
    found = shutil.which("promtool")
    if found is not None:
        return found
    message = "promtool is missing: apt-get install prometheus. NOTHING was compared with Prometheus"
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(message)
    pytest.skip(message)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool(), *arguments], capture_output=True, text=True, check=False)


@dataclass
class Case:
    """Series and rules on the minute grid from 0 on. `spacing_ms`: how far apart the samples of a series are.

    A sample None is missing, STALE is a marker. `held` are those series that are written as values that hold.
    """

    rules: str
    series: Mapping[tuple[str, tuple[tuple[str, str], ...]], Sequence[float | None]]
    minutes: int
    spacing_ms: int = MINUTE
    held: frozenset[tuple[str, tuple[tuple[str, str], ...]]] = frozenset()
    firing: dict[int, list[Alert]] = field(default_factory=dict)

    def store(self) -> Store:
        store = Store()
        for key, values in self.series.items():
            name, labels = key
            if key in self.held:
                _hold(store, name, dict(labels), values)
                continue
            series = store.series(name, dict(labels))
            for index, value in enumerate(values):
                if value is not None:
                    series.sample(value, index * self.spacing_ms)
        return store

    def engine(self, every_minute: bool = False) -> Engine:
        return Engine(read_text(self.rules), self.store(), every_minute=every_minute)

    def names(self) -> list[str]:
        rules = (rule for group in read_text(self.rules) for rule in group.rules)
        return sorted({rule.name for rule in rules if hasattr(rule, "for_ms")})

    def unit_test(self, rule_file: str) -> dict[str, Any]:
        """A test of promtool: at every minute exactly what `firing` says, of every alert."""
        expected: list[dict[str, Any]] = []
        for name in self.names():
            for minute in range(self.minutes + 1):
                entry: dict[str, Any] = {"eval_time": f"{minute}m", "alertname": name}
                alerts = [alert for alert in self.firing.get(minute, ()) if alert.name == name]
                if alerts:
                    entry["exp_alerts"] = [
                        {
                            "exp_labels": {k: v for k, v in alert.labels.items() if k != "alertname"},
                            "exp_annotations": alert.annotations,
                        }
                        for alert in alerts
                    ]
                expected.append(entry)
        return {
            "interval": f"{self.spacing_ms // 1000}s",
            "input_series": [
                {"series": _series_text(name, labels), "values": " ".join(map(_value_text, values))}
                for (name, labels), values in self.series.items()
            ],
            "alert_rule_test": expected,
        }


def _hold(store: Store, name: str, labels: dict[str, str], values: Sequence[float | None]) -> None:
    series = store.series(name, labels)
    for index, value in enumerate(values):
        at = index * MINUTE - 1_000 if index else 0
        if value is STALE:
            series.stale(at)
        elif value is not None:
            series.set(value, at)


def _series_text(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}"


def _value_text(value: float | None) -> str:
    if value is None:
        return "_"
    if value is STALE:
        return "stale"
    if value != value:
        return "NaN"
    return {float("inf"): "Inf", float("-inf"): "-Inf"}.get(value, repr(value))


def compare(cases: Sequence[Case], folder: Path) -> None:
    """Asserts that promtool finds the firings of every case to be as they say, in one invocation."""
    tests = []
    for number, case in enumerate(cases):
        (folder / f"rules{number}.yml").write_text(case.rules)
        (folder / f"test{number}.yml").write_text(
            json.dumps(
                {
                    "rule_files": [f"rules{number}.yml"],
                    "evaluation_interval": "1m",
                    "tests": [case.unit_test(f"rules{number}.yml")],
                }
            )
        )
        tests.append(str(folder / f"test{number}.yml"))
    result = run("test", "rules", *tests)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said[:6000]
    assert said.count("SUCCESS") == len(cases)


def by_minute(engine: Engine, minutes: int) -> dict[int, list[Alert]]:
    """What fires at every minute, asked for one minute after the other."""
    firing = {}
    for minute in range(minutes + 1):
        engine.advance(minute * MINUTE)
        firing[minute] = engine.firing()
    return firing
