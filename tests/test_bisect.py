"""`git bisect run absence run --bisect` finds the commit that broke a promise, whatever else lies in the history."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bisected import asked, build, drawn, template


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("house"))


@pytest.mark.parametrize("seed", range(5))
def test_the_commit_that_broke_the_ledger_is_found(seed: int, house: Path, tmp_path: Path) -> None:
    history = drawn(seed)
    found = asked(build(tmp_path, house, history))
    assert (found.first_bad, found.exit_code) == (history.breaks_at, 0), found.said
    assert found.answers == [(history.answer(commit), commit) for _, commit in found.answers]
