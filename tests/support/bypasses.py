"""Ways past what protects the platform's tables: who tries what on which store, and what comes of it.

Invariant: an attempt is refused by the database, or what it did is found: nothing third is written here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from contest_platform.store.database import edits

CHAIN, ANCHOR, IMAGES = "audit.chain_holds", "audit.head_matches_anchor", "audit.rows_match_images"
"""Assertions that find it in the evidence."""
SCHEMA = "schema"
"""The fingerprint of the schema: absence.fingerprints_constant."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """`refused`: what the database says; empty: it lets him, and `found` says who finds it then."""

    store: str
    who: str
    name: str
    statements: tuple[str, ...]
    refused: str = ""
    found: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        return f"{self.store}: {self.who}: {self.name}"


FORGED_LEASE = (
    "create temporary table leases (name text, holder text, epoch bigint, acquired_at bigint, expires_at bigint)",
    "insert into {}.leases values ('settlement', 'me', 9, 0, 9000000000000000)",
    "update settlement_packs set status = 'FAILED', settled_by = 'me', lease_epoch = 9, terminalized_at = 1"
    " where status = 'PENDING'",
)
PACK_BY_HAND = "update settlement_packs set settled_by = 'me'"
LAST = "(select max(seq) from audit_log)"


def _of_sqlite() -> list[Attempt]:
    """`platform`: a connection as the platform opens it. `anybody`: one without its pragmas."""
    made = [
        Attempt("sqlite", who, f"{edit.partition(' ')[0]} of {table}", (edit,), "is append-only")
        for who in ("platform", "anybody")
        for table in ("audit_log", "ledger_postings", "outcome_settlement_log")
        for edit in edits(table)
    ]
    replace = "insert or replace into {0} select * from {0}".format
    reason = "update audit_log set reason = 'as agreed' where seq = 3"
    cents = "update ledger_postings set amount_cents = amount_cents + 1 where txn_id = 1 and n = 1"
    drop, keep = (
        "drop trigger {}_refuses_update".format,
        (
            "create trigger {0}_refuses_update before update on {0}\n"
            "begin select raise(abort, '{0} is append-only'); end".format
        ),
    )
    other = (
        "insert or replace into ledger_postings select txn_id, n, 'liabilities:user_wallet:me', amount_cents"
        " from ledger_postings where txn_id = 1 and n = 1"
    )
    forged = tuple(statement.format("temp") for statement in FORGED_LEASE)
    pending = (
        "insert or replace into settlement_packs select pack_id, contest_id, entry_id, 'PENDING', null, null,"
        " created_at, null, null, null from settlement_packs where status = 'EXECUTED'"
    )
    return [
        *made,
        Attempt("sqlite", "platform", "an ended pack replaced by one that waits", (pending,), "are not replaced"),
        Attempt("sqlite", "platform", "replace", (replace("audit_log"),), "is append-only"),
        Attempt("sqlite", "anybody", "an ended pack replaced by one that waits", (pending,), "are not replaced"),
        Attempt("sqlite", "anybody", "replace of a posting", (other,), "", frozenset({IMAGES})),
        Attempt("sqlite", "anybody", "a trigger dropped", (drop("audit_log"),), "", frozenset({SCHEMA})),
        Attempt("sqlite", "anybody", "a trigger dropped, a row edited", (drop("audit_log"), reason), "",
                frozenset({SCHEMA, CHAIN})),
        Attempt("sqlite", "anybody", "a trigger dropped meanwhile",
                (drop("audit_log"), reason, keep("audit_log")), "", frozenset({CHAIN})),
        Attempt("sqlite", "anybody", "a trigger dropped meanwhile, money moved",
                (drop("ledger_postings"), cents, keep("ledger_postings")), "", frozenset({IMAGES})),
        Attempt("sqlite", "anybody", "the schema written over",
                ("pragma writable_schema = on", "delete from sqlite_master where name = 'audit_log_refuses_update'"),
                "", frozenset({SCHEMA})),
        Attempt("sqlite", "anybody", "a pack of the daemon's", (PACK_BY_HAND,), "only the settlement daemon"),
        Attempt("sqlite", "anybody", "a lease that stands in for the real one", forged,
                "only the settlement daemon"),
    ]  # fmt: skip


def _of_postgresql() -> list[Attempt]:
    denied, owner = "permission denied", "must be owner"
    made = [
        Attempt("postgresql", "app", f"{edit[:22]} …", (edit,), denied)
        for table in ("audit_log", "ledger_postings", "outcome_settlement_log")
        for edit in (*edits(table), f"truncate {table}")
    ]
    made += [
        Attempt("postgresql", "owner", f"{edit[:22]} …", (edit,), "is append-only|is not emptied")
        for table in ("audit_log", "ledger_postings", "outcome_settlement_log")
        for edit in (*edits(table), f"truncate {table}", f"truncate {table} cascade")
    ]
    reason = "update audit_log set reason = 'as agreed' where seq = 3"
    cents = "update ledger_postings set amount_cents = amount_cents + 1 where txn_id = 1 and n = 1"
    disable, enable = "alter table {} disable trigger user".format, "alter table {} enable trigger user".format
    function = "create or replace function refuse() returns trigger language plpgsql as $$ begin return new; end $$"

    def at(who: str, name: str, *statements: str, refused: str = "", found: tuple[str, ...] = ()) -> None:
        made.append(Attempt("postgresql", who, name, statements, refused, frozenset(found)))

    for who in ("app", "ingestion", "readonly"):
        at(who, "a pack of the daemon's", PACK_BY_HAND, refused=denied)
        at(who, "a lease taken", "update leases set holder = 'me', expires_at = 9000000000000000", refused=denied)
    at("readonly", "an entry written", "update entries set status = 'VALID'", refused=denied)
    at("settlement", "a pack changed that has ended", PACK_BY_HAND, refused="only the settlement daemon")
    at(
        "settlement",
        "a lease that stands in for the real one",
        "set search_path = pg_temp, {schema}",
        *(one.format("pg_temp") for one in FORGED_LEASE),
        refused="only the settlement daemon",
    )
    at("settlement", "packs deleted", "delete from settlement_packs", refused=denied)
    at("owner", "packs deleted", "delete from settlement_packs", refused="are not deleted")
    for who in ("app", "settlement"):
        at(who, "a trigger disabled", disable("audit_log"), refused=owner)
        at(who, "a trigger dropped", "drop trigger audit_log_refuses_update on audit_log", refused=owner)
        at(who, "triggers put to sleep", "set session_replication_role = replica", refused=denied)
        at(who, "a function replaced", function, refused=denied)
        at(who, "the owner's role taken", "set role {owner}", refused=denied)
        at(who, "a right granted to himself", "grant update on audit_log to current_user", reason, refused=denied)
        at(
            who,
            "a rule that swallows rows",
            "create rule gone as on insert to audit_log do instead nothing",
            refused=owner,
        )
        at(who, "rows hidden", "alter table audit_log enable row level security", refused=owner)
        at(who, "a table put in its place", "create table leases (name text)", refused=denied)
    at("owner", "triggers put to sleep", "set session_replication_role = replica", refused=denied)
    at("owner", "triggers disabled", disable("audit_log"), found=(SCHEMA,))
    at("owner", "triggers disabled, a row edited", disable("audit_log"), reason, found=(SCHEMA, CHAIN))
    at("owner", "triggers disabled meanwhile", disable("audit_log"), reason, enable("audit_log"), found=(CHAIN,))
    at(
        "owner",
        "triggers disabled meanwhile, money moved",
        disable("ledger_postings"),
        cents,
        enable("ledger_postings"),
        found=(IMAGES,),
    )
    at(
        "owner",
        "triggers disabled meanwhile, emptied",
        disable("ledger_postings"),
        "truncate ledger_postings",
        enable("ledger_postings"),
        found=(IMAGES,),
    )
    at("owner", "a trigger dropped", "drop trigger audit_log_refuses_update on audit_log", found=(SCHEMA,))
    at("owner", "a function replaced", function, found=(SCHEMA,))
    at("owner", "a function replaced, a row edited", function, reason, found=(SCHEMA, CHAIN))
    at(
        "owner",
        "a trigger that fires no more on replicas",
        "alter table audit_log enable replica trigger audit_log_refuses_update",
        found=(SCHEMA,),
    )
    at(
        "owner",
        "a rule that swallows rows",
        "create rule gone as on insert to audit_log do instead nothing",
        found=(SCHEMA,),
    )
    at("owner", "rows hidden", "alter table audit_log enable row level security", found=(SCHEMA,))
    at("owner", "a right granted", "grant update on audit_log to {app}", found=(SCHEMA,))
    at("owner", "a check dropped", "alter table contests drop constraint money_is_sane", found=(SCHEMA,))
    at("owner", "a key dropped", "alter table ledger_transactions drop constraint posted_once", found=(SCHEMA,))
    at("owner", "a column added", "alter table access_log add column note text", found=(SCHEMA,))
    at(
        "owner",
        "a table put in its place",
        "alter table audit_log rename to elsewhere",
        "create table audit_log (like elsewhere including all)",
        "insert into audit_log select * from elsewhere",
        found=(SCHEMA,),
    )
    at("superuser", "the owner changed", "alter table audit_log owner to {app}", found=(SCHEMA,))
    asleep = "set session_replication_role = replica"
    at("superuser", "triggers put to sleep, a row edited", asleep, reason, found=(CHAIN,))
    at("superuser", "triggers put to sleep, a pack ended", asleep, PACK_BY_HAND, found=(IMAGES,))
    at(
        "superuser",
        "triggers put to sleep, the last row cut off",
        asleep,
        f"delete from audit_log where seq = {LAST}",
        found=(ANCHOR, IMAGES),
    )
    at("superuser", "an update", reason, refused="is append-only")
    return made


ATTEMPTS = [*_of_sqlite(), *_of_postgresql()]
