"""What has to hold: functions from evidence to verdicts. They see the books of a run and nothing else.

`judge` and `Verdict` are the way in; `assertion` and `Finding` make a new one: a function in a module of its family.
"""

from __future__ import annotations

from assertions.judge import Verdict, judge
from assertions.model import Broken, Finding, Result, Status, assertion

__all__ = ["Broken", "Finding", "Result", "Status", "Verdict", "assertion", "judge"]
