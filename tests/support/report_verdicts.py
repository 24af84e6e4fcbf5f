"""Verdicts on the made-up run of report_run: one that fails, one that proves too little, one that passes."""

from __future__ import annotations

from collections.abc import Sequence

from assertions.judge import ActiveFault, FirstBroken, NotExercised, Verdict
from assertions.model import Broken, Result, Status, merge
from assertions.windows import spans
from tests.support.report_plan import DAY, HOSTILE, HOUR, MINUTE, TUESDAY
from tests.support.report_run import Made


def result(
    id: str, status: Status, *, claim: str = "", broken: Sequence[Broken] = (), missing: Sequence[str] = ()
) -> Result:
    saw, owed = {Status.NOT_APPLICABLE: (0, 0), Status.INCONCLUSIVE: (3, 5)}.get(status, (1234, 1200))
    claim = claim or f"What {id} says always holds, in every contest and at every instant of the run."
    return Result(id, id.split(".")[0], claim, "always", status, "transfers", saw, owed, tuple(broken), tuple(missing))


def verdict_of(made: Made, results: Sequence[Result]) -> Verdict:
    """What the judge would make of these results."""
    plan = made.plan
    bites = made.evidence.rows("injector.bites", "fault_id", "at")
    at_work = spans(plan.faults, bites)
    broken = [(item, found) for found in results for item in found.broken]
    first = min(broken, key=lambda pair: (pair[0].at is None, pair[0].at or 0), default=None)
    named = None
    if first is not None:
        item, found = first
        active = [span for span in at_work if item.at is None or span.is_active(item.at)]
        named = FirstBroken(
            found.id,
            found.claim,
            item.message,
            item.subject,
            item.at,
            item.money_cents,
            tuple(ActiveFault(*span[:6]) for span in active),
        )
    idle = tuple(NotExercised(r.id, what) for r in results if r.status is Status.INCONCLUSIVE for what in r.missing)
    status = merge([r.status for r in results])
    return Verdict(plan.scenario, plan.seed, plan.sha256(), status, tuple(results), named, idle)


def failing(made: Made) -> Verdict:
    at = TUESDAY + 7 * DAY + 18 * HOUR + 10 * MINUTE
    twice = Broken(f"The winner {HOSTILE} was paid $27.00 twice for contest c1.", "c1/u1", at, 2700)
    later = [
        Broken(f"Transfer tr_{n} has no ledger transaction.", f"transfers/tr_{n}", at + n * HOUR, 100)
        for n in range(30)
    ]
    return verdict_of(
        made,
        [
            *standing(),
            result("payouts.once", Status.FAIL, claim="Each winner is paid exactly once.", broken=[twice]),
            result("ledger.processor", Status.FAIL, claim="The processor's books equal the ledger.", broken=later),
            result(
                "recovery.bites",
                Status.INCONCLUSIVE,
                claim="Every planned fault bites.",
                missing=["F5 never bit: no row of processor.deliveries shows it"],
            ),
            result("runbooks.rendered", Status.NOT_APPLICABLE),
            result("alerts.raised", Status.NOT_APPLICABLE),
        ],
    )


def unproven(made: Made) -> Verdict:
    return verdict_of(made, [*standing(), result("healing.score", Status.INCONCLUSIVE, missing=["no host drifted"])])


def passing(made: Made) -> Verdict:
    return verdict_of(made, [*standing(), result("runbooks.rendered", Status.NOT_APPLICABLE)])


def standing() -> list[Result]:
    """Promises that held."""
    names = "audit.chain audit.gapless ledger.balanced ledger.escrow absence.revoked absence.human lifecycle.states"
    names += (
        " lifecycle.on_time payouts.amounts ingestion.receipts ingestion.official settlement.packs settlement.hashes"
    )
    return [result(name, Status.PASS) for name in names.split()]
