"""The engine by transition: the same as evaluating every rule at every minute."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest

from operations.alerts import Change, Engine, Store, read_text
from operations.alerts.series import STALE
from tests.support.promtool import MINUTE
from tests.support.random_rules import Key, case, without_failing

FORTNIGHT = 14 * 24 * 60 * MINUTE


def rules(*lines: str) -> str:
    """A group of rules, each `name: expr` with more keys after `|`."""
    text = "groups:\n- name: g\n  rules:\n"
    for line in lines:
        first, *more = line.split("|")
        name, _, expr = first.partition(":")
        text += f"  - alert: {name}\n    expr: '{expr.strip()}'\n" + "".join(f"    {key.strip()}\n" for key in more)
    return text


def told(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    """What changed at which minute; within a minute in order of rule and labels."""
    return sorted((c.at_ms, c.alert.name, sorted(c.alert.labels.items()), c.alert.state) for c in changes)


def active(engine: Engine) -> list[tuple[Any, ...]]:
    return [(a.labels, a.state, a.annotations, a.active_at_ms, a.firing_at_ms, repr(a.value)) for a in engine.active()]


@pytest.mark.parametrize("seed", range(500, 524))
def test_by_transition_the_same_changes_as_by_minute(seed: int) -> None:
    made = case(seed, 12, 90)
    slow, quick = made.engine(every_minute=True), made.engine()

    one, other = slow.advance(90 * MINUTE), quick.advance(90 * MINUTE)

    assert told(one) == told(other)
    assert one
    assert active(slow) == active(quick)
    assert quick.evaluations < slow.evaluations
    assert {f.rule for f in quick.failures} <= {f.rule for f in slow.failures}


@pytest.mark.parametrize("seed", range(600, 624))
def test_samples_that_come_one_by_one_give_the_same_as_all_at_once(seed: int) -> None:
    """Online the engine sleeps until its next change, or until a sample brings that nearer."""
    draw = random.Random(seed)
    made = without_failing(case(seed * 4 + 1, 12, 90))
    made.series = {key: values for key, values in made.series.items() if key in made.held}
    slow = made.engine(every_minute=True)
    expected = slow.advance(90 * MINUTE)

    store = Store()
    online = Engine(read_text(made.rules), store)
    found: list[Change] = []
    events: list[tuple[int, Key, float]] = []
    for key, values in made.series.items():
        for index, value in enumerate(values):
            if value is not None and (index == 0 or value is not values[index - 1]):
                at = index * MINUTE - draw.randrange(1, MINUTE) if index else 0
                events.append((at, key, value))
    for at, (name, labels), value in sorted(events, key=lambda event: (event[0], event[1])):
        while (due := online.next_change(store.scraped_ms)) is not None and due < at:
            found += online.advance(due)
        series = store.series(name, dict(labels))
        if value is STALE:
            series.stale(at)
        else:
            if draw.random() < 0.2:
                series.set(value + 50, at)  # nobody sees it: it is set again before the next scrape
            series.set(value, at)
    while (due := online.next_change(store.scraped_ms)) is not None and due <= 90 * MINUTE:
        found += online.advance(due)
    found += online.advance(90 * MINUTE)

    assert told(found) == told(expected)
    assert active(online) == active(slow)
    assert online.evaluations < slow.evaluations


def test_an_idle_fortnight_costs_one_evaluation_a_rule_and_has_no_next_change() -> None:
    text = rules(
        "High: m > 5 | for: 5m", "Gone: absent(m)", "Lost: increase(n_total[1h]) > 0", "Both: m > 1 and on () n_total"
    )
    store = Store()
    store.set("m", {}, 1, 0)
    store.set("n_total", {}, 7, 0)
    engine = Engine(read_text(text), store)

    assert engine.advance(0) == []
    first = engine.next_change(0)
    assert engine.advance(FORTNIGHT) == []

    assert first is None or first == MINUTE  # `increase` looks again until its window is full
    assert engine.next_change(FORTNIGHT) is None
    assert engine.evaluations <= 4 + 60


def test_an_age_is_due_at_the_minute_at_which_it_passes_its_threshold() -> None:
    store = Store()
    store.set("done_timestamp_seconds", {"host": "h1"}, 30, 0)
    engine = Engine(read_text(rules("Old: time() - done_timestamp_seconds > 3600 | for: 2m")), store)
    engine.advance(0)

    assert engine.next_change(0) == 61 * MINUTE  # 3660 s - 30 s > 3600 s, and 3600 s - 30 s is not
    assert told(engine.advance(61 * MINUTE)) == [
        (61 * MINUTE, "Old", [("alertname", "Old"), ("host", "h1")], "pending"),
    ]
    assert engine.next_change(61 * MINUTE) == 63 * MINUTE
    assert [c.alert.state for c in engine.advance(63 * MINUTE)] == ["firing"]
    assert engine.next_change(63 * MINUTE) is None


def test_a_heartbeat_every_minute_does_not_wake_a_rule_that_waits_for_silence() -> None:
    store = Store()
    beat = store.series("beat_timestamp_seconds")
    engine = Engine(read_text(rules("Silent: time() - beat_timestamp_seconds > 600")), store)
    for minute in range(1_000):
        beat.set(minute * 60, minute * MINUTE)
        engine.advance(minute * MINUTE)

    assert engine.evaluations <= 1_000 // 10 + 2
    assert engine.firing() == []
    assert told(engine.advance(1_100 * MINUTE)) == [(1_010 * MINUTE, "Silent", [("alertname", "Silent")], "firing")]


def test_a_value_on_the_same_side_of_a_threshold_wakes_nobody() -> None:
    store = Store()
    level = store.series("level")
    engine = Engine(read_text(rules("High: level > 5")), store)
    for minute in range(100):
        level.set(minute % 5, minute * MINUTE)
        engine.advance(minute * MINUTE)
    quiet = engine.evaluations
    level.set(6, 100 * MINUTE)

    assert quiet == 1  # at the start
    assert engine.next_change(99 * MINUTE) == 100 * MINUTE
    assert [c.alert.state for c in engine.advance(100 * MINUTE)] == ["firing"]


def test_a_younger_timestamp_wakes_a_rule_that_an_old_one_kept_quiet() -> None:
    store = Store()
    store.set("m", {}, 1, 0)
    store.set("beat_timestamp_seconds", {}, 0, 0)
    engine = Engine(read_text(rules("Fresh: m unless on () (time() - beat_timestamp_seconds > 600)")), store)
    assert [(c.at_ms // MINUTE, c.alert.state) for c in engine.advance(20 * MINUTE)] == [
        (0, "firing"),
        (11, "resolved"),
    ]

    store.set("beat_timestamp_seconds", {}, 1_200, 20 * MINUTE)

    assert engine.next_change(20 * MINUTE) == 21 * MINUTE
    assert [(c.at_ms // MINUTE, c.alert.state) for c in engine.advance(60 * MINUTE)] == [
        (21, "firing"),
        (31, "resolved"),
    ]


def test_an_age_that_is_asked_for_exactly_is_found_at_its_only_minute() -> None:
    store = Store()
    store.set("beat_timestamp_seconds", {}, 0, 0)
    engine = Engine(read_text(rules("Now: time() - beat_timestamp_seconds == 600")), store)

    assert [(c.at_ms // MINUTE, c.alert.state) for c in engine.advance(60 * MINUTE)] == [
        (10, "firing"),
        (11, "resolved"),
    ]


def test_what_is_set_after_a_scrape_is_found_by_the_next() -> None:
    store = Store()
    engine = Engine(read_text(rules("High: m > 5")), store)
    engine.advance(10 * MINUTE)
    store.set("m", {}, 9, 10 * MINUTE)

    assert [c.at_ms for c in engine.advance(12 * MINUTE)] == [11 * MINUTE]


def test_pending_firing_kept_and_resolved_come_at_their_minutes() -> None:
    store = Store()
    store.set("m", {}, 1, 0)
    m = store.series("m")
    text = rules('Up: m == 1 | for: 2m | keep_firing_for: 3m | annotations: {v: "{{ $value }} of m"}')
    engine = Engine(read_text(text), store)
    changes = list(engine.advance(5 * MINUTE))
    m.set(0, 5 * MINUTE + 1)
    changes += engine.advance(7 * MINUTE)
    kept = engine.firing()
    changes += engine.advance(20 * MINUTE)
    m.set(1, 20 * MINUTE + 1)
    changes += engine.advance(21 * MINUTE)
    m.set(0, 21 * MINUTE + 1)
    changes += engine.advance(30 * MINUTE)

    assert [(c.at_ms // MINUTE, c.alert.state) for c in changes] == [
        (0, "pending"), (2, "firing"), (9, "resolved"), (21, "pending"), (22, "dropped"),
    ]  # fmt: skip
    assert [alert.annotations for alert in kept] == [{"v": "1 of m"}]  # of when it was there, not of now


def test_turns_that_are_missed_tell_of_nothing_and_what_was_pending_has_waited_on() -> None:
    store = Store()
    lines = ["Low: a < 1| for: 10m", "Gone: b < 1", "Now: c < 1"]
    [group] = read_text(rules(*lines))
    engine = Engine([group], store)
    for name in "abc":
        store.set(name, {}, 1, 0)
    store.set("a", {}, 0, 5 * MINUTE - 1)
    assert [change.alert.state for change in engine.advance(5 * MINUTE)] == ["pending"]
    store.set("b", {}, 0, 6 * MINUTE)
    store.set("b", {}, 1, 8 * MINUTE)
    store.set("c", {}, 0, 9 * MINUTE)
    engine.skip(40 * MINUTE)
    assert engine.next_change(5 * MINUTE) == 40 * MINUTE
    assert [(c.at_ms, c.alert.name, c.alert.state, c.alert.active_at_ms) for c in engine.advance(60 * MINUTE)] == [
        (40 * MINUTE, "Low", "firing", 5 * MINUTE), (40 * MINUTE, "Now", "firing", 40 * MINUTE),
    ]  # fmt: skip


def test_what_ended_while_turns_were_missed_is_told_as_it_was_when_it_was_last_seen() -> None:
    store = Store()
    store.set("m", {"job": "x"}, 1, 0)
    engine = Engine(read_text(rules('Up: m == 1 | annotations: {v: "{{ $value }} of {{ $labels.job }}"}')), store)
    [begun] = engine.advance(5 * MINUTE)
    store.series("m", {"job": "x"}).set(0, 7 * MINUTE)
    engine.skip(40 * MINUTE)
    [ended] = engine.advance(40 * MINUTE)
    assert (ended.at_ms, ended.alert.state) == (40 * MINUTE, "resolved")
    assert ended.alert.annotations == begun.alert.annotations == {"v": "1 of x"}


def test_a_group_has_its_own_interval() -> None:
    text = rules("Slow: m > 5 | for: 1m").replace("- name: g", "- name: g\n  interval: 5m")
    store = Store()
    store.set("m", {}, 9, 61_000)
    engine = Engine(read_text(text), store)

    assert [(c.at_ms // MINUTE, c.alert.state) for c in engine.advance(60 * MINUTE)] == [(5, "pending"), (10, "firing")]


def test_fourteen_days_of_twenty_series_take_a_tenth_of_a_second() -> None:
    draw = random.Random(7)
    store = Store()
    for index in range(20):
        series = store.series(f"m{index}", {"host": "h"})
        at = 0
        while at < FORTNIGHT:
            series.set(draw.randrange(100), at)
            at += draw.randrange(1, 360) * MINUTE
    lines = [f"High{index}: m{index} > 90 | for: 5m | keep_firing_for: 10m" for index in range(20)]
    engine = Engine(read_text(rules(*lines)), store)

    begun = time.process_time()
    changes = engine.advance(FORTNIGHT)
    took = time.process_time() - begun

    assert len(changes) > 300
    assert took < 0.1
