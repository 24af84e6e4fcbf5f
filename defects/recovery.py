"""Defects of getting over it: what is tried once too seldom, and what waits for somebody who is gone."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_ENTRIES = "contest_platform/services/entries.py"
_LEASE = "contest_platform/services/settlement_lease.py"
_PAYOUTS = "contest_platform/services/payouts.py"
_REFUNDS = "contest_platform/services/refunds.py"

CATALOGUE = (
    Defect(
        "recovery.cancelled_once",
        "An intent that the processor will not cancel was taken for one that cannot be cancelled any "
        "more; it can still "
        "be paid.",
        (
            Edit(
                _ENTRIES,
                "        except ProcessorError:\n            return\n        except PortError as error:\n"
                "            unreachable.append(error)\n            return\n\n        def conclude(tx: Tx) -> None:\n",
                "        except ProcessorError as refused:\n"
                "            why = str(refused)\n"
                '            await store.transact("entries.canceled", lambda tx: payments.cancel(tx, '
                "ctx, entry_id, why))\n"
                "            return\n"
                "        except PortError as error:\n"
                "            unreachable.append(error)\n            return\n\n        def conclude(tx: Tx) -> None:\n",
            ),
        ),
        ("recovery.converged",),
        faults=(Fault("processor.intent_locked"),),
    ),
    Defect(
        "recovery.checks_are_lower_case",
        "What hosts report is brought into one form before it is stored; the remedies and the hosts keep to their own.",
        (
            Edit(
                "contest_platform/services/healing.py",
                '            "target": str(body["target"]),\n',
                '            "target": str(body["target"]).rstrip(":").lower(),\n',
            ),
        ),
        ("recovery.every_fault_bit",),
        "healing_promoted",
        (Fault("hosts.check_failed"),),
    ),
    Defect(
        "recovery.lease_of_the_dead",
        "The lease names its holder and an end that nobody looks at: whoever takes it up after a crash "
        "has another name.",
        (
            Edit(
                _LEASE,
                '    if held["expires_at"] <= tx.now:\n        epoch += 1\n'
                '    elif held["holder"] != holder:\n        return None\n',
                '    if held["holder"] != holder:\n        return None\n',
            ),
        ),
        ("recovery.converged", "lifecycle.every_contest_ends"),
        faults=(Fault("platform.lease_stale"),),
    ),
    Defect(
        "recovery.polled_by_the_day",
        "The provider bills by the request, and somebody has it asked once a day: the rest of the day is missed.",
        (Edit("contest_platform/domain/polling.py", "PERIOD_MS = 10 * MINUTE_MS\n", "PERIOD_MS = 24 * HOUR_MS\n"),),
        ("recovery.every_fault_bit", "ingestion.received_in_time"),
        faults=(Fault("provider.outage"),),
    ),
    Defect(
        "recovery.refund_given_up_after_three",
        "Three attempts were taken to be enough for a refund; the outage lasted longer, and nobody was told.",
        (
            Edit(
                _REFUNDS,
                "                \"select * from refunds where status = 'PENDING' and next_attempt_at <= :now\"\n",
                "                \"select * from refunds where status = 'PENDING' and next_attempt_at "
                '<= :now and attempts < 3"\n',
            ),
            Edit(
                _REFUNDS,
                "    select min(next_attempt_at) filter (where status = 'PENDING'), min(created_at) "
                "filter (where status = 'PENDING'),\n",
                "    select min(next_attempt_at) filter (where status = 'PENDING' and attempts < 3),\n"
                "           min(created_at) filter (where status = 'PENDING'),\n",
            ),
        ),
        ("recovery.converged",),
        scenario="default",
        faults=(Fault("processor.charge_locked"),),
    ),
    Defect(
        "recovery.retryable_wakes_nobody",
        "When the next payout is due asks for those that were not yet tried; one that is to be tried again waits until "
        "something else wakes the job.",
        (
            Edit(
                _PAYOUTS,
                '                "select min(next_attempt_at) as at from transfers where status in '
                "('PENDING', 'SUBMITTED', 'RETRYABLE')\"\n",
                '                "select min(next_attempt_at) as at from transfers where status in '
                "('PENDING', 'SUBMITTED')\"\n",
            ),
        ),
        ("recovery.converged",),
        faults=(Fault("timeouts.transfer_request_lost"),),
    ),
)
