"""The configuration taken back, by steps or by hash: what a dry run tells, and what is refused and how."""

from __future__ import annotations

import json

import pytest

from tests.support.admin_world import KIM, AdminWorld
from tests.support.command import SharedRuns
from tests.support.stores import on_each_store

pytestmark = on_each_store

VERSIONS = "select * from config_versions order by version"


@pytest.fixture
def world() -> AdminWorld:
    """Three versions: as deployed, with a longer time-out, and with that and a larger pool."""
    world = AdminWorld()
    step(world, 'config apply auth_timeout_ms 8000 --reason "slow at night"')
    step(world, 'config apply database_connections 30 --reason "capacity plan"')
    return world


def step(world: AdminWorld, line: str) -> str:
    """What opsctl prints, in a step of an execution of its own."""
    return str(world.opsctl(line, world.start()).text)


def answer(text: str) -> dict[str, str]:
    assert text.startswith("done: "), text
    return dict(pair.split("=", 1) for pair in text.removeprefix("done: ").split())


def hashes(world: AdminWorld) -> list[str]:
    return [row["hash"] for row in world.rows(VERSIONS)]


@pytest.mark.parametrize(
    ("back", "difference"),
    [
        ("--steps 1", "database_connections:30->20"),
        ("--steps 2", "auth_timeout_ms:8000->5000,database_connections:30->20"),
    ],
)
def test_a_dry_run_prints_the_settings_that_would_change_and_makes_no_version(
    world: AdminWorld, back: str, difference: str
) -> None:
    before = world.rows(VERSIONS)
    would = answer(step(world, f'config revert {back} --reason "try" --dry-run'))
    assert (would["difference"], would["dry_run"], would["changed"]) == (difference, "yes", "yes")
    assert world.rows(VERSIONS) == before


def test_what_is_done_is_what_the_dry_run_told(world: AdminWorld) -> None:
    would = answer(step(world, 'config revert --steps 2 --reason "try" --dry-run'))
    done = answer(step(world, f'config revert --hash {would["hash"]} --reason "do"'))
    assert {name: done[name] for name in ("to_version", "hash", "difference")} == {
        "to_version": "1", "hash": would["hash"], "difference": would["difference"]
    }  # fmt: skip
    assert hashes(world)[-1] == would["hash"]


@pytest.mark.parametrize("dry_run", ["", " --dry-run"])
def test_to_go_back_to_what_is_in_force_makes_nothing_and_says_so(world: AdminWorld, dry_run: str) -> None:
    before = world.rows(VERSIONS)
    done = answer(step(world, f'config revert --hash {hashes(world)[-1]} --reason "do"{dry_run}'))
    assert (done["changed"], done["difference"], done["to_version"]) == ("no", "none", "3")
    assert world.rows(VERSIONS) == before


def test_a_hash_that_no_version_has_is_refused_with_the_nearest(world: AdminWorld) -> None:
    first, second, _ = hashes(world)
    cut_off = step(world, f'config revert --hash {second[:12]} --reason "do"')
    assert cut_off == (
        f"error: no version has the hash {second[:12]}; that of version 2 is nearest: {second}\n"
    )  # fmt: skip
    mistyped = first[:20] + ("0" if first[20] != "0" else "1") + first[21:]
    assert f"that of version 1 is nearest: {first}" in step(world, f'config revert --hash {mistyped} --reason "do"')


def test_where_nothing_was_changed_yet_there_is_only_what_was_deployed() -> None:
    world = AdminWorld()
    deployed = world.opsctl("config show").text.split()[1].removeprefix("hash=")
    text = step(world, f'config revert --hash {"0" * 64} --reason "do"')
    assert text == f"error: there is no version but what was deployed, with the hash {deployed}\n"
    assert answer(step(world, f'config revert --hash {deployed} --reason "do"'))["difference"] == "none"


def test_without_a_reason_nothing_is_taken_back(world: AdminWorld) -> None:
    before = world.rows(VERSIONS)
    assert "missing --reason" in step(world, "config revert --steps 1")
    response = world.act("config/revert", world.start(), steps=1)
    assert (response.status, response.body["error"]) == (400, "reason: is missing")
    assert ("refuse.config_revert", KIM, "reason: is missing") in world.refusals()
    assert world.rows(VERSIONS) == before


def test_who_took_it_back_and_why_is_on_record(world: AdminWorld) -> None:
    execution_id = world.start()
    world.opsctl('config revert --steps 1 --reason "no better"', execution_id)
    made = world.rows(VERSIONS)[-1]
    assert (made["created_by"], made["execution_id"]) == (KIM, execution_id)
    assert made["reason"].endswith("no better")
    [row] = world.rows(
        f"select * from audit_log where action = 'config_versions.insert' and correlation = '{execution_id}'"
    )
    assert (row["actor"], json.loads(row["after"])) == (KIM, made)
    listed = world.opsctl("config list").text.splitlines()
    assert [line.split()[0] for line in listed] == ["version=4", "version=3", "version=2", "version=1"]
    assert listed[0].endswith('no better"')
    assert all(f"hash={row['hash']}" in line for row, line in zip(reversed(world.rows(VERSIONS)), listed, strict=True))


def test_the_drill_takes_back_what_its_dry_run_told(runs: SharedRuns) -> None:
    """The runbook of the emergency rollback: a dry run by steps, then the rollback itself, by the hash that it gave."""
    ran = runs("drills")
    [execution] = ran.rows("platform.runbook_executions", runbook_name="emergency_rollback")
    steps = {
        (step.section, step.number): answer(step.output)
        for step in ran.rows("platform.runbook_execution_steps", execution_id=execution.id)
        if step.sent.startswith("opsctl config revert")
    }
    would, done = steps["Steps", 1], steps["Steps", 2]
    assert (would["dry_run"], done["dry_run"], done["hash"]) == ("yes", "no", would["hash"])
    changed = {change.split(":")[0] for change in done["difference"].split(",")}
    assert (done["difference"], changed) == (would["difference"], {"provider_timeout_ms"})
    [version] = ran.rows("platform.config_versions", execution_id=execution.id)
    assert version.hash == done["hash"]
