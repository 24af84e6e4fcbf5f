"""A pass of reconciliation out of turn: asked for by a runbook, made at once, and made once."""

from __future__ import annotations

from typing import Any

import pytest

from contest_platform import checkpoints
from contest_platform.jobs import HOUR_MS, MINUTE_MS, next_tick
from contest_platform.ports import ConnectionFailed
from contest_platform.services import reconciliation
from tests.support.platform_ports import Platform


@pytest.fixture
def platform() -> Platform:
    return Platform()


def test_a_pass_that_was_asked_for_is_made_at_once_and_finds_what_no_webhook_told(platform: Platform) -> None:
    platform.work("payments.reconciliation")
    entry_id, intent_id = platform.entered()
    platform.processor.pay(intent_id)
    platform.runtime.at += MINUTE_MS
    assert platform.due("payments.reconciliation") > platform.runtime.at
    assert [platform.write(reconciliation.ask) for _ in range(2)] == [True, False]
    platform.restart()
    platform.work("payments.reconciliation")
    assert platform.row("entries", entry_id=entry_id)["status"] == "VALID"
    assert platform.due("payments.reconciliation") > platform.runtime.at
    assert platform.write(reconciliation.ask) is True


def test_a_pass_asked_for_while_one_is_made_comes_after_it_and_one_that_fails_is_tried_again(
    platform: Platform,
) -> None:
    platform.work("payments.reconciliation")

    def ask_later(at: int) -> None:
        platform.runtime.at = at
        platform.write(reconciliation.ask)

    ask_later(platform.runtime.at + MINUTE_MS)
    platform.processor.troubles["events.list"] = [(ConnectionFailed("down"), False)]
    platform.work("payments.reconciliation")
    assert platform.due("payments.reconciliation") == next_tick(platform.runtime.at + 1, 5 * MINUTE_MS)
    platform.runtime.at += 5 * MINUTE_MS
    work = platform.jobs["payments.reconciliation"].work()
    real = platform.processor.list_balance_transactions

    async def meanwhile(**more: Any) -> Any:
        platform.processor.list_balance_transactions = real  # type: ignore[method-assign]
        platform.write(lambda tx: checkpoints.remove(tx, reconciliation.ASKED))
        ask_later(platform.runtime.at + 1)
        return await real(**more)

    platform.processor.list_balance_transactions = meanwhile  # type: ignore[method-assign]
    platform.run(work)
    assert platform.due("payments.reconciliation") == platform.runtime.at


def test_a_pass_that_was_asked_for_asks_about_unpaid_intents_that_no_event_tells_of(platform: Platform) -> None:
    entry_id, intent_id = platform.entered()
    platform.work("payments.reconciliation")
    platform.processor.pay(intent_id)
    platform.processor.events.clear()
    platform.runtime.at += HOUR_MS
    platform.work("payments.reconciliation")
    assert platform.row("entries", entry_id=entry_id)["status"] == "PENDING_PAYMENT"
    platform.write(reconciliation.ask)
    platform.work("payments.reconciliation")
    assert platform.row("entries", entry_id=entry_id)["status"] == "VALID"
