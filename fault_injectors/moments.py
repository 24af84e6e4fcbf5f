"""Instants and places that several faults choose in the same way. Every choice is a draw under the fault's own key."""

from __future__ import annotations

from collections.abc import Sequence

from seams.draws import Draws
from seams.faults import Binding, Guarantees

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HALF_HOUR_MS = HOUR_MS // 2
DAY_MS = 24 * HOUR_MS
POLLED_MS = 10 * MINUTE_MS
LAST_PAYMENTS = 5
"""How many of a contest's payments, from the last one back, count as made in the last minute."""


def in_play(guarantees: Guarantees, draws: Draws, length_ms: int) -> tuple[str, int] | None:
    """(tournament_id, at): an instant after which play goes on for at least `length_ms`."""
    windows = [window for window in guarantees.play() if window[2] - window[1] > length_ms]
    if not windows:
        return None
    tournament_id, from_at, until_at = draws.choice(windows, "window")
    return tournament_id, draws.between(from_at, until_at - length_ms - 1, "instant")


def while_in_play(guarantees: Guarantees, draws: Draws, length_ms: int) -> Binding | None:
    """A tournament, and `length_ms` of it in which play is on."""
    moment = in_play(guarantees, draws, length_ms)
    return None if moment is None else Binding(entity=moment[0], from_at=moment[1], until_at=moment[1] + length_ms)


def a_transfer(guarantees: Guarantees, draws: Draws) -> Binding | None:
    """One of the transfers that are bound to be created, each as likely as any other."""
    contests = [(contest_id, n) for contest_id, n in guarantees.transfers() if n > 0]
    if not contests:
        return None
    chosen = draws.weighted([((contest_id, n), n) for contest_id, n in contests], "contest")
    return Binding(entity=chosen[0], occurrence=draws.between(1, chosen[1], "transfer"))


def as_payouts_begin(guarantees: Guarantees, draws: Draws, length_ms: int) -> Binding | None:
    """One of the contests that pay out: from up to half an hour before its payouts are due, for `length_ms`."""
    contests = guarantees.payouts()
    if not contests:
        return None
    contest_id, due_at = draws.choice(contests, "contest")
    from_at = due_at - draws.between(0, HALF_HOUR_MS, "before")
    return Binding(entity=contest_id, from_at=from_at, until_at=from_at + length_ms)


def a_payment(guarantees: Guarantees, draws: Draws) -> Binding | None:
    """The first webhook about one of the payments that are bound to be captured."""
    payments = guarantees.payments()
    if not payments:
        return None
    return Binding(entity=draws.choice(payments, "payment")[0], occurrence=1)


def a_refund(guarantees: Guarantees, draws: Draws) -> Binding | None:
    """One of the payments that are bound to be refunded: the first crossing about it."""
    refunds = guarantees.refunds()
    if not refunds:
        return None
    return Binding(entity=draws.choice(refunds, "refund")[0], occurrence=1)


def a_last_minute_payment(guarantees: Guarantees, draws: Draws) -> Binding | None:
    """The first webhook about a payment, mostly one of the last before a contest's lock: what is told of it late is
    then told after the lock, and must count all the same."""
    payments: dict[str, list[tuple[int, str]]] = {}
    for entity, captured_at in guarantees.payments():
        payments.setdefault(entity.partition("/")[0], []).append((captured_at, entity))
    if not payments:
        return None
    latest_first = sorted(payments[draws.choice(sorted(payments), "contest")], reverse=True)
    # Sometimes any other: the last ones may all be taken.
    candidates = latest_first[:LAST_PAYMENTS] if draws.below(8, "mostly") else latest_first
    return Binding(entity=draws.choice(candidates, "payment")[1], occurrence=1)


def while_settled(cutoff_at: int, after_min: int) -> int:
    """An instant that is most likely between the cut-off and the settlement: the provider is asked every ten minutes,
    so the end is heard of on the next of these instants, and the scores are asked for once more on the one after the
    cut-off. `after_min`, 2 to 8, are the minutes between."""
    return (cutoff_at // POLLED_MS + 1) * POLLED_MS + after_min * MINUTE_MS


def a_founder_after(guarantees: Guarantees, draws: Draws, earliest_at: int) -> tuple[str, int] | None:
    """(principal, at): a founder, and an instant from `earliest_at` until a day before the absence ends."""
    return absent_after(guarantees, draws, guarantees.founders(), earliest_at)


def absent_after(
    guarantees: Guarantees, draws: Draws, absent: Sequence[str], earliest_at: int
) -> tuple[str, int] | None:
    """(principal, at): one of the `absent`, and an instant from `earliest_at` until a day before the absence ends."""
    latest_at = guarantees.absence_until_at - DAY_MS
    if not absent or earliest_at > latest_at:
        return None
    return draws.choice(absent, "founder"), draws.between(earliest_at, latest_at, "instant")
