"""junit.xml: one test case an assertion, so that CI shows promises as it shows tests.

A broken promise is a failure, an unproven one an error (CI must not be green without exercise), one that does not apply
is skipped. The file is valid by the schema of Jenkins' xUnit plugin (junit-10.xsd), and says in the content of elements
what it has to say, for there GitLab looks for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from assertions.model import Result, Status
from reports import words
from reports.story import Story, why_not_exercised

if TYPE_CHECKING:
    from collections.abc import Sequence

BROKEN_SHOWN = 20


def render(story: Story, replay_command: str, run_name: str = "") -> bytes:
    """The whole file. Test case names are the assertions' ids; the class name tells those of several runs apart."""
    verdict = story.verdict
    run = label(story, run_name)
    counts = _counts(verdict.results)
    del counts["skipped"]  # not known of a whole file
    root = _add(None, "testsuites", name=f"founder-absence {run}", **counts)
    families: dict[str, list[Result]] = {}
    for result in verdict.results:
        families.setdefault(result.family, []).append(result)
    for family, results in families.items():
        suite = _add(root, "testsuite", name=f"{run}.{family}", **_counts(results))
        properties = _add(suite, "properties")
        facts = {
            "scenario": verdict.scenario,
            "seed": str(verdict.seed),
            "plan_sha256": verdict.plan_sha256,
            "replay": replay_command,
        }
        for name, value in facts.items():
            _add(properties, "property", name=name, value=value)
        for result in results:
            _case(suite, result, story, run)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def label(story: Story, run_name: str = "") -> str:
    """What a run is called from one commit to the next, so that CI can compare its tests: the name that it was given;
    else its scenario, its seed and some digits of its plan, since its directory's name changes with the code."""
    verdict = story.verdict
    own = f"{verdict.scenario}-s{verdict.seed}"
    is_given = run_name and not re.fullmatch(rf"{re.escape(own)}-[0-9a-f]{{10}}", run_name)
    return (run_name if is_given else f"{own}-{verdict.plan_sha256[:8]}").replace(".", "_")


def _add(parent: ET.Element | None, tag: str, text: str = "", **attributes: str) -> ET.Element:
    """An element under `parent`; nothing unprintable gets into it."""
    clean = {name: words.printable(value) for name, value in attributes.items()}
    element = ET.Element(tag, clean) if parent is None else ET.SubElement(parent, tag, clean)
    if text:
        element.text = words.printable(text)
    return element


def _counts(results: Sequence[Result]) -> dict[str, str]:
    statuses = [result.status for result in results]
    return {
        "tests": str(len(statuses)),
        "failures": str(statuses.count(Status.FAIL)),
        "errors": str(statuses.count(Status.INCONCLUSIVE)),
        "skipped": str(statuses.count(Status.NOT_APPLICABLE)),
    }


def _case(suite: ET.Element, result: Result, story: Story, run: str) -> None:
    case = _add(suite, "testcase", classname=f"absence.{run}.{result.family}", name=result.id)
    if result.status is Status.FAIL:
        lines = [
            f"{story.when(broken.at)}, {words.dollars(broken.money_cents)} at risk, {broken.subject}: {broken.message}"
            for broken in result.broken[:BROKEN_SHOWN]
        ]
        if len(result.broken) > BROKEN_SHOWN:
            lines.append(f"and {len(result.broken) - BROKEN_SHOWN} more")
        _add(case, "failure", "\n".join(lines), type=result.kind, message=result.broken[0].message)
    elif result.status is Status.INCONCLUSIVE:
        why = why_not_exercised(result)
        _add(case, "error", "\n".join(result.missing) or why, type="INCONCLUSIVE", message=why)
    elif result.status is Status.NOT_APPLICABLE:
        why = why_not_exercised(result)
        _add(case, "skipped", why, message=why)
    _add(case, "system-out", f"{result.claim} Saw {result.saw} {result.unit}, had to see {result.owed}.")
