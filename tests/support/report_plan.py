"""The plan of a made-up run for tests of reports: two tournaments, a few faults, and a hostile name."""

from __future__ import annotations

from evidence.plan import (
    Bite,
    Contest,
    Entrant,
    EntryPlan,
    FaultPlan,
    Golfer,
    Plan,
    Principal,
    Recovery,
    Scoring,
    Tournament,
)

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
TUESDAY = 1_780_358_400_000
"""2026-06-02 00:00 UTC."""
HOSTILE = 'O\'Brien </script><script>alert(1)</script> & "sons" |*_`\x07 ]]> [x](javascript:1)'
FEES = (500, 1000, 2500, 10_000, 2000)


def make_plan(contests: int = 5, entries: int = 12, name: str = HOSTILE) -> Plan:
    tournaments = [
        Tournament(
            id=f"t{n}",
            event_id=f"evt-{n}",
            name=("Calmwater Open", "Harbour Masters")[n - 1],
            par=[4] * 18,
            rounds=4,
            starts_at=first,
            ends_at=first + 4 * DAY - 5 * HOUR,
            golfers=[Golfer(id=f"t{n}g1", name="A")],
            publications=[],
            play=[(first + day * DAY + 11 * HOUR, first + day * DAY + 22 * HOUR) for day in range(4)],
        )
        for n, first in ((1, TUESDAY + 2 * DAY), (2, TUESDAY + 9 * DAY))
    ]
    made, entrants, planned = [], [], []
    for n in range(contests):
        tournament = tournaments[n % 2]
        made.append(
            Contest(
                id=f"c{n + 1}",
                tournament_id=tournament.id,
                name=name if n == 0 else f"{tournament.name} {n + 1}",
                fee_cents=FEES[n % 5],
                rake_bp=1000,
                guaranteed_cents=entries * FEES[n % 5] + 777 if n == 2 else None,
                prize_shares_bp=[5000, 3000, 2000],
                min_entries=1000 if n == 3 else 2,
                max_entries=1000,
                scoring=Scoring(kind="strokes", roster_size=1, counting=1),
                opens_at=TUESDAY,
                lock_at=tournament.starts_at + 10 * HOUR,
                start_at=tournament.starts_at + 11 * HOUR,
                end_at=tournament.ends_at + 12 * HOUR,
                hold_s=86_400,
            )
        )
    for n in range(entries):
        entrants.append(Entrant(id=f"u{n + 1}", name=name, email=f"u{n}@x.test", account_id=f"acct_{n}"))
        for contest in made:
            planned.append(
                EntryPlan(
                    user_id=f"u{n + 1}",
                    contest_id=contest.id,
                    enters_at=TUESDAY + HOUR * (1 + n % 30),
                    pay_after_s=60,
                    pays="pays",
                    roster=[f"{contest.tournament_id}g1"],
                )
            )
    itself = Recovery(by="itself", how="the same key is sent again until the answer comes", within_s=7200)
    faults = [
        FaultPlan(
            id="f1",
            fault="transfer_answer_lost",
            kind="fault",
            title="Transfer applied, answer lost",
            seam="processor",
            operation="transfers.create",
            entity="c1",
            occurrence=1,
            bite=Bite(book="processor.requests", where={"idempotency_key": "$victim", "answered": False}),
            recovery=itself,
        ),
        FaultPlan(
            id="f2",
            fault="provider_outage",
            kind="fault",
            title="Score provider is down",
            seam="provider",
            operation="poll",
            entity="t1",
            from_at=TUESDAY + 4 * DAY + 12 * HOUR,
            until_at=TUESDAY + 4 * DAY + 18 * HOUR,
            bite=Bite(book="provider.requests", where={"status": 503}),
            recovery=itself,
        ),
        FaultPlan(
            id="f3",
            fault="service_crash",
            kind="fault",
            title="Settlement daemon crashes in mid-contest",
            seam="services",
            operation="crash",
            entity="settlement",
            from_at=TUESDAY + 7 * DAY + 17 * HOUR,
            bite=Bite(book="hosts.services", where={"state": "stopped"}),
            recovery=Recovery(by="rule", how="the service is started again", within_s=900),
        ),
        FaultPlan(
            id="f4",
            fault="row_edited",
            kind="violation",
            title="A human edits a row in the database",
            seam="database",
            operation="edit",
            entity="founder:kim",
            from_at=TUESDAY + 9 * DAY,
            bite=Bite(book="database.sessions", where={"principal": "founder:kim"}),
            recovery=Recovery(by="none", how="nothing", within_s=0),
        ),
        FaultPlan(
            id="f5",
            fault="webhook_lost",
            kind="fault",
            title="Webhook lost for good",
            seam="webhook",
            operation="deliver",
            entity="c2/u1",
            occurrence=1,
            bite=Bite(book="processor.deliveries", where={"sent": False}),
            recovery=itself,
        ),
    ]
    return Plan(
        scenario="default <b>14</b> days",
        scenario_sha256="5c" * 32,
        seed=42,
        root_key="ab" * 16,
        starts_at=TUESDAY,
        absence_until_at=TUESDAY + 14 * DAY,
        recovery_until_at=TUESDAY + 18 * DAY,
        owner_capital_cents=10_000_000,
        principals=[Principal(id="founder:kim", role="founder"), Principal(id="ops:lee", role="ops")],
        tournaments=tournaments,
        contests=made,
        entrants=entrants,
        entries=planned,
        faults=faults,
    )
