"""The settlement daemon as it is deployed: on a database file, as a process of its own, once or until it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest

from contest_platform.services.settlement_lease import LEASE_MS
from contest_platform.store import sqlite
from staging import settlementctl
from tests.support.command import ROOT
from tests.support.contest_world import CUTOFF_AT
from tests.support.historic import unlink
from tests.support.settlement_world import WINNERS, ContestWorld, crowd, cut, ready, settled

WITHIN_S = 30


def saved(world: ContestWorld, path: Path) -> Path:
    path.write_bytes(bytes(world.connection.serialize("main")))
    return path


def rows(path: Path, sql: str) -> list[dict[str, Any]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(sqlite.BUSY_MS)
    try:
        return sqlite.query(connection, sql)
    finally:
        connection.close()


def run(path: Path, *arguments: str, at: int = CUTOFF_AT) -> int:
    return settlementctl.main(["--database", str(path), *arguments], now=lambda: at)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    return found


# --- once -------------------------------------------------------------------------------------------------------------


def test_once_settles_what_is_due_says_so_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(ready()[0], tmp_path / "platform.db")
    assert run(path, "--once") == settlementctl.DONE
    said = told(capsys)
    assert (said["ended"], said["next_due_at"], said["lease_held_by_another_until"]) == ({"EXECUTED": 3}, None, None)
    assert rows(path, "select status from contests") == [{"status": "SETTLED"}]
    assert rows(path, "select holder, expires_at from leases") == [{"holder": said["holder"], "expires_at": CUTOFF_AT}]
    assert rows(path, "select holder, status from daemon_health") == [{"holder": said["holder"], "status": "STOPPED"}]
    assert run(path, "--once") == settlementctl.DONE
    assert told(capsys)["ended"] == {}


def test_once_before_anything_is_due_says_when(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(ready()[0], tmp_path / "platform.db")
    assert run(path, "--once", at=CUTOFF_AT - 1) == settlementctl.DONE
    assert told(capsys)["next_due_at"] == CUTOFF_AT
    assert rows(path, "select * from settlement_packs") == []


def test_once_does_nothing_while_another_daemon_has_the_lease_and_goes_on_when_that_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, first = ready(crowd(52))
    cut(world, first, "settlement.execute")
    path = saved(world, tmp_path / "platform.db")
    pending = "select count(*) as n from settlement_packs where status = 'PENDING'"
    before = rows(path, pending)
    assert run(path, "--once", at=CUTOFF_AT + LEASE_MS - 1) == settlementctl.NOT_OURS
    assert told(capsys)["lease_held_by_another_until"] == CUTOFF_AT + LEASE_MS
    assert rows(path, pending) == before
    assert run(path, "--once", at=CUTOFF_AT + LEASE_MS) == settlementctl.DONE
    assert rows(path, pending) == [{"n": 0}]


def test_two_processes_on_one_file_settle_each_pack_once(tmp_path: Path) -> None:
    path = saved(ready(crowd(200))[0], tmp_path / "platform.db")
    both = [subprocess.Popen(_command(path, "--once"), cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
    ended = [orjson.loads(process.communicate(timeout=WITHIN_S)[0])["ended"] for process in both]
    assert sum(one.get("EXECUTED", 0) for one in ended) == 200
    counted = "select count(*) as n, count(distinct pack_id) as packs from outcome_settlement_log"
    assert rows(path, counted) == [{"n": 200, "packs": 200}]
    assert rows(path, "select status from settlement_audit") == [{"status": "SUCCEEDED"}]


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.db", "--once") == settlementctl.USAGE
    assert "no database" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()


# --- continuous -------------------------------------------------------------------------------------------------------


def _command(path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "staging.settlementctl", "--database", str(path), *arguments]


@contextmanager
def running(path: Path, pid_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    often = ("--look-every-s", "0.05", "--grid-s", "0.05")
    command = _command(path, "--continuous", "--pid-file", str(pid_file), *often)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < ends_at, "it did not come to that"
        time.sleep(0.02)


def test_continuous_settles_what_becomes_due_and_stops_when_it_is_told(tmp_path: Path) -> None:
    path, pid_file = saved(ready()[0], tmp_path / "platform.db"), tmp_path / "settlement.pid"
    with running(path, pid_file) as process:
        until(lambda: rows(path, "select status from contests") == [{"status": "SETTLED"}])
        assert pid_file.read_text() == f"{process.pid}\n"
        [lease] = rows(path, "select holder from leases")
        assert rows(path, "select holder, status from daemon_health") == [{**lease, "status": "ACTIVE"}]
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
    assert not pid_file.exists()
    assert rows(path, "select status from daemon_health") == [{"status": "STOPPED"}]
    [lease] = rows(path, "select expires_at from leases")
    assert lease["expires_at"] <= settlementctl.wall_clock(), "nobody has to wait for it"


def test_a_second_one_does_not_start_and_a_pid_file_that_was_left_stops_nobody(tmp_path: Path) -> None:
    path, pid_file = saved(ready()[0], tmp_path / "platform.db"), tmp_path / "settlement.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    with running(path, pid_file) as first:
        until(lambda: pid_file.read_text() == f"{first.pid}\n")
        second = subprocess.run(
            _command(path, "--once", "--pid-file", str(pid_file)), cwd=ROOT, capture_output=True, timeout=WITHIN_S
        )
        assert second.returncode == settlementctl.REFUSED
        assert f"process {first.pid}" in second.stderr.decode()
    assert pid_file.exists(), "it was killed"
    with running(path, pid_file) as third:
        until(lambda: pid_file.read_text() == f"{third.pid}\n")


def test_a_daemon_that_was_killed_is_followed_by_one_that_waits_for_its_lease(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(ready()[0], tmp_path / "platform.db")
    with running(path, tmp_path / "settlement.pid"):
        until(lambda: rows(path, "select status from contests") == [{"status": "SETTLED"}])
    assert rows(path, "select status from daemon_health") == [{"status": "ACTIVE"}], "nobody has said that it stops"
    [lease] = rows(path, "select expires_at from leases")
    assert lease["expires_at"] > settlementctl.wall_clock()
    with apsw.Connection(str(path)) as connection:  # there is work again
        connection.execute("update contests set status = 'COMPLETE', settled_at = null")
    assert run(path, "--once", at=lease["expires_at"] - 1) == settlementctl.NOT_OURS
    assert told(capsys)["lease_held_by_another_until"] == lease["expires_at"]


# --- backfill ---------------------------------------------------------------------------------------------------------


def test_backfill_writes_its_evidence_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = settled()
    unlink(world, "ann", "bob")
    path, evidence = saved(world, tmp_path / "platform.db"), tmp_path / "backfill.json"
    assert run(path, "--backfill", "links lost in an import", "--dry-run", "--evidence", str(evidence)) == 0
    assert orjson.loads(evidence.read_bytes())["dry_run"] is True
    assert len(rows(path, "select * from outcome_pack_links")) == 1
    assert run(path, "--backfill", "links lost in an import", "--evidence", str(evidence)) == 0
    said, written = told(capsys), orjson.loads(evidence.read_bytes())
    assert said["totals"] == written["totals"] == {
        "packs": 2, "LINKED": 2, "COLLISION": 0, "OUTCOME_MISSING": 0, "POST_MORTEM": 0, "UNLOGGED": 0,
    }  # fmt: skip
    assert [row["result"] for row in written["rows"]] == ["LINKED"] * 2
    body = {name: value for name, value in written.items() if name != "sha256"}
    assert sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest() == said["sha256"] == written["sha256"]
    assert len(rows(path, "select * from outcome_pack_links")) == len(WINNERS)
