"""The entry point of `absence`. What needs nothing of us is answered before anything of ours is imported."""

from __future__ import annotations

import sys

from absence import __version__


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print(f"absence {__version__}")
        return
    from absence.cli import cli

    cli(prog_name="absence")
