"""The platform's audit trail, read once: the chain recomputed, and what each row says followed to the end.

Invariant: one pass over the rows, and no row is kept. An audited row's image is held as the sum of the hashes of its
columns, so an update is a subtraction and an addition, and memory is one number a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any
from weakref import ref

from assertions.facts import facts
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
    "outcome_settlement_log", "settlement_audit", "post_mortem_settlement", "transfers", "transfer_attempts",
    "incidents", "remediation_orders",
)  # fmt: skip
BATCHES = "ingestion_batches"
EFFECT_COLUMNS = ("intent_id", "processor_refund_id", "processor_transfer_id")
"""Where the images of payments, refunds and transfers carry the processor's own id."""
NOT_FOR_CUSTOMERS = frozenset({
    "contests", "tournaments", "outcomes", "settlement_packs", "outcome_pack_links", "outcome_settlement_log",
    "settlement_audit", "post_mortem_settlement", "transfers", "transfer_attempts", "ingestion_batches",
})  # fmt: skip
"""Tables whose changes no request of a customer may cause."""
COLUMNS = (
    "seq", "at", "actor", "action", "subject", "before", "after", "reason", "correlation", "cause", "prev_hash", "hash",
)  # fmt: skip
KEPT_MAX = 20
"""So many of one kind of damage are told one by one."""

SHIFT = 1 << 60
"""Added to integers before they are hashed, because Python hashes -1 and -2 alike."""

_decode = json.JSONDecoder().raw_decode
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


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


def fingerprint(columns: Iterable[tuple[str, Any]]) -> int:
    """What stands for a row, or for some columns of it: the sum of the hashes of (column, value); null adds nothing.

    Python's hash of text differs from process to process; it is only ever compared within one, and never told.
    """
    total = 0
    for column in columns:
        name, value = column
        if value.__class__ is str:
            total += hash(column)
        elif isinstance(value, int):
            total += hash((name, value + SHIFT))
        elif value is not None:
            total += hash((name, _encode(value)))
    return total


def posting(account: str, cents: int) -> int:
    return hash((account, cents + SHIFT))


def posted(business_key: str, kind: str) -> int:
    return hash((kind, business_key))


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
        """Ids of the processor's objects that some audited row names."""
        self.images: dict[str, dict[str, int]] = {table: {} for table in (*ROW_AUDITED, BATCHES)}
        self.posts: dict[str, int] = {}
        self.golfers: dict[str, str] = {}
        """Status of each golfer, by `<tournament>/<golfer>`, as the audit tells it."""
        self.heads: dict[int, str] = {}
        """The hash of each row whose head was anchored."""
        self.unanchored: list[tuple[int, int, int | None]] = []
        """(seq, at, anchored at): the first row of each stretch that was anchored too late for anybody's excuse."""
        self._read(evidence)

    def _read(self, evidence: Evidence) -> None:
        known = facts(evidence)
        instants, ended_at = known.event_instants, known.ended_at
        anchored = sorted(evidence.rows("anchor.heads", "at", "head_seq"))
        wanted = {seq for _, seq in anchored}
        covering, anchors = 0, len(anchored)
        stretch = -1
        head, previous, quote = GENESIS, 0, encode_basestring
        last_cause: str | None = ""
        caused_at: int | None = None
        columns = {table: frozenset(BOOKS[f"platform.{table}"].columns) for table in self.images}
        effect_columns = {table: [name for name in EFFECT_COLUMNS if name in columns[table]] for table in columns}
        transitions, effects = self.transitions, self.effects
        actions: dict[str, tuple[str, str]] = {}

        for (
            seq,
            at,
            actor,
            action,
            subject,
            before,
            after,
            reason,
            correlation,
            cause,
            prev_hash,
            own_hash,
        ) in evidence.rows("platform.audit_log", *COLUMNS):
            self.rows += 1
            if seq != previous + 1:
                self.broken_chain.add(seq, at, f"follows row {previous}: the sequence has a gap")
            previous = seq
            if prev_hash != head:
                self.broken_chain.add(seq, at, "does not carry the hash of the row before it")
            body = (
                f'{{"action":{quote(action)},"actor":{quote(actor)},'
                f'"after":{"null" if after is None else quote(after)},"at":{at},'
                f'"before":{"null" if before is None else quote(before)},'
                f'"cause":{"null" if cause is None else quote(cause)},'
                f'"correlation":{"null" if correlation is None else quote(correlation)},'
                f'"prev_hash":"{prev_hash}","reason":{"null" if reason is None else quote(reason)},"seq":{seq},'
                f'"subject":{quote(subject)}}}'
            )
            if sha256(body.encode()).hexdigest() != own_hash:
                self.broken_chain.add(seq, at, f"is not what was hashed: {action} of {subject} by {actor}")
            head = own_hash
            if seq in wanted:
                self.heads[seq] = own_hash

            while covering < anchors and anchored[covering][1] < seq:
                covering += 1
            if covering != stretch:
                anchored_at = anchored[covering][0] if covering < anchors else None
                if (anchored_at or ended_at) > at + ANCHOR_WITHIN_MS:
                    if (anchored_at or ended_at) > known.deadline(at, ANCHOR_WITHIN_MS)[0]:
                        self.unanchored.append((seq, at, anchored_at))
                    stretch = covering

            if cause != last_cause:
                last_cause, caused_at = cause, _event_instant(cause, instants)
            if caused_at is None:
                self.uncaused.add(seq, at, f"names the cause {cause!r}, which is no event of the journal")
            elif caused_at > at:
                self.uncaused.add(seq, at, f"names the cause {cause}, which came later")

            split = actions.get(action)
            if split is None:
                verb, _, kind = action.partition(".")
                split = actions[action] = verb, kind
            verb, kind = split
            if (
                not actor.startswith("system:")
                and verb != "refuse"
                and (verb in NOT_FOR_CUSTOMERS or not actor.startswith("customer:"))
            ):
                self.foreign.add(seq, at, f"{action} of {subject} by {actor}")

            if after is None:
                continue
            if action == "ledger.post":
                self._post(subject, after)
                continue
            if verb == "golfer" or verb == "field":
                self._field(action, subject, after)
                continue
            if action == "ingestion.batch":
                verb, kind = BATCHES, "insert"
            elif verb not in columns:
                continue
            image: dict[str, Any] = _decode(after)[0]
            if not columns[verb].issuperset(image):
                image = {column: value for column, value in image.items() if column in columns[verb]}
            key = subject.partition("/")[2]
            images = self.images[verb]
            if kind == "insert":
                if key in images:
                    self.odd_rows.add(seq, at, f"inserts {subject}, which was inserted before")
                images[key] = fingerprint(image.items())
            elif kind == "update":
                if key not in images:
                    self.odd_rows.add(seq, at, f"updates {subject}, which was never inserted")
                was: dict[str, Any] = _decode(before)[0] if before else {}
                replaced = [(column, was.get(column)) for column in image]
                images[key] = images.get(key, 0) + fingerprint(image.items()) - fingerprint(replaced)
                if verb == "settlement_packs" and was.get("status") == "PENDING":
                    self.terminalized_by[key] = actor
            for column in effect_columns[verb]:
                if image.get(column):
                    effects.add(image[column])
            if verb == "contests" and "status" in image:
                from_status = was.get("status") if kind == "update" else None
                transitions.setdefault(key, []).append(Transition(seq, at, actor, from_status, image["status"]))
        self.last_seq = previous

    def _post(self, subject: str, after: str) -> None:
        said = _decode(after)[0]
        total = posted(said["business_key"], said["kind"])
        for account, cents in said["postings"]:
            total += posting(account, cents)
        self.posts[subject.partition("/")[2]] = total

    def _field(self, action: str, subject: str, after: str) -> None:
        said, key = _decode(after)[0], subject.partition("/")[2]
        if action == "field.ingest":
            self.golfers.update(dict.fromkeys([f"{key}/{golfer}" for golfer in said["golfers"]], "active"))
        elif action == "golfer.status":
            self.golfers[key] = said["status"]

    @cached_property
    def differences(self) -> dict[str, Differences]:
        """Each row-audited table, and the batches, against their images. The images are used up."""
        return {table: self._compare(table) for table in self.images}

    def _compare(self, table: str) -> Differences:
        evidence = self._evidence()
        assert evidence is not None
        schema = BOOKS[f"platform.{table}"]
        names = tuple(schema.columns)
        key_places = [names.index(name) for name in schema.key]
        images, rows = self.images[table], 0
        unaudited, changed = [], []
        for row in evidence.rows(f"platform.{table}", *names):
            rows += 1
            key = row_key(row, key_places)
            image = images.pop(key, None)
            if image is None:
                unaudited.append(key)
                continue
            if image != fingerprint(zip(names, row, strict=True)):
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
                found.setdefault(subject, {}).update(json.loads(after))
        return found


def _event_instant(cause: str | None, instants: Sequence[int]) -> int | None:
    """When the event `e<k>` was; None for what is no event of the journal."""
    if cause and cause[0] == "e" and cause[1:].isdigit() and 0 < int(cause[1:]) <= len(instants):
        return instants[int(cause[1:]) - 1]
    return None


def row_key(row: tuple[Any, ...], places: list[int]) -> str:
    return str(row[places[0]]) if len(places) == 1 else "/".join(str(row[place]) for place in places)


def trail(evidence: Evidence) -> Trail:
    """The audit trail of this evidence."""
    return once(evidence, Trail)
