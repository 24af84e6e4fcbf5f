"""The judge's own arithmetic of prizes: from fees and places to what each entry is owed.

Invariant: money is int cents and arithmetic is exact; `award` hands out its table to the last cent, no more and no
less. `award_whole_dollars` does not, on purpose: it is how tours publish earnings, kept to check us against real ones.
The rules are those of tests/golden/scoring/README.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

FULL_BP = 10_000
DOLLAR_CENTS = 100


@dataclass(frozen=True)
class Money:
    """A contest's money in cents: collected - rake + overlay = pool."""

    collected_cents: int
    rake_cents: int
    pool_cents: int
    overlay_cents: int


def money(entries: int, fee_cents: int, rake_bp: int, guaranteed_cents: int | None) -> Money:
    """What `entries` paid entries bring, what the platform keeps, and what it adds to reach a guaranteed pool."""
    if entries < 0 or fee_cents < 0 or not 0 <= rake_bp <= FULL_BP or (guaranteed_cents or 0) < 0:
        raise ValueError(
            f"entries, fee and guarantee must not be negative, and the rake must be 0 to {FULL_BP} bp; got "
            f"entries={entries}, fee_cents={fee_cents}, rake_bp={rake_bp}, guaranteed_cents={guaranteed_cents}"
        )
    collected = entries * fee_cents
    rake = collected * rake_bp // FULL_BP
    net = collected - rake
    pool = net if guaranteed_cents is None else max(net, guaranteed_cents)
    return Money(collected_cents=collected, rake_cents=rake, pool_cents=pool, overlay_cents=pool - net)


def prize_table(pool_cents: int, shares_bp: Sequence[int], entries: int) -> list[int]:
    """The prizes in cents by place from 1: the first min(entries, places) shares, renormalised to the whole pool.

    Left-over cents go by largest remainder, equal remainders to the better place. Raises ValueError when a pool has
    nobody to go to, since it could not be conserved.
    """
    shares = list(shares_bp[: max(entries, 0)])
    whole = sum(shares)
    if pool_cents < 0 or min(shares, default=0) < 0:
        raise ValueError(f"pool and shares must not be negative, got {pool_cents} cents over {shares}")
    if whole == 0:
        if pool_cents:
            raise ValueError(f"{pool_cents} cents have nobody to go to: {entries} entries, shares {list(shares_bp)}")
        return [0] * len(shares)
    table = [pool_cents * share // whole for share in shares]
    left_over = pool_cents - sum(table)
    by_remainder = sorted(range(len(shares)), key=lambda place: (-(pool_cents * shares[place] % whole), place))
    for place in by_remainder[:left_over]:
        table[place] += 1
    return table


def award(places: Mapping[str, int], table_cents: Sequence[int]) -> dict[str, int]:
    """Each entry's prize in cents, 0 included; tied entries share the sum of the prizes of the places they take.

    Left-over cents of a tie go one each to the lowest entry ids, compared as strings. Raises ValueError when places
    are not 1, 2, 2, 4 or when the table has a prize that no entry can take.
    """
    if any(table_cents[len(places) :]):
        raise ValueError(f"{len(places)} entries cannot take {len(table_cents)} prizes: cut the table to the field")
    prizes: dict[str, int] = {}
    for tied, shared_cents in _ties(places, table_cents):
        each, left_over = divmod(shared_cents, len(tied))
        for rank, entry in enumerate(tied):
            prizes[entry] = each + (rank < left_over)
    return prizes


def award_whole_dollars(places: Mapping[str, int], table_cents: Sequence[int]) -> dict[str, int]:
    """Earnings in cents as tours publish them: the average of the tied money places, half up to a whole dollar.

    Only those who can take money belong in `places`: an amateur takes neither a place nor money. The rounding does
    not conserve the pool (Masters 2017: four shares of $52,938 out of $211,750).
    """
    earnings: dict[str, int] = {}
    for tied, shared_cents in _ties(places, table_cents):
        half_up = (2 * shared_cents + DOLLAR_CENTS * len(tied)) // (2 * DOLLAR_CENTS * len(tied))
        earnings.update(dict.fromkeys(tied, half_up * DOLLAR_CENTS))
    return earnings


def _ties(places: Mapping[str, int], table_cents: Sequence[int]) -> Iterator[tuple[list[str], int]]:
    """Best place first: the entries of a place in the order of their ids, and the cents of all the places they take."""
    groups: dict[int, list[str]] = {}
    for entry in sorted(places):
        groups.setdefault(places[entry], []).append(entry)
    next_place = 1
    for place in sorted(groups):
        if place != next_place:
            raise ValueError(f"places must go 1, 2, 2, 4: expected {next_place}, got {place} for {groups[place][0]}")
        next_place += len(groups[place])
        yield groups[place], sum(table_cents[place - 1 : next_place - 1])
