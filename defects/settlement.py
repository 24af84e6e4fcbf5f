"""Defects of settlement: when it may begin, what a pack is ended on, what is left behind, and the daemon's life."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_SETTLEMENT = "contest_platform/services/settlement.py"
_SCHEMA = "contest_platform/store/schema.sql"
_LINK_TRIGGER = Edit(
    _SCHEMA,
    "create trigger settlement_packs_execute_linked before update of status on settlement_packs\n"
    "when new.status = 'EXECUTED' and not exists (select 1 from outcome_pack_links where pack_id = new.pack_id)\n"
    "begin select raise(abort, 'a pack is executed only through its outcome link'); end;\n\n",
    "",
)
_NO_LINK = Fault("database.row_missed", params={"what": "the link of the last"})

CATALOGUE = (
    Defect(
        "settlement.any_full_poll_will_do",
        "It is asked whether the provider has told everything again, and not whether that was after this cut-off.",
        (
            Edit(
                _SETTLEMENT,
                ' and tells_all(orjson.loads(row["value"])["begun_at"], contest["cutoff_at"])\n',
                "\n",
            ),
        ),
        ("settlement.waits_for_official_scores",),
        "two_daemons",
    ),
    Defect(
        "settlement.busy_is_impossible",
        "A settlement that the database turns away is given up like one whose scores make no sense.",
        (
            Edit(
                _SETTLEMENT,
                "from contest_platform.ports import Ports, Row, StoreDamaged, Tx\n",
                "from contest_platform.ports import PortError, Ports, Row, Tx\n",
            ),
            Edit(
                _SETTLEMENT,
                "        except (ValueError, StoreDamaged) as error:\n",
                "        except (ValueError, PortError) as error:\n",
            ),
        ),
        ("lifecycle.states_in_order", "lifecycle.every_contest_ends", "settlement.nothing_left_behind"),
        faults=(Fault("database.step_cancelled", params={"step": "settlement.execute"}),),
    ),
    Defect(
        "settlement.does_not_wait",
        "A contest that is complete is one whose scores are complete, and is settled there and then.",
        (
            Edit(
                _SETTLEMENT,
                "    where c.status = 'COMPLETE' and c.cutoff_at <= :now\n",
                "    where c.status = 'COMPLETE' and c.completed_at <= :now\n",
            ),
            Edit(
                _SETTLEMENT,
                ' and tells_all(orjson.loads(row["value"])["begun_at"], contest["cutoff_at"])\n',
                ' or contest["status"] == "COMPLETE"\n',
            ),
        ),
        ("settlement.waits_for_official_scores", "lifecycle.on_time"),
    ),
    Defect(
        "settlement.evidence_of_the_moment",
        "The instant went into what the evidence is hashed over, and nobody can make that hash again.",
        (
            Edit(
                _SETTLEMENT,
                '            "contest_id": contest_id,\n            "outcome_id": outcome_id,\n',
                '            "contest_id": contest_id,\n            "outcome_id": outcome_id,\n'
                '            "settled_at": tx.now,\n',
            ),
        ),
        ("settlement.evidence_recomputes",),
    ),
    Defect(
        "settlement.failures_unlogged",
        "The settlement log was made for what was executed; whoever failed has his post-mortem, it was said.",
        (
            Edit(
                _SETTLEMENT,
                '        audit.insert(tx, ctx, "outcome_settlement_log", log, code)\n'
                '        if status == "EXECUTED":\n',
                '        if status == "EXECUTED":\n'
                '            audit.insert(tx, ctx, "outcome_settlement_log", log, code)\n',
            ),
        ),
        ("settlement.evidence_recomputes",),
        faults=(_NO_LINK,),
    ),
    Defect(
        "settlement.first_page_is_all",
        "Packs are ended a page at a time, and the loop over the pages went with the look at what is left.",
        (
            Edit(
                _SETTLEMENT,
                '            while await transact("settlement.execute", lambda tx: self._execute(tx, contest)):\n'
                "                pass\n",
                '            await transact("settlement.execute", lambda tx: self._execute(tx, contest))\n',
            ),
            Edit(
                _SETTLEMENT,
                "        if left is not None or self._hold(tx, contest_id) is None:\n",
                "        if self._hold(tx, contest_id) is None:\n",
            ),
        ),
        ("settlement.packs_are_terminal", "settlement.nothing_left_behind"),
        "default",
    ),
    Defect(
        "settlement.heartbeat_of_the_unit",
        "The heartbeat is kept under the name of the unit, so that a restarted daemon finds its row again.",
        (
            Edit(
                _SETTLEMENT,
                '        self._heartbeat = daemon_health.Heartbeat("settlement", self._holder)\n',
                '        self._heartbeat = daemon_health.Heartbeat("settlement", f"{ACTOR}:daemon")\n',
            ),
        ),
        ("settlement.daemons_beat",),
    ),
    Defect(
        "settlement.idle_without_heartbeat",
        "A daemon with nothing to do has nothing to say: its last heartbeat promises a look that it never tells of.",
        (
            Edit(
                "contest_platform/services/daemon_health.py",
                "        if not self.is_news(due_at, tx.now):\n            return\n",
                "        if due_at is None or not self.is_news(due_at, tx.now):\n            return\n",
            ),
        ),
        ("settlement.daemons_beat",),
    ),
    Defect(
        "settlement.lease_in_microseconds",
        "The length of the lease was multiplied by a thousand twice: a daemon that dies holds it for a week.",
        (
            Edit(
                "contest_platform/services/settlement_lease.py",
                "LEASE_MS = 10 * MINUTE_MS\n",
                "LEASE_MS = 10 * MINUTE_MS * 1000\n",
            ),
        ),
        ("settlement.nothing_left_behind",),
        "default",
    ),
    Defect(
        "settlement.links_by_order",
        "Packs and outcomes are linked as they come, and the ids of the one sort otherwise than those of the other.",
        (
            Edit(
                _SETTLEMENT,
                '            link = {"pack_id": pack["pack_id"], "outcome_id": outcome["outcome_id"], '
                '"linked_at": tx.now}\n',
                '            packs = sorted(self._ports.ids.new("pack", row["entry_id"]) for row in rows)\n'
                '            place = [row["entry_id"] for row in rows].index(outcome["entry_id"])\n'
                '            link = {"pack_id": packs[place], "outcome_id": outcome["outcome_id"], "linked_at": '
                "tx.now}\n",
            ),
            Edit(
                _SETTLEMENT,
                '        elif pack["outcome_of"] != pack["entry_id"]:\n',
                '        elif pack["outcome_of"] is None:\n',
            ),
        ),
        ("settlement.executed_packs_are_linked", "payouts.right_people_right_amounts"),
    ),
    Defect(
        "settlement.losers_unlinked",
        "Only what wins a prize was linked to its outcome, and the trigger that objected was dropped.",
        (
            _LINK_TRIGGER,
            Edit(
                _SETTLEMENT,
                '            audit.insert(tx, ctx, "outcome_pack_links", link, "the pack\'s outcome")\n',
                '            if outcome["prize_cents"]:\n'
                '                audit.insert(tx, ctx, "outcome_pack_links", link, "the pack\'s outcome")\n',
            ),
            Edit(
                _SETTLEMENT,
                "            left join outcomes o on o.outcome_id = l.outcome_id\n",
                "            left join outcomes o on o.entry_id = p.entry_id\n",
            ),
        ),
        ("settlement.executed_packs_are_linked",),
    ),
    Defect(
        "settlement.post_mortem_forgotten",
        "What cannot be executed is set aside, and why is written nowhere that anybody looks.",
        (
            Edit(
                _SETTLEMENT,
                '            audit.insert(tx, ctx, "post_mortem_settlement", post_mortem, code)\n',
                '            tx.memo["settlement.post_mortem"] = post_mortem\n',
            ),
        ),
        ("settlement.executed_packs_are_linked",),
        faults=(_NO_LINK,),
    ),
    Defect(
        "settlement.run_never_ended",
        "The record of a run is opened before the work, and only a failure closes it.",
        (
            Edit(
                _SETTLEMENT,
                '        settlement_runs.end(tx, ctx, self._ports.ids, contest_id, {"status": "SUCCEEDED"}, reason)\n',
                "",
            ),
        ),
        ("settlement.nothing_left_behind",),
    ),
    Defect(
        "settlement.scores_of_now",
        "A contest is settled on what is known as it is settled, whatever was published after its cut-off.",
        (
            Edit(
                _SETTLEMENT,
                '        event = contest["tournament_id"], contest["cutoff_at"]\n',
                '        event = contest["tournament_id"], tx.now\n',
            ),
        ),
        ("settlement.evidence_recomputes",),
        faults=(Fault("corrections.after_cutoff"),),
    ),
    Defect(
        "settlement.unpaid_entries_settled",
        "Every entry that has not been refunded gets a pack, those that were never paid among them.",
        (
            Edit(
                _SETTLEMENT,
                "            \"select entry_id, roster from entries where contest_id = :c and status = 'VALID' "
                'order by entry_id",\n',
                "            \"select entry_id, roster from entries where contest_id = :c and status <> 'REFUNDED' "
                'order by entry_id",\n',
            ),
        ),
        ("settlement.packs_are_terminal", "ledger.pool_is_conserved"),
    ),
)
