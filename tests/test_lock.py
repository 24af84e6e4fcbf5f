"""The lock of a run root: one writer at a time, whoever holds it is told, and only what is stale is ever broken."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from absence import locking
from absence.locking import LockSkipped, LockTimeout, Wanted, writing
from absence.progress import OverBudget
from evidence import lock, processes
from evidence.lock import BREAKS, LOCK, LockHeld
from tests.support.command import ROOT, Told, absence, process, start
from tests.support.locks import ago, dead_pid, owner, zombie
from tests.support.locks import lock as locked
from tests.support.terminal import in_terminal

OTHER_HOST = {"host": "another-host.example"}
STALE: dict[str, tuple[dict[str, Any], str, bool]] = {
    "another boot": ({"boot": "0" * 36}, "has been started anew since", True),
    "pid reused": ({"process_start": "1"}, "is another one by now", True),
    "out of time": ({"started_at": ago(601)}, "its time to live, 600 s, is over", False),
    "out of time elsewhere": ({"started_at": ago(601), **OTHER_HOST}, "its time to live, 600 s, is over", False),
}
LIVING: dict[str, Callable[[], dict[str, Any]]] = {
    "at work": dict,
    "nearly out of time": lambda: {"started_at": ago(500)},
    "on another host": lambda: OTHER_HOST,
    "on another host, with a number that is nobody's here": lambda: {**OTHER_HOST, "pid": 2**22, "boot": "0" * 36},
    "in another container": lambda: {"pid": 2**22, "pid_space": "pid:[1]"},
}
"""What is changed of a lock, as of the test: it is collected minutes earlier."""


def at_it(*arguments: str | Path) -> Told:
    return absence("run", "small", *arguments)


# --- taking and giving back ------------------------------------------------------------------------------------------


def test_while_a_root_is_written_to_its_lock_says_by_whom_and_then_it_is_gone(tmp_path: Path) -> None:
    with writing(tmp_path, Wanted(reason="a try"), ttl_s=60):
        told = json.loads((tmp_path / LOCK).read_text())
    assert not (tmp_path / LOCK).exists()
    assert told == {
        "active": True, "pid": os.getpid(), "host": os.uname().nodename, "boot": processes.boot_id(),
        "pid_space": processes.pid_space(), "process_start": processes.started(os.getpid()), "command": "absence",
        "started_at": told["started_at"], "reason": "a try", "ttl_s": 60, "token": told["token"],
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", told["started_at"])


@pytest.mark.parametrize(("options", "ttl_s"), [((), 1800), (("--budget-s", "1000"), 2000)])
def test_a_run_holds_its_root_for_twice_its_budget_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], ttl_s: int
) -> None:
    held = list[LockHeld | None]()

    def looking(*_: object) -> None:
        held.append(lock.found(tmp_path))
        raise OverBudget("seen enough")

    monkeypatch.setattr("absence.pipeline.execute", looking)
    assert at_it("--out", tmp_path, *options).exit_code == 12
    [found] = held
    assert found is not None
    assert found.owner is not None
    assert (found.owner.ttl_s, found.owner.pid) == (ttl_s, os.getpid())
    assert found.owner.command == shlex.join(["absence", "run", "small", "--out", str(tmp_path), *options])


def test_whatever_ends_a_command_gives_the_root_back(tmp_path: Path) -> None:
    for error in (ZeroDivisionError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), writing(tmp_path):
            raise error
        assert lock.found(tmp_path) is None


def test_ctrl_c_in_the_instant_of_giving_back_does_not_leave_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, calls = lock.release, list[Path]()

    def interrupted(root: Path, ours: lock.Owner) -> bool:
        calls.append(root)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return release(root, ours)

    monkeypatch.setattr(lock, "release", interrupted)
    with writing(tmp_path):
        pass
    assert len(calls) == 2
    assert lock.found(tmp_path) is None


def _contend(root: Path, rounds: int, overlaps: Any) -> None:
    for _ in range(rounds):
        ours = lock.candidate("contender", "", 600)
        while True:
            try:
                lock.take(root, ours)
                break
            except LockHeld:
                time.sleep(0.0005)
        try:
            os.close(os.open(root / "inside", os.O_CREAT | os.O_EXCL))
            time.sleep(0.0005)
            os.unlink(root / "inside")
        except FileExistsError:
            overlaps.value += 1
        if not lock.release(root, ours):
            overlaps.value += 1


def test_of_many_that_contend_for_a_root_no_two_have_it_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    overlaps = context.Value("i", 0)
    contenders = [context.Process(target=_contend, args=(tmp_path, 40, overlaps)) for _ in range(6)]
    for one in contenders:
        one.start()
    for one in contenders:
        one.join(120)
        assert one.exitcode == 0
    assert overlaps.value == 0
    assert os.listdir(tmp_path) == []


def test_of_many_that_break_the_same_stale_lock_one_has_the_root_then(tmp_path: Path) -> None:
    dead = locked(tmp_path, pid=dead_pid())
    won, start_all = list[lock.Owner](), threading.Barrier(8)

    def break_it() -> None:
        ours = owner(token=os.urandom(8).hex())
        start_all.wait()
        try:
            lock.take(tmp_path, ours, break_stale=True)
            won.append(ours)
        except LockHeld:
            pass

    threads = [threading.Thread(target=break_it) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    [winner] = won
    assert json.loads((tmp_path / LOCK).read_text())["token"] == winner.token
    [line] = (tmp_path / BREAKS).read_text().splitlines()
    assert json.loads(line)["owner"]["token"] == dead.token


# --- held by somebody at work ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", LIVING.values(), ids=LIVING)
def test_a_lock_whose_owner_may_live_is_never_broken(tmp_path: Path, changed: Callable[[], dict[str, Any]]) -> None:
    theirs = locked(tmp_path, **changed())
    held = lock.found(tmp_path)
    assert held is not None
    assert (held.owner, held.stale) == (theirs, None)
    told = at_it("--out", tmp_path, "--force-lock-break", "--reason", "impatience")
    assert told.exit_code == 11
    assert "such a lock is never broken" in told.stderr
    assert os.listdir(tmp_path) == [LOCK]
    assert json.loads((tmp_path / LOCK).read_text())["token"] == theirs.token


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), 11),
        (("--on-lock-held", "skip"), 11),
        (("--on-lock-held", "fail"), 40),
        (("--wait", "0.2"), 40),
        (("--wait", "0.2", "--on-lock-held", "skip"), 11),
        (("--wait", "0.2", "--on-lock-held", "fail"), 40),
    ],
)
def test_a_caller_says_whether_he_waits_and_what_it_means_if_that_is_in_vain(
    tmp_path: Path, options: tuple[str, ...], code: int
) -> None:
    theirs = locked(tmp_path)
    told = at_it("--out", tmp_path, *options)
    assert told.exit_code == code
    assert f"process {theirs.pid} on {theirs.host} since {theirs.started_at}" in told.stderr
    assert "absence run nightly, for 'the nightly run'" in told.stderr
    assert f"absence run small --out {tmp_path}" in told.stderr, "the command to go on with"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == (["incidents"] if code == 40 else [])


def test_who_is_held_up_is_told_so_as_json_too(tmp_path: Path) -> None:
    locked(tmp_path)
    told = at_it("--out", tmp_path, "--json")
    assert told.exit_code == told.json["exit_code"] == 11
    assert told.json["error"] == told.errors
    assert told.json["incident"] is None


def test_a_mistake_in_the_scenario_is_told_without_waiting_for_the_lock(tmp_path: Path) -> None:
    locked(tmp_path)
    assert absence("run", "smal", "--out", tmp_path, "--wait", "600").exit_code == 20


def test_of_two_runs_at_once_one_runs_and_the_other_gives_way_or_waits(tmp_path: Path) -> None:
    first = start("run", "default", "--out", tmp_path)
    while lock.found(tmp_path) is None:
        assert first.poll() is None
        time.sleep(0.01)
    gave_way = process("run", "small", "--out", tmp_path)
    assert gave_way.exit_code == 11
    assert f"process {first.pid} on " in gave_way.stderr
    assert "absence run default" in gave_way.stderr
    waited = process("run", "small", "--out", tmp_path, "--wait", "240")
    assert first.wait(timeout=240) == 0
    first.communicate()
    assert waited.exit_code == 0
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {"default", "small"}


def test_who_waits_on_a_terminal_sees_it(tmp_path: Path) -> None:
    theirs = locked(tmp_path)
    timer = threading.Timer(10, lambda: lock.release(tmp_path, theirs))
    timer.start()
    drawn = in_terminal("run", "small", "--out", tmp_path, "--wait", "120")
    timer.join()
    assert "Waiting for" in drawn
    assert "of 120 s)" in drawn
    assert "PASS" in drawn


def test_who_waits_where_nobody_looks_says_so_once(tmp_path: Path) -> None:
    theirs = locked(tmp_path)
    told = at_it("--out", tmp_path, "--wait", "0.5")
    assert told.stderr.count("Waiting for") == 1
    assert f"held by {theirs}, for 0.5 s at most." in told.stderr


def test_ctrl_c_while_waiting_leaves_the_lock_to_its_owner(tmp_path: Path) -> None:
    theirs = locked(tmp_path)
    waiting = start("run", "small", "--out", tmp_path, "--wait", "240")
    assert waiting.stderr is not None
    assert "Waiting for" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    _, stderr = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert stderr.strip() == "Stopped. Nothing half-written was left behind."
    assert os.listdir(tmp_path) == [LOCK]
    assert lock.release(tmp_path, theirs)


# --- stale -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changed", "why", "gone"), STALE.values(), ids=STALE)
def test_a_stale_lock_is_told_from_one_that_is_held(
    tmp_path: Path, changed: dict[str, Any], why: str, gone: bool
) -> None:
    theirs = locked(tmp_path, **changed)
    told = at_it("--out", tmp_path, "--on-lock-held", "skip")
    assert told.exit_code == 40, "to skip it for ever would help nobody"
    assert f"It is stale: {'' if gone else 'its'}" in told.stderr
    assert why in told.stderr
    assert ("may still be at work" in told.stderr) is not gone
    assert json.loads((tmp_path / LOCK).read_text())["token"] == theirs.token


def test_an_owner_that_has_died_is_found_dead_though_nobody_has_waited_for_him(tmp_path: Path) -> None:
    for pid in (dead_pid(), zombie()):
        locked(tmp_path, pid=pid)
        held = lock.found(tmp_path)
        assert held is not None
        assert held.stale == lock.Stale(f"there is no process {pid} any more", gone=True)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": 1}', "\0" * 300])
def test_a_lock_that_cannot_be_read_is_broken_like_any_stale_one(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    assert at_it("--out", tmp_path).exit_code == 40
    with writing(tmp_path, Wanted(break_stale=True, reason="torn")):
        assert lock.found(tmp_path) is not None
    assert json.loads((tmp_path / BREAKS).read_text())["owner"] is None


def test_a_lock_file_that_the_system_will_not_show_may_be_that_of_somebody_at_work(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    told = at_it("--out", tmp_path, "--force-lock-break", "--reason", "it is in the way")
    assert told.exit_code == 11
    assert "is locked by somebody its file does not name" in told.stderr
    assert os.listdir(tmp_path) == [LOCK]


def test_a_lock_that_says_it_is_not_active_holds_nobody_up(tmp_path: Path) -> None:
    locked(tmp_path, active=False)
    with writing(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["active"] is True
    assert os.listdir(tmp_path) == []


def test_who_waits_for_one_that_is_over_its_time_has_it_when_it_is_given_back(tmp_path: Path) -> None:
    theirs = locked(tmp_path, started_at=ago(601))
    timer = threading.Timer(0.3, lambda: lock.release(tmp_path, theirs))
    timer.start()
    with writing(tmp_path, Wanted(wait_s=60)):
        timer.join()
    locked(tmp_path, started_at=ago(601))
    with pytest.raises(LockTimeout, match="is stale"), writing(tmp_path, Wanted(wait_s=0.2)):
        pass


def test_nobody_waits_for_an_owner_that_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked(tmp_path, pid=dead_pid())
    monkeypatch.setattr(locking.time, "sleep", lambda _: pytest.fail("it waits"))
    with pytest.raises(LockTimeout), writing(tmp_path, Wanted(wait_s=600)):
        pass


@pytest.mark.parametrize("changed", [change for change, _, _ in STALE.values()], ids=STALE)
def test_each_break_is_noted_with_whose_it_was_why_and_by_whom(tmp_path: Path, changed: dict[str, Any]) -> None:
    owners = []
    for reason in ("the first", "the second"):
        owners.append(locked(tmp_path, **changed))
        with writing(tmp_path, Wanted(break_stale=True, reason=reason)):
            pass
    lines = [json.loads(line) for line in (tmp_path / BREAKS).read_text().splitlines()]
    assert [line["reason"] for line in lines] == ["the first", "the second"]
    assert [line["owner"]["token"] for line in lines] == [theirs.token for theirs in owners]
    assert all(line["broken_by"]["pid"] == os.getpid() and line["why"] for line in lines)


def test_a_line_that_a_loss_of_power_tore_stays_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / BREAKS).write_text('{"at": "2026-0')
    locked(tmp_path, pid=dead_pid())
    with writing(tmp_path, Wanted(break_stale=True, reason="after the power cut")):
        pass
    torn, whole = (tmp_path / BREAKS).read_text().splitlines()
    assert torn == '{"at": "2026-0'
    assert json.loads(whole)["reason"] == "after the power cut"


def test_to_break_a_lock_wants_a_reason(tmp_path: Path) -> None:
    locked(tmp_path, pid=dead_pid())
    for reason in ((), ("--reason", "  ")):
        told = at_it("--out", tmp_path, "--force-lock-break", *reason)
        assert told.exit_code == 2
        assert "wants --reason TEXT" in told.stderr
    assert os.listdir(tmp_path) == [LOCK]


def test_an_owner_whose_lock_was_broken_says_so_and_leaves_the_new_one_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with writing(tmp_path, ttl_s=0):
        time.sleep(1.1)  # instants of a lock are whole seconds
        theirs = owner(token="another")
        assert lock.take(tmp_path, theirs, break_stale=True) is not None
    assert "was broken, or its file taken away, while this command held it" in capsys.readouterr().err
    assert lock.release(tmp_path, theirs)


def test_after_kill_9_the_next_run_says_how_to_go_on_and_that_goes_on(tmp_path: Path) -> None:
    killed = start("run", "default", "--out", tmp_path)
    while not list(tmp_path.glob(".staging-*")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    next_one = process("run", "small", "--out", tmp_path)
    assert next_one.exit_code == 40
    assert f"It is stale: there is no process {killed.pid} any more." in next_one.stderr
    [how] = [line.partition(": ")[2] for line in next_one.errors if line.startswith("To break it and go on: ")]
    program, *arguments = shlex.split(how.replace('"…"', "'killed by a test'"))
    assert program == "absence"
    recovered = process(*arguments)
    assert recovered.exit_code == 0
    assert f"Broke the lock of process {killed.pid} " in recovered.stderr
    [swept] = re.findall(r"^Swept (\S+): a run that was being written when its command died\.$", recovered.stderr, re.M)
    assert f".staging-{killed.pid}-" in swept
    left = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir())
    assert left == ["incidents", "lock_breaks.jsonl", "small"]


# --- what is told ----------------------------------------------------------------------------------------------------


def test_no_password_of_a_store_is_told_or_kept(tmp_path: Path) -> None:
    locked(tmp_path)
    url = "postgresql://me:secret@localhost/test"
    told = at_it("--out", tmp_path, "--store", url, "--on-lock-held", "fail")
    assert told.exit_code == 40
    assert "postgresql://me:…@localhost/test" in told.stderr
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "postgresql://me:…@localhost/test" in kept
    assert "secret" not in kept + told.stdout + told.stderr


def test_a_caller_that_gives_way_is_told_from_one_that_waited_in_vain(tmp_path: Path) -> None:
    locked(tmp_path)
    with pytest.raises(LockSkipped), writing(tmp_path):
        pass
    with pytest.raises(LockTimeout), writing(tmp_path, Wanted(on_held="fail")):
        pass


def test_a_process_is_told_by_ps_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_BOOT", Path("/nowhere"))
    start_of_ours = processes.started(os.getpid())
    assert start_of_ours == processes.started(os.getpid()) != ""
    assert re.search(r"\d\d:\d\d:\d\d \d{4}$", start_of_ours or "")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=ROOT)
    assert processes.started(child.pid)
    child.communicate()
    assert processes.started(child.pid) is None
    pid = zombie()
    assert processes.started(pid) is None
    os.waitpid(pid, 0)
