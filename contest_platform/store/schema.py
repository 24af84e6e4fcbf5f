"""The schema, once, for every store: tables, checks, and which tables are append-only.

A running platform does not import this: it works with what compile.py has made of it, schema.sql.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from contest_platform.statuses import (
    ATTEMPT_OUTCOMES,
    CONTEST_STATUSES,
    DISPUTE_STATUSES,
    ENTRY_STATUSES,
    EXECUTION_STATUSES,
    INBOX_STATUSES,
    INCIDENT_STATUSES,
    LEVELS,
    ORDER_STATUSES,
    PACK_STATUSES,
    PAYMENT_STATUSES,
    REFUND_STATUSES,
    RULE_SOURCES,
    RULE_STATUSES,
    TRANSFER_STATUSES,
    VERDICTS,
)

METADATA = MetaData()

APPEND_ONLY = (
    "audit_log",
    "access_log",
    "ledger_transactions",
    "ledger_postings",
    "ingestion_receipts",
    "ingestion_batches",
    "outcome_settlement_log",
    "quarantine_resolutions",
    "runbook_execution_steps",
    "config_versions",
    "backups",
    "healing_telemetry",
)
"""Tables in which a row, once written, is neither changed nor removed nor replaced."""

IRREPLACEABLE = ("access_log", "runbook_execution_steps")
"""Of these, those whose rows no connection may replace: the audit log does not tell of an access in full, and a step is
the record of a human. On a connection without recursive_triggers a row of the others can be replaced, and the audit
log, the batch's hash or the ledger post tells of another."""


def _table(name: str, spec: str, *extras: SchemaItem) -> None:
    """Define a table from lines `column type [null]`; types: text, int, bool, at (integer ms), cents.
    The first line is the key. SQLite keeps the rows in the order of their key, under no number of its own: a row is
    found and written in one tree instead of two, and there is no second key under which it could be replaced."""
    key, *described = [line.split() for line in spec.strip().splitlines()]
    types: dict[str, type[TypeEngine[Any]]] = {
        "text": Text,
        "int": Integer,
        "bool": Boolean,
        "at": BigInteger,
        "cents": BigInteger,
    }
    columns: list[SchemaItem] = [Column(line[0], types[line[1]](), nullable=len(line) > 2) for line in described]
    is_number = [key[0], "int"] in described and len(key) == 1  # which is the row's number then
    Table(name, METADATA, *columns, PrimaryKeyConstraint(*key), *extras, sqlite_with_rowid=is_number)


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    # Not `in (…)`: SQLite builds the list anew for every row, which costs more than the insert.
    listed = " or ".join(f"{column} = '{value}'" for value in values)
    return CheckConstraint(listed, name=f"{column}_is_known")


_table(
    "tournaments",
    """
    tournament_id
    tournament_id text
    provider_event_id text
    name text
    par text
    rounds int
    starts_at at
    ends_at at
    play text
    field_ingested_at at null
    completed_at at null
    """,
)
_table(
    "golfers",
    """
    tournament_id golfer_id
    tournament_id text
    golfer_id text
    name text
    status text
    """,
)
_table(
    "users",
    """
    user_id
    user_id text
    name text
    email text
    account_id text
    created_at at
    deleted_at at null
    """,
)
_table(
    "contests",
    """
    contest_id
    contest_id text
    tournament_id text
    name text
    status text
    fee_cents cents
    rake_bp int
    guaranteed_cents cents null
    prize_shares_bp text
    scoring text
    min_entries int
    max_entries int
    opens_at at
    lock_at at
    start_at at
    end_at at
    hold_s int
    completed_at at null
    cutoff_at at null
    settled_at at null
    closed_at at null
    error_code text null
    """,
    _one_of("status", CONTEST_STATUSES),
    CheckConstraint("fee_cents >= 0 and rake_bp between 0 and 10000", name="money_is_sane"),
)
_table(
    "entries",
    """
    entry_id
    entry_id text
    contest_id text
    user_id text
    status text
    roster text
    created_at at
    valid_at at null
    closed_at at null
    """,
    _one_of("status", ENTRY_STATUSES),
    UniqueConstraint("contest_id", "user_id", name="one_entry_a_user"),
)
_table(
    "payments",
    """
    entry_id
    entry_id text
    intent_id text null
    idempotency_key text
    amount_cents cents
    status text
    captured_at at null
    refunded_cents cents
    created_at at
    """,
    _one_of("status", PAYMENT_STATUSES),
    Index("payments_by_intent", "intent_id", unique=True),
    Index("payments_by_status", "status", "created_at"),
)
_table(
    "webhook_inbox",
    """
    event_id
    event_id text
    type text
    object_id text
    change_key text
    created_at at
    received_at at
    deliveries int
    status text
    applied_at at null
    """,
    _one_of("status", INBOX_STATUSES),
    Index("inbox_by_change", "change_key"),
)
_table(
    "refunds",
    """
    refund_id
    refund_id text
    entry_id text
    intent_id text
    amount_cents cents
    reason text
    status text
    idempotency_key text
    processor_refund_id text null
    attempts int
    next_attempt_at at null
    created_at at
    done_at at null
    """,
    _one_of("status", REFUND_STATUSES),
    Index("refunds_due", "status", "next_attempt_at"),
    Index("refunds_by_intent", "intent_id"),
)
_table(
    "disputes",
    """
    dispute_id
    dispute_id text
    entry_id text null
    intent_id text null
    amount_cents cents
    fee_cents cents
    status text
    opened_at at
    closed_at at null
    """,
    _one_of("status", DISPUTE_STATUSES),
    Index("disputes_by_entry", "entry_id"),
)
_table(
    "ledger_transactions",
    """
    txn_id
    txn_id int
    business_key text
    kind text
    at at
    correlation text
    cause text
    """,
    UniqueConstraint("business_key", name="posted_once"),
)
_table(
    "ledger_postings",
    """
    txn_id n
    txn_id int
    n int
    account text
    amount_cents cents
    """,
    Index("postings_by_account", "account"),
    CheckConstraint("amount_cents <> 0", name="a_posting_moves_money"),
)
_table(
    "ingestion_batches",
    """
    batch_id
    batch_id int
    tournament_id text
    event_id text
    requested_at at
    received_at at
    since_revision int null
    revision int
    published_at at
    full bool
    admitted int
    duplicates int
    corrections int
    quarantined int
    rejected int
    receipts_hash text
    """,
)
_table(
    "ingestion_receipts",
    """
    batch_id n
    batch_id int
    n int
    tournament_id text
    golfer_id text
    round int
    hole int
    strokes int
    published_at at
    verdict text
    reason text
    """,
    _one_of("verdict", VERDICTS),
)
_table(
    "quarantine_resolutions",
    """
    batch_id
    batch_id int
    resolved_by_batch_id int
    at at
    how text
    """,
)
_table(
    "hole_scores",
    """
    tournament_id golfer_id round hole
    tournament_id text
    golfer_id text
    round int
    hole int
    strokes int
    batch_id int
    published_at at
    """,
)
_table(
    "score_audits",
    """
    audit_id
    audit_id int
    tournament_id text
    at at
    holes int
    mismatches int
    """,
)
_table(
    "checkpoints",
    """
    name
    name text
    value text
    updated_at at
    """,
)
_table(
    "outcomes",
    """
    outcome_id
    outcome_id text
    contest_id text
    entry_id text
    score int
    place int
    prize_cents cents
    tie_break int null
    scores_hash text
    created_at at
    """,
    UniqueConstraint("entry_id", name="one_outcome_an_entry"),
)
_table(
    "settlement_packs",
    """
    pack_id
    pack_id text
    contest_id text
    entry_id text
    status text
    fail_reason_code text null
    fail_reason_detail text null
    created_at at
    terminalized_at at null
    settled_by text null
    lease_epoch int null
    """,
    _one_of("status", PACK_STATUSES),
    UniqueConstraint("entry_id", name="one_pack_an_entry"),
    Index("packs_by_contest", "contest_id", "status", "pack_id"),
)
_table(
    "outcome_pack_links",
    """
    pack_id
    pack_id text
    outcome_id text
    linked_at at
    """,
    UniqueConstraint("outcome_id", name="an_outcome_links_once"),
)
_table(
    "outcome_settlement_log",
    """
    settlement_id
    settlement_id text
    pack_id text
    prior_status text
    new_status text
    outcome_id text null
    settlement_reason_code text
    settlement_evidence_hash text
    settled_at at
    settled_by text
    """,
)
_table(
    "settlement_audit",
    """
    run_id
    run_id text
    contest_id text
    started_at at
    finished_at at null
    status text
    packs int
    error_json text null
    """,
)
_table(
    "post_mortem_settlement",
    """
    pack_id
    pack_id text
    fail_reason_code text
    detail text
    at at
    """,
)
_table(
    "leases",
    """
    name
    name text
    holder text
    epoch int
    acquired_at at
    expires_at at
    """,
)
_table(
    "transfers",
    """
    transfer_id
    transfer_id text
    contest_id text
    entry_id text
    user_id text
    amount_cents cents
    destination text
    status text
    reason text null
    processor_transfer_id text null
    idempotency_key text
    key_born_at at null
    attempts int
    next_attempt_at at null
    created_at at
    done_at at null
    """,
    _one_of("status", TRANSFER_STATUSES),
    UniqueConstraint("entry_id", name="one_transfer_an_entry"),
    CheckConstraint("amount_cents > 0", name="a_transfer_moves_money"),
    CheckConstraint("status <> 'FAILED_TERMINAL' or reason is not null", name="a_failure_has_a_reason"),
    Index("transfers_due", "status", "next_attempt_at"),
    Index("transfers_by_contest", "contest_id", "status"),
)
_table(
    "transfer_attempts",
    """
    transfer_id n
    transfer_id text
    n int
    idempotency_key text
    request_hash text
    sent_at at
    finished_at at null
    outcome text null
    code text null
    """,
    _one_of("outcome", ATTEMPT_OUTCOMES),
)
_table(
    "incidents",
    """
    incident_id
    incident_id text
    host text
    check_name text
    target text
    observed text
    reported_at at
    status text
    level text
    resolved_at at null
    """,
    _one_of("status", INCIDENT_STATUSES),
    _one_of("level", LEVELS),
)
_table(
    "healing_rules",
    """
    rule_id
    rule_id text
    source text
    os text
    check_name text
    runbook_id text
    probe text
    well text
    remedy text
    status text
    created_at at
    promoted_at at null
    withdrawn_at at null
    """,
    _one_of("source", RULE_SOURCES),
    _one_of("status", RULE_STATUSES),
)
_table(
    "healing_telemetry",
    """
    telemetry_id
    telemetry_id text
    at at
    level text
    rule_id text
    runbook_id text
    incident_id text
    order_id text null
    host text
    check_name text
    stage text
    outcome text
    detail text null
    """,
    _one_of("level", LEVELS),
)
_table(
    "remediation_orders",
    """
    order_id
    order_id text
    incident_id text
    rule_id text
    runbook_id text
    host text
    status text
    attempts int
    issued_at at
    delivered_at at null
    acknowledged_at at null
    finished_at at null
    expires_at at
    detail text null
    verify_at at null
    verified_at at null
    verifications int
    """,
    _one_of("status", ORDER_STATUSES),
)
_table(
    "runbook_executions",
    """
    id
    id text
    runbook_name text
    runbook_version text
    executed_by text
    status text
    execution_phase text null
    phase_step int null
    start_time at
    end_time at null
    duration_seconds int null
    result_json text null
    error_reason text null
    system_state_before text null
    system_state_after text null
    created_at at
    updated_at at
    """,
    _one_of("status", EXECUTION_STATUSES),
    CheckConstraint("duration_seconds >= 0", name="a_duration_is_not_negative"),
    Index("idx_runbook_executions_created_at", "created_at"),
    Index("idx_runbook_executions_runbook_name", "runbook_name"),
    Index("idx_runbook_executions_status", "status"),
)
_table(
    "runbook_execution_steps",
    """
    execution_id n
    execution_id text
    n int
    at at
    section text
    number int
    file text
    line int
    template text
    template_sha256 text
    bindings text
    sent text
    exit_status int
    output text
    matched text null
    ok bool
    next text null
    """,
    CheckConstraint("n >= 1", name="steps_count_from_one"),
)
_table(
    "config_versions",
    """
    version
    version int
    hash text
    content text
    created_at at
    created_by text
    execution_id text null
    step text null
    reason text
    """,
)
_table(
    "backups",
    """
    backup_id
    backup_id text
    taken_at at
    taken_by text
    execution_id text
    reason text
    size_bytes int
    sha256 text
    audit_seq int
    audit_hash text
    """,
)
_table(
    "audit_log",
    """
    seq
    seq int
    at at
    actor text
    action text
    subject text
    before text null
    after text null
    reason text
    correlation text
    cause text
    prev_hash text
    hash text
    """,
)
_table(
    "access_log",
    """
    n
    n int
    at at
    principal text
    action text
    resource text
    allowed bool
    reason text
    """,
)
