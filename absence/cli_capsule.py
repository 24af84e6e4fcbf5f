"""`absence replay` of a failure by what it comes to: is the first broken promise the recorded one, on today's code?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from absence.exit_codes import ExitCode
from absence.output import print_json, print_lines, wants_markup

if TYPE_CHECKING:
    from campaigns.capsules import Capsule, Replayed, Silent
    from reports.console import Say
    from simulator.operations import Operations


def replay_capsule(path: Path, tolerant: bool, as_json: bool) -> NoReturn:
    """Replay the capsule, or the run, in `path`, print what it came to and exit. Raises CapsuleInvalid, PlanUnreadable,
    UnknownDefect, StaleEdit, PreflightFailed, ReplayFailed."""
    from absence.progress import Bar
    from campaigns import capsules
    from campaigns.divergence import NOT_JUDGED

    capsule = capsules.read(path) if (path / capsules.CAPSULE).exists() else capsules.of_run(path)
    operations, lost = _documents(path, tolerant)
    recorded = capsules.recorded_statuses(path)
    with Bar(shown=not as_json) as bar:
        found = capsules.replay(capsule, tolerant, operations, bar.day)
    turns = [
        (id, recorded.get(id, NOT_JUDGED), found.statuses.get(id, NOT_JUDGED))
        for id in sorted({*recorded, *found.statuses})
        if recorded and recorded.get(id) != found.statuses.get(id)
    ]
    left_out = [*lost, *found.left_out]
    if as_json:
        print_json({
            "reproduced": found.reproduced, "recorded": capsule.fingerprint, "first": found.trial.first,
            "verdict": found.trial.status, "digest": found.trial.digest, "defect": capsule.defect,
            "silent": [asdict(fault) for fault in found.silent], "left_out": left_out,
            "promises": [{"assertion": id, "was": was, "now": now} for id, was, now in turns],
        })  # fmt: skip
    else:
        from reports.console import Say

        markup = wants_markup()
        print_lines(_lines(capsule, found, turns, left_out, Say(markup)), markup)
    sys.exit(ExitCode.SUCCESS if found.reproduced else ExitCode.BUSINESS_REJECT)


def _documents(path: Path, tolerant: bool) -> tuple[Operations | None, list[str]]:
    """Those kept at `path`, and what is said of those that today's code cannot read. Raises RunbooksInvalid and
    RulesInvalid unless `tolerant`."""
    from campaigns.capsules import documents_in
    from operations.alerts.located import RulesInvalid
    from operations.runbooks.problems import RunbooksInvalid

    try:
        return documents_in(path), []
    except (RunbooksInvalid, RulesInvalid) as error:
        if not tolerant:
            raise
        return None, [f"its runbooks and rules: {str(error).splitlines()[0]}; those of today are in force"]


def _lines(
    capsule: Capsule, found: Replayed, turns: list[tuple[str, str, str]], left_out: list[str], say: Say
) -> Iterator[str]:
    first, recorded = found.trial.first, capsule.fingerprint
    if found.reproduced:
        yield say.style(f"✓ REPRODUCED  {recorded or 'no promise is broken, as then'}", "bold green")
    else:
        yield say.style(f"✕ NOT REPRODUCED  {recorded or 'no promise was broken'}", "bold red")
        yield say.item("today", f"{first} is broken first" if first else f"no promise is broken: {found.trial.status}")
    yield say.item("run", f"{capsule.scenario}, seed {capsule.seed}, digest {found.trial.digest[:12]}")
    if capsule.defect is not None:
        yield say.item("defect", capsule.defect)
    if capsule.note:
        yield say.item("note", capsule.note)
    for told in left_out:
        yield say.item("left out", told)
    for fault in found.silent:
        yield say.item("silent", f"{fault.id} {_bound(fault)}: {fault.why}")
    for id, was, now in turns:
        yield say.item("promise", f"{id}  {was} → {now}")


def _bound(fault: Silent) -> str:
    on = f" on {fault.entity}" if fault.entity is not None else ""
    nth = f", occurrence {fault.occurrence}" if fault.occurrence is not None else ""
    return f"({fault.seam}/{fault.operation}{on}{nth})"
