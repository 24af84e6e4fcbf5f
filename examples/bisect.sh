#!/bin/sh
# Which commit broke it? For `git bisect run`, in a repository that holds `absence` or the platform that it runs:
#
#   cp examples/bisect.sh .git/bisect.sh        # a checkout may take this file away, or bring another one
#   git bisect start BAD GOOD
#   git bisect run .git/bisect.sh small --expect ledger.reconciles
#
# What follows is for `absence run`, which is given --bisect and answers in git's codes: 0 good, 1 bad, 125 cannot tell,
# 128 stop. A commit at which `absence` cannot even be started has no answer of its own: Python ends in 1 there, which
# git would take for bad, so that is tried first. The code is that of the commit: Python looks where it is started.
set -u
export PYTHONDONTWRITEBYTECODE=1
python=${PYTHON:-python3}
"$python" -c 'import absence.main, absence.bisecting' || exit 125
exec "$python" -m absence run "$@" --bisect
