"""The pytest plugin: seeds, runs made once, and a failure that says what broke and how to replay it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path
from threading import Barrier

import pytest

from campaigns import published
from campaigns.published import run_of
from evidence.plan import Plan
from evidence.writer import check_writable
from scenarios import load, make_plan
from tests.support.command import process

pytest_plugins = ["pytester"]
PLUGIN = "campaigns.pytest_plugin"
IS_INSTALLED = any(point.value == PLUGIN for point in entry_points(group="pytest11"))

Session = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that a run needs: pytester forgets what a session in this process loads, and much of it loads only once."""
    run_of(make_plan(load("small"), 1), tmp_path_factory.mktemp("loaded"))


@pytest.fixture
def session(loaded: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Runs a test file in a project that has the plugin, however this one is installed. Arguments: text, options."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run(text: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(text)
        return pytester.runpytest_inprocess(*([] if IS_INSTALLED else ["-p", PLUGIN]), "-p", "no:randomly", *options)

    return run


def test_a_run_tells_its_verdict_its_rows_and_where_it_is(session: Session) -> None:
    told = session(
        """
        import pytest
        from evidence.run import UnknownName

        def test_it(absence_run):
            run = absence_run("small")
            assert run.status == run.verdict.status.value == "PASS"
            assert (run.path / "manifest.json").is_file()
            assert run.evidence.plan.seed == 1
            paid = run.rows("platform.transfers", status="PAID")
            assert len(paid) == 3 and {row["status"] for row in paid} == {"PAID"}
            assert run.rows("platform.transfers", status="LOST") == []
            with pytest.raises(UnknownName, match="did you mean status"):
                run.rows("platform.transfers", statos="PAID")
        """
    )
    told.assert_outcomes(passed=1)


def test_a_plan_is_run_once_a_session_whoever_asks(session: Session) -> None:
    told = session(
        """
        import pytest
        from campaigns import published
        from scenarios import load, make_plan

        made = []

        @pytest.fixture(autouse=True)
        def count(monkeypatch):
            real = published._make
            monkeypatch.setattr(published, "_make", lambda *given: (made.append(given), real(*given)))

        def test_one(absence_run):
            assert absence_run("small") is absence_run("small", seed=1)

        def test_two(absence_run):
            run = absence_run(make_plan(load("small"), 1))
            with pytest.raises(TypeError, match="a plan has its seed"):
                absence_run(run.evidence.plan, seed=2)

        def test_three(absence_run):
            one, other = absence_run("small"), absence_run("small", faults=["webhooks.lost"])
            assert [fault.fault for fault in other.evidence.plan.faults] == ["webhooks.lost"]
            assert len(made) == 2 and one.path != other.path
        """
    )
    told.assert_outcomes(passed=3)


SEEDED = """
    import pytest

    @pytest.mark.absence(scenario="small", seeds=[4, 5], faults=[])
    def test_marked(absence_run):
        run = absence_run()
        print("ran", run.verdict.scenario, run.verdict.seed)

    def test_bare(absence_seed):
        print("bare", absence_seed)
"""


@pytest.mark.parametrize(
    ("options", "ran", "bare"),
    [
        ((), ["4", "5"], ["1"]),
        (("--absence-seed=4",), ["4"], ["4"]),
        (("--absence-seed=5,4", "--absence-seed=4:6"), ["5", "4"], ["5", "4"]),
    ],
)
def test_the_seeds_are_the_command_lines_or_else_the_markers(
    session: Session, options: tuple[str, ...], ran: list[str], bare: list[str]
) -> None:
    told = session(SEEDED, "-s", *options).stdout.str()
    assert re.findall(r"ran small (\d+)", told) == ran
    assert re.findall(r"bare (\d+)", told) == bare


def test_a_failure_shows_the_first_broken_promise_and_the_command_that_replays_it(session: Session) -> None:
    told = session(
        """
        def test_it(absence_run):
            assert absence_run("small", seed=2, faults=["violations.row_edited"]).status == "PASS"
        """
    )
    told.assert_outcomes(failed=1)
    told.stdout.fnmatch_lines(["*- absence -*", "small seed 2: FAIL", "first broken promise: *.*: *"])
    [run_dir] = re.findall(r"^replay: absence replay (\S+)$", told.stdout.str(), re.MULTILINE)
    assert process("replay", run_dir).stdout.startswith("REPRODUCED")
    assert "code has changed" not in process("replay", run_dir).stdout


def test_a_test_that_passes_or_made_no_run_shows_nothing(session: Session) -> None:
    told = session(
        """
        def test_it(absence_run):
            assert absence_run("small").status == "PASS"

        def test_other(absence_run):
            assert False
        """
    )
    told.assert_outcomes(passed=1, failed=1)
    assert "replay:" not in told.stdout.str()


@pytest.mark.parametrize(
    ("marker", "takes", "says"),
    [
        ("absence(scenario='small')", "", "it is marked absence and runs nothing: take the fixture absence_run"),
        ("absence('small')", "absence_run", "the marker absence takes scenario, seeds, faults, each by its name"),
        ("absence(seed=3)", "absence_run", "the marker absence takes scenario, seeds, faults, each by its name"),
        ("absence(seeds=[])", "absence_run", "seeds is a list of seeds from 0 to 2**64 - 1, one at least: not []"),
        ("absence(seeds=5)", "absence_run", "seeds is a list of seeds from 0 to 2**64 - 1, one at least: not 5"),
        ("absence(seeds=[1, -1])", "absence_run", "one at least: not [1, -1]"),
    ],
)
def test_a_marker_that_means_nothing_is_refused(session: Session, marker: str, takes: str, says: str) -> None:
    told = session(f"import pytest\n\n@pytest.mark.{marker}\ndef test_it({takes}):\n    pass\n")
    assert told.ret != 0
    assert says in told.stdout.str() + told.stderr.str()


def test_the_faults_of_the_marker_are_in_a_run_of_the_scenario_that_the_call_names(session: Session) -> None:
    told = session(
        """
        import pytest
        from scenarios import load, make_plan

        @pytest.mark.absence(scenario="calm", faults=["webhooks.lost"])
        def test_it(absence_run):
            run = absence_run("small")
            assert [fault.fault for fault in run.evidence.plan.faults] == ["webhooks.lost"]
            assert absence_run("small", faults=[]).evidence.plan.faults == []
            with pytest.raises(TypeError, match="a plan has its seed and its faults in it"):
                absence_run(make_plan(load("small"), 1))
        """
    )
    told.assert_outcomes(passed=1)


@pytest.mark.parametrize("seeds", ["soon", "10:1", "-1", "1,,2", str(2**64)])
def test_a_seed_that_is_none_is_wrong_usage(session: Session, seeds: str) -> None:
    told = session("def test_it(): pass", f"--absence-seed={seeds}")
    assert told.ret == pytest.ExitCode.USAGE_ERROR
    assert f"--absence-seed: {seeds!r} is no seed from 0 to 2**64 - 1" in told.stderr.str()


def test_workers_share_their_runs(session: Session, pytester: pytest.Pytester) -> None:
    told = session(
        """
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_it(absence_run, n):
            run = absence_run("small")
            with open("paths.txt", "a") as paths:
                print(run.path, file=paths)
            assert n != 3, run.path
        """,
        "-n2",
    )
    told.assert_outcomes(passed=3, failed=1)
    told.stdout.fnmatch_lines(["small seed 1: PASS", "replay: absence replay */absence-runs/small-s1-*"])
    paths = (pytester.path / "paths.txt").read_text().splitlines()
    assert (len(paths), len(set(paths))) == (4, 1)


def test_of_two_that_ask_together_one_makes_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together, made = Barrier(2, timeout=60), []

    def meet(root: Path) -> None:
        check_writable(root)
        together.wait()

    def make(plan: Plan, root: Path, name: str) -> None:
        made.append(name)
        really_make(plan, root, name)

    really_make = published._make
    monkeypatch.setattr(published, "check_writable", meet)
    monkeypatch.setattr(published, "_make", make)
    plan = make_plan(load("small"), 1)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: run_of(plan, tmp_path), range(2))
    assert first.path == second.path
    assert first.status == second.status == "PASS"
    assert made == [first.path.name]


def test_the_plugin_loads_nothing_that_simulates() -> None:
    code = (
        f"import sys, pytest; before = set(sys.modules); import {PLUGIN}; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["campaigns"]
