"""Defects of the way to the hosts: shells that are left behind, and what is taken for done."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_WINRM = "contest_platform/transports/winrm.py"
_HEALING = "contest_platform/services/healing.py"

CATALOGUE = (
    Defect(
        "hosts.restart_starts_what_is_stopped",
        "To restart a service the command of the rule for stopped ones was taken: what runs is left as it is.",
        (
            Edit(
                _HEALING,
                'RESTARTS = {"windows": ("Restart-Service", "{target}"), "linux": ("systemctl", '
                '"restart", "{target}")}\n',
                'RESTARTS = {"windows": ("Start-Service", "{target}"), "linux": ("systemctl", "start", "{target}")}\n',
            ),
        ),
        ("runbooks.drills_performed",),
        "drills",
    ),
    Defect(
        "hosts.shell_left_after_a_fault",
        "Closing the shell was written after the result; when Receive fails, nobody comes by there.",
        (
            Edit(
                _WINRM,
                "        try:\n"
                "            await self._command(shell, command, args, until)\n"
                "            result = await self._receive(shell, until)\n"
                "        except PortError:\n"
                "            await self._close(shell, ends_at)\n"
                "            raise\n",
                "        await self._command(shell, command, args, until)\n"
                "        result = await self._receive(shell, until)\n",
            ),
        ),
        ("healing.no_shell_left",),
        faults=(Fault("winrm.no_exit_code"),),
    ),
    Defect(
        "hosts.shell_left_to_its_command",
        "A command that is done was taken to end its shell; only those that fail are closed.",
        (
            Edit(
                _WINRM,
                "            raise\n        await self._close(shell, ends_at)\n        return result\n",
                "            raise\n        return result\n",
            ),
        ),
        ("healing.no_shell_left",),
        faults=(Fault("platform.crash"),),
    ),
)
