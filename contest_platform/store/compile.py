"""Compiles the schema for each store, into schema.sql and postgresql.sql: `python -m contest_platform.store.compile`
(`make snapshots`). Both are made of the same tables and the same triggers. With the URL of a PostgreSQL server it
writes down as well, in postgresql.json, what that says of the schema once it is made.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from sqlalchemy import BigInteger, Integer, Text
from sqlalchemy.dialects import registry
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, CreateTable

from contest_platform.store.postgresql_objects import OBJECTS, SNAPSHOT
from contest_platform.store.roles import READER, ROLES, WRITERS
from contest_platform.store.schema import APPEND_ONLY, METADATA
from contest_platform.store.triggers import UNTRUNCATED, Trigger, triggers

SCHEMA_SQL = Path(__file__).with_name("schema.sql")
POSTGRESQL_SQL = Path(__file__).with_name("postgresql.sql")
HEADING = "-- Made of schema.py and compile.py by `make snapshots`, and compared with them by a test. Not to be edited."


@compiles(Integer, "postgresql")
@compiles(BigInteger, "postgresql")
def _integers_have_64_bits(*_: Any, **__: Any) -> str:
    return "BIGINT"


@compiles(Text, "postgresql")
def _text_is_compared_by_its_bytes(*_: Any, **__: Any) -> str:
    return 'TEXT COLLATE "C"'


def compiled() -> str:
    """The text of schema.sql: every statement that makes an empty SQLite database ready, in order, a blank line after
    each."""
    return _text(HEADING, _for_sqlite())


def compiled_for_postgresql() -> str:
    """The text of postgresql.sql: the same for an empty schema of PostgreSQL, the first of the search path. The names
    of the schema and of the roles are psql's variables (`psql -v schema=… -v app=… -f postgresql.sql`)."""
    return _text(HEADING, _for_postgresql())


def _text(heading: str, statements: Iterable[str]) -> str:
    cleaned = (re.sub(r"[ \t]+\n", "\n", dedent(statement).strip()).expandtabs(4) for statement in statements)
    return "\n\n".join([heading, *(f"{statement};" for statement in cleaned)]) + "\n"


def _tables(dialect: Any) -> Iterator[str]:
    for table in METADATA.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))


# --- SQLite -----------------------------------------------------------------------------------------------------------


def _for_sqlite() -> Iterator[str]:
    yield from _tables(registry.load("sqlite")())
    for trigger in triggers():
        # Fail, not abort, where a statement need not be undone alone: for that SQLite copies every page that it
        # changes.
        verb = "abort" if trigger.undone_alone else "fail"
        when = f"when {dedent(trigger.when).strip()}\n" if trigger.when else ""
        yield (
            f"create trigger {trigger.name} {trigger.event} on {trigger.table}\n{when}"
            f"begin select raise({verb}, '{trigger.refused}'); end"
        )


# --- PostgreSQL -------------------------------------------------------------------------------------------------------

_REFUSE = """
create function refuse() returns trigger language plpgsql as $$
begin
    raise exception using errcode = 'integrity_constraint_violation', message = tg_argv[0];
end $$
"""
_OF_SQLITE = (
    # What the platform asks of SQLite's own functions and PostgreSQL does not have: its results, to the letter.
    """
    create function json_group_object_step(text, bigint, bigint) returns text immutable language sql as $$
        select coalesce($1 || ',', '{') || '"' || $2 || '":' || $3 $$
    """,
    """
    create function json_group_object_end(text) returns text immutable language sql as $$
        select coalesce($1, '{') || '}' $$
    """,
    """
    create aggregate json_group_object(bigint, bigint) (
        sfunc = json_group_object_step, stype = text, finalfunc = json_group_object_end)
    """,
)


def _for_postgresql() -> Iterator[str]:
    """Nothing in here may fire where somebody else could put another table in the place of ours: the functions look
    for tables in this schema first, and among the temporary ones last."""
    yield from _tables(registry.load("postgresql")())
    yield from _OF_SQLITE
    yield _REFUSE
    for trigger in triggers():
        yield from _trigger(trigger)
    for table in UNTRUNCATED:
        yield (
            f"create trigger {table}_refuses_truncate before truncate on {table}\n"
            f"for each statement execute function refuse('{table} is not emptied')"
        )
    yield from _grants()


def _trigger(trigger: Trigger) -> Iterator[str]:
    function = f"refuse('{trigger.refused}')"
    if trigger.when:
        # A row that is to be deleted is kept where its trigger returns NEW, which there is none of then.
        row = "old" if "delete" in trigger.event else "new"
        function = f"{trigger.name}()"
        yield (
            f"create function {function} returns trigger language plpgsql set search_path from current as $$\n"
            f"begin\n    if {indent(dedent(trigger.when).strip(), '        ').strip()} then\n"
            f"        raise exception using errcode = 'integrity_constraint_violation',\n"
            f"            message = '{trigger.refused}';\n    end if;\n    return {row};\nend $$"
        )
    yield (
        f"create trigger {trigger.name} {trigger.event} on {trigger.table}\nfor each row execute function {function}"
    )


def _grants() -> Iterator[str]:
    """No role of the platform owns anything: who does not own a table can neither alter it nor switch its triggers
    off."""
    everybody = ", ".join(f':"{role}"' for role in ROLES)
    yield f'grant usage on schema :"schema" to {everybody}'
    yield f'grant select on all tables in schema :"schema" to {everybody}'
    writers = ", ".join(f':"{role}"' for role in ROLES if role != READER)
    for name in sorted(METADATA.tables):
        if name in APPEND_ONLY:
            yield f"grant insert on {name} to {writers}"
        elif name in WRITERS:
            yield f'grant insert, update on {name} to :"{WRITERS[name]}"'
        else:
            yield f"grant insert, update, delete on {name} to {writers}"


def described_by(server: str) -> str:
    """The text of postgresql.json: what the PostgreSQL server at this URL says of a schema made of postgresql.sql."""
    from contest_platform.store import postgresql

    with closing(postgresql.create(server, "absence_compile")) as database:
        objects = sorted(database.execute(OBJECTS).fetchall())
    return "[\n" + ",\n".join(json.dumps(one) for one in objects) + "\n]\n"


def write(server: str | None = None) -> None:
    SCHEMA_SQL.write_text(compiled())
    POSTGRESQL_SQL.write_text(compiled_for_postgresql())
    if server is not None:
        SNAPSHOT.write_text(described_by(server))


if __name__ == "__main__":
    write(*sys.argv[1:])
