"""`absence` as it looks on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

from tests.support.command import ROOT


def in_terminal(*arguments: str | Path, **env: str) -> str:
    """What `absence` draws on a terminal."""
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "absence", *map(str, arguments)], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**plain, "TERM": "xterm-256color", "COLUMNS": "80", **env},
    ) as child:  # fmt: skip
        os.close(theirs)
        drawn = b""
        while select.select([ours], [], [], 120)[0]:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the other side has closed
                break
            if not piece:
                break
            drawn += piece
        os.close(ours)
        assert child.wait(timeout=120) == 0, drawn.decode()
    return drawn.decode()
