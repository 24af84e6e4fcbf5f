"""The simulated Windows host behind a real HTTP port, for the WinRM clients that others have written.

Invariant: an answer that does not come in the simulated world does not come in this one: the socket stays silent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from contest_platform.ports import ConnectionFailed, ConnectionLost, DeadlineExceeded, HttpAnswer
from simulator.wires.hosts import WsmanWire
from tests.support.winrm_world import HOST, OneHost

PATIENCE_MS = 600_000
SILENCE_S = 3.0
"""Longer than any client here waits."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            answer = self.server.exchange(body)
        except DeadlineExceeded:
            self.server.over.wait(SILENCE_S)
            self.close_connection = True
            return
        except (ConnectionFailed, ConnectionLost):
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/soap+xml;charset=UTF-8")
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


class _Server(ThreadingHTTPServer):
    def __init__(self, host: OneHost) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.over = threading.Event()
        self._one, self._host = threading.Lock(), host
        self._wire = WsmanWire(host.world, host.actor, host.service, lambda: None)  # type: ignore[arg-type]

    def exchange(self, body: bytes) -> HttpAnswer:
        """One message at a time: the world is not made for threads."""

        async def asked() -> HttpAnswer:
            return await self._host.world.runtime.deadline(self._wire.post(host=HOST, body=body), PATIENCE_MS)

        with self._one:
            return self._host.world.run(asked())  # type: ignore[no-any-return]


@contextmanager
def listening(host: OneHost) -> Iterator[int]:
    """The port at which `host` answers."""
    server = _Server(host)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
