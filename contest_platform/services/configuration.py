"""The configuration in versions: time-outs and sizes of the platform, each change of them a new row with a reason.

Invariant: versions are only added to, and each holds every setting, so that any of them can be put back as it was. A
service reads the last one when it starts: what is applied is in force after a restart, and not before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from contest_platform import audit
from contest_platform.audit import Context
from contest_platform.ports import Row, Tx
from contest_platform.service import Config, Refusal

SETTINGS: Mapping[str, tuple[int, int]] = {
    "anchor_timeout_ms": (1_000, 60_000),
    "auth_timeout_ms": (1_000, 30_000),
    "database_connections": (5, 500),
    "database_timeout_ms": (1_000, 60_000),
    "host_timeout_ms": (5_000, 600_000),
    "pager_timeout_ms": (1_000, 60_000),
    "processor_timeout_ms": (5_000, 600_000),
    "provider_timeout_ms": (1_000, 300_000),
}
"""Name of a setting of Config -> the least and the most that it may be. None of them is a secret."""
SUBJECTS = tuple(sorted({name.partition("_")[0] for name in SETTINGS}))
"""What settings are about: the first words of their names."""
NONE = "none"
"""What is changed where everything is so already."""
_LAST = "select * from config_versions order by version desc limit 1"


class Author(NamedTuple):
    """In whose name, and in which step of which execution, a version is made."""

    ctx: Context
    step: str
    reason: str


def settings_of(config: Config) -> dict[str, int]:
    return {name: getattr(config, name) for name in SETTINGS}


def hash_of(settings: Mapping[str, int]) -> str:
    return sha256(audit.canonical(dict(settings)).encode()).hexdigest()


def in_force(tx: Tx, deployed: Config) -> Config:
    """What a service that starts now is configured with: the last version, over what was deployed."""
    last = tx.one(_LAST)
    settings: dict[str, Any] = {} if last is None else dict(_settings(last, deployed))
    return dataclasses.replace(deployed, **settings)


def standing(tx: Tx, running: Config) -> dict[str, Any]:
    """The last version beside what the process that answers runs with."""
    last = tx.one(_LAST)
    running_hash = hash_of(settings_of(running))
    if last is None:
        return {"version": 0, "hash": running_hash, "running_hash": running_hash, "restart_needed": False,
                "created_at": None, "created_by": None, "reason": "as deployed"}  # fmt: skip
    told = {name: last[name] for name in ("version", "hash", "created_at", "created_by", "reason")}
    return {**told, "running_hash": running_hash, "restart_needed": last["hash"] != running_hash}


def settings(tx: Tx, running: Config) -> list[dict[str, Any]]:
    """Every setting: its value in the last version, and what the process that answers runs with."""
    last = dataclasses.asdict(in_force(tx, running))
    return [{"setting": name, "value": last[name], "running": value} for name, value in settings_of(running).items()]


def difference(tx: Tx, from_version: int, to_version: int) -> list[dict[str, Any]] | Refusal:
    """The settings in which two versions differ."""
    found = []
    for version in (from_version, to_version):
        row = _version(tx, version)
        if row is None:
            return Refusal(404, f"no version {version} of the configuration")
        found.append(orjson.loads(row["content"]))
    return changes(*found)


def apply(
    tx: Tx, author: Author, running: Config, name: str, value: int, *, dry_run: bool
) -> dict[str, Any] | Refusal:  # fmt: skip
    """Make a version in which one setting is `value`. One that is so already makes none."""
    if name not in SETTINGS:
        return Refusal(404, f"no setting {name}; there are {', '.join(SETTINGS)}")
    least, most = SETTINGS[name]
    if not least <= value <= most:
        return Refusal(409, f"{name} is from {least} to {most}, not {value}")
    before = settings_of(in_force(tx, running))
    made = _make(tx, author, running, {**before, name: value}, dry_run)
    return {"setting": name, "before": before[name], "after": value, **made}


def put(
    tx: Tx, author: Author, running: Config, content: Mapping[str, int], *, dry_run: bool
) -> dict[str, Any]:  # fmt: skip
    """Make one version of all of `content`. What is so already makes none."""
    before = settings_of(in_force(tx, running))
    after = {name: content.get(name, value) for name, value in before.items()}
    return {"differences": len(changes(before, after)), **_make(tx, author, running, after, dry_run)}


def revert(
    tx: Tx, author: Author, running: Config, steps: int | None, to_hash: str | None, *, dry_run: bool
) -> dict[str, Any] | Refusal:  # fmt: skip
    """Make a version with the content of an earlier one: so many `steps` before the last, or the one with this hash.
    The answer says which settings that changes; one that changes none makes no version."""
    if (steps is None) == (to_hash is None):
        return Refusal(400, "give either steps or a hash")
    last = tx.one(_LAST)
    content = settings_of(in_force(tx, running))
    if to_hash == hash_of(content):
        version = 0 if last is None else last["version"]
        return {"to_version": version, **_make(tx, author, running, content, dry_run), "difference": NONE}
    if last is None:
        return Refusal(404, f"there is no version but what was deployed, with the hash {hash_of(content)}")
    if steps is not None:
        target = _version(tx, last["version"] - steps)
        if (last["execution_id"], last["step"]) == (author.ctx.correlation, author.step):
            earlier = _version(tx, last["version"] - 1 - steps)
            if earlier is not None and earlier["hash"] == last["hash"]:
                target = earlier  # The same step asks again: its answer was lost, and the version was made.
    else:
        sql = "select * from config_versions where hash = :hash order by version desc limit 1"
        target = tx.one(sql, {"hash": to_hash})
        if target is None:
            near = _nearest(tx, str(to_hash))
            nearest = f"that of version {near['version']} is nearest: {near['hash']}"
            return Refusal(404, f"no version has the hash {to_hash}; {nearest}")
    if target is None:
        return Refusal(404, f"no such version: there are {last['version']}")
    after = _settings(target, running)
    made = _make(tx, author, running, after, dry_run)
    told = [f"{change['setting']}:{change['from']}->{change['to']}" for change in changes(content, after)]
    return {"to_version": target["version"], **made, "difference": ",".join(told) or NONE}


def _nearest(tx: Tx, given: str) -> Row:
    """The version whose hash begins most like the one given, and is most like it otherwise; of several the last."""

    def likeness(row: Row) -> tuple[int, int, int]:
        same = [one == other for one, other in zip(row["hash"], given, strict=False)]
        return [*same, False].index(False), sum(same), row["version"]

    return max(tx.all("select version, hash from config_versions"), key=likeness)


def _make(tx: Tx, author: Author, running: Config, content: Mapping[str, int], dry_run: bool) -> dict[str, Any]:
    last = tx.one(_LAST)
    digest = hash_of(content)
    before = hash_of(settings_of(in_force(tx, running)))
    changed = digest != before
    version = 0 if last is None else last["version"]
    if changed and not dry_run:
        if last is None:
            # What was deployed becomes the first version, so that it can be gone back to.
            _insert(tx, Author(author.ctx, "", "as deployed"), 1, settings_of(running))
            version = 1
        version += 1
        _insert(tx, author, version, content)
    return {"version": version, "before_hash": before, "hash": digest, "dry_run": dry_run, "changed": changed,
            "restart_needed": digest != hash_of(settings_of(running))}  # fmt: skip


def _insert(tx: Tx, author: Author, version: int, content: Mapping[str, int]) -> None:
    row = {
        "version": version, "hash": hash_of(content), "content": audit.canonical(dict(content)), "created_at": tx.now,
        "created_by": author.ctx.actor, "execution_id": author.ctx.correlation, "step": author.step or None,
        "reason": author.reason,
    }  # fmt: skip
    audit.insert(tx, author.ctx, "config_versions", row, author.reason)


def _version(tx: Tx, version: int) -> Row | None:
    return tx.one("select * from config_versions where version = :version", {"version": version})


def _settings(row: Row, config: Config) -> dict[str, int]:
    """Every setting of a version. One that did not exist then is as deployed; one that does no more is gone."""
    content = orjson.loads(row["content"])
    return {name: content.get(name, value) for name, value in settings_of(config).items()}


def changes(before: Mapping[str, int], after: Mapping[str, int]) -> list[dict[str, Any]]:
    """The settings that differ, in order."""
    names = sorted(before.keys() | after.keys())
    return [
        {"setting": name, "from": before.get(name), "to": after.get(name)}
        for name in names if before.get(name) != after.get(name)
    ]  # fmt: skip
