"""Incident files: what a command leaves that ended in a code from 20 up, so that somebody can look into it tomorrow.

Invariant: noting an incident never changes how the command ends. Stopped by Ctrl-C (130) is no incident.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

import absence
from absence import command_line
from absence.command_line import DEFAULT_ROOT
from absence.exit_codes import ExitCode
from evidence import atomic, freezing
from evidence.layout import BOOK_DIRECTORY, INCIDENTS, JOURNAL, MANIFEST, PLAN
from evidence.manifest import versions

VERSION = 1
_TOLD = "absence.told"


def remember(lines: list[str]) -> None:
    """What the command has told of its failure itself: it belongs into the incident."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[_TOLD] = lines


def corrupt(run_dir: Path, problems: list[str], freeze: bool = True) -> None:
    """A run does not verify: its root is frozen, if it is to be, and the incident will tell what is wrong with it."""
    remember(problems)
    if not freeze:
        return
    root = run_dir.absolute().parent
    try:
        freezing.freeze(root, datetime.now(UTC).isoformat(timespec="seconds"), run_dir.absolute().name, problems[0])
    except OSError as error:
        click.echo(f"{root} could not be frozen: {error.strerror or error}. Write nothing there.", err=True)
    else:
        click.echo(f'{root} is frozen. To write there again: absence runs thaw {root} --reason "…"', err=True)


def note(code: int, lines: list[str] | None = None, trace: str | None = None) -> tuple[Path | None, str]:
    """Write the incident file of a command that ends with `code`. Returns its path, None if it could not be written,
    and the line that says so. `lines` is what was told; by default what was remembered."""
    context = click.get_current_context(silent=True)
    if lines is None:
        lines = list(context.meta.get(_TOLD, ())) if context else []
    root, run_dir = _places(command_line.parameters())
    try:
        path = _write(root, run_dir, code, lines, trace)
    except OSError as error:
        return None, f"No incident file could be written to {root / INCIDENTS}: {error.strerror or error}"
    return path, f"Incident: {path}"


def _places(given: dict[str, Any]) -> tuple[Path, Path | None]:
    """The run root that a command was about, and its run directory if it was about one alone that is there."""
    about = [given["run_dir"]] if "run_dir" in given else list(given.get("run_dirs") or given.get("runs") or ())
    for path in about:
        if any((path / name).exists() for name in (MANIFEST, PLAN, JOURNAL, BOOK_DIRECTORY)):
            return path.absolute().parent, path if len(about) == 1 else None
        if any(path.glob(f"[!.]*/{MANIFEST}")):
            return path, None
    return (DEFAULT_ROOT if about else given.get("root") or given.get("out") or DEFAULT_ROOT), None


def _write(root: Path, run_dir: Path | None, code: int, lines: list[str], trace: str | None) -> Path:
    now = datetime.now(UTC)
    name = ExitCode(code).name
    content = {
        "version": VERSION,
        "code": int(code),
        "name": name,
        "at": now.isoformat(timespec="milliseconds"),
        "command": command_line.given(),
        "cwd": os.getcwd(),
        "pid": os.getpid(),
        "root": str(root.absolute()),
        "run": None if run_dir is None else _run(run_dir),
        "lines": lines,
        "traceback": trace,
        "versions": {"absence": absence.__version__, **versions()},
    }
    told = sha256(json.dumps(content).encode()).hexdigest()[:8]
    path = root / INCIDENTS / f"{now:%Y%m%dT%H%M%SZ}-{name}-{told}.json"
    atomic.write_json(path, content)
    return path


def _run(run_dir: Path) -> dict[str, str]:
    """Which run it is about; its identity "" where a damaged manifest does not say."""
    manifest = run_dir / MANIFEST
    try:
        identity = str(json.loads(manifest.read_bytes())["identity"]) if manifest.is_file() else ""
    except (OSError, ValueError, KeyError, TypeError):
        identity = ""
    path = run_dir.absolute()
    return {"path": str(path), "name": path.name, "identity": identity}


@dataclass(frozen=True, slots=True)
class Incident:
    """An open incident. `told` is the first line of what was told, or what is wrong with the file."""

    path: Path
    at: str
    code: int
    name: str
    command: str
    run: str
    told: str


def listed(root: Path) -> list[Incident]:
    """The open incidents of a root, newest first: those whose files stand in its directory, not below it."""
    found = []
    for path in sorted((root / INCIDENTS).glob("[!.]*.json"), reverse=True):
        try:
            told = json.loads(path.read_bytes())
            found.append(Incident(
                path, str(told["at"]), int(told["code"]), str(told["name"]), str(told["command"]),
                str(told["run"]["name"]) if told["run"] else "", str(told["lines"][0]) if told["lines"] else "",
            ))  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            found.append(Incident(path, "", 0, "", "", "", f"cannot be read: {type(error).__name__}: {error}"))
    return found
