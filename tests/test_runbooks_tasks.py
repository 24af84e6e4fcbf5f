"""The runbooks of tasks, each carried out on a platform on which it is due, and on one on which it must not go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from contest_platform import environments
from contest_platform.audit import Context
from contest_platform.ports import ConnectionLost
from contest_platform.services import backups, configuration
from contest_platform.services.anchoring import AnchoringService
from contest_platform.services.configuration import Author
from contest_platform.store.backup import rows_of
from tests.support.admin_world import AdminWorld
from tests.support.contest_world import CONFIG
from tests.support.tried import REFUSED, Tried, all_of, handed_on, healed, tables

ENGINEER = Author(Context("system:release", "release 1"), "", "release 1")
TAKES_A_COPY = {
    "snapshot_ritual": "Steps/3", "backup_contest_data": "Steps/1", "weekly_maintenance": "Steps/5",
    "backup_too_old": "Recovery/1",
}  # fmt: skip
TASKS = [*TAKES_A_COPY, "restore_from_backup"]


class Witness:
    """An anchor that takes everything."""

    async def publish(self, *, head_seq: int, head_hash: str) -> None: ...


@pytest.fixture
def world() -> AdminWorld:
    """A platform that runs, with a contest, an entry and an audit log that is anchored outside."""
    world = AdminWorld()
    world.anchor = Witness()
    world.offer()
    world.enter("ann")
    world.work(world.life(AnchoringService))
    return world


def tried(world: AdminWorld, **how: Any) -> Tried:
    return Tried(world, all_of(world.life(AnchoringService)), **how)


def take(world: AdminWorld, backup_id: str = "backup_1") -> None:
    ctx = Context("system:test", "test")
    world.life(lambda ports, _: world.run(backups.take(ports, ctx, backup_id, "before")))


def untouched(world: AdminWorld) -> dict[str, Any]:
    """Everything but the list of backups, and how far the log is anchored."""
    rows = tables(world)
    del rows["backups"], rows["checkpoints"]
    return rows


# --- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_carried_out_to_its_end_and_changes_nothing_else(world: AdminWorld, task: str) -> None:
    if task == "restore_from_backup":
        take(world)
    before = untouched(world)
    healed(task, tried(world))
    assert untouched(world) == before
    [row] = world.rows("select * from backups")
    assert list(world.backups) == [row["backup_id"]]
    copied = dict(rows_of(world.backups[row["backup_id"]]))
    assert [entry[0] for entry in copied["entries"]] == ["c1-ann"]


@pytest.mark.parametrize("task", TAKES_A_COPY)
def test_an_answer_that_is_lost_has_a_copy_taken_once_more(world: AdminWorld, task: str) -> None:
    control = healed(task, tried(world, lost=[TAKES_A_COPY[task]]))
    section, number = TAKES_A_COPY[task].split("/")
    assert f"{section}/{int(number) + 1}" in control.steps
    assert world.rows("select * from runbook_executions where status <> 'completed'") == []
    assert len(world.rows("select * from backups")) == 2


@pytest.mark.parametrize("task", TAKES_A_COPY)
def test_a_copy_that_cannot_be_taken_is_handed_on_and_leaves_all_as_it_was(world: AdminWorld, task: str) -> None:
    before = untouched(world)
    at = TAKES_A_COPY[task]
    handed_on(task, tried(world, refused={at: REFUSED}), at)
    assert untouched(world) == before
    assert world.rows("select * from backups") == []


def spoil(world: AdminWorld) -> None:
    """The copy that was taken last is no longer what it was."""
    backup_id = list(world.backups)[-1]
    image = bytearray(world.backups[backup_id])
    image[len(image) // 2] ^= 0xFF
    world.backups[backup_id] = bytes(image)


def lose(world: AdminWorld) -> None:
    world.backups.clear()


@pytest.mark.parametrize("harm", [spoil, lose])
@pytest.mark.parametrize(
    ("task", "at"),
    [("backup_too_old", "Verification/1"),
     ("weekly_maintenance", "Steps/7"), ("restore_from_backup", "Prerequisites/2")],
)  # fmt: skip
def test_a_copy_that_is_spoilt_or_gone_is_noticed(
    world: AdminWorld, task: str, at: str, harm: Callable[[AdminWorld], None]
) -> None:
    if task == "restore_from_backup":
        take(world)
    handed_on(task, tried(world, meanwhile={at: lambda: harm(world)}), at)


@pytest.mark.parametrize("task", ["weekly_maintenance", "restore_from_backup"])
def test_a_trial_goes_to_the_scratch_database_and_is_on_record(world: AdminWorld, task: str) -> None:
    if task == "restore_from_backup":
        take(world)
    healed(task, tried(world))
    [row] = world.rows("select subject from audit_log where action = 'backups.restore'")
    assert row["subject"] == f"backups/{next(iter(world.backups))}"
    assert list(world.scratch) == ["scratch"]
    assert list(world.scratch["scratch"].execute("select entry_id from entries")) == [("c1-ann",)]


def test_nothing_to_restore_is_handed_on(world: AdminWorld) -> None:
    handed_on("restore_from_backup", tried(world), "Prerequisites/1")


# --- checks -----------------------------------------------------------------------------------------------------------


def break_the_chain(world: AdminWorld) -> None:
    world.connection.execute("drop trigger audit_log_refuses_update")
    world.connection.execute("update audit_log set reason = 'nothing' where seq = 1")


def add_a_table(world: AdminWorld) -> None:
    world.connection.execute("create table spare (x)")


def unbalance(world: AdminWorld) -> None:
    world.connection.execute("insert into ledger_postings values ('t', 1, 'assets:x', 5)")


def fail_a_contest(world: AdminWorld) -> None:
    world.connection.execute("update contests set status = 'ERROR'")


def fall_silent(world: AdminWorld) -> None:
    world.auth.answers["tok_health"] = ConnectionLost("down")


def go_unanchored(world: AdminWorld) -> None:
    class Silent:
        async def publish(self, *, head_seq: int, head_hash: str) -> None:
            raise ConnectionLost("down")

    class Page:
        async def send(self, **event: Any) -> None: ...

    world.anchor, world.pager = Silent(), Page()
    world.offer("c2")
    world.runtime.at += 4 * 3_600_000


@pytest.mark.parametrize(
    ("task", "harm", "at"),
    [
        ("daily_check", fail_a_contest, "Prerequisites/1"),
        ("daily_check", unbalance, "Steps/1"),
        ("daily_check", break_the_chain, "Steps/2"),
        ("daily_check", go_unanchored, "Steps/3"),
        ("daily_check", fall_silent, "Steps/5"),
        ("daily_check", add_a_table, "Steps/8"),
        ("snapshot_ritual", fail_a_contest, "Prerequisites/1"),
        ("snapshot_ritual", add_a_table, "Steps/1"),
        ("snapshot_ritual", break_the_chain, "Steps/1"),
        ("weekly_maintenance", unbalance, "Prerequisites/1"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_handed_on(
    world: AdminWorld, task: str, harm: Callable[[AdminWorld], None], at: str
) -> None:
    harm(world)
    handed_on(task, tried(world), at)
    assert world.rows("select * from backups") == []


def test_a_copy_of_a_broken_audit_log_is_not_restored(world: AdminWorld) -> None:
    [[trigger]] = world.connection.execute("select sql from sqlite_schema where name = 'audit_log_refuses_update'")
    break_the_chain(world)
    world.connection.execute(trigger)  # whoever did it left no trace in the schema
    handed_on("weekly_maintenance", tried(world), "Steps/7")
    assert world.scratch == {}


def test_the_daily_check_looks_and_does_nothing(world: AdminWorld) -> None:
    before = tables(world)
    healed("daily_check", tried(world))
    assert {**tables(world), "checkpoints": []} == {**before, "checkpoints": []}


def test_the_daily_check_notices_a_contest_that_fails_meanwhile(world: AdminWorld) -> None:
    handed_on(
        "daily_check", tried(world, meanwhile={"Steps/8": lambda: fail_a_contest(world)}), "Verification/1"
    )  # fmt: skip


def test_the_snapshot_goes_with_the_newest_copy_and_takes_none_where_there_is_one(world: AdminWorld) -> None:
    take(world)
    world.runtime.at += 60_000
    take(world, "backup_2")
    control = healed("snapshot_ritual", tried(world))
    assert control.steps[-1] == "Verification/1"
    assert not {"Steps/3", "Steps/4"} & set(control.steps)
    assert list(world.backups) == ["backup_1", "backup_2"]
    [step] = world.rows("select output from runbook_execution_steps where section = 'Verification'")
    assert step["output"].startswith("backup_id=backup_2 ")


# --- configuration, restarts ------------------------------------------------------------------------------------------

CHANGE, RESTART = "configuration_change", "restart_services"


def drift(world: AdminWorld, **settings: int) -> AdminWorld:
    """The platform runs with these settings in the place of those of the committed profile."""
    for name, value in settings.items():
        world.write(
            lambda tx, name=name, value=value: configuration.apply(tx, ENGINEER, CONFIG, name, value, dry_run=False)
        )
    world.restart()
    world.hosts.on_restart = lambda: world.restart() if world.hosts.restarted[-1][1] == "app" else None
    return world


@pytest.fixture
def drifted(world: AdminWorld) -> AdminWorld:
    """The platform runs with two other timeouts than the committed profile."""
    return drift(world, auth_timeout_ms=8_000, provider_timeout_ms=8_000)


def in_force(world: AdminWorld) -> dict[str, int]:
    return world.write(lambda tx: configuration.settings_of(configuration.in_force(tx, CONFIG)))


def running(world: AdminWorld) -> dict[str, int]:
    shown = world.opsctl("config show").text.splitlines()[1:]
    return {line.split()[0].partition("=")[2]: int(line.rpartition("=")[2]) for line in shown}


def test_the_committed_profile_is_applied_setting_by_setting_and_runs_after_the_restart(drifted: AdminWorld) -> None:
    assert running(drifted)["auth_timeout_ms"] == 8_000
    control = healed(CHANGE, tried(drifted))
    assert control.steps.count("Steps/3") == 2, "one for each setting"
    assert in_force(drifted) == running(drifted) == configuration.settings_of(CONFIG)
    assert {service for _, service in drifted.hosts.restarted} == {"app", "ingestion", "settlement"}
    authors = drifted.rows("select created_by, reason from config_versions where version > 3 order by version")
    assert [row["created_by"] for row in authors] == ["ops:kim"] * 2
    assert all(row["reason"].startswith("runbook step Steps/3") for row in authors)


def test_a_profile_that_runs_already_has_nothing_applied_and_nobody_restarted(world: AdminWorld) -> None:
    before = tables(world)
    assert "Steps/3" not in healed(CHANGE, tried(world)).steps
    assert world.hosts.restarted == []
    del before["checkpoints"]
    after = tables(world)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("lost", [["Steps/3"], ["Steps/5"], ["Steps/7"], ["Steps/3", "Steps/7"]])
def test_answers_that_are_lost_leave_no_doubt_what_is_in_force(drifted: AdminWorld, lost: list[str]) -> None:
    healed(CHANGE, tried(drifted, lost=lost))
    assert in_force(drifted) == running(drifted) == configuration.settings_of(CONFIG)
    assert len(drifted.rows("select * from config_versions")) == 5


@pytest.mark.parametrize("at", ["Steps/2", "Steps/3", "Steps/4", "Steps/5", "Steps/6", "Steps/7", "Steps/8",
                                "Verification/1", "Verification/2"])  # fmt: skip
def test_a_change_that_does_not_go_through_is_taken_back(drifted: AdminWorld, at: str) -> None:
    before = in_force(drifted), running(drifted)
    handed_on(CHANGE, tried(drifted, refused={at: REFUSED}), at)
    assert (in_force(drifted), running(drifted)) == before


def test_a_platform_that_already_waits_for_a_restart_is_not_changed(drifted: AdminWorld) -> None:
    drifted.write(lambda tx: configuration.apply(tx, ENGINEER, CONFIG, "pager_timeout_ms", 9_000, dry_run=False))
    handed_on(CHANGE, tried(drifted), "Prerequisites/1")
    assert len(drifted.rows("select * from config_versions")) == 4


def test_every_service_is_restarted_once_and_answers(world: AdminWorld) -> None:
    healed(RESTART, tried(world))
    both = [("lin-1", "win-1")] * 3
    assert [tuple(host for host, _ in world.hosts.restarted[n : n + 2]) for n in (0, 2, 4)] == both
    assert [service for _, service in world.hosts.restarted[::2]] == ["settlement", "ingestion", "app"]


def test_the_edge_that_restarts_itself_gives_no_answer_and_is_looked_at(world: AdminWorld) -> None:
    control = healed(RESTART, tried(world, lost=["Steps/3"]))
    assert "Verification/1" in control.steps
    assert len(world.hosts.restarted) == 6


@pytest.mark.parametrize("service", ["settlement", "ingestion", "app"])
def test_a_service_that_runs_nowhere_is_handed_on(world: AdminWorld, service: str) -> None:
    world.hosts.stopped = {(host, service) for host in CONFIG.hosts}
    at = f"Steps/{['settlement', 'ingestion', 'app'].index(service) + 1}"
    before = tables(world)
    handed_on(RESTART, tried(world), at)
    after = tables(world)
    assert {name for name in before if before[name] != after[name]} <= {"checkpoints"}


def test_services_are_not_restarted_while_a_settlement_runs(world: AdminWorld) -> None:
    world.connection.execute(
        "insert into settlement_audit (run_id, contest_id, status, started_at, packs)"
        " values ('r1', 'c1', 'RUNNING', 1, 0)"
    )
    handed_on(RESTART, tried(world), "Prerequisites/1")
    assert world.hosts.restarted == []


# --- size of the database ---------------------------------------------------------------------------------------------

SCALE = "scale_database"


@pytest.fixture
def too_small(world: AdminWorld) -> AdminWorld:
    """The pool is smaller than planned, its connections are given up sooner, and something else differs too."""
    return drift(world, database_connections=5, database_timeout_ms=3_000, auth_timeout_ms=8_000)


def test_the_plan_of_capacity_is_put_in_force_and_nothing_else(too_small: AdminWorld) -> None:
    control = healed(SCALE, tried(too_small))
    assert control.steps.count("Steps/3") == 2, "connections, and how long one is waited for"
    assert in_force(too_small) == running(too_small) == {**configuration.settings_of(CONFIG), "auth_timeout_ms": 8_000}
    assert [service for _, service in too_small.hosts.restarted[::2]] == ["settlement", "ingestion", "app"]


def test_a_database_that_has_its_size_is_left_alone(drifted: AdminWorld) -> None:
    before = in_force(drifted)
    assert not any(step.startswith("Steps") for step in healed(SCALE, tried(drifted)).steps)
    assert (in_force(drifted), drifted.hosts.restarted) == (before, [])


@pytest.mark.parametrize("lost", [["Steps/2"], ["Steps/3"], ["Steps/5"], ["Steps/6"], ["Steps/7"],
                                  ["Steps/3", "Steps/7"]])  # fmt: skip
def test_a_size_is_made_once_whatever_answers_are_lost(too_small: AdminWorld, lost: list[str]) -> None:
    healed(SCALE, tried(too_small, lost=lost))
    assert in_force(too_small) == running(too_small)
    assert len(too_small.rows("select * from config_versions")) == 6


@pytest.mark.parametrize("at", ["Steps/2", "Steps/3", "Steps/4", "Steps/6", "Steps/8", "Verification/1",
                                "Verification/4", "Verification/6"])  # fmt: skip
def test_a_size_that_does_not_do_is_taken_back(too_small: AdminWorld, at: str) -> None:
    before = in_force(too_small), running(too_small)
    handed_on(SCALE, tried(too_small, refused={at: REFUSED}), at)
    assert (in_force(too_small), running(too_small)) == before


def test_a_request_that_gets_no_connection_after_the_restart_has_the_size_watched_for_longer(
    too_small: AdminWorld,
) -> None:
    def refuse() -> None:
        def busy(_: str) -> bool:
            too_small.store.fails = lambda _: False
            return True

        too_small.store.fails = busy
        with contextlib.suppress(AssertionError):
            too_small.call("GET", "state")

    control = tried(too_small, meanwhile={"Verification/4": refuse})
    healed(SCALE, control)
    [*watched] = [record for record in control.records if (record.section, record.number) == ("Verification", 4)]
    assert len(watched) > 4
    assert " failures=1 " in watched[-1].output


# --- promotion --------------------------------------------------------------------------------------------------------

PROMOTION = "environment_promotion"


def test_what_staging_has_becomes_one_version_of_production(drifted: AdminWorld) -> None:
    healed(PROMOTION, tried(drifted))
    assert in_force(drifted) == running(drifted) == environments.profile("staging")["settings"]
    [*made] = drifted.rows("select * from config_versions where version > 3")
    assert [(row["created_by"], row["step"]) for row in made] == [("ops:kim", "Promotion/5")]
    [execution] = drifted.rows("select id from runbook_executions")
    [row] = drifted.rows("select actor, correlation from audit_log where action = 'ops.env_promote' and after not like"
                         " '%true%'")  # fmt: skip
    assert (row["actor"], row["correlation"], made[0]["execution_id"]) == ("ops:kim", execution["id"], execution["id"])
    assert len(drifted.backups) == 1


def test_an_hour_goes_by_after_the_restart_before_a_promotion_counts_as_done(drifted: AdminWorld) -> None:
    control = healed(PROMOTION, tried(drifted))
    at = {f"{record.section}/{record.number}": record.ended_at for record in control.records}
    assert at["Verification/2"] - at["Promotion/10"] >= 3_600_000 - 60_000


def test_what_staging_does_not_have_otherwise_is_not_promoted(world: AdminWorld) -> None:
    steps = healed(PROMOTION, tried(world)).steps
    assert not any(step.startswith("Promotion") for step in steps)
    assert world.rows("select * from config_versions") == []


@pytest.mark.parametrize("lost", [["Promotion/1"], ["Promotion/4"], ["Promotion/5"], ["Promotion/7"], ["Promotion/8"],
                                  ["Promotion/9"], ["Promotion/5", "Promotion/9"]])  # fmt: skip
def test_a_promotion_is_made_once_whatever_answers_are_lost(drifted: AdminWorld, lost: list[str]) -> None:
    healed(PROMOTION, tried(drifted, lost=lost))
    assert in_force(drifted) == running(drifted) == environments.profile("staging")["settings"]
    assert len(drifted.rows("select * from config_versions")) == 4


@pytest.mark.parametrize("at", ["Checklist/3", "Promotion/3", "Promotion/4", "Promotion/5", "Promotion/6",
                                "Promotion/8", "Promotion/10", "Verification/1", "Verification/2",
                                "Verification/4"])  # fmt: skip
def test_a_promotion_that_does_not_hold_is_taken_back(drifted: AdminWorld, at: str) -> None:
    before = in_force(drifted), running(drifted)
    handed_on(PROMOTION, tried(drifted, refused={at: REFUSED}), at)
    assert (in_force(drifted), running(drifted)) == before


@pytest.mark.parametrize(
    ("harm", "at"),
    [(fail_a_contest, "Prerequisites/1"), (add_a_table, "Checklist/1"), (go_unanchored, "Checklist/4")],
)
def test_what_is_on_the_checklist_stops_a_promotion(
    drifted: AdminWorld, harm: Callable[[AdminWorld], None], at: str
) -> None:
    harm(drifted)
    before = in_force(drifted)
    handed_on(PROMOTION, tried(drifted), at)
    assert in_force(drifted) == before
    assert drifted.rows("select * from backups") == []


def test_settings_that_nobody_committed_for_production_are_not_promoted(
    drifted: AdminWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = environments.profile("staging")
    tested = {**staging, "settings": {**staging["settings"], "pager_timeout_ms": 9_000}}
    committed = environments.profile
    monkeypatch.setattr(environments, "profile", lambda name: tested if name == "staging" else committed(name))
    before = in_force(drifted)
    handed_on(PROMOTION, tried(drifted), "Checklist/1")
    told = drifted.opsctl('env promote --reason "all the same"', drifted.start()).text
    assert told.startswith("error: not promoted: approved: pager_timeout_ms")
    assert in_force(drifted) == before


# --- emergency --------------------------------------------------------------------------------------------------------

EMERGENCY = "emergency_rollback"


def test_the_last_version_is_taken_back_and_the_one_before_runs(drifted: AdminWorld) -> None:
    healed(EMERGENCY, tried(drifted))
    expected = {**configuration.settings_of(CONFIG), "auth_timeout_ms": 8_000}
    assert in_force(drifted) == running(drifted) == expected
    assert len(drifted.rows("select * from config_versions")) == 4


@pytest.mark.parametrize("lost", [["Steps/2"], ["Steps/4"], ["Steps/6"], ["Steps/2", "Steps/6"]])
def test_an_answer_that_is_lost_in_an_emergency_takes_back_one_version_only(
    drifted: AdminWorld, lost: list[str]
) -> None:
    healed(EMERGENCY, tried(drifted, lost=lost))
    assert in_force(drifted) == running(drifted)
    assert len(drifted.rows("select * from config_versions")) == 4


@pytest.mark.parametrize(
    "at", ["Steps/1", "Steps/2", "Steps/3", "Steps/5", "Steps/7", "Verification/1", "Verification/3"]
)
def test_an_emergency_rollback_that_does_not_help_is_itself_taken_back(drifted: AdminWorld, at: str) -> None:
    before = in_force(drifted), running(drifted)
    handed_on(EMERGENCY, tried(drifted, refused={at: REFUSED}), at)
    assert (in_force(drifted), running(drifted)) == before


def test_what_was_deployed_cannot_be_taken_back(world: AdminWorld) -> None:
    handed_on(EMERGENCY, tried(world), "Prerequisites/1")
    assert world.rows("select * from config_versions") == []


# --- commands that never arrive ---------------------------------------------------------------------------------------


def wanted(before: dict[str, int], name: str) -> dict[str, int]:
    """What runs once a runbook has gone through on a platform that was drifted and too small."""
    committed = configuration.settings_of(CONFIG)
    if name == SCALE:
        return {**before, **{setting: committed[setting] for setting in before if setting.startswith("database_")}}
    return {**before, "auth_timeout_ms": committed["auth_timeout_ms"]} if name == EMERGENCY else committed


@pytest.mark.parametrize(
    ("name", "dropped"),
    [(CHANGE, "Steps/5"), (CHANGE, "Steps/6"), (CHANGE, "Steps/7"),
     (EMERGENCY, "Steps/4"), (EMERGENCY, "Steps/5"), (EMERGENCY, "Steps/6"),
     (SCALE, "Steps/5"), (SCALE, "Steps/6"), (SCALE, "Steps/7"),
     (PROMOTION, "Promotion/7"), (PROMOTION, "Promotion/8"), (PROMOTION, "Promotion/9")],
)  # fmt: skip
def test_a_restart_that_was_never_heard_of_is_asked_for_again(too_small: AdminWorld, name: str, dropped: str) -> None:
    """Else a service would run on with the old version, and the book would say that it does not."""
    before = running(too_small)
    healed(name, tried(too_small, dropped=[dropped]))
    assert sorted(service for _, service in too_small.hosts.restarted[::2]) == ["app", "ingestion", "settlement"]
    assert in_force(too_small) == running(too_small) == wanted(before, name)


@pytest.mark.parametrize("way", ["lost", "dropped"])
@pytest.mark.parametrize("at", ["Rollback/1", "Rollback/2", "Rollback/3", "Rollback/4"])
@pytest.mark.parametrize(("name", "failing"), [(CHANGE, "Verification/1"), (EMERGENCY, "Verification/1"),
                                               (SCALE, "Verification/1"), (PROMOTION, "Verification/1")])  # fmt: skip
def test_what_is_taken_back_is_taken_back_whatever_gets_lost_meanwhile(
    too_small: AdminWorld, name: str, failing: str, at: str, way: str
) -> None:
    before = in_force(too_small), running(too_small)
    handed_on(name, tried(too_small, refused={failing: REFUSED}, **{way: [at]}), failing)
    assert (in_force(too_small), running(too_small)) == before
    assert {service for _, service in too_small.hosts.restarted} == {"settlement", "ingestion", "app"}


# --- escalation -------------------------------------------------------------------------------------------------------


def test_what_is_handed_on_has_its_information_on_record(world: AdminWorld) -> None:
    unbalance(world)
    before = tables(world)
    control = healed("escalation_to_engineering", tried(world))
    told = "".join(record.output for record in control.records)
    assert "ledger_out_of_balance=1" in told
    assert "intact=yes" in told
    after = tables(world)
    assert {name for name in before if before[name] != after[name]} <= {"checkpoints"}
