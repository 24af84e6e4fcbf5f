"""What stands for an audited row: a number for its image, the same whether worked out from the audit or from the book.

Invariant: images are compared by their canonical text, column by column, and only their sums are kept. Python's hash of
text differs from process to process: a fingerprint is compared within one, and never told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring as quote
from typing import Any, TypeAlias

import orjson

from evidence.columns import TEXT
from evidence.schemas import Column


def columns_of(image: str) -> list[str]:
    """Each column of an image, a flat JSON object in its canonical text, as `name":value`.

    Within a string a quote is escaped, so one that follows a comma stands between two columns and nowhere else.
    """
    return image[2:-1].split(',"') if image.startswith('{"') and image.endswith("}") else [image]


def values_of(image: str | None) -> dict[str, Any]:
    """The columns of an image by name: none, where it is no JSON object."""
    try:
        values = json.loads(image or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def fingerprint(columns: list[str]) -> int:
    """What stands for a row, or for some columns of it: an update subtracts what was and adds what is."""
    return sum(map(hash, columns))


def fingerprints(kinds: Mapping[str, Column], values: Sequence[Sequence[Any]]) -> Iterator[int]:
    """The fingerprints of the whole images of many rows, from the values of each column."""
    hashes = [_hashes(name, kind, column) for (name, kind), column in zip(kinds.items(), values, strict=True)]
    return map(sum, zip(*hashes, strict=True))


def _hashes(name: str, kind: Column, values: Sequence[Any]) -> list[int]:
    """Of the columns of one name, as `columns_of` has them. The texts of a column are taken out of one array of JSON,
    as those of an image are taken out of one object."""
    head = f'{name}":'
    if kind in TEXT and None in values:
        return [hash(head + ("null" if value is None else quote(value))) for value in values]
    array = orjson.dumps(values).decode()
    head, texts = (head + '"', array[2:-1].split(',"')) if kind in TEXT else (head, array[1:-1].split(","))
    return list(map(hash, map(head.__add__, texts)))


Occasion: TypeAlias = tuple[int, str | None, str | None]
"""When, for what (the correlation) and why (the cause) a transaction was posted."""


def posted(business_key: str | None, kind: str | None, occasion: Occasion) -> int:
    """What stands for a ledger transaction without its postings."""
    key, kind = ("null" if value is None else quote(value) for value in (business_key, kind))
    return hash(f'{{"business_key":{key},"kind":{kind}') + hash(occasion)


def posting(account: str, cents: int) -> int:
    """What stands for a posting: a transaction is the sum of itself and its postings, in whatever order they stand."""
    return hash(f"{quote(account)[1:]},{cents}")


def audited_post(after: str, occasion: Occasion) -> int:
    """What stands for the transaction, with its postings, that the audit row of a posting tells of: its image, and the
    occasion that the row has in common with the transaction."""
    transaction, has_postings, postings = after.partition(',"postings":[["')
    if has_postings and postings.endswith("]]}"):
        return hash(transaction) + hash(occasion) + sum(map(hash, postings[:-3].split('],["')))
    return hash(after.removesuffix(',"postings":[]}')) + hash(occasion)
