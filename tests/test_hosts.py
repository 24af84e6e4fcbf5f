"""Hosts: services die and live again, agents report, and the way to a host can be refused or lose its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contest_platform.http import Request, Response
from contest_platform.ports import CommandResult, ConnectionFailed, DeadlineExceeded
from contest_platform.transports.hosts import HostTransports
from fault_injectors import build
from seams.faults import Action, Binding, Call, Effect, Fault, LoseRequest, Parameters
from simulator.actors.hosts import HOSTS, HostsActor
from simulator.actors.winrm import WinrmService
from simulator.kernel import DeadIncarnationError
from simulator.wires.hosts import SshWire, WsmanWire
from tests.support.fake_world import MONDAY, FakeWorld

WIN, LIN = "win-ingest-1", "lin-app-1"
SECOND, MINUTE = 1_000, 60_000


class Control:
    """The processes of the platform, as a host sees them."""

    def __init__(self) -> None:
        self.lives: dict[str, int] = {}
        self.alive: dict[str, bool] = {}

    def start(self, unit: str) -> int:
        assert not self.alive.get(unit), f"{unit} was started twice"
        self.alive[unit] = True
        self.lives[unit] = self.lives.get(unit, 0) + 1
        return self.lives[unit]

    def kill(self, unit: str) -> None:
        self.alive[unit] = False


class Numbered:
    """The Ids port."""

    def __init__(self) -> None:
        self._count = 0

    def new(self, kind: str, *parts: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


class Fleet:
    def __init__(self, *faults: Fault, key: str = "00" * 16) -> None:
        self.world = FakeWorld(key, faults)
        self.control = Control()
        self.actor = HostsActor(self.world, self.control, lambda host: f"token of {host}")  # type: ignore[arg-type]
        self.alive = True
        self.winrm = WinrmService(self.world, self.actor)  # type: ignore[arg-type]
        self.wire = HostTransports(
            wsman=WsmanWire(self.world, self.actor, self.winrm, self.guard),  # type: ignore[arg-type]
            ssh=SshWire(self.world, self.actor, self.guard),  # type: ignore[arg-type]
            runtime=self.world.runtime,
            ids=Numbered(),
            hosts={host: "windows" if how == "winrm" else "linux" for host, (how, _) in HOSTS.items()},
            timeout_ms=60_000,
        )
        self.actor.boot()

    def guard(self) -> None:
        if not self.alive:
            raise DeadIncarnationError("caller#1")

    def run(self, host: str, command: str, *args: str, within_ms: int = 80_000) -> CommandResult:
        async def calling() -> CommandResult:
            return await self.world.runtime.deadline(self.wire.run(host=host, command=command, args=args), within_ms)

        return self.world.run(calling())  # type: ignore[no-any-return]

    def crash(self, unit: str) -> list[tuple[Action, str]]:
        noted: list[tuple[Action, str]] = []
        action = Action(self.world.runtime.now(), "services.crash", unit)
        self.world.run(self.actor.pull_crash(action, lambda action, victim: noted.append((action, victim))))
        return noted

    def states(self, unit: str) -> list[tuple[int, str, str, int]]:
        """(ms since the start, state, by, incarnation)"""
        return [
            (row["at"] - MONDAY, row["state"], row["by"], row["incarnation"])
            for row in self.world.rows("hosts.services")
            if row["service"] == unit
        ]

    def requests(self, *columns: str) -> list[tuple[Any, ...]]:
        return [tuple(row[column] for column in columns) for row in self.world.rows("hosts.requests")]

    def reports(self) -> list[tuple[int, str]]:
        """(ms since the start, target) of what reached the edge."""
        return [(at - MONDAY, request.body["target"]) for at, request in self.world.edge.seen]


class Everything(Fault):
    """Befalls every crossing with one effect."""

    def __init__(self, transport: str, effect: Effect) -> None:
        super().__init__("f1", Binding(), Parameters())
        self.seam, self.operation, self._effect = transport, "run", effect  # type: ignore[misc]

    def effect(self, call: Call) -> Effect | None:
        return self._effect


# --- services ----------------------------------------------------------------------------------------------------


def test_every_service_is_started_once_at_boot() -> None:
    fleet = Fleet()
    assert fleet.control.alive == {"ingestion": True, "app": True, "settlement": True}
    assert {row["by"] for row in fleet.world.rows("hosts.services")} == {"boot"}
    assert all(fleet.actor.is_running(unit) for _, units in HOSTS.values() for unit in units)


def test_a_windows_service_stays_down_until_somebody_starts_it() -> None:
    fleet = Fleet()
    fleet.world.run_for(90 * SECOND)
    [(action, victim)] = fleet.crash("ingestion")
    fleet.world.run_for(3_600 * SECOND)
    assert fleet.states("ingestion") == [(0, "running", "boot", 1), (90 * SECOND, "stopped", "crash", 1)]
    bitten = fleet.world.rows("hosts.services")[int(victim) - 1]
    assert (action.entity, bitten["service"], bitten["state"]) == ("ingestion", "ingestion", "stopped")
    assert not fleet.control.alive["ingestion"]

    assert fleet.run(WIN, "Start-Service", "ingestion") == CommandResult(0, "", "")
    assert [state[1:] for state in fleet.states("ingestion")][2:] == [("running", "command", 2)]
    assert fleet.control.alive["ingestion"]


@pytest.mark.parametrize("unit", ["app", "settlement"])
def test_systemd_restarts_a_linux_unit_after_five_seconds(unit: str) -> None:
    fleet = Fleet()
    fleet.crash(unit)
    fleet.world.run_for(5 * SECOND - 1)
    assert not fleet.control.alive[unit]
    fleet.world.run_for(2)
    assert fleet.states(unit)[1:] == [(0, "stopped", "crash", 1), (5 * SECOND, "running", "systemd", 2)]
    assert fleet.control.alive[unit]


def test_systemd_leaves_a_unit_alone_that_was_stopped_by_command() -> None:
    fleet = Fleet()
    fleet.run(LIN, "systemctl", "stop", "app")
    fleet.world.run_for(MINUTE)
    assert [state[1:3] for state in fleet.states("app")] == [("running", "boot"), ("stopped", "command")]


def test_systemd_does_not_start_a_unit_that_runs_again_already() -> None:
    fleet = Fleet()
    fleet.crash("app")
    fleet.run(LIN, "systemctl", "start", "app")
    fleet.world.run_for(MINUTE)
    assert [state[2] for state in fleet.states("app")] == ["boot", "crash", "command"]


def test_a_dead_service_cannot_crash_again_and_nothing_is_noted() -> None:
    fleet = Fleet()
    assert len(fleet.crash("ingestion")) == 1
    assert fleet.crash("ingestion") == []
    assert len(fleet.states("ingestion")) == 2


# --- commands ----------------------------------------------------------------------------------------------------


def test_windows_commands_say_and_do_what_powershell_would() -> None:
    fleet = Fleet()
    assert "Running  ingestion" in fleet.run(WIN, "Get-Service", "ingestion").stdout
    assert fleet.run(WIN, "Stop-Service", "ingestion").exit_code == 0
    assert "Stopped  ingestion" in fleet.run(WIN, "Get-Service", "ingestion").stdout
    assert fleet.run(WIN, "Start-Service", "ingestion").exit_code == 0
    assert fleet.run(WIN, "Start-Service", "ingestion").exit_code == 0, "starting what runs is no error"
    assert fleet.run(WIN, "Restart-Service", "ingestion").exit_code == 0
    assert [state[1:] for state in fleet.states("ingestion")][1:] == [
        ("stopped", "command", 1),
        ("running", "command", 2),
        ("stopped", "command", 2),
        ("running", "command", 3),
    ]
    unknown = fleet.run(WIN, "Get-Service", "app")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "Cannot find any service with service name 'app'" in unknown.stderr
    assert fleet.run(WIN, "Remove-Item", "ingestion").exit_code == 1


def test_linux_commands_say_and_do_what_systemctl_would() -> None:
    fleet = Fleet()
    assert fleet.run(LIN, "systemctl", "is-active", "app") == CommandResult(0, "active\n", "")
    assert fleet.run(LIN, "systemctl", "stop", "app.service") == CommandResult(0, "", "")
    assert fleet.run(LIN, "systemctl", "is-active", "app") == CommandResult(3, "inactive\n", "")
    assert fleet.run(LIN, "systemctl", "restart", "app") == CommandResult(0, "", "")
    assert fleet.run(LIN, "systemctl", "is-active", "app") == CommandResult(0, "active\n", "")
    missing = fleet.run(LIN, "systemctl", "start", "ingestion")
    assert missing == CommandResult(5, "", "Failed to start ingestion.service: Unit ingestion.service not found.\n")
    assert fleet.run(LIN, "systemctl", "is-active", "ingestion").exit_code == 4
    assert fleet.run(LIN, "rm", "-rf", "app").exit_code == 127
    assert fleet.requests("host", "transport", "command", "args", "ran", "exit_code", "answered")[1] == (
        LIN, "ssh", "systemctl", '["stop","app.service"]', True, 0, True,
    )  # fmt: skip


# --- the way to a host ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "words"), [(WIN, ("Get-Service", "ingestion")), (LIN, ("systemctl", "start", "app"))])
def test_an_answer_takes_its_time_and_the_command_runs_before_it_comes(host: str, words: tuple[str, ...]) -> None:
    fleet = Fleet()
    took = []
    for _ in range(30):
        sent_at = fleet.world.runtime.now()
        fleet.run(host, *words)
        took.append(fleet.world.runtime.now() - sent_at)
        assert sent_at < fleet.world.rows("hosts.requests")[-1]["at"] < fleet.world.runtime.now()
    assert 200 <= min(took) < 1_500 < max(took) + 400
    assert max(took) <= (2_500 if host == WIN else 1_500)
    assert [row["n"] for row in fleet.world.rows("hosts.requests")] == list(range(1, 31))


def test_a_refused_host_shows_the_refusal_in_its_own_book_and_nothing_ran() -> None:
    fleet = Fleet(build("winrm.refused", "f1", Binding(WIN, from_at=MONDAY), {"refusals": 2}))
    fleet.crash("ingestion")
    for _ in range(2):
        with pytest.raises(ConnectionFailed):
            fleet.run(WIN, "Start-Service", "ingestion")
    assert not fleet.control.alive["ingestion"]
    assert fleet.run(WIN, "Start-Service", "ingestion").exit_code == 0
    assert fleet.requests("n", "outcome", "ran", "exit_code", "answered") == [
        (1, "refused", False, None, False),
        (2, "refused", False, None, False),
        (3, "ran", True, 0, True),
    ]
    assert fleet.world.bites == [("f1", "Refuse", "1"), ("f1", "Refuse", "2")]


def test_a_lost_answer_leaves_a_started_service_and_a_caller_that_waits() -> None:
    fleet = Fleet(build("winrm.answer_lost", "f1", Binding(f"{WIN}/start", from_at=MONDAY), {}))
    fleet.crash("ingestion")
    assert "Stopped" in fleet.run(WIN, "Get-Service", "ingestion").stdout
    with pytest.raises(DeadlineExceeded):
        fleet.run(WIN, "Start-Service", "ingestion")
    assert fleet.world.runtime.now() - MONDAY > 25 * SECOND, "the service's own time, and the network's"
    assert "Running" in fleet.run(WIN, "Get-Service", "ingestion").stdout
    assert [state[2] for state in fleet.states("ingestion")] == ["boot", "crash", "command"]
    [(fault, effect, victim)] = fleet.world.bites
    assert (fault, effect) == ("f1", "LoseAnswer")
    bitten = next(row for row in fleet.world.rows("hosts.exchanges") if row["message_id"] == victim)
    assert (bitten["operation"], bitten["answered"], bitten["exit_code"]) == ("Command", False, 0)
    assert fleet.requests("n", "ran", "exit_code", "answered")[1] == (2, True, 0, False)


def test_a_start_that_fails_ran_said_why_and_started_nothing() -> None:
    fleet = Fleet(build("winrm.start_fails", "f1", Binding(f"{WIN}/start", from_at=MONDAY), {"minutes": 5}))
    fleet.crash("ingestion")
    told = fleet.run(WIN, "Start-Service", "ingestion")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "error 1069" in told.stderr
    assert "Stopped" in fleet.run(WIN, "Get-Service", "ingestion").stdout
    fleet.world.run_for(5 * MINUTE)
    assert fleet.run(WIN, "Start-Service", "ingestion").exit_code == 0
    assert fleet.control.alive["ingestion"]
    [(_, _, victim)] = fleet.world.bites
    assert next(row for row in fleet.world.rows("hosts.exchanges") if row["message_id"] == victim)["exit_code"] == 1
    assert fleet.requests("n", "outcome", "ran", "exit_code", "answered")[0] == (1, "ran", True, 1, True)


def test_a_lost_request_never_reaches_the_host() -> None:
    fleet = Fleet(Everything("ssh", LoseRequest()))
    with pytest.raises(DeadlineExceeded):
        fleet.run(LIN, "systemctl", "stop", "app")
    assert fleet.actor.is_running("app")
    assert fleet.requests("n") == []


def test_an_unknown_host_cannot_be_connected_to() -> None:
    with pytest.raises(ConnectionFailed):
        Fleet().run("win-ingest-10", "Get-Service", "ingestion")


def test_a_command_runs_to_its_end_though_the_caller_gave_up() -> None:
    fleet = Fleet()
    with pytest.raises(DeadlineExceeded):
        fleet.run(WIN, "Stop-Service", "ingestion", within_ms=50)
    fleet.world.run_for(2 * SECOND)
    assert [state[2] for state in fleet.states("ingestion")] == ["boot", "command"]


def test_a_dead_process_reaches_no_host() -> None:
    fleet = Fleet()
    fleet.alive = False
    with pytest.raises(DeadIncarnationError):
        fleet.run(WIN, "Stop-Service", "ingestion")
    with pytest.raises(DeadIncarnationError):
        fleet.run(LIN, "systemctl", "stop", "app")
    fleet.world.run_for(MINUTE)
    assert fleet.requests("n") == []


# --- the agent ----------------------------------------------------------------------------------------------------


def test_the_agent_reports_at_the_next_whole_minute_and_every_five_while_it_lasts() -> None:
    fleet = Fleet()
    fleet.world.run_for(90 * SECOND)
    fleet.crash("ingestion")
    fleet.world.run_for(11 * MINUTE)
    assert fleet.reports() == [(2 * MINUTE, "ingestion"), (7 * MINUTE, "ingestion"), (12 * MINUTE, "ingestion")]
    _, request = fleet.world.edge.seen[0]
    assert (request.method, request.path) == ("POST", "/api/agent/incidents")
    assert request.headers == {"Authorization": f"Bearer token of {WIN}"}
    assert request.body == {"host": WIN, "check": "service_running", "target": "ingestion", "observed": "stopped"}

    fleet.run(WIN, "Start-Service", "ingestion")
    fleet.world.run_for(60 * MINUTE)
    assert len(fleet.reports()) == 3


@pytest.mark.parametrize(("agent_dies", "reports"), [(True, 1), (False, 3)])
def test_a_daemon_that_is_killed_stays_down_and_is_reported_once_or_again_and_again(
    agent_dies: bool, reports: int
) -> None:
    fleet = Fleet()
    noted: list[str] = []
    kill = Action(fleet.world.runtime.now(), "services.kill", "settlement", {"agent_dies": agent_dies})
    fleet.world.run(fleet.actor.pull_kill(kill, lambda _, victim: noted.append(victim)))
    fleet.world.run_for(12 * MINUTE)
    assert [(state, by) for _, state, by, _ in fleet.states("settlement")] == [("running", "boot"), ("stopped", "kill")]
    assert len(noted) == 1
    assert fleet.reports() == [((1 + 5 * n) * MINUTE, "settlement") for n in range(reports)]
    fleet.world.run(fleet.actor.pull_kill(kill, lambda _, victim: noted.append(victim)))
    assert len(noted) == 1, "it does not run"


def test_the_agent_tries_again_each_minute_until_somebody_takes_its_report() -> None:
    fleet = Fleet()

    def down_until_the_fourth(request: Request) -> Response:
        tries = len(fleet.world.edge.seen)
        if tries < 3:
            raise ConnectionFailed("nobody listens")
        return Response(503 if tries == 3 else 200)

    fleet.world.edge.answer = down_until_the_fourth
    fleet.crash("ingestion")
    fleet.world.run_for(9 * MINUTE + 1)
    assert [at // MINUTE for at, _ in fleet.reports()] == [1, 2, 3, 4, 9]


def silence(fleet: Fleet, minutes: int) -> list[str]:
    victims: list[str] = []
    action = Action(fleet.world.runtime.now(), "hosts.silence", WIN, {"for_ms": minutes * MINUTE})
    fleet.world.runtime.spawn(fleet.actor.pull_silence(action, lambda _, victim: victims.append(victim)), "silence")
    return victims


def test_an_agent_that_has_died_reports_nothing_until_it_is_started_again() -> None:
    fleet = Fleet()
    fleet.crash("ingestion")
    fleet.world.run_for(90 * SECOND)
    victims = silence(fleet, 20)
    fleet.world.run_for(25 * MINUTE)
    assert [at // MINUTE for at, _ in fleet.reports()] == [1, 22]
    [victim] = victims
    bitten = fleet.world.rows("hosts.services")[int(victim) - 1]
    assert (bitten["host"], bitten["service"], bitten["state"], bitten["by"]) == (WIN, "agent", "stopped", "crash")
    assert [state[:3] for state in fleet.states("agent")] == [
        (90 * SECOND, "stopped", "crash"), (90 * SECOND + 20 * MINUTE, "running", "command"),
    ]  # fmt: skip
    assert fleet.actor.is_running("ingestion") is False, "it was the agent that came back"


def test_a_check_that_fails_is_reported_as_often_as_it_does_and_noted_once_for_each_incident() -> None:
    fleet = Fleet()
    answers = iter([Response(503), *(Response(202, {"incident_id": name}) for name in ("i1", "i1", "i2"))])
    fleet.world.edge.answer = lambda _: next(answers)
    victims: list[str] = []
    told = {"check": "disk_health", "target": "C:", "observed": "failed", "reports": 4}
    action = Action(fleet.world.runtime.now(), "hosts.report", WIN, told)
    fleet.world.run(fleet.actor.pull_report(action, lambda _, victim: victims.append(victim)))
    assert [at // MINUTE for at, _ in fleet.reports()] == [0, 5, 10, 15]
    assert fleet.world.edge.seen[0][1].body == {
        "host": WIN, "check": "disk_health", "target": "C:", "observed": "failed",
    }  # fmt: skip
    assert victims == ["i1", "i2"]


def test_a_unit_that_systemd_brought_back_is_not_reported() -> None:
    fleet = Fleet()
    fleet.world.run_for(10 * SECOND)
    fleet.crash("app")
    fleet.world.run_for(10 * MINUTE)
    assert fleet.reports() == []


def test_a_second_crash_is_reported_for_itself() -> None:
    fleet = Fleet()
    fleet.crash("ingestion")
    fleet.world.run_for(90 * SECOND)
    fleet.run(WIN, "Start-Service", "ingestion")
    fleet.crash("ingestion")
    fleet.world.run_for(2 * MINUTE)
    assert [at // MINUTE for at, _ in fleet.reports()] == [1, 2]


def test_a_fleet_that_runs_costs_nothing() -> None:
    fleet, empty = Fleet(), FakeWorld()
    for world in (fleet.world, empty):
        world.run_for(14 * 86_400 * SECOND)
    assert fleet.world.kernel.events == empty.kernel.events


# --- the journal ----------------------------------------------------------------------------------------------------


def test_the_report_of_a_crash_is_caused_by_the_crash() -> None:
    fleet = Fleet()
    fleet.crash("ingestion")
    fleet.world.run_for(MINUTE + 1)
    crash, report = fleet.world.lines()[-2:]
    assert (crash["kind"], report["kind"]) == ("service.stopped", "incident.reported")
    assert report["cause"] == crash["id"]


def test_the_same_key_gives_the_same_run_and_another_key_another() -> None:
    def trace(key: str) -> str:
        fleet = Fleet(build("winrm.refused", "f1", Binding(WIN, from_at=MONDAY), {"refusals": 2}), key=key)
        fleet.crash("ingestion")
        fleet.crash("settlement")
        for _ in range(2):
            with pytest.raises(ConnectionFailed):
                fleet.run(WIN, "Get-Service", "ingestion")
        fleet.run(WIN, "Restart-Service", "ingestion")
        fleet.run(LIN, "systemctl", "restart", "app")
        return json.dumps([fleet.world.lines(), fleet.world.rows("hosts.services")])

    assert trace("00" * 16) == trace("00" * 16)
    assert trace("00" * 16) != trace("01" * 16)


# --- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "tell", "sync"),
    [
        (WIN, ("[DateTimeOffset]::UtcNow.ToUnixTimeSeconds()",), ("w32tm", "/resync")),
        (LIN, ("date", "+%s"), ("chronyc", "makestep")),
    ],
)
def test_a_host_tells_the_time_of_its_clock_and_takes_it_from_its_source(
    host: str, tell: tuple[str, ...], sync: tuple[str, ...]
) -> None:
    fleet = Fleet()

    def ahead_s() -> int:
        told = fleet.run(host, *tell)
        assert told.exit_code == 0
        return int(told.stdout) - fleet.world.runtime.now() // 1_000

    assert abs(ahead_s()) <= 2
    skew = Action(fleet.world.runtime.now(), "hosts.skew", host, {"offset_ms": -600_000, "for_ms": 3_600_000})
    fleet.world.runtime.spawn(fleet.actor.pull_skew(skew, lambda *_: None), "skew")
    assert abs(ahead_s() + 600) <= 2
    assert fleet.run(host, *sync).exit_code == 0
    assert abs(ahead_s()) <= 2
    fleet.run(host, *sync)  # a clock that is right is left as it is

    async def two_hours() -> None:
        await fleet.world.runtime.sleep_until(fleet.world.runtime.now() + 2 * 3_600_000)

    fleet.world.run(two_hours())
    assert abs(ahead_s()) <= 2, "what was set right is not stepped back"
    assert [row["state"] for row in fleet.world.books["hosts.clocks"].rows] == ["wrong", "right"]
