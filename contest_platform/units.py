"""The deployable units: which services run together in one process, and under which database role.

A unit is built from ports and configuration alone; starting it again after a crash is building it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from contest_platform import jobs
from contest_platform.admin.service import AdminService
from contest_platform.app import App
from contest_platform.ports import Ports
from contest_platform.service import Config, Service
from contest_platform.services.acceptance import AcceptanceService
from contest_platform.services.anchoring import AnchoringService
from contest_platform.services.contests import ContestsService
from contest_platform.services.entries import EntriesService
from contest_platform.services.healing import HealingService
from contest_platform.services.ingestion import IngestionService
from contest_platform.services.payouts import PayoutsService
from contest_platform.services.reconciliation import ReconciliationService
from contest_platform.services.refunds import RefundsService
from contest_platform.services.runbooks import RunbooksService
from contest_platform.services.score_audit import ScoreAuditService
from contest_platform.services.settlement import SettlementService
from contest_platform.services.webhooks import WebhooksService


@dataclass(frozen=True, slots=True)
class Unit:
    """`role` is the database role of its session; `public` says whether the platform's address leads here."""

    name: str
    role: str
    public: bool
    services: tuple[Callable[[Ports, Config], Service], ...]


UNITS: dict[str, Unit] = {
    unit.name: unit
    for unit in (
        Unit(
            "app",
            "app",
            True,
            (
                EntriesService,
                WebhooksService,
                ReconciliationService,
                RefundsService,
                ContestsService,
                PayoutsService,
                HealingService,
                AnchoringService,
                AcceptanceService,
                RunbooksService,
                AdminService,
            ),
        ),
        Unit("ingestion", "ingestion", False, (IngestionService, ScoreAuditService)),
        Unit("settlement", "settlement", False, (SettlementService,)),
    )
}


def start(unit: Unit, ports: Ports, config: Config) -> App:
    """Build the unit's services, begin their jobs and return its edge."""
    services = [build(ports, config) for build in unit.services]
    for service in services:
        for job in service.jobs():
            ports.runtime.spawn(jobs.run(ports, job), f"{unit.name}.{job.name}")
    return App(ports, config, services)
