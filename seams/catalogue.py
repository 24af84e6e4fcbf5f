"""The seams and levers by name: where a fault can act, whom it names there, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seam:
    """`entity`: whom a crossing is about. `victim`: the key in the other party's book. `effects`: those carried out."""

    operations: tuple[str, ...]
    entity: str
    victim: str
    effects: tuple[str, ...]


SEAMS: dict[str, Seam] = {
    "processor": Seam(
        ("intents.create", "intents.cancel", "intents.confirm", "transfers.create", "refunds.create"),
        "contest_id/user_id of the metadata; for transfers.create the contest_id",
        "the idempotency key: processor.requests.idempotency_key, platform.transfer_attempts.idempotency_key",
        ("LoseRequest", "LoseAnswer", "Refuse", "Delay", "Stall"),
    ),
    "processor.read": Seam(
        ("list", "retrieve"),
        "the object kind (intents, events, transfers, refunds, disputes, balance)",
        "none",
        ("LoseRequest", "LoseAnswer", "Refuse", "Delay"),
    ),
    "webhook": Seam(
        ("deliver", "attempt"),
        "contest_id/user_id of the object's metadata; deliver is crossed once by an event, attempt by each attempt",
        "the event id: processor.deliveries.event_id",
        ("Delay", "Drop", "Repeat", "Twin", "Behind", "Copy", "Refuse"),
    ),
    "provider": Seam(
        ("poll",),
        "the tournament id",
        "the number of the poll: provider.requests.n",
        ("Refuse", "LoseAnswer", "LoseRequest", "Falsify"),
    ),
    "winrm": Seam(
        ("connect", "create", "command", "receive", "signal", "delete"),
        "the host; for command host/verb, and what the command does there (query, set, start, stop, restart, …)",
        "connect: the number of the refusal, hosts.requests.n; else the message, hosts.exchanges.message_id",
        ("Refuse", "LoseAnswer", "LoseRequest", "Falsify", "Stall", "Die"),
    ),
    "ssh": Seam(
        ("run",),
        "host/verb: the host, and what the command does there (query, set, start, stop, restart, …)",
        "the number of the request: hosts.requests.n",
        ("Refuse", "LoseAnswer", "LoseRequest"),
    ),
    "store": Seam(
        ("begin", "commit", "transact"),
        "the transaction's name, such as settlement.open",
        "begin: the number of the refusal, database.refusals.n; commit: of the stop, hosts.services.n; transact: of "
        "the row that is left by a broken connection, a page that cannot be read or a row that is not found, "
        "database.incidents.n",
        ("Refuse", "Occupy", "Die", "Abort", "LoseAnswer", "Hang", "Overlook"),
    ),
    "anchor": Seam(("publish",), "the word audit", "the head's sequence number", ("Refuse",)),
    "pager": Seam(
        ("send", "incidents"),
        "the dedup key; the word all, where the open incidents are asked for",
        "the dedup key, or nothing",
        ("Refuse", "LoseRequest"),
    ),
    "auth": Seam(("introspect",), "the token id", "the token id", ("Refuse", "LoseRequest", "LoseAnswer")),
    "edge": Seam(
        ("request",),
        "the path of the request at the platform's address",
        "the path",
        ("LoseRequest", "LoseAnswer"),
    ),
    "control": Seam(
        ("command",),
        "the runbook and the step whose command ops sends, such as ingestion_lag/Recovery/3",
        "the execution: operator.unanswered.execution_id, operator.notebook.execution_id",
        ("LoseRequest", "LoseAnswer", "Delay"),
    ),
}

LEVERS: dict[str, str] = {
    "services.crash": "entity: a service unit; it dies without unwinding, its host sees it stop",
    "services.kill": "entity: a service unit; params agent_dies: it dies for good, and is reported once or for ever",
    "hosts.skew": "entity: a host; params offset_ms, for_ms: its clock is stepped, and back then if none set it right",
    "hosts.drift": "entity: a host; params settings (name: value), reboot_after_ms: what is no longer as it should be",
    "hosts.reboot": "entity: a host; it goes down, and comes up again",
    "hosts.silence": "entity: a host; params for_ms: its agent dies, and is started again after that",
    "hosts.report": "entity: a host; params check, target, observed, reports: its agent reports so often that it fails",
    "winrm.leak": "entity: a host; params user, shells, commands: somebody opens so many and closes none",
    "entrants.delete": "entity: user_id; the customer deletes his account",
    "provider.correct": "entity: tournament_id/golfer_id; params round, hole, strokes: the provider publishes it",
    "provider.retire": "entity: tournament_id/golfer_id; params status, reason: he plays no further, and why",
    "processor.roll_secret": "entity: contest_id/user_id of a payment after it; the webhook secret is replaced",
    "attacker.forge": "entity: contest_id/user_id; a forged webhook says that this unpaid entry is paid",
    "bank.dispute": "entity: contest_id/user_id; the bank of whoever paid for this entry takes the money back",
    "bank.decide": "entity: contest_id/user_id of a dispute; params won: the bank decides it",
    "entrants.withdraw": "entity: contest_id/user_id; the customer asks the platform for his fee back",
    "database.run": "entity: principal; params role, purpose, statements, bypass (a table): SQL past the application",
    "database.rot": "entity: tournament_id; a score of it that is shown is not what was written, and no log says so",
    "monitoring.stop": "entity: the word rules; params for_ms: no alert rule is evaluated for so long",
    "identity.login": "entity: principal; params live: whether the credential survived the revocation",
    "processor.reverse": "entity: contest_id; params transfer: the n-th of its transfers is taken back, in full",
    "dashboard.transfer": "entity: principal; params contest_id, user_id, amount_cents: money sent from the dashboard",
    "dashboard.refund": "entity: principal; params contest_id, user_id, amount_cents: a payment refunded there",
    "dashboard.intent": "entity: principal; params amount_cents: a payment begun there",
    "dashboard.webhook_endpoint": "entity: principal; params what: an endpoint created, or the platform's updated",
    "ops.call": "entity: principal of ops; params path, body: an admin call, with no execution open",
    "ops.pretend": "entity: principal of ops; params path, body, runbook: it is called in an execution that he begins",
    "ops.alter": "entity: principal of ops; params runbook (its link), written, altered: a line of it, from then on",
    "deployment.change": "entity: principal; params what, timeout_ms: code or configuration changed, the app restarted",
}
"""What a timed action can pull on the world. A lever notes its own bite with the key of the row it left behind."""
