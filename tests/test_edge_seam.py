"""What is lost on the way to the platform's address and back: served or not, its caller only knows silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from contest_platform.http import Request, Response
from contest_platform.jobs import Job
from contest_platform.ports import DeadlineExceeded, Ports
from contest_platform.service import Config, Route
from seams.faults import Binding, Call, Effect, Fault, LoseAnswer, LoseRequest, Parameters
from tests.support.deployment import Deployment

served: list[str] = []


class Desk:
    """Answers everybody."""

    def __init__(self, ports: Ports, config: Config) -> None: ...

    def jobs(self) -> Sequence[Job]:
        return ()

    def routes(self) -> dict[tuple[str, str], Route]:
        return {("POST", path): Route("signature", self._serve, "Serves") for path in ("/a", "/b")}

    async def _serve(self, request: Request, principal: str) -> Response:
        served.append(request.path)
        return Response(200)


class FirstOf(Fault):
    seam, operation = "edge", "request"

    def __init__(self, path: str, effect: Effect) -> None:
        super().__init__("f1", Binding(path, 1), Parameters())
        self._effect = effect

    def effect(self, call: Call) -> Effect | None:
        return self._effect if self.is_bound_to(call) else None


@pytest.mark.parametrize(("effect", "was_served"), [(LoseRequest(), []), (LoseAnswer(), ["/a"])])
def test_the_first_request_to_a_path_is_lost_and_nothing_else(effect: Effect, was_served: list[str]) -> None:
    served.clear()
    bench = Deployment(Desk, faults=(FirstOf("/a", effect),))
    bench.processes.start("settlement")

    async def ask(path: str) -> Any:
        return await bench.world.runtime.deadline(bench.processes.request(Request("POST", path)), 5_000)

    with pytest.raises(DeadlineExceeded):
        bench.world.run(ask("/a"))
    assert served == was_served
    assert bench.world.bites == [("f1", type(effect).__name__, "/a")]
    assert [bench.world.run(ask(path)).status for path in ("/b", "/a")] == [200, 200]
    assert served == [*was_served, "/b", "/a"]
