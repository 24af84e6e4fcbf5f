"""Trials of one plan after the other, in a process that has started already: on the code as it is, or with a defect.

Invariant: a plan that hangs, or takes the process with it, costs its own trial and no other.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from campaigns.trial import Trial, TrialFailed
from defects import defect
from defects.planting import ROOT, planted
from evidence.plan import Plan

_START = "import sys; sys.path[:0] = sys.argv[1:2]; from campaigns.trial_server import main; main(*sys.argv[2:])"


class Tries(Protocol):
    def __call__(self, plan: Plan, within_s: float) -> Trial:
        """What `plan` comes to. Raises TrialFailed, for a run that takes longer than `within_s` too."""


@contextmanager
def tries(defect_id: str | None = None, documents: Path | None = None) -> Iterator[Tries]:
    """Trials on the code as it is, or with a defect of the catalogue planted. `documents`: a directory whose runbooks
    and rules are in force, if it has any; else those that are shipped. Raises UnknownDefect, StaleEdit."""
    if defect_id is None:
        with Worker(ROOT, documents) as worker:
            yield worker
        return
    with planted(defect(defect_id)) as tree, Worker(tree, documents) as worker:
        yield worker


class Worker:
    """A process of the project at `tree` that makes trials. It is started when it is first needed, and again after a
    plan that it did not survive."""

    def __init__(self, tree: Path, documents: Path | None) -> None:
        self._tree = tree
        self._documents = [] if documents is None else [str(documents.resolve())]
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch = TemporaryDirectory(prefix="absence-tries-")  # for what a killed trial leaves behind, too
        self._errors = open(Path(self._scratch.name) / "errors", "w+b")  # noqa: SIM115

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._errors.close()
        self._scratch.cleanup()

    def __call__(self, plan: Plan, within_s: float) -> Trial:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(plan.canonical() + b"\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], max(within_s, 0))[0]:
                raise TrialFailed(f"it did not end within {within_s:.0f} s")
            line = process.stdout.readline()
            if not line:
                raise TrialFailed(f"the process of the trial ended: {self._last_words()}")
        except BrokenPipeError:
            failure = TrialFailed(f"the process of the trial ended: {self._last_words()}")
            self._end()
            raise failure from None
        except BaseException:  # whatever the process is still at, the next plan's answer must not be this one's
            self._end()
            raise
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise TrialFailed(answer["failed"])
        return Trial.from_json(answer["trial"])

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(self._tree), *self._documents], cwd=self._tree,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env={**os.environ, "TMPDIR": self._scratch.name},
            process_group=0,  # Ctrl-C is for who started it
        )  # fmt: skip
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"
