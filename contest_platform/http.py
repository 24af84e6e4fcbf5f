"""Requests and responses of the platform's edge, independent of any web server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """`body` is the parsed JSON for API calls; `raw` the exact bytes, which webhook signatures cover; `query` the
    parameters of the URL, each given once."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
