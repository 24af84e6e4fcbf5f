"""The fleet as data: which hosts there are, what each is for, and what runs on it.

Invariant: every unit of the platform runs on exactly one host, and every host is reached over one transport.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Transport = Literal["winrm", "ssh"]


class Host(NamedTuple):
    """`units`: processes of the platform, `services`: those of the operating system, in the order of their start."""

    transport: Transport
    role: str
    units: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    @property
    def os(self) -> str:
        return "windows" if self.transport == "winrm" else "linux"


DOMAIN_CONTROLLER = "win-dc-1"
DATABASE_HOST = "lin-db-1"
DNS, DATABASE = "DNS", "postgresql"

FLEET: dict[str, Host] = {
    DOMAIN_CONTROLLER: Host("winrm", "domain controller; the Windows hosts ask its DNS", services=(DNS,)),
    "win-ingest-1": Host("winrm", "server of the ingestion worker", ("ingestion",)),
    "win-ws-1": Host("winrm", "workstation of ops"),
    "lin-app-1": Host("ssh", "application", ("app",)),
    DATABASE_HOST: Host("ssh", "database", services=(DATABASE,)),
    "lin-settle-1": Host("ssh", "settlement", ("settlement",)),
}
DNS_ADDRESS = "10.20.0.10"
"""Of the domain controller: what every Windows host, itself included, is to ask."""
