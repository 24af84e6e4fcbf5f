"""The record of settlement runs, and having a daemon make another one.

Invariant: a contest has at most one run that is RUNNING, and what nobody settles any more ends FAILED with its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.instants import rfc3339
from contest_platform.ports import Ids, Tx
from contest_platform.service import Refusal

IMPOSSIBLE = "settlement_impossible"


def begin(tx: Tx, ctx: Context, ids: Ids, contest_id: str, packs: int) -> None:
    audit.insert(tx, ctx, "settlement_audit", _run(tx, ids, contest_id, packs), "settlement begins")


def end(tx: Tx, ctx: Context, ids: Ids, contest_id: str, result: Mapping[str, Any], reason: str) -> None:
    """End the run of a contest; one that could not even begin is on record by its end."""
    changes = {**result, "finished_at": tx.now}
    run = tx.one(
        "select run_id from settlement_audit where contest_id = :c and status = 'RUNNING' order by started_at",
        {"c": contest_id},
    )
    if run is not None:
        audit.update(tx, ctx, "settlement_audit", {"run_id": run["run_id"]}, changes, reason)
    else:
        audit.insert(tx, ctx, "settlement_audit", {**_run(tx, ids, contest_id, 0), **changes}, reason)


def _run(tx: Tx, ids: Ids, contest_id: str, packs: int) -> dict[str, Any]:
    return {
        "run_id": ids.new("run", contest_id, str(tx.now)),
        "contest_id": contest_id,
        "started_at": tx.now,
        "finished_at": None,
        "status": "RUNNING",
        "packs": packs,
        "error_json": None,
    }


def again(tx: Tx, ctx: Context, contest_id: str, reason: str) -> bool | Refusal:
    """Have the daemon settle a contest whose settlement has failed, or is due and has not ended: it alone settles.
    False: nothing had to be changed for that."""
    contest = tx.one("select status, error_code, cutoff_at from contests where contest_id = :c", {"c": contest_id})
    if contest is None:
        return Refusal(404, f"no contest {contest_id}")
    if contest["status"] == "COMPLETE" and tx.now < contest["cutoff_at"]:
        return Refusal(409, f"contest {contest_id} is on hold until {rfc3339(contest['cutoff_at'])}")
    failed = bool(contest["status"] == "ERROR" and contest["error_code"] == IMPOSSIBLE)
    if not failed and contest["status"] != "COMPLETE":
        return Refusal(409, f"contest {contest_id} is {contest['status']}: no settlement of it failed or is unfinished")
    if failed:
        changes = {"status": "COMPLETE", "error_code": None}
        audit.update(tx, ctx, "contests", {"contest_id": contest_id}, changes, reason)
    tx.notify("settlement")
    return failed
