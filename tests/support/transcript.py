"""A console session with opsctl as text: `$ opsctl …` outside a runbook, `step$ opsctl …` in a step of one.

Below a command stands its output and, when it is not 0, its exit status as `[1]`. Ids stand as `<name>`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.support.admin_world import AdminWorld
from tests.support.prepared import an_execution, prepared

SESSION = Path(__file__).parents[1] / "golden" / "opsctl" / "session.txt"
IN_STEP, OUTSIDE = "step$ opsctl ", "$ opsctl "


def names(world: AdminWorld) -> dict[str, str]:
    """`<name>` -> id, of what has been prepared and of the execution that has ended."""
    transfers = {row["entry_id"]: row for row in world.rows("select * from transfers")}
    [order] = world.rows("select order_id, incident_id from remediation_orders")
    return {
        **{f"<{user}>": transfers[f"c1-{user}"]["transfer_id"] for user in ("ann", "bob", "cyd")},
        "<key>": transfers["c1-ann"]["idempotency_key"],
        "<order>": order["order_id"],
        "<incident>": order["incident_id"],
    }


def commands(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith((IN_STEP, OUTSIDE))]


def told(text: str) -> list[tuple[str, str]]:
    """(command, what stands below it) in the order of the session."""
    blocks: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith((IN_STEP, OUTSIDE)):
            blocks.append((line.rstrip("\n"), ""))
        else:
            command, output = blocks.pop()
            blocks.append((command, output + line))
    return blocks


def played(lines: list[str]) -> Iterator[tuple[str, str]]:
    """(command, output) of the same commands on a platform prepared anew."""
    world = prepared()
    ended = an_execution(world)
    running = world.start()
    ids = {**names(world), "<ended>": ended, "<running>": running}
    for line in lines:
        in_step = line.startswith(IN_STEP)
        typed = line.removeprefix(IN_STEP if in_step else OUTSIDE)
        for name, real in ids.items():
            typed = typed.replace(name, real)
        output = world.opsctl(typed, running if in_step else "")
        text = output.text + (f"[{output.status}]\n" if output.status else "")
        for name, real in ids.items():
            text = text.replace(real, name)
        yield line, text
