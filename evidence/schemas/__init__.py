"""All books and the version of their published contract. Readers accept this version and the one before."""

from __future__ import annotations

from evidence.schemas import platform, world
from evidence.schemas.types import BookSchema, Column

VERSION = 1
READABLE = tuple(version for version in (VERSION - 1, VERSION) if version)
BOOKS: dict[str, BookSchema] = {**platform.BOOKS, **world.BOOKS}

__all__ = ["BOOKS", "READABLE", "VERSION", "BookSchema", "Column"]
