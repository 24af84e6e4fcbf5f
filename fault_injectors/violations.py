"""Violations: a founder or an engineer who reaches in. Nothing recovers from these; the harness has to catch them.

Invariant: each is one act of one human at one instant, so that what broke has a who, a what and a when.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from fault_injectors.moments import DAY_MS, HOUR_MS, a_founder_after, absent_after
from fault_injectors.tables import DDL, ROWS, Table
from seams.draws import Draws
from seams.faults import Action, Binding, BiteSpec, Fault, Guarantees, Parameters, RecoverySpec

CAUGHT = RecoverySpec("none", "A breach of the promise: the run must be judged FAIL and name it.", 0)
SETTLE_IN_MS = 6 * HOUR_MS
"""After the first payment was captured, until postings about it stand for certain."""


class _ByFounder(Fault):
    """One act of a founder at an instant."""

    kind: ClassVar[Literal["fault", "violation"]] = "violation"
    recovery = CAUGHT

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        moment = a_founder_after(guarantees, draws, guarantees.starts_at + DAY_MS)
        return None if moment is None else Binding(entity=moment[0], from_at=moment[1])

    def act(self, **params: object) -> Sequence[Action]:
        """The lever of this violation, pulled by the human bound at the instant bound."""
        assert self.binding.entity is not None
        assert self.binding.from_at is not None
        return [Action(self.binding.from_at, f"{self.seam}.{self.operation}", self.binding.entity, params)]


def _paid_for(guarantees: Guarantees) -> int | None:
    """From when on something about a payment stands in the books for certain; None where nobody pays."""
    captured = [captured_at for _, captured_at in guarantees.payments()]
    return min(captured) + SETTLE_IN_MS if captured else None


# --- in the database -------------------------------------------------------------------------------------------------


class _OnRow(_ByFounder):
    """On the first row of a table, once there is one."""

    seam = "database"
    operation = "run"

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        there_at = _there_from(guarantees, getattr(params, "table"))  # noqa: B009  each subclass has its own Params
        moment = None if there_at is None else a_founder_after(guarantees, draws, there_at)
        return None if moment is None else Binding(entity=moment[0], from_at=moment[1])

    def on_row(self, table: str, statement: str, bypass: bool) -> Sequence[Action]:
        key = ROWS[table][0]
        where = f"({key}) = (select {key} from {table} order by {key} limit 1)"
        return self.act(
            role="superuser",
            purpose=f"{statement.partition(' ')[0]} {table} by hand",
            statements=[f"{statement} where {where}"],
            bypass=table if bypass else "",
        )


def _there_from(guarantees: Guarantees, table: str) -> int | None:
    """From when on `table` has rows; None where it may have none."""
    if table in ("access_log", "audit_log"):
        return guarantees.starts_at + DAY_MS if guarantees.payments() else None
    if table.startswith("ledger"):
        return _paid_for(guarantees)
    if table.startswith("ingestion"):
        return min((from_at + HOUR_MS for _, from_at, _ in guarantees.play()), default=None)
    settled_at = min((until_at for _, _, until_at in guarantees.settlements()), default=None)
    if settled_at is not None and table == "settlement_acceptance":
        return settled_at + DAY_MS  # judged at the next noon
    return settled_at


class RowEditedParams(Parameters):
    table: Table = "ledger_postings"
    by: int = Field(ge=1, le=10_000)


class RowEdited(_OnRow):
    id = "violations.row_edited"
    title = "A founder edits a row by hand, past the triggers that protect its table"
    imitates = (
        "Append-only triggers can be dropped by any connection in SQLite (3.40.1, measured) and by owner or superuser"
        " in PostgreSQL; neither leaves a trace in the table."
    )
    exercises = "Believing a ledger because its table is append-only."
    bite = BiteSpec("database.sessions", {"n": "$victim", "principal": "$entity", "role": "superuser", "writes": 1})
    Params = RowEditedParams
    params: RowEditedParams

    def actions(self) -> Sequence[Action]:
        table = self.params.table
        _, column, expression = ROWS[table]
        statement = f"update {table} set {column} = {expression.format(by=self.params.by)}"
        return self.on_row(table, statement, bypass=True)


class RowEditRefusedParams(Parameters):
    table: Table = "ledger_postings"
    by: int = Field(ge=1, le=10_000)


class RowEditRefused(_OnRow):
    id = "violations.row_edit_refused"
    title = "A founder tries to edit a row by hand, and its table's triggers refuse"
    imitates = (
        "RAISE(ABORT) in a trigger stops an UPDATE (SQLite 3.40.1, measured); a raised exception does in PostgreSQL."
        " What was tried is then in the server's log only."
    )
    exercises = "Calling an absence proven because nothing came of the attempt."
    bite = BiteSpec("database.sessions", {"n": "$victim", "principal": "$entity", "role": "superuser", "writes": 0})
    Params = RowEditRefusedParams
    params: RowEditRefusedParams

    def actions(self) -> Sequence[Action]:
        table = self.params.table
        _, column, expression = ROWS[table]
        statement = f"update {table} set {column} = {expression.format(by=self.params.by)}"
        return self.on_row(table, statement, bypass=False)


class RowDeletedParams(Parameters):
    table: Table = "ledger_postings"


class RowDeleted(_OnRow):
    id = "violations.row_deleted"
    title = "A founder deletes a row by hand, past the triggers that protect its table"
    imitates = RowEdited.imitates
    exercises = "Believing that what is in the books is all that ever was."
    bite = RowEdited.bite
    Params = RowDeletedParams
    params: RowDeletedParams

    def actions(self) -> Sequence[Action]:
        return self.on_row(self.params.table, f"delete from {self.params.table}", bypass=True)


class SchemaChangedParams(Parameters):
    what: Literal["trigger_dropped", "column_added"] = "trigger_dropped"


class SchemaChanged(_ByFounder):
    id = "violations.schema_changed"
    title = "A founder changes the schema: a trigger dropped, or a column added"
    seam = "database"
    operation = "run"
    imitates = (
        "Owner and superuser can alter what they own; pgAudit logs class DDL for that reason (PostgreSQL 15, pgaudit"
        " 1.7), and a dropped trigger protects nothing from then on."
    )
    exercises = "Trusting a protection that somebody has switched off."
    bite = BiteSpec("database.sessions", {
        "n": "$victim", "principal": "$entity", "role": "superuser", "purpose": "change the schema",
    })  # fmt: skip
    Params = SchemaChangedParams
    params: SchemaChangedParams

    def actions(self) -> Sequence[Action]:
        statements = [DDL[self.params.what]]
        return self.act(role="superuser", purpose="change the schema", statements=statements, bypass="")


class SqlSession(_ByFounder):
    id = "violations.sql_session"
    title = "A founder opens a read-only SQL session, and only looks"
    seam = "database"
    operation = "run"
    imitates = (
        "Break-glass evidence that auditors ask for covers reading too: who, why, what was run (SOC 2, criteria CC6);"
        " pgAudit logs class READ (pgaudit 1.7)."
    )
    exercises = "Calling somebody absent who had to look how things stand."
    bite = BiteSpec("database.sessions", {"n": "$victim", "principal": "$entity", "role": "readonly", "writes": 0})

    def actions(self) -> Sequence[Action]:
        looks = [f"select count(*) from {table}" for table in ("entries", "transfers", "ledger_postings")]
        return self.act(role="readonly", purpose="see how things stand", statements=looks, bypass="")


class AuditTailCutParams(Parameters):
    rows: int = Field(ge=1, le=40)


class AuditTailCut(_ByFounder):
    id = "violations.audit_tail_cut"
    title = "A founder cuts off the last rows of the audit log"
    seam = "database"
    operation = "run"
    imitates = (
        "A hash chain shows what was changed in the middle; with its tail cut off it is a whole chain, only shorter"
        " (hence a head that is anchored outside; SPEC 1.7)."
    )
    exercises = "Verifying a log by itself alone."
    bite = BiteSpec("database.sessions", {
        "n": "$victim", "principal": "$entity", "role": "superuser", "purpose": "cut the audit log",
    })  # fmt: skip
    Params = AuditTailCutParams
    params: AuditTailCutParams

    def actions(self) -> Sequence[Action]:
        cut = f"delete from audit_log where seq > (select max(seq) from audit_log) - {self.params.rows}"
        return self.act(role="superuser", purpose="cut the audit log", statements=[cut], bypass="audit_log")


# --- by a login ------------------------------------------------------------------------------------------------------


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

    def actions(self) -> Sequence[Action]:
        return self.act(live=True)


class EngineerAdminCall(_ByFounder):
    id = "violations.engineer_admin_call"
    title = "An engineer calls the admin API with a credential that survived the revocation"
    seam = "identity"
    operation = "login"
    imitates = FounderLogin.imitates
    exercises = "Watching the founders only: whoever can call the admin API can act."
    bite = BiteSpec("platform.access_log", {"principal": "$entity", "action": "admin.authenticate", "allowed": True})

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        moment = absent_after(guarantees, draws, guarantees.engineers(), guarantees.starts_at + DAY_MS)
        return None if moment is None else Binding(entity=moment[0], from_at=moment[1])

    def actions(self) -> Sequence[Action]:
        return self.act(live=True)


class RevokedProbe(_ByFounder):
    """No breach of the promise by itself: the founder has tried, and was not let in. So it is a fault, which the
    platform has to survive, and not a violation."""

    id = "violations.revoked_probe"
    kind = "fault"
    title = "A founder tries a revoked credential, and is denied"
    seam = "identity"
    operation = "login"
    imitates = (
        "A password that still sits in a browser, a phone that still polls: revoked credentials go on being tried, and"
        " auditors ask for the denials on record (SOC 2, criteria CC6)."
    )
    exercises = "Letting in a token whose signature and dates are right, or denying it without a record."
    recovery = RecoverySpec("itself", "The platform asks the identity provider, denies, and records the denial.", 60)
    bite = BiteSpec("identity.events", {
        "n": "$victim", "principal": "$entity", "action": "denied", "allowed": False, "reason": "revoked",
    })  # fmt: skip

    def actions(self) -> Sequence[Action]:
        return self.act(live=False)


# --- in the processor's dashboard -----------------------------------------------------------------------------------


class DashboardPayoutParams(Parameters):
    amount_cents: int = Field(ge=100, le=5_000)
    contest_id: str = ""
    user_id: str = ""
    """Contest and customer are settled by the binding."""


class _OfCustomer(_ByFounder):
    """About the money of a customer who has paid for a contest."""

    seam = "dashboard"

    @classmethod
    def bind(cls, guarantees: Guarantees, draws: Draws, params: Parameters) -> Binding | None:
        payments, there_at = guarantees.payments(), _paid_for(guarantees)
        moment = None if there_at is None else a_founder_after(guarantees, draws, there_at)
        if moment is None:
            return None
        before = [entity for entity, captured_at in payments if captured_at + HOUR_MS <= moment[1]]
        contest_id, _, user_id = draws.choice(before, "customer").partition("/")
        return Binding(entity=moment[0], from_at=moment[1], params={"contest_id": contest_id, "user_id": user_id})

    def actions(self) -> Sequence[Action]:
        return self.act(**self.params.model_dump())


class DashboardPayout(_OfCustomer):
    id = "violations.dashboard_payout"
    title = "A founder sends money to a customer from the processor's dashboard"
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


class DashboardRefundParams(Parameters):
    amount_cents: int = Field(ge=50, le=900)
    contest_id: str = ""
    user_id: str = ""
    """Contest and customer are settled by the binding."""


class DashboardRefund(_OfCustomer):
    id = "violations.dashboard_refund"
    title = "A founder refunds a customer in the processor's dashboard"
    operation = "refund"
    imitates = (
        "A charge can be refunded in the dashboard, in part or in full (docs.stripe.com/refunds); the platform hears of"
        " it by charge.refunded, or by its balance."
    )
    exercises = "Taking every refund for one of the platform's own."
    bite = BiteSpec(
        "processor.requests", {"n": "$victim", "caller": "$entity", "operation": "refunds.create", "status": 200}
    )
    Params = DashboardRefundParams


class DashboardIntentParams(Parameters):
    amount_cents: int = Field(ge=100, le=5_000)


class DashboardIntent(_ByFounder):
    id = "violations.dashboard_intent"
    title = "A founder begins a payment in the processor's dashboard"
    seam = "dashboard"
    operation = "intent"
    imitates = (
        "A payment can be created in the dashboard, without the metadata that the platform would give it (Stripe API"
        " reference, PaymentIntent: metadata is optional)."
    )
    exercises = "Reconciling a payment that belongs to no entry."
    bite = BiteSpec(
        "processor.requests", {"n": "$victim", "caller": "$entity", "operation": "intents.create", "status": 200}
    )
    Params = DashboardIntentParams

    def actions(self) -> Sequence[Action]:
        return self.act(**self.params.model_dump())


class EndpointParams(Parameters):
    what: Literal["create", "update"] = "create"


class WebhookEndpoint(_ByFounder):
    id = "violations.webhook_endpoint"
    title = "A founder adds a webhook endpoint at the processor, or sends the platform's elsewhere"
    seam = "dashboard"
    operation = "webhook_endpoint"
    imitates = (
        "Endpoints are created and changed in the dashboard (docs.stripe.com/webhooks); events go where the endpoint"
        " says from then on, and what the old address has missed is not told to it."
    )
    exercises = "Depending on webhooks, and not noticing who else is told."
    bite = BiteSpec("processor.requests", {"n": "$victim", "caller": "$entity", "entity": "webhook_endpoints"})
    Params = EndpointParams

    def actions(self) -> Sequence[Action]:
        return self.act(**self.params.model_dump())


# --- in what is deployed --------------------------------------------------------------------------------------------


class DeploymentParams(Parameters):
    what: Literal["configuration", "code"] = "configuration"
    timeout_ms: int = Field(ge=20_000, le=70_000)
    """What the time-out of calls to the processor is set to, where the configuration is changed."""


class Deployment(_ByFounder):
    id = "violations.deployment"
    title = "A founder changes code or configuration outside any runbook, and restarts the service"
    seam = "deployment"
    operation = "change"
    imitates = (
        "A fix by hand on the host: the fix of an outage caused the next one on the same day"
        " (stripe.com/rcas/2019-07-10), and who can deploy without asking is what diligence asks (oleg.is)."
    )
    exercises = "Judging a platform that was another one in the middle."
    bite = BiteSpec("deployment.changes", {"n": "$victim", "principal": "$entity"})
    Params = DeploymentParams

    def actions(self) -> Sequence[Action]:
        return self.act(**self.params.model_dump())
