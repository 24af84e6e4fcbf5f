"""The profiles of the environments: what each connects to, under which names its secrets are kept, and its settings.

Invariant: no secret stands in a profile, and staging and production share nothing through which one could reach into
the other.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

NAMES = ("staging", "production")
SEPARATE = (
    "processor.mode", "processor.key_secret", "processor.webhook_secret", "processor.webhook_url", "provider.url",
    "provider.key_secret", "store.database",
)  # fmt: skip
"""What must not be the same in any two environments."""


@cache
def profile(name: str) -> dict[str, Any]:
    """The committed profile of an environment. Raises ValueError when there is none of this name."""
    if name not in NAMES:
        raise ValueError(f"no environment {name}; there are {', '.join(NAMES)}")
    found: dict[str, Any] = json.loads(Path(__file__).with_name(f"{name}.json").read_text())
    return found


def shared() -> list[str]:
    """What staging and production must not share, and do, or leave unsaid."""
    staging, production = profile("staging"), profile("production")
    values = {path: (_at(staging, path), _at(production, path)) for path in SEPARATE}
    return [path for path, (one, other) in values.items() if not one or not other or one == other]


def _at(profile: dict[str, Any], path: str) -> Any:
    part, _, name = path.partition(".")
    return profile.get(part, {}).get(name)
