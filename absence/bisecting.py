"""What `git bisect run` is told of a commit: 0 good, 1 bad, 125 cannot tell, 128 and more stop looking.

Invariant: a commit is called bad for one reason only: what was asked about was judged, and is broken. What kept it from
being judged is 125 where it came with the commit, and 128 where it came from the machine or the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from absence.exit_codes import ExitCode

if TYPE_CHECKING:
    from assertions.judge import Verdict


class Tell(IntEnum):
    """As git takes them. It takes 2 to 124, 126 and 127 for bad too, so that none of ours may reach it as it is."""

    GOOD = 0
    BAD = 1
    CANNOT_TELL = 125
    STOP = 128

    @property
    def words(self) -> str:
        return self.name.lower().replace("_", " ")


OF_EXIT = {
    ExitCode.SUCCESS: Tell.GOOD,
    ExitCode.USAGE: Tell.STOP,
    ExitCode.BUSINESS_REJECT: Tell.BAD,
    ExitCode.BUSINESS_SKIP: Tell.STOP,
    ExitCode.INCONCLUSIVE: Tell.CANNOT_TELL,
    ExitCode.DATA_INVALID: Tell.CANNOT_TELL,
    ExitCode.STATE_CORRUPT: Tell.STOP,
    ExitCode.LOCK_TIMEOUT: Tell.STOP,
    ExitCode.INTERNAL_ERROR: Tell.CANNOT_TELL,
    ExitCode.ANOMALY_HALT: Tell.BAD,
}
"""For each way in which a command can end that gave no answer itself. Ctrl-C ends in 130, which stops git as it is."""

OF_STATUS = {
    "PASS": Tell.GOOD,
    "FAIL": Tell.BAD,
    "INCONCLUSIVE": Tell.CANNOT_TELL,
    "NOT_APPLICABLE": Tell.CANNOT_TELL,
}


class Answer(NamedTuple):
    """`why`: what was asked about, and what became of it."""

    tell: Tell
    why: str

    def sentence(self) -> str:
        return f"bisect: {self.tell.words} ({self.tell:d}), {self.why}"


def of(verdict: Verdict, expect: str | None) -> Answer:
    """The answer of a run that was judged: by the assertion `expect` alone, or else by the whole verdict.

    Another promise that broke says nothing about the one asked about: history may hold several bugs, and a commit is
    good as long as it keeps this one. An id may be cut short where no other begins so.
    """
    if expect is None:
        return Answer(OF_STATUS[verdict.status.value], f"the verdict is {verdict.status.value}")
    statuses = {result.id: result.status.value for result in verdict.results}
    meant = [expect] if expect in statuses else [known for known in statuses if known.startswith(expect)]
    if len(meant) == 1:
        return Answer(OF_STATUS[statuses[meant[0]]], f"{meant[0]} is {statuses[meant[0]]}")
    if meant:
        return Answer(Tell.CANNOT_TELL, f"several promises begin with {expect}: {', '.join(meant)}")
    from scenarios.errors import did_you_mean

    return Answer(Tell.CANNOT_TELL, f"no promise is called {expect} at this commit{did_you_mean(expect, statuses)}")


def answer(command: Callable[[], int], expects: bool) -> int:
    """Carry out `command` and return what git is told, whichever way it ends. Raises KeyboardInterrupt.

    `expects`: one promise was asked about, of which a run that ended without a verdict says nothing.
    """
    try:
        code: object = command()
    except SystemExit as ended:
        code = ended.code
    except Exception:
        import traceback

        traceback.print_exc()
        return Tell.CANNOT_TELL  # what every command imports cannot be imported at this commit
    else:
        code = ExitCode.USAGE if code else ExitCode.SUCCESS  # nothing was run: wrong usage, or help
    if isinstance(code, Tell):
        return code
    if not isinstance(code, ExitCode):
        return Tell.CANNOT_TELL  # something that this commit brought along ended the process
    tell = OF_EXIT[code]
    return Tell.CANNOT_TELL if tell is Tell.BAD and expects else tell
