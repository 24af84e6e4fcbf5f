"""Violations: a founder who reaches in. Nothing recovers from these; the harness has to catch them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from fault_injectors.moments import DAY_MS, HOUR_MS, a_founder_after
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Parameters, RecoverySpec

CAUGHT = RecoverySpec("none", "A breach of the promise: the run must be judged FAIL and name it.", 0)
SETTLE_IN_MS = 6 * HOUR_MS
"""After the first payment was captured, until postings about it stand for certain."""


class _ByFounder(Fault):
    """One act of a founder at an instant."""

    kind = "violation"
    recovery = CAUGHT

    def act(self, **params: object) -> Sequence[Action]:
        """The lever of this violation, pulled by the founder bound at the instant bound."""
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, f"{self.seam}.{self.operation}", self.binding.entity, params)]


class RowEditedParams(Parameters):
    table: Literal["ledger_postings"] = "ledger_postings"
    by_cents: int = Field(ge=1, le=10_000)
    bypass: Literal[True] = True


class RowEdited(_ByFounder):
    id = "violations.row_edited"
    title = "A founder edits an amount in the ledger, past its triggers"
    seam = "database"
    operation = "edit"
    imitates = (
        "Append-only triggers can be dropped by any connection in SQLite (3.40.1, measured) and by owner or superuser"
        " in PostgreSQL; neither leaves a trace in the table."
    )
    exercises = "Believing a ledger because its table is append-only."
    bite = BiteSpec("database.sessions", {"n": "$victim", "principal": "$entity", "writes": 1})
    Params = RowEditedParams
    params: RowEditedParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        payments = guarantees.payments()
        if not payments:
            return None
        first_at = min(captured_at for _, captured_at in payments)
        moment = a_founder_after(guarantees, draws, first_at + SETTLE_IN_MS)
        return None if moment is None else Binding(entity=moment[0], from_at=moment[1])

    def actions(self) -> Sequence[Action]:
        table = self.params.table
        return self.act(
            table=table,
            set={"amount_cents": f"amount_cents + {self.params.by_cents}"},
            where=f"(txn_id, n) = (SELECT txn_id, n FROM {table} WHERE amount_cents > 0 ORDER BY txn_id, n LIMIT 1)",
            bypass=self.params.bypass,
        )


class FounderLogin(_ByFounder):
    id = "violations.founder_login"
    title = "A founder logs in with a credential that survived the revocation"
    seam = "identity"
    operation = "login"
    imitates = (
        "A session that outlives the list from which it was revoked: why auditors want automatic expiry, and revocation"
        " shown by evidence (SOC 2, criteria CC6)."
    )
    exercises = "Calling an absence proved while a founder can still act."
    bite = BiteSpec("identity.events", {"n": "$victim", "principal": "$entity", "action": "login", "allowed": True})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        moment = a_founder_after(guarantees, draws, guarantees.starts_at + DAY_MS)
        return None if moment is None else Binding(entity=moment[0], from_at=moment[1])

    def actions(self) -> Sequence[Action]:
        return self.act(live=True)


class DashboardPayoutParams(Parameters):
    amount_cents: int = Field(ge=100, le=5_000)
    contest_id: str = ""
    user_id: str = ""
    """Contest and customer are settled by the binding."""


class DashboardPayout(_ByFounder):
    id = "violations.dashboard_payout"
    title = "A founder sends money to a customer from the processor's dashboard"
    seam = "dashboard"
    operation = "transfer"
    imitates = (
        "A transfer has no status: that it exists means that the money moved (Stripe API reference), whoever asked for"
        " it, and nothing in the platform's own books shows it."
    )
    exercises = "Reconciling only what the platform knows it sent."
    bite = BiteSpec(
        "processor.requests", {"n": "$victim", "caller": "$entity", "operation": "transfers.create", "status": 200}
    )
    Params = DashboardPayoutParams
    params: DashboardPayoutParams

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        payments = guarantees.payments()
        if not payments:
            return None
        first_at = min(captured_at for _, captured_at in payments)
        moment = a_founder_after(guarantees, draws, first_at + SETTLE_IN_MS)
        if moment is None:
            return None
        contest_id, _, user_id = draws.choice(payments, "customer")[0].partition("/")
        return Binding(entity=moment[0], from_at=moment[1], params={"contest_id": contest_id, "user_id": user_id})

    def actions(self) -> Sequence[Action]:
        return self.act(**self.params.model_dump())
