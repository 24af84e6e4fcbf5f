"""A repository of thirty-two commits, made for `git bisect`: one breaks the ledger, and from there on it stays broken.

Another bug comes and, in some arrangements, goes again; at one commit the platform cannot be imported. Where they lie
is drawn from a seed. What the commits hold is a real copy of this house, of which they change a line.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.support.command import ROOT

COMMITS = 32
MIDDLE = 15
"""The commit that git tries first."""
PACKAGES = [
    pattern.rstrip("*")
    for pattern in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"][
        "include"
    ]
]
EXPECTED = "ledger.reconciles"
"""As a user types it: the beginning of ledger.reconciles_with_processor."""

SCENARIO = """\
name: tiny
title: One contest, six entries
calendar: {starts: 2026-06-02, days: 9, recovery_h: 24}
owner_capital_usd: 5000
entrants: {pool: 10}
tournaments:
  - {id: t1, name: The Short Open, starts_day: 3, golfers: 12}
contests:
  - id: short-strokes
    tournament: t1
    name: Short Strokes
    fee_cents: 1000
    entries: 6
    min_entries: 2
    max_entries: 20
    rake_bp: 1000
    prizes: {shares_bp: [5000, 3000, 2000]}
    scoring: {kind: strokes, roster_size: 4, counting: 3, missed_round_penalty: 1}
"""


@dataclass(frozen=True)
class Edit:
    """One line of the platform, as it is and as a bug has it."""

    path: str
    good: str
    bad: str

    def apply(self, text: str) -> str:
        assert text.count(self.good) == 1, f"{self.path} no longer holds, once: {self.good}"
        return text.replace(self.good, self.bad)


LEDGER_BREAKS = Edit(
    "contest_platform/services/reconciliation.py",
    'cents=movement.fee_cents, reason=f"fee for',
    'cents=movement.fee_cents + 1, reason=f"fee for',
)
"""ledger.reconciles_with_processor fails, and nothing else does."""
HASH_BREAKS = Edit(
    "contest_platform/services/settlement.py",
    '("entry_id", "score", "place", "prize_cents", "scores_hash")',
    '("entry_id", "score", "prize_cents", "scores_hash")',
)
"""settlement.evidence_recomputes fails, and nothing else does."""
IMPORT_BREAKS = Edit(
    "contest_platform/services/refunds.py",
    "from __future__ import annotations\n",
    "from __future__ import annotations\n\nfrom contest_platform import what_is_not_there\n",
)
CLI_BREAKS = Edit("absence/cli.py", "\nimport click\n", "\nimport click\n\nfrom absence import what_is_not_there\n")
"""No command can be had; the entry point can."""
START_BREAKS = Edit("absence/__init__.py", "__version__", "not even Python, __version__")
"""Then `absence` cannot be started at all."""


@dataclass(frozen=True)
class History:
    """`breaks_at`: the commit looked for. `other`: the commits that have the other bug. `unbuildable`: one commit."""

    breaks_at: int
    other: range
    unbuildable: int

    def edits(self, commit: int, unbuildable: Edit = IMPORT_BREAKS) -> list[Edit]:
        edits = [LEDGER_BREAKS] if commit >= self.breaks_at else []
        edits += [HASH_BREAKS] if commit in self.other else []
        return edits + ([unbuildable] if commit == self.unbuildable else [])

    def answer(self, commit: int) -> str:
        """What git has to be told of a commit."""
        if commit == self.unbuildable:
            return "skip"
        return "bad" if commit >= self.breaks_at else "good"


def drawn(seed: int) -> History:
    """Seeds take turns: the other bug lies before the one looked for, after it, around it, or from before it to the
    end; and four of eight have their unbuildable commit where git looks first.

    The commit looked for can be built, and so can the one before it: of two that nothing tells apart none is the first.
    """
    draws = Random(f"history {seed}")
    breaks_at = draws.randrange(3, COMMITS - 3)
    before, after = draws.randrange(1, breaks_at), draws.randrange(breaks_at + 1, COMMITS - 1)
    other = (
        range(before, draws.randrange(before, breaks_at) + 1),
        range(after, COMMITS),
        range(before, after),
        range(before, COMMITS),
    )[seed % 4]
    free = [commit for commit in range(1, COMMITS - 1) if commit not in (breaks_at, breaks_at - 1)]
    is_in_the_way = seed // 4 % 2 == 0 and MIDDLE in free
    return History(breaks_at, other, MIDDLE if is_in_the_way else draws.choice(free))


@dataclass(frozen=True)
class Repository:
    path: Path
    commits: list[str]

    def git(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *arguments], cwd=self.path, env={**ENVIRONMENT, **(env or {})}, capture_output=True, text=True
        )

    def bisect(self, *command: str | Path, env: Mapping[str, str] | None = None) -> Bisected:
        """`git bisect run COMMAND`, between the first commit and the last."""
        self.git("bisect", "start", self.commits[-1], self.commits[0])
        # What the command needs to be this repository's, however it is started.
        path = f"{self.path.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
        ran = self.git(
            "bisect", "run", *map(str, command), env={"PATH": path, "PYTHONPATH": str(self.path), **(env or {})}
        )
        log = self.git("bisect", "log").stdout
        self.git("bisect", "reset")
        found = re.search(r"^([0-9a-f]{40}) is the first bad commit$", ran.stdout, re.MULTILINE)
        return Bisected(
            ran.returncode,
            ran.stdout + ran.stderr,
            self.commits.index(found[1]) if found else None,
            [
                (verb, self.commits.index(commit))
                for verb, commit in re.findall(r"^git bisect (good|bad|skip) ([0-9a-f]{40})$", log, re.MULTILINE)
            ],
        )


@dataclass(frozen=True)
class Bisected:
    """`first_bad`: the number of the commit that git found, or None. `answers`: what each commit tried was called."""

    exit_code: int
    said: str
    first_bad: int | None
    answers: list[tuple[str, int]]


def asked(repository: Repository, *options: str) -> Bisected:
    """The command that a user gives."""
    return repository.bisect(
        "absence",
        "run",
        "tiny.yaml",
        "--bisect",
        "--expect",
        EXPECTED,
        "--out",
        repository.path.parent / "runs",
        *options,
    )


ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}  # fmt: skip


def template(folder: Path) -> Path:
    """A copy of the house, compiled: what has not changed need not be compiled at each commit.

    Compiled files name the hash of their source and not its time: git writes several commits within a second.
    """
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tiny.yaml").write_text(SCENARIO)
    (folder / ".gitignore").write_text("__pycache__/\n/runs/\n")
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", *PACKAGES],
        cwd=folder, check=True,
    )  # fmt: skip
    return folder


def build(folder: Path, house: Path, history: History, unbuildable: Edit = IMPORT_BREAKS) -> Repository:
    """The repository of `history` in `folder`/repository, made of `house`; and `folder`/bin with `absence` in it."""
    path = folder / "repository"
    shutil.copytree(house, path)
    (folder / "bin").mkdir()
    command = folder / "bin" / "absence"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m absence "$@"\n')
    command.chmod(0o755)
    repository = Repository(path, [])
    repository.git("init", "--quiet", "--initial-branch", "main")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "commit 0")
    subprocess.run(
        ["git", "fast-import", "--quiet", "--force"],
        cwd=path, env=ENVIRONMENT, input=_stream(house, history, unbuildable), check=True,
    )  # fmt: skip
    repository.git("reset", "--hard", "--quiet", "HEAD")
    repository.commits.extend(repository.git("rev-list", "--reverse", "HEAD").stdout.split())
    assert len(repository.commits) == COMMITS
    return repository


def _stream(house: Path, history: History, unbuildable: Edit) -> bytes:
    """The commits from the second on, as git fast-import reads them."""
    originals = {edit.path: (house / edit.path).read_text() for edit in (LEDGER_BREAKS, HASH_BREAKS, unbuildable)}
    lines: list[bytes] = []
    for commit in range(1, COMMITS):
        texts = {**originals, "notes.txt": f"commit {commit}\n"}
        for edit in history.edits(commit, unbuildable):
            texts[edit.path] = edit.apply(texts[edit.path])
        message = f"commit {commit}".encode()
        lines.append(b"commit refs/heads/main\ncommitter a <a@example.org> %d +0000" % (2_000_000_000 + commit))
        lines.append(b"data %d\n%s" % (len(message), message))
        lines += [b"from refs/heads/main^0"] if commit == 1 else []
        for name, text in texts.items():
            content = text.encode()
            lines.append(b"M 100644 inline %s\ndata %d\n%s" % (name.encode(), len(content), content))
    return b"\n".join(lines) + b"\n"
