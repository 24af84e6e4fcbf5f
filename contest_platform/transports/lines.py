"""Command lines: how a command and its arguments are written for PowerShell and for a POSIX shell.

Invariant: an argument that holds a space or a quote arrives as the one word that it was. The command is written as it
stands, and so are PowerShell's expressions: who puts together a line from what others say has to look at that first.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from shlex import quote

_PLAIN = re.compile(r"[^\s'\";&`]+")


def posix(command: str, args: Sequence[str]) -> str:
    return " ".join((command, *map(quote, args)))


def powershell(command: str, args: Sequence[str]) -> str:
    """Single quotes hold anything; within them a quote is doubled (about_Quoting_Rules)."""
    return " ".join((command, *(arg if _PLAIN.fullmatch(arg) else "'" + arg.replace("'", "''") + "'" for arg in args)))


def encoded(script: str) -> tuple[str, ...]:
    """The arguments with which powershell.exe runs `script`, whatever quotes are in it: base64 of UTF-16. What it
    prints is text: without being told so, it writes errors to a pipe as CLIXML."""
    return (
        "-NoProfile",
        "-NonInteractive",
        "-OutputFormat",
        "Text",
        "-EncodedCommand",
        b64encode(script.encode("utf-16-le")).decode(),
    )
