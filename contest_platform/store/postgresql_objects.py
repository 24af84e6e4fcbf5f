"""What PostgreSQL says of a schema: tables with their columns and owner, constraints, indexes, triggers and whether
they fire, functions, rules, policies, and what is granted to whom.

Invariant: the name of the schema is in none of it, so that two made of the same text say the same.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from contest_platform.store.snapshot import Objects

SNAPSHOT = Path(__file__).with_name("postgresql.json")
"""[kind, name, text] of a schema that postgresql.sql has just made: see compile.py."""

OBJECTS = """
with here as (select oid, nspname, nspowner from pg_namespace where nspname = current_schema()),
tables as (select c.* from pg_class c join here on c.relnamespace = here.oid),
told (kind, name, body) as (
    select 'table', t.relname::text,
        concat_ws(' ', t.relkind, t.relpersistence, t.relrowsecurity, t.relforcerowsecurity,
            'of', pg_get_userbyid(t.relowner), '(') || (
            select string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
                    case when a.attnotnull then 'not null' end, l.collname, pg_get_expr(d.adbin, d.adrelid),
                    nullif(a.attidentity::text, ''), nullif(a.attgenerated::text, '')), ', ' order by a.attnum)
            from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
            left join pg_collation l on l.oid = a.attcollation
            where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped) || ')'
    from tables t where t.relkind <> 'i'
    union all
    select 'constraint', t.relname || '.' || c.conname, pg_get_constraintdef(c.oid, true)
    from pg_constraint c join tables t on t.oid = c.conrelid where c.contype in ('c', 'f', 'p', 'u', 'x')
    union all
    select 'index', t.relname::text, concat_ws(' ', pg_get_indexdef(t.oid, 0, true), i.indisvalid)
    from tables t join pg_index i on i.indexrelid = t.oid
    union all
    select 'trigger', g.tgname::text, concat_ws(' ', pg_get_triggerdef(g.oid, true), g.tgenabled)
    from pg_trigger g join tables t on t.oid = g.tgrelid where not g.tgisinternal
    union all
    select 'function', p.oid::regprocedure::text,
        concat_ws(' ', l.lanname, p.prosecdef, p.proconfig, 'of', pg_get_userbyid(p.proowner), p.prosrc)
    from pg_proc p join here on p.pronamespace = here.oid join pg_language l on l.oid = p.prolang
    union all
    select 'rule', t.relname || '.' || r.rulename, pg_get_ruledef(r.oid, true)
    from pg_rewrite r join tables t on t.oid = r.ev_class
    union all
    select 'policy', t.relname || '.' || y.polname, concat_ws(' ', y.polcmd, y.polpermissive)
    from pg_policy y join tables t on t.oid = y.polrelid
    union all
    select 'grant', t.relname || ' to ' || case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee) end,
        string_agg(g.privilege_type, ', ' order by g.privilege_type)
    from tables t, aclexplode(t.relacl) g where g.grantee <> t.relowner
    group by t.relname, g.grantee
)
select kind, replace(name, here.nspname, '$'), replace(body, here.nspname, '$') from told, here
"""


@cache
def committed() -> Objects:
    return {(kind, name): text for kind, name, text in json.loads(SNAPSHOT.read_text())}
