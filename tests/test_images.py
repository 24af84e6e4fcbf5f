"""What stands for an audited row: the same from the audit and from the book, and another for every other row."""

from __future__ import annotations

from typing import Any

import pytest

from assertions.images import audited_post, columns_of, fingerprint, fingerprints, posted, posting, values_of
from evidence.schemas import Column
from tests.support.scribe import encode

KINDS = {"id": Column.STR, "said": Column.JSON, "cents": Column.CENTS, "at": Column.AT, "full": Column.BOOL}
ROWS: list[dict[str, Any]] = [
    {"id": "a", "said": encode(["x", "y"]), "cents": -1, "at": 1_780_000_000_000, "full": True},
    {"id": 'quo"te,"cents":7', "said": '{"a":"b,\\"c"}', "cents": 0, "at": None, "full": False},
    {"id": "Zoë\n\\", "said": None, "cents": None, "at": -1, "full": None},
]


def of_book(rows: list[dict[str, Any]]) -> list[int]:
    return list(fingerprints(KINDS, [[row[name] for row in rows] for name in KINDS]))


def test_a_row_has_one_fingerprint_by_the_book_and_by_its_audit() -> None:
    assert of_book(ROWS) == [fingerprint(columns_of(encode(row))) for row in ROWS]
    assert len(set(of_book(ROWS))) == len(ROWS)


def test_an_update_takes_away_what_was_and_adds_what_is() -> None:
    before, after = {"cents": -1, "said": None}, {"cents": -2, "said": "[]"}
    inserted = fingerprint(columns_of(encode({**ROWS[0], **before})))
    updated = inserted + fingerprint(columns_of(encode(after))) - fingerprint(columns_of(encode(before)))
    assert [updated] == of_book([{**ROWS[0], **after}])


@pytest.mark.parametrize("cents", [1, 2, 3, 100, 128, 4_096, 10**9])
def test_amounts_edited_against_each_other_never_cancel_out(cents: int) -> None:
    """A row, or a transaction, that still adds up is not yet the one that was audited."""
    kinds = {"a_cents": Column.CENTS, "b_cents": Column.CENTS}
    assert list(fingerprints(kinds, [[300], [-300]])) != list(fingerprints(kinds, [[300 + cents], [-300 - cents]]))
    assert posting("a", 300) + posting("b", -300) != posting("a", 300 + cents) + posting("b", -300 - cents)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1, "b":"x"}',
        '{"a":1,"a":1,"b":"x"}',
        '{"a":1}',
        '{"a":1,"b":"x"',
        '"a":1,"b":"x"',
        '{"a":1,"b":"x","c":null}',
        "7",
    ],
)
def test_nothing_but_the_whole_image_in_its_canonical_text_stands_for_a_row(text: str) -> None:
    [whole] = fingerprints({"a": Column.INT, "b": Column.STR}, [[1], ["x"]])
    assert fingerprint(columns_of('{"a":1,"b":"x"}')) == whole
    assert fingerprint(columns_of(text)) != whole


@pytest.mark.parametrize("text", [None, "", "no json", "[1]", '{"a":1}x'])
def test_what_is_no_json_object_tells_of_no_column(text: str | None) -> None:
    assert values_of(text) == {}
    assert values_of('{"a":1}') == {"a": 1}


@pytest.mark.parametrize("postings", [[], [["a", 1], ["b", -1]], [['x"],["y', 3], ["é", -2], ["z", -1]]])
def test_a_ledger_transaction_has_one_fingerprint_in_whatever_order_its_postings_stand(postings: list[Any]) -> None:
    after = encode({"business_key": 'k"1', "kind": "k", "postings": postings})
    occasion = (1_780_000_000_000, "c1", "e7")
    whole = posted('k"1', "k", occasion) + sum(posting(account, cents) for account, cents in reversed(postings))
    assert audited_post(after, occasion) == whole
    assert audited_post(after.replace(":[", ": ["), occasion) != whole
    for other in ((1_780_000_000_001, "c1", "e7"), (1_780_000_000_000, "c2", "e7"), (1_780_000_000_000, "c1", None)):
        assert audited_post(after, other) != whole
