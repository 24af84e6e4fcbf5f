"""log.jsonl: each phase with its code, each simulated day, each lane; and none of it part of what a run is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from absence.run_log import PHASES, Stages
from closure.timings import read
from contest_platform.units import UNITS
from evidence.manifest import Manifest
from simulator import kernel as kernels
from simulator.lanes import PARTIES, lane_of
from simulator.run import PreflightFailed
from tests.support.command import Ran, SharedRuns, run_into
from tests.support.drivers import KernelBench

DAY = "2026-06-{:02}T00:00:00.000Z"


def lines(run: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]


def test_every_line_says_of_which_run_phase_and_stage_it_is_and_when_it_was(small_run: Ran) -> None:
    for line in lines(small_run):
        assert line["run"] == small_run.path.name
        assert line["phase"] in ("run", *PHASES)
        assert line["stage"] in ("begin", "day", "lane", "end")
        assert len(line["at"]) == len("2026-06-02T00:00:00.000Z")
        assert line["at"].endswith("Z")
    ats = [line["at"] for line in lines(small_run)]
    assert ats == sorted(ats)


def test_phases_end_in_their_order_with_seconds_and_a_code(small_run: Ran) -> None:
    ends = [line for line in lines(small_run) if line["stage"] == "end"]
    assert [line["phase"] for line in ends] == list(PHASES[:-1])
    assert [line["rc"] for line in ends] == [0] * len(ends)
    assert all(line["seconds"] > 0 and line["cpu_s"] > 0 for line in ends)
    assert (lines(small_run)[-1]["phase"], lines(small_run)[-1]["stage"]) == ("publish", "begin")


def test_a_run_that_breaks_a_promise_has_its_code_at_the_judgement(runs: SharedRuns) -> None:
    failed = runs("violation_founder_login")
    codes = {line["phase"]: line["rc"] for line in lines(failed) if line["stage"] == "end"}
    assert (failed.exit_code, codes["judge"], codes["simulate"]) == (10, 10, 0)


def test_every_simulated_day_is_marked_with_the_events_so_far(small_run: Ran) -> None:
    days = [line for line in lines(small_run) if line["stage"] == "day"]
    assert [line["day"] for line in days] == list(range(1, 19))
    assert [line["simulated_at"] for line in days] == [DAY.format(day + 2) for day in range(1, 19)]
    events = [line["events"] for line in days]
    assert events == sorted(events)
    assert 0 < events[0] < events[-1]
    simulated = next(line for line in lines(small_run) if (line["phase"], line["stage"]) == ("simulate", "end"))
    assert days[-1]["seconds"] <= simulated["seconds"]


def test_lanes_share_out_the_simulation(small_run: Ran) -> None:
    lanes = {line["lane"]: line for line in lines(small_run) if line["stage"] == "lane"}
    for lane in ("ingestion", "webhooks", "settlement", "payouts", "reconciliation", "entries", "anchoring", "closing",
                 "provider", "processor", "entrants"):  # fmt: skip
        assert lanes[lane]["seconds"] > 0, lane
    simulated = next(line for line in lines(small_run) if (line["phase"], line["stage"]) == ("simulate", "end"))
    assert sum(line["seconds"] for line in lanes.values()) <= simulated["seconds"] + 1e-3


def test_the_same_plan_resumes_each_lane_as_often_and_is_the_same_run_in_another_time(
    small_run: Ran, tmp_path: Path
) -> None:
    again = run_into(tmp_path, "small")
    resumed = [
        {line["lane"]: line["resumptions"] for line in lines(run) if line["stage"] == "lane"}
        for run in (small_run, again)
    ]
    assert resumed[0] == resumed[1]
    manifests = [Manifest.read(run.path / "manifest.json") for run in (small_run, again)]
    assert manifests[0].identity == manifests[1].identity
    assert manifests[0].files["log.jsonl"] != manifests[1].files["log.jsonl"]


# --- codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "rc"),
    [(PreflightFailed(["x"]), 10), (ValueError("ours"), 50), (KeyboardInterrupt(), 130), (None, 0)],
)
def test_a_phase_that_an_error_ended_has_the_code_that_the_command_ends_in(
    error: BaseException | None, rc: int
) -> None:
    stages = Stages()

    def work() -> None:
        with stages.measure("simulate"):
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error)):
            work()
    assert [(stage.name, stage.rc) for stage in stages.ended] == [("simulate", rc)]
    told = [json.loads(line) for line in stages.log("a-run").splitlines()]
    assert [line["rc"] for line in told if line["stage"] == "end"] == [rc]


def test_a_log_of_an_earlier_version_has_no_timings(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(
        '{"run": "r", "started": 1.5}\n{"run": "r", "seconds": 2.0, "stage": "judge"}\n'
    )
    assert read(tmp_path).wall_s == {}
    assert read(tmp_path / "nowhere").wall_s == {}


# --- lanes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "lane"),
    [
        ("ingestion.ingestion.poll", "ingestion"),
        ("ingestion.scores.audit", "score_audit"),
        ("app.payments.reconciliation", "reconciliation"),
        ("settlement.settlement", "settlement"),
        ("app.something.new", "something"),
        ("app POST /webhooks/processor", "webhooks"),
        ("app POST /api/entries/refund", "entries"),
        ("app GET /api/admin/status", "operations"),
        ("app GET /nowhere", ""),
        ("app", ""),
        ("webhoo", "processor"),
        ("entran", "entrants"),
        ("edge P", ""),
        ("gather", ""),
    ],
)
def test_the_name_of_a_task_tells_its_lane(task: str, lane: str) -> None:
    assert lane_of(task) == lane


def test_heads_are_told_apart_and_are_no_units() -> None:
    heads = [word[:6] for words in PARTIES.values() for word in words.split()]
    assert len(heads) == len(set(heads))
    for head in heads:
        others = [other for other in heads if other != head and other.startswith(head)]
        assert {lane_of(other) for other in others} <= {lane_of(head)}, head
    assert not set(heads) & set(UNITS)


def test_time_is_that_of_the_task_that_ran_less_what_it_began_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only goes forward where a task says that it works."""
    clock = [0.0]
    monkeypatch.setattr(kernels, "perf_counter", lambda: clock[0])
    bench = KernelBench("07" * 16)
    runtime, call = bench.driver.runtime, bench.driver.call

    async def works(seconds: float, until: int | None = None) -> None:
        clock[0] += seconds
        if until is not None:
            await runtime.sleep_until(until)
            clock[0] += seconds

    async def customer() -> None:
        await works(1.0)
        await call(works(10.0), "intents.create key")  # ends in place: its time goes to whoever called it
        await works(1.0)
        await call(works(100.0, until=runtime.now() + 5), "intents.create key")
        await works(1.0)

    async def provider() -> None:
        await works(1000.0, until=runtime.now() + 3)

    runtime.spawn(customer(), "entrant one")
    runtime.spawn(provider(), "provider")
    bench.run_until(1_000)
    kernel = bench.driver
    assert isinstance(kernel, kernels.Kernel)
    kernel.enter(kernel.lanes.kernel)
    spent = {lane.name: lane.seconds for lane in kernel.lanes}
    assert sum(spent.values()) == clock[0]
    assert spent["provider"] == 2000.0
    assert spent["processor"] == 100.0
    assert spent["entrants"] == 1.0 + 10.0 + 1.0 + 100.0 + 1.0
    resumed: Callable[[str], int] = lambda name: kernel.lanes.named(name).resumptions  # noqa: E731
    assert (resumed("provider"), resumed("processor"), resumed("entrants")) == (2, 1, 2)
