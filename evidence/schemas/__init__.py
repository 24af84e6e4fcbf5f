"""All books and the version of their published contract. Readers accept this version and the one before."""

from __future__ import annotations

from evidence.schemas.types import BookSchema, Column
from evidence.schemas.versions import BOOKS, READABLE, VERSION, books_of, fingerprint, since

__all__ = ["BOOKS", "READABLE", "VERSION", "BookSchema", "Column", "books_of", "fingerprint", "since"]
