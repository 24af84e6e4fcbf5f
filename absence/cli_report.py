"""`absence report`: judge a run again with today's assertions, and render every report."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from absence import publishing
from absence.cli_verify import print_checked
from absence.errors import reported
from absence.exit_codes import BY_STATUS, ExitCode
from absence.opening import RUN_DIR
from absence.output import print_summary


@click.command()
@click.argument("run_dir", type=RUN_DIR)
@click.option("--out", type=click.Path(path_type=Path), help="Write the report files here.")
@click.option(
    "--ci", type=click.Choice(publishing.SYSTEMS), help="Also tell GitHub (summary, annotations) or GitLab (in --out)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def report(run_dir: Path, out: Path | None, ci: str | None, as_json: bool) -> None:
    """Judge the evidence of RUN_DIR anew, with today's assertions, and print the summary; --out renders every report.

    The evidence is verified first: what is not as it was written is not judged (exit 30).

    \b
    absence report runs/default-s1-0123456789
    absence report runs/default-s1-0123456789 --out judged-again
    absence report runs/default-s1-0123456789 --ci github
    """
    if ci == "gitlab" and out is None:
        raise click.UsageError("--ci gitlab writes files: say where with --out.")
    with reported(as_json):
        from absence import incidents
        from absence.coverage import of_run
        from absence.pipeline import replay_command
        from absence.verifying import Checked, expect_run
        from assertions.judge import judge
        from evidence import atomic
        from evidence.layout import VERDICT
        from evidence.run import Evidence
        from evidence.verify import verify as problems_of
        from reports import tell, write_all

        expect_run(run_dir)
        problems = [problem for problem in problems_of(run_dir) if problem.of_evidence]
        if problems:
            print_checked([Checked(run_dir, problems, [], {})], as_json)
            incidents.corrupt(run_dir, list(map(str, problems)))
            sys.exit(ExitCode.STATE_CORRUPT)
        evidence = Evidence.open(run_dir)
        verdict = judge(evidence)
        story = tell(evidence, verdict, evidence.manifest.defect)
        replay = replay_command(run_dir)
        target = run_dir
        if out is not None:
            target = out
            write_all(
                evidence, story, lambda name, content: atomic.write(target / name, content), replay_command=replay,
                run_name=run_dir.resolve().name, coverage=of_run(evidence),
            )  # fmt: skip
            atomic.write(out / VERDICT, verdict.to_json().encode())
        if as_json:
            click.echo(verdict.to_json(), nl=False)
        else:
            with publishing.muted(ci):
                print_summary(story, replay, target / "report.html")
        if ci is not None:
            publishing.story_to(
                ci, story, run_dir, replay, lambda name, content: atomic.write(target / name, content), err=as_json
            )
        sys.exit(BY_STATUS[verdict.status.value])
