"""L1 rules: what each answers, how it sees whether all is well, and what puts it right; and what was learnt at L2.

Invariant: rules, telemetry and runbooks share one namespace: a rule's id is the same wherever it is written, in full,
and of each check on an operating system one rule at most is served.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contest_platform import audit
from contest_platform.audit import Context, canonical
from contest_platform.ports import Row, Tx

ACTOR = "system:healing"
PROMOTED_AT = 5
"""So often must the same remedy have helped at L2."""
WITHDRAWN_AT = 3
"""So many orders of a promoted rule that has never healed anything may end in vain."""
Line = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """`{target}` is the incident's target. `well` is a regular expression that some line of what the probe prints meets
    when nothing is left to do. The lines of `remedy` are sent one after the other."""

    id: str
    runbook_id: str
    os: str
    check: str
    probe: Line
    well: str
    remedy: tuple[Line, ...]
    source: str = "builtin"
    status: str = "ACTIVE"

    def is_well(self, stdout: str) -> bool:
        return re.search(self.well, stdout, re.MULTILINE) is not None


STUCK, UNMATCHED = "remediation_order_stuck", "host_incident_unmatched"
"""What ops follows when an order of the rule does not heal; and what a rule was learnt from."""
_PREFIXES = {"windows": "WIN", "linux": "LIN"}
_RUN = r"HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
DNS_ADDRESS = "10.20.0.10"
"""Of the domain controller."""


def rule_id(os: str, check: str) -> str:
    """The id of the rule for a check; whatever its length."""
    return f"L1-{_PREFIXES[os]}-{check.upper().replace('_', '-')}"


def _rule(os: str, check: str, probe: str, well: str, *remedy: str, id: str = "", runbook: str = STUCK) -> Rule:
    lines = tuple(tuple(line.split()) for line in remedy)
    return Rule(id or rule_id(os, check), runbook, os, check, tuple(probe.split()), well, lines)


SERVICE_RULES = {
    "windows": _rule("windows", "service_running", "Get-Service {target}", r"\bRunning\b", "Start-Service {target}",
                     id="L1-WIN-SERVICE-STOPPED"),
    "linux": _rule("linux", "service_running", "systemctl is-active {target}", r"^active$", "systemctl start {target}",
                   id="L1-LIN-SERVICE-STOPPED"),
}  # fmt: skip
RULES = (
    *SERVICE_RULES.values(),
    _rule("windows", "dns_client_address",
          "Get-DnsClientServerAddress -InterfaceAlias {target} -AddressFamily IPv4", re.escape(f"{{{DNS_ADDRESS}}}"),
          f"Set-DnsClientServerAddress -InterfaceAlias {{target}} -ServerAddresses {DNS_ADDRESS}"),
    _rule("windows", "firewall_profile", "Get-NetFirewallProfile -Name {target}", r"^Enabled\s*: True",
          "Set-NetFirewallProfile -PolicyStore PersistentStore -Name {target} -Enabled True",
          "Set-NetFirewallProfile -Name {target} -Enabled True"),
    _rule("windows", "registry_run_key", f"(Get-Item {_RUN}).GetValueNames() -contains {{target}}", r"^False\b",
          "Unregister-ScheduledTask -TaskName {target} -Confirm:$false -ErrorAction Ignore",
          f"Remove-ItemProperty -Path {_RUN} -Name {{target}} -ErrorAction Ignore"),
    _rule("windows", "smb_signing", "(Get-SmbServerConfiguration).RequireSecuritySignature", r"^True\b",
          "Set-SmbServerConfiguration -RequireSecuritySignature $true -Force"),
    _rule("windows", "disk_usage", "(Get-Volume -DriveLetter {target}).SizeRemaining -gt 10GB", r"^True\b",
          r"Remove-Item -Path {target}:\Windows\Temp\* -Recurse -Force -ErrorAction Ignore"),
    _rule("windows", "certificate_expiry",
          r"(Get-ChildItem Cert:\LocalMachine\My | Where-Object Subject -eq {target}).NotAfter"
          r" -gt (Get-Date).AddDays(14)", r"^True\b",
          "certreq -enroll -machine -q -cert {target} renew"),
    _rule("windows", "time_offset", "w32tm /stripchart /computer:time.windows.com /samples:1 /dataonly",
          r"^[+-]00\.\d+s", "w32tm /resync"),
    _rule("linux", "time_offset", "chronyc tracking", r"^System time\s*: 0\.", "chronyc makestep"),
    _rule("linux", "certificate_expiry",
          "openssl x509 -checkend 1209600 -noout -in /etc/ssl/certs/{target}.pem", r"will not expire",
          "certbot renew --cert-name {target} --quiet"),
    _rule("linux", "disk_usage", "df --output=pcent {target}", r"^\s*[0-8]?\d%", "journalctl --vacuum-size=200M"),
    _rule("linux", "kernel_parameter", "sysctl -n {target}", r"^63704$",
          "sed -i s/^{target}.*/{target}=63704/ /etc/sysctl.d/60-absence.conf", "sysctl -w {target}=63704"),
    _rule("linux", "ssh_root_login", "sshd -T", r"^permitrootlogin no$",
          "sed -i s/^{target}.*/{target}=no/ /etc/ssh/sshd_config", "systemctl reload ssh"),
    _rule("linux", "log_rotation", "systemctl is-enabled {target}", r"^enabled$", "systemctl enable --now {target}"),
    _rule("linux", "firewall_active", "ufw status", r"^Status: active$", "ufw --force enable"),
)  # fmt: skip
"""Those that come with the release. Each heals what restores the trouble before the trouble itself."""
KNOWN_AT_L2 = (
    _rule("windows", "defender_realtime", "(Get-MpComputerStatus).RealTimeProtectionEnabled", r"^True\b",
          "Set-MpPreference -DisableRealtimeMonitoring $false", runbook=UNMATCHED),
)  # fmt: skip
"""Remedies that ops may have tried where no rule answers: not rules yet."""


# --- the table of rules ---------------------------------------------------------------------------------------------


def install(tx: Tx) -> None:
    """Put on record those rules of the release that are not."""
    known = {rule for (rule,) in audit.remembered(tx, "healing_rules", "select rule_id from healing_rules")}
    for rule in RULES:
        if rule.id not in known:
            _insert(tx, Context(ACTOR, rule.id), rule, "of this release")


def served(tx: Tx, os: str, check: str) -> Rule | None:
    """The rule that answers a check. Builtin rules go before promoted ones."""
    install(tx)
    rows = tx.all(
        "select * from healing_rules where os = :os and check_name = :check_name and status = 'ACTIVE'"
        " order by source, rule_id",
        {"os": os, "check_name": check},
    )
    return _of(rows[0]) if rows else None


def by_id(tx: Tx, rule_id: str) -> Rule:
    """Raises LookupError: whoever names a rule names one of the table."""
    row = tx.one("select * from healing_rules where rule_id = :rule_id", {"rule_id": rule_id})
    if row is None:
        raise LookupError(f"no rule {rule_id}")
    return _of(row)


def remedy_at_l2(tx: Tx, ctx: Context, os: str, check: str) -> Rule | None:
    """What may be tried for a check that no order heals: a rule of the table, else what is known at L2, which is a
    candidate for a rule from then on."""
    install(tx)
    key = {"os": os, "check_name": check}
    rows = tx.all("select * from healing_rules where os = :os and check_name = :check_name order by rule_id", key)
    if rows:
        return _of(rows[0])
    for rule in KNOWN_AT_L2:
        if (rule.os, rule.check) == (os, check):
            candidate = Rule(rule.id, rule.runbook_id, os, check, rule.probe, rule.well, rule.remedy, "promoted",
                             "CANDIDATE")  # fmt: skip
            _insert(tx, ctx, candidate, "tried at L2")
            return candidate
    return None


def _insert(tx: Tx, ctx: Context, rule: Rule, reason: str) -> None:
    row = {
        "rule_id": rule.id, "source": rule.source, "os": rule.os, "check_name": rule.check,
        "runbook_id": rule.runbook_id, "probe": canonical(rule.probe), "well": rule.well,
        "remedy": canonical(rule.remedy), "status": rule.status, "created_at": tx.now, "promoted_at": None,
        "withdrawn_at": None,
    }  # fmt: skip
    audit.insert(tx, ctx, "healing_rules", row, reason)


def _of(row: Row) -> Rule:
    remedy = tuple(tuple(line) for line in json.loads(row["remedy"]))
    return Rule(
        row["rule_id"], row["runbook_id"], row["os"], row["check_name"], tuple(json.loads(row["probe"])), row["well"],
        remedy, row["source"], row["status"],
    )  # fmt: skip


# --- telemetry, and what follows from it -----------------------------------------------------------------------------


def tell(tx: Tx, ctx: Context, rule: Rule, level: str, stage: str, outcome: str, about: Mapping[str, Any]) -> None:
    """One execution under a rule: `about` holds telemetry_id, incident_id, order_id, host and detail."""
    row = {
        **about, "at": tx.now, "level": level, "rule_id": rule.id, "runbook_id": rule.runbook_id,
        "check_name": rule.check, "stage": stage, "outcome": outcome,
    }  # fmt: skip
    audit.insert(tx, ctx, "healing_telemetry", row, f"{level} {stage}: {outcome}")


def promote(tx: Tx, ctx: Context, rule: Rule) -> bool:
    """Make a rule of what has helped often enough at L2; whether it is one from now on."""
    if rule.status != "CANDIDATE":
        return False
    [(times,)] = tx.tuples(
        "select count(*) from healing_telemetry where rule_id = :rule_id and level = 'L2' and outcome = 'WELL'",
        {"rule_id": rule.id},
    )
    if times < PROMOTED_AT:
        return False
    changes = {"status": "ACTIVE", "promoted_at": tx.now}
    audit.update(tx, ctx, "healing_rules", {"rule_id": rule.id}, changes, f"it helped {times} times at L2")
    return True


def withdraw(tx: Tx, ctx: Context, rule: Rule) -> bool:
    """Withdraw a promoted rule whose orders have all ended in vain, some of them; whether it is."""
    if rule.source != "promoted" or rule.status != "ACTIVE":
        return False
    [(healed, ended)] = tx.tuples(
        "select coalesce(sum(case when status = 'COMPLETED' then 1 else 0 end), 0), count(*) from remediation_orders"
        " where rule_id = :rule_id and finished_at is not null",
        {"rule_id": rule.id},
    )
    if healed or ended < WITHDRAWN_AT:
        return False
    changes = {"status": "WITHDRAWN", "withdrawn_at": tx.now}
    audit.update(tx, ctx, "healing_rules", {"rule_id": rule.id}, changes, f"{ended} orders, and none has healed")
    return True
