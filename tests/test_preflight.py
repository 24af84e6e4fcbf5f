"""The checklist before a run: what it finds wrong with the platform is the platform's failure, and nothing starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from absence.errors import explain
from absence.exit_codes import ExitCode
from absence.pipeline import simulate_into
from absence.run_log import Stages
from contest_platform.access import AccessControl
from contest_platform.http import Request
from evidence.writer import RunWriter
from scenarios import load, make_plan
from simulator.run import PreflightFailed


def test_a_platform_that_lets_a_revoked_founder_in_does_not_start_and_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def believe_the_signature(self: AccessControl, request: Request, access: str) -> str:
        return "founder:somebody"

    monkeypatch.setattr(AccessControl, "establish", believe_the_signature)
    with RunWriter(tmp_path, "run") as writer, pytest.raises(PreflightFailed) as failed:
        simulate_into(writer, make_plan(load("small"), 1), Stages(), None)
    assert any("founder" in failure and "still let in" in failure for failure in failed.value.failures)
    code, lines = explain(failed.value)
    assert code is ExitCode.BUSINESS_REJECT
    assert "FAIL" in lines[0]
    assert not (tmp_path / "run").exists()


def test_a_platform_that_takes_forged_tokens_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contest_platform.access.hmac.compare_digest", lambda *_: True)
    with RunWriter(tmp_path, "run") as writer, pytest.raises(PreflightFailed) as failed:
        simulate_into(writer, make_plan(load("small"), 1), Stages(), None)
    assert any("a forged customer's token" in failure for failure in failed.value.failures)
