"""opsctl over HTTP: the same commands and outputs as in process, through a real socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from contest_platform.http import Request
from contest_platform.opsctl_http import main
from tests.support.admin_world import AdminWorld
from tests.support.prepared import an_execution, prepared


class Served:
    """A prepared platform behind a server, which answers one request after the other, and what it saw."""

    def __init__(self) -> None:
        self.world: AdminWorld = prepared()
        self.garbled: bytes | None = None
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.answer(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        body, query = json.loads(raw or b"{}"), dict(parse_qsl(parts.query))
        request = Request(handler.command, parts.path, dict(handler.headers), body, raw, query)
        response = self.world.run(self.world.app.handle(request))
        handler.send_response(response.status)
        handler.end_headers()
        handler.wfile.write(self.garbled if self.garbled is not None else json.dumps(response.body).encode())


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    # apsw's connection is made for one thread at a time: this one rests while the server's works.
    thread = Thread(target=served.server.serve_forever)
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


def environment(served: Served, **more: str) -> dict[str, str]:
    token = served.world.headers()["Authorization"].partition(" ")[2]
    return {"OPSCTL_URL": served.url, "OPSCTL_TOKEN": token, **more}


@pytest.mark.parametrize(
    "argv",
    [
        ["state"],
        ["transfers", "list", "--status", "RETRYABLE", "--contest", "c1"],
        ["audit", "tail", "--action", "contests.update", "--limit", "2"],
        ["contests", "list", "--status", "CANCELLED"],
    ],
)
def test_a_read_prints_the_same_as_in_process(served: Served, capsys: Any, argv: list[str]) -> None:
    expected = served.world.opsctl(" ".join(argv))
    assert main(argv, environment(served)) == 0
    assert capsys.readouterr() == (expected.text, "")


def test_a_step_of_a_runbook_acts_and_a_call_outside_one_does_not(served: Served, capsys: Any) -> None:
    an_execution(served.world)
    running = served.world.start()
    argv = ["ingestion", "poll", "t1"]
    assert main(argv, environment(served)) == 1
    refused = "error: no runbook-execution header: ops acts only in a step of a runbook\n"
    assert capsys.readouterr() == ("", refused)
    step = {"OPSCTL_EXECUTION": running, "OPSCTL_STEP": "Recovery/1"}
    assert main(argv, environment(served, **step)) == 0
    assert capsys.readouterr() == ("accepted: tournament_id=t1 changed=yes\n", "")
    [asked] = served.world.audited("ops.ingestion_poll")
    assert (asked["correlation"], asked["reason"]) == (running, "runbook step Recovery/1")


def test_what_is_refused_or_not_answered_goes_to_standard_error(served: Served, capsys: Any) -> None:
    assert main(["contests", "show", "é & ü?"], environment(served)) == 1
    assert capsys.readouterr() == ("", "error: no contest é & ü?\n")
    assert main(["state"], {**environment(served), "OPSCTL_TOKEN": "forged"}) == 1
    assert capsys.readouterr() == ("", "error: malformed token\n")
    served.world.store.fails = lambda operation: operation == "admin.state"
    assert main(["state"], environment(served)) == 3
    assert capsys.readouterr() == ("", "error: the platform did not answer: service_unavailable\n")
    served.garbled = b"<html>not us</html>"
    assert main(["contests", "show", "c9"], environment(served)) == 1
    assert capsys.readouterr() == ("", "error: status 404\n")


def test_nobody_at_the_address_is_no_answer(capsys: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert main(["state"], {"OPSCTL_URL": url, "OPSCTL_TOKEN": "t"}) == 3
    assert capsys.readouterr() == ("", "error: the platform did not answer: connection_failed\n")


def test_a_connection_that_breaks_is_no_answer(capsys: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.close()

        thread = Thread(target=hang_up)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert main(["state"], {"OPSCTL_URL": url, "OPSCTL_TOKEN": "t"}) == 3
        thread.join()
    assert capsys.readouterr()[1].startswith("error: the platform did not answer: connection_")


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, "OPSCTL_URL and OPSCTL_TOKEN not set"),
        ({"OPSCTL_URL": "http://x"}, "OPSCTL_TOKEN not set"),
        ({"OPSCTL_URL": "file:///etc/passwd", "OPSCTL_TOKEN": "t"}, "OPSCTL_URL is no http or https address"),
    ],
)
def test_without_where_and_as_whom_it_is_wrong_usage(environ: dict[str, str], problem: str, capsys: Any) -> None:
    assert main(["state"], environ) == 2
    assert capsys.readouterr() == ("", f"error: {problem}\n")


def test_help_needs_no_platform(capsys: Any) -> None:
    assert main(["transfers", "retry", "--help"], {}) == 0
    assert "usage: opsctl transfers retry TRANSFER" in capsys.readouterr().out
    assert main([], {}) == 0
