"""Twenty histories: `git bisect run absence run --bisect --expect …` finds the commit in each (make proof)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bisected import History, asked, build, drawn, template


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("house"))


@pytest.mark.parametrize("seed", range(20))
def test_the_commit_that_broke_the_ledger_is_found(seed: int, house: Path, tmp_path: Path) -> None:
    history = drawn(seed)
    found = asked(build(tmp_path, house, history))
    assert (found.first_bad, found.exit_code) == (history.breaks_at, 0), found.said
    assert found.answers == [(history.answer(commit), commit) for _, commit in found.answers]


def test_without_an_expectation_it_is_the_first_bug_of_any_kind(house: Path, tmp_path: Path) -> None:
    history = History(breaks_at=20, other=range(6, 32), unbuildable=12)
    found = build(tmp_path, house, history).bisect("absence", "run", "tiny.yaml", "--bisect", "--out", tmp_path / "r")
    assert (found.first_bad, found.exit_code) == (6, 0), found.said


def test_where_nothing_tells_two_commits_apart_git_names_both_and_neither_is_called_the_first(
    house: Path, tmp_path: Path
) -> None:
    history = History(breaks_at=16, other=range(0), unbuildable=15)
    repository = build(tmp_path, house, history)
    found = asked(repository)
    assert found.first_bad is None
    assert found.exit_code != 0
    candidates = found.said.partition("The first bad commit could be any of:")[2]
    assert {n for n, commit in enumerate(repository.commits) if commit in candidates} == {15, 16}
