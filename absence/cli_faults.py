"""`absence faults`: what can be injected, and how the platform gets over it."""

from __future__ import annotations

from typing import Any

import click

from absence.errors import reported
from absence.opening import AS_JSON
from absence.output import print_json


@click.group()
def faults() -> None:
    """The faults and violations that can be injected.

    \b
    absence faults list
    """


def _values(stated: dict[str, Any]) -> str:
    """What a parameter may be, from its JSON schema: `integer 2..60`, or its choices."""
    if "const" in stated or "enum" in stated:
        return " or ".join(str(choice) for choice in stated.get("enum", [stated.get("const")]))
    low, high = stated.get("minimum", ""), stated.get("maximum", "")
    return str(stated.get("type", "any")) + (f" {low}..{high}" if (low, high) != ("", "") else "")


@faults.command("list")
@AS_JSON
def faults_list(as_json: bool) -> None:
    """Each fault: its seam, parameters with units, what it imitates, and how the platform gets over it.

    \b
    absence faults list
    absence faults list --json
    """
    with reported(as_json):
        import fault_injectors

        listed = {}
        for fault_id, fault in fault_injectors.registry().items():
            parameters = {
                name: _values(stated) for name, stated in fault.Params.model_json_schema().get("properties", {}).items()
            }
            listed[fault_id] = {
                "kind": fault.kind,
                "title": fault.title,
                "seam": f"{fault.seam}/{fault.operation}",
                "parameters": parameters,
                "imitates": fault.imitates,
                "exercises": fault.exercises,
                "recovery": f"{fault.recovery.by}: {fault.recovery.how}",
            }
        if as_json:
            print_json(listed)
            return
        for fault_id, told in listed.items():
            click.echo(f"{fault_id} ({told['kind']}): {told['title']}")
            for name in ("seam", "parameters", "imitates", "exercises", "recovery"):
                value = told[name]
                if isinstance(value, dict):
                    value = ", ".join(f"{key} ({kind})" for key, kind in value.items()) or "none"
                click.echo(f"    {name:<10} {value}")
