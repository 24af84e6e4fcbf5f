"""Compiles the route table into openapi.json: `python -m contest_platform.openapi` (`make snapshots`).

Invariant: every route of the public unit stands in the description with its fields, and nothing else does.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from contest_platform.app import App
from contest_platform.fields import Field
from contest_platform.service import Config, Route
from contest_platform.units import UNITS

OPENAPI_JSON = Path(__file__).with_name("openapi.json")
VERSION = "1.0.0"

_SECURITY = {"customer": "bearer", "agent": "bearer", "admin": "bearer", "signature": "signature"}
_STEP_HEADERS = ("runbook-execution", "runbook-step")
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "field": {"type": "string"}},
}
_REFUSALS = {
    "400": "A field is missing, unknown or not what it has to be",
    "401": "Not proven who calls, or no longer trusted",
    "403": "Proven who calls, and he may not",
    "404": "There is no such thing",
    "409": "Not as things stand",
    "422": "The content cannot be processed",
    "503": "Something that the platform depends on did not serve",
}


def compiled() -> str:
    """The text of openapi.json."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 description of the platform's public address: what this code serves, and so always the same."""
    nowhere: Any = _Nowhere()
    config = Config((), "", {})
    services = [build(nowhere, config) for unit in UNITS.values() if unit.public for build in unit.services]
    routes = App(nowhere, config, services).routes
    paths = {
        path: {method.lower(): _operation(method, path, route) for method, route in sorted(methods.items())}
        for path, methods in sorted(routes.items())
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Contest platform", "version": VERSION},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "signature": {"type": "apiKey", "in": "header", "name": "Stripe-Signature"},
            },
            "schemas": {"Error": _ERROR},
            "responses": {
                "Done": _response("Done", {"type": "object"}),
                **{
                    f"Refused{status}": _response(why, {"$ref": "#/components/schemas/Error"})
                    for status, why in _REFUSALS.items()
                },
            },
        },
    }


def committed() -> dict[str, Any]:
    """The description that openapi.json holds."""
    found: dict[str, Any] = json.loads(OPENAPI_JSON.read_text())
    return found


class _Nowhere:
    """Stands for ports while a route table is built: whatever is taken of it takes note of everything and does
    nothing."""

    def __getattr__(self, name: str) -> Any:
        return _Nowhere()

    def __call__(self, *_: Any, **__: Any) -> int:
        return 0


def _operation(method: str, path: str, route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": method.lower() + "_" + path.strip("/").replace("/", "_"),
        "summary": route.summary,
        "x-access": route.access,
        "security": [{_SECURITY[route.access]: []}],
    }
    parameters = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in (_STEP_HEADERS if route.acting else ())
    ]
    if method == "GET":
        parameters += [
            {"name": field.name, "in": "query", "required": field.required, "description": field.help,
             "schema": _schema(field)}
            for field in route.fields
        ]  # fmt: skip
    elif route.fields:
        body = {
            "type": "object",
            "additionalProperties": False,
            "required": [field.name for field in route.fields if field.required],
            "properties": {field.name: {**_schema(field), "description": field.help} for field in route.fields},
        }
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if parameters:
        operation["parameters"] = parameters
    operation["responses"] = {
        "2XX": {"$ref": "#/components/responses/Done"},
        **{status: {"$ref": f"#/components/responses/Refused{status}"} for status in _REFUSALS},
    }
    return operation


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _schema(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": field.kind}
    if field.choices:
        schema["enum"] = list(field.choices)
    if field.kind == "integer":
        schema["minimum"] = field.least
    if field.kind == "array":
        schema["items"] = {"type": "string"}
    return schema


if __name__ == "__main__":
    OPENAPI_JSON.write_text(compiled())
