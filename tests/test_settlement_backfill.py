"""Backfill relinks what can be relinked, names what cannot, changes no pack, and its totals are those of its rows."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import Any

import orjson
import pytest

from contest_platform.services import settlement_backfill
from contest_platform.services.settlement import SettlementService
from contest_platform.services.settlement_lease import LEASE_MS
from tests.support.contest_world import CTX, ContestWorld
from tests.support.historic import importing, unlink
from tests.support.settlement_world import WINNERS, cut, ready, settled


def backfill(world: ContestWorld, dry_run: bool = False) -> dict[str, Any]:
    return world.write(lambda tx: settlement_backfill.run(tx, CTX, "links lost in an import", dry_run))


def results(evidence: dict[str, Any]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for row in evidence["rows"]:
        told.setdefault(row["entry_id"].removeprefix("c1-"), []).append(row["result"])
    return told


def links(world: ContestWorld) -> list[tuple[Any, ...]]:
    rows = world.rows("select pack_id, outcome_id from outcome_pack_links order by 1")
    return [tuple(row.values()) for row in rows]


def test_packs_that_lost_their_links_get_the_outcomes_of_their_entries_again() -> None:
    world = settled()
    before, packs = links(world), world.rows("select * from settlement_packs")
    unlink(world, "ann", "cyd")
    evidence = backfill(world)
    assert results(evidence) == {"ann": ["LINKED"], "cyd": ["LINKED"]}
    assert links(world) == before
    assert world.rows("select * from settlement_packs") == packs, "no pack is changed"
    assert len(world.audited("outcome_pack_links.insert")) == 3 + 2
    assert backfill(world)["rows"] == [], "there is nothing left to do"


def test_a_dry_run_says_the_same_and_does_nothing() -> None:
    world = settled()
    unlink(world, "ann")
    before = links(world)
    told = backfill(world, dry_run=True)
    assert links(world) == before
    done = backfill(world)
    assert (told["rows"], told["totals"]) == (done["rows"], done["totals"])
    assert [row["reason"] for row in world.audited("settlement.backfill")] == ["links lost in an import"] * 2


def test_a_link_that_another_pack_has_is_not_moved_and_the_collision_is_told() -> None:
    world = settled()
    outcome = world.row("outcomes", entry_id="c1-ann")["outcome_id"]
    bob = world.row("settlement_packs", entry_id="c1-bob")["pack_id"]
    unlink(world, "ann", "bob")
    world.connection.execute("insert into outcome_pack_links values (?, ?, 0)", (bob, outcome))
    before = links(world)
    evidence = backfill(world)
    assert results(evidence) == {"ann": ["COLLISION"]}
    assert [row["linked_to"] for row in evidence["rows"]] == [bob]
    assert links(world) == before


def test_a_pack_without_an_outcome_is_named() -> None:
    world = settled()
    unlink(world, "ann")
    world.connection.execute("delete from outcomes where entry_id = 'c1-ann'")
    assert results(backfill(world)) == {"ann": ["OUTCOME_MISSING"]}


@pytest.mark.parametrize(("code", "told"), [(None, "UNKNOWN"), ("", "UNKNOWN"), ("no_account", "no_account")])
def test_a_historic_failure_is_explained_and_its_reason_is_never_null(code: str | None, told: str) -> None:
    world = settled()
    pack_id = world.row("settlement_packs", entry_id="c1-bob")["pack_id"]
    with importing(world):
        world.connection.execute("pragma ignore_check_constraints = on")
        changes = "status = 'FAILED', fail_reason_code = ?, fail_reason_detail = null"
        world.connection.execute(f"update settlement_packs set {changes} where pack_id = ?", (code, pack_id))
        world.connection.execute("pragma ignore_check_constraints = off")
    assert results(backfill(world)) == {"bob": ["POST_MORTEM"]}
    found = world.row("post_mortem_settlement", pack_id=pack_id)
    assert (found["fail_reason_code"], found["detail"]) == (told, "none was recorded")
    assert world.row("settlement_packs", pack_id=pack_id)["fail_reason_code"] == code, "the pack stays as it was"


def test_a_terminal_pack_that_the_log_does_not_know_is_named_and_no_row_is_made_up() -> None:
    world = settled()
    pack_id = world.row("settlement_packs", entry_id="c1-cyd")["pack_id"]
    with importing(world):
        world.connection.execute("delete from outcome_settlement_log where pack_id = ?", (pack_id,))
    assert results(backfill(world)) == {"cyd": ["UNLOGGED"]}
    assert len(world.rows("select * from outcome_settlement_log")) == 2


def test_a_pack_that_waits_is_linked_in_time_and_then_executed() -> None:
    world, daemon = ready()
    cut(world, daemon, "settlement.open")
    unlink(world, "ann", "bob", "cyd")
    assert results(backfill(world)) == {user: ["LINKED"] for user in WINNERS}
    world.runtime.at += LEASE_MS
    world.work(world.life(SettlementService))
    assert world.status() == "SETTLED"
    assert {user: world.prize_payable(user) for user in WINNERS} == WINNERS


def test_a_total_that_contradicts_its_rows_cannot_be_told() -> None:
    world = settled()
    unlink(world, "ann", "bob", "cyd")
    outcome = world.row("outcomes", entry_id="c1-ann")["outcome_id"]
    bob = world.row("settlement_packs", entry_id="c1-bob")["pack_id"]
    world.connection.execute("insert into outcome_pack_links values (?, ?, 0)", (bob, outcome))
    evidence = backfill(world)
    counted = Counter(row["result"] for row in evidence["rows"])
    assert evidence["totals"] == {
        "packs": 2, "LINKED": 1, "COLLISION": 1, "OUTCOME_MISSING": 0, "POST_MORTEM": 0, "UNLOGGED": 0,
    }  # fmt: skip
    assert {name: evidence["totals"][name] for name in counted} == counted
    body = {name: value for name, value in evidence.items() if name != "sha256"}
    assert sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest() == evidence["sha256"]
    assert orjson.loads(world.audited("settlement.backfill")[0]["after"])["sha256"] == evidence["sha256"]
