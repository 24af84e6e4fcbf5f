"""The verdict: what comes first, what was at work then, and that the same evidence always gives the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import assertions
from assertions.judge import BROKEN_MAX, FAMILIES, Verdict, discover, judge
from assertions.model import REGISTRY, Assertion, Finding, Status
from assertions.windows import deadline, spans
from evidence.journal import JournalBroken, JournalWriter, instants, read
from tests.support.broken_runs import BREAKS, conduct, money
from tests.support.broken_runs.change import add, remove, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.small_run import HOUR, LOCK, PAID, T0, plan, small_run


def judged(evidence: FakeEvidence) -> Verdict:
    return judge(evidence)  # type: ignore[arg-type]


@contextmanager
def one_more(assertion: Assertion) -> Iterator[None]:
    REGISTRY[assertion.id] = assertion
    try:
        yield
    finally:
        del REGISTRY[assertion.id]


def test_an_honest_run_passes_in_every_family_there_is() -> None:
    verdict = judged(small_run())
    assert verdict.status is Status.PASS
    assert verdict.first_broken is None
    assert verdict.not_exercised == ()
    assert {result.family for result in verdict.results} == {
        "runbooks", "alerts", "dashboards",
        "audit", "ledger", "absence", "lifecycle", "payouts", "ingestion", "settlement", "recovery", "healing",
    }  # fmt: skip


def test_results_stand_in_the_order_of_families_and_then_of_ids() -> None:
    order = [(FAMILIES.index(result.family), result.id) for result in judged(small_run()).results]
    assert order == sorted(order)


def test_the_package_gives_the_judge_and_not_its_module() -> None:
    assert assertions.judge is judge
    assert assertions.judge(small_run()).status is Status.PASS  # type: ignore[arg-type]


def test_judging_the_same_evidence_twice_gives_the_same_bytes() -> None:
    evidence = small_run()
    money.a_winner_was_forgotten(evidence)
    assert (
        judged(evidence).to_json()
        == judged(evidence).to_json()
        == judged(_again(money.a_winner_was_forgotten)).to_json()
    )


def _with(evidence: FakeEvidence) -> FakeEvidence:
    """The same evidence as if read anew: what was worked out of it is kept for as long as the object lives."""
    anew = FakeEvidence(evidence.plan, evidence.books, evidence.events)
    anew.texts = evidence.texts
    return anew


def _again(change: object) -> FakeEvidence:
    evidence = small_run()
    change(evidence)  # type: ignore[operator]
    return evidence


def test_every_broken_run_survives_the_published_form() -> None:
    for _, _, change in BREAKS[::10]:
        verdict = judged(_again(change))
        assert Verdict.from_json(verdict.to_json()) == verdict
        assert verdict.status in (Status.FAIL, Status.INCONCLUSIVE)


def test_the_published_form_names_its_version_and_refuses_another() -> None:
    text = judged(small_run()).to_json()
    assert json.loads(text)["version"] == 1
    with pytest.raises(ValueError, match="version 2"):
        Verdict.from_json(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(ValueError, match="not a verdict"):
        Verdict.from_json('{"version": 1}')


def test_the_verdict_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import sys; from assertions import judge; from tests.support.small_run import small_run;"
        "from tests.support.broken_runs import conduct;"
        "e = small_run(); conduct.a_row_was_edited_by_hand(e); conduct.a_row_was_deleted_by_hand(e);"
        "sys.stdout.write(judge(e).to_json())"
    )
    root = Path(__file__).parent.parent
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root, env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}, capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1
    assert b"FAIL" in outputs.pop()


def test_the_first_broken_promise_is_the_earliest_of_all_with_its_money_and_the_faults_at_work() -> None:
    evidence = small_run()
    money.a_winner_was_forgotten(evidence)  # broken at the cut-off
    row(evidence, "processor.transfers", transfer_id="tr_u3")["destination"] = "acct_u4"  # broken an hour after
    at = LOCK + 3 * HOUR + 60_000
    evidence.books["identity.events"].append(
        {"n": 99, "at": at, "action": "login", "principal": "founder:ada", "allowed": True}
    )
    first = judged(evidence).first_broken
    assert first is not None
    assert (first.assertion, first.at, first.money_cents) == ("absence.identity", at, 0)
    assert first.message.startswith("founder:ada got past the identity provider at 2026-06-04 11:01:00 UTC")
    assert [fault.fault_id for fault in first.active_faults] == ["f2", "f3"]


def test_once_rows_were_altered_by_hand_nothing_that_they_say_of_before_comes_first() -> None:
    evidence = small_run()
    conduct.the_platform_let_a_founder_in(evidence)
    session: dict[str, Any] = {
        "principal": "founder:ada",
        "role": "superuser",
        "purpose": "look",
        "statements": 3,
        "writes": 1,
    }
    add(evidence, "database.sessions", at=PAID + HOUR, **session)
    untouched = judged(_with(evidence)).first_broken
    assert untouched is not None
    assert untouched.assertion == "absence.access_log", "who only was there has altered nothing"
    conduct.a_row_was_deleted_by_hand(evidence)
    altered = judged(_with(evidence)).first_broken
    assert altered is not None
    assert (altered.assertion, altered.at) == ("absence.database_sessions", PAID + HOUR)


def test_a_promise_broken_at_no_known_instant_comes_last_and_names_every_fault_that_acted() -> None:
    evidence = small_run()
    conduct.a_row_was_deleted_by_hand(evidence)
    first = judged(evidence).first_broken
    assert first is not None
    assert (first.assertion, first.at) == ("audit.rows_match_images", None)
    assert [fault.fault_id for fault in first.active_faults] == ["f2", "f3", "f1"]
    conduct.a_founder_logged_in(evidence)
    later = judged(_with(evidence)).first_broken
    assert later is not None
    assert later.assertion == "absence.identity"


def test_an_assertion_that_crashes_is_inconclusive_and_stops_no_other() -> None:
    def crash(_: object) -> Finding:
        raise RuntimeError("no such book")

    with one_more(Assertion("audit.crashes", "audit", "It crashes", "always", crash)):
        verdict = judged(small_run())
    assert verdict.status is Status.INCONCLUSIVE
    [item] = verdict.not_exercised
    assert (item.assertion, item.what) == ("audit.crashes", "the assertion itself failed: RuntimeError: no such book")


def test_a_verdict_keeps_the_earliest_of_many_broken_promises_and_sums_up_the_others() -> None:
    def many(_: object) -> Finding:
        found = Finding("things", 500, 500)
        for number in range(500, 0, -1):
            found.breaks(f"thing {number}", f"things/{number}", T0 + number, 10)
        return found

    with one_more(Assertion("audit.many", "audit", "Many break", "always", many)):
        result = next(result for result in judged(small_run()).results if result.id == "audit.many")
    assert len(result.broken) == BROKEN_MAX + 1
    assert result.broken[0].message == "thing 1"
    assert result.broken[-1].message == f"and {500 - BROKEN_MAX} more, $40.00 at risk in them"
    assert sum(broken.money_cents for broken in result.broken) == 5_000


def test_a_verdict_of_nothing_is_inconclusive() -> None:
    nothing = plan().model_copy(
        update={
            "principals": [],
            "tournaments": [],
            "contests": [],
            "entrants": [],
            "entries": [],
            "faults": [],
            "drills": [],
        }
    )
    verdict = judged(FakeEvidence(nothing))
    assert verdict.status is Status.INCONCLUSIVE
    assert Status.PASS not in {result.status for result in verdict.results}


def test_what_was_not_exercised_is_named_with_its_numbers() -> None:
    evidence = small_run()
    remove(evidence, "injector.bites", fault_id="f2")
    verdict = judged(evidence)
    assert verdict.status is Status.INCONCLUSIVE
    told = [item.what for item in verdict.not_exercised if item.assertion == "recovery.every_fault_bit"]
    assert told == [
        "f2 (The worker dies) never acted",
        "saw 2 faults where there had to be 3",
    ]


def test_modules_are_discovered_without_a_list() -> None:
    discover()
    modules = {path.stem for path in Path(assertions.__path__[0]).glob("*.py")}
    assert {assertion.family for assertion in REGISTRY.values()} <= modules


def test_the_instants_of_a_journal_are_those_of_its_events_whatever_an_actor_is_called(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with path.open("wb") as stream:
        writer = JournalWriter(stream)
        for at, actor in ((5, 'x","at":9'), (T0, "harness"), (T0 + 1, "customer:\u00fc")):
            writer.append(at, actor, "thing.done", "x", None, {"at": 3})
    assert list(instants(path)) == [event.at for event in read(path)] == [5, T0, T0 + 1]
    with path.open("ab") as stream:
        stream.write(b"{}\n")
    with pytest.raises(JournalBroken, match="line 4"):
        instants(path)


def test_a_fault_extends_a_bound_to_the_end_of_its_own_and_chains_with_the_next() -> None:
    [lost, crash, _] = plan().faults
    bites = [(lost.id, 1_000), (lost.id, 5_000)]
    found = spans([lost], bites)
    assert [(span.from_at, span.until_at, span.over_at) for span in found] == [(1_000, 5_000, 5_000 + 7_200_000)]
    assert deadline(found, 0, 900) == (900, [])
    assert deadline(found, 0, 1_000) == (7_205_000, ["f1"])
    later = crash.model_copy(update={"from_at": 7_000_000})
    assert deadline(spans([lost, later], bites), 0, 1_000) == (7_000_000 + 3_600_000, ["f1", "f2"])


def test_a_violation_stays_at_work_and_excuses_nothing() -> None:
    violation = plan().faults[0].model_copy(update={"kind": "violation"})
    [span] = spans([violation], [("f1", PAID)])
    assert span.is_active(PAID + 1_000_000_000)
    assert not span.is_active(PAID - 1)
    assert deadline([span], PAID, 60_000) == (PAID + 60_000, [])


def test_a_fault_that_never_acted_and_has_no_window_has_no_span() -> None:
    assert spans([plan().faults[0]], []) == []
