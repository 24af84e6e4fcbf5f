"""The catalogue: puts tournaments and contests on offer. A field's golfers are not its business: ingestion brings them.

Invariant: what it lists can be played: entries come before the lock, the lock before the start, a card can pay the fee.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from contest_platform import audit
from contest_platform.audit import Context, canonical
from contest_platform.domain.scoring import ScoringConfig
from contest_platform.ports import Tx
from contest_platform.store.tables import TABLES

ACTOR = "system:catalogue"
FEE_CENTS_MIN = 50
"""The least charge in USD (docs.stripe.com/currencies): a free contest would need entries without a payment."""


def create_tournament(tx: Tx, ctx: Context, tournament: Mapping[str, Any]) -> None:
    """List a tournament. `par` and `play` may be lists or their JSON; columns that may be null may be left out.

    Raises ValueError when a column is missing or unknown, or when it ends before it starts.
    """
    row = _row("tournaments", tournament, ("par", "play"))
    if row["starts_at"] >= row["ends_at"]:
        raise ValueError(f"tournament {row['tournament_id']} ends before it starts")
    audit.insert(tx, ctx, "tournaments", row, "listed")
    tx.notify("ingestion")


def create_contest(tx: Tx, ctx: Context, contest: Mapping[str, Any]) -> None:
    """List a contest, SCHEDULED. `scoring` and `prize_shares_bp` may be values or their JSON.

    Raises ValueError when a column is missing or unknown, or when such a contest cannot be played.
    """
    row = _row("contests", {"status": "SCHEDULED", **contest}, ("scoring", "prize_shares_bp"))
    if not row["opens_at"] < row["lock_at"] <= row["start_at"] < row["end_at"]:
        raise ValueError(f"contest {row['contest_id']}: expected opens_at < lock_at <= start_at < end_at")
    if row["fee_cents"] < FEE_CENTS_MIN:
        raise ValueError(f"contest {row['contest_id']}: expected a fee of {FEE_CENTS_MIN} cents at least")
    ScoringConfig.from_json(orjson.loads(row["scoring"]))
    audit.insert(tx, ctx, "contests", row, "listed")
    tx.notify("contests")
    tx.notify("payments")


def _row(table: str, values: Mapping[str, Any], json_columns: tuple[str, ...]) -> dict[str, Any]:
    columns = TABLES[table].columns
    unknown = [name for name in values if name not in columns]
    missing = [name for name in TABLES[table].required if values.get(name) is None]
    if unknown or missing:
        raise ValueError(f"{table}: unknown columns {unknown}, missing columns {missing}")
    row = {name: values.get(name) for name in columns}
    for name in json_columns:
        if not isinstance(row[name], str):
            row[name] = canonical(row[name])
    return row
