"""Backfill: what earlier settlements left without a link or an explanation is made good, as far as that can be told.

Invariant: no pack is changed, and no link is moved. A pack whose outcome another pack has is left as it is, and named;
every total is counted from the rows that stand beside it.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import Any

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.ports import Tx

UNKNOWN = "UNKNOWN"
"""The reason of a failure of which nobody has written one down."""
RESULTS = ("LINKED", "COLLISION", "OUTCOME_MISSING", "POST_MORTEM", "UNLOGGED")
"""LINKED: to the outcome of its entry. COLLISION: another pack has that. OUTCOME_MISSING: there is none. POST_MORTEM:
it failed without one, and has it now. UNLOGGED: it has ended and no row of the settlement log says so, nor is one made
up."""

_PACKS = """
    select p.pack_id, p.contest_id, p.entry_id, p.status, p.fail_reason_code, p.fail_reason_detail,
           l.outcome_id as link, o.outcome_id, x.pack_id as linked_to, m.pack_id as explained, g.pack_id as logged
    from settlement_packs p
    left join outcome_pack_links l on l.pack_id = p.pack_id
    left join outcomes o on o.entry_id = p.entry_id
    left join outcome_pack_links x on x.outcome_id = o.outcome_id
    left join post_mortem_settlement m on m.pack_id = p.pack_id
    left join outcome_settlement_log g on g.pack_id = p.pack_id
    where l.pack_id is null
       or p.status in ('FAILED', 'ORPHANED_OUTCOME_MISSING') and m.pack_id is null
       or p.status <> 'PENDING' and g.pack_id is null
    order by p.contest_id, p.pack_id
"""


def found(tx: Tx) -> list[dict[str, Any]]:
    """What there is to make good, one row a pack and result, and what would become of it."""
    rows = []
    for pack in tx.all(_PACKS):
        told = {name: pack[name] for name in ("pack_id", "contest_id", "entry_id", "status", "outcome_id", "linked_to")}
        results = []
        if pack["link"] is None and pack["outcome_id"] is None:
            results.append("OUTCOME_MISSING")
        elif pack["link"] is None:
            results.append("LINKED" if pack["linked_to"] is None else "COLLISION")
        if pack["status"] in ("FAILED", "ORPHANED_OUTCOME_MISSING") and pack["explained"] is None:
            results.append("POST_MORTEM")
        if pack["status"] != "PENDING" and pack["logged"] is None:
            results.append("UNLOGGED")
        why = {"code": pack["fail_reason_code"] or UNKNOWN, "detail": pack["fail_reason_detail"] or "none was recorded"}
        rows += [{**told, "result": result, **(why if result == "POST_MORTEM" else {})} for result in results]
    return rows


def run(tx: Tx, ctx: Context, reason: str, dry_run: bool) -> dict[str, Any]:
    """Make good what can be, unless it is a `dry_run`, and return the evidence: rows, totals, and the hash of both."""
    rows = found(tx)
    for row in rows if not dry_run else ():
        if row["result"] == "LINKED":
            link = {"pack_id": row["pack_id"], "outcome_id": row["outcome_id"], "linked_at": tx.now}
            audit.insert(tx, ctx, "outcome_pack_links", link, reason)
        elif row["result"] == "POST_MORTEM":
            why = {"pack_id": row["pack_id"], "fail_reason_code": row["code"], "detail": row["detail"], "at": tx.now}
            audit.insert(tx, ctx, "post_mortem_settlement", why, reason)
    evidence = told(rows, tx.now, dry_run)
    totals = {name: evidence[name] for name in ("dry_run", "totals", "sha256")}
    audit.append(tx, ctx, "settlement.backfill", "settlement/backfill", after=totals, reason=reason)
    if not dry_run and evidence["totals"]["LINKED"]:
        tx.notify("settlement")
    return evidence


def told(rows: list[dict[str, Any]], at: int, dry_run: bool) -> dict[str, Any]:
    """The evidence of a backfill. `sha256` is over the canonical JSON of all the rest of it."""
    counted = Counter(row["result"] for row in rows)
    totals = {"packs": len({row["pack_id"] for row in rows}), **{name: counted[name] for name in RESULTS}}
    body = {"kind": "settlement_backfill", "at": at, "dry_run": dry_run, "totals": totals, "rows": rows}
    return {**body, "sha256": sha256(audit.canonical(body).encode()).hexdigest()}
