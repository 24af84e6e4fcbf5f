"""The command lines that query and set what can be set on a host: PowerShell over WinRM, a shell over SSH.

Invariant: a command that sets something sets it to the same value however often it runs. `{}` stands for one word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, NamedTuple

from simulator.actors.fleet import Transport
from simulator.actors.host_settings import SETTINGS

Does = Literal["query", "set", "load", "boot"]
CRLF = "\r\n"


class Line(NamedTuple):
    """`setting`: of which it tells or which it sets, to `value` (None: to its last word). To load is to take over what
    another setting holds. `prints`: what it prints of a value. `exits`: its exit code, where that says it too."""

    does: Does
    setting: str
    value: str | None
    prints: Callable[[str], str]
    exits: Callable[[str], int]


class Asked(NamedTuple):
    """What a command line that came in would do: the line of the table that it is, and the value that it sets."""

    line: Line
    value: str


def _one(value: str) -> str:
    return f"{value}{CRLF}"


def _addresses(value: str) -> str:
    head = (
        "",
        "InterfaceAlias               Interface Address ServerAddresses",
        "                             Index     Family",
        "--------------               --------- ------- ---------",
    )
    return CRLF.join((*head, f"Ethernet                             6 IPv4    {{{value}}}", "", ""))  # fmt: skip


def _profile(value: str) -> str:
    told = {"Name": "Domain", "Enabled": value, "DefaultInboundAction": "Block", "DefaultOutboundAction": "Allow"}
    return CRLF.join(("", *(f"{name:<24}: {what}" for name, what in told.items()), "", ""))


def _than(threshold: int) -> Callable[[str], str]:
    """Whether what is left is more than that, as PowerShell prints it."""
    return lambda value: _one(str(int(value) > threshold))


_Row = tuple[str, Does, str, str | None, Callable[[str], str] | None]
"""(text, does, setting, value, prints)"""
_RUN = r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
_WINDOWS: tuple[_Row, ...] = (
    ("Get-DnsClientServerAddress -InterfaceAlias {} -AddressFamily IPv4", "query", "dns.client", "", _addresses),
    ("Set-DnsClientServerAddress -InterfaceAlias {} -ServerAddresses {}", "set", "dns.client", None, None),
    ("Get-NetFirewallProfile -Name {}", "query", "firewall.profile", "", _profile),
    ("Set-NetFirewallProfile -Name {} -Enabled True", "set", "firewall.profile", "True", None),
    ("Set-NetFirewallProfile -PolicyStore PersistentStore -Name {} -Enabled True", "set", "firewall.policy", "True",
     None),
    (f"(Get-Item {_RUN}).GetValueNames() -contains {{}}", "query", "run.value", "", lambda v: _one(str(v != "absent"))),
    (f"Remove-ItemProperty -Path {_RUN} -Name {{}} -ErrorAction Ignore", "set", "run.value", "absent", None),
    ("Unregister-ScheduledTask -TaskName {} -Confirm:$false -ErrorAction Ignore", "set", "run.task", "absent", None),
    ("(Get-SmbServerConfiguration).RequireSecuritySignature", "query", "smb.signing", "", _one),
    ("Set-SmbServerConfiguration -RequireSecuritySignature $true -Force", "set", "smb.signing", "True", None),
    ("(Get-Volume -DriveLetter {}).SizeRemaining -gt 10GB", "query", "disk.C", "", lambda v: _one(str(int(v) < 90))),
    (r"Remove-Item -Path {}:\Windows\Temp\* -Recurse -Force -ErrorAction Ignore", "set", "disk.C", "61", None),
    (r"(Get-ChildItem Cert:\LocalMachine\My | Where-Object Subject -eq {}).NotAfter -gt (Get-Date).AddDays(14)",
     "query", "certificate.machine", "", _than(14)),
    ("certreq -enroll -machine -q -cert {} renew", "set", "certificate.machine", "200", None),
    ("(Get-MpComputerStatus).RealTimeProtectionEnabled", "query", "defender.realtime", "", _one),
    ("Set-MpPreference -DisableRealtimeMonitoring $false", "set", "defender.realtime", "True", None),
    ("Restart-Computer -Force", "boot", "", "", None),
)  # fmt: skip
_LINUX: tuple[_Row, ...] = (
    ("sysctl -n {}", "query", "sysctl.threads", "", lambda v: f"{v}\n"),
    ("sysctl -w kernel.threads-max={}", "set", "sysctl.threads", None, lambda v: f"kernel.threads-max = {v}\n"),
    ("sed -i s/^kernel.threads-max.*/kernel.threads-max={}/ /etc/sysctl.d/60-absence.conf", "set", "sysctl.file", None,
     None),
    ("sshd -T", "query", "sshd.root", "", lambda v: f"port 22\npermitrootlogin {v}\npubkeyauthentication yes\n"),
    ("sed -i s/^PermitRootLogin.*/PermitRootLogin={}/ /etc/ssh/sshd_config", "set", "sshd.file", None, None),
    ("systemctl reload ssh", "load", "sshd.file", "", None),
    ("systemctl is-enabled logrotate.timer", "query", "logrotate", "", lambda v: f"{v}\n"),
    ("systemctl enable --now logrotate.timer", "set", "logrotate", "enabled", None),
    ("ufw status", "query", "ufw", "", lambda v: f"Status: {v}\n"),
    ("ufw --force enable", "set", "ufw", "active", lambda _: "Firewall is active and enabled on system startup\n"),
    ("df --output=pcent {}", "query", "disk.var", "", lambda v: f"Use%\n{v:>3}%\n"),
    ("journalctl --vacuum-size=200M", "set", "disk.var", "47",
     lambda _: "Vacuuming done, freed 0B of archived journals from /var/log/journal.\n"),
    ("openssl x509 -checkend 1209600 -noout -in /etc/ssl/certs/{}.pem", "query", "certificate.file", "",
     lambda v: f"Certificate will {'not ' * (int(v) > 14)}expire\n"),
    ("certbot renew --cert-name {} --quiet", "set", "certificate.file", "60", None),
    ("systemctl reboot", "boot", "", "", None),
)  # fmt: skip
_EXITS: dict[str, Callable[[str], int]] = {
    "systemctl is-enabled logrotate.timer": lambda value: int(value != "enabled"),
    "openssl x509 -checkend 1209600 -noout -in /etc/ssl/certs/{}.pem": lambda value: int(int(value) <= 14),
}
"""Where the exit code says it too (systemctl, openssl-x509: manuals)."""


def _nothing(_: str) -> str:
    return ""


def _well(_: str) -> int:
    return 0


def _compiled(rows: Sequence[_Row]) -> tuple[tuple[re.Pattern[str], Line], ...]:
    return tuple(
        (
            re.compile(re.escape(text).replace(r"\{\}", r"(\S+)")),
            Line(does, setting, value, prints or _nothing, _EXITS.get(text, _well)),
        )
        for text, does, setting, value, prints in rows
    )


@cache
def _lines(transport: Transport) -> tuple[tuple[re.Pattern[str], Line], ...]:
    return _compiled(_WINDOWS if transport == "winrm" else _LINUX)


def asked(transport: Transport, command: str, args: Sequence[str]) -> Asked | None:
    """What a command line asks for; None where no line of the table is like it, or where it is about something else."""
    text = " ".join((command, *args))
    for pattern, line in _lines(transport):
        match = pattern.fullmatch(text)
        if match is None:
            continue
        about = list(match.groups())
        value = about.pop() if line.value is None else line.value
        spec = SETTINGS.get(line.setting)
        target = "" if spec is None else spec.target or SETTINGS[spec.feeds].target
        return Asked(line, value) if all(word == target for word in about) else None
    return None
