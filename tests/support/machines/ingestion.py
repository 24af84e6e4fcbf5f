"""Ingestion as a machine: a feed that publishes, corrects and reverts, answers that lie or never come, a store that
fails before or after its commit, and a worker that dies and comes back.

The model is SPEC 1.4 and FACTS 3: what was published, and when. The scores shown are of that and of nothing else;
nothing is admitted twice; once all is well they are the last published, and nothing is left in quarantine.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seams.faults import Call, Effect, Falsify, LoseAnswer, LoseRequest, Refuse
from tests.support.ingestion_world import (
    DAY,
    END,
    HOUR,
    MINUTE,
    TEE,
    IngestionWorld,
    fault_on_polls,
    publication,
    tournament,
)

PUBLISHED = {
    TEE + (1 + 10 * n) * MINUTE: (golfer, round, hole, strokes)
    for n, (golfer, round, (hole, strokes)) in enumerate(
        (golfer, round, score) for round in (1, 2) for golfer in ("g1", "g2", "g3") for score in enumerate((4, 3, 5), 1)
    )
}
"""Three golfers' two rounds of three holes, one every ten minutes."""
LIES = ("empty", "garbled", "scrambled", "stale", "unreadable", "wrong_event")
TROUBLES: dict[str, Effect] = {
    "refused": Refuse(0),
    "unavailable": Refuse(503),
    "request lost": LoseRequest(),
    "answer lost": LoseAnswer(),
}
Place = tuple[str, int, int]


class Ingestion(RuleBasedStateMachine):
    world: IngestionWorld

    @initialize()
    def tee_off(self) -> None:
        publications = [publication(at, [cell]) for at, cell in PUBLISHED.items()]
        self.world = IngestionWorld(tournament([*publications, publication(END - 5 * MINUTE, complete=True)]))
        self.troubles: list[str] = []
        self.corrected: dict[Place, list[tuple[int, int]]] = {}
        self.alive = True
        fault_on_polls(self.world, self._next_trouble)
        self.world.run_until(TEE)

    # --- what the world does -----------------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([3, 10, 30, 90]))
    def time_passes(self, minutes: int) -> None:
        self.world.run_for(minutes * MINUTE)

    @rule(pick=st.integers(0, 17), strokes=st.integers(1, 9))
    def the_feed_corrects(self, pick: int, strokes: int) -> None:
        places = list(self._history())
        if places:
            self._correct(places[pick % len(places)], strokes)

    @rule()
    def the_feed_reverts_its_last_correction(self) -> None:
        if self.corrected:
            place = max(self.corrected, key=lambda place: self.corrected[place][-1])
            self._correct(place, self._history()[place][-2][1])

    @rule(troubles=st.lists(st.sampled_from([*LIES, *TROUBLES]), min_size=1, max_size=3))
    def the_next_polls_go_wrong(self, troubles: list[str]) -> None:
        self.troubles += troubles

    @rule(when=st.sampled_from(["before", "after"]), skip=st.integers(0, 3))
    def the_store_fails(self, when: str, skip: int) -> None:
        left = [skip]

        def fails(operation: str) -> str | None:
            if not operation.startswith("ingestion."):
                return None
            left[0] -= 1
            return when if left[0] == -1 else None

        self.world.store_fails = fails

    @precondition(lambda self: self.alive)
    @rule()
    def the_worker_dies(self) -> None:
        self.world.crash()
        self.alive = False

    @precondition(lambda self: not self.alive)
    @rule()
    def it_comes_back(self) -> None:
        self.world.start()
        self.alive = True

    def _next_trouble(self, call: Call) -> Effect | None:
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble in LIES:
            return Falsify(trouble, since_at=call.at, age_ms=30 * MINUTE if trouble == "stale" else 0)
        return TROUBLES[trouble] if trouble else None

    def _correct(self, place: Place, strokes: int) -> None:
        self.world.provider.correct("t1", *place, strokes)
        self.corrected.setdefault(place, []).append((self.world.runtime.now(), strokes))

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def every_receipt_is_true_and_no_hole_is_admitted_twice(self) -> None:
        history, last = self._history(), dict[Place, int]()
        admitted: Counter[Place] = Counter()
        for row in self.world.table("ingestion_receipts"):
            place = row["golfer_id"], row["round"], row["hole"]
            assert row["reason"], "a receipt without a reason"
            if row["verdict"] in ("ADMIT", "CORRECTION"):
                assert (row["published_at"], row["strokes"]) in history[place]
                assert row["published_at"] >= last.get(place, 0), "an older score replaced a newer one"
                last[place] = row["published_at"]
                admitted[place] += row["verdict"] == "ADMIT"
        assert set(admitted.values()) <= {1}

    @invariant()
    def what_is_shown_is_what_the_receipts_say(self) -> None:
        assert self.world.scores() == {
            (row["golfer_id"], row["round"], row["hole"]): row["strokes"]
            for row in self.world.table("ingestion_receipts")
            if row["verdict"] in ("ADMIT", "CORRECTION")
        }

    def teardown(self) -> None:
        """All is well from now on: the event ends, the contest is held, a full poll follows."""
        if not hasattr(self, "world"):
            return
        world = self.world
        self.troubles.clear()
        world.store_fails = lambda _: None
        if not self.alive:
            world.start()
        world.run_until(max(world.runtime.now(), END) + 2 * HOUR)
        self._check()
        last = {place: values[-1][1] for place, values in self._history().items()}
        assert world.scores() == last, "after two quiet hours there is something that it does not know"
        cutoff_at = world.runtime.now() + DAY
        world.set_contest("c1", status="COMPLETE", completed_at=world.runtime.now(), cutoff_at=cutoff_at)
        world.run_until(cutoff_at + HOUR)
        self._check()
        assert world.scores() == last
        quarantined = {row["batch_id"] for row in world.table("ingestion_receipts") if row["verdict"] == "QUARANTINE"}
        assert quarantined <= {row["batch_id"] for row in world.table("quarantine_resolutions")}
        assert world.checkpoint("full_poll:t1")["begun_at"] >= cutoff_at
        assert world.table("tournaments")[0]["completed_at"] is not None

    def _check(self) -> None:
        self.every_receipt_is_true_and_no_hole_is_admitted_twice()
        self.what_is_shown_is_what_the_receipts_say()

    def _history(self) -> dict[Place, list[tuple[int, int]]]:
        """(published at, strokes) of every hole that has a score by now, in order."""
        now = self.world.runtime.now()
        told: dict[Place, list[tuple[int, int]]] = {}
        for at, (golfer, round, hole, strokes) in PUBLISHED.items():
            if at <= now:
                told[golfer, round, hole] = [(at, strokes), *self.corrected.get((golfer, round, hole), [])]
        return told
