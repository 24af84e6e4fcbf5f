"""Runs in which shells were left behind on a host."""

from __future__ import annotations

from typing import Any

from assertions.model import Status
from tests.support.broken_runs.change import add, breaks, remove, row
from tests.support.fake_evidence import FakeEvidence
from tests.support.small_run import HOUR

MINUTE = 60_000


def _leaked(evidence: FakeEvidence, opened_after: int, **answer: Any) -> None:
    """A shell opened so long after the honest one, two hours idle."""
    honest = row(evidence, "hosts.shells")
    opened_at = honest["opened_at"] + opened_after
    created = {**row(evidence, "hosts.exchanges", operation="Create"), "at": opened_at, "shell_id": "", **answer}
    del created["n"]
    add(evidence, "hosts.exchanges", **created)
    add(evidence, "hosts.shells", opened_at=opened_at, used_at=opened_at + MINUTE, host=honest["host"], shell_id="s-9",
        closed_at=opened_at + MINUTE + 2 * HOUR, how="idle")  # fmt: skip


@breaks("healing.no_shell_left")
def a_shell_was_left_though_its_answer_had_come(evidence: FakeEvidence) -> None:
    _leaked(evidence, HOUR)


@breaks("healing.no_shell_left")
def a_shell_was_left_after_a_receive_that_failed(evidence: FakeEvidence) -> None:
    _leaked(evidence, HOUR)
    shell = evidence.books["hosts.shells"][-1]
    add(evidence, "hosts.exchanges", at=shell["used_at"], host=shell["host"], operation="Receive", status=503,
        soap=False, related=True, answered=True)  # fmt: skip


@breaks("healing.no_shell_left")
def a_shell_is_open_that_its_host_should_have_ended(evidence: FakeEvidence) -> None:
    _leaked(evidence, HOUR, answered=False)
    evidence.books["hosts.shells"][-1].update(closed_at=None, how="open")


@breaks("healing.no_shell_left", Status.INCONCLUSIVE)
def the_host_tells_nothing_of_a_shell_that_it_opened(evidence: FakeEvidence) -> None:
    remove(evidence, "hosts.shells")
