"""Reads Prometheus rule files. Everything that is wrong with them is reported at once, each mistake at its place.

Invariant: a rule that is returned can be evaluated: its expression, durations, labels and templates are understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml

from operations.alerts import promql, tree
from operations.alerts.labels import ALERTNAME, LABEL_NAME, NAME, duration_ms
from operations.alerts.located import Mistake, RulesInvalid, nearest
from operations.alerts.series import LOOKBACK_MS
from operations.alerts.templates import Template, TemplateError, compile_template

DEFAULT_INTERVAL_MS = 60_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RecordRule(NamedTuple):
    """`record`: gives an expression's values a name of their own."""

    name: str
    text: str
    expr: tree.Expr
    labels: dict[str, str]
    file: str
    line: int


class AlertRule(NamedTuple):
    """`alert`: fires for each element that its expression has had for `for_ms`, and `keep_firing_ms` longer."""

    name: str
    text: str
    expr: tree.Expr
    for_ms: int
    keep_firing_ms: int
    labels: dict[str, Template]
    annotations: dict[str, Template]
    file: str
    line: int


Rule = RecordRule | AlertRule


class Group(NamedTuple):
    """Rules that are evaluated one after the other, every `interval_ms`."""

    name: str
    interval_ms: int
    rules: tuple[Rule, ...]
    file: str
    line: int


def read(paths: Iterable[str | Path]) -> tuple[Group, ...]:
    """The groups of rule files, in their order. Raises RulesInvalid with every mistake in any of them."""
    mistakes: list[Mistake] = []
    groups: list[Group] = []
    for path in paths:
        try:
            text = Path(path).read_bytes().decode("utf-8")
        except OSError as error:
            mistakes.append(Mistake(str(path), 1, 1, f"cannot be read: {error.strerror}", "give a file that can"))
            continue
        except UnicodeDecodeError as error:
            mistakes.append(Mistake(str(path), 1, 1, f"is not UTF-8: {error.reason}", "save it as UTF-8"))
            continue
        reader = _Reader(str(path), text)
        groups.extend(reader.groups())
        mistakes.extend(reader.mistakes)
    if mistakes:
        raise RulesInvalid(mistakes)
    return tuple(groups)


def read_text(text: str, file: str = "rules.yml") -> tuple[Group, ...]:
    """The groups of one rule file that is at hand already."""
    reader = _Reader(file, text)
    groups = tuple(reader.groups())
    if reader.mistakes:
        raise RulesInvalid(reader.mistakes)
    return groups


_GROUP_KEYS = ("name", "interval", "rules")
_COMMON_KEYS = ("expr", "labels")
_ALERT_KEYS = ("alert", "for", "keep_firing_for", "annotations")


@dataclass(slots=True, eq=False, repr=False)
class _Reader:
    file: str
    text: str
    mistakes: list[Mistake] = field(default_factory=list)

    # --- places -----------------------------------------------------------------------------------------------------

    def wrong(self, node: yaml.Node, message: str, remedy: str, position: int | None = None) -> None:
        mark = self.place(node, position)
        self.mistakes.append(Mistake(self.file, *mark, message, remedy))

    def place(self, node: yaml.Node, position: int | None) -> tuple[int, int]:
        """Line and column of a character of a node's value. YAML folds blanks and nothing else: count what is none."""
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        if not isinstance(node, yaml.ScalarNode) or position is None:
            return line, column
        at = node.start_mark.index
        if node.style in ("|", ">"):
            at = self.text.index("\n", at) + 1
        elif node.style in ("'", '"'):
            at += 1
        wanted = sum(not char.isspace() for char in node.value[:position])
        at_end = position >= len(node.value.rstrip())
        end = node.end_mark.index
        while at < end and (wanted or (self.text[at].isspace() and not at_end)):
            wanted -= not self.text[at].isspace()
            at += 1
        before = self.text[:at]
        return before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1

    # --- the shapes of YAML -----------------------------------------------------------------------------------------

    def mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key → its node and its value's."""
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{what} is no mapping", "write it as `key: value` lines")
            return {}
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.wrong(key, f"a key of {what} is no text", "write a name")
            elif key.value in found:
                self.wrong(key, f"`{key.value}` stands in {what} a second time", "remove one of them")
            else:
                found[key.value] = (key, value)
        return found

    def known(self, found: dict[str, tuple[yaml.Node, yaml.Node]], keys: Sequence[str], what: str) -> None:
        for name, (key, _) in found.items():
            if name not in keys:
                self.wrong(key, f"{what} has no `{name}`", nearest(name, keys, f"it has {', '.join(keys)}"))

    def scalar(self, node: yaml.Node, what: str) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:null" and node.value.strip():
            return str(node.value)
        kind = "is empty" if isinstance(node, yaml.ScalarNode) else "is no text"
        self.wrong(node, f"{what} {kind}", "write one")
        return None

    def duration(self, node: yaml.Node, what: str) -> int:
        text = self.scalar(node, what)
        length = None if text is None else duration_ms(text)
        if text is not None and length is None:
            self.wrong(node, f"`{text}` is no duration", "write one like 90s, 5m or 1h30m")
        return length or 0

    # --- groups and rules -------------------------------------------------------------------------------------------

    def groups(self) -> list[Group]:
        try:
            node = yaml.compose(self.text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            problem = f"this is not YAML: {error.problem or error.context}"
            self.mistakes.append(Mistake(self.file, line, column, problem, "mend the indentation, quotes or brackets"))
            return []
        except yaml.YAMLError as error:
            self.mistakes.append(Mistake(self.file, 1, 1, f"this is not YAML: {error}", "save it as UTF-8 text"))
            return []
        if node is None:
            self.mistakes.append(Mistake(self.file, 1, 1, "the file is empty", "write `groups:` and a group"))
            return []
        found = self.mapping(node, "a rule file")
        self.known(found, ("groups",), "a rule file")
        if "groups" not in found:
            if found or not self.mistakes:
                self.wrong(node, "there are no `groups`", "write `groups:` and a group")
            return []
        groups: list[Group] = []
        names: dict[str, int] = {}
        for item in self.items(found["groups"][1], "`groups`"):
            group = self.group(item)
            if group is not None:
                if group.name in names:
                    where = f"line {names[group.name]}"
                    self.wrong(item, f"a group is called `{group.name}` already, on {where}", "give it another name")
                names.setdefault(group.name, group.line)
                groups.append(group)
        return groups

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.wrong(node, f"{what} is no list", "write its items with `- `")
        return []

    def group(self, node: yaml.Node) -> Group | None:
        found = self.mapping(node, "a group")
        if not found:
            return None
        self.known(found, _GROUP_KEYS, "a group")
        name = self.scalar(found["name"][1], "the group's name") if "name" in found else None
        if "name" not in found:
            self.wrong(node, "the group has no `name`", "give it one")
        interval = DEFAULT_INTERVAL_MS
        if "interval" in found:
            interval = self.duration(found["interval"][1], "the group's interval")
            if interval % DEFAULT_INTERVAL_MS or not 0 < interval <= LOOKBACK_MS:
                message = "an interval that is not on the grid of minutes, or longer than samples are looked back for"
                self.wrong(found["interval"][1], message, "write 1m, 2m, 3m, 4m or 5m")
        if "rules" not in found:
            self.wrong(node, "the group has no `rules`", "write some, or remove it")
            return None
        read = [self.rule(item) for item in self.items(found["rules"][1], "`rules`")]
        rules = tuple(rule for rule in read if rule is not None)
        return Group(name or "", interval, rules, self.file, node.start_mark.line + 1)

    def rule(self, node: yaml.Node) -> Rule | None:
        before = len(self.mistakes)
        found = self.mapping(node, "a rule")
        if not found:
            return None
        if ("alert" in found) == ("record" in found):
            both = "alert" in found
            self.wrong(node, "the rule has both" if both else "the rule has neither `alert` nor `record`",
                       "it is one of the two: split it" if both else "name it with one of the two")  # fmt: skip
            return None
        is_alert = "alert" in found
        what = "an alerting rule" if is_alert else "a recording rule"
        self.known(found, (*_COMMON_KEYS, *(_ALERT_KEYS if is_alert else ("record",))), what)
        name_node = found["alert" if is_alert else "record"][1]
        name = self.scalar(name_node, "the rule's name")
        if name is not None and not is_alert and not promql.is_metric_name(name):
            self.wrong(name_node, f"`{name}` is no metric name", "use letters, digits, `_` and `:`")
        expr: tree.Expr | None = None
        if "expr" in found:
            expr = self.expression(found["expr"][1])
        else:
            self.wrong(node, "the rule has no `expr`", "write the expression that it evaluates")
        labels = self.texts(found, "labels")
        for label, (_, text_node) in labels.items():
            if label in (NAME, ALERTNAME) and (is_alert or label == NAME):
                self.wrong(text_node, f"the label `{label}` is not the rule's to set", "remove it")
        line = node.start_mark.line + 1
        if not is_alert:
            if len(self.mistakes) > before or expr is None or name is None:
                return None
            texts = {label: text for label, (text, _) in labels.items()}
            return RecordRule(name, _text(found["expr"][1]), expr, texts, self.file, line)
        hold = self.duration(found["for"][1], "`for`") if "for" in found else 0
        keep = self.duration(found["keep_firing_for"][1], "`keep_firing_for`") if "keep_firing_for" in found else 0
        label_templates = self.templates(labels)
        annotations = self.templates(self.texts(found, "annotations"))
        if len(self.mistakes) > before or expr is None or name is None:
            return None
        text = _text(found["expr"][1])
        return AlertRule(name, text, expr, hold, keep, label_templates, annotations, self.file, line)

    def expression(self, node: yaml.Node) -> tree.Expr | None:
        text = self.scalar(node, "`expr`")
        if text is None:
            return None
        try:
            expr = promql.parse(text)
        except promql.PromqlError as error:
            self.wrong(node, error.message, error.remedy, error.position)
            return None
        if expr.type not in ("scalar", "vector"):
            wanted = "a rule evaluates an instant vector or a scalar"
            self.wrong(node, wanted, "put the range into a function like rate(…)", expr.position)
            return None
        return expr

    def texts(self, found: dict[str, tuple[yaml.Node, yaml.Node]], key: str) -> dict[str, tuple[str, yaml.Node]]:
        if key not in found:
            return {}
        texts: dict[str, tuple[str, yaml.Node]] = {}
        for name, (name_node, value) in self.mapping(found[key][1], f"`{key}`").items():
            if LABEL_NAME.fullmatch(name) is None:
                self.wrong(name_node, f"`{name}` is no name for one of the {key}", "use letters, digits and `_`")
            elif not isinstance(value, yaml.ScalarNode):
                self.wrong(value, f"`{name}` is no text", "write one")
            else:
                texts[name] = (value.value, value)
        return texts

    def templates(self, texts: dict[str, tuple[str, yaml.Node]]) -> dict[str, Template]:
        found: dict[str, Template] = {}
        for name, (text, node) in texts.items():
            try:
                found[name] = compile_template(text)
            except TemplateError as error:
                self.wrong(node, error.message, error.remedy, error.position)
        return found


def _text(node: yaml.Node) -> str:
    return str(node.value).strip()
