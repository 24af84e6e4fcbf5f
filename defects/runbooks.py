"""Defects of what ops works with: the record of executions, opsctl and what it prints, and the executor of runbooks."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_RUNBOOKS = "contest_platform/services/runbooks.py"
_COMMANDS = "contest_platform/opsctl_commands.py"
_EXECUTE = "operations/runbooks/execute.py"
_APP = "contest_platform/app.py"
_CONFIGURATION = "contest_platform/services/configuration.py"
_RESOLUTIONS = "contest_platform/services/payout_resolutions.py"
_MATCH = "operations/runbooks/match.py"
_RENDER = "operations/runbooks/render.py"

CATALOGUE = (
    Defect(
        "runbooks.column_renamed",
        "A column of opsctl was given a better name, and the runbooks that read it were not looked through.",
        (
            Edit(
                _COMMANDS,
                '          _list("stale head_seq published_seq behind published_at paged head_hash")),\n',
                '          _list("is_stale:stale head_seq published_seq behind published_at paged head_hash")),\n',
            ),
        ),
        ("runbooks.nothing_escalated", "runbooks.procedures_done"),
        "healing_promoted",
    ),
    Defect(
        "runbooks.description_not_committed",
        "An endpoint was described in better words, and the description of the interface was not made anew.",
        (
            Edit(
                _APP,
                '        self._add("GET", "/api/admin/status", Route("admin", self._status, "How many '
                'contests stand where"))\n',
                '        self._add("GET", "/api/admin/status", Route("admin", self._status, "Contests by status"))\n',
            ),
        ),
        ("runbooks.procedures_done", "runbooks.nothing_escalated"),
        "healing_promoted",
    ),
    Defect(
        "runbooks.end_once_and_no_more",
        "An execution ends once: whoever tells it again is refused, though his answer was lost and he says the same.",
        (
            Edit(
                _RUNBOOKS,
                "        if any(row[name] != value for name, value in end.items()):\n"
                "            return Refusal(409, f\"runbook execution {row['id']} is {row['status']}\")\n"
                '        return {"timestamp": rfc3339(row["end_time"], ms=True), "success": True}\n',
                "        return Refusal(409, f\"runbook execution {row['id']} is {row['status']}\")\n",
            ),
        ),
        ("runbooks.nothing_escalated",),
        "operated",
        (Fault("timeouts.complete_answer_lost"),),
    ),
    Defect(
        "runbooks.last_line_captured",
        "Born in operations: the loop that looks for what a capture takes goes on after it has found it, so the last "
        "line wins.",
        (
            Edit(
                _MATCH,
                "                found[capture.name] = hit[1]\n                break\n        else:\n"
                "            missing.append(capture.name)\n",
                "                found[capture.name] = hit[1]\n        if capture.name not in found:\n"
                "            missing.append(capture.name)\n",
            ),
        ),
        ("runbooks.sent_as_written",),
        "drills",
    ),
    Defect(
        "runbooks.one_step_back_is_the_last",
        "How many versions to go back counts the last one as the first of them: one step leaves everything as it is.",
        (
            Edit(
                _CONFIGURATION,
                '        target = _version(tx, last["version"] - steps)\n',
                '        target = _version(tx, last["version"] + 1 - steps)\n',
            ),
        ),
        ("runbooks.drills_performed", "runbooks.nothing_escalated"),
        "drills",
    ),
    Defect(
        "runbooks.output_cut",
        "The output of a step has a column of 255 characters, and what is longer is cut without a word.",
        (
            Edit(
                _RUNBOOKS,
                '    step["output"] = given["output"] or ""\n',
                '    step["output"] = (given["output"] or "")[:255]\n',
            ),
        ),
        ("runbooks.on_record",),
        "healing_promoted",
    ),
    Defect(
        "runbooks.quotes_lost",
        "Born in operations: what is sent is put together from the arguments, and what stood in quotes falls apart.",
        (
            Edit(
                _RENDER,
                "    return Rendered(argv, fill(template, bindings).encode())\n",
                '    return Rendered(argv, " ".join((PROGRAM, *argv)).encode())\n',
            ),
        ),
        ("runbooks.sent_as_written",),
        "healing_promoted",
    ),
    Defect(
        "runbooks.reversed_is_not_resolved",
        "That somebody has looked into it may be noted of what failed for good; what was reversed came later, and was "
        "forgotten.",
        (
            Edit(
                _RESOLUTIONS,
                '    if row["status"] not in ("FAILED_TERMINAL", "REVERSED"):\n',
                '    if row["status"] != "FAILED_TERMINAL":\n',
            ),
        ),
        ("runbooks.faults_recovered", "runbooks.nothing_escalated"),
        "healing_promoted",
        (Fault("processor.transfer_reversed"),),
    ),
    Defect(
        "runbooks.state_before_not_kept",
        "The state before an execution is optional in the request, and was left out of what is kept.",
        (
            Edit(
                _RUNBOOKS,
                '    same["system_state_before"] = _json(given["system_state_before"])\n',
                '    same["system_state_before"] = None\n',
            ),
        ),
        ("runbooks.on_record",),
        "healing_promoted",
    ),
    Defect(
        "runbooks.unanswered_step_dropped",
        "A step that got no answer has no output to keep, and was left out of the record; the next one "
        "takes its number.",
        (
            Edit(
                _RUNBOOKS,
                '    if row["status"] != "in_progress":\n'
                "        return Refusal(409, f\"runbook execution {row['id']} is {row['status']}\")\n"
                '    last = _last_step(tx, row["id"])\n'
                '    expected = 1 if last is None else last["n"] + 1\n'
                '    if step["n"] != expected:\n'
                "        return Refusal(409, f\"expected step {expected}, not step {step['n']}\")\n",
                '    if row["status"] != "in_progress":\n'
                "        return Refusal(409, f\"runbook execution {row['id']} is {row['status']}\")\n"
                '    if step["exit_status"] == 3:\n'
                '        return {"timestamp": rfc3339(tx.now, ms=True), "success": True}\n'
                '    last = _last_step(tx, row["id"])\n'
                '    if last is not None and step["n"] <= last["n"]:\n'
                "        return Refusal(409, f\"step {step['n']} comes before step {last['n']}\")\n",
            ),
        ),
        ("runbooks.on_record",),
        "healing_promoted",
        (Fault("commands.answer_lost"),),
    ),
    Defect(
        "runbooks.watched_while_waiting",
        "Born in operations: whoever waits for the clock keeps watching it, and nobody takes the next page.",
        (
            Edit(
                _EXECUTE,
                "            await self.control.wait(expected.every_s)\n",
                "            again = self.control.now() + expected.every_s * 1000\n"
                "            while self.control.now() < again:\n"
                '                await self.control.think(f"watches {step.id}")\n',
            ),
        ),
        ("alerts.acknowledged",),
        "healing_promoted",
        (Fault("daemons.killed"), Fault("platform.score_rotten")),
    ),
    Defect(
        "runbooks.written_up_first",
        "Born in operations: after the record is closed its steps are gone through once more, for the write-up, before "
        "the hands are free.",
        (
            Edit(
                _EXECUTE,
                "        escalation = None if failure is None else self._escalation(failure, "
                "rolled_back, before, after)\n",
                "        for record in self.records:\n"
                '            await control.think(f"writes up {record.section}/{record.number}")\n'
                "        escalation = None if failure is None else self._escalation(failure, "
                "rolled_back, before, after)\n",
            ),
        ),
        ("alerts.acknowledged",),
        "operated",
        None,
    ),
)
