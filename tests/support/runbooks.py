"""A runbook that is in order, an opsctl that answers as told, and documents drawn by Hypothesis."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st

from operations.runbooks import Commands, CommandSpec, Output, Runbook, StepRecord, Unrecorded, parse

T = TypeVar("T")
BEGIN = 1_780_000_000_000

KNOWN: Commands = {
    ("thing", "show"): CommandSpec("reads", ("THING",), ("--contest",), ("--all",)),
    ("thing", "list"): CommandSpec("reads"),
    ("thing", "poke"): CommandSpec("nudges", (), ("--contest", "--reason"), (), ("--reason",)),
    ("thing", "change"): CommandSpec("acts", ("THING",), ("--to",), choices={"--to": ("FREE", "STUCK")}),
    ("thing", "revert"): CommandSpec("acts", ("THING",)),
}

GOOD = """\
---
id: thing_stuck
version: 1.0.0
date: 2026-06-01
kind: failure
role: ops
alerts: [ThingStuck]
failure_modes: [thing_stuck]
---
# A thing is stuck

## Detection

The alert ThingStuck says it.

## Diagnosis

1. See which.

   ```sh
   opsctl thing list
   ```

   ```expect
   glob: thing_id=* status=STUCK
   ...
   capture thing: /thing_id=(\\S+)/
   ```

   - if line: none → done
   - if exit 3 → escalate

## Recovery

1. Poke it.

   ```sh
   opsctl thing poke --reason "it is stuck" --contest {alert.contest_id}
   ```

   ```expect
   done: poked
   within 30s
   ```

2. Change it.

   ```sh
   opsctl thing change {thing} --to FREE
   ```

   ```expect
   glob: done: thing_id={thing} *
   ```

   - if exit 1 and glob: error: * poked enough → step 1
   - otherwise → Verification

## Verification

1. It is free.

   ```sh
   opsctl thing show {thing} --contest {alert.contest_id}
   ```

   ```expect
   regex: thing_id={thing} status=(FREE|GONE)
   within 300s every 60s
   ```

## Rollback

1. Put it back.

   ```sh
   opsctl thing revert {thing}
   ```

   ```expect
   glob: done: *
   ```

   - only after Recovery step 2

2. See that it is as it was.

   ```sh
   opsctl thing list
   ```

   ```expect
   ...
   ```

## Documentation

Nothing.
"""


def parsed(source: str = GOOD, file: str = "runbooks/thing_stuck.md") -> Runbook:
    """A document without a problem."""
    runbook, problems = parse(source, file)
    assert problems == []
    return runbook


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits for something")


Answer = Callable[[str, Sequence[str]], Output]


@dataclass
class ScriptedControl:
    """An opsctl that answers as `answer` says, and keeps what was asked of it, in order. `lost`: what of `start`,
    `record` and `complete` never gets through. An answer takes `takes_ms`."""

    answer: Answer
    takes_ms: int = 1_000
    lost: frozenset[str] = frozenset()
    log: list[tuple[str, Any]] = field(default_factory=list)
    at: int = BEGIN

    def now(self) -> int:
        return self.at

    async def start(self, name: str, version: str, system_state_before: Mapping[str, Any]) -> str:
        self._through("start")
        self.log.append(("start", (name, version, system_state_before)))
        return "execution-1"

    async def send(self, execution_id: str, step: str, argv: Sequence[str], timeout_s: int) -> Output:
        assert execution_id == "execution-1"
        self.log.append(("send", (step, tuple(argv), timeout_s)))
        self.at += self.takes_ms
        return self.answer(step, argv)

    async def record(self, execution_id: str, step: StepRecord) -> None:
        self._through("record")
        assert execution_id == "execution-1"
        self.log.append(("record", step))

    async def complete(
        self,
        execution_id: str,
        status: str,
        result: Mapping[str, Any],
        error_reason: str | None,
        system_state_after: Mapping[str, Any],
    ) -> None:
        self._through("complete")
        assert execution_id == "execution-1"
        self.log.append(("complete", (status, error_reason, system_state_after)))

    async def state(self) -> Mapping[str, Any]:
        return {"asked": len(self.log)}

    async def think(self, what: str) -> None:
        self.log.append(("think", what))

    async def wait(self, seconds: int) -> None:
        self.log.append(("wait", seconds))
        self.at += seconds * 1_000

    def _through(self, what: str) -> None:
        if what in self.lost:
            raise Unrecorded(f"{what} was not answered")

    def of(self, what: str) -> list[Any]:
        return [content for name, content in self.log if name == what]

    @property
    def sent(self) -> list[str]:
        return [step for step, _, _ in self.of("send")]


def apply_patch(source: str, patch: str) -> str:
    """What `patch` makes of `source`, line by line as unified diffs have it."""
    before = source.split("\n")
    after: list[str] = []
    at = 0
    for line in patch.removesuffix("\n").split("\n")[2:]:
        hunk = re.fullmatch(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@", line)
        if hunk:
            after += before[at : int(hunk[1]) - 1]
            at = int(hunk[1]) - 1
        elif line.startswith("+"):
            after.append(line[1:])
        else:
            assert before[at] == line[1:], (before[at], line)
            after += [] if line.startswith("-") else [before[at]]
            at += 1
    return "\n".join(after + before[at:])


# --- documents drawn by Hypothesis -----------------------------------------------------------------------------------


@dataclass
class Drawn:
    """A document, and for each of its steps (by id, in order) an answer that is as expected."""

    source: str
    answers: dict[str, Output]
    after: dict[str, str]
    """Step of Rollback -> the step that it undoes, where it says so."""

    @property
    def forward(self) -> list[str]:
        return [step for step in self.answers if not step.startswith("Rollback/")]

    def undoing(self, sent: Sequence[str]) -> list[str]:
        """The steps of Rollback that are due after these have been sent."""
        steps = [step for step in self.answers if step.startswith("Rollback/")]
        return [step for step in steps if step not in self.after or self.after[step] in sent]


WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=8).filter(lambda w: w[0] != "-")
TELLING = [
    "exit 0", "exit 5", "within 3s", "glob: x", "regex: (", "line: y", "capture a: /b/", "...", "```", "```expect",
    "  indented", "\tindented", "trailing ", "{thing}", "{", "## Recovery", "- if exit 3 → done", "1. step", "none", "",
]  # fmt: skip
"""Lines of output that would mean something to the language."""
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n"), max_size=20), st.sampled_from(TELLING)
)
LINES = st.lists(TEXT, min_size=1, max_size=4)


@st.composite
def documents(draw: st.DrawFn) -> Drawn:
    """Runbooks that pass the check, with every kind of line, capture and branch."""
    out = [GOOD[: GOOD.index("## Detection")]]
    answers: dict[str, Output] = {}
    after: dict[str, str] = {}
    names: list[str] = []
    sections = ("Detection", "Diagnosis", "Recovery", "Verification", "Documentation")
    counts = {name: draw(st.integers(name in ("Recovery", "Verification"), 2)) for name in sections}
    counts["Rollback"] = draw(st.integers(1, 3))
    bound_at: dict[str, list[str]] = {}
    for section in (*sections[:4], "Rollback", "Documentation"):
        out.append(f"## {section}\n\nText of {section}.\n")
        for number in range(1, counts[section] + 1):
            bound_at[f"{section}/{number}"] = list(names)
            undoes = draw(st.sampled_from([None, "Recovery/1", "Verification/1"])) if section == "Rollback" else None
            if undoes:
                after[f"Rollback/{number}"] = undoes
            bound = names if section != "Rollback" else bound_at.get(undoes or "", [])
            step, answers[f"{section}/{number}"] = draw(_steps(section, number, bound))
            out.append(step + (f"   - only after {undoes.replace('/', ' step ')}\n" if undoes else ""))
    return Drawn("\n".join(out), answers, after)


@st.composite
def _steps(draw: st.DrawFn, section: str, number: int, names: list[str]) -> tuple[str, Output]:
    """One step, and what answers it. `names`: what it may use, to which it adds what it captures."""
    arguments = draw(st.lists(st.sampled_from([*(f"{{{name}}}" for name in names), "{alert.contest_id}"]), max_size=2))
    argument = draw(WORDS) + "".join(f".{argument}" for argument in arguments[:1])
    command = f"opsctl thing show {argument}" + (f" --contest {arguments[1]}" if len(arguments) > 1 else "")
    lines: list[str] = []
    output: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["line", "glob", "regex", "any"]))
        if kind == "any":
            lines.append("...")
            output += draw(st.lists(WORDS, max_size=2))
            continue
        word = draw(WORDS)
        lines.append({"line": f"line: id={word}", "glob": "glob: id=*", "regex": r"regex: id=[\w-]{1,99}"}[kind])
        output.append(f"id={word}")
    if section != "Rollback" and any(line.startswith("id=") for line in output) and draw(st.booleans()):
        name = f"v{len(names)}"
        lines.append(f"capture {name}: /id=([^ ]+)/")
        names.append(name)
    status = draw(st.sampled_from([0, 0, 1]))
    lines += [f"exit {status}"] if status else []
    lines += draw(st.sampled_from([[], ["within 30s"], ["within 120s every 60s"]]))
    ways = ["escalate", "done", f"step {number}"]
    if section != "Rollback":
        ways += ["partial", f"{section} step {number}"]
    branches = [
        f"if exit {exit_status} → {draw(st.sampled_from(ways))}" for exit_status in draw(st.sets(st.integers(4, 7)))
    ]
    step = [f"{number}. Do it.", "", "   ```sh", f"   {command}", "   ```", "", "   ```expect"]
    step += [*(f"   {line}" for line in lines), "   ```", "", *(f"   - {branch}" for branch in branches), ""]
    return "\n".join(step), Output(status, "\n".join(output))
