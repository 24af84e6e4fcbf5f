"""What ops needs for its tasks: the configuration in versions, backups, and what runs beside what is committed.

Invariant: the database in service is only read from here: a backup is a copy, and a restore goes to a scratch database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contest_platform import environments
from contest_platform.admin.acting import Act, Action
from contest_platform.admin.reading import LIMIT, Answer, Given, Read, listing, read_route
from contest_platform.fields import Field
from contest_platform.jobs import HOUR_MS
from contest_platform.ports import Ports, Tx
from contest_platform.service import Config, Refusal, Route
from contest_platform.services import backups, configuration
from contest_platform.services.configuration import Author
from contest_platform.services.healing import HealingService

SERVICES = ("app", "ingestion", "settlement")
"""The deployable units, as their hosts call them (see units.py)."""
REASON = Field("reason", "why, for the record")
BACKUP = Field("backup_id", "the backup")
PROMOTED = "staging"
"""The environment whose settings are promoted to the others."""
BACKUP_MAX_AGE_MS = 26 * HOUR_MS
"""A day, and two hours for whoever takes them: what a promotion can be taken back to is not older."""
DRY_RUN = Field("dry_run", "say what would be done, and do nothing", "boolean", required=False)


class Tasks:
    def __init__(self, ports: Ports, config: Config, healing: HealingService) -> None:
        self._ports, self._config, self._healing = ports, config, healing

    def reads(self) -> Mapping[tuple[str, str], Route]:
        reads = (
            Read("/api/admin/config", "The configuration, and what the platform runs with", (), self._configuration),
            Read(
                "/api/admin/config/pending", "What the committed profile has otherwise",
                (Field("of", "only settings of this", required=False, choices=configuration.SUBJECTS),), self._pending,
            ),
            Read(
                "/api/admin/config/versions", "Versions of the configuration, newest first", (LIMIT,),
                listing("select version, hash, created_at, created_by, reason from config_versions"
                        " order by version desc"),
            ),
            Read(
                "/api/admin/config/diff", "The settings in which two versions differ",
                (Field("from_version", "the one version", "integer", least=1),
                 Field("to_version", "the other version", "integer", least=1)), _difference,
            ),
            Read(
                "/api/admin/backups", "Backups that were taken, newest first", (LIMIT,),
                listing("select backup_id, taken_at, taken_by, size_bytes, audit_seq, sha256, reason from backups"
                        " order by taken_at desc, backup_id"),
            ),
            Read("/api/admin/env/promotion", "What has to hold for a promotion", (), self._promotion),
            Read("/api/admin/env/pending", "What staging has otherwise", (), self._unpromoted),
        )  # fmt: skip
        return {
            **{("GET", read.path): read.route(self._ports) for read in reads},
            ("GET", "/api/admin/backups/verify"): read_route(
                "Open a backup and read through it", (BACKUP,), self._verify
            ),
            ("GET", "/api/admin/env/compare"): read_route("What runs, beside what is committed", (), self._compare),
        }

    def actions(self) -> tuple[Action, ...]:
        setting = Field("setting", "the setting")
        value = Field("value", "what it shall be", "integer")
        steps = Field("steps", "so many versions back", "integer", required=False, least=1)
        to_hash = Field("hash", "the one with this", required=False)
        target = Field("target", "which database", choices=backups.TARGETS)
        return (
            Action("/api/admin/config/apply", "Make a version of the configuration with one setting changed",
                   (setting, value, REASON, DRY_RUN), self._apply),
            Action("/api/admin/config/revert", "Make a version of the configuration that is as an earlier one",
                   (steps, to_hash, REASON, DRY_RUN), self._revert),
            Action("/api/admin/env/promote", "Make a version of the configuration that is as staging's",
                   (REASON, DRY_RUN), self._promote),
            Action("/api/admin/backups/create", "Take a backup of the whole database", (REASON,), _asked, self._take),
            Action("/api/admin/backups/restore", "Restore a backup to a scratch database, and compare the two",
                   (BACKUP, target, REASON), _asked, self._restore),
            Action("/api/admin/services/restart", "Restart a service wherever it runs",
                   (Field("service", "the service", choices=SERVICES), REASON), _asked, self._restart),
        )  # fmt: skip

    # --- configuration -----------------------------------------------------------------------------------------------

    def _configuration(self, tx: Tx, given: Given) -> Answer:
        item = configuration.standing(tx, self._config)
        return {"items": [item], "settings": configuration.settings(tx, self._config)}

    def _pending(self, tx: Tx, given: Given) -> Answer:
        committed = environments.profile(self._config.environment)["settings"]
        found = configuration.changes(self._in_force(tx), committed)
        of = given["of"]
        return {"items": [one for one in found if of is None or one["setting"].startswith(f"{of}_")], "more": False}

    def _in_force(self, tx: Tx) -> dict[str, int]:
        return configuration.settings_of(configuration.in_force(tx, self._config))

    def _apply(self, tx: Tx, act: Act) -> dict[str, Any] | Refusal:
        given = act.given
        return configuration.apply(
            tx, _author(act), self._config, given["setting"], given["value"], dry_run=bool(given["dry_run"])
        )

    def _revert(self, tx: Tx, act: Act) -> dict[str, Any] | Refusal:
        given = act.given
        return configuration.revert(
            tx, _author(act), self._config, given["steps"], given["hash"], dry_run=bool(given["dry_run"])
        )

    # --- backups -----------------------------------------------------------------------------------------------------

    async def _take(self, act: Act) -> dict[str, Any] | Refusal:
        backup_id = self._ports.ids.new("backup", act.execution_id, act.step)
        return await backups.take(self._ports, act.ctx, backup_id, act.why)

    async def _verify(self, given: Given, principal: str) -> Answer:
        return await backups.verify(self._ports, given["backup_id"])

    async def _restore(self, act: Act) -> dict[str, Any] | Refusal:
        given = act.given
        return await backups.restore(self._ports, act.ctx, given["backup_id"], given["target"], act.why)

    # --- services ----------------------------------------------------------------------------------------------------

    async def _restart(self, act: Act) -> dict[str, Any] | Refusal:
        service = act.given["service"]
        hosts = await self._healing.restart(service)
        if not hosts:
            return Refusal(404, f"no host says that {service} runs there")
        return {"service": service, "hosts": ",".join(hosts)}

    # --- environments ------------------------------------------------------------------------------------------------

    async def _compare(self, given: Given, principal: str) -> Answer:
        """The schema of the database, the routes of the platform and its settings, each beside what is committed; and
        whether staging and production are apart."""

        schema = await self._ports.store.transact("admin.env_compare", lambda tx: tx.schema_differences())
        committed = environments.profile(self._config.environment)["settings"]
        changed = configuration.changes(committed, configuration.settings_of(self._config))
        settings = [change["setting"] for change in changed]
        checks = {
            "schema": schema, "openapi": _routes_changed(), "settings": settings, "separation": environments.shared(),
        }  # fmt: skip
        return {"items": _told(checks), "more": False}

    # --- promotion ---------------------------------------------------------------------------------------------------

    def _promotion(self, tx: Tx, given: Given) -> Answer:
        return {"items": _told(self._against(tx)), "more": False}

    def _against(self, tx: Tx) -> dict[str, list[str]]:
        """What speaks against a promotion, by what has to hold: here is what staging was tested with, its settings are
        those that were committed for this environment, and there is a copy that can be gone back to."""
        approved = environments.profile(self._config.environment)["settings"]
        tested = environments.profile(PROMOTED)["settings"]
        last = tx.one("select max(taken_at) as at from backups")
        fresh = last is not None and last["at"] is not None and tx.now - last["at"] <= BACKUP_MAX_AGE_MS
        return {
            "schema": tx.schema_differences(), "openapi": _routes_changed(), "separation": environments.shared(),
            "approved": [one["setting"] for one in configuration.changes(tested, approved)],
            "backup": [] if fresh else ["none of the last 26 hours"],
        }  # fmt: skip

    def _unpromoted(self, tx: Tx, given: Given) -> Answer:
        tested = environments.profile(PROMOTED)["settings"]
        return {"items": configuration.changes(self._in_force(tx), tested), "more": False}

    def _promote(self, tx: Tx, act: Act) -> dict[str, Any] | Refusal:
        for name, found in self._against(tx).items():
            if found:
                return Refusal(409, f"not promoted: {name}: {found[0]}")
        tested, dry_run = environments.profile(PROMOTED)["settings"], bool(act.given["dry_run"])
        made = configuration.put(tx, _author(act), self._config, tested, dry_run=dry_run)
        return {"promoted": PROMOTED, **made}


def _told(checks: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    return [
        {"check": name, "equal": not found, "differences": len(found), "first": found[0] if found else None}
        for name, found in checks.items()
    ]


def _routes_changed() -> list[str]:
    """The paths whose description is not the committed one."""
    # The description is made of all units, and this is part of one.
    from contest_platform import openapi

    committed, running = openapi.committed()["paths"], openapi.document()["paths"]
    return [path for path in sorted(committed.keys() | running) if committed.get(path) != running.get(path)]


def _difference(tx: Tx, given: Given) -> Answer:
    found = configuration.difference(tx, given["from_version"], given["to_version"])
    return found if isinstance(found, Refusal) else {"items": found, "more": False}


def _asked(tx: Tx, act: Act) -> dict[str, Any]:
    """That it is asked for is on record; what is done follows outside of the transaction."""
    return {}


def _author(act: Act) -> Author:
    return Author(act.ctx, act.step, act.why)
