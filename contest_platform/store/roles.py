"""The roles of the database: what each may do is granted in postgresql.sql. SQLite knows no roles.

Invariant: the platform's processes work in these roles, and none of these owns a table.
"""

from __future__ import annotations

OWNER = "owner"
"""Owns the schema; whoever deploys works in it, and no process of the platform."""
READER = "readonly"
ROLES = ("app", "ingestion", "settlement", READER)
"""One for each unit (contest_platform.units), and one that only looks."""
WRITERS = {"leases": "settlement", "settlement_packs": "settlement"}
"""Tables that one role alone may write, and nobody delete from: who holds the lease decides who may end a pack."""
