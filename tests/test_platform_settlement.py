"""The settlement daemon: official scores become outcomes, packs, prizes and a record, each at its time."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from contest_platform import checkpoints, ledger
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.services import settlement_runs
from contest_platform.services.contests import ContestsService
from contest_platform.services.settlement import SettlementService
from contest_platform.services.settlement_lease import LEASE_MS
from tests.support.contest_world import CTX, CUTOFF_AT, LOCK_AT, OVER_AT, ContestWorld
from tests.support.settlement_world import CARDS, ENTRIES, WINNERS, complete, cut, ready, settled
from tests.support.stores import on_each_store

pytestmark = on_each_store

# --- when -------------------------------------------------------------------------------------------------------------


def test_nothing_is_settled_before_the_cutoff() -> None:
    world, daemon = ready()
    world.runtime.at = CUTOFF_AT - 1
    assert world.due(daemon) == CUTOFF_AT
    world.work(daemon)
    assert (world.status(), world.rows("select * from settlement_packs")) == ("COMPLETE", [])


@pytest.mark.parametrize("begun_at", [None, CUTOFF_AT - 1, CUTOFF_AT])
def test_settlement_waits_for_a_full_poll_that_began_after_the_cutoff(begun_at: int | None) -> None:
    world = complete()
    if begun_at is not None:
        world.full_poll(begun_at)
    daemon = world.life(SettlementService)
    world.runtime.at = CUTOFF_AT + 5 * HOUR_MS
    assert world.due(daemon) is None
    world.work(daemon)
    assert world.status() == "COMPLETE"
    world.full_poll()
    assert world.due(daemon) == world.runtime.at
    world.work(daemon)
    assert world.status() == "SETTLED"


def test_settlement_waits_until_the_entries_are_final() -> None:
    world, daemon = ready()
    world.write(lambda tx: checkpoints.remove(tx, "entries_final:c1"))
    world.work(daemon)
    assert world.status() == "COMPLETE"


def test_the_daemon_looks_every_five_minutes() -> None:
    world, daemon = ready()
    world.runtime.at = CUTOFF_AT + 1
    world.step(daemon)
    assert (world.status(), world.runtime.at) == ("SETTLED", CUTOFF_AT + 5 * MINUTE_MS)


def test_a_settled_contest_wakes_the_payouts_and_is_left_alone() -> None:
    world, daemon = ready()
    world.work(daemon)
    assert world.row("contests", contest_id="c1")["settled_at"] == CUTOFF_AT
    assert world.signals.seen("payouts") == 1
    assert world.due(daemon) is None
    story = world.story()
    world.work(daemon)
    assert world.story() == story


# --- what -------------------------------------------------------------------------------------------------------------


def test_every_valid_entry_gets_an_outcome_a_pack_and_a_link() -> None:
    world = settled()
    found = world.rows(
        "select p.entry_id, p.status, o.score, o.place, o.prize_cents, o.tie_break from settlement_packs p"
        " join outcome_pack_links l on l.pack_id = p.pack_id join outcomes o on o.outcome_id = l.outcome_id"
        " and o.entry_id = p.entry_id order by p.entry_id"
    )
    assert [tuple(row.values()) for row in found] == [
        ("c1-ann", "EXECUTED", 0, 1, 1_350, None),
        ("c1-bob", "EXECUTED", 1, 2, 810, None),
        ("c1-cyd", "EXECUTED", 2, 3, 540, None),
    ]


def test_an_entry_that_is_not_valid_has_no_part_in_it() -> None:
    world = ContestWorld()
    world.offer()
    for user, golfer in ENTRIES.items():
        world.enter(user, golfer, captured_at=None if user == "ann" else LOCK_AT - HOUR_MS)
    world.played(world.life(ContestsService), CARDS)
    world.full_poll()
    world.work(world.life(SettlementService))
    assert [row["entry_id"] for row in world.rows("select entry_id from settlement_packs order by 1")] == [
        "c1-bob", "c1-cyd",
    ]  # fmt: skip


def test_the_fees_become_prizes_and_rake_and_escrow_is_empty() -> None:
    assert settled().balances() == {
        ledger.PENDING: 3_000,
        ledger.rake("c1"): -300,
        **{ledger.prize_payable("c1", user): -cents for user, cents in WINNERS.items()},
    }


def test_the_platform_pays_what_the_guarantee_lacks() -> None:
    world = settled(guaranteed_cents=5_000)
    assert world.balances() == {
        ledger.PENDING: 3_000,
        ledger.rake("c1"): -300,
        ledger.overlay("c1"): 2_300,
        ledger.prize_payable("c1", "ann"): -2_500,
        ledger.prize_payable("c1", "bob"): -1_500,
        ledger.prize_payable("c1", "cyd"): -1_000,
    }


def test_tied_entries_share_and_the_odd_cent_goes_by_the_recorded_tie_break() -> None:
    world = settled({"ann": "g1", "bob": "g2", "cyd": "g2"}, prize_shares_bp=[5_000, 2_501, 2_499], rake_bp=0)
    found = world.rows("select place, prize_cents, tie_break from outcomes order by entry_id")
    assert [tuple(row.values()) for row in found] == [(1, 1_500, None), (2, 750, 1), (2, 750, 2)]
    world = settled({"ann": "g2", "bob": "g2", "cyd": "g2"}, rake_bp=0, fee_cents=100)
    assert [row["prize_cents"] for row in world.rows("select prize_cents from outcomes order by entry_id")] == [100] * 3
    world = settled({"ann": "g2", "bob": "g2", "cyd": "g2"}, guaranteed_cents=1_001, fee_cents=100)
    found = world.rows("select prize_cents, tie_break from outcomes order by entry_id")
    assert [tuple(row.values()) for row in found] == [(334, 1), (334, 2), (333, 3)]
    assert ledger.escrow("c1") not in world.balances()


def test_nothing_is_posted_for_a_prize_of_nothing() -> None:
    world = settled(prize_shares_bp=[10_000])
    assert len(world.rows("select * from settlement_packs where status = 'EXECUTED'")) == 3
    assert len(world.rows("select * from ledger_transactions where kind = 'prize'")) == 1
    assert world.rows("select * from ledger_transactions where kind in ('overlay', 'unexecuted')") == []


def test_corrections_count_up_to_the_cutoff_and_not_after() -> None:
    world, daemon = ready()
    world.scored({"g3": (3, 3, 4)}, CUTOFF_AT, verdict="CORRECTION")
    world.scored({"g2": (1, 1, 1)}, CUTOFF_AT + 1, verdict="CORRECTION")
    world.runtime.at = CUTOFF_AT + HOUR_MS
    world.work(daemon)
    found = world.rows("select entry_id, score, prize_cents from outcomes order by place")
    assert [tuple(row.values()) for row in found] == [("c1-cyd", -2, 1_350), ("c1-ann", 0, 810), ("c1-bob", 1, 540)]


@pytest.mark.parametrize("verdict", ["QUARANTINE", "REJECT", "DUPLICATE"])
def test_a_score_that_was_not_admitted_does_not_count(verdict: str) -> None:
    world, daemon = ready()
    world.scored({"g3": (1, 1, 1)}, OVER_AT, verdict=verdict)
    world.work(daemon)
    assert world.row("outcomes", entry_id="c1-cyd")["score"] == 2


def test_an_outsider_recomputes_the_scores_hash_and_the_evidence_hash() -> None:
    world = settled()
    played = [[golfer, 1, hole, s] for golfer, card in sorted(CARDS.items()) for hole, s in enumerate(card, 1)]
    scores_hash = sha256(json.dumps(played, separators=(",", ":")).encode()).hexdigest()
    found = world.rows(
        "select p.pack_id, p.contest_id, p.entry_id, g.outcome_id, o.score, o.place, o.prize_cents, o.scores_hash,"
        " g.settlement_evidence_hash as stated from outcome_settlement_log g"
        " join settlement_packs p on p.pack_id = g.pack_id join outcomes o on o.outcome_id = g.outcome_id"
    )
    assert len(found) == 3
    for row in found:
        stated = row.pop("stated")
        assert row["scores_hash"] == scores_hash
        assert sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).hexdigest() == stated


def test_every_end_of_a_pack_is_in_the_settlement_log_under_the_daemons_name() -> None:
    world = settled()
    holder = world.row("leases", name="settlement")["holder"]
    assert holder.startswith("system:settlement:")
    for row in world.rows("select * from outcome_settlement_log"):
        pack = world.row("settlement_packs", pack_id=row["pack_id"])
        assert (row["prior_status"], row["new_status"]) == ("PENDING", pack["status"])
        assert (row["settled_by"], row["settled_at"]) == (holder, CUTOFF_AT)
        assert (pack["settled_by"], pack["terminalized_at"], pack["lease_epoch"]) == (holder, CUTOFF_AT, 1)
    assert {row["actor"] for row in world.audited("settlement_packs.update")} == {"system:settlement"}


def test_the_run_is_on_record() -> None:
    run = settled().row("settlement_audit", contest_id="c1")
    assert (run["status"], run["packs"], run["error_json"]) == ("SUCCEEDED", 3, None)
    assert (run["started_at"], run["finished_at"]) == (CUTOFF_AT, CUTOFF_AT)


# --- packs that cannot be executed ------------------------------------------------------------------------------------


def opened(break_it: Callable[[ContestWorld], Any]) -> ContestWorld:
    """Packs are created, the daemon dies, something is broken, and the next daemon goes on."""
    world, daemon = ready()
    cut(world, daemon, "settlement.open")
    break_it(world)
    world.runtime.at += LEASE_MS
    world.work(world.life(SettlementService))
    return world


def pack_of(world: ContestWorld, user: str) -> dict[str, Any]:
    return world.row("settlement_packs", entry_id=f"c1-{user}")


def test_a_pack_without_a_link_is_orphaned_with_a_post_mortem_and_its_money_kept_apart() -> None:
    world = opened(
        lambda w: w.connection.execute(
            "delete from outcome_pack_links where pack_id = ?", (pack_of(w, "bob")["pack_id"],)
        )
    )
    pack = pack_of(world, "bob")
    assert (pack["status"], pack["fail_reason_code"]) == ("ORPHANED_OUTCOME_MISSING", "outcome_missing")
    assert pack["pack_id"] in pack["fail_reason_detail"]
    post_mortem = world.row("post_mortem_settlement", pack_id=pack["pack_id"])
    assert (post_mortem["fail_reason_code"], post_mortem["detail"]) == ("outcome_missing", pack["fail_reason_detail"])
    [log] = world.rows("select * from outcome_settlement_log where pack_id = ?", pack["pack_id"])
    assert (log["new_status"], log["outcome_id"]) == ("ORPHANED_OUTCOME_MISSING", None)
    body = dict.fromkeys(("outcome_id", "score", "place", "prize_cents", "scores_hash"))
    body |= {"pack_id": pack["pack_id"], "contest_id": "c1", "entry_id": "c1-bob"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert sha256(text.encode()).hexdigest() == log["settlement_evidence_hash"]
    assert world.status() == "SETTLED"
    assert world.balances() == {
        ledger.PENDING: 3_000,
        ledger.rake("c1"): -300,
        ledger.prize_payable("c1", "ann"): -1_350,
        ledger.prize_payable("c1", "cyd"): -540,
        ledger.unexecuted("c1"): -810,
    }
    assert world.row("ledger_transactions", business_key=f"unexecuted:{pack['pack_id']}")["kind"] == "unexecuted"


def test_a_pack_whose_outcome_is_not_found_is_told_without_it_so_that_its_hash_recomputes() -> None:
    world = opened(lambda w: w.connection.execute("delete from outcomes where entry_id = 'c1-cyd'"))
    pack = pack_of(world, "cyd")
    assert pack["status"] == "ORPHANED_OUTCOME_MISSING"
    assert "no such outcome is found" in pack["fail_reason_detail"]
    [log] = world.rows("select * from outcome_settlement_log where pack_id = ?", pack["pack_id"])
    assert log["outcome_id"] is None
    body = dict.fromkeys(("outcome_id", "score", "place", "prize_cents", "scores_hash"))
    body |= {"pack_id": pack["pack_id"], "contest_id": "c1", "entry_id": "c1-cyd"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert sha256(text.encode()).hexdigest() == log["settlement_evidence_hash"]


def test_a_pack_that_is_linked_to_somebody_elses_outcome_fails_and_pays_nobody() -> None:
    def swap(world: ContestWorld) -> None:
        outcome = world.row("outcomes", entry_id="c1-ann")["outcome_id"]
        ann, cyd = pack_of(world, "ann")["pack_id"], pack_of(world, "cyd")["pack_id"]
        world.connection.execute("delete from outcome_pack_links where pack_id in (?, ?)", (ann, cyd))
        world.connection.execute("insert into outcome_pack_links values (?, ?, ?)", (cyd, outcome, 0))

    world = opened(swap)
    assert [pack_of(world, user)["status"] for user in ENTRIES] == ["ORPHANED_OUTCOME_MISSING", "EXECUTED", "FAILED"]
    assert pack_of(world, "cyd")["fail_reason_code"] == "outcome_inapplicable"
    assert "c1-ann" in pack_of(world, "cyd")["fail_reason_detail"]
    assert [world.prize_payable(user) for user in ENTRIES] == [0, 810, 0]
    assert world.balances()[ledger.unexecuted("c1")] == -(1_350 + 540)
    assert len(world.rows("select * from post_mortem_settlement")) == 2


def test_a_contest_whose_money_does_not_come_out_is_not_settled() -> None:
    def lose(world: ContestWorld) -> None:
        world.connection.execute("delete from outcome_pack_links")
        world.connection.execute("delete from outcomes where entry_id = 'c1-ann'")

    world = opened(lose)
    assert (world.status(), world.row("contests", contest_id="c1")["error_code"]) == ("ERROR", "settlement_impossible")
    [run] = world.rows("select * from settlement_audit")
    assert run["status"] == "FAILED"
    assert json.loads(run["error_json"]) == {
        "code": "settlement_impossible",
        "detail": "every pack is terminal, and 1350 cents are left in escrow",
    }


def test_a_contest_whose_rules_cannot_be_applied_is_an_error_and_holds_up_no_other() -> None:
    world = ContestWorld()
    world.offer("c1")
    world.offer("c2")
    for contest in ("c1", "c2"):
        for user, golfer in ENTRIES.items():
            world.enter(user, golfer, contest)
    world.played(world.life(ContestsService), CARDS)
    world.full_poll()
    world.connection.execute("update contests set prize_shares_bp = '[1]' where contest_id = 'c1'")
    daemon = world.life(SettlementService)
    world.work(daemon)
    assert (world.status("c1"), world.status("c2")) == ("ERROR", "SETTLED")
    assert world.rows("select * from settlement_packs where contest_id = 'c1'") == []
    run = world.row("settlement_audit", contest_id="c1")
    assert run["status"] == "FAILED"
    assert "prize shares" in json.loads(run["error_json"])["detail"]
    assert world.due(daemon) is None


@pytest.mark.parametrize("step", ["settlement.open", "settlement.execute", "settlement.close"])
def test_a_contest_that_cannot_be_read_is_given_up_and_settled_once_when_it_is_run_again(step: str) -> None:
    world, daemon = ready()
    world.store.damaged = lambda operation: operation == step
    world.work(daemon)
    contest, run = world.row("contests", contest_id="c1"), world.row("settlement_audit", contest_id="c1")
    assert (contest["status"], contest["error_code"], run["status"]) == ("ERROR", "settlement_impossible", "FAILED")
    assert json.loads(run["error_json"])["detail"] == f"data_corrupted in {step}"
    assert world.due(daemon) is None, "nobody tries it again unasked"
    world.store.damaged = lambda _: False
    world.runtime.at += MINUTE_MS
    assert world.write(lambda tx: settlement_runs.again(tx, CTX, "c1", "it is read again")) is True
    world.work(daemon)
    assert world.status() == "SETTLED"
    assert {user: world.prize_payable(user) for user in WINNERS} == WINNERS
    assert len(world.rows("select * from outcome_settlement_log")) == len(ENTRIES)
    runs = world.rows("select status from settlement_audit order by started_at")
    assert [run["status"] for run in runs] == ["FAILED", "SUCCEEDED"]
