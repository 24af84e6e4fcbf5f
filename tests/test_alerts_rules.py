"""Rule files are read with every mistake at its place, and expressions mean what PromQL says they mean."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from operations.alerts import Engine, RulesInvalid, Store, check_conventions, read, read_text
from operations.alerts.labels import duration_ms, number
from operations.alerts.promql import PromqlError, parse
from operations.alerts.templates import TemplateError, compile_template, humanize_duration
from operations.alerts.tree import Aggregation, Binary, Negation, Number, Selector

BROKEN = """\
groups:
  - name: one
    interval: 90s
    rulez: []
    rules:
      - alert: A
        exrp: up == 0
        for: 5 minutes
      - alert: B
        expr: rate(x_total) > 0
        annotations:
          summary: "it is {{ $valeu }}"
      - record: not-a-name
        expr: sum by (a (m)
        for: 5m
      - expr: 1
      - alert: C
        expr: |
          m > 5
            and on (a) nosuch(m)
        labels:
          alertname: D
          "1a": x
        labels: {}
      - alert: E
        expr: >-
          sum(m)
          + vector("x")
  - name: one
    rules: []
    interval: 10m
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(RulesInvalid) as caught:
        read_text(text, "r.yml")
    return [str(mistake) for mistake in caught.value.mistakes]


def test_everything_wrong_with_a_file_is_said_at_once_each_at_its_line_and_column_with_a_remedy() -> None:
    assert mistakes(BROKEN) == [
        "r.yml:3:15: an interval that is not on the grid of minutes, or longer than samples are looked back for; "
        "write 1m, 2m, 3m, 4m or 5m",
        "r.yml:4:5: a group has no `rulez`; did you mean `rules`?",
        "r.yml:6:9: the rule has no `expr`; write the expression that it evaluates",
        "r.yml:7:9: an alerting rule has no `exrp`; did you mean `expr`?",
        "r.yml:8:14: `5 minutes` is no duration; write one like 90s, 5m or 1h30m",
        "r.yml:10:20: `rate` wants a range vector here, and this is an instant vector; "
        "give its selector a range, like [5m]",
        "r.yml:12:27: `{{ $valeu }}` is no template action that is read here; did you mean `$value`?",
        "r.yml:13:17: `not-a-name` is no metric name; use letters, digits, `_` and `:`",
        "r.yml:14:25: `(` stands where `,` between two labels is expected; complete or remove what is there",
        "r.yml:15:9: a recording rule has no `for`; it has expr, labels, record",
        "r.yml:16:9: the rule has neither `alert` nor `record`; name it with one of the two",
        "r.yml:20:24: `nosuch` is no function that is evaluated here; there are abs, absent, absent_over_time, avg, "
        "avg_over_time, ceil, changes, clamp, clamp_max, clamp_min, count, count_over_time, delta, floor, increase, "
        "max, max_over_time, min, min_over_time, rate, resets, scalar, sum, sum_over_time, time, vector",
        "r.yml:22:22: the label `alertname` is not the rule's to set; remove it",
        "r.yml:23:11: `1a` is no name for one of the labels; use letters, digits and `_`",
        "r.yml:24:9: `labels` stands in a rule a second time; remove one of them",
        "r.yml:28:20: `vector` wants a scalar here, and this is text; write an expression of that type",
        "r.yml:29:5: a group is called `one` already, on line 2; give it another name",
        "r.yml:31:15: an interval that is not on the grid of minutes, or longer than samples are looked back for; "
        "write 1m, 2m, 3m, 4m or 5m",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.yml:1:1: the file is empty"),
        ("groups: 3\n", "r.yml:1:9: `groups` is no list"),
        ("groups:\n- name: [\n", "r.yml:3:1: this is not YAML"),
        ("- a\n", "r.yml:1:1: a rule file is no mapping"),
        ("grups: []\n", "r.yml:1:1: a rule file has no `grups`; did you mean `groups`?"),
        ("groups:\n- rules: []\n", "r.yml:2:3: the group has no `name`"),
        ("groups:\n- name: a\n  rules:\n  - alert:\n    expr: 1\n", "r.yml:4:11: the rule's name is empty"),
        ("groups:\n- name: a\n  rules:\n  - {alert: A, record: b, expr: m}\n", "r.yml:4:5: the rule has both"),
        ("groups:\n- name: a\n  rules:\n  - {alert: A, expr: 'm[5m]'}\n", "r.yml:4:23: a rule evaluates an instant"),
    ],
)
def test_a_file_of_another_shape_is_refused_where_it_differs(text: str, message: str) -> None:
    assert any(said.startswith(message) for said in mistakes(text)), mistakes(text)


def test_mistakes_of_several_files_are_collected(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("groups: 1\n")
    (tmp_path / "b.yml").write_bytes(b"\xff\xfe\xfa")

    with pytest.raises(RulesInvalid) as caught:
        read([tmp_path / "a.yml", tmp_path / "b.yml", tmp_path / "c.yml"])

    assert [mistake.file.rpartition("/")[2] for mistake in caught.value.mistakes] == ["a.yml", "b.yml", "c.yml"]


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("m >", 3, "the expression ends where"),
        ("m > > 5", 4, "`>` stands where"),
        ('m{a="x}', 4, "this text has no end"),
        ("m{a=5}", 4, "the value of a is no text"),
        ('m{a=~"(?=x)"}', 5, "no regular expression that is read here"),
        ('{a=~".*"}', 0, "selects every series there is"),
        ('m{__name__="x"}', 2, "has its name already"),
        ("1 > 2", 2, "a comparison of two scalars"),
        ("m and 1", 6, "`and` is for instant vectors, and this is a scalar"),
        ("m + on (a) 1", 2, "match two instant vectors"),
        ("m + bool m", 4, "`bool` is for comparisons only"),
        ("m ^ 2", 2, "is not evaluated here"),
        ("a * on (b) group_left c", 11, "is not evaluated here"),
        ("rate(m[5m:1m])", 9, "a subquery"),
        ("sum(m[5m])", 4, "aggregates an instant vector"),
        ("m[0s]", 1, "a range of no length"),
        ("(a + b)[5m]", 7, "a range is taken of a selector only"),
        ("m offset -5m", 9, "looks into the future"),
        ("m[1m30h]", 2, "is no duration"),
        ("clamp(m, 1)", 0, "`clamp` has 3 arguments, not 2"),
        ('m{a="\\d"}', 5, "is no escape"),
        ("m $ 5", 2, "is nothing that PromQL has"),
        ("5x", 0, "is nothing that PromQL has"),
    ],
)
def test_an_expression_that_has_no_meaning_is_refused_at_its_character(text: str, position: int, message: str) -> None:
    with pytest.raises(PromqlError) as caught:
        parse(text)

    assert message in str(caught.value)
    assert caught.value.position == position
    assert caught.value.remedy


def test_operators_bind_as_promql_has_them_bind() -> None:
    tree = parse("a or b and c > 1 + 2 * -d")

    assert isinstance(tree, Binary)
    assert tree.operator == "or"
    assert isinstance(tree.right, Binary)
    assert tree.right.operator == "and"
    assert isinstance(tree.right.right, Binary)
    assert tree.right.right.operator == ">"
    assert isinstance(tree.right.right.right, Binary)
    assert tree.right.right.right.operator == "+"
    product = tree.right.right.right.right
    assert isinstance(product, Binary)
    assert product.operator == "*"
    assert isinstance(product.right, Negation)


def test_words_with_a_meaning_of_their_own_may_be_metrics() -> None:
    assert isinstance(parse("sum"), Selector)
    assert isinstance(parse("SUM(sum) BY (a)"), Aggregation)
    assert isinstance(parse("inf"), Number)
    assert isinstance(parse("0x1F # of them"), Number)


@pytest.mark.parametrize(
    ("text", "ms"), [("1h30m", 5_400_000), ("90s", 90_000), ("1d", 86_400_000), ("0", 0), ("5ms", 5)]
)
def test_durations(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "5", "1.5h", "30m1h", "1h1h", "m", "-5m"])
def test_what_is_no_duration(text: str) -> None:
    assert duration_ms(text) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(3660, "3660"), (1e6, "1e+06"), (123456.5, "123456.5"), (1234567, "1.234567e+06"), (0.00001, "1e-05"),
     (0.0001, "0.0001"), (-2.5, "-2.5"), (-0.0, "-0"), (math.inf, "+Inf"), (math.nan, "NaN"), (1e-300, "1e-300")],
)  # fmt: skip
def test_numbers_are_written_as_prometheus_writes_them(value: float, text: str) -> None:
    assert number(value) == text


def test_templates_read_labels_and_value_and_nothing_else() -> None:
    template = compile_template("{{ $labels.host }} ({{.Labels.zone}}): {{ $value }} = {{ $value | humanizeDuration }}")

    assert template.render({"host": "h1"}, 3723) == "h1 (): 3723 = 1h 2m 3s"
    assert template.reads_value
    assert template.labels == ("host", "zone")
    assert humanize_duration(0.0012) == "1.2ms"
    for text, position in (("a {{ $x }}", 2), ("a {{ $value", 2), ("{{ $value | humanise }}", 0), ("{{- $value }}", 0)):
        with pytest.raises(TemplateError) as caught:
            compile_template(text)
        assert caught.value.position == position


def test_an_alert_without_severity_summary_or_runbook_is_named() -> None:
    groups = read_text(
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: m\n"
        "  - alert: B\n    expr: m\n    labels: {severity: loud, contest: c1}\n"
        "    annotations: {summary: '{{ $labels.contest }}', runbook_url: runbooks/lagg.md}\n"
    )

    assert [str(mistake) for mistake in check_conventions(groups, {"lag", "other"})] == [
        "rules.yml:4:1: alert A: no severity that a pager knows; "
        "set the label `severity` to one of critical, error, warning, info, none",
        "rules.yml:4:1: alert A: no summary; say in the annotation `summary` what is wrong",
        "rules.yml:4:1: alert A: no runbook; set the annotation `runbook_url` to runbooks/ID.md",
        "rules.yml:6:1: alert B: no severity that a pager knows; "
        "set the label `severity` to one of critical, error, warning, info, none",
        "rules.yml:6:1: alert B: `$labels.contest` is empty, for templates see the labels of the series only; "
        "write its value out",
        "rules.yml:6:1: alert B: there is no runbook `lagg`; did you mean `lag`?",
    ]


@pytest.mark.parametrize(
    ("severity", "missed", "mistake"),
    [
        ("none", "", "it pages nobody; name in `when_missed` the page that is sent when it stays away"),
        ("none", ", when_missed: Gone", None),
        ("error", "", None),
        ("error", ", when_missed: Gone",
         "`when_missed` is for one that pages nobody; set `severity` to none, or leave `when_missed` out"),
    ],
)  # fmt: skip
def test_an_alert_that_pages_nobody_names_the_page_of_its_absence(
    severity: str, missed: str, mistake: str | None
) -> None:
    groups = read_text(
        f"groups:\n- name: g\n  rules:\n  - alert: A\n    expr: m\n    labels: {{severity: {severity}}}\n"
        f"    annotations: {{summary: s, runbook_url: runbooks/gone.md{missed}}}\n"
    )
    assert [str(found) for found in check_conventions(groups)] == (
        [f"rules.yml:4:1: alert A: {mistake}"] if mistake else []
    )


def test_a_sample_cannot_be_rewritten_once_it_has_been_scraped() -> None:
    store = Store()
    series = store.series("m")
    series.sample(1, 60_000)
    with pytest.raises(ValueError, match="there is one at 60000 ms"):
        series.sample(2, 60_000)

    Engine((), store).advance(600_000)
    series.set(5, 0)  # late: the scrapes before now have been

    assert series.value(600_000, 600_000) != 5
    assert series.value(660_000, 660_000) == 5
