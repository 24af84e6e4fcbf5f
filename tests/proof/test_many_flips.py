"""Many bytes of a run directory flipped, one at a time (PROOF_FLIPS of them, 2,000 by default): each names its file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest

from absence import verifying
from evidence import manifest, verify
from evidence.books import BookDamaged, book_path, canonical_digest
from evidence.schemas import BOOKS
from tests.support.command import Ran

FLIPS = int(os.environ.get("PROOF_FLIPS", "2000"))
BATCHES = 20
DAMAGED_BOOKS = 10 * FLIPS


@pytest.fixture(scope="module")
def played_with(small_run: Ran, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(small_run.path, tmp_path_factory.mktemp("played") / "with")


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_byte_flipped_anywhere_names_its_file(played_with: Path, batch: int) -> None:
    random = Random(batch)
    names = ["manifest.json", *manifest.files(played_with)]
    missed = []
    for number in range(batch, FLIPS, BATCHES):
        # Every file has its turn; small ones would hardly ever be met otherwise.
        name = names[number % len(names)]
        before = (played_with / name).read_bytes()
        content, place = bytearray(before), random.randrange(len(before))
        content[place] ^= 1 << random.randrange(8)
        (played_with / name).write_bytes(content)
        found = {problem.file for problem in verify.verify(played_with)}
        if name not in found or not found <= {name, "manifest.json"}:
            missed.append((name, place, found))
        (played_with / name).write_bytes(before)
    assert missed == []
    assert verifying.check(played_with).problems == []


def test_a_book_of_whatever_bytes_is_read_or_said_to_be_damaged(played_with: Path) -> None:
    """The library that reads Parquet is given what nobody wrote; anything but BookDamaged would be told as our bug."""
    random = Random(7)
    damaged = 0
    for number in range(DAMAGED_BOOKS):
        book = list(BOOKS)[number % len(BOOKS)]
        path = book_path(played_with / "books", book)
        before = path.read_bytes()
        content = bytearray(before)
        for _ in range(random.randrange(1, 12)):
            content[random.randrange(len(content))] = random.randrange(256)
        path.write_bytes(content[: random.randrange(len(content))] if random.randrange(10) == 0 else content)
        try:
            canonical_digest(path, BOOKS[book])
        except BookDamaged:
            damaged += 1
        path.write_bytes(before)
    assert DAMAGED_BOOKS // 2 < damaged < DAMAGED_BOOKS
