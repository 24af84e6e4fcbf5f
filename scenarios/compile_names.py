"""Compiles Faker's tables of names into names.txt: `python -m scenarios.compile_names` (`make snapshots`).

Plans are made of these names, so they change when names are compiled anew, not whenever another Faker is installed.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from faker.providers.person.en_US import Provider

NAMES = Path(__file__).with_name("names.txt")


def compiled() -> str:
    """The text of names.txt: first names, a blank line, last names; each sorted and once."""
    tables = (Provider.first_names, Provider.last_names)
    return "\n\n".join(textwrap.fill(" ".join(sorted(set(table))), 120) for table in tables) + "\n"


if __name__ == "__main__":
    NAMES.write_text(compiled())
