"""The outside anchor: new audit heads go there hourly, and somebody is told when they have not for too long."""

from __future__ import annotations

from typing import Any

from contest_platform import audit
from contest_platform.jobs import HOUR_MS, MINUTE_MS
from contest_platform.ports import ConnectionFailed, ServiceUnavailable
from contest_platform.services.anchoring import STALE_AFTER_MS, AnchoringService
from tests.support.contest_world import CTX, ContestWorld
from tests.support.platform_ports import START


class Elsewhere:
    """The outside book, and the pager. Either may be out of reach."""

    def __init__(self) -> None:
        self.heads: list[tuple[int, str]] = []
        self.pages: list[tuple[str, str]] = []
        self.anchor_down = self.pager_down = False

    async def publish(self, *, head_seq: int, head_hash: str) -> None:
        if self.anchor_down:
            raise ConnectionFailed
        self.heads.append((head_seq, head_hash))

    async def send(self, *, action: str, dedup_key: str, **_: Any) -> None:
        if self.pager_down:
            raise ServiceUnavailable
        self.pages.append((action, dedup_key))


def an_anchor() -> tuple[ContestWorld, Elsewhere, AnchoringService]:
    world = ContestWorld()
    world.anchor = world.pager = elsewhere = Elsewhere()
    return world, elsewhere, world.life(AnchoringService)


def something_happens(world: ContestWorld) -> None:
    world.write(lambda tx: audit.append(tx, CTX, "refuse.entry", "contests/c1", reason="contest_full"))


def last_head(world: ContestWorld) -> tuple[int, str]:
    [row] = world.rows("select seq, hash from audit_log order by seq desc limit 1")
    return row["seq"], row["hash"]


TRIGGER, RESOLVE = ("trigger", "audit_anchor_stale"), ("resolve", "audit_anchor_stale")


def test_the_head_is_published_on_the_hour_when_there_is_a_new_one() -> None:
    world, elsewhere, anchoring = an_anchor()
    world.runtime.at += MINUTE_MS
    world.step(anchoring)
    assert world.runtime.at == START + HOUR_MS
    first = last_head(world)
    assert elsewhere.heads == [first]
    world.step(anchoring)
    assert elsewhere.heads == [first], "nothing new"
    told_at = world.metrics.standing["audit_anchor_last_success_timestamp_seconds",]
    assert told_at == world.runtime.at // 1000, "which is no reason to be paged: all there is stands there"
    something_happens(world)
    world.step(anchoring)
    assert elsewhere.heads == [first, last_head(world)]
    assert world.runtime.at == START + 3 * HOUR_MS
    assert elsewhere.pages == []


def test_after_an_hour_that_came_late_the_next_one_is_on_time() -> None:
    world, elsewhere, anchoring = an_anchor()
    world.step(anchoring)
    world.runtime.at += HOUR_MS + 10 * MINUTE_MS
    something_happens(world)
    world.run(anchoring._work())
    something_happens(world)
    world.step(anchoring)
    assert world.runtime.at % HOUR_MS == 0
    assert world.runtime.at - START < 3 * HOUR_MS
    assert elsewhere.heads[-1] == last_head(world)


def test_a_restarted_service_does_not_publish_the_same_head_again() -> None:
    world, elsewhere, anchoring = an_anchor()
    world.step(anchoring)
    world.step(world.life(AnchoringService))
    assert len(elsewhere.heads) == 1


def test_a_head_whose_publication_failed_is_published_the_next_hour() -> None:
    world, elsewhere, anchoring = an_anchor()
    elsewhere.anchor_down = True
    world.step(anchoring)
    elsewhere.anchor_down = False
    world.step(anchoring)
    assert elsewhere.heads == [last_head(world)]
    assert elsewhere.pages == []


def until_stale(world: ContestWorld, elsewhere: Elsewhere, anchoring: AnchoringService) -> None:
    world.step(anchoring)
    something_happens(world)
    elsewhere.anchor_down = True
    stale_at = world.runtime.at + STALE_AFTER_MS
    while world.runtime.at < stale_at:
        assert TRIGGER not in elsewhere.pages
        world.step(anchoring)


def test_a_stale_anchor_pages_after_three_hours_and_resolves_when_it_is_fresh() -> None:
    world, elsewhere, anchoring = an_anchor()
    until_stale(world, elsewhere, anchoring)
    assert elsewhere.pages == [TRIGGER]
    elsewhere.anchor_down = False
    world.step(anchoring)
    assert elsewhere.pages == [TRIGGER, RESOLVE]
    assert [row["reason"] for row in world.audited("call.page")] == ["the anchor is stale", "the anchor is up to date"]
    world.step(anchoring)
    assert elsewhere.heads[-1] == last_head(world)
    assert elsewhere.pages == [TRIGGER, RESOLVE]


def test_an_anchor_with_nothing_to_hold_is_not_stale() -> None:
    world, elsewhere, anchoring = an_anchor()
    world.step(anchoring)
    elsewhere.anchor_down = True
    world.runtime.at += 10 * STALE_AFTER_MS
    world.step(anchoring)
    assert elsewhere.pages == []


def test_a_life_that_begins_tells_at_once_since_when_all_stands_there() -> None:
    world, _, anchoring = an_anchor()
    world.step(anchoring)
    told = dict(world.metrics.standing)
    world.metrics.standing.clear()
    world.runtime.at += 20 * MINUTE_MS
    something_happens(world)
    world.run(world.life(AnchoringService)._due())
    name = "audit_anchor_last_success_timestamp_seconds"
    assert world.metrics.standing[name,] == told[name,], "nobody has to be paged for a metric that is absent"


def test_a_restart_forgets_neither_how_stale_the_anchor_is_nor_that_somebody_was_paged() -> None:
    world, elsewhere, anchoring = an_anchor()
    world.step(anchoring)
    something_happens(world)
    elsewhere.anchor_down = True
    for _ in range(3):
        world.runtime.at += 1
        world.step(world.life(AnchoringService))
    assert elsewhere.pages == [TRIGGER]
    elsewhere.anchor_down = False
    world.step(world.life(AnchoringService))
    assert elsewhere.pages == [TRIGGER, RESOLVE]


def test_a_page_that_the_pager_did_not_take_is_sent_again() -> None:
    world, elsewhere, anchoring = an_anchor()
    elsewhere.pager_down = True
    until_stale(world, elsewhere, anchoring)
    assert [row["reason"] for row in world.audited("call.page_unanswered")] == ["service_unavailable"]
    elsewhere.pager_down = False
    world.step(anchoring)
    assert elsewhere.pages == [TRIGGER]
    elsewhere.anchor_down, elsewhere.pager_down = False, True
    world.step(anchoring)
    elsewhere.pager_down = False
    world.step(anchoring)
    assert elsewhere.pages == [TRIGGER, RESOLVE]
