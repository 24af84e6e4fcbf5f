"""Reports: what a run's evidence and verdict say, in the form that each reader needs. They judge nothing themselves.

`tell` reads what there is to say; `write_all` makes every report file of it, `console.summary` the terminal's lines.
"""

from __future__ import annotations

from reports.story import tell
from reports.write import write_all

__all__ = ["tell", "write_all"]
