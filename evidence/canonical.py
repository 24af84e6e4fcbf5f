"""The one byte form of JSON that is hashed: keys sorted, no space, UTF-8 as it is."""

from __future__ import annotations

from typing import Any

import orjson


def canonical(value: Any) -> bytes:
    """Raises TypeError for what is not JSON, or an integer of more than 64 bits."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
