"""A command of ours in a process of its own, waited for to its end."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from typing import Any

GRACE_S = 5.0


def waited_for(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """As subprocess.run (`options`: of Popen), but on Ctrl-C, which the terminal gives to `command` too, it is not
    killed: what it has to put away it puts away. Who does not end then has not heard of it, and is told. Raises
    KeyboardInterrupt once it has ended."""
    process, stopped, within_s = subprocess.Popen(command, **options), None, None
    while True:
        try:
            stdout, stderr = process.communicate(timeout=within_s)
            break
        except KeyboardInterrupt as interrupt:
            stopped, within_s = interrupt, GRACE_S
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            within_s = None
    if stopped is not None:
        raise stopped
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
