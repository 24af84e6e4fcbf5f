"""People: customers, golfers and staff, with names from Faker's tables by keyed draws.

Invariant: the same draws give the same people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from evidence.plan import Entrant, Golfer, Principal
from seams.draws import GOLDEN, Draws, mix


@cache
def _names() -> list[list[str]]:
    """First names and last names: compile_names.py makes the file."""
    return [names.split() for names in Path(__file__).with_name("names.txt").read_text().split("\n\n")]


def _pick(options: Sequence[str], bits: int) -> str:
    return options[(bits * len(options)) >> 64]


def _name(bits: int) -> tuple[str, str]:
    """First and last name for 64 drawn bits."""
    first, last = _names()
    return _pick(first, mix(bits + GOLDEN)), _pick(last, mix(bits + 2 * GOLDEN))


def entrants(draws: Draws, count: int) -> list[Entrant]:
    """`count` customers. Names may repeat, as they do; ids, e-mail addresses and payout accounts do not."""
    people = []
    for number in range(1, count + 1):
        bits = draws.bits("entrant", number)
        first, last = _name(bits)
        mailbox = re.sub("[^a-z]", "", f"{first}{last}".lower())
        people.append(
            Entrant(
                id=f"user_{number:05d}",
                name=f"{first} {last}",
                email=f"{mailbox}.{number}@example.com",
                account_id=f"acct_{mix(bits):016x}",
            )
        )
    return people


def golfers(draws: Draws, count: int) -> list[Golfer]:
    """`count` golfers, no two of one name. The same draws give the same golfers first, however many are asked for."""
    taken: dict[str, str] = {}
    attempt = 0
    while len(taken) < count:
        first, last = _name(draws.bits("golfer", attempt))
        taken.setdefault(f"{first} {last}", f"g{len(taken) + 1:03d}")
        attempt += 1
    return [Golfer(id=id, name=name) for name, id in taken.items()]


def principals(draws: Draws, founders: int, engineers: int, ops: int) -> list[Principal]:
    """The humans with access, with ids `role:name`, each name once."""
    first, _ = _names()
    names = iter(draws.shuffled(sorted({name.lower() for name in first if name.isalpha()}), "principals"))
    people = []
    for _ in range(founders):
        people.append(Principal(id=f"founder:{next(names)}", role="founder"))
    for _ in range(engineers):
        people.append(Principal(id=f"engineer:{next(names)}", role="engineer"))
    for _ in range(ops):
        people.append(Principal(id=f"ops:{next(names)}", role="ops"))
    return people
