"""The entry point of `absence`. What needs nothing of us is answered before anything of ours is imported.

However early Ctrl-C comes, it ends in one line and the exit code that shells expect of it. However broken the commit is
that `git bisect run` asks about, the answer is in git's own codes.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings

from absence import __version__


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print(f"absence {__version__}")
        return
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # no plugin has a say in a run, and looking for some takes time
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy only packs columns here: it needs no threads for matrices
    try:
        if "--bisect" in sys.argv:
            # A checkout in the second in which a module was compiled can pass for what was compiled: nothing is.
            sys.dont_write_bytecode = True
            from absence.bisecting import answer

            code = answer(_command, any(argument.partition("=")[0] == "--expect" for argument in sys.argv))
        else:
            code = _command()
    except KeyboardInterrupt:
        from absence.exit_codes import INTERRUPTED

        warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that had been made and not begun: no news now
        print("Stopped. Nothing half-written was left behind.", file=sys.stderr)
        code = INTERRUPTED
    finally:
        gc.freeze()  # the interpreter would look for garbage in what ends with it
    sys.exit(code)


def _command() -> int:
    from absence import collecting
    from absence.cli import invoke

    collecting.rarely()
    return invoke()
