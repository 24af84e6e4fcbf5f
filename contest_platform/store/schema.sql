-- Made of schema.py and compile.py by `make snapshots`, and compared with them by a test. Not to be edited.

CREATE TABLE access_log (
    n INTEGER NOT NULL,
    at BIGINT NOT NULL,
    principal TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    allowed BOOLEAN NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (n)
);

CREATE TABLE audit_log (
    seq INTEGER NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    "before" TEXT,
    "after" TEXT,
    reason TEXT NOT NULL,
    correlation TEXT NOT NULL,
    cause TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (seq)
);

CREATE TABLE backups (
    backup_id TEXT NOT NULL,
    taken_at BIGINT NOT NULL,
    taken_by TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    audit_seq INTEGER NOT NULL,
    audit_hash TEXT NOT NULL,
    PRIMARY KEY (backup_id)
)
 WITHOUT ROWID;

CREATE TABLE checkpoints (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (name)
)
 WITHOUT ROWID;

CREATE TABLE config_versions (
    version INTEGER NOT NULL,
    hash TEXT NOT NULL,
    content TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    execution_id TEXT,
    step TEXT,
    reason TEXT NOT NULL,
    PRIMARY KEY (version)
);

CREATE TABLE contests (
    contest_id TEXT NOT NULL,
    tournament_id TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    fee_cents BIGINT NOT NULL,
    rake_bp INTEGER NOT NULL,
    guaranteed_cents BIGINT,
    prize_shares_bp TEXT NOT NULL,
    scoring TEXT NOT NULL,
    min_entries INTEGER NOT NULL,
    max_entries INTEGER NOT NULL,
    opens_at BIGINT NOT NULL,
    lock_at BIGINT NOT NULL,
    start_at BIGINT NOT NULL,
    end_at BIGINT NOT NULL,
    hold_s INTEGER NOT NULL,
    completed_at BIGINT,
    cutoff_at BIGINT,
    settled_at BIGINT,
    closed_at BIGINT,
    error_code TEXT,
    PRIMARY KEY (contest_id),
    CONSTRAINT status_is_known CHECK (status = 'SCHEDULED' or status = 'LOCKED' or status = 'LIVE' or status = 'COMPLETE' or status = 'SETTLED' or status = 'PAID_OUT' or status = 'CANCELLED' or status = 'ERROR'),
    CONSTRAINT money_is_sane CHECK (fee_cents >= 0 and rake_bp between 0 and 10000)
)
 WITHOUT ROWID;

CREATE TABLE disputes (
    dispute_id TEXT NOT NULL,
    entry_id TEXT,
    intent_id TEXT,
    amount_cents BIGINT NOT NULL,
    fee_cents BIGINT NOT NULL,
    status TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    PRIMARY KEY (dispute_id),
    CONSTRAINT status_is_known CHECK (status = 'warning_needs_response' or status = 'warning_under_review' or status = 'needs_response' or status = 'under_review' or status = 'warning_closed' or status = 'lost' or status = 'won')
)
 WITHOUT ROWID;

CREATE INDEX disputes_by_entry ON disputes (entry_id);

CREATE TABLE entries (
    entry_id TEXT NOT NULL,
    contest_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    status TEXT NOT NULL,
    roster TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    valid_at BIGINT,
    closed_at BIGINT,
    PRIMARY KEY (entry_id),
    CONSTRAINT status_is_known CHECK (status = 'PENDING_PAYMENT' or status = 'VALID' or status = 'ABANDONED' or status = 'WITHDRAWN' or status = 'REFUNDED'),
    CONSTRAINT one_entry_a_user UNIQUE (contest_id, user_id)
)
 WITHOUT ROWID;

CREATE TABLE golfers (
    tournament_id TEXT NOT NULL,
    golfer_id TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    PRIMARY KEY (tournament_id, golfer_id)
)
 WITHOUT ROWID;

CREATE TABLE healing_rules (
    rule_id TEXT NOT NULL,
    source TEXT NOT NULL,
    os TEXT NOT NULL,
    check_name TEXT NOT NULL,
    runbook_id TEXT NOT NULL,
    probe TEXT NOT NULL,
    well TEXT NOT NULL,
    remedy TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    promoted_at BIGINT,
    withdrawn_at BIGINT,
    PRIMARY KEY (rule_id),
    CONSTRAINT source_is_known CHECK (source = 'builtin' or source = 'promoted'),
    CONSTRAINT status_is_known CHECK (status = 'CANDIDATE' or status = 'ACTIVE' or status = 'WITHDRAWN')
)
 WITHOUT ROWID;

CREATE TABLE healing_telemetry (
    telemetry_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    level TEXT NOT NULL,
    rule_id TEXT NOT NULL,
    runbook_id TEXT NOT NULL,
    incident_id TEXT NOT NULL,
    order_id TEXT,
    host TEXT NOT NULL,
    check_name TEXT NOT NULL,
    stage TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT,
    PRIMARY KEY (telemetry_id),
    CONSTRAINT level_is_known CHECK (level = 'L1' or level = 'L2')
)
 WITHOUT ROWID;

CREATE TABLE hole_scores (
    tournament_id TEXT NOT NULL,
    golfer_id TEXT NOT NULL,
    round INTEGER NOT NULL,
    hole INTEGER NOT NULL,
    strokes INTEGER NOT NULL,
    batch_id INTEGER NOT NULL,
    published_at BIGINT NOT NULL,
    PRIMARY KEY (tournament_id, golfer_id, round, hole)
)
 WITHOUT ROWID;

CREATE TABLE incidents (
    incident_id TEXT NOT NULL,
    host TEXT NOT NULL,
    check_name TEXT NOT NULL,
    target TEXT NOT NULL,
    observed TEXT NOT NULL,
    reported_at BIGINT NOT NULL,
    status TEXT NOT NULL,
    level TEXT NOT NULL,
    resolved_at BIGINT,
    PRIMARY KEY (incident_id),
    CONSTRAINT status_is_known CHECK (status = 'OPEN' or status = 'RESOLVED'),
    CONSTRAINT level_is_known CHECK (level = 'L1' or level = 'L2')
)
 WITHOUT ROWID;

CREATE TABLE ingestion_batches (
    batch_id INTEGER NOT NULL,
    tournament_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    since_revision INTEGER,
    revision INTEGER NOT NULL,
    published_at BIGINT NOT NULL,
    "full" BOOLEAN NOT NULL,
    admitted INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    corrections INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    receipts_hash TEXT NOT NULL,
    PRIMARY KEY (batch_id)
);

CREATE TABLE ingestion_receipts (
    batch_id INTEGER NOT NULL,
    n INTEGER NOT NULL,
    tournament_id TEXT NOT NULL,
    golfer_id TEXT NOT NULL,
    round INTEGER NOT NULL,
    hole INTEGER NOT NULL,
    strokes INTEGER NOT NULL,
    published_at BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (batch_id, n),
    CONSTRAINT verdict_is_known CHECK (verdict = 'ADMIT' or verdict = 'DUPLICATE' or verdict = 'CORRECTION' or verdict = 'QUARANTINE' or verdict = 'REJECT')
)
 WITHOUT ROWID;

CREATE TABLE leases (
    name TEXT NOT NULL,
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    acquired_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (name)
)
 WITHOUT ROWID;

CREATE TABLE ledger_postings (
    txn_id INTEGER NOT NULL,
    n INTEGER NOT NULL,
    account TEXT NOT NULL,
    amount_cents BIGINT NOT NULL,
    PRIMARY KEY (txn_id, n),
    CONSTRAINT a_posting_moves_money CHECK (amount_cents <> 0)
)
 WITHOUT ROWID;

CREATE INDEX postings_by_account ON ledger_postings (account);

CREATE TABLE ledger_transactions (
    txn_id INTEGER NOT NULL,
    business_key TEXT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    correlation TEXT NOT NULL,
    cause TEXT NOT NULL,
    PRIMARY KEY (txn_id),
    CONSTRAINT posted_once UNIQUE (business_key)
);

CREATE TABLE outcome_pack_links (
    pack_id TEXT NOT NULL,
    outcome_id TEXT NOT NULL,
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (pack_id),
    CONSTRAINT an_outcome_links_once UNIQUE (outcome_id)
)
 WITHOUT ROWID;

CREATE TABLE outcome_settlement_log (
    settlement_id TEXT NOT NULL,
    pack_id TEXT NOT NULL,
    prior_status TEXT NOT NULL,
    new_status TEXT NOT NULL,
    outcome_id TEXT,
    settlement_reason_code TEXT NOT NULL,
    settlement_evidence_hash TEXT NOT NULL,
    settled_at BIGINT NOT NULL,
    settled_by TEXT NOT NULL,
    PRIMARY KEY (settlement_id)
)
 WITHOUT ROWID;

CREATE TABLE outcomes (
    outcome_id TEXT NOT NULL,
    contest_id TEXT NOT NULL,
    entry_id TEXT NOT NULL,
    score INTEGER NOT NULL,
    place INTEGER NOT NULL,
    prize_cents BIGINT NOT NULL,
    tie_break INTEGER,
    scores_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (outcome_id),
    CONSTRAINT one_outcome_an_entry UNIQUE (entry_id)
)
 WITHOUT ROWID;

CREATE TABLE payments (
    entry_id TEXT NOT NULL,
    intent_id TEXT,
    idempotency_key TEXT NOT NULL,
    amount_cents BIGINT NOT NULL,
    status TEXT NOT NULL,
    captured_at BIGINT,
    refunded_cents BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (entry_id),
    CONSTRAINT status_is_known CHECK (status = 'CREATED' or status = 'CAPTURED' or status = 'REFUNDED' or status = 'CANCELED')
)
 WITHOUT ROWID;

CREATE UNIQUE INDEX payments_by_intent ON payments (intent_id);

CREATE INDEX payments_by_status ON payments (status, created_at);

CREATE TABLE post_mortem_settlement (
    pack_id TEXT NOT NULL,
    fail_reason_code TEXT NOT NULL,
    detail TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (pack_id)
)
 WITHOUT ROWID;

CREATE TABLE quarantine_resolutions (
    batch_id INTEGER NOT NULL,
    resolved_by_batch_id INTEGER NOT NULL,
    at BIGINT NOT NULL,
    how TEXT NOT NULL,
    PRIMARY KEY (batch_id)
);

CREATE TABLE refunds (
    refund_id TEXT NOT NULL,
    entry_id TEXT NOT NULL,
    intent_id TEXT NOT NULL,
    amount_cents BIGINT NOT NULL,
    reason TEXT NOT NULL,
    status TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    processor_refund_id TEXT,
    attempts INTEGER NOT NULL,
    next_attempt_at BIGINT,
    created_at BIGINT NOT NULL,
    done_at BIGINT,
    PRIMARY KEY (refund_id),
    CONSTRAINT status_is_known CHECK (status = 'PENDING' or status = 'DONE' or status = 'FAILED_TERMINAL')
)
 WITHOUT ROWID;

CREATE INDEX refunds_by_intent ON refunds (intent_id);

CREATE INDEX refunds_due ON refunds (status, next_attempt_at);

CREATE TABLE remediation_orders (
    order_id TEXT NOT NULL,
    incident_id TEXT NOT NULL,
    rule_id TEXT NOT NULL,
    runbook_id TEXT NOT NULL,
    host TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    issued_at BIGINT NOT NULL,
    delivered_at BIGINT,
    acknowledged_at BIGINT,
    finished_at BIGINT,
    expires_at BIGINT NOT NULL,
    detail TEXT,
    verify_at BIGINT,
    verified_at BIGINT,
    verifications INTEGER NOT NULL,
    PRIMARY KEY (order_id),
    CONSTRAINT status_is_known CHECK (status = 'ISSUED' or status = 'DELIVERED' or status = 'ACKNOWLEDGED' or status = 'COMPLETED' or status = 'FAILED' or status = 'EXPIRED')
)
 WITHOUT ROWID;

CREATE TABLE runbook_execution_steps (
    execution_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    at BIGINT NOT NULL,
    section TEXT NOT NULL,
    number INTEGER NOT NULL,
    file TEXT NOT NULL,
    line INTEGER NOT NULL,
    template TEXT NOT NULL,
    template_sha256 TEXT NOT NULL,
    bindings TEXT NOT NULL,
    sent TEXT NOT NULL,
    exit_status INTEGER NOT NULL,
    output TEXT NOT NULL,
    matched TEXT,
    ok BOOLEAN NOT NULL,
    next TEXT,
    PRIMARY KEY (execution_id, n),
    CONSTRAINT steps_count_from_one CHECK (n >= 1)
)
 WITHOUT ROWID;

CREATE TABLE runbook_executions (
    id TEXT NOT NULL,
    runbook_name TEXT NOT NULL,
    runbook_version TEXT NOT NULL,
    executed_by TEXT NOT NULL,
    status TEXT NOT NULL,
    execution_phase TEXT,
    phase_step INTEGER,
    start_time BIGINT NOT NULL,
    end_time BIGINT,
    duration_seconds INTEGER,
    result_json TEXT,
    error_reason TEXT,
    system_state_before TEXT,
    system_state_after TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT status_is_known CHECK (status = 'pending' or status = 'in_progress' or status = 'completed' or status = 'failed' or status = 'partial'),
    CONSTRAINT a_duration_is_not_negative CHECK (duration_seconds >= 0)
)
 WITHOUT ROWID;

CREATE INDEX idx_runbook_executions_created_at ON runbook_executions (created_at);

CREATE INDEX idx_runbook_executions_runbook_name ON runbook_executions (runbook_name);

CREATE INDEX idx_runbook_executions_status ON runbook_executions (status);

CREATE TABLE score_audits (
    audit_id INTEGER NOT NULL,
    tournament_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    holes INTEGER NOT NULL,
    mismatches INTEGER NOT NULL,
    PRIMARY KEY (audit_id)
);

CREATE TABLE settlement_audit (
    run_id TEXT NOT NULL,
    contest_id TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    status TEXT NOT NULL,
    packs INTEGER NOT NULL,
    error_json TEXT,
    PRIMARY KEY (run_id)
)
 WITHOUT ROWID;

CREATE TABLE settlement_packs (
    pack_id TEXT NOT NULL,
    contest_id TEXT NOT NULL,
    entry_id TEXT NOT NULL,
    status TEXT NOT NULL,
    fail_reason_code TEXT,
    fail_reason_detail TEXT,
    created_at BIGINT NOT NULL,
    terminalized_at BIGINT,
    settled_by TEXT,
    lease_epoch INTEGER,
    PRIMARY KEY (pack_id),
    CONSTRAINT status_is_known CHECK (status = 'PENDING' or status = 'EXECUTED' or status = 'FAILED' or status = 'ORPHANED_OUTCOME_MISSING'),
    CONSTRAINT one_pack_an_entry UNIQUE (entry_id)
)
 WITHOUT ROWID;

CREATE INDEX packs_by_contest ON settlement_packs (contest_id, status, pack_id);

CREATE TABLE tournaments (
    tournament_id TEXT NOT NULL,
    provider_event_id TEXT NOT NULL,
    name TEXT NOT NULL,
    par TEXT NOT NULL,
    rounds INTEGER NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    play TEXT NOT NULL,
    field_ingested_at BIGINT,
    completed_at BIGINT,
    PRIMARY KEY (tournament_id)
)
 WITHOUT ROWID;

CREATE TABLE transfer_attempts (
    transfer_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    finished_at BIGINT,
    outcome TEXT,
    code TEXT,
    PRIMARY KEY (transfer_id, n),
    CONSTRAINT outcome_is_known CHECK (outcome = 'SUCCEEDED' or outcome = 'REJECTED' or outcome = 'UNKNOWN')
)
 WITHOUT ROWID;

CREATE TABLE transfers (
    transfer_id TEXT NOT NULL,
    contest_id TEXT NOT NULL,
    entry_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    amount_cents BIGINT NOT NULL,
    destination TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    processor_transfer_id TEXT,
    idempotency_key TEXT NOT NULL,
    key_born_at BIGINT,
    attempts INTEGER NOT NULL,
    next_attempt_at BIGINT,
    created_at BIGINT NOT NULL,
    done_at BIGINT,
    PRIMARY KEY (transfer_id),
    CONSTRAINT status_is_known CHECK (status = 'PENDING' or status = 'SUBMITTED' or status = 'PAID' or status = 'RETRYABLE' or status = 'FAILED_TERMINAL' or status = 'REVERSED'),
    CONSTRAINT one_transfer_an_entry UNIQUE (entry_id),
    CONSTRAINT a_transfer_moves_money CHECK (amount_cents > 0),
    CONSTRAINT a_failure_has_a_reason CHECK (status <> 'FAILED_TERMINAL' or reason is not null)
)
 WITHOUT ROWID;

CREATE INDEX transfers_by_contest ON transfers (contest_id, status);

CREATE INDEX transfers_due ON transfers (status, next_attempt_at);

CREATE TABLE users (
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    account_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (user_id)
)
 WITHOUT ROWID;

CREATE TABLE webhook_inbox (
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    object_id TEXT NOT NULL,
    change_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    deliveries INTEGER NOT NULL,
    status TEXT NOT NULL,
    applied_at BIGINT,
    PRIMARY KEY (event_id),
    CONSTRAINT status_is_known CHECK (status = 'WAITING' or status = 'APPLIED' or status = 'DUPLICATE' or status = 'IGNORED')
)
 WITHOUT ROWID;

CREATE INDEX inbox_by_change ON webhook_inbox (change_key);

create trigger audit_log_refuses_update before update on audit_log
begin select raise(abort, 'audit_log is append-only'); end;

create trigger audit_log_refuses_delete before delete on audit_log
begin select raise(abort, 'audit_log is append-only'); end;

create trigger access_log_refuses_update before update on access_log
begin select raise(abort, 'access_log is append-only'); end;

create trigger access_log_refuses_delete before delete on access_log
begin select raise(abort, 'access_log is append-only'); end;

create trigger ledger_transactions_refuses_update before update on ledger_transactions
begin select raise(abort, 'ledger_transactions is append-only'); end;

create trigger ledger_transactions_refuses_delete before delete on ledger_transactions
begin select raise(abort, 'ledger_transactions is append-only'); end;

create trigger ledger_postings_refuses_update before update on ledger_postings
begin select raise(abort, 'ledger_postings is append-only'); end;

create trigger ledger_postings_refuses_delete before delete on ledger_postings
begin select raise(abort, 'ledger_postings is append-only'); end;

create trigger ingestion_receipts_refuses_update before update on ingestion_receipts
begin select raise(abort, 'ingestion_receipts is append-only'); end;

create trigger ingestion_receipts_refuses_delete before delete on ingestion_receipts
begin select raise(abort, 'ingestion_receipts is append-only'); end;

create trigger ingestion_batches_refuses_update before update on ingestion_batches
begin select raise(abort, 'ingestion_batches is append-only'); end;

create trigger ingestion_batches_refuses_delete before delete on ingestion_batches
begin select raise(abort, 'ingestion_batches is append-only'); end;

create trigger outcome_settlement_log_refuses_update before update on outcome_settlement_log
begin select raise(abort, 'outcome_settlement_log is append-only'); end;

create trigger outcome_settlement_log_refuses_delete before delete on outcome_settlement_log
begin select raise(abort, 'outcome_settlement_log is append-only'); end;

create trigger quarantine_resolutions_refuses_update before update on quarantine_resolutions
begin select raise(abort, 'quarantine_resolutions is append-only'); end;

create trigger quarantine_resolutions_refuses_delete before delete on quarantine_resolutions
begin select raise(abort, 'quarantine_resolutions is append-only'); end;

create trigger runbook_execution_steps_refuses_update before update on runbook_execution_steps
begin select raise(abort, 'runbook_execution_steps is append-only'); end;

create trigger runbook_execution_steps_refuses_delete before delete on runbook_execution_steps
begin select raise(abort, 'runbook_execution_steps is append-only'); end;

create trigger config_versions_refuses_update before update on config_versions
begin select raise(abort, 'config_versions is append-only'); end;

create trigger config_versions_refuses_delete before delete on config_versions
begin select raise(abort, 'config_versions is append-only'); end;

create trigger backups_refuses_update before update on backups
begin select raise(abort, 'backups is append-only'); end;

create trigger backups_refuses_delete before delete on backups
begin select raise(abort, 'backups is append-only'); end;

create trigger healing_telemetry_refuses_update before update on healing_telemetry
begin select raise(abort, 'healing_telemetry is append-only'); end;

create trigger healing_telemetry_refuses_delete before delete on healing_telemetry
begin select raise(abort, 'healing_telemetry is append-only'); end;

create trigger access_log_refuses_replace before insert on access_log
when exists (select 1 from access_log where n = new.n)
begin select raise(fail, 'access_log is append-only'); end;

create trigger runbook_execution_steps_refuses_replace before insert on runbook_execution_steps
when exists (select 1 from runbook_execution_steps where execution_id = new.execution_id and n = new.n)
begin select raise(fail, 'runbook_execution_steps is append-only'); end;

create trigger settlement_packs_daemon_authority before update on settlement_packs
when old.status <> 'PENDING'
or new.pack_id <> old.pack_id or new.contest_id <> old.contest_id or new.entry_id <> old.entry_id
or new.status <> old.status and (
    new.terminalized_at is null
    or not exists (
        select 1 from leases where name = 'settlement' and holder = new.settled_by
        and epoch = new.lease_epoch and expires_at > new.terminalized_at))
begin select raise(abort, 'only the settlement daemon may leave PENDING, once, under its lease'); end;

create trigger settlement_packs_start_pending before insert on settlement_packs
when new.status <> 'PENDING'
begin select raise(abort, 'a settlement pack starts PENDING'); end;

create trigger settlement_packs_refuse_delete before delete on settlement_packs
begin select raise(abort, 'settlement packs are not deleted'); end;

create trigger settlement_packs_execute_linked before update of status on settlement_packs
when new.status = 'EXECUTED' and not exists (select 1 from outcome_pack_links where pack_id = new.pack_id)
begin select raise(abort, 'a pack is executed only through its outcome link'); end;

create trigger runbook_executions_end_once before update on runbook_executions
when old.status <> 'in_progress'
or new.status not in ('completed', 'failed', 'partial')
or new.id is distinct from old.id
or new.runbook_name is distinct from old.runbook_name
or new.runbook_version is distinct from old.runbook_version
or new.executed_by is distinct from old.executed_by
or new.start_time is distinct from old.start_time
or new.system_state_before is distinct from old.system_state_before
or new.created_at is distinct from old.created_at
or new.end_time is null or new.end_time < new.start_time or new.updated_at <> new.end_time
or new.duration_seconds is distinct from (new.end_time - new.start_time) / 1000
begin select raise(abort, 'a runbook execution ends once, and nothing else of it changes'); end;

create trigger runbook_executions_start_in_progress before insert on runbook_executions
when new.status <> 'in_progress' or new.updated_at <> new.start_time or new.created_at <> new.start_time
or new.execution_phase is not null
or new.phase_step is not null
or new.end_time is not null
or new.duration_seconds is not null
or new.result_json is not null
or new.error_reason is not null
or new.system_state_after is not null
begin select raise(abort, 'a runbook execution starts in progress, with nothing of its end'); end;

create trigger runbook_executions_refuse_replace before insert on runbook_executions
when exists (select 1 from runbook_executions where id = new.id)
begin select raise(fail, 'runbook executions are not replaced'); end;

create trigger runbook_executions_refuse_delete before delete on runbook_executions
begin select raise(abort, 'runbook executions are not deleted'); end;

create trigger runbook_execution_steps_follow before insert on runbook_execution_steps
when not exists (select 1 from runbook_executions where id = new.execution_id and status = 'in_progress')
or new.n > 1 and not exists (
    select 1 from runbook_execution_steps where execution_id = new.execution_id and n = new.n - 1)
begin select raise(abort, 'a step follows the one before it, in an execution in progress'); end;
