"""Configuration in versions, backups, and what runs beside what is committed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from contest_platform import environments
from contest_platform.admin.service import AdminService
from contest_platform.admin.tasks import SERVICES
from contest_platform.audit import Context
from contest_platform.ports import ConnectionLost
from contest_platform.service import Config
from contest_platform.services import backups, configuration
from contest_platform.services.configuration import SETTINGS
from contest_platform.store import sqlite
from contest_platform.store.backup import LogicalBackups, rows_of, written
from contest_platform.store.tables import TABLES
from contest_platform.units import UNITS
from tests.support.admin_world import KIM, AdminWorld
from tests.support.contest_world import CONFIG
from tests.support.prepared import prepared
from tests.support.stores import REFUSED, on_each_store

pytestmark = on_each_store

CTX = Context("system:test", "execution_1")


@pytest.fixture
def world() -> AdminWorld:
    return AdminWorld()


def done(text: str) -> dict[str, str]:
    assert text.startswith("done: "), text
    return dict(pair.split("=", 1) for pair in text.removeprefix("done: ").split(" ") if "=" in pair)


# --- configuration ----------------------------------------------------------------------------------------------------


def act(world: AdminWorld, line: str, execution: list[str]) -> dict[str, str]:
    """In a step of an execution of its own."""
    execution.append(world.start())
    return done(world.opsctl(line, execution[-1]).text)


def test_every_setting_of_the_configuration_but_secrets_and_hosts_is_in_its_versions() -> None:
    numbers = {name for name, value in vars(Config).items() if type(value).__name__ == "member_descriptor"}
    assert numbers - set(SETTINGS) == {"webhook_secrets", "token_key", "hosts", "environment"}
    assert configuration.settings_of(CONFIG) == environments.profile(CONFIG.environment)["settings"]


def test_a_version_is_read_by_what_starts_after_it_and_by_nothing_before(world: AdminWorld) -> None:
    seen: list[Config] = []
    act(world, 'config apply auth_timeout_ms 8000 --reason "slow"', [])
    assert " restart_needed=yes " in world.opsctl("config show").text
    world.life(lambda _, config: seen.append(config))
    assert seen[0].auth_timeout_ms == 8_000
    assert (seen[0].token_key, seen[0].hosts) == (CONFIG.token_key, CONFIG.hosts)
    world.restart()
    assert " restart_needed=no " in world.opsctl("config show").text


def test_versions_are_audited_and_neither_changed_nor_removed(world: AdminWorld) -> None:
    act(world, 'config apply auth_timeout_ms 8000 --reason "slow"', [])
    audited = world.rows("select * from audit_log where action = 'config_versions.insert' order by seq")
    rows = world.rows("select * from config_versions order by version")
    assert [json.loads(row["after"]) for row in audited] == rows
    assert {row["actor"] for row in audited} == {KIM}
    for statement in ("update config_versions set content = '{}'", "delete from config_versions"):
        with pytest.raises(REFUSED, match="append-only"):
            world.connection.execute(statement)


def test_steps_and_hashes_lead_back_to_the_same_content(world: AdminWorld) -> None:
    executions: list[str] = []
    for ms in (6_000, 7_000, 8_000):
        act(world, f'config apply auth_timeout_ms {ms} --reason "slow"', executions)
    hashes = [row["hash"] for row in world.rows("select hash from config_versions order by version")]
    assert act(world, 'config revert --steps 2 --reason "back"', executions)["hash"] == hashes[1]
    assert act(world, 'config revert --steps 1 --reason "forth"', executions)["hash"] == hashes[3]
    assert act(world, f'config revert --hash {hashes[0]} --reason "as deployed"', executions)["to_version"] == "1"
    assert len(world.rows("select * from config_versions")) == 7


def test_a_step_that_asks_again_for_its_steps_back_goes_back_once(world: AdminWorld) -> None:
    for ms in (6_000, 7_000, 8_000):
        act(world, f'config apply auth_timeout_ms {ms} --reason "slow"', [])
    execution_id = world.start()
    first, again = (done(world.opsctl('config revert --steps 1 --reason "back"', execution_id).text) for _ in range(2))
    assert (first["changed"], again["changed"]) == ("yes", "no")
    assert {answer["to_version"] for answer in (first, again)} == {"3"}
    assert first["hash"] == again["hash"]


@pytest.mark.parametrize("line", ["config apply auth_timeout_ms 8000", "config revert --steps 1"])
def test_a_dry_run_says_what_would_be_done_and_does_nothing(world: AdminWorld, line: str) -> None:
    act(world, 'config apply auth_timeout_ms 6000 --reason "slow"', [])
    before = world.rows("select * from config_versions")
    would = act(world, f'{line} --reason "try" --dry-run', [])
    assert (would["dry_run"], would["changed"]) == ("yes", "yes")
    assert world.rows("select * from config_versions") == before
    assert act(world, f'{line} --reason "do"', [])["hash"] == would["hash"]


def test_a_setting_that_did_not_exist_then_is_as_deployed_and_one_that_is_gone_is_left_out(world: AdminWorld) -> None:
    old = {"auth_timeout_ms": 9_000, "horses": 4}
    row = {"version": 1, "hash": "h", "content": json.dumps(old), "created_at": 1, "created_by": "system:release",
           "execution_id": None, "step": None, "reason": "long ago"}  # fmt: skip
    world.write(lambda tx: tx.insert("config_versions", row))
    found = world.write(lambda tx: configuration.settings_of(configuration.in_force(tx, CONFIG)))
    assert found == {**configuration.settings_of(CONFIG), "auth_timeout_ms": 9_000}


# --- backups ----------------------------------------------------------------------------------------------------------


def take(world: AdminWorld, backup_id: str = "backup_1") -> dict[str, Any]:
    return world.life(lambda ports, _: world.run(backups.take(ports, CTX, backup_id, "before")))  # type: ignore[no-any-return]


def copied(copy: bytes) -> dict[str, list[dict[str, Any]]]:
    return {name: [dict(zip(TABLES[name].columns, row, strict=True)) for row in rows] for name, rows in rows_of(copy)}


def test_a_backup_holds_every_row_of_the_instant_at_which_it_was_taken_and_none_of_later() -> None:
    world = prepared()
    before = {
        name: world.rows(f"select * from {name} order by {', '.join(table.key)}") for name, table in TABLES.items()
    }
    take(world)
    assert copied(world.backups["backup_1"]) == before
    assert sum(map(len, before.values())) > 100
    assert len(world.rows("select * from backups")) == 1


def test_the_same_id_again_takes_no_other_backup(world: AdminWorld) -> None:
    first = take(world)
    world.offer()
    assert take(world) == {**first, "changed": False}
    assert len(world.rows("select * from backups")) == 1


def test_a_backup_that_could_not_be_put_aside_is_not_in_the_list(world: AdminWorld) -> None:
    class Full(dict[str, bytes]):
        def __setitem__(self, key: str, value: bytes) -> None:
            raise ConnectionLost("the other side is gone")

    world.backups = Full()
    world.restart()
    execution_id = world.start()
    output = world.opsctl('backup create --reason "daily"', execution_id)
    assert (output.status, output.text) == (3, "error: the platform did not answer: connection_lost\n")
    assert world.opsctl("backup list").text == "none\n"


def schema_of(*statements: str) -> Callable[[bytes], bytes]:
    """The copy of a database whose schema was changed by hand."""

    def taken(copy: bytes) -> bytes:
        database = sqlite.connect(tables=rows_of(copy))
        for statement in statements:
            database.execute(statement)
        return written(database)

    return taken


def rows_edited(statement: str) -> Callable[[bytes], bytes]:
    """The copy of a database in which a row of the audit log was changed, past its triggers."""

    def taken(copy: bytes) -> bytes:
        database = sqlite.connect(tables=rows_of(copy))
        assert database.by_hand([statement], "superuser", bypass="audit_log")[1] == 1
        return written(database)

    return taken


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (rows_edited("update audit_log set reason = 'x' where seq = 1"), "audit log: row 1 is not what was hashed"),
        (rows_edited("delete from audit_log where seq = (select max(seq) from audit_log)"),
         "its audit log ends elsewhere than noted"),
        (schema_of("drop index idx_runbook_executions_status"),
         "schema: index idx_runbook_executions_status is missing"),
        (schema_of("create table spare (x int)"), "schema: table spare is not in the snapshot"),
        (lambda copy: copy[:100] + b"\xff" * 200 + copy[300:], "it cannot be read"),
        (lambda copy: copy[: len(copy) // 2], "it cannot be read"),
        (lambda copy: copy[: copy.rindex(b"\n", 0, -1) + 1], "it cannot be read"),
        (lambda copy: copy[:0], "it cannot be read"),
        (lambda copy: copy.replace(b'"format":1', b'"format":9'), "it cannot be read"),
        (lambda copy: copy.replace(b'"contest_id",', b"", 1), "it cannot be read"),
        (lambda copy: b"no database" * len(copy), "it cannot be read"),
        (lambda copy: b"[1]\n" * len(copy), "it cannot be read"),
        (lambda copy: b'{"rows":1}\n' * len(copy), "it cannot be read"),
    ],
)  # fmt: skip
def test_a_backup_that_could_not_serve_says_why(harm: Callable[[bytes], bytes], problem: str) -> None:
    world = prepared()
    take(world)
    world.backups["backup_1"] = harm(world.backups["backup_1"])
    assert " intact=no " in world.opsctl("backup verify backup_1").text
    assert "it is not what was taken" in world.opsctl("backup verify backup_1").text
    refused = world.opsctl('backup restore backup_1 --to scratch --reason "trial"', world.start())
    assert refused.status == 1
    assert world.scratch == {}
    found = world.run(LogicalBackups(world.connection, world.backups, {}).inspect(backup_id="backup_1"))
    assert found is not None
    told = backups._problem({**world.rows("select * from backups")[0], "sha256": found.sha256}, found)
    assert told == problem


def test_a_restored_database_serves_and_refuses_what_the_one_in_service_refuses() -> None:
    world = prepared()
    take(world)
    output = world.opsctl('backup restore backup_1 --to scratch --reason "trial"', world.start())
    assert " equal=yes " in output.text
    scratch = world.scratch["scratch"]
    assert [edit for edit in scratch.edits("audit_log") if not scratch.refuses(edit)] == []
    assert scratch.schema_differences() == []


def test_a_restore_that_lost_a_row_is_not_called_equal(world: AdminWorld) -> None:
    world.offer()
    take(world)

    class Lossy(LogicalBackups):
        async def restore(self, *, backup_id: str, target: str) -> Any:
            database = sqlite.connect(tables=rows_of(self._kept[backup_id]))
            database.execute("delete from contests")
            self._kept["lossy"] = written(database)
            return await super().restore(backup_id="lossy", target=target)

    def attempt(ports: Any, _: Config) -> Any:
        object.__setattr__(ports, "backups", Lossy(world.connection, world.backups, world.scratch))
        return world.run(backups.restore(ports, CTX, "backup_1", "scratch", "trial"))

    assert world.life(attempt)["equal"] is False


def test_a_new_life_tells_how_old_the_last_backup_is(world: AdminWorld) -> None:
    take(world)
    world.metrics.standing.clear()
    [job] = [job for service in (world.life(AdminService),) for job in service.jobs()]
    assert world.run(job.due()) is None
    assert world.metrics.standing == {("backup_last_success_timestamp_seconds",): world.runtime.at // 1000}


# --- environments -----------------------------------------------------------------------------------------------------


def test_the_profiles_hold_the_names_of_secrets_and_none_of_them_and_share_nothing_that_matters() -> None:
    assert environments.shared() == []
    for name in environments.NAMES:
        profile = environments.profile(name)
        assert profile["environment"] == name
        assert set(profile["settings"]) == set(SETTINGS)
        assert all(least <= profile["settings"][one] <= most for one, (least, most) in SETTINGS.items())


@pytest.mark.parametrize("path", environments.SEPARATE)
def test_whatever_staging_and_production_share_is_named(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part, _, name = path.partition(".")
    production = environments.profile("production")
    monkeypatch.setitem(production[part], name, environments.profile("staging")[part][name])
    assert environments.shared() == [path]
    monkeypatch.setitem(production[part], name, "")
    assert environments.shared() == [path]


@pytest.mark.parametrize(
    ("statement", "first"),
    [
        ("create table spare (x int)", "table spare is not in the snapshot"),
        ("drop trigger audit_log_refuses_delete", "trigger audit_log_refuses_delete is missing"),
        ("alter table users add column spare text", "table users is another"),
    ],
)
def test_a_schema_that_has_drifted_is_told(world: AdminWorld, statement: str, first: str) -> None:
    world.connection.execute(statement)
    told = world.opsctl("env compare").text.splitlines()[0]
    assert told == f'check=schema equal=no differences=1 first="{first}"'


def test_an_interface_that_is_not_the_committed_one_is_told(world: AdminWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    from contest_platform import openapi

    document = openapi.committed()
    del document["paths"]["/api/entries"]
    monkeypatch.setattr(openapi, "committed", lambda: document)
    assert "check=openapi equal=no differences=1 first=/api/entries\n" in world.opsctl("env compare").text


# --- promotion --------------------------------------------------------------------------------------------------------


def test_a_promotion_is_one_version_with_all_of_stagings_settings_and_asking_again_makes_none(
    world: AdminWorld,
) -> None:
    for setting in ("auth_timeout_ms 8000", "database_connections 5"):
        act(world, f'config apply {setting} --reason "drifted"', [])
    take(world)
    would = act(world, 'env promote --reason "release" --dry-run', [])
    assert (would["differences"], would["version"], would["changed"]) == ("2", "3", "yes")
    did = act(world, 'env promote --reason "release"', [])
    assert (did["version"], did["hash"]) == ("4", would["hash"])
    assert world.opsctl("env pending").text == "none\n"
    again = act(world, 'env promote --reason "release"', [])
    assert (again["differences"], again["version"], again["changed"]) == ("0", "4", "no")


def test_a_copy_is_fresh_for_a_day_and_a_little(world: AdminWorld) -> None:
    take(world)
    world.runtime.at += 26 * 3_600_000
    assert "check=backup equal=yes " in world.opsctl("env promotion").text
    world.runtime.at += 1
    assert "check=backup equal=no " in world.opsctl("env promotion").text


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("select 1", "backup: none of the last 26 hours"),
        ("create table spare (x int)", "schema: table spare is not in"),
    ],
)
def test_what_speaks_against_a_promotion_has_it_refused_on_record(
    world: AdminWorld, statement: str, refusal: str
) -> None:
    world.connection.execute(statement)
    output = world.opsctl('env promote --reason "release"', world.start())
    assert (output.status, output.text.startswith(f"error: not promoted: {refusal}")) == (1, True)
    assert [(action, actor) for action, actor, _ in world.refusals()] == [("refuse.env_promote", KIM)]
    assert world.rows("select * from config_versions") == []


def test_what_is_pending_can_be_asked_by_what_it_is_about(world: AdminWorld) -> None:
    for setting in ("auth_timeout_ms 8000", "database_connections 5"):
        act(world, f'config apply {setting} --reason "drifted"', [])
    assert len(world.opsctl("config pending").text.splitlines()) == 2
    assert world.opsctl("config pending --of database").text == "setting=database_connections from=5 to=20\n"
    assert world.opsctl("config pending --of pager").text == "none\n"
    assert world.opsctl("config pending --of horses").status == 2


def test_the_services_that_can_be_restarted_are_the_units() -> None:
    assert tuple(UNITS) == SERVICES


def test_a_service_is_restarted_where_it_runs_and_nowhere_else(world: AdminWorld) -> None:
    world.hosts.stopped = {("win-1", "ingestion")}
    output = world.opsctl('services restart ingestion --reason "stuck"', world.start())
    assert output.text == "done: service=ingestion hosts=lin-1\n"
    assert world.hosts.restarted == [("lin-1", "ingestion")]
