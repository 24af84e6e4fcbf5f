"""Evaluates rule groups on the grid of minutes, and only when something could differ.

Every rule has an instant at which it is due: the horizon of its expression, the end of a `for` or `keep_firing_for`,
or the scrape that brings a sample which concerns it. Between two of them nothing happens, however long that is.

Invariant: `advance` gives the changes that evaluating every rule at every instant of its grid would give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from operations.alerts.labels import ALERTNAME, Labels, label_set
from operations.alerts.nodes import EvaluationError, Leaf, Select
from operations.alerts.plan import Plan, Recorded, may_name, naming
from operations.alerts.rules import AlertRule, Group, RecordRule
from operations.alerts.series import NEVER, Series, Store
from operations.alerts.tree import selectors

ALERTS, ALERTS_FOR_STATE = "ALERTS", "ALERTS_FOR_STATE"
State = Literal["pending", "firing", "resolved", "dropped"]


class Alert:
    """An alert as it stands: `labels` with alertname, `active_at_ms` the instant since which its condition holds.

    Its value and annotations are of the last instant at which its element was there, and made when they are asked for.
    """

    __slots__ = ("_made", "_seen_at", "_source", "_task", "active_at_ms", "firing_at_ms", "labels", "name", "state")

    def __init__(self, task: _Alerting, active: _Active, state: State, seen_at: int) -> None:
        self.name = task.rule.name
        self.labels = dict(active.labels)
        self.state = state
        self.active_at_ms, self.firing_at_ms = active.active_at, active.firing_at
        self._task, self._source, self._seen_at = task, active.source, seen_at
        self._made: tuple[float, dict[str, str]] | None = None

    @property
    def value(self) -> float:
        return self._make()[0]

    @property
    def annotations(self) -> dict[str, str]:
        return self._make()[1]

    def _make(self) -> tuple[float, dict[str, str]]:
        if self._made is None:
            task, labels = self._task, label_set(self.labels)
            vector = task.plan.vector(self._seen_at)
            value = next(value for source, value in vector if task.labels(source, value) == labels)
            plain = dict(self._source)
            texts = {name: template.render(plain, value) for name, template in task.rule.annotations.items()}
            self._made = value, texts
        return self._made

    def __repr__(self) -> str:
        return f"Alert({self.labels}, {self.state}, active_at_ms={self.active_at_ms}, firing_at_ms={self.firing_at_ms})"


class Change(NamedTuple):
    """What became of an alert at an instant: pending, firing, resolved, or dropped without having fired."""

    at_ms: int
    alert: Alert


class Failure(NamedTuple):
    """A rule that had no value at an instant; its alerts stay as they were."""

    at_ms: int
    rule: str
    file: str
    line: int
    message: str


@dataclass(slots=True, eq=False, repr=False)
class _Active:
    labels: Labels
    source: Labels  # of the element, before the rule's own labels
    active_at: int
    firing_at: int | None = None
    keep_since: int | None = None
    last_seen: int | None = None  # of one whose element is gone: when it was there for the last time

    @property
    def state(self) -> State:
        return "pending" if self.firing_at is None else "firing"


class _Task:
    """A rule and when it has its next turn."""

    def __init__(self, engine: Engine, plan: Plan) -> None:
        self.engine, self.plan = engine, plan
        self.order, self.every = plan.order, plan.every
        self.due = 0
        self.failing_since = NEVER
        self.missed_since = NEVER  # the first turn that was missed before the next one
        self.idle = False  # nobody reads what it records: it is read instead

    def active_now(self) -> bool:
        return True

    def upward(self, instant: int) -> int:
        return instant if instant >= NEVER else instant + -instant % self.every

    def turn(self, at: int) -> None:
        raise NotImplementedError

    def evaluate(self, at: int) -> None:
        """Has its turn; notes when it has the next one. A rule that fails is due again at once."""
        try:
            self.due = NEVER
            self.turn(at)
            self.failing_since = NEVER
            horizon = at + 1 if self.engine.every_minute else self.plan.root.horizon(at)
        except EvaluationError as error:
            self.failing_since = min(self.failing_since, at)
            self.failed(at)
            self.engine.note_failure(at, self, str(error))
            horizon = at + 1
        assert horizon > at, f"{self.plan.expr} would be evaluated at {at} for ever"
        self.due = min(self.due, self.upward(horizon))

    def failed(self, at: int) -> None:
        """What becomes of what it recorded when it has no value."""

    def watch(self, series: Series) -> None:
        for leaf in self.plan.leaves:
            if leaf.attach(series) and not self.idle:
                series.watchers.append(_Watch(self, leaf, leaf.offset + leaf.found[-1][2]))


@dataclass(slots=True, eq=False, repr=False)
class _Watch:
    """A leaf of a rule that reads a series, and how much later than it is scraped it sees a sample."""

    task: _Task
    leaf: Leaf
    later: int

    def told(self, before: float, after: float, at_ms: int) -> None:
        task = self.task
        instant = at_ms + self.later
        if instant < task.due:
            instant = task.upward(instant)
            if instant < task.due and self.leaf.concerns(before, after, task.active_now()):
                task.due = instant
                heappush(task.engine.turns, (instant, task.order))


class _Recording(_Task):
    """A recording rule, and the series that it recorded at its last turn."""

    def __init__(self, engine: Engine, plan: Plan, rule: RecordRule) -> None:
        super().__init__(engine, plan)
        self.rule = rule
        self.recorded: dict[Labels, Series] = {}
        self.name = naming(rule)

    def turn(self, at: int) -> None:
        found: dict[Labels, float] = {}
        for labels, value in self.plan.vector(at):
            named = self.name(labels)
            if named in found:
                raise EvaluationError("vector contains metrics with the same labelset after applying rule labels")
            found[named] = value
        self.recorded = self.engine.record(self, self.recorded, found, at)

    def failed(self, at: int) -> None:
        for series in self.recorded.values():
            series.pause(at)


class _Alerting(_Task):
    """An alerting rule and its alerts that are pending or firing."""

    def __init__(self, engine: Engine, plan: Plan, rule: AlertRule, emits: bool) -> None:
        super().__init__(engine, plan)
        self.rule, self.emits = rule, emits
        self.active: dict[Labels, _Active] = {}
        self.emitted: dict[Labels, Series] = {}
        self._labels: dict[Labels, Labels] = {}

    def active_now(self) -> bool:
        return bool(self.active)

    def labels(self, source: Labels, value: float) -> Labels:
        """The alert's labels for an element."""
        labels = self._labels.get(source)
        if labels is None:
            plain = dict(source)
            own = {name: template.render(plain, value) for name, template in self.rule.labels.items()}
            labels = label_set({**plain, **own, ALERTNAME: self.rule.name})
            if not self.plan.values:
                self._labels[source] = labels
        return labels

    def turn(self, at: int) -> None:
        active = self.active
        present: dict[Labels, Labels] = {}
        for source, value in self.plan.vector(at):
            labels = self.labels(source, value)
            if labels in present:
                raise EvaluationError("vector contains metrics with the same labelset after applying alert labels")
            present[labels] = source
        failing, self.failing_since = min(self.failing_since, self.missed_since), NEVER
        self.missed_since = NEVER
        if not present and not active:
            if self.emitted:
                self.emit(at)
            return
        for labels, source in present.items():
            alert = active.get(labels)
            if alert is None:
                active[labels] = _Active(labels, source, at)
                if self.rule.for_ms:
                    self.changed(at, active[labels], "pending")
            else:
                alert.source = source
        for labels, alert in sorted(active.items()):
            if labels in present:
                alert.keep_since = alert.last_seen = None
                if alert.firing_at is None:
                    self.count_down(at, alert)
            else:
                self.missing(at, labels, alert, min(at, failing))
        if self.emits:
            self.emit(at)

    def count_down(self, at: int, alert: _Active) -> None:
        if at - alert.active_at >= self.rule.for_ms:
            alert.firing_at = at
            self.changed(at, alert, "firing")
        else:
            self.due = min(self.due, self.upward(alert.active_at + self.rule.for_ms))

    def missing(self, at: int, labels: Labels, alert: _Active, since: int) -> None:
        if alert.last_seen is None:
            alert.last_seen = since - self.every
        if alert.firing_at is not None and self.rule.keep_firing_ms:
            if alert.keep_since is None:
                alert.keep_since = at
            if at - alert.keep_since < self.rule.keep_firing_ms:
                self.due = min(self.due, self.upward(alert.keep_since + self.rule.keep_firing_ms))
                return
        del self.active[labels]
        self.changed(at, alert, "dropped" if alert.firing_at is None else "resolved")

    def changed(self, at: int, alert: _Active, state: State) -> None:
        self.engine.changes.append(Change(at, self.shown(alert, at, state)))

    def shown(self, alert: _Active, at: int, state: State) -> Alert:
        seen = at if at < self.failing_since else self.failing_since - self.every
        return Alert(self, alert, state, seen if alert.last_seen is None else alert.last_seen)

    def emit(self, at: int) -> None:
        """The alerts as series, for rules that read them."""
        found: dict[Labels, float] = {}
        for alert in self.active.values():
            plain = dict(alert.labels)
            found[label_set({**plain, "alertstate": alert.state}, ALERTS)] = 1.0
            found[label_set(plain, ALERTS_FOR_STATE)] = float(alert.active_at // 1000)
        self.emitted = self.engine.record(self, self.emitted, found, at)

    def failed(self, at: int) -> None:
        for series in self.emitted.values():
            series.pause(at)


@dataclass(slots=True, eq=False, repr=False)
class Engine:
    """What the rules of `groups` make of the series in `store`, from `start_ms` on.

    Offline, put all samples in and `advance` to the end. Online, call `advance` at `next_change` and whenever a sample
    brings that nearer; between the two nothing changes. `every_minute` evaluates everything at every turn instead.
    """

    groups: Sequence[Group]
    store: Store
    start_ms: int = 0
    every_minute: bool = False
    changes: list[Change] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    evaluations: int = 0
    _tasks: list[_Task] = field(default_factory=list)
    turns: list[tuple[int, int]] = field(default_factory=list)  # a heap of (when, which rule), some of them overtaken
    _done: int = field(init=False)

    def __post_init__(self) -> None:
        rules = [(group, rule) for group in self.groups for rule in group.rules]
        emits = any(_may_read_alerts(rule) for _, rule in rules)
        recorded = None if self.every_minute else Recorded(rules)
        for order, (group, rule) in enumerate(rules):
            values = isinstance(rule, RecordRule) or any(t.reads_value for t in rule.labels.values())
            plan = Plan(rule.expr, order, group.interval_ms, values, recorded)
            if isinstance(rule, AlertRule):
                self._tasks.append(_Alerting(self, plan, rule, emits))
            else:
                self._tasks.append(_Recording(self, plan, rule))
        self._done = self.start_ms - 1
        for task in self._tasks:
            idle = isinstance(task, _Recording) and recorded is not None and task.rule.name in recorded
            task.due = NEVER if idle else task.upward(self.start_ms)
            task.idle = idle
            if not idle:
                heappush(self.turns, (task.due, task.order))
        self.store.opened.append(self._opened)
        for family in list(self.store.by_name.values()):
            for series in family.values():
                self._opened(series)

    # --- asked ------------------------------------------------------------------------------------------------------

    def next_change(self, after_ms: int) -> int | None:
        """The earliest instant of the grid after `after_ms` at which anything could differ if no new sample came.

        None: nothing ever will. Cheap: call it after a sample to learn whether that brings the next change nearer.
        """
        turns = self.turns
        while turns and self._tasks[turns[0][1]].due != turns[0][0]:
            heappop(turns)
        if not turns:
            return None
        grid = self.store.grid_ms
        return max(turns[0][0], after_ms + grid - after_ms % grid)

    def advance(self, to_ms: int) -> list[Change]:
        """Evaluates all that is due up to `to_ms`, included; gives what changed, in order of time, rule and labels.

        What is set from now on is found by scrapes after `to_ms`.
        """
        self.changes = []
        turns, tasks = self.turns, self._tasks
        while turns and turns[0][0] <= to_ms:
            at, order = heappop(turns)
            task = tasks[order]
            if task.due == at:  # else it has had its turn, or has one earlier
                self.evaluations += 1
                task.evaluate(at)
                if task.due < NEVER:
                    heappush(turns, (task.due, order))
        self._done = max(self._done, to_ms)
        self.store.scraped_ms = max(self.store.scraped_ms, to_ms)
        return self.changes

    def skip(self, to_ms: int) -> None:
        """Misses every turn before `to_ms`: whoever evaluates has stood still. What was pending or firing is so still,
        and what has been due meanwhile is due then."""
        for task in self._tasks:
            if task.due < to_ms:
                task.missed_since, task.due = task.due, task.upward(to_ms)
                heappush(self.turns, (task.due, task.order))

    def active(self) -> list[Alert]:
        """What is pending or firing now, in order of rule and labels."""
        return [
            task.shown(alert, self._done - self._done % task.every, alert.state)
            for task in self._tasks
            if isinstance(task, _Alerting)
            for _, alert in sorted(task.active.items())
        ]

    def firing(self) -> list[Alert]:
        """What fires now, in order of rule and labels."""
        return [alert for alert in self.active() if alert.state == "firing"]

    def recorded(self, name: str) -> list[tuple[dict[str, str], float]]:
        """What the recording rules of this name give now: (labels, value) of each element."""
        return [
            (dict(task.name(labels)), value)
            for task in self._tasks
            if isinstance(task, _Recording) and task.rule.name == name
            for labels, value in task.plan.vector(self._done - self._done % task.every)
        ]

    def readers(self, name: str) -> list[Callable[[], bool]] | None:
        """Of a metric that rules ask for nothing but its age (and whether it is there): what tells of each of them
        whether its alert is active now. While none is, a younger timestamp changes nothing, and need not be told before
        the next `advance`. None for any other metric."""
        readers = []
        for task in self._tasks:
            for leaf in task.plan.leaves:
                if leaf.name in (None, name):
                    if not (isinstance(leaf, Select) and (leaf.aging or leaf.presence) and not leaf.offset):
                        return None
                    readers.append(task.active_now)
        return readers

    # --- of the rules -----------------------------------------------------------------------------------------------

    def record(
        self, task: _Task, before: dict[Labels, Series], found: dict[Labels, float], at: int
    ) -> dict[Labels, Series]:
        """Writes what a rule gives at an instant; what it gave before and does not now has ended."""
        recorded: dict[Labels, Series] = {}
        for labels, value in found.items():
            series = recorded[labels] = before.get(labels) or self.store.get(labels, task.every, task.order)
            series.hold(value, at)
        for labels, series in before.items():
            if labels not in found:
                series.end(at)
        return recorded

    def note_failure(self, at: int, task: _Task, message: str) -> None:
        assert isinstance(task, _Recording | _Alerting)
        self.failures.append(Failure(at, task.rule.name, task.rule.file, task.rule.line, message))

    def _opened(self, series: Series) -> None:
        for task in self._tasks:
            task.watch(series)


def _may_read_alerts(rule: AlertRule | RecordRule) -> bool:
    return any(may_name(selector, name) for selector in selectors(rule.expr) for name in (ALERTS, ALERTS_FOR_STATE))
