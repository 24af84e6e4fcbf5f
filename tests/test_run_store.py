"""A run root as a store: what stands in it is listed for what it is, and pruned only when nothing refers to it."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from evidence import freezing, lock, store
from evidence.layout import MANIFEST
from evidence.manifest import Manifest
from evidence.sweeping import PRUNING_PREFIX, locked
from tests.support.command import Ran, absence
from tests.support.locks import dead_pid
from tests.support.locks import lock as leave_lock
from tests.support.stored_runs import decide, decision, incident, names, put, used


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("four")
    for seed, verdict in enumerate(("PASS", "FAIL", "INCONCLUSIVE", "PASS"), 1):
        put(root, seed, verdict, name=f"run-{seed}")
    return root


@pytest.fixture
def root(four: Path, tmp_path: Path) -> Path:
    """Four runs: seeds 1 to 4, begun a day apart; the second failed, the third was inconclusive."""
    return shutil.copytree(four, tmp_path / "runs")


# --- list ------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_with_what_they_are(root: Path) -> None:
    told = absence("runs", "list", root)
    assert told.exit_code == 0
    head, *lines = told.stdout.splitlines()
    assert head.split()[:6] == ["run", "scenario", "seed", "digest", "verdict", "size"]
    stated = [Manifest.read(root / f"run-{seed}" / MANIFEST) for seed in (4, 3, 2, 1)]
    assert [line.split()[:5] for line in lines] == [
        [one.name, "small", one.name[-1], one.digest[:12], verdict]
        for one, verdict in zip(stated, ("PASS", "INCONCLUSIVE", "FAIL", "PASS"), strict=True)
    ]
    assert lines[0].endswith(" MB  1970-01-05 00:00:00")


def test_the_list_as_json_holds_the_same_in_full(root: Path) -> None:
    told = absence("runs", "list", root, "--json").json
    assert set(told) == {"root", "runs", "not_runs", "lock", "frozen"}
    assert [run["name"] for run in told["runs"]] == ["run-4", "run-3", "run-2", "run-1"]
    newest, stated = told["runs"][0], Manifest.read(root / "run-4" / MANIFEST)
    assert newest == {
        "name": "run-4", "scenario": "small", "seed": 4, "digest": stated.digest, "identity": stated.identity,
        "verdict": "PASS", "at": "1970-01-05T00:00:00+00:00",
        "size_bytes": sum(path.stat().st_size for path in (root / "run-4").rglob("*") if path.is_file()),
    }  # fmt: skip
    assert (told["not_runs"], told["lock"], told["frozen"]) == ([], None, None)


@pytest.mark.parametrize(
    ("verdicts", "listed"), [(["FAIL"], ["run-2"]), (["PASS", "INCONCLUSIVE"], ["run-4", "run-3", "run-1"])]
)
def test_the_list_can_be_had_of_some_verdicts_only(root: Path, verdicts: list[str], listed: list[str]) -> None:
    options = [option for verdict in verdicts for option in ("--verdict", verdict)]
    told = absence("runs", "list", root, *options, "--json").json
    assert [run["name"] for run in told["runs"]] == listed


def test_a_real_run_is_listed_as_what_it_said_of_itself(tmp_path: Path) -> None:
    ran = absence("run", "small", "--out", tmp_path, "--json").json
    [listed] = absence("runs", "list", tmp_path, "--json").json["runs"]
    assert (listed["scenario"], listed["seed"], listed["verdict"]) == ("small", 1, ran["verdict"])
    assert listed["digest"] == ran["digest"]
    assert listed["name"] == Path(ran["run_dir"]).name


def test_the_list_says_what_it_found_that_is_no_run(root: Path) -> None:
    (root / "run-1" / "verdict.json").unlink()
    (root / "run-2" / MANIFEST).write_text("{}")
    (root / "run-3" / "plan.json").write_text("changed, which is for verify to find")
    (root / "notes").mkdir()
    (root / "README").write_text("mine")
    (root / ".staging-1-dead").mkdir()
    (root / ".pruning-x").mkdir()
    (root / "decisions").mkdir()
    (root / "decisions" / ".tmp-1").write_text("{")
    (root / ".staging-2-living").mkdir()
    with locked(root / ".staging-2-living"):
        told = absence("runs", "list", root, "--json").json
        plain = absence("runs", "list", root).stdout
    found = {other["name"]: other["what"] for other in told["not_runs"]}
    assert [run["name"] for run in told["runs"]] == ["run-4", "run-3"]
    assert found.pop("run-1") == "damaged: verdict.json is missing"
    assert found.pop("run-2").startswith("damaged: manifest.json ")
    assert found == {
        "notes": "not a run directory",
        "README": "not a run directory",
        ".staging-1-dead": "a run that was being written when its command died",
        ".staging-2-living": "a run that was being written, by a command at work",
        ".pruning-x": "a run that was being pruned when its command died",
        "decisions/.tmp-1": "a file that was being written when its command died",
    }
    assert all(f"No run: {root / name}: {what}" in plain for name, what in found.items())
    assert (root / ".staging-1-dead").is_dir(), "to list takes nothing away"


def test_the_list_says_who_holds_the_root_and_why_it_is_frozen(root: Path) -> None:
    owner = leave_lock(root, pid=dead_pid())
    freezing.freeze(root, "2026-01-01T00:00:00+00:00", "run-2", "plan.json: is missing")
    told = absence("runs", "list", root)
    assert told.exit_code == 0
    assert f"{root} is locked by {owner}; stale: there is no process {owner.pid} any more" in told.stdout
    assert "is frozen since 2026-01-01T00:00:00+00:00: run-2 did not verify (plan.json: is missing)" in told.stdout
    as_json = absence("runs", "list", root, "--json").json
    assert as_json["lock"] == {"owner": str(owner), "stale": f"there is no process {owner.pid} any more"}
    assert as_json["frozen"]["run"] == "run-2"


def test_a_run_that_nobody_judged_is_listed_as_such(tmp_path: Path) -> None:
    from tests.support.runs import FINGERPRINTS, RunWriter, small_plan, write_journal

    with RunWriter(tmp_path) as writer:
        writer.write_plan(small_plan(9))
        write_journal(writer)
        writer.seal(FINGERPRINTS)
        writer.publish()
    [run], others = store.scan(tmp_path)
    assert (run.scenario, run.seed, run.verdict, others) == ("small", 9, "-", [])


def test_an_empty_root_holds_no_runs(tmp_path: Path) -> None:
    assert absence("runs", "list", tmp_path).stdout == "No runs.\n"


# --- one run, two names ----------------------------------------------------------------------------------------------


def test_the_same_run_under_another_name_is_told(tmp_path: Path) -> None:
    first = absence("run", "small", "--out", tmp_path, "--json").json
    again = absence("run", "small", "--out", tmp_path, "--name", "again")
    assert again.exit_code == 0
    assert f"The same run stands in {first['run_dir']} too." in again.stdout
    third = absence("run", "small", "--out", tmp_path, "--name", "again", "--json").json
    assert (third["existed"], third["same_as"]) == (True, [Path(first["run_dir"]).name])
    assert (first["existed"], first["same_as"]) == (False, [])
    assert "the same run as" in absence("runs", "list", tmp_path).stdout


# --- prune -----------------------------------------------------------------------------------------------------------


def prune(root: Path, *options: str | Path) -> dict[str, str]:
    """Which runs prune leaves alone, and why."""
    told = absence("runs", "prune", root, *options, "--json")
    assert told.exit_code == 0, told.stderr
    stay = {run["name"]: str(run["why"]) for run in told.json["stay"]}
    assert not set(stay) & set(told.json["go"])
    assert told.json["done"] is ("--yes" in options)
    assert names(root) == (set(stay) if told.json["done"] else {*stay, *told.json["go"]})
    return stay


def test_to_prune_is_only_said_until_it_is_wanted(root: Path) -> None:
    told = absence("runs", "prune", root, "--keep-last", "1")
    assert told.exit_code == 0
    assert told.stdout.splitlines()[:4] == [
        "would go  run-3", "would go  run-2", "would go  run-1", "stays     run-4: one of the last 1",
    ]  # fmt: skip
    assert "3 of 4 runs" in told.stdout
    assert "Nothing was done: add --yes." in told.stdout
    assert names(root) == {"run-1", "run-2", "run-3", "run-4"}
    done = absence("runs", "prune", root, "--keep-last", "1", "--yes")
    assert done.stdout.splitlines()[:3] == ["gone   run-3", "gone   run-2", "gone   run-1"]
    assert os.listdir(root) == ["run-4"]


def test_what_is_kept_is_kept_for_each_of_its_reasons(root: Path) -> None:
    stated = Manifest.read(root / "run-3" / MANIFEST)
    assert prune(root, "--keep-last", "2") == {"run-4": "one of the last 2", "run-3": "one of the last 2"}
    assert prune(root, "--keep-failing") == {"run-2": "it failed"}
    assert prune(root, "--keep", stated.identity[:8]) == {"run-3": f"--keep {stated.identity[:8]}"}
    assert prune(root, "--keep", stated.digest, "--keep", "run-1") == {
        "run-3": f"--keep {stated.digest}", "run-1": "--keep run-1",
    }  # fmt: skip
    assert prune(root, "--keep", "run-2", "--keep-failing", "--keep-last", "3", "--yes")["run-2"] == (
        "--keep run-2; one of the last 3; it failed"
    )


def test_a_mistyped_run_to_keep_stops_the_pruning(root: Path) -> None:
    told = absence("runs", "prune", root, "--keep", "run-1", "--keep", "rum-2", "--yes")
    assert told.exit_code == 2
    assert "--keep rum-2: there is no such run" in told.stderr
    assert "did you mean run-" in told.stderr
    assert len(names(root)) == 4
    short = Manifest.read(root / "run-1" / MANIFEST).identity[:7]
    assert absence("runs", "prune", root, "--keep", short, "--yes").exit_code == 2


def test_to_prune_without_saying_what_to_keep_is_refused(root: Path) -> None:
    told = absence("runs", "prune", root, "--yes")
    assert told.exit_code == 2
    assert "Say what to keep" in told.stderr
    assert prune(root, "--keep-last", "0", "--yes") == {}


def test_what_a_decision_refers_to_is_never_pruned(root: Path, tmp_path: Path) -> None:
    kept = decide(root, [root / "run-1", root / "run-2"], baseline=root / "run-3")
    stay = prune(root, "--keep-last", "0", "--yes")
    assert stay == {f"run-{seed}": f"decisions/{kept.name} refers to it" for seed in (1, 2, 3)}
    elsewhere = tmp_path / "release"
    elsewhere.mkdir()
    (elsewhere / "decision.json").write_text(decision([root / "run-1"]))
    kept.unlink()
    stay = prune(root, "--keep-last", "0", "--decisions", elsewhere, "--yes")
    assert stay == {"run-1": "release/decision.json refers to it"}


def test_a_decision_about_a_copy_under_another_name_keeps_the_run_too(root: Path) -> None:
    put(root, 1, name="copy")
    decide(root, [root / "copy"])
    shutil.rmtree(root / "copy")
    assert set(prune(root, "--keep-last", "0", "--yes")) == {"run-1"}


def test_a_run_that_a_decision_knows_by_name_only_stays_too(root: Path) -> None:
    (root / "decisions").mkdir()
    known = {"runs": [{"name": "run-1", "identity": ""}], "baseline": {"name": "run-2", "identity": "0" * 64}}
    (root / "decisions" / "d.json").write_text(json.dumps(known))
    assert set(prune(root, "--keep-last", "0", "--yes")) == {"run-1", "run-2"}


def test_what_an_open_incident_is_about_stays_until_it_is_closed(root: Path) -> None:
    run = used(root / "run-2")
    path = incident(root, {"path": run.path, "name": run.name, "identity": run.identity})
    incident(root, None, "20260102T000000Z-DATA_INVALID-0")
    assert prune(root, "--keep-last", "0") == {"run-2": f"incidents/{path.name} refers to it"}
    (root / "incidents" / "closed").mkdir()
    path.rename(root / "incidents" / "closed" / path.name)
    assert prune(root, "--keep-last", "0", "--yes") == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"runs": [{}], "baseline": null}', '{"runs": []}', "\xff"])
@pytest.mark.parametrize("place", ["decisions", "incidents"])
def test_a_record_that_cannot_be_read_may_refer_to_anything_so_nothing_is_pruned(
    root: Path, place: str, content: str
) -> None:
    (root / place).mkdir()
    (root / place / "record.json").write_text(content, encoding="latin-1")
    told = absence("runs", "prune", root, "--keep-last", "0", "--yes")
    assert told.exit_code == 30
    assert f"{root / place / 'record.json'} does not say which runs it refers to" in told.stderr
    assert "nothing is pruned" in told.stderr
    assert len(names(root)) == 4


def test_what_is_damaged_or_no_run_is_left_alone(root: Path) -> None:
    (root / "run-1" / MANIFEST).unlink()
    (root / "notes").mkdir()
    told = absence("runs", "prune", root, "--keep-last", "0", "--yes")
    assert "stays     run-1: damaged: manifest.json is missing" in told.stdout
    assert "stays     notes: not a run directory" in told.stdout
    assert sorted(os.listdir(root)) == ["notes", "run-1"]


def test_a_pruning_that_the_system_stops_leaves_a_leftover_that_the_next_command_sweeps_and_names(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(store.shutil, "rmtree", refuse)
        told = absence("runs", "prune", root, "--keep-last", "3", "--yes")
    assert told.exit_code == 2
    assert "The system refused: Operation not permitted" in told.stderr
    assert names(root) == {"run-2", "run-3", "run-4"}
    [left] = root.glob(f"{PRUNING_PREFIX}*")
    assert left.name.startswith(f"{PRUNING_PREFIX}run-1-")
    told = absence("runs", "prune", root, "--keep-last", "3", "--yes")
    assert f"Swept {left}: a run that was being pruned when its command died." in told.stderr
    assert sorted(os.listdir(root)) == ["run-2", "run-3", "run-4"]


def test_to_prune_takes_the_lock_and_a_dry_run_does_not(root: Path) -> None:
    leave_lock(root)
    assert absence("runs", "prune", root, "--keep-last", "1").exit_code == 0
    assert absence("runs", "prune", root, "--keep-last", "1", "--yes").exit_code == 11
    assert len(names(root)) == 4


# --- freezing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def frozen(small_run: Ran, tmp_path: Path) -> Path:
    """A root of which one run was found damaged by `verify`, and so does not take anything any more."""
    root = tmp_path / "runs"
    put(root, 2, name="broken")
    shutil.copytree(small_run.path, root / "whole")
    (root / "broken" / "plan.json").write_text("{}")
    told = absence("verify", root / "broken")
    assert told.exit_code == 30
    assert f'{root} is frozen. To write there again: absence runs thaw {root} --reason "…"' in told.stderr
    return root


def test_what_does_not_verify_freezes_its_root_for_whoever_writes(frozen: Path) -> None:
    for command in (("run", "small", "--out", frozen), ("runs", "prune", frozen, "--keep-last", "0", "--yes")):
        told = absence(*command)
        assert told.exit_code == 30
        assert "broken did not verify (plan.json: hashes to" in told.stderr
        assert f"absence runs thaw {frozen} --reason" in told.stderr
    assert names(frozen) == {"whole", "broken"}
    assert lock.found(frozen) is None


def test_a_frozen_root_can_still_be_read(frozen: Path) -> None:
    assert absence("runs", "list", frozen).exit_code == 0
    assert absence("verify", frozen / "whole").exit_code == 0
    assert absence("runs", "incidents", frozen).exit_code == 0
    assert absence("runs", "prune", frozen, "--keep-last", "1").exit_code == 0


def test_a_root_is_thawed_with_a_reason_which_is_kept(frozen: Path) -> None:
    assert absence("runs", "thaw", frozen).exit_code == 2
    assert freezing.found(frozen) is not None
    told = absence("runs", "thaw", frozen, "--reason", "taken from the copy of Tuesday")
    assert told.exit_code == 0
    assert "broken did not verify" in told.stdout
    [line] = (frozen / "thaws.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert (kept["reason"], kept["run"]) == ("taken from the copy of Tuesday", "broken")
    assert absence("run", "small", "--out", frozen).exit_code == 0
    assert "not frozen" in absence("runs", "thaw", frozen, "--reason", "again").stdout


def test_a_user_that_has_no_name_can_thaw_too(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert absence("runs", "thaw", frozen, "--reason", "restored").exit_code == 0
    assert json.loads((frozen / "thaws.jsonl").read_text())["by"] == str(os.getuid())


def test_a_root_that_freezes_while_its_lock_is_awaited_is_frozen_for_who_waits(root: Path) -> None:
    owner = leave_lock(root)

    def verify_and_end() -> None:
        freezing.freeze(root, "2026-01-01T00:00:00+00:00", "run-2", "plan.json: is missing")
        lock.release(root, owner)

    timer = threading.Timer(0.5, verify_and_end)
    timer.start()
    told = absence("runs", "prune", root, "--keep-last", "0", "--yes", "--wait", "60")
    timer.join()
    assert "Waiting for" in told.stderr
    assert told.exit_code == 30
    assert len(names(root)) == 4


def test_to_thaw_takes_the_lock(frozen: Path) -> None:
    leave_lock(frozen)
    assert absence("runs", "thaw", frozen, "--reason", "now").exit_code == 11
    assert freezing.found(frozen) is not None


def test_a_copy_can_be_verified_without_freezing_where_it_lies(tmp_path: Path) -> None:
    copy = put(tmp_path / "copies", 1, name="copy")
    (copy / "plan.json").write_text("{}")
    told = absence("verify", copy, "--no-freeze")
    assert told.exit_code == 30
    assert "frozen" not in told.stderr
    assert freezing.found(copy.parent) is None


def test_report_freezes_what_it_finds_damaged_and_what_is_whole_freezes_nothing(small_run: Ran, tmp_path: Path) -> None:
    run = shutil.copytree(small_run.path, tmp_path / "runs" / "one")
    assert absence("verify", run).exit_code == 0
    assert freezing.found(run.parent) is None
    (run / "journal.jsonl").write_text("")
    assert absence("report", run).exit_code == 30
    assert freezing.found(run.parent) is not None


def test_a_root_that_cannot_be_frozen_says_so_and_the_code_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = put(tmp_path / "runs", 1)
    (run / "plan.json").write_text("{}")

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(freezing.atomic, "write_json", refuse)
    told = absence("verify", run)
    assert told.exit_code == 30
    assert f"{run.parent} could not be frozen: Read-only file system. Write nothing there." in told.stderr
    assert "No incident file could be written" in told.stderr


def test_a_run_under_way_when_its_root_is_frozen_is_not_published(tmp_path: Path) -> None:
    from tests.support.runs import FINGERPRINTS, RunWriter, small_plan, write_journal

    with RunWriter(tmp_path) as writer:
        writer.write_plan(small_plan())
        write_journal(writer)
        writer.seal(FINGERPRINTS)
        freezing.freeze(tmp_path, "2026-01-01T00:00:00+00:00", "other", "plan.json: is missing")
        with pytest.raises(freezing.RootFrozen):
            writer.publish()
    assert os.listdir(tmp_path) == [freezing.FROZEN]


def test_a_mark_that_cannot_be_read_freezes_too(tmp_path: Path) -> None:
    (tmp_path / freezing.FROZEN).write_text("{")
    assert absence("run", "small", "--out", tmp_path).exit_code == 30
    assert absence("runs", "thaw", tmp_path, "--reason", "torn").exit_code == 0
    assert freezing.found(tmp_path) is None
