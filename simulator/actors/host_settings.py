"""What can be set on a host, as data: how it should be, which check finds it otherwise, what restores it.

Invariant: a setting is right when it has its good value; nothing else about it is remembered.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from simulator.actors.fleet import DNS_ADDRESS, Transport

When = Literal["boot", "refresh"]
REFRESH_MS = 10 * 60_000
"""How soon after a change the stored policy is applied again. (Group Policy refreshes every 90 min, give or take 30;
whoever enforces a policy on purpose sets it lower.)"""


class Setting(NamedTuple):
    """`check`: the agent's name for it, empty where no check looks at it. `feeds`: the setting that takes its value
    from this one, `when`: at a boot, or when policies are refreshed."""

    transport: Transport
    good: str
    check: str = ""
    target: str = ""
    feeds: str = ""
    when: When = "boot"


SETTINGS: dict[str, Setting] = {
    "dns.client": Setting("winrm", DNS_ADDRESS, "dns_client_address", "Ethernet"),
    "firewall.profile": Setting("winrm", "True", "firewall_profile", "Domain"),
    "firewall.policy": Setting("winrm", "True", feeds="firewall.profile", when="refresh"),
    "run.value": Setting("winrm", "absent", "registry_run_key", "SvcUpdate"),
    "run.task": Setting("winrm", "absent", feeds="run.value"),
    "smb.signing": Setting("winrm", "True", "smb_signing", "SmbServer"),
    "disk.C": Setting("winrm", "61", "disk_usage", "C"),
    "certificate.machine": Setting("winrm", "200", "certificate_expiry", "CN=absence"),
    "defender.realtime": Setting("winrm", "True", "defender_realtime", "Defender"),
    "defender.tamper": Setting("winrm", "False"),
    "sysctl.threads": Setting("ssh", "63704", "kernel_parameter", "kernel.threads-max"),
    "sysctl.file": Setting("ssh", "63704", feeds="sysctl.threads"),
    "sshd.root": Setting("ssh", "no", "ssh_root_login", "PermitRootLogin"),
    "sshd.file": Setting("ssh", "no", feeds="sshd.root"),
    "logrotate": Setting("ssh", "enabled", "log_rotation", "logrotate.timer"),
    "ufw": Setting("ssh", "active", "firewall_active", "ufw"),
    "disk.var": Setting("ssh", "47", "disk_usage", "/var"),
    "certificate.file": Setting("ssh", "60", "certificate_expiry", "absence"),
}
"""Disks in percent used, certificates in days left."""
CLOCK, SERVICE = "clock", "service."
"""What is kept elsewhere and drifts all the same: the clock (ms that it is off), and services by their name."""
CLOCK_CHECK, SERVICE_CHECK = "time_offset", "service_running"


def check_of(setting: str) -> str:
    """The check that finds it otherwise; that of what it feeds where none looks at it itself."""
    if setting == CLOCK:
        return CLOCK_CHECK
    if setting.startswith(SERVICE):
        return SERVICE_CHECK
    spec = SETTINGS[setting]
    return spec.check or (SETTINGS[spec.feeds].check if spec.feeds else "")
