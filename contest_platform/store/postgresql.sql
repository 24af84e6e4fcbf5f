-- Made of schema.py and compile.py by `make snapshots`, and compared with them by a test. Not to be edited.

CREATE TABLE access_log (
    n BIGINT NOT NULL,
    at BIGINT NOT NULL,
    principal TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    allowed BOOLEAN NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (n)
);

CREATE TABLE audit_log (
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    before TEXT COLLATE "C",
    after TEXT COLLATE "C",
    reason TEXT COLLATE "C" NOT NULL,
    correlation TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C" NOT NULL,
    prev_hash TEXT COLLATE "C" NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (seq)
);

CREATE TABLE backups (
    backup_id TEXT COLLATE "C" NOT NULL,
    taken_at BIGINT NOT NULL,
    taken_by TEXT COLLATE "C" NOT NULL,
    execution_id TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    audit_seq BIGINT NOT NULL,
    audit_hash TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (backup_id)
);

CREATE TABLE checkpoints (
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE config_versions (
    version BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    content TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    execution_id TEXT COLLATE "C",
    step TEXT COLLATE "C",
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (version)
);

CREATE TABLE contests (
    contest_id TEXT COLLATE "C" NOT NULL,
    tournament_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    fee_cents BIGINT NOT NULL,
    rake_bp BIGINT NOT NULL,
    guaranteed_cents BIGINT,
    prize_shares_bp TEXT COLLATE "C" NOT NULL,
    scoring TEXT COLLATE "C" NOT NULL,
    min_entries BIGINT NOT NULL,
    max_entries BIGINT NOT NULL,
    opens_at BIGINT NOT NULL,
    lock_at BIGINT NOT NULL,
    start_at BIGINT NOT NULL,
    end_at BIGINT NOT NULL,
    hold_s BIGINT NOT NULL,
    completed_at BIGINT,
    cutoff_at BIGINT,
    settled_at BIGINT,
    closed_at BIGINT,
    error_code TEXT COLLATE "C",
    PRIMARY KEY (contest_id),
    CONSTRAINT status_is_known CHECK (status = 'SCHEDULED' or status = 'LOCKED' or status = 'LIVE' or status = 'COMPLETE' or status = 'SETTLED' or status = 'PAID_OUT' or status = 'CANCELLED' or status = 'ERROR'),
    CONSTRAINT money_is_sane CHECK (fee_cents >= 0 and rake_bp between 0 and 10000)
);

CREATE TABLE daemon_health (
    holder TEXT COLLATE "C" NOT NULL,
    daemon TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    beat_at BIGINT NOT NULL,
    due_at BIGINT,
    PRIMARY KEY (holder),
    CONSTRAINT status_is_known CHECK (status = 'ACTIVE' or status = 'STOPPED')
);

CREATE TABLE disputes (
    dispute_id TEXT COLLATE "C" NOT NULL,
    entry_id TEXT COLLATE "C",
    intent_id TEXT COLLATE "C",
    amount_cents BIGINT NOT NULL,
    fee_cents BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    PRIMARY KEY (dispute_id),
    CONSTRAINT status_is_known CHECK (status = 'warning_needs_response' or status = 'warning_under_review' or status = 'needs_response' or status = 'under_review' or status = 'warning_closed' or status = 'lost' or status = 'won')
);

CREATE INDEX disputes_by_entry ON disputes (entry_id);

CREATE TABLE entries (
    entry_id TEXT COLLATE "C" NOT NULL,
    contest_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    roster TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    valid_at BIGINT,
    closed_at BIGINT,
    PRIMARY KEY (entry_id),
    CONSTRAINT status_is_known CHECK (status = 'PENDING_PAYMENT' or status = 'VALID' or status = 'ABANDONED' or status = 'WITHDRAWN' or status = 'REFUNDED'),
    CONSTRAINT one_entry_a_user UNIQUE (contest_id, user_id)
);

CREATE TABLE golfers (
    tournament_id TEXT COLLATE "C" NOT NULL,
    golfer_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tournament_id, golfer_id)
);

CREATE TABLE healing_rules (
    rule_id TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    os TEXT COLLATE "C" NOT NULL,
    check_name TEXT COLLATE "C" NOT NULL,
    runbook_id TEXT COLLATE "C" NOT NULL,
    probe TEXT COLLATE "C" NOT NULL,
    well TEXT COLLATE "C" NOT NULL,
    remedy TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    promoted_at BIGINT,
    withdrawn_at BIGINT,
    PRIMARY KEY (rule_id),
    CONSTRAINT source_is_known CHECK (source = 'builtin' or source = 'promoted'),
    CONSTRAINT status_is_known CHECK (status = 'CANDIDATE' or status = 'ACTIVE' or status = 'WITHDRAWN')
);

CREATE TABLE healing_telemetry (
    telemetry_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    level TEXT COLLATE "C" NOT NULL,
    rule_id TEXT COLLATE "C" NOT NULL,
    runbook_id TEXT COLLATE "C" NOT NULL,
    incident_id TEXT COLLATE "C" NOT NULL,
    order_id TEXT COLLATE "C",
    host TEXT COLLATE "C" NOT NULL,
    check_name TEXT COLLATE "C" NOT NULL,
    stage TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C",
    PRIMARY KEY (telemetry_id),
    CONSTRAINT level_is_known CHECK (level = 'L1' or level = 'L2')
);

CREATE TABLE hole_scores (
    tournament_id TEXT COLLATE "C" NOT NULL,
    golfer_id TEXT COLLATE "C" NOT NULL,
    round BIGINT NOT NULL,
    hole BIGINT NOT NULL,
    strokes BIGINT NOT NULL,
    batch_id BIGINT NOT NULL,
    published_at BIGINT NOT NULL,
    PRIMARY KEY (tournament_id, golfer_id, round, hole)
);

CREATE TABLE incidents (
    incident_id TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C" NOT NULL,
    check_name TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    observed TEXT COLLATE "C" NOT NULL,
    reported_at BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    level TEXT COLLATE "C" NOT NULL,
    resolved_at BIGINT,
    PRIMARY KEY (incident_id),
    CONSTRAINT status_is_known CHECK (status = 'OPEN' or status = 'RESOLVED'),
    CONSTRAINT level_is_known CHECK (level = 'L1' or level = 'L2')
);

CREATE TABLE ingestion_batches (
    batch_id BIGINT NOT NULL,
    tournament_id TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    requested_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    since_revision BIGINT,
    revision BIGINT NOT NULL,
    published_at BIGINT NOT NULL,
    "full" BOOLEAN NOT NULL,
    admitted BIGINT NOT NULL,
    duplicates BIGINT NOT NULL,
    corrections BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    receipts_hash TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (batch_id)
);

CREATE TABLE ingestion_receipts (
    batch_id BIGINT NOT NULL,
    n BIGINT NOT NULL,
    tournament_id TEXT COLLATE "C" NOT NULL,
    golfer_id TEXT COLLATE "C" NOT NULL,
    round BIGINT NOT NULL,
    hole BIGINT NOT NULL,
    strokes BIGINT NOT NULL,
    published_at BIGINT NOT NULL,
    verdict TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (batch_id, n),
    CONSTRAINT verdict_is_known CHECK (verdict = 'ADMIT' or verdict = 'DUPLICATE' or verdict = 'CORRECTION' or verdict = 'QUARANTINE' or verdict = 'REJECT')
);

CREATE TABLE leases (
    name TEXT COLLATE "C" NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL,
    acquired_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (name),
    CONSTRAINT a_daemon_holds_the_lease CHECK (name <> 'settlement' or substr(holder, 1, 18) = 'system:settlement:')
);

CREATE TABLE ledger_postings (
    txn_id BIGINT NOT NULL,
    n BIGINT NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    amount_cents BIGINT NOT NULL,
    PRIMARY KEY (txn_id, n),
    CONSTRAINT a_posting_moves_money CHECK (amount_cents <> 0)
);

CREATE INDEX postings_by_account ON ledger_postings (account);

CREATE TABLE ledger_transactions (
    txn_id BIGINT NOT NULL,
    business_key TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    correlation TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (txn_id),
    CONSTRAINT posted_once UNIQUE (business_key)
);

CREATE TABLE outcome_pack_links (
    pack_id TEXT COLLATE "C" NOT NULL,
    outcome_id TEXT COLLATE "C" NOT NULL,
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (pack_id),
    CONSTRAINT an_outcome_links_once UNIQUE (outcome_id)
);

CREATE TABLE outcome_settlement_log (
    settlement_id TEXT COLLATE "C" NOT NULL,
    pack_id TEXT COLLATE "C" NOT NULL,
    prior_status TEXT COLLATE "C" NOT NULL,
    new_status TEXT COLLATE "C" NOT NULL,
    outcome_id TEXT COLLATE "C",
    settlement_reason_code TEXT COLLATE "C" NOT NULL,
    settlement_evidence_hash TEXT COLLATE "C" NOT NULL,
    settled_at BIGINT NOT NULL,
    settled_by TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (settlement_id),
    CONSTRAINT a_pack_ends_once UNIQUE (pack_id)
);

CREATE TABLE outcomes (
    outcome_id TEXT COLLATE "C" NOT NULL,
    contest_id TEXT COLLATE "C" NOT NULL,
    entry_id TEXT COLLATE "C" NOT NULL,
    score BIGINT NOT NULL,
    place BIGINT NOT NULL,
    prize_cents BIGINT NOT NULL,
    tie_break BIGINT,
    scores_hash TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (outcome_id),
    CONSTRAINT one_outcome_an_entry UNIQUE (entry_id)
);

CREATE TABLE payments (
    entry_id TEXT COLLATE "C" NOT NULL,
    intent_id TEXT COLLATE "C",
    idempotency_key TEXT COLLATE "C" NOT NULL,
    amount_cents BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    captured_at BIGINT,
    refunded_cents BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (entry_id),
    CONSTRAINT status_is_known CHECK (status = 'CREATED' or status = 'CAPTURED' or status = 'REFUNDED' or status = 'CANCELED')
);

CREATE UNIQUE INDEX payments_by_intent ON payments (intent_id);

CREATE INDEX payments_by_status ON payments (status, created_at);

CREATE TABLE post_mortem_settlement (
    pack_id TEXT COLLATE "C" NOT NULL,
    fail_reason_code TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (pack_id),
    CONSTRAINT a_post_mortem_says_why CHECK (fail_reason_code <> '' and detail <> '')
);

CREATE TABLE quarantine_resolutions (
    batch_id BIGINT NOT NULL,
    resolved_by_batch_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    how TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (batch_id)
);

CREATE TABLE refunds (
    refund_id TEXT COLLATE "C" NOT NULL,
    entry_id TEXT COLLATE "C" NOT NULL,
    intent_id TEXT COLLATE "C" NOT NULL,
    amount_cents BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    processor_refund_id TEXT COLLATE "C",
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT,
    created_at BIGINT NOT NULL,
    done_at BIGINT,
    PRIMARY KEY (refund_id),
    CONSTRAINT status_is_known CHECK (status = 'PENDING' or status = 'DONE' or status = 'FAILED_TERMINAL')
);

CREATE INDEX refunds_by_intent ON refunds (intent_id);

CREATE INDEX refunds_due ON refunds (status, next_attempt_at);

CREATE TABLE remediation_orders (
    order_id TEXT COLLATE "C" NOT NULL,
    incident_id TEXT COLLATE "C" NOT NULL,
    rule_id TEXT COLLATE "C" NOT NULL,
    runbook_id TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    issued_at BIGINT NOT NULL,
    delivered_at BIGINT,
    acknowledged_at BIGINT,
    finished_at BIGINT,
    expires_at BIGINT NOT NULL,
    detail TEXT COLLATE "C",
    verify_at BIGINT,
    verified_at BIGINT,
    verifications BIGINT NOT NULL,
    PRIMARY KEY (order_id),
    CONSTRAINT status_is_known CHECK (status = 'ISSUED' or status = 'DELIVERED' or status = 'ACKNOWLEDGED' or status = 'COMPLETED' or status = 'FAILED' or status = 'EXPIRED')
);

CREATE TABLE runbook_execution_steps (
    execution_id TEXT COLLATE "C" NOT NULL,
    n BIGINT NOT NULL,
    at BIGINT NOT NULL,
    section TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    file TEXT COLLATE "C" NOT NULL,
    line BIGINT NOT NULL,
    template TEXT COLLATE "C" NOT NULL,
    template_sha256 TEXT COLLATE "C" NOT NULL,
    bindings TEXT COLLATE "C" NOT NULL,
    sent TEXT COLLATE "C" NOT NULL,
    exit_status BIGINT NOT NULL,
    output TEXT COLLATE "C" NOT NULL,
    matched TEXT COLLATE "C",
    ok BOOLEAN NOT NULL,
    next TEXT COLLATE "C",
    PRIMARY KEY (execution_id, n),
    CONSTRAINT steps_count_from_one CHECK (n >= 1)
);

CREATE TABLE runbook_executions (
    id TEXT COLLATE "C" NOT NULL,
    runbook_name TEXT COLLATE "C" NOT NULL,
    runbook_version TEXT COLLATE "C" NOT NULL,
    executed_by TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    execution_phase TEXT COLLATE "C",
    phase_step BIGINT,
    start_time BIGINT NOT NULL,
    end_time BIGINT,
    duration_seconds BIGINT,
    result_json TEXT COLLATE "C",
    error_reason TEXT COLLATE "C",
    system_state_before TEXT COLLATE "C",
    system_state_after TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT status_is_known CHECK (status = 'pending' or status = 'in_progress' or status = 'completed' or status = 'failed' or status = 'partial'),
    CONSTRAINT a_duration_is_not_negative CHECK (duration_seconds >= 0)
);

CREATE INDEX idx_runbook_executions_created_at ON runbook_executions (created_at);

CREATE INDEX idx_runbook_executions_runbook_name ON runbook_executions (runbook_name);

CREATE INDEX idx_runbook_executions_status ON runbook_executions (status);

CREATE TABLE score_audits (
    audit_id BIGINT NOT NULL,
    tournament_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    holes BIGINT NOT NULL,
    mismatches BIGINT NOT NULL,
    PRIMARY KEY (audit_id)
);

CREATE TABLE settlement_acceptance (
    day_at BIGINT NOT NULL,
    at BIGINT NOT NULL,
    link_growth TEXT COLLATE "C" NOT NULL,
    executed TEXT COLLATE "C" NOT NULL,
    log_growth TEXT COLLATE "C" NOT NULL,
    lvi TEXT COLLATE "C" NOT NULL,
    lvi_executed BIGINT NOT NULL,
    lvi_due BIGINT NOT NULL,
    log_rows BIGINT NOT NULL,
    log_hash TEXT COLLATE "C" NOT NULL,
    evidence TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (day_at),
    CONSTRAINT link_growth_is_known CHECK (link_growth = 'PASS' or link_growth = 'FAIL' or link_growth = 'BLOCKED' or link_growth = 'NOT_APPLICABLE'),
    CONSTRAINT executed_is_known CHECK (executed = 'PASS' or executed = 'FAIL' or executed = 'BLOCKED' or executed = 'NOT_APPLICABLE'),
    CONSTRAINT log_growth_is_known CHECK (log_growth = 'PASS' or log_growth = 'FAIL' or log_growth = 'BLOCKED' or log_growth = 'NOT_APPLICABLE'),
    CONSTRAINT lvi_is_known CHECK (lvi = 'PASS' or lvi = 'FAIL' or lvi = 'BLOCKED' or lvi = 'NOT_APPLICABLE')
);

CREATE TABLE settlement_audit (
    run_id TEXT COLLATE "C" NOT NULL,
    contest_id TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    status TEXT COLLATE "C" NOT NULL,
    packs BIGINT NOT NULL,
    error_json TEXT COLLATE "C",
    PRIMARY KEY (run_id)
);

CREATE TABLE settlement_packs (
    pack_id TEXT COLLATE "C" NOT NULL,
    contest_id TEXT COLLATE "C" NOT NULL,
    entry_id TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    fail_reason_code TEXT COLLATE "C",
    fail_reason_detail TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    terminalized_at BIGINT,
    settled_by TEXT COLLATE "C",
    lease_epoch BIGINT,
    PRIMARY KEY (pack_id),
    CONSTRAINT status_is_known CHECK (status = 'PENDING' or status = 'EXECUTED' or status = 'FAILED' or status = 'ORPHANED_OUTCOME_MISSING'),
    CONSTRAINT an_end_has_its_instant CHECK ((status = 'PENDING') = (terminalized_at is null)),
    CONSTRAINT a_failure_says_why CHECK ((status = 'PENDING' or status = 'EXECUTED') = (fail_reason_code is null)),
    CONSTRAINT one_pack_an_entry UNIQUE (entry_id)
);

CREATE INDEX packs_by_contest ON settlement_packs (contest_id, status, pack_id);

CREATE TABLE tournaments (
    tournament_id TEXT COLLATE "C" NOT NULL,
    provider_event_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    par TEXT COLLATE "C" NOT NULL,
    rounds BIGINT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    play TEXT COLLATE "C" NOT NULL,
    field_ingested_at BIGINT,
    completed_at BIGINT,
    PRIMARY KEY (tournament_id)
);

CREATE TABLE transfer_attempts (
    transfer_id TEXT COLLATE "C" NOT NULL,
    n BIGINT NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    request_hash TEXT COLLATE "C" NOT NULL,
    sent_at BIGINT NOT NULL,
    finished_at BIGINT,
    outcome TEXT COLLATE "C",
    code TEXT COLLATE "C",
    PRIMARY KEY (transfer_id, n),
    CONSTRAINT outcome_is_known CHECK (outcome = 'SUCCEEDED' or outcome = 'REJECTED' or outcome = 'UNKNOWN')
);

CREATE TABLE transfers (
    transfer_id TEXT COLLATE "C" NOT NULL,
    contest_id TEXT COLLATE "C" NOT NULL,
    entry_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    amount_cents BIGINT NOT NULL,
    destination TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C",
    processor_transfer_id TEXT COLLATE "C",
    idempotency_key TEXT COLLATE "C" NOT NULL,
    key_born_at BIGINT,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT,
    created_at BIGINT NOT NULL,
    done_at BIGINT,
    PRIMARY KEY (transfer_id),
    CONSTRAINT status_is_known CHECK (status = 'PENDING' or status = 'SUBMITTED' or status = 'PAID' or status = 'RETRYABLE' or status = 'FAILED_TERMINAL' or status = 'REVERSED'),
    CONSTRAINT one_transfer_an_entry UNIQUE (entry_id),
    CONSTRAINT a_transfer_moves_money CHECK (amount_cents > 0),
    CONSTRAINT a_failure_has_a_reason CHECK (status <> 'FAILED_TERMINAL' or reason is not null)
);

CREATE INDEX transfers_by_contest ON transfers (contest_id, status);

CREATE INDEX transfers_due ON transfers (status, next_attempt_at);

CREATE TABLE users (
    user_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    email TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (user_id)
);

CREATE TABLE webhook_inbox (
    event_id TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    object_id TEXT COLLATE "C" NOT NULL,
    change_key TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    deliveries BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    applied_at BIGINT,
    PRIMARY KEY (event_id),
    CONSTRAINT status_is_known CHECK (status = 'WAITING' or status = 'APPLIED' or status = 'DUPLICATE' or status = 'IGNORED')
);

CREATE INDEX inbox_by_change ON webhook_inbox (change_key);

create function json_group_object_step(text, bigint, bigint) returns text immutable language sql as $$
    select coalesce($1 || ',', '{') || '"' || $2 || '":' || $3 $$;

create function json_group_object_end(text) returns text immutable language sql as $$
    select coalesce($1, '{') || '}' $$;

create aggregate json_group_object(bigint, bigint) (
    sfunc = json_group_object_step, stype = text, finalfunc = json_group_object_end);

create function refuse() returns trigger language plpgsql as $$
begin
    raise exception using errcode = 'integrity_constraint_violation', message = tg_argv[0];
end $$;

create trigger audit_log_refuses_update before update on audit_log
for each row execute function refuse('audit_log is append-only');

create trigger audit_log_refuses_delete before delete on audit_log
for each row execute function refuse('audit_log is append-only');

create trigger access_log_refuses_update before update on access_log
for each row execute function refuse('access_log is append-only');

create trigger access_log_refuses_delete before delete on access_log
for each row execute function refuse('access_log is append-only');

create trigger ledger_transactions_refuses_update before update on ledger_transactions
for each row execute function refuse('ledger_transactions is append-only');

create trigger ledger_transactions_refuses_delete before delete on ledger_transactions
for each row execute function refuse('ledger_transactions is append-only');

create trigger ledger_postings_refuses_update before update on ledger_postings
for each row execute function refuse('ledger_postings is append-only');

create trigger ledger_postings_refuses_delete before delete on ledger_postings
for each row execute function refuse('ledger_postings is append-only');

create trigger ingestion_receipts_refuses_update before update on ingestion_receipts
for each row execute function refuse('ingestion_receipts is append-only');

create trigger ingestion_receipts_refuses_delete before delete on ingestion_receipts
for each row execute function refuse('ingestion_receipts is append-only');

create trigger ingestion_batches_refuses_update before update on ingestion_batches
for each row execute function refuse('ingestion_batches is append-only');

create trigger ingestion_batches_refuses_delete before delete on ingestion_batches
for each row execute function refuse('ingestion_batches is append-only');

create trigger outcome_settlement_log_refuses_update before update on outcome_settlement_log
for each row execute function refuse('outcome_settlement_log is append-only');

create trigger outcome_settlement_log_refuses_delete before delete on outcome_settlement_log
for each row execute function refuse('outcome_settlement_log is append-only');

create trigger settlement_acceptance_refuses_update before update on settlement_acceptance
for each row execute function refuse('settlement_acceptance is append-only');

create trigger settlement_acceptance_refuses_delete before delete on settlement_acceptance
for each row execute function refuse('settlement_acceptance is append-only');

create trigger quarantine_resolutions_refuses_update before update on quarantine_resolutions
for each row execute function refuse('quarantine_resolutions is append-only');

create trigger quarantine_resolutions_refuses_delete before delete on quarantine_resolutions
for each row execute function refuse('quarantine_resolutions is append-only');

create trigger runbook_execution_steps_refuses_update before update on runbook_execution_steps
for each row execute function refuse('runbook_execution_steps is append-only');

create trigger runbook_execution_steps_refuses_delete before delete on runbook_execution_steps
for each row execute function refuse('runbook_execution_steps is append-only');

create trigger config_versions_refuses_update before update on config_versions
for each row execute function refuse('config_versions is append-only');

create trigger config_versions_refuses_delete before delete on config_versions
for each row execute function refuse('config_versions is append-only');

create trigger backups_refuses_update before update on backups
for each row execute function refuse('backups is append-only');

create trigger backups_refuses_delete before delete on backups
for each row execute function refuse('backups is append-only');

create trigger healing_telemetry_refuses_update before update on healing_telemetry
for each row execute function refuse('healing_telemetry is append-only');

create trigger healing_telemetry_refuses_delete before delete on healing_telemetry
for each row execute function refuse('healing_telemetry is append-only');

create function access_log_refuses_replace() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select 1 from access_log where n = new.n) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'access_log is append-only';
    end if;
    return new;
end $$;

create trigger access_log_refuses_replace before insert on access_log
for each row execute function access_log_refuses_replace();

create function runbook_execution_steps_refuses_replace() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select 1 from runbook_execution_steps where execution_id = new.execution_id and n = new.n) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'runbook_execution_steps is append-only';
    end if;
    return new;
end $$;

create trigger runbook_execution_steps_refuses_replace before insert on runbook_execution_steps
for each row execute function runbook_execution_steps_refuses_replace();

create function settlement_packs_daemon_authority() returns trigger language plpgsql set search_path from current as $$
begin
    if old.status <> 'PENDING' or new.status = 'PENDING'
        or new.pack_id <> old.pack_id or new.contest_id <> old.contest_id or new.entry_id <> old.entry_id
        or new.created_at <> old.created_at or new.terminalized_at is null
        or not exists (
            select 1 from leases where name = 'settlement' and holder = new.settled_by and epoch = new.lease_epoch
            and acquired_at <= new.terminalized_at and expires_at > new.terminalized_at) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'only the settlement daemon may leave PENDING, once, under its lease';
    end if;
    return new;
end $$;

create trigger settlement_packs_daemon_authority before update on settlement_packs
for each row execute function settlement_packs_daemon_authority();

create function settlement_packs_start_pending() returns trigger language plpgsql set search_path from current as $$
begin
    if new.status <> 'PENDING' then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'a settlement pack starts PENDING';
    end if;
    return new;
end $$;

create trigger settlement_packs_start_pending before insert on settlement_packs
for each row execute function settlement_packs_start_pending();

create function settlement_packs_refuse_replace() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select 1 from settlement_packs where pack_id = new.pack_id)
        or exists (select 1 from settlement_packs where entry_id = new.entry_id) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'settlement packs are not replaced';
    end if;
    return new;
end $$;

create trigger settlement_packs_refuse_replace before insert on settlement_packs
for each row execute function settlement_packs_refuse_replace();

create trigger settlement_packs_refuse_delete before delete on settlement_packs
for each row execute function refuse('settlement packs are not deleted');

create function settlement_packs_execute_linked() returns trigger language plpgsql set search_path from current as $$
begin
    if new.status = 'EXECUTED' and not exists (select 1 from outcome_pack_links where pack_id = new.pack_id) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'a pack is executed only through its outcome link';
    end if;
    return new;
end $$;

create trigger settlement_packs_execute_linked before update of status on settlement_packs
for each row execute function settlement_packs_execute_linked();

create function outcome_pack_links_stay_at_update() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select 1 from settlement_packs where pack_id = old.pack_id and status <> 'PENDING') then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'the link of an ended pack stays';
    end if;
    return new;
end $$;

create trigger outcome_pack_links_stay_at_update before update on outcome_pack_links
for each row execute function outcome_pack_links_stay_at_update();

create function outcome_pack_links_stay_at_delete() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select 1 from settlement_packs where pack_id = old.pack_id and status <> 'PENDING') then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'the link of an ended pack stays';
    end if;
    return old;
end $$;

create trigger outcome_pack_links_stay_at_delete before delete on outcome_pack_links
for each row execute function outcome_pack_links_stay_at_delete();

create function outcome_settlement_log_tells_of_an_end() returns trigger language plpgsql set search_path from current as $$
begin
    if new.prior_status <> 'PENDING' or not exists (
            select 1 from settlement_packs where pack_id = new.pack_id and status = new.new_status
            and status <> 'PENDING' and settled_by = new.settled_by and terminalized_at = new.settled_at) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'the settlement log tells of the end of a pack, as the pack does';
    end if;
    return new;
end $$;

create trigger outcome_settlement_log_tells_of_an_end before insert on outcome_settlement_log
for each row execute function outcome_settlement_log_tells_of_an_end();

create function leases_are_fenced() returns trigger language plpgsql set search_path from current as $$
begin
    if new.name <> old.name or new.expires_at < new.acquired_at
        or new.epoch = old.epoch and (new.holder <> old.holder or new.acquired_at <> old.acquired_at)
        or new.epoch <> old.epoch and (new.epoch <> old.epoch + 1 or new.acquired_at < old.expires_at) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'a lease changes hands once it has expired, under the next epoch';
    end if;
    return new;
end $$;

create trigger leases_are_fenced before update on leases
for each row execute function leases_are_fenced();

create function leases_begin_once() returns trigger language plpgsql set search_path from current as $$
begin
    if new.epoch <> 1 or exists (select 1 from leases where name = new.name) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'a lease begins once, under the first epoch';
    end if;
    return new;
end $$;

create trigger leases_begin_once before insert on leases
for each row execute function leases_begin_once();

create trigger leases_refuse_delete before delete on leases
for each row execute function refuse('leases are not deleted: they expire');

create function runbook_executions_end_once() returns trigger language plpgsql set search_path from current as $$
begin
    if old.status <> 'in_progress'
        or new.status not in ('completed', 'failed', 'partial')
        or new.id is distinct from old.id
        or new.runbook_name is distinct from old.runbook_name
        or new.runbook_version is distinct from old.runbook_version
        or new.executed_by is distinct from old.executed_by
        or new.start_time is distinct from old.start_time
        or new.system_state_before is distinct from old.system_state_before
        or new.created_at is distinct from old.created_at
        or new.end_time is null or new.end_time < new.start_time or new.updated_at <> new.end_time
        or new.duration_seconds is distinct from (new.end_time - new.start_time) / 1000 then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'a runbook execution ends once, and nothing else of it changes';
    end if;
    return new;
end $$;

create trigger runbook_executions_end_once before update on runbook_executions
for each row execute function runbook_executions_end_once();

create function runbook_executions_start_in_progress() returns trigger language plpgsql set search_path from current as $$
begin
    if new.status <> 'in_progress' or new.updated_at <> new.start_time or new.created_at <> new.start_time
        or new.execution_phase is not null
        or new.phase_step is not null
        or new.end_time is not null
        or new.duration_seconds is not null
        or new.result_json is not null
        or new.error_reason is not null
        or new.system_state_after is not null then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'a runbook execution starts in progress, with nothing of its end';
    end if;
    return new;
end $$;

create trigger runbook_executions_start_in_progress before insert on runbook_executions
for each row execute function runbook_executions_start_in_progress();

create function runbook_executions_refuse_replace() returns trigger language plpgsql set search_path from current as $$
begin
    if exists (select 1 from runbook_executions where id = new.id) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'runbook executions are not replaced';
    end if;
    return new;
end $$;

create trigger runbook_executions_refuse_replace before insert on runbook_executions
for each row execute function runbook_executions_refuse_replace();

create trigger runbook_executions_refuse_delete before delete on runbook_executions
for each row execute function refuse('runbook executions are not deleted');

create function runbook_execution_steps_follow() returns trigger language plpgsql set search_path from current as $$
begin
    if not exists (select 1 from runbook_executions where id = new.execution_id and status = 'in_progress')
        or new.n > 1 and not exists (
            select 1 from runbook_execution_steps where execution_id = new.execution_id and n = new.n - 1) then
        raise exception using errcode = 'integrity_constraint_violation',
            message = 'a step follows the one before it, in an execution in progress';
    end if;
    return new;
end $$;

create trigger runbook_execution_steps_follow before insert on runbook_execution_steps
for each row execute function runbook_execution_steps_follow();

create trigger audit_log_refuses_truncate before truncate on audit_log
for each statement execute function refuse('audit_log is not emptied');

create trigger access_log_refuses_truncate before truncate on access_log
for each statement execute function refuse('access_log is not emptied');

create trigger ledger_transactions_refuses_truncate before truncate on ledger_transactions
for each statement execute function refuse('ledger_transactions is not emptied');

create trigger ledger_postings_refuses_truncate before truncate on ledger_postings
for each statement execute function refuse('ledger_postings is not emptied');

create trigger ingestion_receipts_refuses_truncate before truncate on ingestion_receipts
for each statement execute function refuse('ingestion_receipts is not emptied');

create trigger ingestion_batches_refuses_truncate before truncate on ingestion_batches
for each statement execute function refuse('ingestion_batches is not emptied');

create trigger outcome_settlement_log_refuses_truncate before truncate on outcome_settlement_log
for each statement execute function refuse('outcome_settlement_log is not emptied');

create trigger settlement_acceptance_refuses_truncate before truncate on settlement_acceptance
for each statement execute function refuse('settlement_acceptance is not emptied');

create trigger quarantine_resolutions_refuses_truncate before truncate on quarantine_resolutions
for each statement execute function refuse('quarantine_resolutions is not emptied');

create trigger runbook_execution_steps_refuses_truncate before truncate on runbook_execution_steps
for each statement execute function refuse('runbook_execution_steps is not emptied');

create trigger config_versions_refuses_truncate before truncate on config_versions
for each statement execute function refuse('config_versions is not emptied');

create trigger backups_refuses_truncate before truncate on backups
for each statement execute function refuse('backups is not emptied');

create trigger healing_telemetry_refuses_truncate before truncate on healing_telemetry
for each statement execute function refuse('healing_telemetry is not emptied');

create trigger settlement_packs_refuses_truncate before truncate on settlement_packs
for each statement execute function refuse('settlement_packs is not emptied');

create trigger runbook_executions_refuses_truncate before truncate on runbook_executions
for each statement execute function refuse('runbook_executions is not emptied');

grant usage on schema :"schema" to :"app", :"ingestion", :"settlement", :"readonly";

grant select on all tables in schema :"schema" to :"app", :"ingestion", :"settlement", :"readonly";

grant insert on access_log to :"app", :"ingestion", :"settlement";

grant insert on audit_log to :"app", :"ingestion", :"settlement";

grant insert on backups to :"app", :"ingestion", :"settlement";

grant insert, update, delete on checkpoints to :"app", :"ingestion", :"settlement";

grant insert on config_versions to :"app", :"ingestion", :"settlement";

grant insert, update, delete on contests to :"app", :"ingestion", :"settlement";

grant insert, update, delete on daemon_health to :"app", :"ingestion", :"settlement";

grant insert, update, delete on disputes to :"app", :"ingestion", :"settlement";

grant insert, update, delete on entries to :"app", :"ingestion", :"settlement";

grant insert, update, delete on golfers to :"app", :"ingestion", :"settlement";

grant insert, update, delete on healing_rules to :"app", :"ingestion", :"settlement";

grant insert on healing_telemetry to :"app", :"ingestion", :"settlement";

grant insert, update, delete on hole_scores to :"app", :"ingestion", :"settlement";

grant insert, update, delete on incidents to :"app", :"ingestion", :"settlement";

grant insert on ingestion_batches to :"app", :"ingestion", :"settlement";

grant insert on ingestion_receipts to :"app", :"ingestion", :"settlement";

grant insert, update on leases to :"settlement";

grant insert on ledger_postings to :"app", :"ingestion", :"settlement";

grant insert on ledger_transactions to :"app", :"ingestion", :"settlement";

grant insert, update, delete on outcome_pack_links to :"app", :"ingestion", :"settlement";

grant insert on outcome_settlement_log to :"app", :"ingestion", :"settlement";

grant insert, update, delete on outcomes to :"app", :"ingestion", :"settlement";

grant insert, update, delete on payments to :"app", :"ingestion", :"settlement";

grant insert, update, delete on post_mortem_settlement to :"app", :"ingestion", :"settlement";

grant insert on quarantine_resolutions to :"app", :"ingestion", :"settlement";

grant insert, update, delete on refunds to :"app", :"ingestion", :"settlement";

grant insert, update, delete on remediation_orders to :"app", :"ingestion", :"settlement";

grant insert on runbook_execution_steps to :"app", :"ingestion", :"settlement";

grant insert, update, delete on runbook_executions to :"app", :"ingestion", :"settlement";

grant insert, update, delete on score_audits to :"app", :"ingestion", :"settlement";

grant insert on settlement_acceptance to :"app", :"ingestion", :"settlement";

grant insert, update, delete on settlement_audit to :"app", :"ingestion", :"settlement";

grant insert, update on settlement_packs to :"settlement";

grant insert, update, delete on tournaments to :"app", :"ingestion", :"settlement";

grant insert, update, delete on transfer_attempts to :"app", :"ingestion", :"settlement";

grant insert, update, delete on transfers to :"app", :"ingestion", :"settlement";

grant insert, update, delete on users to :"app", :"ingestion", :"settlement";

grant insert, update, delete on webhook_inbox to :"app", :"ingestion", :"settlement";
