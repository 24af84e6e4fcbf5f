"""Policies: everything that is wrong with one is said at once, each mistake at its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from closure.policy import PolicyInvalid, load, shipped
from tests.support.command import absence

GOOD = """\
name: mine
title: A small policy
sets:
  small: {scenarios: [small]}
phases:
  first:
    - id: ends
      claim: Every contest ends
      source: [a 1]
      in: [small]
      assertion: [lifecycle.every_contest_ends]
      rows: [{book: platform.contests, where: {status: PAID_OUT}, each: {closed_at: {not: null}}}]
      coverage: [{of: steps}]
      shares: [paid]
    - id: paid
      claim: Somebody is paid
      source: [a 2]
      in: [small]
      documents: {hold_not: ["ask engineering"]}
      deferred: {until: 2026-12-31, by: somebody, reason: not yet}
"""


def wrong(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(PolicyInvalid) as caught:
        load(path)
    return [str(error).removeprefix(f"{path}:") for error in caught.value.errors]


def test_a_policy_without_a_mistake_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    policy = load(path)
    assert [(phase, criterion.id) for phase, criterion in policy.criteria()] == [("first", "ends"), ("first", "paid")]
    assert policy.model.same_code


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("every_contest_ends", "every_contest_end",
         "11:19: there is no assertion lifecycle.every_contest_end (did you mean lifecycle.every_contest_ends?)"),
        ("platform.contests", "platform.contest",
         "12:21: there is no book platform.contest (did you mean platform.contests?)"),
        ("{status: PAID_OUT}", "{state: PAID_OUT}",
         "12:48: platform.contests has no column state (did you mean status?)"),
        ("{status: PAID_OUT}", "{status: {is: PAID_OUT}}",
         "12:56: status: expected a value, a list of values, null, {holds: text} or {not: one of these}"),
        ("of: steps", "of: stepps", "13:23: of: expected 'failure modes', 'runbooks', 'runbooks completed', 'steps', "
         "'rollbacks', 'branches', 'alert rules' or 'faults', got 'stepps' (did you mean steps?)"),
        ("{status: PAID_OUT},", "{status: PAID_OUT}, at_least: 0,",
         "12:77: at_least: 0 rows are there whatever happens: say at_most too"),
        ('{hold_not: ["ask engineering"]}', "{}",
         "19:18: documents: asks for nothing, and would hold whatever happens"),
        ("[paid]", "[payd]", "14:16: there is no criterion payd (did you mean paid?)"),
        ("in: [small]\n      assertion", "in: [smal]\n      assertion",
         "10:12: there is no set of runs smal (did you mean small?)"),
        ("claim: Every", "clain: Every", "8:7: unknown key clain (did you mean claim?)"),
        ("id: paid", "id: ends", "15:11: the id ends is taken by one of the criteria above"),
        ("ask engineering", "ask (engineering", "19:30: 'ask (engineering' is no regular expression: "
         "missing ), unterminated subpattern at position 4"),
        ("until: 2026-12-31", "until: soon", "20:25: until: expected a date like 2026-06-02, got 'soon'"),
        ("title: A", "title: [A", "3:5: this is not YAML: expected ',' or ']', but got ':'"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_where_it_stands_and_with_what_was_meant(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    assert old in GOOD
    assert said in wrong(tmp_path, GOOD.replace(old, new, 1))


def test_a_criterion_that_names_no_evidence_is_a_mistake(tmp_path: Path) -> None:
    text = GOOD.replace('      documents: {hold_not: ["ask engineering"]}\n', "").replace(
        "      deferred: {until: 2026-12-31, by: somebody, reason: not yet}\n", ""
    )
    [said] = wrong(tmp_path, text)
    assert said.startswith("15:7: paid names no evidence: give it assertion, somewhere,")


def test_all_mistakes_are_said_at_once_and_the_command_ends_in_20(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("PAID_OUT", "[PAID_OUT]").replace("platform.contests", "platform.contest")
                    .replace("title", "titel").replace("[paid]", "[payd]"))  # fmt: skip
    (tmp_path / "run").mkdir()
    told = absence("gate", tmp_path / "run", "--policy", path)
    assert told.exit_code == 20
    *said, incident = told.stderr.splitlines()
    assert incident.startswith("Incident: ")
    assert said == [
        f"{path}:1:1: the key title is missing",
        f"{path}:2:1: unknown key titel (did you mean title?)",
        f"{path}:12:21: there is no book platform.contest (did you mean platform.contests?)",
        f"{path}:14:16: there is no criterion payd (did you mean paid?)",
    ]


def test_a_policy_that_is_not_there_is_said_with_the_nearest_that_is(tmp_path: Path) -> None:
    told = absence("gate", tmp_path, "--policy", "iteration6")
    assert told.exit_code == 20
    assert "no policy of that name is shipped (did you mean iteration06?)" in told.stderr


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_policy_is_in_order_and_named_as_its_file(name: str) -> None:
    policy = load(name)
    assert policy.model.name == name
    for _, criterion in policy.criteria():
        assert criterion.id not in criterion.shares
        assert criterion.claim[0].isupper() or not criterion.claim[0].isalpha()
