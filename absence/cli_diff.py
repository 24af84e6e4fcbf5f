"""`absence diff`: where do two runs part, or a run that fails and the nearest that passes?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from absence.command_line import arguments
from absence.errors import reported
from absence.exit_codes import ExitCode
from absence.opening import RUN_DIR
from absence.output import print_json, print_lines, wants_markup

if TYPE_CHECKING:
    from campaigns.divergence import Divergence
    from evidence.plan import Plan
    from evidence.run import Evidence


@click.command()
@click.argument("run_a", type=RUN_DIR)
@click.argument("run_b", type=RUN_DIR, required=False)
@click.option("--neighbour", is_flag=True, help="Compare RUN_A, which fails, with the nearest plan that passes.")
@click.option(
    "--budget-s", type=click.IntRange(1), default=300, show_default=True,
    help="With --neighbour: seconds after which to give up the search.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def diff(run_a: Path, run_b: Path | None, neighbour: bool, budget_s: int, as_json: bool) -> None:
    """Where RUN_B parts from RUN_A: the first event that differs and what led there, the plans, the promises that are
    newly broken or mended, and in whose books it shows first. Exit 0: they are the same; 10: they differ.

    With --neighbour, RUN_A fails, and is held against the nearest run that passes: the same plan without one of its
    faults, without any, or, if its scenario is shipped and made it with no option but --seed and --swarm, with one of
    the next seeds. It is run for that and not kept. Exit 12: none was found.

    \b
    absence diff runs/default-s1-0123456789 runs/default-s2-0123456789
    absence diff runs/default-s7-0123456789 --neighbour
    """
    if (run_b is None) != neighbour:
        raise click.UsageError("Give a second run, or --neighbour to have one found.")
    with reported(as_json):
        from absence.verifying import expect_run
        from campaigns.divergence import diverge
        from evidence.run import Evidence

        for run_dir in filter(None, (run_a, run_b)):
            expect_run(run_dir)
        if neighbour:
            _with_neighbour(run_a, budget_s, as_json)
            return
        assert run_b is not None
        one, other = Evidence.open(run_a), Evidence.open(run_b)
        found = diverge(run_a, run_b)
        _tell(found, (one, other), (str(run_a), str(run_b)), as_json, {})
        sys.exit(ExitCode.SUCCESS if found.is_none else ExitCode.BUSINESS_REJECT)


def _with_neighbour(run_dir: Path, budget_s: int, as_json: bool) -> None:
    from absence.fingerprint import code_fingerprint
    from absence.planted import run_planted
    from absence.progress import Bar
    from absence.telling_difference import text
    from assertions.model import Status
    from campaigns.divergence import diverge, verdict_of
    from campaigns.neighbours import NoNeighbour, candidates, nearest_passing
    from defects.planting import planted_here
    from evidence.run import Evidence
    from simulator.operations import kept_in

    evidence = Evidence.open(run_dir)
    defect = evidence.manifest.defect
    if defect is not None and defect != planted_here():
        sys.exit(run_planted(defect, arguments(), wants_scene=False))
    verdict, plan = verdict_of(evidence), evidence.plan
    if verdict.status is Status.PASS:
        raise click.UsageError(f"{run_dir} passes: --neighbour is for a run that does not.")
    suspects = [fault.fault_id for fault in verdict.first_broken.active_faults] if verdict.first_broken else []
    tries = candidates(plan, suspects, _seeds(plan))
    with Bar(shown=not as_json, unit="candidate") as bar:

        def say(how: str, number: int) -> None:
            bar.say(f"the same plan {how}")
            bar.day(number - 1, len(plan.faults) + 1)

        try:
            found_one = nearest_passing(tries, kept_in(evidence), budget_s, say, code_fingerprint())
            with found_one as (candidate, run, tried):
                bar.say("comparing")
                found = diverge(run.evidence.path, run_dir)
                names = (f"the same plan {candidate.how}, which passes", str(run_dir))
                sides = (run.evidence, evidence)
                more = {"neighbour": candidate.how, "tried": [list(each) for each in tried]}
                told = _json(found, sides) | more if as_json else text(found, sides, names, wants_markup())
        except NoNeighbour as none:
            _tell_none(none, as_json)
    if as_json:
        print_json(told)
    else:
        print_lines([*_tried(tried), *told], wants_markup())
    sys.exit(ExitCode.BUSINESS_REJECT)


def _seeds(plan: Plan) -> Callable[[int], Plan] | None:
    """Plans the scenario of `plan` with a seed as `plan` was, if it makes just that plan of its own: shipped, or the
    scene of the defect; as it is, or as --swarm."""
    from campaigns.swarm import plan_of
    from defects.planting import planted_here
    from scenarios import ScenarioInvalid, load, shipped

    known = [load(plan.scenario)] if plan.scenario in shipped() else []
    if planted := planted_here():
        from defects import defect
        from defects.scenes import write_scene

        with TemporaryDirectory(prefix="absence-scene-") as folder:
            known.append(load(write_scene(defect(planted), Path(folder))))
    for loaded, swarm in product(known, (False, True)):
        with suppress(ScenarioInvalid):
            if plan_of(loaded, plan.seed, swarm).plan.sha256() == plan.sha256():
                return lambda seed: plan_of(loaded, seed, swarm).plan
    return None


def _tell_none(none: Any, as_json: bool) -> None:
    said = "None of them passes."
    if none.out_of_time:
        said = "The time (--budget-s) was over before one passed."
    elif not none.tried:
        said = "Nothing could be tried: the plan has no faults, and no shipped scenario makes it with its seed alone."
    if as_json:
        print_json({"neighbour": None, "out_of_time": none.out_of_time, "tried": [list(each) for each in none.tried]})
    else:
        print_lines([*_tried(none.tried), said], markup=False)
    sys.exit(ExitCode.INCONCLUSIVE)


def _tried(tried: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"  {status:<12}  the same plan {how}" for how, status in tried]


# --- as text and as JSON ----------------------------------------------------------------------------------------------


def _tell(
    found: Divergence, sides: tuple[Evidence, Evidence], names: tuple[str, str], as_json: bool, more: dict[str, Any]
) -> None:
    if as_json:
        print_json({**_json(found, sides), **more})
    else:
        from absence.telling_difference import text

        markup = wants_markup()
        print_lines(text(found, sides, names, markup), markup)


def _json(found: Divergence, sides: tuple[Evidence, Evidence]) -> dict[str, Any]:
    split = found.split
    led_there = dict(zip("ab", found.led_there, strict=True))
    event = None if split is None else {**split.to_json(), "led_there": led_there}
    return {
        "same": found.is_none,
        "same_code": found.same_code,
        "event": event,
        "plan": [change._asdict() for change in found.plan],
        "promises": [turn._asdict() for turn in found.turns],
        "books": [change._asdict() for change in found.books],
    }
