"""Defects of how the processor's webhooks are answered: what is not 2xx is sent again, for three days."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_WEBHOOKS = "contest_platform/services/webhooks.py"

CATALOGUE = (
    Defect(
        "answers.age_of_the_event",
        "Against replays the age is checked, of the event and not of its signature: what is tried "
        "again later is signed "
        "anew, and is as old as ever.",
        (
            Edit(
                _WEBHOOKS,
                "                event = of_body(orjson.loads(request.raw))\n",
                "                event = of_body(orjson.loads(request.raw))\n"
                "                if self._ports.runtime.now() - event.created_at > TOLERANCE_MS:\n"
                '                    problem = "created too long ago"\n',
            ),
        ),
        ("recovery.webhooks_accepted",),
        faults=(Fault("webhooks.delayed"),),
    ),
    Defect(
        "answers.duplicate_is_a_conflict",
        "An event that tells what is known already is answered as a conflict; the processor tries it for three days.",
        (
            Edit(
                _WEBHOOKS,
                '            self._ports.metrics.add("webhook_duplicates_total")\n',
                '            self._ports.metrics.add("webhook_duplicates_total")\n'
                '            return Response(409, {"error": "this event is known"})\n',
            ),
        ),
        ("recovery.webhooks_accepted",),
        faults=(Fault("webhooks.twin"),),
    ),
)
