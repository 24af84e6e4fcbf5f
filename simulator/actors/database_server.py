"""The database server's own log of sessions, and the SQL that a human can run past the application.

Invariant: every session is one row of database.sessions, written when it closes or at the end of the run.
"""

from __future__ import annotations

from collections.abc import Sequence

from contest_platform.store.database import Database
from seams.faults import Action
from simulator.actors.context import NoteAction, World

ROTTEN_BIT = 16
"""Of the strokes of a hole: no score has it, and with it none can be."""


class Session:
    """One session. `statements` and `writes` (changed rows) are counted up by whoever runs statements in it."""

    __slots__ = ("_server", "number", "opened_at", "principal", "purpose", "role", "statements", "writes")

    def __init__(self, server: DatabaseServer, opened_at: int, principal: str, role: str, purpose: str) -> None:
        self._server = server
        self.opened_at, self.principal, self.role, self.purpose = opened_at, principal, role, purpose
        self.statements = self.writes = 0
        self.number: int | None = None
        """Its row in database.sessions, once closed."""

    def committed(self, statements: int, writes: int) -> None:
        """Count one committed transaction: its statements, and the rows that it changed."""
        self.statements += statements
        self.writes += writes
        self._server.transactions += 1

    def close(self) -> int:
        """End the session and return the number of its row. Closing it again changes nothing."""
        return self._server.close(self)


class DatabaseServer:
    def __init__(self, world: World) -> None:
        self._world = world
        self._book = world.books["database.sessions"]
        self._refusals = world.books["database.refusals"]
        self._open: dict[Session, None] = {}
        self._incidents = world.books["database.incidents"]
        self.transactions = 0
        """How many transactions have been committed in all sessions."""

    @property
    def next_refusal(self) -> int:
        """The number that the next refusal will have in database.refusals."""
        return self._refusals.count + 1

    def refuse(self, principal: str, role: str, reason: str) -> None:
        """Turn a connection away."""
        self._world.record("database", "connection.refused", principal, reason=reason)
        self._refusals.note(self._world.runtime.now(), principal, role, reason)

    def open(self, principal: str, role: str, purpose: str) -> Session:
        session = Session(self, self._world.runtime.now(), principal, role, purpose)
        self._open[session] = None
        return session

    def close(self, session: Session) -> int:
        if session.number is None:
            session.number = self._write(session, self._world.runtime.now())
            del self._open[session]
        return session.number

    @property
    def next_incident(self) -> int:
        """The number that the next connection to break will have in database.incidents."""
        return self._incidents.count + 1

    def broke(self, session: Session, operation: str, outcome: str) -> None:
        """A connection of `session` broke: `outcome` is rolled_back or committed_unanswered."""
        self._incidents.note(self._world.runtime.now(), session.principal, operation, outcome)
        self._world.record("database", "connection.broke", operation, principal=session.principal, outcome=outcome)

    def end(self) -> None:
        """Write the sessions that are still open at the end of the run; they have no closing instant."""
        for session in self._open:
            session.number = self._write(session, None)
        self._open.clear()

    def _write(self, session: Session, closed_at: int | None) -> int:
        return self._book.note(
            session.opened_at,
            session.principal,
            session.role,
            session.purpose,
            session.statements,
            session.writes,
            closed_at,
        )

    def run(
        self, principal: str, database: Database, role: str, purpose: str, statements: Sequence[str], bypass: str = ""
    ) -> Session:
        """A human's session: `statements` in one transaction, past the application. Returns the session, closed.

        `bypass` names a table whose triggers do not fire meanwhile. Otherwise they have their say, and what they refuse
        is rolled back as a whole.
        """
        session = self.open(principal, role, purpose)
        session.statements, session.writes = database.by_hand(statements, role, bypass)
        self._world.record(principal, "database.session", purpose, role=role, writes=session.writes)
        session.close()
        return session

    async def pull_run(self, action: Action, note: NoteAction, database: Database) -> None:
        """The lever database.run, on the platform's database."""
        params = action.params
        session = self.run(
            action.entity, database, params["role"], params["purpose"], params["statements"], params["bypass"]
        )
        note(action, str(session.number))

    async def pull_rot(self, action: Action, note: NoteAction, database: Database) -> None:
        """The lever database.rot: a bit of a score that is shown turns over on the disk. No session did it, and no log
        has it."""
        scores = database.query(
            "select golfer_id, round, hole from hole_scores where tournament_id = :t and strokes < :rotten"
            " order by golfer_id, round, hole",
            {"t": action.entity, "rotten": ROTTEN_BIT},
        )
        if not scores:
            return
        place = scores[self._world.draws.below(len(scores), "database.rot", action.entity, action.at)]
        database.execute(
            "update hole_scores set strokes = strokes + :rotten"
            " where tournament_id = :t and golfer_id = :golfer_id and round = :round and hole = :hole",
            {"t": action.entity, "rotten": ROTTEN_BIT, **place},
        )
        database.forget()
        self._world.record("database", "page.rotted", action.entity)
        note(action, action.entity)
