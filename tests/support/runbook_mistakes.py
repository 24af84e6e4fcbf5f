"""What can be wrong with a runbook: each mistake in a document that is in order but for it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.runbooks import GOOD


@dataclass(frozen=True)
class Mistake:
    """What stands in GOOD, what stands there instead, and the problem that it is: `line` counts from the first line
    that has `near` in it, or from the top."""

    old: str
    new: str
    near: str | None
    line: int
    column: int
    says: str


WRONG = {
    "key unknown": Mistake(
        old="role: ops", new="rolle: ops", near=None, line=6, column=1, says="unknown key rolle (did you mean role?)"
    ),
    "role that is away": Mistake(
        old="role: ops",
        new="role: engineering",
        near=None,
        line=6,
        column=7,
        says="role: expected ops, for nobody else is there",
    ),
    "kind unknown": Mistake(
        old="kind: failure", new="kind: failur", near=None, line=5, column=7, says="(did you mean failure?)"
    ),
    "section unknown": Mistake(
        old="## Detection",
        new="## Detecton",
        near=None,
        line=12,
        column=4,
        says="has no section Detecton (did you mean Detection?)",
    ),
    "yaml": Mistake(
        old="alerts: [ThingStuck]", new="alerts: [ThingStuck", near=None, line=8, column=14, says="this is not YAML"
    ),
    "no title": Mistake(
        old="# A thing is stuck", new="A thing is stuck", near=None, line=10, column=1, says="the title is missing"
    ),
    "numbering": Mistake(
        old="2. Change it.", new="3. Change it.", near="3. Change", line=0, column=1, says="expected step 2, found 3"
    ),
    "a pipe": Mistake(
        old="opsctl thing list",
        new="opsctl thing list | head",
        near="| head",
        line=0,
        column=22,
        says="'|' has no place in a command",
    ),
    "a redirection": Mistake(
        old="opsctl thing list",
        new="opsctl thing list >x",
        near=">x",
        line=0,
        column=22,
        says="'>' has no place in a command",
    ),
    "another program": Mistake(
        old="opsctl thing list",
        new="psql thing",
        near="psql",
        line=0,
        column=4,
        says="a command is one line that begins with opsctl",
    ),
    "two commands": Mistake(
        old="opsctl thing list\n",
        new="opsctl thing list\n   opsctl thing list\n",
        near="opsctl",
        line=1,
        column=1,
        says="one command",
    ),
    "unknown option": Mistake(
        old="--to FREE",
        new="--too FREE",
        near="--too",
        line=0,
        column=32,
        says="has no option --too (did you mean --to?)",
    ),
    "an option without value": Mistake(
        old="--to FREE", new="--to", near="--to", line=0, column=4, says="--to takes a value, and the line ends"
    ),
    "an option's value forgotten": Mistake(
        old='--reason "it is stuck"', new="--reason", near="--reason", line=0, column=31, says="--reason takes a value"
    ),
    "required option": Mistake(
        old=' --reason "it is stuck"',
        new="",
        near="thing poke",
        line=0,
        column=4,
        says="opsctl thing poke needs the option --reason",
    ),
    "argument missing": Mistake(
        old="thing revert {thing}",
        new="thing revert",
        near="thing revert",
        line=0,
        column=4,
        says="needs an argument: THING",
    ),
    "argument too many": Mistake(
        old="opsctl thing list", new="opsctl thing list x", near="list x", line=0, column=22, says="x is one too many"
    ),
    "regex": Mistake(
        old="regex: thing_id={thing} status=(FREE|GONE)",
        new="regex: x(",
        near="regex: x(",
        line=0,
        column=12,
        says="no regular expression",
    ),
    "capture without group": Mistake(
        old="/thing_id=(\\S+)/", new="/thing_id/", near="/thing_id/", line=0, column=20, says="a capture has one group"
    ),
    "directive": Mistake(
        old="within 30s",
        new="within 30 seconds",
        near="within 30 ",
        line=0,
        column=4,
        says="is none of exit N, within Ns",
    ),
    "nothing expected": Mistake(
        old="   done: poked\n", new="", near="within 30s", line=-1, column=4, says="no output is expected here"
    ),
    "condition": Mistake(
        old="if exit 3", new="if status 3", near="if status 3", line=0, column=9, says="a condition is `exit N`"
    ),
    "branch word": Mistake(
        old="otherwise → Verification",
        new="otherwhise → Verification",
        near="otherwhise",
        line=0,
        column=6,
        says="(did you mean otherwise?)",
    ),
    "bullet": Mistake(
        old="- otherwise → Verification",
        new="- Verification follows",
        near="Verification follows",
        line=0,
        column=6,
        says="is a branch",
    ),
    "after otherwise": Mistake(
        old="   - otherwise → Verification",
        new="   - otherwise → Verification\n   - if exit 2 → done",
        near="if exit 2",
        line=0,
        column=6,
        says="nothing comes after `otherwise`",
    ),
    "no command": Mistake(
        old="   ```sh\n   opsctl thing list\n   ```\n",
        new="",
        near="1. See which.",
        line=0,
        column=1,
        says="step 1 has no command",
    ),
    "shell outside a step": Mistake(
        old="Nothing.",
        new="```sh\nopsctl state\n```",
        near="opsctl state",
        line=-1,
        column=1,
        says="belongs to no step",
    ),
    "empty verification": Mistake(
        old=GOOD[GOOD.index("1. It is free.") : GOOD.index("## Rollback")],
        new="It is free.\n\n",
        near="## Verification",
        line=0,
        column=4,
        says="Verification is empty: it needs a step",
    ),
    "empty section": Mistake(
        old="Nothing.", new="", near="## Documentation", line=0, column=4, says="Documentation is empty"
    ),
    "acting where one looks": Mistake(
        old="opsctl thing list\n",
        new="opsctl thing change x\n",
        near="thing change",
        line=0,
        column=4,
        says="one only looks in Diag",
    ),
    "acting again and again": Mistake(
        old="within 30s",
        new="within 30s every 2s",
        near="within 30s",
        line=-2,
        column=4,
        says="only a command that reads",
    ),
    "acting without rollback": Mistake(
        old=GOOD[GOOD.index("1. Put it back.") : GOOD.index("## Documentation")],
        new="Nothing to do.\n\n",
        near="thing change",
        line=0,
        column=4,
        says="Rollback has no step for it: add one, with `- only after Rec",
    ),
    "another runbook": Mistake(
        old="Nothing.",
        new="Then follow other_thing.md.",
        near="other_thing.md",
        line=0,
        column=13,
        says="no runbook depends on another",
    ),
    "engineering": Mistake(
        old="2. Change it.",
        new="2. Ask the engineers to change it.",
        near="Ask the",
        line=0,
        column=4,
        says="needs somebody who is not there",
    ),
    "engineering will": Mistake(
        old="Nothing.",
        new="Engineering will look at it.",
        near="Engineering will",
        line=0,
        column=1,
        says="somebody who is not there",
    ),
    "left open": Mistake(
        old="2. Change it.",
        new="2. Change it as needed.",
        near="as needed",
        line=0,
        column=14,
        says="leaves it to the reader",
    ),
    "never reached": Mistake(
        old="   - if exit 3 → escalate",
        new="   - if exit 3 → escalate\n   - otherwise → Verification",
        near="1. Poke it.",
        line=0,
        column=1,
        says="step 1 of Recovery is never reached",
    ),
    "not captured on every way": Mistake(
        old="if line: none → done",
        new="if line: none → Recovery",
        near="thing change",
        line=0,
        column=24,
        says="there is a way to here that does not capture",
    ),
    "an alert's label without alert": Mistake(
        old="[ThingStuck]",
        new="[]",
        near="--contest {alert",
        line=0,
        column=55,
        says="undefined placeholder {alert.contest_id}: no alert opens",
    ),
    "undo without a place": Mistake(
        old="   - only after Recovery step 2\n",
        new="",
        near="thing revert",
        line=0,
        column=24,
        says="which may not have been taken; say `only after`",
    ),
    "undo of nothing": Mistake(
        old="only after Recovery step 2",
        new="only after Recovery step 9",
        near="only after",
        line=0,
        column=17,
        says="there is no step 9 in",
    ),
    "undo elsewhere": Mistake(
        old="- otherwise → Verification",
        new="- only after Recovery step 1",
        near="only after",
        line=0,
        column=6,
        says="stands in a step of Rollback",
    ),
    "option twice": Mistake(
        old="--to FREE",
        new="--to FREE --to FREE",
        near="--to FREE",
        line=0,
        column=42,
        says="--to stands here a second time",
    ),
    "rollback elsewhere": Mistake(
        old="   - only after Recovery step 2\n",
        new="   - only after Recovery step 2\n   - if exit 5 → Recovery\n",
        near="if exit 5",
        line=0,
        column=6,
        says="Rollback leads nowhere else: Recovery/1 is outside it",
    ),
    "rollback in part": Mistake(
        old="   - only after Recovery step 2\n",
        new="   - only after Recovery step 2\n   - if exit 5 → partial\n",
        near="if exit 5",
        line=0,
        column=6,
        says="a Rollback is done or fails",
    ),
    "order of sections": Mistake(
        old="## Detection",
        new="## Documentation",
        near="## Diagnosis",
        line=0,
        column=4,
        says="Diagnosis has to stand above Documentation",
    ),
    "section twice": Mistake(
        old="## Detection",
        new="## Diagnosis",
        near="1. See which.",
        line=-2,
        column=4,
        says="a second section Diagnosis: join them",
    ),
    "second title": Mistake(
        old="## Detection", new="# Again\n\n## Detection", near="# Again", line=0, column=1, says="a second title"
    ),
    "capture's name": Mistake(
        old="capture thing:",
        new="capture Thing:",
        near="capture Thing",
        line=0,
        column=12,
        says="'Thing' cannot be captured",
    ),
    "capture without slashes": Mistake(
        old="capture thing: /thing_id=(\\S+)/",
        new="capture thing: thing_id",
        near="capture thing",
        line=0,
        column=4,
        says="expected capture NAME: /REGEX/",
    ),
    "key twice": Mistake(
        old="role: ops",
        new="role: ops\nrole: ops",
        near=None,
        line=7,
        column=1,
        says="role: this key stands here a second time",
    ),
    "key missing": Mistake(
        old="date: 2026-06-01\n", new="", near=None, line=1, column=1, says="the key date is missing"
    ),
    "exit twice": Mistake(
        old="within 30s",
        new="within 30s\n   exit 1\n   exit 2",
        near="exit 2",
        line=0,
        column=4,
        says="exit stands in this block a second time",
    ),
    "no time": Mistake(old="within 30s", new="within 0s", near="within 0s", line=0, column=4, says="0s is no time"),
    "step before sections": Mistake(
        old="# A thing is stuck\n",
        new="# A thing is stuck\n\n1. Do it.\n",
        near="1. Do it.",
        line=0,
        column=1,
        says="a step stands in a section",
    ),
    "two expectations": Mistake(
        old="   done: poked\n   within 30s\n   ```\n",
        new="   done: poked\n   ```\n\n   ```expect\n   x\n   ```\n",
        near="   x",
        line=-1,
        column=4,
        says="a step has one expect block",
    ),
    "no expectation": Mistake(
        old="   ```expect\n   done: poked\n   within 30s\n   ```\n",
        new="",
        near="1. Poke it.",
        line=0,
        column=1,
        says="step 1 does not say what to expect",
    ),
    "another block": Mistake(
        old="   done: poked\n   within 30s\n   ```\n",
        new="   done: poked\n   within 30s\n   ```\n\n   ```json\n   x\n   ```\n",
        near="```json",
        line=0,
        column=4,
        says="a step has an sh block and an expect block",
    ),
    "a quote not closed": Mistake(
        old='"it is stuck"', new='"it is stuck', near='"it is', line=0, column=31, says="this quote is not closed"
    ),
    "malformed placeholder": Mistake(
        old="thing change {thing}",
        new="thing change {the thing}",
        near="{the thing}",
        line=0,
        column=24,
        says="a placeholder is {alert.LABEL} or {NAME}",
    ),
    "two blanks": Mistake(
        old="thing change {thing}",
        new="thing change  {thing}",
        near="change  {",
        line=0,
        column=24,
        says="arguments are parted by one blank",
    ),
    "not a choice": Mistake(
        old="--to FREE",
        new="--to FRE",
        near="--to FRE",
        line=0,
        column=37,
        says="--to is one of FREE, STUCK, not FRE (did you mean FREE?)",
    ),
    "not a choice, joined": Mistake(
        old="--to FREE",
        new="--to=FRE",
        near="--to=FRE",
        line=0,
        column=32,
        says="--to is one of FREE, STUCK, not FRE (did you mean FREE?)",
    ),
}
