"""opsctl: what is typed, what it asks of the platform, and what it prints to the letter."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contest_platform import opsctl
from contest_platform.http import Request, Response
from contest_platform.openapi import document
from contest_platform.opsctl import Output
from contest_platform.opsctl_commands import COMMANDS, Command
from contest_platform.opsctl_printing import Outcome, Pairs, Records, printed, quoted
from contest_platform.ports import ConnectionFailed, ConnectionLost, DeadlineExceeded
from tests.support.admin_world import LEE, AdminWorld
from tests.support.prepared import prepared
from tests.support.stores import on_each_store
from tests.support.transcript import SESSION, commands, played, told

pytestmark = on_each_store

TOLD = told(SESSION.read_text())
AROUND_A_RUNBOOK = {f"/api/admin/runbooks/{word}" for word in ("start", "steps", "complete")}


# --- what it prints ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session() -> list[tuple[str, str]]:
    """The golden session, played on a platform of today."""
    return list(played([command for command, _ in TOLD]))


@pytest.mark.parametrize("place", range(len(TOLD)), ids=lambda place: TOLD[place][0])
def test_a_command_prints_what_stands_in_the_golden_session(session: list[tuple[str, str]], place: int) -> None:
    assert session[place] == TOLD[place]


def test_the_golden_session_tries_every_command_but_those_that_print_a_hash() -> None:
    tried = set()
    for line in commands(SESSION.read_text()):
        words = shlex.split(line.partition("opsctl ")[2])
        tried |= {tuple(words[:count]) for count in (1, 2, 3)}
    hashed = {("audit", "verify"), ("anchor", "status")}
    assert set(COMMANDS) - tried == hashed | {words for words in COMMANDS if words[0] == "backup"}


def test_a_chain_that_holds_and_one_that_does_not() -> None:
    world = prepared()
    last = world.rows("select seq, hash from audit_log order by seq desc limit 1")[0]
    assert world.opsctl("audit verify").text == f"intact=yes rows={last['seq']} head_hash={last['hash']} problem=-\n"
    world.connection.execute("drop trigger audit_log_refuses_update")
    world.connection.execute("drop trigger audit_log_refuses_delete")
    for damage, problem in (
        ("update audit_log set reason = 'nothing' where seq = 30", "row 30 is not what was hashed"),
        ("update audit_log set prev_hash = hash where seq = 20", "row 20 does not carry the hash of the row before it"),
        ("delete from audit_log where seq = 10", "row 10 is missing"),
    ):
        world.connection.execute(damage)
        output = world.opsctl("audit verify")
        seq = int(re.findall(r"row (\d+)", problem)[0])
        assert output.text.startswith(f"intact=no rows={seq - 1} ")
        assert output.text.endswith(f'problem="{problem}"\n')


def test_a_chain_longer_than_a_page_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contest_platform.admin.service.PAGE", 7)
    world = prepared()
    rows = world.rows("select max(seq) as n from audit_log")[0]["n"]
    assert f"intact=yes rows={rows} " in world.opsctl("audit verify").text
    assert [name for name in world.store.log if name == "admin.audit_verify"] == ["admin.audit_verify"] * (
        rows // 7 + 1
    )


def test_how_far_the_log_is_anchored() -> None:
    world = prepared()
    last = world.rows("select seq, hash from audit_log order by seq desc limit 1")[0]
    text = f"head_seq={last['seq']} published_seq=5 behind={last['seq'] - 5} published_at=2026-01-08T10:00:00Z paged=no"
    assert world.opsctl("anchor status").text == f"stale=no {text} head_hash={last['hash']}\n"
    world.runtime.at += 3 * 3_600_000
    assert world.opsctl("anchor status").text == f"stale=yes {text} head_hash={last['hash']}\n"
    never = AdminWorld().opsctl("anchor status").text
    assert never.startswith("stale=yes head_seq=1 published_seq=0 behind=1 published_at=- paged=no ")


def test_hosts_and_identity_provider_that_do_not_answer_are_told_as_such() -> None:
    world = prepared()
    world.hosts.down = {"lin-1": ConnectionFailed("down")}
    services = world.opsctl("hosts services lin-1").text.splitlines()
    assert services == [
        f"host=lin-1 service={service} state=unreachable detail=connection_failed"
        for service in ("app", "ingestion", "settlement")
    ]
    world.auth.answers["tok_health"] = DeadlineExceeded("lost")
    assert world.opsctl("auth health").text.startswith("answers=no code=deadline_exceeded attempts_1h=")
    world.auth.answers[f"tok-{LEE}"] = DeadlineExceeded("lost")
    assert world.call("GET", "state", principal=LEE).status == 401
    assert world.opsctl("auth health").text.endswith(" denied_1h=1 unanswered_1h=1\n")


def test_ingestion_lags_only_while_play_is_on() -> None:
    world = AdminWorld()
    world.runtime.at += 2 * 86_400_000 - 1
    assert " in_play=no lag_s=0 last_success_at=- " in world.opsctl("ingestion status").text
    world.runtime.at += 90 * 60_000
    assert " in_play=yes lag_s=5399 last_success_at=- " in world.opsctl("ingestion status").text


# --- how it is printed ------------------------------------------------------------------------------------------------

PAIR = re.compile(r'([a-z_0-9]+)=("(?:[^"\\]|\\.)*"|[^ "]+)(?: |$)')
ESCAPE = re.compile(r"\\(?:u\{([0-9a-f]+)\}|(n)|(.))")


def unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    return ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\n" if found[2] else found[3], text[1:-1])


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_every_value_can_be_told_from_the_next_and_read_back(values: list[str]) -> None:
    line = " ".join(f"k{n}={quoted(value)}" for n, value in enumerate(values))
    assert line.splitlines() == [line]
    found = PAIR.findall(line)
    assert [(key, unquoted(text)) for key, text in found] == [(f"k{n}", value) for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("printer", "body", "lines"),
    [
        (Records({"items": "a b:c"}), {"items": [{"a": 1, "c": None}, {"a": True, "c": "-"}]},
         ["a=1 b=-", 'a=yes b="-"']),
        (Records({"items": "a"}), {"items": []}, ["none"]),
        (Records({"items": "a", "parts": "p:n"}), {"items": [{"a": 0}], "parts": [{"n": 2}]}, ["a=0", "p=2"]),
        (Records({"items": "a"}), {"items": [{"a": ""}], "more": True}, ['a=""', "more=yes"]),
        (Records({"items": "at next_at"}), {"items": [{"at": 1_780_575_562_999, "next_at": 0}]},
         ["at=2026-06-04T12:19:22Z next_at=1970-01-01T00:00:00Z"]),
        (Records({"items": "cents:amount_cents ok"}), {"items": [{"amount_cents": -5, "ok": 0}]}, ["cents=-5 ok=no"]),
        (Records({"items": "a"}), {"items": [{"a": {"b": [1, "x y"]}}]}, ['a="{\\"b\\":[1,\\"x y\\"]}"']),
        (Pairs(), {"b": 1, "a": 2}, ["b=1", "a=2"]),
        (Pairs("contests"), {"contests": {}}, ["none"]),
        (Outcome("done"), {"a": "x y", "amount_cents": 3, "changed": False}, ['done: a="x y" cents=3 changed=no']),
    ],
)  # fmt: skip
def test_how_values_are_printed(printer: Any, body: dict[str, Any], lines: list[str]) -> None:
    assert list(printed(printer, body)) == lines


# --- what it asks -----------------------------------------------------------------------------------------------------


def operations() -> dict[tuple[str, str], Any]:
    return {
        (method, path): operation
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        if operation["x-access"] == "admin"
    }


def test_every_admin_endpoint_has_one_command_and_every_command_one_endpoint() -> None:
    called = [("post" if command.acting else "get", command.path) for command in COMMANDS.values()]
    assert len(set(called)) == len(called)
    assert set(called) == {key for key in operations() if key[1] not in AROUND_A_RUNBOOK}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: " ".join(command.words))
def test_a_command_asks_for_what_its_endpoint_takes(command: Command) -> None:
    operation = operations()["post" if command.acting else "get", command.path]
    parameters = operation.get("parameters", [])
    headers = [parameter["name"] for parameter in parameters if parameter["in"] == "header"]
    assert headers == (["runbook-execution", "runbook-step"] if command.acting else [])
    if command.acting:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        body = content.get("schema", {"properties": {}})
        fields = {name: (name in body["required"], schema) for name, schema in body["properties"].items()}
    else:
        fields = {
            parameter["name"]: (parameter["required"], parameter["schema"])
            for parameter in parameters if parameter["in"] == "query"
        }  # fmt: skip
    assert {option.field for option in command.options} == set(fields)
    for option in command.options:
        required, schema = fields[option.field]
        assert option.required == required
        assert {"text": "string"}.get(option.kind, option.kind) == schema["type"]
        assert list(option.choices) == schema.get("enum", [])


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: " ".join(command.words))
def test_the_help_of_a_command_has_its_options_and_an_example_that_can_be_typed(command: Command) -> None:
    output = drive(opsctl.run([*command.words, "--help"], nobody, {}))
    assert output.status == 0
    assert all(option.name in output.text and option.help in output.text for option in command.options)
    [example] = re.findall(r"example: opsctl (.*)", output.text)
    call = opsctl.parse(shlex.split(example))
    assert call.command is command
    assert ("Acts:" in output.text) == command.acting


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_help_tells_of_every_command_and_of_the_exit_statuses(argv: list[str]) -> None:
    output = drive(opsctl.run(argv, nobody, {}))
    assert output.status == 0
    assert all(f"  {' '.join(words)} " in output.text for words in COMMANDS)
    assert "3 the platform did not answer" in output.text
    group = drive(opsctl.run(["transfers", "--help"], nobody, {})).text
    assert re.findall(r"^  (\w+ \w+)", group, re.M) == [
        "transfers list", "transfers show", "transfers retry", "transfers fail", "transfers resolve",
        "transfers unresolve",
    ]  # fmt: skip


def drive(running: Any) -> Output:
    try:
        running.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waited")


async def nobody(request: Request) -> Response:
    raise AssertionError("nothing is to be sent")


def test_what_is_sent_is_the_endpoint_the_fields_and_the_headers_that_were_given() -> None:
    sent: list[Request] = []

    async def take(request: Request) -> Response:
        sent.append(request)
        return Response(200, {"items": [], "changed": True})

    drive(opsctl.run(["transfers", "list", "--limit=5", "--status", "PAID"], take, {"a": "b"}))
    drive(opsctl.run(["quarantine", "resolve", "7", "--reason", "--dashed words--"], take, {"a": "b"}))
    assert sent == [
        Request("GET", "/api/admin/transfers", {"a": "b"}, query={"limit": "5", "status": "PAID"}),
        Request("POST", "/api/admin/quarantine/resolve", {"a": "b"}, {"batch_id": 7, "reason": "--dashed words--"},
                b'{"batch_id":7,"reason":"--dashed words--"}'),
    ]  # fmt: skip


def answering(answer: Response | Exception) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return send


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (Response(400, {"error": "limit: expected 1\nat least"}), Output(1, "error: limit: expected 1 at least\n")),
        (Response(401, {"error": "expired"}), Output(1, "error: expired\n")),
        (Response(409, {"error": "contest c1 is LIVE"}), Output(1, "error: contest c1 is LIVE\n")),
        (Response(500, {}), Output(1, "error: status 500\n")),
        (Response(503, {"error": "deadline_exceeded"}),
         Output(3, "error: the platform did not answer: deadline_exceeded\n")),
        (Response(503), Output(3, "error: the platform did not answer: service_unavailable\n")),
        (DeadlineExceeded("x"), Output(3, "error: the platform did not answer: deadline_exceeded\n")),
        (ConnectionFailed("x"), Output(3, "error: the platform did not answer: connection_failed\n")),
        (ConnectionLost("x"), Output(3, "error: the platform did not answer: connection_lost\n")),
        (Response(200, {"items": [{"answers": True}]}),
         Output(0, "answers=yes at=- tables=- audit_log_rows=- access_log_rows=- contests_rows=-\n")),
    ],
)  # fmt: skip
def test_the_exit_status_says_how_it_ended(answer: Response | Exception, output: Output) -> None:
    assert drive(opsctl.run(["db", "health"], answering(answer), {})) == output
