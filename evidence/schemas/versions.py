"""What each version of the published contract has. Books and columns are only ever added, none is changed or taken
away, so a version is the one before it and what came with it: see docs/evidence.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from hashlib import sha256

from evidence.canonical import canonical
from evidence.schemas import platform, world
from evidence.schemas.types import BookSchema

VERSION = 2
READABLE = tuple(version for version in (VERSION - 1, VERSION) if version)
BOOKS: dict[str, BookSchema] = {**platform.BOOKS, **world.BOOKS}

CAME_WITH: Mapping[int, tuple[str, ...]] = {
    2: (
        "anchor.refusals",
        "attacker.posts",
        "database.incidents",
        "database.refusals",
        "deployment.changes",
        "hosts.clocks",
        "hosts.drifts",
        "hosts.exchanges",
        "hosts.shells",
        "monitoring.alerts",
        "observer.dashboards",
        "operator.escalations",
        "operator.notebook",
        "operator.unanswered",
        "pager.refusals",
        "platform.backups",
        "platform.config_versions",
        "platform.daemon_health",
        "platform.healing_rules",
        "platform.healing_telemetry",
        "platform.incidents.level",
        "platform.remediation_orders.verifications",
        "platform.remediation_orders.verified_at",
        "platform.remediation_orders.verify_at",
        "platform.runbook_execution_steps",
        "platform.runbook_executions",
        "platform.settlement_acceptance",
        "provider.requests.answered",
        "provider.statuses.reason",
    ),
}
"""Books, and columns as `book.column`, by the version that brought them; all others came with the first."""

_SINCE = {name: version for version, names in CAME_WITH.items() for name in names}


def since(name: str) -> int:
    """The version that brought a book, or a column given as `book.column`."""
    return _SINCE.get(name, 1)


@cache
def books_of(version: int) -> dict[str, BookSchema]:
    """The books that every run of `version` has, with the columns that it has in them. A run may hold later ones:
    version 1 was written while what makes up version 2 was being added."""
    return {
        book: replace(
            schema,
            columns={name: kind for name, kind in schema.columns.items() if since(f"{book}.{name}") <= version},
        )
        for book, schema in BOOKS.items()
        if since(book) <= version
    }


def fingerprint(version: int) -> str:
    """SHA-256 over all that a reader of `version` relies on: books, their parties, columns in order, kinds and keys."""
    told = {
        book: [schema.party, [[name, kind.value] for name, kind in schema.columns.items()], list(schema.key)]
        for book, schema in books_of(version).items()
    }
    return sha256(canonical(told)).hexdigest()
