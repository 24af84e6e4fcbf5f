"""Faults are declared as data, bound to what is guaranteed, and act exactly where they were bound."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
from pydantic import ValidationError

import fault_injectors
from evidence.plan import FaultPlan
from evidence.schemas import BOOKS
from fault_injectors import DeclarationError, bind, build, check, index, registry
from fault_injectors.moments import DAY_MS, HOUR_MS, MINUTE_MS
from fault_injectors.winrm.exchanges import LOGON_FAILURE
from seams.bus import SeamBus
from seams.catalogue import LEVERS, SEAMS
from seams.draws import Draws
from seams.faults import Binding, BiteSpec, Call, Delay, Effect, Fault, LoseAnswer, RecoverySpec, Refuse
from tests.support.command import ROOT

DOCUMENTED = Path(__file__).resolve().parents[1] / "docs" / "faults-of-webhooks-and-provider.md"
START = 1_799_107_200_000
PLAY = (START + 3 * DAY_MS, START + 3 * DAY_MS + 10 * HOUR_MS)
PAID_AT = START + 2 * DAY_MS + 9 * HOUR_MS
SETTLED = START + 5 * DAY_MS


@dataclass
class Offer:
    """What a plan might guarantee."""

    starts_at: int = START
    absence_until_at: int = START + 14 * DAY_MS
    some_transfers: list[tuple[str, int]] = field(default_factory=lambda: [("c1", 3), ("c2", 0), ("c3", 1)])
    some_payments: list[tuple[str, int]] = field(
        default_factory=lambda: [("c1/u1", PAID_AT), ("c1/u2", PAID_AT + 1), ("c2/u1", PAID_AT + 2)]
    )
    some_play: list[tuple[str, int, int]] = field(
        default_factory=lambda: [("t1", *PLAY), ("t2", PLAY[0], PLAY[0] + 20 * MINUTE_MS)]
    )
    some_correctable: list[tuple[str, str, int, int, int, int]] = field(
        default_factory=lambda: [("t1", "g1", 4, 17, 1, PLAY[1]), ("t1", "g2", 1, 1, 4, PLAY[1])]
    )
    some_unpaid: list[tuple[str, int, int]] = field(
        default_factory=lambda: [("c1/u3", START + HOUR_MS, START + 3 * HOUR_MS), ("c1/u4", START, START + MINUTE_MS)]
    )
    some_refunds: list[tuple[str, int]] = field(default_factory=lambda: [("c2/u1", PAID_AT + 2), ("c2/u9", PAID_AT)])
    some_cutoffs: list[tuple[str, int]] = field(default_factory=lambda: [("t1", PLAY[1] + DAY_MS)])
    some_also_rans: list[tuple[str, str, int, int]] = field(
        default_factory=lambda: [("t1", "g8", *PLAY), ("t1", "g9", PLAY[0] + HOUR_MS, PLAY[1])]
    )
    some_before_last_round: list[tuple[str, str, int]] = field(
        default_factory=lambda: [("t1", "g1", PLAY[0]), ("t1", "g2", PLAY[0])]
    )
    some_locks: list[tuple[str, int]] = field(default_factory=lambda: [("c1", PLAY[0] - HOUR_MS), ("c3", PLAY[0])])
    some_settlements: list[tuple[str, int, int]] = field(
        default_factory=lambda: [("c1", SETTLED, SETTLED + HOUR_MS), ("c3", SETTLED + DAY_MS, SETTLED + 25 * HOUR_MS)]
    )
    some_winners: list[tuple[str, str]] = field(default_factory=lambda: [("c1", "u1"), ("c1", "u2")])
    some_withdrawable: list[tuple[str, int, int]] = field(
        default_factory=lambda: [("c1/u1", PAID_AT + HOUR_MS, PAID_AT + 5 * HOUR_MS), ("c1/u2", PAID_AT, PAID_AT)]
    )
    some_founders: list[str] = field(default_factory=lambda: ["founder:ada"])
    some_engineers: list[str] = field(default_factory=lambda: ["engineer:grace"])
    some_on_call: list[str] = field(default_factory=lambda: ["ops:kim"])
    some_cancellations: list[str] = field(default_factory=lambda: ["c1/u3", "c3/u3"])
    some_payouts: list[tuple[str, int]] = field(
        default_factory=lambda: [("c1", PLAY[1] + DAY_MS), ("c3", PLAY[1] + DAY_MS)]
    )
    some_transactions: list[tuple[str, int]] = field(default_factory=lambda: [("payouts.paid", 2), ("users.x", 1)])

    def transfers(self) -> list[tuple[str, int]]:
        return self.some_transfers

    def payments(self) -> list[tuple[str, int]]:
        return self.some_payments

    def play(self) -> list[tuple[str, int, int]]:
        return self.some_play

    def correctable(self) -> list[tuple[str, str, int, int, int, int]]:
        return self.some_correctable

    def unpaid(self) -> list[tuple[str, int, int]]:
        return self.some_unpaid

    def withdrawable(self) -> list[tuple[str, int, int]]:
        return self.some_withdrawable

    def refunds(self) -> list[tuple[str, int]]:
        return self.some_refunds

    def cancelled(self) -> list[tuple[str, int]]:
        contests = dict.fromkeys(who.partition("/")[0] for who, _ in self.some_refunds)
        return [(contest_id, START + 2 * 86_400_000) for contest_id in contests]

    def cutoffs(self) -> list[tuple[str, int]]:
        return self.some_cutoffs

    def also_rans(self) -> list[tuple[str, str, int, int]]:
        return self.some_also_rans

    def before_last_round(self) -> list[tuple[str, str, int]]:
        return self.some_before_last_round

    def locks(self) -> list[tuple[str, int]]:
        return self.some_locks

    def settlements(self) -> list[tuple[str, int, int]]:
        return self.some_settlements

    def winners(self) -> list[tuple[str, str]]:
        return self.some_winners

    def founders(self) -> list[str]:
        return self.some_founders

    def engineers(self) -> list[str]:
        return self.some_engineers

    def on_call(self) -> list[str]:
        return self.some_on_call

    def cancellations(self) -> list[str]:
        return self.some_cancellations

    def payouts(self) -> list[tuple[str, int]]:
        return self.some_payouts

    def transactions(self) -> list[tuple[str, int]]:
        return self.some_transactions


NOTHING = Offer(**{item.name: [] for item in fields(Offer) if item.name.startswith("some_")})
IDS = sorted(registry())
ALL = [pytest.param(id, cls, id=id) for id, cls in registry().items()]
KEYS = [f"{n:032x}" for n in range(60)]


NEXT_DAY = tuple(at + DAY_MS for at in PLAY)
PECULIAR: dict[str, dict[str, Any]] = {
    "corrections.next_day": {"some_play": [("t1", *PLAY), ("t1", *NEXT_DAY)]},
}
"""What a fault asks for that no other does."""


def bound(fault: str, key: str, **given: Any) -> tuple[Binding, dict[str, Any]]:
    result = bind(fault, Offer(**PECULIAR.get(fault, {})), Draws(key), given)
    assert result is not None
    return result


def crossings(fault: Fault, calls: list[tuple[int, str]]) -> list[tuple[int, str, Effect]]:
    """Send `calls` (at, entity) through a bus with `fault` on it: (at, entity, effect) of those that it befell."""
    now = [0]
    noted: list[tuple[int, str, Effect]] = []

    def note(call: Call, by: Fault, effect: Effect, victim: str) -> None:
        assert by is fault
        assert victim == "the key"
        noted.append((call.at, call.entity, effect))

    bus = SeamBus([fault], lambda: now[0], note)
    for at, entity in calls:
        now[0] = at
        bus.consult(fault.seam, fault.operation, entity, "the key")
    return noted


# --- declarations -----------------------------------------------------------------------------------------------


def test_the_registry_holds_every_family_in_the_order_of_the_ids() -> None:
    assert list(registry()) == IDS
    modules = {module.name for module in iter_modules(fault_injectors.__path__)}
    assert {id.partition(".")[0] for id in IDS} == modules - {"moments", "tables"}


@pytest.mark.parametrize(("id", "cls"), ALL)
def test_a_fault_declares_a_bite_that_the_schemas_know(id: str, cls: type[Fault]) -> None:
    book = BOOKS[cls.bite.book]
    assert [column for column in cls.bite.where if column not in book.columns] == []
    assert cls.bite.at_least >= 1


@pytest.mark.parametrize(("id", "cls"), ALL)
def test_a_fault_says_in_sentences_what_it_imitates_and_what_it_exercises(id: str, cls: type[Fault]) -> None:
    for text in (cls.imitates, cls.exercises, cls.recovery.how):
        assert text.endswith(".")
        assert len(text) > 30
    assert "(" in cls.imitates or "API reference" in cls.imitates, "the behaviour needs its source"
    assert cls.recovery.by == "none" or cls.recovery.within_s > 0


@pytest.mark.parametrize(("id", "cls"), ALL)
def test_a_bound_fault_fits_the_plan_and_survives_its_json(id: str, cls: type[Fault]) -> None:
    binding, params = bound(id, KEYS[0])
    plan = FaultPlan(
        id="f1", fault=id, kind=cls.kind, title=cls.title, seam=cls.seam, operation=cls.operation,
        entity=binding.entity, occurrence=binding.occurrence, from_at=binding.from_at, until_at=binding.until_at,
        params=params,
        bite={"book": cls.bite.book, "where": dict(cls.bite.where)},
        recovery={"by": cls.recovery.by, "how": cls.recovery.how, "within_s": cls.recovery.within_s},
    )  # fmt: skip
    read = FaultPlan.model_validate_json(plan.model_dump_json())
    again = build(read.fault, read.id, Binding(read.entity, read.occurrence, read.from_at, read.until_at), read.params)
    first = build(id, "f1", binding, params)
    assert again.params == first.params
    assert list(again.actions()) == list(first.actions())


class Sound(Fault):
    """A declaration without a flaw, for the flaws below to be made in."""

    __module__ = "fault_injectors.webhooks"
    id = "webhooks.sound"
    title = "a title"
    seam = "provider"
    operation = "poll"
    imitates = "something real (its source)"
    exercises = "something"
    recovery = RecoverySpec("itself", "somehow", 60)
    bite = BiteSpec("provider.requests", {"n": "$victim"})

    def effect(self, call: Call) -> Effect | None:
        return Refuse(503)


@pytest.mark.parametrize(
    ("flaw", "says"),
    [
        ({"title": ""}, "does not declare title"),
        ({"imitates": ""}, "does not declare imitates"),
        ({"id": "sound"}, "the id 'sound'"),
        ({"id": "provider.sound"}, "is not 'webhooks.…'"),
        ({"seam": "telepathy"}, "telepathy/poll"),
        ({"operation": "push"}, "provider/push"),
        ({"also": (("webhook", "push"),)}, "webhook/push"),
        ({"effect": Fault.effect}, "define effect"),
        ({"seam": "services", "operation": "crash"}, "define actions"),
        ({"bite": BiteSpec("provider.requests", {"status": 503})}, "neither \\$victim nor \\$entity"),
        ({"kind": "violation"}, "nothing recovers from a violation"),
        ({"recovery": RecoverySpec("none", "nobody", 0)}, "nothing recovers from a violation"),
    ],
)
def test_a_flawed_declaration_is_refused_and_named(flaw: dict[str, Any], says: str) -> None:
    check(Sound)
    with pytest.raises(DeclarationError, match=says):
        check(type("Flawed", (Sound,), {"__module__": Sound.__module__, **flaw}))


def test_one_id_for_two_classes_is_refused() -> None:
    twin = type("Twin", (Sound,), {"__module__": Sound.__module__})
    with pytest.raises(DeclarationError, match=r"webhooks\.sound is defined by Sound and by Twin"):
        index([Sound, twin])


def test_a_fault_is_found_by_being_in_a_module_of_the_package(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weather.py").write_text(
        "from fault_injectors.provider import Outage\n\n\nclass Storm(Outage):\n    id = 'weather.storm'\n"
    )
    monkeypatch.setattr(fault_injectors, "__path__", [*fault_injectors.__path__, str(tmp_path)])
    fault_injectors._registry.cache_clear()
    try:
        assert sorted(registry()) == sorted([*IDS, "weather.storm"])
    finally:
        fault_injectors._registry.cache_clear()


# --- parameters -------------------------------------------------------------------------------------------------


def test_parameters_left_open_are_drawn_over_their_whole_range() -> None:
    assert {bound("webhooks.duplicate", key)[1]["times"] for key in KEYS} == {1, 2, 3}
    assert {bound("winrm.refused", key)[1]["refusals"] for key in KEYS} == {2, 3, 4}
    delays = {bound("webhooks.delayed", key)[1]["delay_h"] for key in KEYS}
    assert min(delays) < 8
    assert max(delays) > 54
    assert all(2 <= delay <= 60 for delay in delays)


def test_parameters_given_are_kept_and_move_no_other_draw() -> None:
    drawn, given = bound("webhooks.duplicate", KEYS[1]), bound("webhooks.duplicate", KEYS[1], times=2)
    assert given[1]["times"] == 2
    assert given[1]["gap_s"] == drawn[1]["gap_s"]
    assert given[0] == drawn[0]


@pytest.mark.parametrize("given", [{"times": 4}, {"times": "often"}, {"tmies": 2}])
def test_parameters_that_do_not_fit_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        bind("webhooks.duplicate", Offer(), Draws(KEYS[0]), given)


# --- bindings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", IDS)
def test_a_binding_depends_on_the_key_and_on_nothing_else(id: str) -> None:
    assert [bound(id, key) for key in KEYS] == [bound(id, key) for key in KEYS]
    assert len({repr(bound(id, key)) for key in KEYS}) > 1


@pytest.mark.parametrize("id", IDS)
def test_where_nothing_is_guaranteed_nothing_is_bound(id: str) -> None:
    assert bind(id, NOTHING, Draws(KEYS[0]), {}) is None


@pytest.mark.parametrize("id", ["timeouts.transfer_request_lost", "timeouts.transfer_answer_lost"])
def test_a_lost_transfer_is_one_that_is_bound_to_be_created(id: str) -> None:
    chosen = {(binding.entity, binding.occurrence) for binding, _ in (bound(id, key) for key in KEYS)}
    assert chosen == {("c1", 1), ("c1", 2), ("c1", 3), ("c3", 1)}


@pytest.mark.parametrize(
    "id",
    ["webhooks.duplicate", "webhooks.twin", "webhooks.storm", "webhooks.delayed", "webhooks.lost",
     "endpoint.stale_signature"],
)  # fmt: skip
def test_a_webhook_fault_befalls_a_payment_that_will_be_captured(id: str) -> None:
    chosen = {(binding.entity, binding.occurrence) for binding, _ in (bound(id, key) for key in KEYS)}
    assert chosen == {("c1/u1", 1), ("c1/u2", 1), ("c2/u1", 1)}


@pytest.mark.parametrize(("id", "won"), [("customers.chargeback_lost", False), ("customers.chargeback_won", True)])
def test_a_dispute_is_about_a_payment_of_a_contest_that_runs_and_is_decided_in_time(id: str, won: bool) -> None:
    for key in KEYS:
        binding, params = bound(id, key)
        opens, closes = build(id, "f1", binding, params).actions()
        assert (opens.lever, closes.lever, closes.params) == ("bank.dispute", "bank.decide", {"won": won})
        assert opens.entity == closes.entity in ("c1/u1", "c1/u2")
        assert opens.at >= PAID_AT + params["after_h"] * HOUR_MS
        assert closes.at - opens.at == params["decided_after_h"] * HOUR_MS
        assert closes.at <= Offer().absence_until_at - DAY_MS
    late = Offer(some_payments=[("c1/u1", START + 10 * DAY_MS)])
    assert bind(id, late, Draws(KEYS[0]), {}) is None


def test_a_fee_is_asked_back_while_that_may_be_done() -> None:
    for key in KEYS:
        [action] = build("customers.refund_requested", "f1", *bound("customers.refund_requested", key)).actions()
        assert action.lever == "entrants.withdraw"
        from_at, until_at = {entity: span for entity, *span in Offer().withdrawable()}[action.entity]
        assert from_at <= action.at <= until_at


@pytest.mark.parametrize("id", ["webhooks.out_of_order", "webhooks.before_row"])
def test_a_fault_of_refunds_befalls_a_payment_that_will_be_refunded(id: str) -> None:
    chosen = {(binding.entity, binding.occurrence) for binding, _ in (bound(id, key) for key in KEYS)}
    assert chosen == {("c2/u1", 1), ("c2/u9", 1)}


def test_a_webhook_is_forged_while_its_entry_is_unpaid_and_there_is_time_for_it() -> None:
    for key in KEYS:
        binding, params = bound("endpoint.forged_signature", key)
        [action] = build("endpoint.forged_signature", "f1", binding, params).actions()
        assert (action.lever, action.entity) == ("attacker.forge", "c1/u3")
        assert START + HOUR_MS <= action.at <= START + 3 * HOUR_MS - 5 * MINUTE_MS


def test_a_replay_comes_when_its_signature_is_too_old() -> None:
    for key in KEYS:
        binding, params = bound("endpoint.stale_signature", key)
        effect: Any = build("endpoint.stale_signature", "f1", binding, params).effect(
            Call("webhook", "deliver", str(binding.entity), 1, 0)
        )
        assert 300_000 < effect.after_ms == params["after_min"] * MINUTE_MS


def test_the_old_secret_has_ended_when_the_bound_payment_is_made() -> None:
    late = Offer(some_payments=[("c1/u1", START + 25 * HOUR_MS), ("c1/u2", START + 60 * HOUR_MS)])
    for key in KEYS:
        result = bind("endpoint.secret_rotation", late, Draws(key), {})
        assert result is not None
        [action] = build("endpoint.secret_rotation", "f1", *result).actions()
        assert (action.lever, action.entity) == ("processor.roll_secret", "c1/u2")
        assert action.at < START + 60 * HOUR_MS - DAY_MS
    soon = Offer(some_payments=[("c1/u1", START + 25 * HOUR_MS)])
    assert bind("endpoint.secret_rotation", soon, Draws(KEYS[0]), {}) is None


def test_the_endpoint_is_down_when_a_payment_is_told_of() -> None:
    for key in KEYS:
        binding, params = bound("endpoint.down", key)
        assert binding.from_at is not None
        assert binding.until_at is not None
        assert binding.entity is None
        assert binding.until_at - binding.from_at == params["down_h"] * HOUR_MS
        assert any(binding.from_at <= at < binding.until_at - HOUR_MS for _, at in Offer().payments())
        down = build("endpoint.down", "f1", binding, params)
        befallen = crossings(
            down, [(binding.from_at - 1, "c1/u1"), (binding.from_at, "c1/u1"), (binding.until_at, "c1/u1")]
        )
        assert [(at, effect) for at, _, effect in befallen] == [(binding.from_at, Refuse(503))]


LIES = [f"provider.{kind}" for kind in ("empty", "wrong_event", "scrambled", "garbled", "malformed", "stale")]


@pytest.mark.parametrize(("id", "length"), [("provider.outage", "outage_min"), *[(id, "lasts_min") for id in LIES]])
def test_an_outage_lies_within_one_window_of_play(id: str, length: str) -> None:
    for key in KEYS:
        binding, params = bound(id, key)
        assert binding.from_at is not None
        assert binding.until_at is not None
        assert binding.entity == "t1"
        assert PLAY[0] <= binding.from_at < binding.until_at < PLAY[1]
        assert binding.until_at - binding.from_at == params[length] * MINUTE_MS
    assert bind(id, Offer(some_play=[("t2", START, START + 30 * MINUTE_MS)]), Draws(KEYS[0]), {}) is None


def test_a_correction_changes_one_hole_by_one_stroke_after_the_end() -> None:
    seen = set()
    for key in KEYS:
        binding, params = bound("provider.correction", key)
        [action] = build("provider.correction", "f1", binding, params).actions()
        assert action.at == PLAY[1] + params["after_min"] * MINUTE_MS
        assert action.lever == "provider.correct"
        assert set(action.params) == {"round", "hole", "strokes"}
        seen.add((action.entity, *action.params.values()))
    assert seen == {("t1/g1", 4, 17, 2), ("t1/g2", 1, 1, 3), ("t1/g2", 1, 1, 5)}


def test_a_reverted_correction_ends_where_it_began() -> None:
    for key in KEYS:
        binding, params = bound("corrections.reverted", key)
        there, back = build("corrections.reverted", "f1", binding, params).actions()
        cell = next(cell for cell in Offer().correctable() if f"{cell[0]}/{cell[1]}" == binding.entity)
        assert PLAY[1] < there.at < back.at < PLAY[1] + 12 * HOUR_MS
        assert abs(there.params["strokes"] - cell[4]) == 1
        assert back.params == {"round": cell[2], "hole": cell[3], "strokes": cell[4]}
        assert (there.lever, there.entity) == (back.lever, back.entity) == ("provider.correct", binding.entity)


@pytest.mark.parametrize(
    ("id", "least_ms", "most_ms"),
    [
        ("corrections.after_cutoff", 2 * MINUTE_MS, 18 * MINUTE_MS),
        ("golfers.disqualified_late", 2 * MINUTE_MS, 18 * MINUTE_MS),
        ("corrections.after_settled", 3 * HOUR_MS, 12 * HOUR_MS),
    ],
)
def test_what_is_late_comes_after_every_cut_off_of_its_tournament(id: str, least_ms: int, most_ms: int) -> None:
    for key in KEYS:
        [action] = build(id, "f1", *bound(id, key)).actions()
        assert least_ms <= action.at - (PLAY[1] + DAY_MS) <= most_ms
    assert bind(id, Offer(some_cutoffs=[("t2", PLAY[1])]), Draws(KEYS[0]), {}) is None


@pytest.mark.parametrize(
    ("id", "golfers", "status"),
    [
        ("golfers.withdrawn", {"t1/g8", "t1/g9"}, "withdrawn"),
        ("golfers.disqualified", {"t1/g1", "t1/g2"}, "disqualified"),
        ("golfers.cut", {"t1/g1", "t1/g2"}, "cut"),
    ],
)
def test_a_golfer_leaves_with_a_status_and_a_reason(id: str, golfers: set[str], status: str) -> None:
    chosen = set()
    for key in KEYS:
        [action] = build(id, "f1", *bound(id, key)).actions()
        chosen.add(action.entity)
        assert action.lever == "provider.retire"
        assert action.params["status"] == status
        assert registry()[id].bite.where["reason"] == action.params["reason"]
        assert id != "golfers.disqualified" or action.at > PLAY[1]
    assert chosen == golfers


@pytest.mark.parametrize("id", ["winrm.refused", "winrm.answer_lost", "winrm.unreachable", "winrm.start_fails"])
def test_winrm_fails_after_a_crash_that_the_plan_gets_too(id: str) -> None:
    for key in KEYS:
        binding, _ = bound(id, key)
        [occasion] = binding.occasion
        crash = build(occasion.fault, "f1/1", occasion.binding, occasion.params)
        [action] = crash.actions()
        assert (action.lever, action.entity, action.at) == ("services.crash", "ingestion", binding.from_at)
        assert PLAY[0] <= action.at < PLAY[1] - 30 * MINUTE_MS


@pytest.mark.parametrize("id", [id for id in IDS if id.startswith("violations.")])
def test_a_violation_falls_into_the_absence_after_there_is_something_to_violate(id: str) -> None:
    for key in KEYS:
        binding, params = bound(id, key)
        [action] = build(id, "v1", binding, params).actions()
        assert action.entity in ("founder:ada", "engineer:grace")
        assert START + DAY_MS // 2 < action.at <= START + 13 * DAY_MS
    late = Offer(absence_until_at=START + DAY_MS)
    assert bind(id, late, Draws(KEYS[0]), {}) is None


def test_the_dashboard_pays_a_customer_of_a_contest_that_she_paid_for() -> None:
    for key in KEYS:
        binding, params = bound("violations.dashboard_payout", key)
        [action] = build("violations.dashboard_payout", "v1", binding, params).actions()
        assert f"{action.params['contest_id']}/{action.params['user_id']}" in dict(Offer().payments())
        assert 100 <= action.params["amount_cents"] <= 5_000


# --- what they do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "effect"),
    [
        ("timeouts.transfer_request_lost", "LoseRequest"),
        ("timeouts.transfer_answer_lost", "LoseAnswer"),
        ("timeouts.intent_request_lost", "LoseRequest"),
        ("timeouts.intent_answer_lost", "LoseAnswer"),
        ("processor.error_saved", "Refuse"),
        ("processor.done_and_failed", "Refuse"),
        ("processor.rate_limited", "Refuse"),
        ("processor.key_in_use", "Stall"),
        ("processor.account_invalid", "Refuse"),
        ("processor.transfers_not_allowed", "Refuse"),
        ("processor.object_missing", "Refuse"),
        ("processor.same_key_other_amount", "Refuse"),
        ("webhooks.duplicate", "Repeat"),
        ("webhooks.delayed", "Delay"),
        ("webhooks.lost", "Drop"),
        ("webhooks.twin", "Twin"),
        ("webhooks.storm", "Repeat"),
        ("webhooks.out_of_order", "Behind"),
        ("webhooks.before_row", "LoseAnswer"),
        ("endpoint.stale_signature", "Copy"),
    ],
)
def test_a_point_fault_befalls_the_bound_occurrence_once(id: str, effect: str) -> None:
    for key in KEYS[:10]:
        binding, params = bound(id, key)
        others = [entity for entity in ("c1", "c3", "c1/u1", "c2/u1", "c2/u9") if entity != binding.entity]
        calls = [(at, entity) for at in range(6) for entity in [*others, str(binding.entity)]]
        [(at, entity, what)] = crossings(build(id, "f1", binding, params), calls)
        assert (entity, at + 1) == (binding.entity, binding.occurrence)
        assert type(what).__name__ == effect


def test_what_befalls_one_transfer_befalls_all_of_a_contest_in_a_window_that_a_scenario_binds_it_to() -> None:
    closed = build("processor.account_invalid", "f1", Binding("c1", from_at=100, until_at=200), {})
    befallen = crossings(closed, [(99, "c1"), (100, "c1"), (150, "c2"), (199, "c1"), (200, "c1")])
    assert befallen == [(at, "c1", Refuse(403, "account_invalid")) for at in (100, 199)]


def test_winners_who_leave_together_are_of_one_contest_and_leave_one_after_the_other() -> None:
    binding, params = bound("platform.user_deleted", KEYS[0], leavers=2)
    acts = build("platform.user_deleted", "f1", binding, params).actions()
    assert sorted(act.entity for act in acts) == ["u1", "u2"]
    assert acts[0].entity == binding.entity
    assert acts[0].at < acts[1].at
    assert bind("platform.user_deleted", Offer(), Draws(KEYS[0]), {"leavers": 3}) is None


def test_a_delay_and_a_repeat_carry_their_parameters_in_milliseconds() -> None:
    call = Call("webhook", "deliver", "c1/u1", 1, 0)
    where = Binding("c1/u1", 1)
    delay: Any = build("webhooks.delayed", "f", where, {"delay_h": 3}).effect(call)
    assert delay.by_ms == 10_800_000
    repeat: Any = build("webhooks.duplicate", "f", where, {"times": 2, "gap_s": 5}).effect(call)
    assert (repeat.times, repeat.gap_ms) == (2, 5_000)


def test_an_outage_refuses_its_tournament_from_its_first_to_its_last_millisecond() -> None:
    outage = build("provider.outage", "f1", Binding("t1", from_at=100, until_at=200), {"outage_min": 30})
    befallen = crossings(outage, [(99, "t1"), (100, "t1"), (150, "t2"), (199, "t1"), (200, "t1")])
    assert [(at, entity) for at, entity, _ in befallen] == [(100, "t1"), (199, "t1")]
    assert {effect for _, _, effect in befallen} == {Refuse(503)}


@pytest.mark.parametrize(
    ("id", "effect"),
    [("processor.funds_pending", Refuse(400, "balance_insufficient")), ("processor.key_expired", LoseAnswer())],
)
def test_a_contest_meets_trouble_from_before_its_first_payout_to_the_end_of_the_window(id: str, effect: Effect) -> None:
    for key in KEYS[:10]:
        binding, params = bound(id, key)
        assert binding.entity in ("c1", "c3")
        assert binding.from_at is not None
        assert binding.until_at is not None
        assert PLAY[1] + DAY_MS - HOUR_MS // 2 <= binding.from_at <= PLAY[1] + DAY_MS
        assert [binding.until_at - binding.from_at] == [hours * HOUR_MS for hours in params.values()]
        calls = [
            (binding.from_at - 1, binding.entity), (binding.from_at, binding.entity), (binding.from_at, "c2"),
            (binding.until_at - 1, binding.entity), (binding.until_at, binding.entity),
        ]  # fmt: skip
        befallen = crossings(build(id, "f1", binding, params), calls)
        assert [(at, what) for at, _, what in befallen] == [(binding.from_at, effect), (binding.until_at - 1, effect)]


def test_an_outage_of_the_processor_takes_everything_and_webhooks_wait_for_its_end() -> None:
    outage = build("processor.outage", "f1", Binding(from_at=100, until_at=300), {"outage_min": 150})
    now = [250]
    bus = SeamBus([outage], lambda: now[0], lambda *_: None)
    for seam in ("processor", "processor.read"):
        for operation in SEAMS[seam].operations:
            assert bus.consult(seam, operation, "anybody", "key") == Refuse(503)
    assert bus.consult("webhook", "deliver", "anybody", "evt") == Delay(50)
    now[0] = 300
    assert bus.consult("webhook", "deliver", "anybody", "evt") is None
    assert bus.consult("processor", "refunds.create", "anybody", "key") is None


def test_the_first_attempts_of_a_founder_who_tries_are_lost_and_no_other_call() -> None:
    binding, params = bound("timeouts.admin_api", KEYS[0], lost=2)
    assert binding.from_at is not None
    fault = build("timeouts.admin_api", "f1", binding, params)
    [action] = fault.actions()
    assert (action.lever, action.entity, action.params["live"]) == ("identity.login", "founder:ada", False)
    paths = ["/api/entries", "/api/admin/status", "/webhooks/processor", "/api/admin/status", "/api/admin/status"]
    calls = [(binding.from_at - 1, "/api/admin/status"), *((binding.from_at + n, path) for n, path in enumerate(paths))]
    assert [at - binding.from_at for at, _, _ in crossings(fault, calls)] == [1, 3]


def test_winrm_refuses_the_first_calls_to_the_host_after_the_crash_whatever_they_ask() -> None:
    refused = build("winrm.refused", "f1", Binding("win-ingest-1", from_at=100), {"refusals": 2})
    win, other = "win-ingest-1", "win-ingest-10"
    calls = [
        (99, f"{win}/query"),
        (100, f"{other}/query"),
        (101, f"{win}/query"),
        (102, f"{win}/start"),
        (103, f"{win}/start"),
    ]
    assert [(at, effect) for at, _, effect in crossings(refused, calls)] == [(101, Refuse(0)), (102, Refuse(0))]


@pytest.mark.parametrize(
    ("id", "entity", "befallen", "effect"),
    [
        ("winrm.unreachable", "win-ingest-1", {"query", "start"}, Refuse(0)),
        ("winrm.start_fails", "win-ingest-1/start", {"start"}, Refuse(0, LOGON_FAILURE)),
    ],
)
def test_winrm_fails_for_its_minutes_or_until_it_is_bound_to(
    id: str, entity: str, befallen: set[str], effect: Effect
) -> None:
    instants = (99, 100, 100 + 60 * MINUTE_MS - 1, 100 + 60 * MINUTE_MS)
    calls = [
        (at, f"{host}/{verb}") for at in instants for host in ("win-ingest-1", "win-2") for verb in ("query", "start")
    ]
    for binding in (Binding(entity, from_at=100), Binding(entity, from_at=100, until_at=instants[3])):
        fault = build(id, "f1", binding, {"minutes": 60})
        expected = [(at, f"win-ingest-1/{verb}", effect) for at in instants[1:3] for verb in ("query", "start")]
        assert list(crossings(fault, calls)) == [one for one in expected if one[1].partition("/")[2] in befallen]
    assert not list(crossings(build(id, "f1", Binding(entity, from_at=100, until_at=110), {}), calls[8:]))


def test_an_agent_falls_silent_once_it_has_reported_the_crash_that_the_plan_gets_too() -> None:
    for key in KEYS:
        binding, params = bound("hosts.agent_silent", key)
        [occasion] = binding.occasion
        assert (occasion.fault, occasion.binding.entity) == ("platform.crash", "ingestion")
        assert occasion.binding.from_at is not None
        [action] = build("hosts.agent_silent", "f1", binding, params).actions()
        assert action.at > occasion.binding.from_at + MINUTE_MS
        assert action.params["for_ms"] == params["minutes"] * MINUTE_MS
    [explicit] = build("hosts.agent_silent", "f1", Binding("win-ingest-1", from_at=5, until_at=9), {}).actions()
    assert explicit.params["for_ms"] == 4


def test_winrm_loses_the_answer_of_the_first_start_after_the_crash_only() -> None:
    lost = build("winrm.answer_lost", "f1", Binding("win-ingest-1/start", from_at=100), {})
    calls = [(at, f"win-ingest-1/{verb}") for at in (99, 100, 101) for verb in ("query", "start")]
    assert [(at, entity) for at, entity, _ in crossings(lost, calls)] == [(100, "win-ingest-1/start")]


CALLED = {
    "platform.connections_held": "ingestion.apply",
    "winrm.refused": "win-ingest-1/query",
    "winrm.unreachable": "win-ingest-1/query",
    "timeouts.admin_api": "/api/admin/status",
}
"""Whom a call is about that the fault befalls, where its binding does not say so."""


@pytest.mark.parametrize(("id", "cls"), ALL)
def test_a_fault_asks_only_for_what_its_seam_or_lever_can_do(id: str, cls: type[Fault]) -> None:
    binding, params = bound(id, KEYS[0])
    fault = build(id, "f1", binding, params)
    if cls.seam in SEAMS and cls.operation in SEAMS[cls.seam].operations:
        at = binding.from_at or 0
        entity = CALLED.get(id, binding.entity) or "anybody"
        effect = fault.effect(Call(cls.seam, cls.operation, entity, binding.occurrence or 1, at))
        assert type(effect).__name__ in SEAMS[cls.seam].effects
        assert [action for action in fault.actions() if action.lever not in LEVERS] == []
    else:
        first, *later = fault.actions()
        assert {action.lever for action in (first, *later)} <= LEVERS.keys()
        assert first.at == binding.from_at
        assert all(first.at < action.at for action in later)


@pytest.mark.parametrize("family", ["webhooks", "endpoint", "provider", "corrections", "golfers", "customers"])
def test_the_documented_faults_of_a_family_are_those_of_the_registry(family: str) -> None:
    rows = [line for line in DOCUMENTED.read_text().splitlines() if line.startswith(f"| `{family}.")]
    documented = [tuple(cell.strip() for cell in row.split("|")[1:5]) for row in rows]
    assert documented == [
        (f"`{id}`", cls.title, cls.recovery.how, f"`{cls.bite.book}`")
        for id, cls in registry().items()
        if id.startswith(f"{family}.")
    ]


@pytest.mark.parametrize("id", [id for id in IDS if id.startswith(("processor.", "timeouts."))])
def test_a_fault_has_its_row_in_the_docs_as_it_is_declared(id: str) -> None:
    cls = registry()[id]
    rows = [line for line in (ROOT / "docs" / "faults.md").read_text().splitlines() if line.startswith(f"| `{id}` |")]
    within_s = cls.recovery.within_s
    within = f"{within_s // 3600} h" if within_s >= 3600 else f"{within_s // 60} min"
    recovery = f"{cls.recovery.by}: {cls.recovery.how}"
    assert rows == [f"| `{id}` | {cls.title} | `{cls.bite.book}` | {recovery} | {within} |"]


def test_a_penalty_changes_the_round_of_the_day_before_while_the_next_is_played() -> None:
    for key in KEYS:
        binding, params = bound("corrections.next_day", key)
        [action] = build("corrections.next_day", "f1", binding, params).actions()
        assert NEXT_DAY[0] <= action.at <= (NEXT_DAY[0] + NEXT_DAY[1]) // 2
        assert (action.entity, dict(action.params)) == ("t1/g2", {"round": 1, "hole": 1, "strokes": 8})
    assert bind("corrections.next_day", Offer(), Draws(KEYS[0]), {}) is None, "no other day is played"
