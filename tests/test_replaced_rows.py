"""Rows replaced past the platform, through a connection on which its triggers do not refuse that: the judge finds each.

On the platform's own connections it is refused: see test_store.py.
"""

from __future__ import annotations

import apsw
import pytest

from assertions.judge import Verdict, judge
from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.ports import Tx
from contest_platform.store.schema import APPEND_ONLY, IRREPLACEABLE
from contest_platform.store.tables import TABLES
from evidence.journal import JournalWriter
from evidence.run import Evidence
from evidence.writer import RunWriter
from scenarios import load, make_plan
from seams.draws import Draws
from simulator.kernel import Kernel
from simulator.run import begin, finish
from simulator.world import World

REPLACED = {
    "audit_log": (1, "reason", "for a good reason", "audit row 1 of "),
    "ledger_transactions": (2, "correlation", "another contest", "ledger transaction 2 "),
    "ledger_postings": (1, "account", "liabilities:user_wallet:somebody_else", "ledger transaction 1 "),
    "ingestion_receipts": (1, "strokes", 1, "the receipts of ingestion batch 1 are not those that were hashed"),
    "ingestion_batches": (1, "published_at", 1, "ingestion_batches/1: published_at is 1, audited as "),
    "outcome_settlement_log": (
        1, "settlement_reason_code", "by_hand", "settlement_reason_code is 'by_hand', audited as 'settled'"
    ),
    "settlement_acceptance": (1, "lvi", "NOT_APPLICABLE", "lvi is 'NOT_APPLICABLE', audited as 'PASS'"),
    "quarantine_resolutions": (1, "how", "by hand", "how is 'by hand', audited as 'full poll'"),
    "config_versions": (1, "reason", "by hand", "reason is 'by hand', audited as 'slow answers'"),
    "backups": (1, "reason", "by hand", "reason is 'by hand', audited as 'before a change'"),
    "healing_telemetry": (1, "outcome", "by hand", "outcome is 'by hand', audited as 'HEALED'"),
}  # fmt: skip
"""Table -> which row in the order of its key is replaced, a column, what the new row says, what the judge says."""
MADE = {
    "quarantine_resolutions": {"batch_id": 9, "resolved_by_batch_id": 10, "at": 0, "how": "full poll"},
    "config_versions": {
        "version": 1, "hash": "h", "content": "{}", "created_at": 0, "created_by": "ops:kim", "execution_id": "x1",
        "step": None, "reason": "slow answers",
    },
    "backups": {
        "backup_id": "b1", "taken_at": 0, "taken_by": "ops:kim", "execution_id": "x1", "reason": "before a change",
        "size_bytes": 1, "sha256": "h", "audit_seq": 1, "audit_hash": "h",
    },
    "healing_telemetry": {
        "telemetry_id": "t1", "at": 0, "level": "L1", "rule_id": "r1", "runbook_id": "host_service_stopped",
        "incident_id": "i1", "order_id": "o1", "host": "win-1", "check_name": "service_running", "stage": "first",
        "outcome": "HEALED", "detail": None,
    },
}  # fmt: skip
"""Rows of the tables that have none in a small run: nothing is quarantined in it, and nobody carries out a runbook."""


def replace_row(connection: apsw.Connection, table: str, number: int, column: str, value: object) -> None:
    """Replace row `number` of `table` by one that differs in `column`."""
    columns = [name for (name,) in connection.execute("select name from pragma_table_info(?)", (table,))]
    keys = ", ".join(TABLES[table].key)
    [old] = connection.execute(f"select * from {table} order by {keys} limit 1 offset ?", (number - 1,))
    row = {**dict(zip(columns, old, strict=True)), column: value}
    connection.execute(f"insert or replace into {table} values ({', '.join('?' * len(row))})", tuple(row.values()))


def _make(tx: Tx) -> None:
    for table, row in MADE.items():
        audit.insert(tx, Context("system:test", "t1"), table, row, "made for this test")


@pytest.fixture(scope="module")
def replaced(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """A run at whose end a row of each table has been replaced, judged."""
    plan = make_plan(load("small"), 1)
    with RunWriter(tmp_path_factory.mktemp("replaced"), "run") as writer:
        writer.write_plan(plan)
        kernel = Kernel(Draws(plan.root_key), JournalWriter(writer.journal), plan.starts_at)
        world = World(plan, kernel, writer.books)
        world.runtime.spawn(begin(world), "preflight")
        kernel.run(until=plan.recovery_until_at)
        world.connection.transact(world.runtime.now(), "", _make)
        world.connection.execute("pragma recursive_triggers = off")
        for table, (number, column, value, _) in REPLACED.items():
            replace_row(world.connection, table, number, column, value)
        finish(world)
        world.connection.close()
        writer.seal({"code": "c0de" * 16})
        return judge(Evidence.open(writer.path))


@pytest.mark.parametrize("table", REPLACED)
def test_the_judge_finds_a_row_that_was_replaced(replaced: Verdict, table: str) -> None:
    told = [broken.message for result in replaced.results if result.family == "audit" for broken in result.broken]
    assert any(REPLACED[table][3] in message for message in told), told


def test_a_row_that_the_judge_would_not_find_cannot_be_replaced_on_any_connection() -> None:
    """See test_store.py for those."""
    assert set(REPLACED) == set(APPEND_ONLY) - set(IRREPLACEABLE)
