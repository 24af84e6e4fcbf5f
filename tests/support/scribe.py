"""Who writes the books of a run by hand: rows, audit, ledger and batches as an honest platform would have left them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from evidence.journal import Event
from evidence.plan import Plan
from evidence.schemas import BOOKS
from tests.support.fake_evidence import FakeEvidence


def encode(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Scribe:
    """Writes books the way an honest platform and an honest world do."""

    def __init__(self, plan: Plan) -> None:
        self.evidence = FakeEvidence(plan)
        self.books = self.evidence.books
        self.now = plan.starts_at

    def note(self, book: str, **columns: Any) -> int:
        """A row of somebody else's book, numbered if the book numbers its rows."""
        rows = self.books[book]
        if "n" in BOOKS[book].key:
            columns["n"] = len(rows) + 1
        rows.append(columns)
        return len(rows)

    def event(self) -> str:
        number = len(self.evidence.events) + 1
        self.evidence.events.append(Event(f"e{number}", self.now, "somebody", "thing.done", "x", None, {}))
        return f"e{number}"

    def audit(
        self, actor: str, action: str, subject: str, after: Any = None, before: Any = None, reason: str | None = None
    ) -> None:
        self.books["platform.audit_log"].append(
            {
                "seq": len(self.books["platform.audit_log"]) + 1, "at": self.now, "actor": actor, "action": action,
                "subject": subject, "before": None if before is None else encode(before),
                "after": None if after is None else encode(after), "reason": reason, "correlation": None,
                "cause": self.event(),
            }
        )  # fmt: skip

    def insert(self, table: str, actor: str, **columns: Any) -> dict[str, Any]:
        schema = BOOKS[f"platform.{table}"]
        row = {name: columns.get(name) for name in schema.columns}
        self.books[f"platform.{table}"].append(row)
        self.audit(actor, f"{table}.insert", f"{table}/{'/'.join(str(row[name]) for name in schema.key)}", dict(row))
        return row

    def update(self, table: str, actor: str, row: dict[str, Any], **changes: Any) -> None:
        key = "/".join(str(row[name]) for name in BOOKS[f"platform.{table}"].key)
        before = {name: row[name] for name in changes}
        row.update(changes)
        self.audit(actor, f"{table}.update", f"{table}/{key}", changes, before)

    def post(self, key: str, *postings: tuple[str, int]) -> None:
        txn_id = len(self.books["platform.ledger_transactions"]) + 1
        kind = key.partition(":")[0]
        self.books["platform.ledger_transactions"].append(
            {"txn_id": txn_id, "business_key": key, "kind": kind, "at": self.now}
        )
        for n, (account, cents) in enumerate(postings, 1):
            self.books["platform.ledger_postings"].append(
                {"txn_id": txn_id, "n": n, "account": account, "amount_cents": cents}
            )
        said = {"business_key": key, "kind": kind, "postings": [list(item) for item in postings]}
        self.audit("system:payments", "ledger.post", f"ledger_transactions/{txn_id}", said)
        self.books["platform.ledger_transactions"][-1]["cause"] = self.books["platform.audit_log"][-1]["cause"]

    def move(self, debit: str, credit: str, cents: int, key: str) -> None:
        self.post(key, (debit, cents), (credit, -cents))

    def batch(
        self, batch_id: int, published_at: int, *receipts: tuple[str, int, int, str], because: str | None = None
    ) -> None:
        """A batch of (golfer, hole, strokes, verdict) of round 1, for one reason or for a reason each."""
        rows: list[list[Any]] = []
        counts = dict.fromkeys(("ADMIT", "DUPLICATE", "CORRECTION", "QUARANTINE", "REJECT"), 0)
        for n, (golfer, hole, strokes, verdict) in enumerate(receipts, 1):
            reason = because or f"because {verdict}"
            counts[verdict] += 1
            rows.append([batch_id, n, "t1", golfer, 1, hole, strokes, published_at, verdict, reason])
            self.books["platform.ingestion_receipts"].append(
                {
                    "batch_id": batch_id, "n": n, "tournament_id": "t1", "golfer_id": golfer, "round": 1, "hole": hole,
                    "strokes": strokes, "published_at": published_at, "verdict": verdict, "reason": reason,
                }
            )  # fmt: skip
        row = {
            "batch_id": batch_id, "tournament_id": "t1", "event_id": "ev1", "requested_at": self.now,
            "received_at": self.now, "since_revision": batch_id - 1, "revision": batch_id, "published_at": published_at,
            "full": False, "admitted": counts["ADMIT"], "duplicates": counts["DUPLICATE"],
            "corrections": counts["CORRECTION"], "quarantined": counts["QUARANTINE"], "rejected": counts["REJECT"],
            "receipts_hash": sha256(encode(rows).encode()).hexdigest(),
        }  # fmt: skip
        self.books["platform.ingestion_batches"].append(row)
        self.audit("system:ingestion", "ingestion.batch", f"ingestion_batches/{batch_id}", row)

    def balance(self, kind: str, source: str, amount: int, fee: int = 0, available_at: int | None = None) -> str:
        txn = f"txn_{source}"
        self.note(
            "processor.balance", balance_transaction_id=txn, kind=kind, source_id=source, amount_cents=amount,
            fee_cents=fee, net_cents=amount - fee, created_at=self.now,
            available_at=self.now if available_at is None else available_at,
        )  # fmt: skip
        return txn

    def request(self, operation: str, key: str, object_id: str | None, entity: str, **columns: Any) -> None:
        row = {
            "at": self.now, "caller": "platform", "operation": operation, "idempotency_key": key, "request_hash": key,
            "replayed": False, "status": 200, "error_code": None, "object_id": object_id, "entity": entity,
            "answered": True,
        }  # fmt: skip
        self.note("processor.requests", **{**row, **columns})


def rechain(evidence: FakeEvidence) -> None:
    """Hash the audit log as it stands, and anchor every row's head: what an attacker with all keys would do."""
    head = "0" * 64
    evidence.books["anchor.heads"] = []
    for row in evidence.books["platform.audit_log"]:
        row.pop("hash", None)
        row["prev_hash"] = head
        head = row["hash"] = sha256(encode(row).encode()).hexdigest()
        number = len(evidence.books["anchor.heads"]) + 1
        evidence.books["anchor.heads"].append(
            {"n": number, "at": row["at"] + 60_000, "head_seq": row["seq"], "head_hash": head}
        )
