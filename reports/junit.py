"""junit.xml: one test case an assertion, so that CI shows promises as it shows tests.

A broken promise is a failure, an unproven one an error (CI must not be green without exercise), one that does not apply
is skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from assertions.model import Result, Status
from reports import words
from reports.story import Story, why_not_exercised

if TYPE_CHECKING:
    from collections.abc import Sequence

BROKEN_SHOWN = 20


def render(story: Story, replay_command: str) -> bytes:
    """The whole file. Test case names are the assertions' ids, which are unique."""
    verdict = story.verdict
    root = _add(None, "testsuites", name=f"founder-absence {verdict.scenario}", **_counts(verdict.results))
    families: dict[str, list[Result]] = {}
    for result in verdict.results:
        families.setdefault(result.family, []).append(result)
    for family, results in families.items():
        suite = _add(root, "testsuite", name=family, **_counts(results))
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
            _case(suite, result, story)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


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


def _case(suite: ET.Element, result: Result, story: Story) -> None:
    case = _add(suite, "testcase", classname=f"absence.{result.family}", name=result.id)
    if result.status is Status.FAIL:
        lines = [
            f"{story.when(broken.at)}, {words.dollars(broken.money_cents)} at risk, {broken.subject}: {broken.message}"
            for broken in result.broken[:BROKEN_SHOWN]
        ]
        if len(result.broken) > BROKEN_SHOWN:
            lines.append(f"and {len(result.broken) - BROKEN_SHOWN} more")
        _add(case, "failure", "\n".join(lines), type=result.kind, message=result.broken[0].message)
    elif result.status is Status.INCONCLUSIVE:
        _add(case, "error", "\n".join(result.missing), type="INCONCLUSIVE", message=why_not_exercised(result))
    elif result.status is Status.NOT_APPLICABLE:
        _add(case, "skipped", message=why_not_exercised(result))
    _add(case, "system-out", f"{result.claim} Saw {result.saw} {result.unit}, had to see {result.owed}.")
