"""The faults of the way to the hosts, in whole runs: with the parameters that they can have, and in the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fault_injectors import registry
from scenarios import load, make_plan
from tests.support.alone import SMALL, Run, simulated
from tests.support.command import ROOT, bitten

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *(("winrm.unavailable", {"operation": operation, "status": 500}) for operation in ("command", "receive", "delete")),
    *(("winrm.html", {"operation": operation}) for operation in ("create", "command", "signal", "delete")),
    *(("winrm.wrong_relates_to", {"operation": operation}) for operation in ("create", "command", "delete")),
    ("winrm.quota", {"fault": "commands", "wmi": False, "operation": "command"}),
    ("winrm.quota", {"fault": "not_allowed", "wmi": False}),
    ("winrm.receive_times_out", {"minutes": 45, "times": 5}),
    ("winrm.create_lost", {"times": 5}),
    ("winrm.shells_leaked", {"minutes": 10}),
    ("ssh.refused", {"refusals": 10}),
]
LEAKS = {("winrm.create_lost", ""), ("winrm.wrong_relates_to", "create")}
"""After these a shell is open of which the platform cannot know: it is left to time out, and told."""


def run_of(fault: str, params: dict[str, Any], folder: Path) -> Run:
    path = folder / "variant.yaml"
    given = ", ".join(f"{name}: {str(value).lower()}" for name, value in params.items())
    path.write_text(f"{SMALL.read_text()}\nfaults:\n  - {{fault: {fault}, params: {{{given}}}}}\n")
    return simulated(make_plan(load(path), 1), folder)


@pytest.mark.parametrize(("fault", "params"), VARIANTS, ids=[f"{fault}-{given}" for fault, given in VARIANTS])
def test_it_is_got_over_with_other_parameters_too(fault: str, params: dict[str, Any], tmp_path: Path) -> None:
    run = run_of(fault, params, tmp_path)
    assert run.status == "PASS", (run.broken(), run.verdict.not_exercised)
    [planned] = [one for one in run.evidence.plan.faults if one.fault == fault]
    assert bitten(run, planned)
    assert {order.status for order in run.rows("platform.remediation_orders")} == {"COMPLETED"}
    told = {bite.victim for bite in run.rows("injector.bites", operation="leak")}
    ours = [shell for shell in run.rows("hosts.shells") if shell.shell_id not in told]
    idle = sum(shell.how == "idle" for shell in ours)
    assert bool(idle) is ((fault, params.get("operation", "")) in LEAKS)
    if fault.startswith("winrm."):
        [seen] = [one for one in run.verdict.results if one.id == "healing.no_shell_left"]
        assert (seen.saw, seen.owed) == (len(ours), len(ours))
        assert seen.unit == (f"shells, {idle} of them left to time out" if idle else "shells")


@pytest.mark.parametrize("id", [id for id in registry() if id.startswith(("winrm.", "ssh."))])
def test_a_fault_of_the_way_to_a_host_has_its_row_in_the_docs_as_it_is_declared(id: str) -> None:
    cls = registry()[id]
    text = (ROOT / "docs" / "faults" / "hosts.md").read_text()
    [row] = [line for line in text.splitlines() if line.startswith(f"| `{id}` |")]
    cells = [cell.strip() for cell in row.split("|")[2:6]]
    assert cells == [cls.title, cls.imitates, cls.exercises, f"L1 rule: {cls.recovery.how}"]
    assert cls.recovery.by == "rule"
