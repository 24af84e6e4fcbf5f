"""opsctl over HTTP: `opsctl COMMAND …`, or `python -m contest_platform.opsctl_http COMMAND …`.

Where and as whom comes from the environment: OPSCTL_URL, OPSCTL_TOKEN, and of a runbook's step OPSCTL_EXECUTION and
OPSCTL_STEP. A token on the command line would be seen by everybody who lists processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import orjson

from contest_platform.http import Request, Response
from contest_platform.opsctl import DONE, USAGE, Output, Send, run
from contest_platform.ports import ConnectionFailed, ConnectionLost, DeadlineExceeded

TIMEOUT_S = 30


def sender(url: str) -> Send:
    """What sends a request to the platform at `url`. It answers once it is awaited, and never waits itself."""

    async def send(request: Request) -> Response:
        query = f"?{urlencode(request.query)}" if request.query else ""
        body = orjson.dumps(request.body) if request.method == "POST" else None
        headers = {**request.headers, "Content-Type": "application/json", "Accept": "application/json"}
        asked = HttpRequest(f"{url.rstrip('/')}{request.path}{query}", body, headers, method=request.method)
        try:
            with urlopen(asked, timeout=TIMEOUT_S) as answer:
                return Response(answer.status, _body(answer.read()))
        except HTTPError as error:
            return Response(error.code, _body(error.read()))
        except TimeoutError as error:
            raise DeadlineExceeded(str(error)) from error
        except URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise DeadlineExceeded(str(error)) from error
            raise ConnectionFailed(str(error)) from error
        except OSError as error:
            raise ConnectionLost(str(error)) from error

    return send


def _body(raw: bytes) -> Mapping[str, object]:
    """An answer that is no JSON object says nothing that we could use; its status still does."""
    try:
        found = orjson.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run one command and print its output: on standard error when it failed. Returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    asks_for_help = not words or "--help" in words or "-h" in words
    missing = [name for name in ("OPSCTL_URL", "OPSCTL_TOKEN") if not environ.get(name)]
    if missing and not asks_for_help:
        output = Output(USAGE, f"error: {' and '.join(missing)} not set\n")
    elif not asks_for_help and not environ["OPSCTL_URL"].startswith(("http://", "https://")):
        output = Output(USAGE, "error: OPSCTL_URL is no http or https address\n")
    else:
        output = _finish(words, environ)
    stream: TextIO = sys.stdout if output.status == DONE else sys.stderr
    stream.write(output.text)
    return output.status


def _finish(words: Sequence[str], environ: Mapping[str, str]) -> Output:
    headers = {"Authorization": f"Bearer {environ.get('OPSCTL_TOKEN', '')}"}
    for name, header in (("OPSCTL_EXECUTION", "runbook-execution"), ("OPSCTL_STEP", "runbook-step")):
        if environ.get(name):
            headers[header] = environ[name]
    running = run(words, sender(environ.get("OPSCTL_URL", "")), headers)
    try:
        running.send(None)
    except StopIteration as end:
        output: Output = end.value
        return output
    raise AssertionError("sending never waits")


def script() -> None:
    sys.exit(main())


if __name__ == "__main__":
    script()
