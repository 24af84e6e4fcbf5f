"""Every defect of the catalogue, as `make mutants` runs them: each is killed by all that it breaks."""

from __future__ import annotations

from defects import catalogue
from tests.support.command import process


def test_every_defect_is_killed_as_expected() -> None:
    told = process("mutants", "--json")
    assert told.exit_code == 0, told.stdout
    assert (told.json["killed"], told.json["planted"]) == (len(catalogue()), len(catalogue()))
