"""The platform's audit trail, read once: the chain recomputed, and what each row says followed to the end.

Invariant: one pass over the rows, some of them at a time, and no row is kept. An audited row's image is held as its
fingerprint (assertions/images.py), so an update is a subtraction and an addition, and memory is one number a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import orjson

from assertions.facts import facts
from assertions.images import audited_post, columns_of, fingerprint, fingerprints, values_of
from assertions.once import once
from assertions.words import MINUTE_MS
from evidence.schemas import BOOKS

if TYPE_CHECKING:
    from evidence.run import Evidence

GENESIS = "0" * 64
ANCHOR_WITHIN_MS = 90 * MINUTE_MS
"""A change is anchored outside within this time: heads are published hourly."""
ROW_AUDITED = (
    "tournaments", "users", "contests", "entries", "payments", "webhook_inbox", "refunds", "disputes",
    "quarantine_resolutions", "score_audits", "outcomes", "settlement_packs", "outcome_pack_links",
    "outcome_settlement_log", "settlement_audit", "settlement_acceptance", "post_mortem_settlement", "transfers",
    "transfer_attempts", "incidents", "remediation_orders", "healing_rules", "healing_telemetry",
    "runbook_executions", "runbook_execution_steps", "config_versions", "backups",
)  # fmt: skip
BATCHES = "ingestion_batches"
EFFECT_COLUMNS = ("intent_id", "processor_refund_id", "processor_transfer_id")
"""Where the images of payments, refunds and transfers carry the processor's own id."""
NOT_FOR_CUSTOMERS = frozenset({
    "contests", "tournaments", "outcomes", "settlement_packs", "outcome_pack_links", "outcome_settlement_log",
    "settlement_audit", "settlement_acceptance", "post_mortem_settlement", "transfers", "transfer_attempts",
    "ingestion_batches",
})  # fmt: skip
"""Tables whose changes no request of a customer may cause."""
KEPT_MAX = 20
"""So many of one kind of damage are told one by one."""

_EFFECT_TABLES = frozenset(
    table for table in ROW_AUDITED if not BOOKS[f"platform.{table}"].columns.keys().isdisjoint(EFFECT_COLUMNS)
)
_EFFECT_HEADS = tuple(f'{name}":"' for name in EFFECT_COLUMNS)
_NEVER = 1 << 63


@dataclass(frozen=True, slots=True)
class Damage:
    seq: int
    at: int
    what: str


@dataclass(frozen=True, slots=True)
class Transition:
    seq: int
    at: int
    actor: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Differences:
    """A table of the platform against its audit: keys of rows that were never audited, of rows that are not what their
    audit says, and of audited rows that are not there."""

    rows: int
    unaudited: list[str]
    changed: list[str]
    missing: list[str]


@dataclass(slots=True)
class Damages:
    """Damage of one kind: how much, and the first KEPT_MAX of it."""

    count: int = 0
    first: list[Damage] = field(default_factory=list)

    def add(self, seq: int, at: int, what: str) -> None:
        self.count += 1
        if self.count <= KEPT_MAX:
            self.first.append(Damage(seq, at, what))


class _Rows(NamedTuple):
    """Some rows of the audit log, column by column."""

    seq: list[int]
    at: list[int]
    actor: list[str]
    action: list[str]
    subject: list[str]
    before: list[str | None]
    after: list[str | None]
    reason: list[str | None]
    correlation: list[str | None]
    cause: list[str | None]
    prev_hash: list[str]
    hash: list[str]


class Trail:
    """What the pass found. Instants in ms."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = ref(evidence)
        self.rows = self.last_seq = 0
        self.broken_chain, self.odd_rows = Damages(), Damages()
        self.foreign, self.uncaused = Damages(), Damages()
        self.transitions: dict[str, list[Transition]] = {}
        self.terminalized_by: dict[str, str] = {}
        """Who took each settlement pack out of PENDING."""
        self.effects: set[str] = set()
        """Ids of the processor's objects that some audited row names, as JSON texts."""
        self.images: dict[str, dict[str, int]] = {table: {} for table in (*ROW_AUDITED, BATCHES)}
        self.posts: dict[str, int] = {}
        self.golfers: dict[str, str] = {}
        """Status of each golfer, by `<tournament>/<golfer>`, as the audit tells it."""
        self.heads: dict[int, str] = {}
        """The hash of each row whose head was anchored."""
        self.unanchored: list[tuple[int, int, int | None]] = []
        """(seq, at, anchored at): the first row of each stretch that was anchored too late for anybody's excuse."""
        self._head = GENESIS
        self._executions: dict[str | None, str] = {}
        """Runbook execution in progress -> who executes it."""
        instants, anchoring = facts(evidence).event_instants, _Anchoring(evidence)
        for chunk in evidence.chunks("platform.audit_log", *_Rows._fields):
            rows = _Rows._make(chunk)
            self.rows += len(rows.seq)
            self._check_chain(rows)
            self._check_causes(rows, instants)
            self._check_actors(rows)
            self._follow(rows)
            self.heads.update(anchoring.heads(rows))
            self.unanchored += anchoring.late(rows)

    def _check_chain(self, rows: _Rows) -> None:
        previous, head = self.last_seq, self._head
        for seq, at, actor, action, subject, before, after, reason, correlation, cause, prev_hash, stated in zip(
            *rows, strict=True
        ):
            # What was hashed, as evidence/CONVENTIONS.md has it: keys in order.
            body = orjson.dumps({
                "action": action, "actor": actor, "after": after, "at": at, "before": before, "cause": cause,
                "correlation": correlation, "prev_hash": prev_hash, "reason": reason, "seq": seq, "subject": subject,
            })  # fmt: skip
            if seq != previous + 1:
                self.broken_chain.add(seq, at, f"follows row {previous}: the sequence has a gap")
            if prev_hash != head:
                self.broken_chain.add(seq, at, "does not carry the hash of the row before it")
            if sha256(body).hexdigest() != stated:
                self.broken_chain.add(seq, at, f"is not what was hashed: {action} of {subject} by {actor}")
            previous, head = seq, stated
        self.last_seq, self._head = previous, head

    def _check_causes(self, rows: _Rows, instants: Sequence[int]) -> None:
        happened = {cause: _event_instant(cause, instants) for cause in set(rows.cause)}
        for seq, at, cause in zip(rows.seq, rows.at, rows.cause, strict=True):
            caused_at = happened[cause]
            if caused_at is None:
                self.uncaused.add(seq, at, f"names the cause {cause!r}, which is no event of the journal")
            elif caused_at > at:
                self.uncaused.add(seq, at, f"names the cause {cause}, which came later")

    def _check_actors(self, rows: _Rows) -> None:
        for place, actor in enumerate(rows.actor):
            if actor.startswith("system:"):
                continue
            action, subject = rows.action[place], rows.subject[place]
            verb = action.partition(".")[0]
            if actor.startswith("ops:"):
                may = self._in_execution(actor, action, subject, rows.after[place], rows.correlation[place])
            else:
                may = actor.startswith("customer:") and verb not in NOT_FOR_CUSTOMERS
            if not may and verb != "refuse":
                self.foreign.add(rows.seq[place], rows.at[place], f"{action} of {subject} by {actor}")

    def _in_execution(self, actor: str, action: str, subject: str, after: str | None, correlation: str | None) -> bool:
        """Whether what ops did belongs to a runbook execution of the same principal that is in progress, or is one."""
        if action == "runbook_executions.insert":
            self._executions[subject.partition("/")[2]] = actor
            return values_of(after).get("executed_by") == actor
        if action == "runbook_executions.update":
            return self._executions.pop(subject.partition("/")[2], None) == actor
        return self._executions.get(correlation) == actor

    def _follow(self, rows: _Rows) -> None:
        """What the rows tell of the tables, the ledger, the field, and the states of contests and packs."""
        for seq, at, actor, action, subject, before, after, correlation, cause in zip(
            *rows[:7], rows.correlation, rows.cause, strict=True
        ):
            if after is None:
                continue
            table, _, kind = (BATCHES, "", "insert") if action == "ingestion.batch" else action.partition(".")
            key = subject.partition("/")[2]
            images = self.images.get(table)
            if images is not None:
                columns, was = columns_of(after), columns_of(before) if before else []
                if kind == "insert":
                    if key in images:
                        self.odd_rows.add(seq, at, f"inserts {subject}, which was inserted before")
                    images[key] = fingerprint(columns)
                elif kind == "update":
                    if key not in images:
                        self.odd_rows.add(seq, at, f"updates {subject}, which was never inserted")
                    images[key] = images.get(key, 0) + fingerprint(columns) - fingerprint(was)
                    if table == "settlement_packs" and 'status":"PENDING"' in was:
                        self.terminalized_by[key] = actor
                if table in _EFFECT_TABLES:
                    self.effects.update([text.partition(":")[2] for text in columns if text.startswith(_EFFECT_HEADS)])
                elif table == "contests":
                    self._enter(key, seq, at, actor, values_of(before), values_of(after))
            elif action == "ledger.post":
                self.posts[key] = audited_post(after, (at, correlation, cause))
            elif action == "field.ingest":
                self.golfers.update([(f"{key}/{golfer}", "active") for golfer in values_of(after)["golfers"]])
            elif action == "golfer.status":
                self.golfers[key] = values_of(after)["status"]

    def _enter(self, contest: str, seq: int, at: int, actor: str, was: dict[str, Any], image: dict[str, Any]) -> None:
        if "status" in image:
            step = Transition(seq, at, actor, was.get("status"), image["status"])
            self.transitions.setdefault(contest, []).append(step)

    @cached_property
    def differences(self) -> dict[str, Differences]:
        """Each row-audited table, and the batches, against their images, in the columns that the run's version has. The
        images are used up."""
        return {table: self._compare(table) for table in self.images}

    def _compare(self, table: str) -> Differences:
        evidence = self._evidence()
        assert evidence is not None
        schema, held = BOOKS[f"platform.{table}"], evidence.columns(f"platform.{table}")
        kinds = {name: schema.columns[name] for name in held}
        images, rows = self.images[table], 0
        unaudited, changed = [], []
        for chunk in evidence.chunks(f"platform.{table}", *held) if held else ():
            columns = dict(zip(held, chunk, strict=True))
            keys = map("/".join, zip(*(map(str, columns[name]) for name in schema.key), strict=True))
            for key, actual in zip(keys, fingerprints(kinds, chunk), strict=True):
                rows += 1
                audited = images.pop(key, None)
                if audited is None:
                    unaudited.append(key)
                elif audited != actual:
                    changed.append(key)
        return Differences(rows, unaudited, changed, sorted(images))

    def final_images(self, subjects: Iterable[str]) -> dict[str, dict[str, Any]]:
        """A second pass, for the few rows that differ: the full image of each subject."""
        evidence = self._evidence()
        assert evidence is not None
        wanted = set(subjects)
        found: dict[str, dict[str, Any]] = {}
        for subject, after in evidence.rows("platform.audit_log", "subject", "after"):
            if subject in wanted and after is not None:
                found.setdefault(subject, {}).update(values_of(after))
        return found


def _event_instant(cause: str | None, instants: Sequence[int]) -> int | None:
    """When the event `e<k>` was; None for what is no event of the journal."""
    if cause and cause[0] == "e" and cause[1:].isdigit() and 0 < int(cause[1:]) <= len(instants):
        return instants[int(cause[1:]) - 1]
    return None


class _Anchoring:
    """The rows of the log beside the heads that were anchored outside, both in their order."""

    def __init__(self, evidence: Evidence) -> None:
        self._known = facts(evidence)
        anchored = sorted(evidence.rows("anchor.heads", "at", "head_seq"))
        self._seqs = {seq for _, seq in anchored}
        self._anchors = iter(anchored)
        self._anchored_at: int | None = None
        self._up_to_seq = -_NEVER
        self._is_told = False

    def heads(self, rows: _Rows) -> list[tuple[int, str]]:
        """(seq, hash) of the rows whose head was anchored."""
        return [(seq, head) for seq, head in zip(rows.seq, rows.hash, strict=True) if seq in self._seqs]

    def late(self, rows: _Rows) -> Iterator[tuple[int, int, int | None]]:
        """(seq, at, anchored at): of each stretch up to an anchored head, the first row that had to wait too long."""
        ended_at = self._known.ended_at
        for seq, at in zip(rows.seq, rows.at, strict=True):
            while self._up_to_seq < seq:
                self._anchored_at, self._up_to_seq = next(self._anchors, (None, _NEVER))
                self._is_told = False
            waited_until = self._anchored_at or ended_at
            if waited_until > at + ANCHOR_WITHIN_MS and not self._is_told:
                self._is_told = True
                if waited_until > self._known.deadline(at, ANCHOR_WITHIN_MS)[0]:
                    yield seq, at, self._anchored_at


def trail(evidence: Evidence) -> Trail:
    """The audit trail of this evidence."""
    return once(evidence, Trail)
