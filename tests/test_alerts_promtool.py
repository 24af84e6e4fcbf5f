"""The engine against Prometheus itself: the same rules and samples, the same firings at every minute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operations.alerts.series import STALE
from tests.support.promtool import MINUTE, Case, by_minute, compare, promtool, run
from tests.support.random_rules import case, without_failing

ROOT = Path(__file__).parent.parent
FAMILIES, MINUTES, CASES = 24, 40, 24


def _case(seed: int) -> Case:
    made = without_failing(case(seed, FAMILIES, MINUTES))
    made.firing = by_minute(made.engine(), MINUTES)
    return made


@pytest.mark.parametrize("batch", range(4))
def test_random_alerts_fire_at_the_minutes_at_which_promtool_has_them_fire(batch: int, tmp_path: Path) -> None:
    cases = [_case(batch * 1_000 + number) for number in range(CASES // 4)]

    compare(cases, tmp_path)

    # four batches are 500 alerts at least, and they are no alerts that never fire
    assert sum(len(made.names()) for made in cases) >= 125
    fired = {(number, alert.name) for number, made in enumerate(cases) for now in made.firing.values() for alert in now}
    assert len(fired) >= 40
    stopped = sum(len(made.firing[m]) != len(made.firing[m + 1]) for made in cases for m in range(MINUTES))
    assert stopped >= 100


def test_promtool_would_notice_a_firing_that_is_a_minute_late(tmp_path: Path) -> None:
    made = _case(3)
    late = {minute: made.firing[max(0, minute - 1)] for minute in made.firing}
    assert late != made.firing
    made.firing = late

    with pytest.raises(AssertionError, match="FAILED"):
        compare([made], tmp_path)


def _rules(*rules: dict[str, object]) -> str:
    return json.dumps({"groups": [{"name": "g", "rules": rules}]})


def test_corners_that_chance_seldom_meets_are_as_promtool_has_them(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    series: dict[tuple[str, tuple[tuple[str, str], ...]], list[float | None]] = {
        ("lookback", ()): [1.0] + [None] * 20,  # the last sample counts for five minutes, the fifth included
        ("ended", ()): [1.0, 1.0, STALE] + [None] * 18,
        ("odd", (("a", "x"),)): [nan, inf, -inf, 0.0, -0.0, 1.0, nan] * 3,
        ("big", ()): [123456.5, 1e6, 1234567.0, 0.00001, 1e15, 0.5, 100000.0] * 3,
        ("counter", (("a", "x"),)): [float(v) for v in [0, 5, 9, 2, 2, 2, 2, 8, 8, 8, 0, 0, 1, 3, 3, 3, 3, 3, 3, 3, 3]],
        ("blink", ()): [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0] + [0.0] * 10,
    }
    shown = {"v": "{{ $value }}|{{ $labels.a }}|{{ $value | humanizeDuration }}|{{ $value | humanizePercentage }}"}
    expressions = [
        "lookback", "ended", "odd", "big", "odd == odd", "odd != 0", "odd > bool 0", "1 / odd", "odd % 2", "-odd",
        "clamp(odd, 0, 1)", "max_over_time(odd[3m])", "avg_over_time(odd[3m])", "sum_over_time(odd[4m])",
        "rate(counter[5m])", "increase(counter[4m30s])", "delta(counter[5m])", "resets(counter[10m]) > 0",
        "changes(odd[5m])", "count_over_time(ended[10m])", "absent(ended)", 'absent(nothing{a="x", b=~"y", a="z"})',
        "absent_over_time(ended[5m])", "time()", "vector(time()) > 600", "scalar(counter) > bool 2",
        "sum(counter) by (a)",
        "counter and on (a) odd", "counter unless ignoring (a) blink", "ended or blink", "counter / ignoring (a) blink",
        "2 * 3 - 4 / 2 % 3", "- 1 * 2 - -blink", "1 < bool 2 == bool 1", "counter offset 2m30s", "time() - big > 300",
        "count_over_time(lookback[5m])", "300 < time() - blink", "avg(odd)", "min without (a) (odd)", "floor(odd / 2)",
        'ALERTS{alertstate="firing", alertname="A0"}', 'ALERTS_FOR_STATE{alertname="B1"}', "r0 * 2", "r0 offset 1m",
        "count_over_time(r1[5m])", "recorded:age > 300", "recorded:age - 60 and recorded:age < 500",
    ]  # fmt: skip
    rules: list[dict[str, object]] = [
        {"alert": f"A{index}", "expr": text, "annotations": shown} for index, text in enumerate(expressions)
    ]
    rules.insert(0, {"record": "r0", "expr": "sum by (a) (counter)", "labels": {"b": "q"}})
    rules.insert(0, {"record": "recorded:age", "expr": "(time() - blink) and on () ended"})
    rules.append({"record": "r1", "expr": "counter > 2"})  # read by rules before it: a turn later
    for number, (hold, keep) in enumerate((("0s", "0s"), ("1m", "0s"), ("2m", "3m"), ("90s", "90s"), ("3m", "1m"))):
        rules.append({"alert": f"B{number}", "expr": "blink == 1", "for": hold, "keep_firing_for": keep})
    made = Case(_rules(*rules), series, 25)
    made.firing = by_minute(made.engine(), 25)

    compare([made], tmp_path)

    assert not made.engine().failures


def test_a_rule_that_promtool_cannot_evaluate_fails_here_at_the_same_minutes(tmp_path: Path) -> None:
    """Two matches for one element at minute 2 to 3: the alert stays as it was, and the recorded series lasts."""
    two = [None, None, 1.0, 1.0, STALE] + [None] * 8
    series = {("m", (("a", "x"),)): [1.0] * 13, ("one", (("b", "p"),)): [1.0] * 13, ("one", (("b", "q"),)): two}
    text = _rules(
        {"record": "r", "expr": "m * on () one"},
        {"alert": "A", "expr": "m * on () one", "for": "1m"},
        {"alert": "B", "expr": "r"},
        {"alert": "C", "expr": "-{__name__=~'m|one', b!='q'} and on () one"},
    )
    made = Case(text, series, 12)
    engine = made.engine()
    made.firing = by_minute(engine, 12)

    assert {(failure.at_ms // MINUTE, failure.rule) for failure in engine.failures} == {
        (minute, rule) for minute in (2, 3) for rule in ("r", "A")
    }
    assert [alert.name for alert in made.firing[2]] == ["A", "B", "C", "C"]

    (tmp_path / "rules.yml").write_text(text)
    tests = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [made.unit_test("rules.yml")]}
    (tmp_path / "test.yml").write_text(json.dumps(tests))
    result = run("test", "rules", str(tmp_path / "test.yml"))
    said = result.stdout + result.stderr
    assert "exp:" not in said, said  # no firing differs
    assert "duplicate series" in said, said


def test_a_missing_promtool_is_said_aloud_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="NOTHING was compared"):
        promtool()

    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="NOTHING was compared"):
        promtool()


def test_promtool_accepts_the_shipped_rules() -> None:
    files = sorted(map(str, (ROOT / "alerts").glob("*.yml")))

    result = run("check", "rules", *files)

    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("SUCCESS") == len(files) > 0
