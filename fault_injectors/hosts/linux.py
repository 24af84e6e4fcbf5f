"""The chaos lab on Linux: application, database and settlement hosts.

Invariant: each is one class, and what it does is what its `settings` say.
"""

from __future__ import annotations

from fault_injectors.hosts.drifting import _Drift, by_rule, drifted


class SettlementStopped(_Drift):
    id = "hosts.settlement_stopped"
    title = "The settlement daemon is stopped on its host"
    host = "lin-settle-1"
    settings = (("service.settlement", "stopped"),)
    when = "settlement"
    imitates = "systemctl stop: Restart= does not apply to a unit that was stopped on purpose (systemd.service(5))."
    exercises = "Waiting for a supervisor that has been told not to act."
    recovery = by_rule("The unit is started, and seen to be active.")
    bite = drifted("service.settlement")


class LinTimeDrift(_Drift):
    id = "hosts.lin_time_drift"
    title = "The clock of the settlement host is minutes off"
    host = "lin-settle-1"
    settings = (("clock", "-180000"),)
    imitates = (
        "System clock wrong by 125.4 seconds, as chronyd logs it before it steps the clock (chrony documentation)."
    )
    exercises = "Scheduled work that comes late on a host whose services all run."
    recovery = by_rule("The clock is stepped to the time of its source.")
    bite = drifted("clock")


class LinCertificate(_Drift):
    id = "hosts.lin_certificate"
    title = "The certificate of the application host is about to expire: its renewal has not run"
    host = "lin-app-1"
    settings = (("certificate.file", "3"),)
    imitates = (
        "certbot renews 30 days before the end, by a timer that may be off (certbot documentation: automated renewals)."
    )
    exercises = "An expiry that everybody can see coming and nobody looks at."
    recovery = by_rule("The certificate is renewed, if it is not yet.")
    bite = drifted("certificate.file")


class LinDiskFull(_Drift):
    id = "hosts.lin_disk_full"
    title = "The disk of the settlement host is full, and the daemon gets no connection"
    host = "lin-settle-1"
    settings = (("disk.var", "100"),)
    when = "settlement"
    imitates = "ENOSPC under /var: a journal that was never limited (journald.conf(5): SystemMaxUse)."
    exercises = "A daemon that runs, is up by every check of its service, and settles nothing."
    recovery = by_rule("The journal is cut to its limit.")
    bite = drifted("disk.var")


class KernelParameter(_Drift):
    id = "hosts.kernel_parameter"
    title = "The database host allows so few threads that connections are refused, and its file says so too"
    host = "lin-db-1"
    settings = (("sysctl.file", "128"), ("sysctl.threads", "128"))
    when = "play"
    imitates = (
        "could not fork new process for connection: Resource temporarily unavailable, in PostgreSQL's log with "
        "kernel.threads-max too low (sysctl(8), kernel documentation); the rule promoted for it mapped to no runbook."
    )
    exercises = "Setting right what runs, and not what it is started from."
    recovery = by_rule("The value is set, in the file as well.")
    bite = drifted("sysctl.threads")


class SshRootLogin(_Drift):
    id = "hosts.ssh_root_login"
    title = "The application host lets root log in over SSH"
    host = "lin-app-1"
    settings = (("sshd.file", "yes"), ("sshd.root", "yes"))
    imitates = "PermitRootLogin yes (sshd_config(5); CIS benchmark 5.2)."
    exercises = "A change of a file that nobody loads."
    recovery = by_rule("The file is put right, and loaded.")
    bite = drifted("sshd.root")


class LogRotation(_Drift):
    id = "hosts.log_rotation"
    title = "Logs of the database host are no longer rotated"
    host = "lin-db-1"
    settings = (("logrotate", "disabled"),)
    imitates = "systemctl disable logrotate.timer: nothing fails, until the disk is full (logrotate(8))."
    exercises = "Waiting for what a drift leads to."
    recovery = by_rule("The timer is enabled, and started at once.")
    bite = drifted("logrotate")


class LinFirewall(_Drift):
    id = "hosts.lin_firewall"
    title = "The firewall of the application host is off"
    host = "lin-app-1"
    settings = (("ufw", "inactive"),)
    imitates = "ufw disable (ufw(8); CIS benchmark 3.5)."
    exercises = "A host that works as well as before, and is open."
    recovery = by_rule("The firewall is turned on, and its status read.")
    bite = drifted("ufw")
