"""Defects of how hosts are healed: rules, orders, second looks, and what is learnt from ops."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_HEALING = "contest_platform/services/healing.py"
_ORDERS = "contest_platform/services/healing_orders.py"
_RULES = "contest_platform/services/healing_rules.py"

CATALOGUE = (
    Defect(
        "healing.begun_is_left_alone",
        "So that no command is sent twice, an order that this process has begun is not taken up again; nobody thought "
        "of one that a host did not answer.",
        (
            Edit(
                _ORDERS,
                '        """Of the hosts with open orders that have been spoken to: whether they answered."""\n',
                '        """Of the hosts with open orders that have been spoken to: whether they answered."""\n'
                "        self._begun: set[str] = set()\n",
            ),
            Edit(
                _ORDERS,
                '            if order["status"] in OPEN:\n',
                '            if order["order_id"] in self._begun:\n'
                "                continue\n"
                '            if order["status"] in OPEN:\n'
                '                self._begun.add(order["order_id"])\n',
            ),
        ),
        ("recovery.orders_end", "healing.orders_are_over"),
        faults=(Fault("winrm.refused"),),
    ),
    Defect(
        "healing.candidates_are_served",
        "Which rule answers a check is looked up without its status: what was tried once at L2 is a rule from then on.",
        (
            Edit(
                _RULES,
                '        "select * from healing_rules where os = :os and check_name = :check_name and '
                "status = 'ACTIVE'\"\n",
                '        "select * from healing_rules where os = :os and check_name = :check_name"\n',
            ),
        ),
        ("alerts.incidents_raised", "runbooks.faults_recovered"),
        "healing_promoted",
        None,
    ),
    Defect(
        "healing.delivered_is_forgotten",
        "The query of what is to be carried out asks for orders that were issued; those that were delivered and got "
        "no further are in no list any more.",
        (
            Edit(
                _ORDERS,
                "    where o.{OPEN_SQL} or o.verify_at <= :now order by o.issued_at, o.order_id\n",
                "    where o.status = 'ISSUED' or o.verify_at <= :now order by o.issued_at, o.order_id\n",
            ),
        ),
        ("healing.orders_are_over", "recovery.orders_end", "recovery.converged"),
        faults=(Fault("winrm.answer_lost"),),
    ),
    Defect(
        "healing.ends_in_vain_untold",
        "Telemetry is written where an order completes, and was forgotten where one ends in vain.",
        (
            Edit(
                _ORDERS,
                '        self._tell(tx, order, "order", status, detail)\n',
                "",
            ),
        ),
        ("healing.ids_resolve",),
        "healing_promoted",
        (Fault("daemons.killed"),),
    ),
    Defect(
        "healing.helped_is_counted_at_l1",
        "The count that makes a rule of a remedy was copied from the one for orders, and counts what orders did; a "
        "candidate has none.",
        (
            Edit(
                _RULES,
                '        "select count(*) from healing_telemetry where rule_id = :rule_id and level = '
                "'L2' and outcome = 'WELL'\",\n",
                '        "select count(*) from healing_telemetry where rule_id = :rule_id and level = '
                "'L1' and outcome = 'WELL'\",\n",
            ),
        ),
        ("healing.rules_are_earned",),
        "healing_promoted",
        None,
    ),
    Defect(
        "healing.incident_left_open",
        "An order that has healed ends, and its incident is left for the host's agent to take back, which never does.",
        (
            Edit(
                _ORDERS,
                '        changes = {"status": "RESOLVED", "resolved_at": tx.now}\n'
                '        audit.update(tx, ctx, "incidents", key, changes, "a probe saw it well")\n',
                "",
            ),
            Edit(
                _ORDERS,
                '        ctx, key = Context(ACTOR, order["incident_id"]), {"incident_id": order["incident_id"]}\n',
                "",
            ),
        ),
        ("healing.orders_are_over", "recovery.converged"),
        faults=(Fault("platform.crash"),),
    ),
    Defect(
        "healing.promoted_after_four",
        "The threshold is compared with what had helped before this time, which has been counted already.",
        (
            Edit(
                _RULES,
                "    if times < PROMOTED_AT:\n",
                "    if times + 1 < PROMOTED_AT:\n",
            ),
        ),
        ("healing.rules_are_earned",),
        "healing_promoted",
        None,
    ),
    Defect(
        "healing.registry_value_comes_back",
        "The remedy removes what starts with the host, and not the task that writes it there again at each start.",
        (
            Edit(
                _RULES,
                '          "Unregister-ScheduledTask -TaskName {target} -Confirm:$false -ErrorAction Ignore",\n',
                "",
            ),
        ),
        ("healing.drifts_healed",),
        faults=(Fault("hosts.ws_registry_run"),),
    ),
    Defect(
        "healing.rule_id_cut_in_telemetry",
        "The export of telemetry took sixteen characters for an id, and so does its table since.",
        (
            Edit(
                _RULES,
                '        **about, "at": tx.now, "level": level, "rule_id": rule.id, "runbook_id": rule.runbook_id,\n',
                '        **about, "at": tx.now, "level": level, "rule_id": rule.id[:16], "runbook_id": '
                "rule.runbook_id,\n",
            ),
        ),
        ("healing.ids_resolve",),
        faults=(Fault("platform.crash"),),
    ),
    Defect(
        "healing.runbook_id_cut",
        "The ids of runbooks were given a column of twenty characters, and what is longer is cut.",
        (
            Edit(
                _RULES,
                '        "runbook_id": rule.runbook_id, "probe": canonical(rule.probe), "well": rule.well,\n',
                '        "runbook_id": rule.runbook_id[:20], "probe": canonical(rule.probe), "well": rule.well,\n',
            ),
        ),
        ("healing.ids_resolve",),
        "healing_promoted",
        (Fault("platform.crash"),),
    ),
    Defect(
        "healing.second_look_at_our_own_books",
        "Whether what was healed is still well is read off the incident, which the platform itself has closed.",
        (
            Edit(
                _ORDERS,
                "        try:\n"
                "            well = await self.probe(order, rule)\n"
                "        except (PortError, HopelessError) as error:\n"
                "            why = code_of(error) if isinstance(error, PortError) else str(error)\n"
                '            await store.transact("healing.unseen", lambda tx: self._unseen(tx, order, why))\n'
                "            return\n",
                '        well = order["incident_status"] == "RESOLVED"\n',
            ),
        ),
        ("healing.looked_at_again",),
        faults=(Fault("platform.crash"),),
    ),
    Defect(
        "healing.second_look_never_due",
        "When the job has work was written before orders were looked at again: without an open one it sleeps.",
        (
            Edit(
                _HEALING,
                "        due: int | None = now if orders else verify_at\n",
                "        due: int | None = now if orders else None\n",
            ),
        ),
        ("healing.looked_at_again",),
        faults=(Fault("platform.crash"),),
    ),
    Defect(
        "healing.sshd_not_reloaded",
        "The remedy puts the file of the SSH service right and leaves it unread; the service goes on as it was.",
        (
            Edit(
                _RULES,
                '          "sed -i s/^{target}.*/{target}=no/ /etc/ssh/sshd_config", "systemctl reload ssh"),\n',
                '          "sed -i s/^{target}.*/{target}=no/ /etc/ssh/sshd_config"),\n',
            ),
        ),
        ("healing.drifts_healed", "recovery.converged"),
        faults=(Fault("hosts.ssh_root_login"),),
    ),
    Defect(
        "healing.undelivered_never_expires",
        "Only what was delivered was taken to be able to come too late: an order for a host that never "
        "answers lives on.",
        (
            Edit(
                _ORDERS,
                '        if self._ports.runtime.now() >= order["expires_at"]:\n',
                '        if order["delivered_at"] is not None and self._ports.runtime.now() >= order["expires_at"]:\n',
            ),
        ),
        ("recovery.orders_end",),
        "healing_promoted",
        (Fault("daemons.killed"),),
    ),
    Defect(
        "healing.unmatched_wakes_nobody",
        "An incident without a rule has no order, so the notice that there is something new went with the order; what "
        "monitoring reads is told when the job wakes next.",
        (
            Edit(
                _HEALING,
                '                audit.update(tx, ctx, "incidents", key, {"level": "L2"}, "no L1 rule")\n'
                '            tx.notify("healing")\n',
                '                audit.update(tx, ctx, "incidents", key, {"level": "L2"}, "no L1 rule")\n',
            ),
        ),
        ("alerts.incidents_raised", "runbooks.faults_recovered"),
        "healing_promoted",
        (Fault("hosts.check_failed"),),
    ),
)
