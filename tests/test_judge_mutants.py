"""`absence mutants --generic`: which changes are made, when a verdict notices one, and what is told of it."""

from __future__ import annotations

import ast
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from campaigns import second_opinion
from campaigns.generic_mutants import Mutant, sample
from campaigns.judge_mutants import Gallery, make_gallery, outcomes
from defects import defect
from seams.draws import Draws
from tests.support.command import ROOT, absence

DRAWS = Draws("00" * 32)
LEDGER = "assertions/ledger.py"


def mutants_of(tmp_path: Path, text: str, count: int = 1000) -> list[Mutant]:
    (tmp_path / "code.py").write_text(dedent(text))
    return sample(tmp_path, [tmp_path / "code.py"], count, DRAWS)


def test_each_change_is_of_one_expression_and_says_where_it_is(tmp_path: Path) -> None:
    found = mutants_of(tmp_path, "def of(a):\n    return a + 1 if a < 3 and not a else 0\n")
    assert {str(one) for one in found} >= {
        "code.py:2  a + 1 → a - 1",
        "code.py:2  1 → 2",
        "code.py:2  < 3 → <= 3",
        "code.py:2  a < 3 and not a → a < 3 or not a",
        "code.py:2  not a → a",
    }
    before = ast.dump(ast.parse((tmp_path / "code.py").read_text()))
    assert all(ast.dump(ast.parse(one.text)) != before for one in found)


def test_words_types_and_decorators_are_left_alone(tmp_path: Path) -> None:
    text = """
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            LENGTH = 1 + 2


        @cache(1 + 2)
        def told(a: "int | 1" = None) -> "str | 1":
            x = f"{a + 1}"
            return "of " + x
        """
    assert [one.now for one in mutants_of(tmp_path, text)] == ['"of " - x']


def test_of_more_mutants_the_fewer_are_a_part(tmp_path: Path) -> None:
    few, many = ({str(one) for one in mutants_of(tmp_path, "A = 1 + 2 * 3 - 4 < 5\n", count)} for count in (3, 6))
    assert len(few) == 3
    assert few < many


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    made = []
    root = tmp_path_factory.mktemp("gallery")
    found = make_gallery(root, [defect("payouts.fee_deducted")], 1, lambda done, of: made.append((done, of)))
    assert made == [(1, 2), (2, 2)]
    return found


def test_runs_that_break_what_is_changed_are_judged_first(gallery: Gallery) -> None:
    first, second = gallery.for_module("payouts")
    assert (first.parent.name, second.parent.name) == ("payouts.fee_deducted", "scene-0")


def mutant(old: str, new: str, file: str = LEDGER) -> Mutant:
    text = (ROOT / file).read_text()
    assert old in text
    return Mutant(file, 1, old, new, text.replace(old, new, 1))


def cases() -> Iterator[tuple[Mutant, str | None]]:
    yield mutant('"""Family ledger', '"""The family ledger'), None
    yield mutant("from __future__ import annotations\n", "from __future__ import annotations\n1 / 0\n"), "crash"
    model = "assertions/model.py"
    yield mutant("if found.broken:", "if not found.broken:", model), "statuses"
    yield mutant("found.saw,\n        found.owed", "found.saw + 1,\n        found.owed", model), "figures"


def test_a_mutant_is_killed_by_what_a_verdict_says_and_not_by_its_words(gallery: Gallery) -> None:
    made = list(cases())
    came = outcomes([one for one, _ in made], gallery, 1, lambda _done, _of: None)
    assert [one.by for one in came] == [by for _, by in made]
    assert [one.run is not None for one in came] == [False, False, True, True]


def test_changed_code_has_so_much_cpu_time_for_each_run_and_code_as_it_is_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []

    def figures(run: str) -> dict[str, str]:
        limits.append(signal.setitimer(signal.ITIMER_PROF, 100)[0])
        return {"statuses": run}

    monkeypatch.setattr(second_opinion, "_figures_of", figures)
    monkeypatch.setattr(signal, "alarm", lambda _: pytest.fail("that depends on the load"))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    (tmp_path / "known.json").write_text(json.dumps({run: {"statuses": run} for run in "ab"}))
    try:
        assert len(list(second_opinion._opinions(["a"], None, None, None))) == 1
        assert list(second_opinion._opinions(["a", "b"], str(tmp_path / "known.json"), "no.such.module", "")) == []
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    assert limits[0] == 0
    assert [round(limit) for limit in limits[1:]] == [300, 300]


def test_the_command_says_which_live_and_how_many_do_not() -> None:
    told = absence("mutants", "--only", "payouts.fee_*", "--generic", "3", "--workers", "1", "--json").json
    assert (told["made"], len(told["mutants"])) == (3, 3)
    assert told["killed"] == sum(one["by"] is not None for one in told["mutants"])
    assert all((ROOT / one["file"]).exists() for one in told["mutants"])
