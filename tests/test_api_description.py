"""The API description, and the small things that requests and answers are made of: fields, and instants as text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contest_platform.admin.service import SERVICES
from contest_platform.fields import BadFieldError, Field, checked, of_query
from contest_platform.instants import rfc3339
from contest_platform.openapi import OPENAPI_JSON, compiled
from contest_platform.units import UNITS
from tests.support.admin_world import AdminWorld


def test_the_committed_description_is_what_the_routes_say() -> None:
    assert OPENAPI_JSON.read_text() == compiled(), "the routes have changed: run `make snapshots`, and review"


def test_the_description_tells_of_every_route_with_a_summary_and_its_security() -> None:
    found = json.loads(OPENAPI_JSON.read_text())
    assert found["openapi"].startswith("3.1")
    ids = set()
    for path, methods in found["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert operation["security"] == [{"signature" if operation["x-access"] == "signature" else "bearer": []}]
            for response in operation["responses"].values():
                name = response["$ref"].removeprefix("#/components/responses/")
                assert name in found["components"]["responses"]
            ids.add(operation["operationId"])
    assert len(ids) == sum(len(methods) for methods in found["paths"].values())
    served = {(path, method.lower()) for path, methods in AdminWorld().app.routes.items() for method in methods}
    assert served <= {(path, method) for path, methods in found["paths"].items() for method in methods}


def test_the_start_of_an_execution_is_described_as_it_is_asked_for() -> None:
    path = json.loads(OPENAPI_JSON.read_text())["paths"]["/api/admin/runbooks/complete"]["post"]
    schema = path["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["execution_id", "status"]
    assert schema["properties"]["status"]["enum"] == ["completed", "failed", "partial"]
    assert set(schema["properties"]) == {
        "execution_id", "status", "result_json", "error_reason", "system_state_after",
    }  # fmt: skip


def test_the_services_that_are_asked_after_are_those_that_are_deployed() -> None:
    assert sorted(SERVICES) == sorted(UNITS)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_an_instant_is_told_as_datetime_tells_it(at: int) -> None:
    text = (EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert rfc3339(at, ms=True) == text
    assert rfc3339(at) == text[:-5] + "Z"


FIELDS = (
    Field("name", "a name"),
    Field("count", "how many", "integer", required=False, least=2),
    Field("kind", "which", required=False, choices=("a", "b")),
    Field("on", "whether", "boolean", required=False),
)


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": 1}, "name"),
        ({"name": "x", "count": 1}, "count"),
        ({"name": "x", "count": True}, "count"),
        ({"name": "x", "count": 2.0}, "count"),
        ({"name": "x", "kind": "c"}, "kind"),
        ({"name": "x", "on": 1}, "on"),
        ({"name": "x", "b": 1, "a": 1}, "a"),
    ],
)
def test_a_bad_field_is_named(given_: dict[str, Any], field: str) -> None:
    with pytest.raises(BadFieldError) as caught:
        checked(FIELDS, given_)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_what_is_left_out_is_none_and_what_is_given_is_as_it_came() -> None:
    assert checked(FIELDS, {"name": "x"}) == {"name": "x", "count": None, "kind": None, "on": None}
    assert checked(FIELDS, {"name": "x", "count": 2, "on": False})["on"] is False


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("-7", "-7"), ("٣", "٣"), ("7.0", "7.0"), ("", "")])
def test_an_integer_of_a_url_is_read_and_anything_else_is_left_to_be_refused(text: str, value: Any) -> None:
    assert of_query(FIELDS, {"count": text, "name": "7"}) == {"count": value, "name": "7"}
