"""Kept runs judged again, each time by other code of the assertions, in a process that has loaded nothing of them.

Invariant: an opinion is that of the code it was asked of, and of no other.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from campaigns.forks import serve
from evidence.run import Evidence

if TYPE_CHECKING:
    from assertions.judge import Verdict

_SAME_FOR_ALL = ("apsw", "numpy", "pydantic", "pyarrow.parquet", "yaml")
_CPU_S = 300
"""Changed code that has no opinion of a run by then has none: of a loop that does not end any more."""


def main() -> None:
    for name in _SAME_FOR_ALL:
        import_module(name)
    serve(_opinions)


def _opinions(runs: Sequence[str], known: str | None, module: str | None, text: str | None) -> Iterator[Any]:
    """What the code as it is thinks of each run: its `figures`. With `text` for `module`, the first run of which it
    thinks otherwise than what is `known` (a file), and of what: `statuses` or `figures`; no such run, no answer."""
    if known is None:
        yield from (_figures_of(run) for run in runs)
        return
    before = json.loads(Path(known).read_text())
    assert module is not None
    assert text is not None
    sys.meta_path.insert(0, _Instead(module, text))
    for run in runs:
        signal.setitimer(signal.ITIMER_PROF, _CPU_S)
        now = json.loads(json.dumps(_figures_of(run)))
        if now != before[run]:
            yield run, "statuses" if now["statuses"] != before[run]["statuses"] else "figures"
            return


def _figures_of(run: str) -> dict[str, Any]:
    from assertions.judge import judge

    return figures(judge(Evidence.open(Path(run))))


def figures(verdict: Verdict) -> dict[str, Any]:
    """What a verdict says, without its words."""
    first = verdict.first_broken
    return {
        "statuses": {result.id: result.status.value for result in verdict.results},
        "seen": {result.id: (result.saw, result.owed, len(result.missing)) for result in verdict.results},
        "broken": {
            result.id: [(broken.subject, broken.at, broken.money_cents) for broken in result.broken]
            for result in verdict.results
        },
        "first": None if first is None else (first.assertion, [fault.fault_id for fault in first.active_faults]),
    }


class _Instead(MetaPathFinder, Loader):
    """Loads one module from a text."""

    def __init__(self, module: str, text: str) -> None:
        self._module, self._text = module, text

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname == self._module else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._text, f"<{self._module}, changed>", "exec"), module.__dict__)


if __name__ == "__main__":
    main()
