"""What some runs have exercised of operations: counted from their books, against documents that the run itself kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from absence.coverage import Seen, of_run, of_runs, seen
from absence.covering import make_all, tasks
from fault_injectors import registry
from reports.coverage import Coverage, Share
from tests.support.command import ROOT, Ran, SharedRuns, absence
from tests.test_reports import Page

STORM = """
  - {fault: webhooks.storm}
operations: true
"""


@pytest.fixture(scope="module")
def ran(runs: SharedRuns, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run in which one alert opens one runbook, which is carried out once."""
    path = tmp_path_factory.mktemp("storm") / "storm.yaml"
    path.write_text((ROOT / "scenarios" / "small.yaml").read_text() + "\nfaults:" + STORM)
    return runs(path)


@pytest.fixture(scope="module")
def covered(ran: Ran) -> Coverage:
    found = of_run(ran.evidence)
    assert found is not None
    return found


def document(covered: Coverage, name: str):  # type: ignore[no-untyped-def]
    return next(one for one in covered.documents if one.id == name)


def test_what_there_is_comes_from_the_documents_and_the_registry(covered: Coverage) -> None:
    texts = [path.read_text() for path in sorted((ROOT / "runbooks").glob("*.md"))]
    commands = sum(line.strip().startswith("opsctl ") for text in texts for line in text.split("\n"))
    arrows = sum(line.strip().startswith(("- if ", "- otherwise ")) for text in texts for line in text.split("\n"))
    rules = [line for path in (ROOT / "alerts").glob("*.yml") for line in path.read_text().split("\n")]
    shares = covered.shares
    assert shares["runbooks"].of == len(texts)
    assert shares["steps"].of == commands
    assert shares["branches"].of == arrows
    assert shares["alert rules"].of == len({line for line in rules if line.strip().startswith("- alert:")})
    assert shares["faults"].of + shares["violations"].of == len(registry())


def test_what_was_done_is_what_the_books_say(ran: Ran, covered: Coverage) -> None:
    [execution] = ran.rows("platform.runbook_executions", runbook_name="duplicate_webhook")
    steps = ran.rows("platform.runbook_execution_steps", execution_id=execution.id)
    assert len(steps) > 1
    storm = document(covered, "duplicate_webhook")
    assert (storm.opened, storm.completed, storm.other_text) == (1, 1, 0)
    taken = {step.id: step.times for step in storm.steps}
    for step in steps:
        assert taken[f"{step.section}/{step.number}"] >= 1
    assert sum(taken.values()) == len(steps)
    assert taken["Rollback/1"] == 0
    fired = {rule.name: rule.fired for rule in covered.rules}
    for name, times in fired.items():
        assert times == len(ran.rows("monitoring.alerts", alert=name, state="firing"))
    assert fired["WebhookDuplicates"] == 1
    bit = {fault.id: fault.bit for fault in covered.faults}
    assert {name for name, times in bit.items() if times} == {"webhooks.storm"}
    [mode] = [mode for mode in covered.modes if mode.name == "duplicate_webhook"]
    assert (mode.runbooks, mode.fired, mode.completed) == (("duplicate_webhook",), ("WebhookDuplicates",), 1)
    assert "webhooks.storm" in mode.faults


def test_a_branch_counts_when_its_arrow_was_taken(ran: Ran) -> None:
    found = seen(ran.evidence)
    before = document(of_runs(found), "duplicate_webhook")
    step = next(step for step in before.steps if step.branches and not step.branches[0].times)
    [sent] = [one for one in found.sent if (one.runbook, one.step) == ("duplicate_webhook", step.id)]
    found.sent[sent._replace(matched="branch 1")] += 1
    after = document(of_runs(found), "duplicate_webhook")
    assert after.branches.done == before.branches.done + 1
    assert after.taken == before.taken
    line = (ROOT / after.file).read_text().split("\n")[step.branches[0].line - 1]
    assert line.strip() == f"- {step.branches[0].text}"


def test_what_followed_another_text_is_not_counted_for_this_one(ran: Ran) -> None:
    found = seen(ran.evidence)
    path = "runbooks/duplicate_webhook.md"
    step = next(step for step in document(of_runs(found), "duplicate_webhook").steps if step.times)
    other = Seen(documents={**found.documents, path: found.documents[path].replace(step.command, "opsctl state", 1)})
    found.add(other)
    changed = document(of_runs(found), "duplicate_webhook")
    assert changed.other_text == changed.opened == 1
    assert next(one for one in changed.steps if one.id == step.id).times == 0


def test_the_command_adds_runs_up_and_names_what_never_was(ran: Ran, small_run: Ran) -> None:
    told = absence("coverage", ran.path, small_run.path, "--json")
    assert told.exit_code == 0
    assert (told.json["runs"], told.json["runs_with_operations"]) == (2, 1)
    steps = told.json["shares"]["steps"]
    assert steps["of"] - steps["done"] == len(told.json["never"]["steps"])
    branches = told.json["shares"]["branches"]
    assert branches["of"] - branches["done"] == len(told.json["never"]["branches"])
    assert "WebhookDuplicates" not in told.json["never"]["alert rules"]
    assert "PayoutNotTriggered" in told.json["never"]["alert rules"]
    said = absence("coverage", ran.path).stdout
    assert "duplicate_webhook" in said
    assert f"Never exercised: {len(told.json['never']['faults'])} faults" in said
    assert "runbooks/duplicate_webhook.md:" in said
    twice = absence("coverage", ran.path, ran.path, "--json").json
    assert {what: share["done"] for what, share in twice["shares"].items()} == {
        what: share["done"] for what, share in told.json["shares"].items()
    }


def test_too_little_is_inconclusive(ran: Ran) -> None:
    share = absence("coverage", ran.path, "--json").json["shares"]["steps"]["percent"]
    assert absence("coverage", ran.path, "--steps", str(share)).exit_code == 0
    assert absence("coverage", ran.path, "--steps", str(share + 0.1)).exit_code == 12
    assert absence("coverage", ran.path, "--branches", "100").exit_code == 12


def test_wrong_usage_and_what_is_no_run(ran: Ran, tmp_path: Path) -> None:
    assert absence("coverage").exit_code == 2
    assert absence("coverage", tmp_path / "nowhere").exit_code == 2
    told = absence("coverage", "--scenarios", "small")
    assert told.exit_code == 2
    assert "small: nobody is on call there" in told.stderr
    assert absence("coverage", "--scenarios", "smal", "--on-call").exit_code == 20
    (tmp_path / "empty").mkdir()
    told = absence("coverage", ran.path, tmp_path / "empty")
    assert told.exit_code == 20
    assert f"{tmp_path / 'empty'} is not a run directory" in told.stderr


def test_a_run_that_cannot_be_read_is_located(ran: Ran, tmp_path: Path) -> None:
    for name, harm, code, said in (
        ("book", lambda path: (path / "books" / "monitoring.alerts.parquet").write_bytes(b"x"), 30,
         "book/books/monitoring.alerts.parquet: "),
        ("text", lambda path: (path / "runbooks" / "daily_check.md").write_bytes(b"\xff"), 20, "text keeps a document"),
        ("runbook", lambda path: (path / "runbooks" / "daily_check.md").write_text("# Nothing\n"), 20,
         "runbooks/daily_check.md:1"),
        ("rules", lambda path: (path / "alerts" / "hosts.yml").write_text("groups: 7\n"), 20, "alerts/hosts.yml:1"),
    ):  # fmt: skip
        copy = tmp_path / name
        shutil.copytree(ran.path, copy)
        harm(copy)
        told = absence("coverage", ran.path, copy)
        assert told.exit_code == code, told
        assert said in told.stderr


def test_scenarios_are_simulated_side_by_side_with_the_same_result(ran: Ran, tmp_path: Path) -> None:
    todo = tasks(["small"], 2, True, tmp_path / "one")
    alone = make_all(todo, 1, lambda *_: None)
    counted: list[tuple[int, int]] = []
    beside = make_all(tasks(["small"], 2, True, tmp_path / "two"), 2, lambda *so_far: counted.append(so_far))
    assert beside == alone
    assert [(made.scenario, made.seed) for made in alone] == [("small", 1), ("small", 2)]
    assert counted == [(0, 2), (1, 2), (2, 2)]
    assert [made.seen.with_operations for made in alone] == [1, 1]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_scenario_that_cannot_be_planned_is_told_as_everywhere(tmp_path: Path, processes: int) -> None:
    for name, faults in (("one", "\nfaults: [{fault: platform.user_deleted}]\n"), ("two", "\n")):
        (tmp_path / f"{name}.yaml").write_text((ROOT / "scenarios" / "small.yaml").read_text() + faults)
    both = [part for name in ("one", "two") for part in ("--scenarios", tmp_path / f"{name}.yaml")]
    told = absence("coverage", *both, "--on-call", "--processes", str(processes))
    assert told.exit_code == 20
    assert "one.yaml --seed 1: " in told.stderr
    assert "platform.user_deleted cannot be bound" in told.stderr


def test_the_reports_tell_it_if_somebody_was_on_call(ran: Ran, small_run: Ran, covered: Coverage) -> None:
    page, text = (ran.path / "report.html").read_text(), (ran.path / "report.md").read_text()
    told = Page(page.encode())
    assert told.open == [], "every tag is closed"
    assert "Webhooks" in told.texts["coverage"]
    assert f"<dt>Steps</dt><dd>{covered.shares['steps'].percent} <small>" in page
    storm = document(covered, "duplicate_webhook")
    [idle] = [step for step in storm.steps if step.id == "Rollback/1"]
    assert idle.command in page
    assert "## What of operations was exercised" in text
    assert f"| steps | {covered.shares['steps'].done} | {covered.shares['steps'].of} |" in text
    assert f"`{storm.file}:{idle.line}: Rollback/1 {idle.command}`" in text
    for name in ("report.html", "report.md"):
        assert "operations was exercised" not in (small_run.path / name).read_text()


def test_a_share_is_never_rounded_up() -> None:
    assert Share(9_499, 10_000).percent == "94.9 %"
    assert Share(10_000, 10_000).percent == "100.0 %"
    assert Share(0, 0).tenths == 1_000
