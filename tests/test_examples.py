"""The examples for CI do what they say: their commands exist, their exit codes are ours, and their scripts run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from absence.cli import cli
from absence.exit_codes import ExitCode
from scenarios import shipped
from tests.support.command import ROOT, Ran

EXAMPLES = ROOT / "examples"
GITHUB, GITLAB = EXAMPLES / "github-actions.yml", EXAMPLES / "gitlab-ci.yml"


def read(path: Path) -> dict[str, Any]:
    whole: dict[Any, Any] = yaml.safe_load(path.read_text())
    return {"on" if name is True else name: value for name, value in whole.items()}  # YAML 1.1 reads `on` as true


def github_scripts() -> Iterator[str]:
    for job in read(GITHUB)["jobs"].values():
        scenarios = job.get("strategy", {}).get("matrix", {}).get("scenario", [""])
        for script in (step["run"] for step in job["steps"] if "run" in step):
            yield from (script.replace("$SCENARIO", scenario) for scenario in scenarios)


def gitlab_jobs() -> dict[str, dict[str, Any]]:
    whole = read(GITLAB)
    return {name: job for name, job in whole.items() if isinstance(job, dict) and "script" in job}


def gitlab_scripts() -> Iterator[str]:
    for job in gitlab_jobs().values():
        scenarios = job.get("parallel", {}).get("matrix", [{}])[0].get("SCENARIO", [""])
        script = "\n".join([*job["script"], *job.get("after_script", [])])
        yield from (script.replace("$SCENARIO", scenario) for scenario in scenarios)


SCRIPTS = [*github_scripts(), *gitlab_scripts()]


def commands(script: str) -> list[list[str]]:
    """The command lines of `absence` in a script, each as its arguments."""
    found = []
    for line in script.splitlines():
        split = shlex.shlex(line, posix=True, punctuation_chars=";|&><")
        split.whitespace_split = True
        words = list(split)
        while "absence" in words:
            words = words[words.index("absence") + 1 :]
            ends = [n for n, word in enumerate(words) if re.fullmatch("[;|&><]+", word)]
            found.append(words[: ends[0]] if ends else words)
    return found


ALL = [arguments for script in SCRIPTS for arguments in commands(script)]


def check(arguments: list[str]) -> dict[str, Any]:
    """The values of a command line, whose paths need not be there. Raises UsageError for what our command lacks."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    values, rest, order = command.make_parser(context).parse_args(list(arguments))
    if rest:
        raise click.UsageError(f"too many arguments: {rest}", context)
    for parameter in order:
        if not isinstance(parameter.type, click.Path) and parameter.name in values:
            parameter.type_cast_value(context, values[parameter.name])
    return values


def test_there_are_commands_to_check_in_both() -> None:
    for scripts in (list(github_scripts()), list(gitlab_scripts())):
        names = {arguments[0] for script in scripts for arguments in commands(script)}
        assert names == {"run", "report", "coverage", "gate"}


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
def test_every_command_of_the_examples_is_one_of_ours(arguments: list[str]) -> None:
    values = check(arguments)
    if arguments[0] == "run":
        assert values["scenario"] in shipped()


@pytest.mark.parametrize(
    "line",
    ["run default --nme x", "rnu default", "report a --ci jenkins", "run a --seed x", "report a b", "run a --out"],
)
def test_a_command_that_is_not_ours_would_be_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        check(shlex.split(line))


def test_the_exit_codes_of_the_examples_are_ours() -> None:
    codes = {int(code) for script in github_scripts() for code in re.findall(r"-eq (\d+)", script)}
    codes |= {code for job in gitlab_jobs().values() for code in job.get("allow_failure", {}).get("exit_codes", [])}
    assert codes == {ExitCode.INCONCLUSIVE}


def test_every_action_is_pinned_by_the_tag_of_a_release() -> None:
    used = re.findall(r"uses: (\S+)", GITHUB.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action)
    assert len(set(used)) == len({action.partition("@")[0] for action in used}), "one version of each"
    assert re.fullmatch(r"python:3\.\d+-\S+", read(GITLAB)["default"]["image"])


def test_what_a_job_needs_is_another_job() -> None:
    jobs = read(GITHUB)["jobs"]
    for job in jobs.values():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(jobs)
        assert job["timeout-minutes"] <= 60
    others = gitlab_jobs()
    stages = read(GITLAB)["stages"]
    for job in others.values():
        assert job["stage"] in stages
        assert set(job.get("needs", [])) <= set(others)


def test_evidence_is_kept_whatever_the_verdict() -> None:
    kept = [
        step for job in read(GITHUB)["jobs"].values() for step in job["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact")
    ]  # fmt: skip
    assert {step["with"]["name"] for step in kept if "!cancelled()" in step.get("if", "")} >= {"decision"}
    assert any("!cancelled()" in step.get("if", "") for step in kept if step["with"]["name"].startswith("run-"))
    assert gitlab_jobs()["run"]["artifacts"]["when"] == gitlab_jobs()["gate"]["artifacts"]["when"] == "always"


# --- their scripts, carried out --------------------------------------------------------------------------------------

FAKE = """\
#!/bin/sh
echo "absence $*" >> "$CALLS"
[ "$1" = run ] && mkdir -p runs/iteration06
[ "$1" = run ] && exit "$RUN_ENDS_IN"
exit 0
"""


def carried_out(script: str, tmp_path: Path, code: int, inconclusive: str) -> tuple[int, list[str]]:
    """The exit code of a script of which `absence run` ends in `code`, and the calls it made. As a runner starts it."""
    command = tmp_path / "bin" / "absence"
    command.parent.mkdir()
    command.write_text(FAKE)
    command.chmod(0o755)
    calls = tmp_path / "calls"
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls),
            "RUN_ENDS_IN": str(code), "INCONCLUSIVE": inconclusive,
        },
    )  # fmt: skip
    return ran.returncode, calls.read_text().splitlines()


@pytest.mark.parametrize("scripts", [github_scripts, gitlab_scripts])
@pytest.mark.parametrize(
    ("code", "inconclusive", "ends_in"),
    [(0, "warn", 0), (10, "warn", 10), (12, "warn", 0), (12, "fail", 12), (20, "warn", 20), (50, "warn", 50)],
)
def test_a_step_ends_as_the_user_chose_and_reports_whatever_the_verdict(
    scripts: Any, code: int, inconclusive: str, ends_in: int, tmp_path: Path
) -> None:
    script = next(script for script in scripts() if "absence run iteration06" in script.replace('"', ""))
    ended, calls = carried_out(script, tmp_path, code, inconclusive)
    is_gitlab = scripts is gitlab_scripts
    assert ended == (code if is_gitlab else ends_in), "GitLab is told by allow_failure which code is a warning"
    assert [call.split()[1] for call in calls] == ["run", "report"]


class Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def test_the_site_links_to_every_report(small_run: Ran, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name in ("one", "two"):
        (runs / name).mkdir(parents=True)
        (runs / name / "report.html").write_bytes((small_run.path / "report.html").read_bytes())
    (runs / "decisions").mkdir()
    subprocess.run(["sh", EXAMPLES / "site.sh", runs, tmp_path / "site"], check=True)
    assert Links((tmp_path / "site" / "index.html").read_text()).found == ["one.html", "two.html"]
    assert (tmp_path / "site" / "one.html").read_bytes() == (small_run.path / "report.html").read_bytes()


def test_the_site_of_no_runs_is_an_empty_page(tmp_path: Path) -> None:
    subprocess.run(["sh", EXAMPLES / "site.sh", tmp_path, tmp_path / "site"], check=True)
    assert Links((tmp_path / "site" / "index.html").read_text()).found == []


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_plain_shell_and_can_be_started(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", script], check=True)


def test_the_document_names_every_example() -> None:
    text = (ROOT / "docs" / "ci.md").read_text()
    for path in EXAMPLES.iterdir():
        assert path.name in text
