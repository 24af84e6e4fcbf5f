"""Reports: what a run's evidence and verdict say, in the form that each reader needs. They judge nothing themselves.

`write_all` makes every report file of a run; `reports.console.summary` is the text for the terminal.
"""

from __future__ import annotations

from reports.write import write_all

__all__ = ["write_all"]
