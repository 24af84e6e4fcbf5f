"""From fees to prizes: what a contest collects, keeps and pays, and how tied entries share.

Invariant: in whole cents the awards of a contest sum to its prize pool exactly. Published earnings are the exception
(`Rounding.WHOLE_DOLLARS_HALF_UP`): each share is rounded by itself, and nobody is paid by it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

BASIS_POINTS: Final = 10_000


class Rounding(Enum):
    """How a tied group's sum becomes equal shares.

    CENTS pays customers: whole cents, the left-over ones handed out in the tie-break order, nothing lost.
    WHOLE_DOLLARS_HALF_UP reproduces the earnings that tours publish (2017 Masters, T36: 4 x 52,938 of 211,750).
    """

    CENTS = "cents"
    WHOLE_DOLLARS_HALF_UP = "whole_dollars_half_up"


@dataclass(frozen=True, slots=True)
class ContestMoney:
    """The money of one contest: collected - rake + overlay = pool. The overlay is the platform's cost."""

    collected_cents: int
    rake_cents: int
    pool_cents: int
    overlay_cents: int

    def __post_init__(self) -> None:
        if self.collected_cents - self.rake_cents + self.overlay_cents != self.pool_cents:
            raise ValueError(f"contest money does not balance (collected - rake + overlay = pool): {self}")
        if min(self.collected_cents, self.rake_cents, self.pool_cents, self.overlay_cents) < 0:
            raise ValueError(f"contest money: no amount may be negative: {self}")


@dataclass(frozen=True, slots=True)
class Award:
    """What one entry is paid, 0 included.

    `tie_break` is None when the entry has its place alone; otherwise its position from 1 in the fixed order of the
    entries it shares with (lowest id first, compared as strings), which decides who gets a left-over cent.
    """

    cents: int
    tie_break: int | None


def contest_money(entries: int, fee_cents: int, rake_bp: int, guaranteed_cents: int | None) -> ContestMoney:
    """Work out a contest's money from its valid entries; `guaranteed_cents` is None when no pool is guaranteed.

    The rake is of the fees collected, in basis points, rounded down to a cent. Raises ValueError for a negative
    argument or a rake above 10 000.
    """
    if min(entries, fee_cents, rake_bp, guaranteed_cents or 0) < 0 or rake_bp > BASIS_POINTS:
        raise ValueError(
            f"contest money: expected nothing negative and a rake of at most {BASIS_POINTS} bp, got {entries} entries, "
            f"fee {fee_cents}, rake {rake_bp} bp, guaranteed {guaranteed_cents}"
        )
    collected = entries * fee_cents
    rake = collected * rake_bp // BASIS_POINTS
    net = collected - rake
    pool = net if guaranteed_cents is None else max(net, guaranteed_cents)
    return ContestMoney(collected_cents=collected, rake_cents=rake, pool_cents=pool, overlay_cents=pool - net)


def prize_table(pool_cents: int, shares_bp: Sequence[int], entries: int) -> tuple[int, ...]:
    """Split the pool into prizes in cents by place from 1, as many as there are both shares and entries.

    `shares_bp` sums to 10 000; the shares in use are renormalised. Cents are given by largest remainder, equal
    remainders to the better place. Raises ValueError for shares that are no prize table, and for a pool that nobody
    can win: a contest without entries, or with nothing but zero shares in use.
    """
    if sum(shares_bp) != BASIS_POINTS or min(shares_bp) < 0:
        raise ValueError(f"prize shares: expected none negative and a sum of {BASIS_POINTS} bp, got {list(shares_bp)}")
    if pool_cents < 0 or entries < 0:
        raise ValueError(f"prize table: expected a pool and entries of 0 or more, got {pool_cents} and {entries}")
    shares = shares_bp[:entries]
    whole = sum(shares)
    if whole == 0:
        if pool_cents:
            raise ValueError(f"prize table: {entries} entries hold no share of a pool of {pool_cents} cents")
        return (0,) * len(shares)
    prizes = [pool_cents * share // whole for share in shares]
    # sorted() is stable, so equal remainders keep the better place first.
    by_remainder = sorted(range(len(shares)), key=lambda index: -(pool_cents * shares[index] % whole))
    for index in by_remainder[: pool_cents - sum(prizes)]:
        prizes[index] += 1
    return tuple(prizes)


def split_prizes(
    places: Mapping[str, int], table_cents: Sequence[int], rounding: Rounding = Rounding.CENTS
) -> dict[str, Award]:
    """Award every entry; those tied on places p to q share the sum of these places' prizes equally.

    `places` is by entry id, ranked 1, 2, 2, 4; a place beyond the table is worth 0. Raises ValueError for places that
    are no such ranking and, in cents, for a table that gives money to places nobody can take: either would lose or
    invent money.
    """
    if any(cents < 0 for cents in table_cents):
        raise ValueError(f"prize table: no prize may be negative, got {list(table_cents)}")
    if rounding is Rounding.CENTS and any(table_cents[len(places) :]):
        raise ValueError(f"prize table: pays places beyond the {len(places)} entries: {list(table_cents)}")
    tied: defaultdict[int, list[str]] = defaultdict(list)
    for entry, place in places.items():
        tied[place].append(entry)
    awards: dict[str, Award] = {}
    for place, group in sorted(tied.items()):
        if place != len(awards) + 1:
            raise ValueError(
                f"places: expected {len(awards) + 1} after {len(awards)} entries (1, 2, 2, 4), got {place}"
            )
        prize = sum(table_cents[place - 1 : place - 1 + len(group)])
        if len(group) == 1:
            awards[group[0]] = Award(_shares(prize, 1, rounding)[0], None)
            continue
        # Ids are unique and the order is by them alone, so neither the score nor the order of arrival moves a cent.
        in_order = zip(sorted(group), _shares(prize, len(group), rounding), strict=True)
        for position, (entry, cents) in enumerate(in_order, start=1):
            awards[entry] = Award(cents, position)
    return awards


def _shares(prize_cents: int, sharing: int, rounding: Rounding) -> list[int]:
    if rounding is Rounding.WHOLE_DOLLARS_HALF_UP:
        dollars = (2 * prize_cents + 100 * sharing) // (200 * sharing)  # floor(average / 100 + 1/2), without floats
        return [100 * dollars] * sharing
    each, left_over = divmod(prize_cents, sharing)
    return [each + 1] * left_over + [each] * (sharing - left_over)
