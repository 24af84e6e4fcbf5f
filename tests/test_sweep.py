"""`absence sweep`: every seed once whatever happens, failures in groups, and nothing called green that proved nothing.

Killed through the real command at twenty instants it is in tests/proof/test_sweep_kills.py.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from absence.errors import explain
from absence.fingerprint import PACKAGES
from absence.planted import START
from absence.sweeping import Options, _hashed, prepare
from campaigns import canary, capsules, corpus, sweep, sweep_table
from campaigns.corpus import PastFailure
from campaigns.executors import Executor, Processes, WorkersDie
from campaigns.seeds import (
    CRASHED,
    PREFLIGHT,
    CodeDiffers,
    Task,
    Work,
    as_bits,
    assertion_ids,
    from_bits,
    inputs_of,
    perform,
)
from campaigns.sweep import LOST, Limits, Pace
from campaigns.sweep_book import JOURNAL, SHEET, BookBroken, OtherSweep, SweepBook
from campaigns.trial import Fingerprint
from defects import defect
from defects.leaks import LEAKS
from defects.planting import planted
from evidence import manifest
from evidence.verify import verify
from reports.sweep import render
from reports.sweep_console import summary
from scenarios import load, make_plan
from simulator.operations import ROOT, in_force, shipped
from simulator.run import PreflightFailed
from tests.support.capsules import CAPSULES
from tests.support.command import Told, absence, start
from tests.support.killed_commands import dying, in_child
from tests.support.locks import lock as leave_lock
from tests.support.sweeps import FAILING, RECORDED, TINY, AtOnce, line, records, sheet, without_times, written

FOUNDER = Fingerprint("absence.identity", "identity.events")
EVERY = [("seed", str(seed)) for seed in range(20)] + [("again", str(seed)) for seed in (0, 5, 10, 15)]
ON_A_CLUSTER = """
import sys
sys.path.insert(0, sys.argv[1])
from absence.cli import cli
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        command = "sweep small --seeds 0:3 --again-every 1 --out out --json --cluster"
        cli([*command.split(), cluster.scheduler_address])
"""
NO_LIMITS = Limits()


def swept(root: Path, executor: Executor, limits: Limits = NO_LIMITS, past: tuple[PastFailure, ...] = ()) -> Any:
    """The table of a sweep of twenty seeds with `executor`."""
    with SweepBook(root, sheet()) as book:
        if book.canary is None:
            book.add("canary", "c", {"defect": "c", "seed": 0, "tried": 1, "broken": []})
        sweep.run(book, executor, past, limits, lambda _: None)
        return sweep_table.table(book, past)


# --- every seed once -------------------------------------------------------------------------------------------------


def test_killed_before_any_change_to_its_files_a_sweep_goes_on_with_every_seed_once(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    _, changes = dying(lambda: swept(whole, AtOnce()))
    expected = swept(whole, AtOnce())
    assert Counter(records(whole))[("canary", "c")] == 1
    random = Random(7)
    for number in range(12):
        root = tmp_path / str(number)
        root.mkdir()
        kills = 0
        for _ in range(3):
            at = 1 + random.randrange(changes)
            kills += in_child(lambda root=root: swept(root, AtOnce()), at_change=at) == signal.SIGKILL  # type: ignore[misc]
        assert kills
        assert swept(root, AtOnce()) == expected
        assert sorted(records(root)) == sorted([*EVERY, ("canary", "c")])


@pytest.mark.parametrize("left", ["a torn line", "zeros that a loss of power left"])
def test_a_torn_last_line_is_dropped_and_its_seed_run_again(tmp_path: Path, left: str) -> None:
    expected = swept(tmp_path, AtOnce())
    path = tmp_path / JOURNAL
    *whole, last = path.read_bytes().splitlines(keepends=True)
    for kept in (1, len(last) // 2, len(last) - 1):
        path.write_bytes(b"".join(whole) + (last[:kept] if left == "a torn line" else b"\0" * kept + b"\n"))
        again = AtOnce()
        assert swept(tmp_path, again) == expected
        assert again.asked == [("again", "15")]
        assert path.read_bytes() == b"".join([*whole, last])


def test_a_line_that_was_altered_or_is_there_twice_is_refused(tmp_path: Path) -> None:
    swept(tmp_path, AtOnce())
    path = tmp_path / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    for broken in ([*lines[:3], b"{}\n", *lines[3:]], [*lines[:4], lines[3], *lines[4:]]):
        path.write_bytes(b"".join(broken))
        with pytest.raises(BookBroken, match="is not what was written"):
            SweepBook(tmp_path, sheet())


def test_a_disk_that_takes_half_a_line_is_full_and_the_half_is_dropped(tmp_path: Path) -> None:
    expected = swept(tmp_path, AtOnce())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with SweepBook(tmp_path, sheet()) as book:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / JOURNAL).stat().st_size + 10, limits[1]))
        try:
            with pytest.raises(OSError) as refused:
                book.add("died", "7", {"kind": "seed"})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    code, lines = explain(refused.value)
    assert code == 2
    assert "make room on its disk" in lines[-1]
    assert swept(tmp_path, AtOnce()) == expected


def test_a_seed_whose_worker_dies_is_tried_once_more_and_then_recorded_as_lost(tmp_path: Path) -> None:
    executor = AtOnce(dies={"3": 1, "4": 2, "15": 1})
    told = swept(tmp_path, executor)
    asked = Counter(executor.asked)
    assert {key: asked["seed", key] for key in ("2", "3", "4")} == {"2": 1, "3": 2, "4": 2}
    assert told["counts"] == {"PASS": 19, "FAIL": 0, "INCONCLUSIVE": 0, LOST: 1}
    assert told["lost"] == [4]
    assert told["verdict"] == "INCONCLUSIVE"
    assert told["why"] == ["over 1 seeds two workers died"]
    assert Counter(records(tmp_path))["died", "4"] == 2


def test_enough_failures_end_it_and_the_same_sweep_goes_on_to_as_many_more(tmp_path: Path) -> None:
    fails = line(status="FAIL", first=["a.b", "k"], fingerprints=[["a.b", "k"]])
    executor = AtOnce({str(seed): fails for seed in range(3, 20)})
    first = swept(tmp_path, executor, Limits(failures=2))
    assert first["counts"]["FAIL"] == 2
    assert first["done"] == 5
    assert "15 of 20 seeds were not run" in first["why"]
    assert swept(tmp_path, executor, Limits(failures=2))["counts"]["FAIL"] == 4
    rest = AtOnce(executor.lines)
    assert swept(tmp_path, rest)["counts"]["FAIL"] == 17
    assert ("seed", "4") not in rest.asked


# --- what it comes to ------------------------------------------------------------------------------------------------


def test_failures_are_grouped_by_the_first_broken_promise_and_the_simplest_is_chosen(tmp_path: Path) -> None:
    def failing(assertion: str, faults: int, events: int) -> Any:
        others = [[assertion, "k"], ["z.z", "k"]]
        return line(status="FAIL", first=[assertion, "k"], fingerprints=others, faults=faults, events=events)

    lines = {
        "2": failing("a.a", 3, 10), "4": failing("a.a", 2, 99), "6": failing("a.a", 2, 50), "8": failing("a.a", 2, 50),
        "9": failing("b.b", 0, 1),
    }  # fmt: skip
    one, other = swept(tmp_path, AtOnce(lines))["failures"]
    assert (one["fingerprint"], one["count"], one["seeds"]) == ("a.a:k", 4, [2, 4, 6, 8])
    assert one["simplest"] == {"seed": 6, "faults": 2, "events": 50, "digest": "d"}
    assert one["also"] == ["z.z:k"]
    assert (other["fingerprint"], other["simplest"]["seed"]) == ("b.b:k", 9)


def test_inconclusive_seeds_are_grouped_by_what_was_missing_whatever_its_numbers(tmp_path: Path) -> None:
    def unsure(*missing: str) -> Any:
        return line(status="INCONCLUSIVE", missing=[["recovery.all", what] for what in missing])

    lines = {"1": unsure("x#1 did not act"), "3": unsure("x#12 did not act", "x#3 did not act"), "7": unsure("no y")}
    told = swept(tmp_path, AtOnce(lines))
    groups = [(group["what"], group["count"], group["seeds"]) for group in told["inconclusive"]]
    assert groups == [("x#1 did not act", 2, [1, 3]), ("no y", 1, [7])]
    assert told["verdict"] == "INCONCLUSIVE"


def test_a_seed_that_comes_to_two_ends_fails_the_sweep(tmp_path: Path) -> None:
    class Fickle(AtOnce):
        def run(self, take: Any) -> Iterator[Any]:
            for done in super().run(take):
                differs = done.task == Task("again", "10", elsewhere="here")
                yield done._replace(line=line(digest="other")) if differs else done

    told = swept(tmp_path, Fickle())
    assert told["twice"] == {"compared": 4, "differ": [10]}
    assert told["verdict"] == "FAIL"
    assert told["counts"]["FAIL"] == 0


def test_what_hangs_on_the_order_of_a_set_comes_to_two_ends_whatever_hash_seed_the_environment_gives(
    tmp_path: Path,
) -> None:
    command = ("sweep", "small", "--seeds", "0:3", "--again-every", "1", "--workers", "2", "--out", "out", "--json")
    with planted(next(leak for leak in LEAKS if leak.id == "leaks.set_order")) as tree:
        told = subprocess.run(
            [sys.executable, "-c", START, str(tree), *command], cwd=tmp_path, capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
    assert told.returncode == 10
    twice = json.loads(told.stdout)["twice"]
    assert twice["compared"] == 3
    assert twice["differ"]


def test_second_runs_that_are_missing_or_lost_leave_the_sweep_open_and_are_not_called_compared(tmp_path: Path) -> None:
    class NotTwice(AtOnce):
        def run(self, take: Any) -> Iterator[Any]:
            """Two workers die over the second run of seed 5, and it ends before that of seed 15."""
            for done in super().run(take):
                if (done.task.kind, done.task.key) == ("again", "15"):
                    return
                yield done._replace(line=None) if (done.task.kind, done.task.key) == ("again", "5") else done

    told = swept(tmp_path, NotTwice())
    assert told["counts"]["PASS"] == 20
    assert told["verdict"] == "INCONCLUSIVE"
    assert told["why"] == ["1 of 4 second runs were not made", "over 1 second runs two workers died"]
    assert told["twice"] == {"compared": 2, "differ": []}


def test_a_past_failure_is_replayed_first_and_fails_the_sweep_if_it_is_back(tmp_path: Path) -> None:
    past = (PastFailure("gone", FOUNDER, b"{}"), PastFailure("back", FOUNDER, b"{}"))
    executor = AtOnce({"back": line(status="FAIL", first=list(FOUNDER), fingerprints=[list(FOUNDER)])})
    told = swept(tmp_path, executor, past=past)
    assert executor.asked[:2] == [("past", "gone"), ("past", "back")]
    assert {one["name"]: one["is_back"] for one in told["corpus"]} == {"gone": False, "back": True}
    assert told["why"] == ["the past failure back is back"]
    assert told["verdict"] == "FAIL"


def test_a_past_failure_is_back_though_another_promise_breaks_before_it(tmp_path: Path) -> None:
    both = line(status="FAIL", first=["a.b", "c"], fingerprints=[["a.b", "c"], list(FOUNDER)])
    told = swept(tmp_path, AtOnce({"back": both}), past=(PastFailure("back", FOUNDER, b"{}"),))
    assert (told["verdict"], told["corpus"][0]["is_back"]) == ("FAIL", True)


@pytest.mark.parametrize(
    "came",
    [
        pytest.param(line(status="INCONCLUSIVE", digest=""), id="its run crashed"),
        pytest.param(line(exercised=as_bits(["payouts.exactly_once"])), id="its run exercised other promises"),
    ],
)
def test_a_past_failure_whose_promise_was_not_asked_about_leaves_the_sweep_open(came: Any, tmp_path: Path) -> None:
    told = swept(tmp_path, AtOnce({"past": came}), past=(PastFailure("past", FOUNDER, b"{}"),))
    assert (told["verdict"], told["why"]) == ("INCONCLUSIVE", ["the past failure past was not asked about"])


def test_a_past_failure_whose_plan_breaks_another_promise_fails_the_sweep(tmp_path: Path) -> None:
    other = line(status="FAIL", first=["a.b", "c"], fingerprints=[["a.b", "c"]], exercised=as_bits([FOUNDER.assertion]))
    told = swept(tmp_path, AtOnce({"past": other}), past=(PastFailure("past", FOUNDER, b"{}"),))
    assert (told["verdict"], told["why"]) == ("FAIL", ["the plan of the past failure past fails of a.b:c"])


def test_a_past_failure_is_replayed_with_the_runbooks_that_are_kept_with_it(tmp_path: Path) -> None:
    """The fault is in a runbook alone, which those that are shipped do not have."""
    name, documents = "runbooks/backup_contest_data.md", dict(shipped().documents)
    documents[name] = documents[name].replace(b"glob: done: backup_id=* changed=*", b"glob: no such answer")
    plan = make_plan(load("small"), 1, days=7).model_copy(update={"operations": True})
    failed = Fingerprint("runbooks.nothing_escalated", "escalations")
    for folder, kept in (("kept", in_force(documents)), ("shipped", None)):
        capsules.write(tmp_path / folder / "one", capsules.Capsule.of(plan, failed), kept)
    [with_kept], [with_shipped] = (corpus.read(tmp_path / folder) for folder in ("kept", "shipped"))
    assert _hashed([with_kept]) != _hashed([with_shipped])
    found = [
        perform(work(written(tmp_path, TINY)), Task("past", past.name, past.plan_json, past.operations))["first"]
        for past in (with_kept, with_shipped)
    ]
    assert found == [list(failed), None]


def test_what_is_replayed_by_default_is_there() -> None:
    assert [one.name for one in corpus.read(corpus.CORPUS)] == ["prize_keeps_a_cent"]


def test_a_seed_at_which_the_platform_refuses_to_start_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        raise PreflightFailed(["clock: off by a minute"])

    monkeypatch.setattr("campaigns.seeds.try_plan", refused)
    found = perform(work(written(tmp_path, TINY)), Task("seed", "1"))
    assert (found["status"], found["first"]) == ("FAIL", [PREFLIGHT, "clock"])


def test_behaviours_are_counted_in_the_order_of_seeds_whichever_came_in_first(tmp_path: Path) -> None:
    bits = [as_bits([assertion_ids()[seed % 3]]) for seed in range(20)]
    lines = {
        str(seed): line(digest=f"d{seed}", exercised=bits[seed], bitten=["x"] * (seed == 11)) for seed in range(20)
    }
    news = swept(tmp_path, AtOnce(lines))["behaviours"]
    assert news["found"] == 4
    assert news["last_new"] == 12
    assert news["curve"][:4] == [[1, 1], [2, 2], [3, 3], [4, 3]]
    assert news["curve"][-1] == [20, 4]


def test_the_assertions_that_a_line_names_come_back_from_its_bits() -> None:
    some = assertion_ids()[::7]
    assert from_bits(as_bits(some)) == some
    assert from_bits(as_bits(())) == ()


# --- workers ---------------------------------------------------------------------------------------------------------


def work(scenario: Path, code: str | None = None) -> Work:
    found, loaded = manifest.code_sha256([ROOT / room for room in PACKAGES]), load(scenario)
    return Work(loaded, True, code or found, PACKAGES, 0, inputs_of(loaded, 0, True))


def test_a_worker_that_dies_takes_one_seed_and_is_replaced(tmp_path: Path) -> None:
    todo = [Task("seed", "1"), Task("seed", "2")]
    with closing(Processes(work(written(tmp_path, TINY)), 1)) as processes:
        came = processes.run(lambda _: todo.pop() if todo else None)
        first = next(came)
        assert first.line is not None
        scratch = Path(processes._scratch.name)
        assert scratch.is_dir()
        victim = processes._all[0].process.pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        died = next(came)
        assert died == (Task("seed", "1"), None, first.worker)
        todo.append(died.task)
        again = next(came)
        assert again.worker != first.worker
        assert again.line is not None
        todo.append(Task("again", "1", elsewhere=again.worker))
        twice = next(came)
        assert twice.worker not in (first.worker, again.worker)
        assert twice.line is not None
        assert {**twice.line, "ms": 0, "cpu_ms": 0} == {**again.line, "ms": 0, "cpu_ms": 0}
        assert list(came) == []
    assert not scratch.exists()


def test_workers_of_other_code_find_out_nothing(tmp_path: Path) -> None:
    todo = [Task("seed", "1")]
    other = work(written(tmp_path, TINY), code="0" * 64)
    said = r"a worker runs the code [0-9a-f]{12}…, the sweep 000000000000…"
    with closing(Processes(other, 1)) as processes, pytest.raises(CodeDiffers, match=said):
        list(processes.run(lambda _: todo.pop() if todo else None))


def test_a_worker_that_finds_another_recording_finds_out_nothing(tmp_path: Path) -> None:
    todo = [Task("seed", "1")]
    recorded = work(written(tmp_path, RECORDED.replace("FEED", str(CAPSULES / "feed.csv"))))
    other = replace(recorded, inputs=recorded.inputs._replace(first_plan="0" * 64))
    said = r"a worker makes of the first seed the plan [0-9a-f]{12}…, the sweep 000000000000…"
    with closing(Processes(other, 1)) as processes, pytest.raises(CodeDiffers, match=said):
        list(processes.run(lambda _: todo.pop() if todo else None))


def test_workers_that_die_whatever_they_are_given_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("campaigns.executors.DEATHS_MAX", 2)

    def given(_: str) -> Task:
        return Task("seed", "1")

    with closing(Processes(work(written(tmp_path, TINY)), 1, prepare=_die)) as processes:
        came = processes.run(given)
        assert next(came).line is None
        with pytest.raises(WorkersDie, match=r"the last with exit code 3"):
            next(came)


def _die() -> None:
    os._exit(3)


def test_a_trial_that_crashes_says_so_and_is_no_proof(tmp_path: Path) -> None:
    found = perform(work(written(tmp_path, TINY)), Task("past", "broken", b"{}"))
    assert found["status"] == "INCONCLUSIVE"
    [[assertion, what]] = found["missing"]
    assert assertion == CRASHED
    assert what.startswith("ValidationError")


# --- through the command ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Path, Path]:
    """A sweep some of whose seeds fail: what it said, its scenario, its directory."""
    folder = tmp_path_factory.mktemp("failing")
    scenario = written(folder, FAILING, "failing.yaml")
    told = absence(
        "sweep", scenario, "--seeds", "2:6", "--workers", "2", "--again-every", "3", "--out", folder / "out", "--json"
    )
    return told, scenario, folder / "out"


def test_a_sweep_keeps_the_simplest_failure_as_a_run_and_its_command_shows_it_again(
    failing: tuple[Told, Path, Path], tmp_path: Path
) -> None:
    told, _, out = failing
    assert told.exit_code == 10
    assert told.json == json.loads((out / "sweep.json").read_text())
    assert told.json["counts"] == {"PASS": 2, "FAIL": 2, "INCONCLUSIVE": 0, LOST: 0}
    [group] = told.json["failures"]
    assert group["fingerprint"] == str(FOUNDER)
    assert group["simplest"]["seed"] == 4 or group["simplest"]["faults"] == 2
    assert group["unlike"] is False
    run_dir = out / "failures" / group["run"]
    assert verify(run_dir) == []
    assert json.loads((run_dir / "manifest.json").read_bytes())["digest"] == group["simplest"]["digest"]
    command = shlex.split(group["command"])
    assert command[:1] == ["absence"]
    again = absence(*command[1:], "--out", tmp_path, "--json")
    assert again.json["digest"] == group["simplest"]["digest"]
    assert again.exit_code == 10


def test_a_sweep_that_is_done_is_told_again_and_another_one_there_is_refused(failing: tuple[Told, Path, Path]) -> None:
    told, scenario, out = failing
    before = (out / JOURNAL).read_bytes()
    same = ("sweep", scenario, "--seeds", "2:6", "--again-every", "3", "--out", out)
    again = absence(*same, "--json")
    assert without_times(again.json) == without_times(told.json)
    assert (out / JOURNAL).read_bytes() == before
    for other in (("--seeds", "2:7"), ("--no-swarm",), ("--again-every", "4")):
        refused = absence(*same, *other)
        assert refused.exit_code == 2
        assert "holds another sweep" in refused.stderr
        assert "--out DIRECTORY" in refused.stderr
    assert (out / JOURNAL).read_bytes() == before


@pytest.fixture
def failed(failing: tuple[Told, Path, Path], tmp_path: Path) -> tuple[tuple[str | Path, ...], Path, str]:
    """A copy of it: the command that it was begun with, its directory under `failures`, the run that is kept there."""
    told, scenario, out = failing
    copy = Path(shutil.copytree(out, tmp_path / "copy"))
    command = ("sweep", scenario, "--seeds", "2:6", "--again-every", "3", "--workers", "1", "--out", copy)
    return command, copy / "failures", told.json["failures"][0]["run"]


def test_a_sweep_takes_away_the_runs_that_it_kept_and_no_others(
    failed: tuple[tuple[str | Path, ...], Path, str],
) -> None:
    command, failures, kept = failed
    group, _, simplest = kept.rpartition("-s")
    told = map(json.loads, (failures.parent / JOURNAL).read_bytes().splitlines())
    [other] = [one["key"] for one in told if one["line"].get("status") == "FAIL" and one["key"] != simplest]
    for name in ("mine", f"{group}-s{other}"):
        shutil.copytree(failures / kept, failures / name)
    assert absence(*command).exit_code == 10
    assert sorted(path.name for path in failures.iterdir()) == sorted([kept, "mine"])


def test_a_kept_run_that_came_to_another_digest_is_told_again_as_unlike(
    failing: tuple[Told, Path, Path], failed: tuple[tuple[str | Path, ...], Path, str]
) -> None:
    (_, scenario, _), (command, failures, kept) = failing, failed
    shutil.rmtree(failures / kept)
    absence("run", scenario, "--seed", "4", "--out", failures, "--name", kept)
    digest = json.loads((failures / kept / "manifest.json").read_bytes())["digest"]
    told = absence(*command, "--json")
    assert told.exit_code == 10
    [group] = told.json["failures"]
    assert (group["run"], group["unlike"]) == (kept, True)
    assert json.loads((failures / kept / "manifest.json").read_bytes())["digest"] == digest


@pytest.mark.parametrize("edited", ["runbooks/alerting_down.md", "alerts/contests.yml", "feed.csv"])
def test_with_other_runbooks_rules_or_recordings_it_is_another_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    for name in ("runbooks", "alerts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copyfile(CAPSULES / "feed.csv", tmp_path / "feed.csv")
    monkeypatch.setattr("simulator.operations.ROOT", tmp_path)
    monkeypatch.setattr("simulator.operations.shipped", shipped.__wrapped__)
    scenario, out = written(tmp_path, RECORDED.replace("FEED", "feed.csv") + "operations: true\n"), tmp_path / "out"
    begun = prepare(str(scenario), range(1), Options(True, 50, None, None, None, None, None, None), out)
    out.mkdir()
    with SweepBook(out, begun.sheet), SweepBook(out, begun.sheet):
        pass
    path = tmp_path / edited
    path.write_text(path.read_text().replace(",4,4,new", ",5,4,new", 1) + "\n" * (edited != "feed.csv"))
    told = absence("sweep", scenario, "--seeds", "0:1", "--out", out)
    assert told.exit_code == 2
    assert f"{out} holds another sweep: {'first_plan' if edited == 'feed.csv' else 'operations'} " in told.stderr


@pytest.mark.parametrize("held", ["failures/mine/plan.json", "manifest.json", "mine.txt"])
def test_a_directory_that_holds_anything_but_a_sweep_is_refused_and_left_as_it_is(tmp_path: Path, held: str) -> None:
    (tmp_path / "out" / held).parent.mkdir(parents=True)
    (tmp_path / "out" / held).write_text("mine")
    told = absence("sweep", written(tmp_path, TINY), "--seeds", "0:1", "--out", tmp_path / "out")
    assert told.exit_code == 2
    assert f"holds {held.partition('/')[0]} and is no sweep" in told.stderr
    assert "--out DIRECTORY" in told.stderr
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [tmp_path / "out" / held]


def test_the_page_of_a_sweep_loads_nothing_and_says_what_the_table_says(failing: tuple[Told, Path, Path]) -> None:
    told, _, out = failing
    page = (out / "report.html").read_text()
    [group] = told.json["failures"]
    for words in ("FAIL", group["fingerprint"], f"failures/{group['run']}/report.html", told.json["why"][0][1:]):
        assert words in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//|@import|url\(", page)
    assert "default-src 'none'" in page
    assert (out / "failures" / group["run"] / "report.html").is_file()


def test_a_sweep_whose_canary_is_not_caught_is_inconclusive(tmp_path: Path) -> None:
    scenario = written(tmp_path, TINY)
    told = absence(
        "sweep", scenario, "--seeds", "0:1", "--workers", "1", "--canary", "prizes.rounding_keeps_a_cent",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert told.exit_code == 12
    assert "The canary prizes.rounding_keeps_a_cent was not caught" in told.stdout
    assert json.loads((tmp_path / "out" / "sweep.json").read_text())["counts"]["PASS"] == 1


def test_some_seeds_of_the_default_scenario_pass(tmp_path: Path) -> None:
    """A slice of the ten thousand that were swept by hand (README)."""
    told = absence("sweep", "default", "--seeds", "0:4", "--again-every", "4", "--out", tmp_path / "out", "--json").json
    assert (told["verdict"], told["why"]) == ("PASS", [])
    assert told["counts"] == {"PASS": 4, "FAIL": 0, "INCONCLUSIVE": 0, LOST: 0}
    assert told["twice"] == {"compared": 1, "differ": []}
    assert told["canary"]["seed"] is not None
    assert [past["was_replayed"] for past in told["corpus"]] == [True]
    assert told["rate"]["per_core_second"] > 0


def test_a_canary_is_caught_once_all_that_it_breaks_is_found_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = defect("payouts.fee_deducted")
    assert canary.sing(real.id, ROOT / "scenarios" / "small.yaml", 1).seed == 1
    monkeypatch.setattr(canary, "defect", lambda _: replace(real, breaks=(*real.breaks, "absence.access_log")))
    assert canary.sing(real.id, ROOT / "scenarios" / "small.yaml", 1).seed is None


def test_without_swarm_every_seed_has_all_the_faults_of_the_scenario(tmp_path: Path) -> None:
    scenario = written(tmp_path, FAILING, "failing.yaml")
    told = absence(
        "sweep", scenario, "--no-swarm", "--seeds", "2:4", "--workers", "1", "--out", tmp_path / "out", "--json"
    )
    assert told.json["counts"]["FAIL"] == 2
    assert [group["simplest"]["faults"] for group in told.json["failures"]] == [4]


def test_the_table_says_how_often_each_fault_acted_and_was_left_out_for_want_of_anything_to_befall(
    tmp_path: Path,
) -> None:
    scenario = written(tmp_path, TINY)
    told = absence("sweep", scenario, "--seeds", "0:7", "--workers", "1", "--out", tmp_path / "out", "--json").json
    assert set(told["faults"]) == {"webhooks.duplicate", "webhooks.lost", "timeouts.transfer_answer_lost"}
    assert all(found["acted"] for found in told["faults"].values())
    assert told["faults"]["timeouts.transfer_answer_lost"]["dropped"] > 0


def test_another_corpus_or_a_changed_scenario_is_another_sweep(tmp_path: Path) -> None:
    scenario = written(tmp_path, TINY)
    same = ("sweep", scenario, "--seeds", "0:1", "--workers", "1", "--out", tmp_path / "out")
    assert absence(*same).exit_code == 0
    shutil.copytree(CAPSULES / "failures" / "prize_keeps_a_cent", tmp_path / "corpus" / "one")
    other = absence(*same, "--corpus", tmp_path / "corpus")
    assert (other.exit_code, "corpus" in other.stderr) == (2, True)
    scenario.write_text(TINY.replace("fee_cents: 1000", "fee_cents: 2000"))
    other = absence(*same)
    assert (other.exit_code, "scenario_sha256" in other.stderr) == (2, True)


def test_a_past_failure_of_the_corpus_that_is_back_fails_the_sweep(
    failing: tuple[Told, Path, Path], tmp_path: Path
) -> None:
    told, _, out = failing
    [group] = told.json["failures"]
    capsule = tmp_path / "corpus" / "founder" / "capsule"
    capsule.mkdir(parents=True)
    (capsule / "plan.json").write_bytes((out / "failures" / group["run"] / "plan.json").read_bytes())
    (capsule / "capsule.json").write_text(
        json.dumps({"fingerprint": FOUNDER, "scenario": "failing", "seed": 4, "defect": None, "note": ""})
    )
    found = absence(
        "sweep", written(tmp_path, TINY), "--seeds", "0:1", "--workers", "1", "--corpus", tmp_path / "corpus",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert found.exit_code == 10
    assert found.json["why"] == ["the past failure founder/capsule is back"]
    (capsule / "capsule.json").write_text("{}")
    refused = absence("sweep", written(tmp_path, TINY), "--corpus", tmp_path / "corpus", "--out", tmp_path / "other")
    assert refused.exit_code == 20
    assert f"{capsule} is no capsule" in refused.stderr


def test_a_corpus_without_a_past_failure_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    told = absence(
        "sweep", written(tmp_path, TINY), "--seeds", "0:1", "--corpus", tmp_path / "corpus", "--out", tmp_path / "out"
    )
    assert told.exit_code == 20
    assert f"--corpus: {tmp_path / 'corpus'} has nothing to replay" in told.stderr
    assert not (tmp_path / "out" / SHEET).exists()


def test_this_projects_corpus_is_the_same_however_its_path_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs")
    by_default = corpus.read(corpus.CORPUS)
    assert by_default
    assert corpus.read(Path("../tests/capsules/failures")) == by_default
    above = corpus.read(Path("../tests/capsules"))
    assert [one.name for one in above] == [f"failures/{one.name}" for one in by_default]


def test_only_past_failures_that_were_replayed_are_told_as_replayed(tmp_path: Path) -> None:
    past = tuple(PastFailure(name, FOUNDER, b"{}") for name in ("one", "two", "three"))

    class One(AtOnce):
        def run(self, take: Any) -> Iterator[Any]:
            yield next(super().run(take))

    told = {**swept(tmp_path, One(), past=past), "rate": Pace(1, 1, 1, trials=1).to_json(), "report": ""}
    assert "1 of 3 failures replayed, 0 back" in "\n".join(summary(told, "out"))
    assert "<dd>1 of 3</dd>" in render(told).decode()


def test_stopped_by_ctrl_c_a_sweep_says_how_it_goes_on_and_does(tmp_path: Path) -> None:
    scenario, out = written(tmp_path, TINY), tmp_path / "out"
    command = ("sweep", scenario, "--seeds", "0:500", "--workers", "1", "--out", out)
    process = start(*command)
    _until(lambda: (out / JOURNAL).exists() and len(records(out)) > 2, process)
    os.kill(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1].startswith(f"Stopped. What was done is in {out}")
    assert "Traceback" not in stderr
    assert shlex.join(["absence", *map(str, command)]) in stderr
    done = set(records(out))
    told = absence(*command, "--budget-s", "1", "--json")
    assert told.exit_code == 12
    assert done < set(records(out))
    assert max(Counter(records(out)).values()) == 1
    assert told.json["done"] == len([1 for kind, _ in records(out) if kind == "seed"])


def test_two_sweeps_do_not_write_to_one_directory(tmp_path: Path) -> None:
    leave_lock(tmp_path / "out")
    told = absence("sweep", written(tmp_path, TINY), "--out", tmp_path / "out")
    assert told.exit_code == 11
    assert not (tmp_path / "out" / JOURNAL).exists()


@pytest.mark.parametrize("wrong", ["5", "5:5", "7:3", "a:b", "-1:4", "0:1.5"])
def test_what_is_no_range_of_seeds_is_wrong_usage(wrong: str, tmp_path: Path) -> None:
    told = absence("sweep", "small", f"--seeds={wrong}", "--out", tmp_path)
    assert told.exit_code == 2
    assert "give FIRST:LAST" in told.stderr


@pytest.mark.parametrize("wrong", ["0:18446744073709551615", "5:10000006"])
def test_more_seeds_than_a_sweep_can_hold_are_wrong_usage(wrong: str, tmp_path: Path) -> None:
    told = absence("sweep", "small", "--seeds", wrong, "--again-every", "1", "--out", tmp_path / "out")
    assert told.exit_code == 2
    assert f"'{wrong}' are too many seeds: at most 10,000,000" in told.stderr
    assert not (tmp_path / "out").exists()


def test_another_sheet_is_another_sweep(tmp_path: Path) -> None:
    swept(tmp_path, AtOnce())
    with pytest.raises(OtherSweep, match=r"code c there, d here"):
        SweepBook(tmp_path, sheet(code="d"))


# --- on a cluster ----------------------------------------------------------------------------------------------------


def test_a_cluster_of_two_workers_gives_the_same_table_and_refuses_other_code(
    failing: tuple[Told, Path, Path], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    from campaigns.cluster import Cluster, ClusterRefused

    told, scenario, _ = failing
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        found = absence(
            "sweep", scenario, "--seeds", "2:6", "--again-every", "3", "--cluster", address, "--out", tmp_path, "--json"
        )
        assert found.exit_code == 10
        assert without_times(found.json) == without_times(told.json)
        todo = [Task("seed", "1")]
        with closing(Cluster(work(scenario, code="0" * 64), address)) as other:
            assert other.workers == 2
            with pytest.raises(ClusterRefused, match="in a checkout of this commit"):
                list(other.run(lambda _: todo.pop() if todo else None))


def test_on_a_cluster_of_one_worker_the_second_run_has_another_hash_seed(tmp_path: Path) -> None:
    """Nannies of dask give one to all that they start."""
    pytest.importorskip("distributed")
    with planted(next(leak for leak in LEAKS if leak.id == "leaks.set_order")) as tree:
        told = subprocess.run([sys.executable, "-c", ON_A_CLUSTER, str(tree)], cwd=tmp_path, capture_output=True)
    assert told.returncode == 10, told.stderr
    twice = json.loads(told.stdout)["twice"]
    assert twice["compared"] == 3
    assert twice["differ"]


def test_what_a_second_run_on_a_cluster_dies_of_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    from campaigns import cluster

    again = work(written(tmp_path, TINY)), Task("again", "1", elsewhere="here")
    monkeypatch.setattr(cluster, "_APART", "import os; os.abort()")
    assert cluster._apart(*again) is None
    monkeypatch.setattr(cluster, "_APART", "raise SystemError('not today')")
    with pytest.raises(RuntimeError, match="SystemError: not today"):
        cluster._apart(*again)
    monkeypatch.undo()
    with pytest.raises(CodeDiffers, match="a worker runs the code"):
        cluster._apart(work(written(tmp_path, TINY), code="0" * 64), again[1])


def test_a_cluster_that_is_not_there_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("campaigns.cluster._CONNECT_S", 0.2)
    monkeypatch.setattr("campaigns.canary.SEEDS", 1)
    told = absence(
        "sweep", written(tmp_path, TINY), "--seeds", "0:1", "--cluster", "tcp://127.0.0.1:9", "--out", tmp_path / "out"
    )
    assert told.exit_code == 2
    assert "no scheduler answers at tcp://127.0.0.1:9" in told.stderr
    assert "dask worker" in told.stderr


def _until(held: Any, process: Any) -> None:
    while not held():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
