"""The chaos lab on Windows: a domain controller, the worker's server, and the workstation of ops.

Invariant: each is one class, and what it does is what its `settings` say.
"""

from __future__ import annotations

from fault_injectors.hosts.drifting import DriftParams, RestartedParams, _Drift, by_rule, drifted
from seams.draws import Draws
from seams.faults import Binding, Guarantees, Parameters, RecoverySpec


class DcDnsAddress(_Drift):
    id = "hosts.dc_dns_address"
    title = "The domain controller asks another DNS server, and no Windows host finds a name any more"
    host = "win-dc-1"
    settings = (("dns.client", "192.0.2.53"),)
    when = "play"
    imitates = (
        "A domain controller whose adapter points at a server that does not know the domain's names (Microsoft, best "
        "practices for DNS client settings on domain controllers); healing of it had no rule."
    )
    exercises = "A drift for which there is no rule, and an ingestion worker that cannot find its provider."
    recovery = by_rule("The address is set to the domain controller's own again.")
    bite = drifted("dns.client")


class DcDnsStopped(_Drift):
    id = "hosts.dc_dns_stopped"
    title = "The DNS service of the domain controller is stopped"
    host = "win-dc-1"
    settings = (("service.DNS", "stopped"),)
    when = "play"
    imitates = (
        "Stop-Service DNS, as the chaos lab does it; the Service Control Manager starts nothing again that was "
        "stopped on purpose (learn.microsoft.com, SERVICE_FAILURE_ACTIONS)."
    )
    exercises = "A service that is no process of the platform, and takes one down all the same."
    recovery = by_rule("The service is started, and seen to run.")
    bite = drifted("service.DNS")


class DcTimeDrift(_Drift):
    id = "hosts.dc_time_drift"
    title = "The clock of the domain controller is minutes off"
    host = "win-dc-1"
    settings = (("clock", "400000"),)
    imitates = (
        "Kerberos refuses what is more than five minutes off (RFC 4120, 1.2); w32tm /resync steps the clock "
        "(learn.microsoft.com, Windows Time service)."
    )
    exercises = "Believing a time service that runs."
    recovery = by_rule("The clock is set from its source, and measured again.")
    bite = drifted("clock")


class SrvFirewall(_Drift):
    id = "hosts.srv_firewall"
    title = "The firewall profile of the worker's server is off, and the stored policy turns it off again"
    host = "win-ingest-1"
    settings = (("firewall.policy", "False"), ("firewall.profile", "False"))
    imitates = (
        "Set-NetFirewallProfile -Enabled False in the policy store as well as in the active one: what is turned on by "
        "hand is off at the next refresh (learn.microsoft.com, NetSecurity). Healing of it was inconsistent."
    )
    exercises = "Calling a host healed that is right for ten minutes."
    recovery = by_rule("The stored policy is set right before the profile, and looked at again later.")
    bite = drifted("firewall.profile")


class SmbSigning(_Drift):
    id = "hosts.smb_signing"
    title = "The worker's server no longer requires SMB signing"
    host = "win-ingest-1"
    settings = (("smb.signing", "False"),)
    imitates = (
        "RequireSecuritySignature set to false (learn.microsoft.com, Set-SmbServerConfiguration); the rule promoted "
        "for it mapped to no runbook and never succeeded."
    )
    exercises = "A promoted rule that names what nobody can carry out."
    recovery = by_rule("Signing is required again, and asked for.")
    bite = drifted("smb.signing")


class WinDiskFull(_Drift):
    id = "hosts.win_disk_full"
    title = "The disk of the worker's server is full, and the worker gets no connection"
    host = "win-ingest-1"
    settings = (("disk.C", "100"),)
    when = "play"
    imitates = (
        "No space left on the system drive: what writes temporary files fails, processes that run go on failing "
        "(ERROR_DISK_FULL, 112)."
    )
    exercises = "A worker that runs, is up by every check of its service, and does nothing."
    recovery = by_rule("What is temporary is removed from the drive.")
    bite = drifted("disk.C")


class WinCertificate(_Drift):
    id = "hosts.win_certificate"
    title = "The certificate of the worker's server is about to expire: its renewal has not run"
    host = "win-ingest-1"
    settings = (("certificate.machine", "3"),)
    imitates = (
        "Autoenrollment that has stopped is noticed when the certificate is over: Epic Games, 6 April 2021 (FACTS 8, "
        "incident 10)."
    )
    exercises = "An expiry that everybody can see coming and nobody looks at."
    recovery = by_rule("The certificate is renewed, with the key it has.")
    bite = drifted("certificate.machine")


class WsRegistryRun(_Drift):
    id = "hosts.ws_registry_run"
    title = "Something starts with the workstation of ops, and a task writes it there again at each start"
    host = "win-ws-1"
    settings = (("run.task", "present"), ("run.value", "present"))
    Params = RestartedParams
    imitates = (
        "Registry Run Keys and a Scheduled Task that restores them (MITRE ATT&CK T1547.001, T1053.005); removed "
        "alone, the value is back after a reboot."
    )
    exercises = "Calling a host healed whose next start undoes it."
    recovery = by_rule("The task is removed before the value, and both are looked at again after a reboot.")
    bite = drifted("run.value")


class DefenderParams(DriftParams):
    tampered: bool = False
    """Whether the host lets nobody turn it on again."""


class DefenderOff(_Drift):
    id = "hosts.defender_off"
    title = "Real-time protection of the workstation of ops is off, and no rule says what to do about it"
    host = "win-ws-1"
    settings = (("defender.realtime", "False"),)
    imitates = (
        "Set-MpPreference -DisableRealtimeMonitoring $true; with tamper protection on, turning it back is ignored "
        "(learn.microsoft.com, Microsoft Defender: tamper protection)."
    )
    exercises = "A pattern that ops resolves again and again, and out of which no rule is ever made."
    recovery = RecoverySpec(
        "runbook", "Ops has the host try what is known to help; what helped five times is a rule.", 6 * 3_600,
        "host_incident_unmatched",
    )  # fmt: skip
    bite = drifted("defender.realtime")
    Params = DefenderParams
    params: DefenderParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        return super().bind(guarantees, draws, params) if guarantees.on_call() else None

    def set_to(self) -> dict[str, str]:
        tampered = {"defender.tamper": "True"} if self.params.tampered else {}
        return {**super().set_to(), **tampered}
