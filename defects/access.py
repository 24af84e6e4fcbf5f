"""Defects of access: who is let in, whom it is put on record of, and what is believed that comes from outside."""

from __future__ import annotations

from defects.model import Defect, Edit, Fault

_ACCESS = "contest_platform/access.py"
_ACTING = "contest_platform/admin/acting.py"
_BATCHES = "contest_platform/services/ingestion_batches.py"
_PAYOUTS = "contest_platform/services/payouts.py"
_SCORE_AUDIT = "contest_platform/services/score_audit.py"
_UNITS = "contest_platform/units.py"
_WEBHOOKS = "contest_platform/services/webhooks.py"
_IDENTITY = "simulator/actors/identity.py"
_WORLD = "simulator/world.py"

_DENIED = """\
        except DeniedError as denied:
            await self._log(request, access, denied.principal, False, denied.reason)
            raise
"""
_ASKED = """\
            if access == "admin":
                await self._introspect(claims)
        except DeniedError as denied:
"""
_LET_IN = """\
        if access == "admin":
            await self._log(request, access, claims.principal, True, "authenticated")
        return claims.principal
"""
_WHY = """\
        reason = self.given.get("reason")
        return f"runbook step {self.step}" + (f": {reason}" if reason else "")
"""
_APPEND = """\
        def append(tx: Tx) -> None:
            last = tx.one("select max(n) as n from access_log")
"""
_PROCESSOR = "            processor=ProcessorWire(self, self.processor, PROCESSOR_CALLER, guard),\n"
_PROBED = (Fault("violations.revoked_probe"),)

CATALOGUE = (
    Defect(
        "access.act_is_not_audited",
        "What ops does is audited by the service that does it, so the row of the request itself was saved.",
        (
            Edit(
                _ACTING,
                '        audit.append(tx, ctx, f"ops.{self.name}", f"admin{request.path}", after=act.given,'
                " reason=act.why)\n",
                "",
            ),
        ),
        ("absence.acts_in_steps",),
        "operated",
    ),
    Defect(
        "access.act_without_its_execution",
        "Rows of what ops does are collected under one word, and nobody can tell to which execution they belong.",
        (
            Edit(
                _ACTING,
                '        ctx = Context(principal, execution_id or "runbooks")\n',
                '        ctx = Context(principal, "runbooks")\n',
            ),
        ),
        ("absence.changes_trace_to_the_system", "absence.acts_in_steps"),
        "operated",
    ),
    Defect(
        "access.act_without_its_step",
        "The reason that ops gives takes the place of the step in which it acts.",
        (Edit(_ACTING, _WHY, '        return str(self.given.get("reason") or "done by ops")\n'),),
        ("absence.acts_in_steps",),
        "operated",
    ),
    Defect(
        "access.daemon_as_owner",
        "On a bad day a trigger refused the daemon, so it was given the login of the schema's owner, and kept it.",
        (
            Edit(
                _UNITS,
                '        Unit("settlement", "settlement", False, (SettlementService,)),\n',
                '        Unit("settlement", "owner", False, (SettlementService,)),\n',
            ),
        ),
        ("absence.database_sessions",),
    ),
    Defect(
        "access.decision_holds_for_everybody",
        "What the identity provider said is remembered for a day, by the kind of access and not by the token.",
        (
            Edit(
                _ACCESS,
                _ASKED,
                """\
            if access == "admin" and self._ports.runtime.now() >= self._active_until:
                await self._introspect(claims)
                self._active_until = self._ports.runtime.now() + 86_400_000
        except DeniedError as denied:
""",
            ),
            Edit(
                _ACCESS,
                "        self._error_rate = 0.0\n",
                "        self._error_rate = 0.0\n        self._active_until = 0\n",
            ),
        ),
        ("absence.access_log",),
        "operated",
        _PROBED,
    ),
    Defect(
        "access.denials_are_not_logged",
        "Only what is forbidden is logged: a token that is worth nothing was taken for a mistake of the caller's.",
        (
            Edit(
                _ACCESS,
                _DENIED,
                """\
        except DeniedError as denied:
            if denied.status == 403:
                await self._log(request, access, denied.principal, False, denied.reason)
            raise
""",
            ),
        ),
        ("absence.denials_recorded", "absence.revocation_probed"),
    ),
    Defect(
        "access.denied_is_anonymous",
        "Who is denied counts as unknown, so the log does not say who he was.",
        (Edit(_ACCESS, _DENIED, _DENIED.replace("denied.principal", "ANONYMOUS")),),
        ("absence.revocation_probed", "absence.denials_recorded"),
    ),
    Defect(
        "access.founder_is_not_on_the_list",
        "Access is revoked by a list of who can deploy, on which the founder is not. (The identity provider's.)",
        (Edit(_IDENTITY, 'ABSENT = ("founder", "engineer")\n', 'ABSENT = ("engineer",)\n'),),
        ("absence.identity", "absence.access_log"),
        faults=_PROBED,
    ),
    Defect(
        "access.index_made_on_the_way",
        "A service makes the index that it was slow without, in production and past every migration.",
        (
            Edit(
                _SCORE_AUDIT,
                "    replays: dict[str, scores.Replay] = {}\n",
                "    replays: dict[str, scores.Replay] = {}\n"
                '    tx.run("create index if not exists receipts_by_hole on ingestion_receipts (golfer_id, hole)")\n',
            ),
        ),
        ("absence.fingerprints_constant",),
    ),
    Defect(
        "access.ingestion_as_owner",
        "Ingestion once made its own tables, and has had the login of the schema's owner ever since.",
        (
            Edit(
                _UNITS,
                '        Unit("ingestion", "ingestion", False, (IngestionService, ScoreAuditService)),\n',
                '        Unit("ingestion", "owner", False, (IngestionService, ScoreAuditService)),\n',
            ),
        ),
        ("absence.database_sessions",),
    ),
    Defect(
        "access.key_of_a_founder",
        "The platform was set up with the key that the founder had at hand. (A defect of the deployment.)",
        (Edit(_WORLD, _PROCESSOR, _PROCESSOR.replace("PROCESSOR_CALLER", '"founder:key"')),),
        ("absence.processor_dashboard",),
    ),
    Defect(
        "access.key_of_who_started_it",
        "Started again, the app reads the key that an engineer left on its host. (A defect of the deployment.)",
        (
            Edit(
                _WORLD,
                _PROCESSOR,
                _PROCESSOR.replace(
                    "PROCESSOR_CALLER", 'PROCESSOR_CALLER if process.life.number == 1 else "engineer:key"'
                ),
            ),
        ),
        ("absence.processor_dashboard",),
        faults=(Fault("platform.crash_at", params={"unit": "app", "moment": "lock"}),),
    ),
    Defect(
        "access.let_in_before_asked",
        "Who is let in is logged as his signature is verified, before the identity provider has been asked.",
        (
            Edit(
                _ACCESS,
                _ASKED,
                """\
            if access == "admin":
                await self._log(request, access, claims.principal, True, "authenticated")
                await self._introspect(claims)
        except DeniedError as denied:
""",
            ),
            Edit(_ACCESS, _LET_IN, "        return claims.principal\n"),
        ),
        ("absence.access_log",),
    ),
    Defect(
        "access.once_a_minute_is_enough",
        "The log grew, and the same caller is written down at most once a minute.",
        (
            Edit(
                _ACCESS,
                _APPEND,
                """\
        def append(tx: Tx) -> None:
            known = {"who": principal, "since": tx.now - 60_000}
            if allowed and tx.one("select 1 from access_log where principal = :who and at > :since", known):
                return
            last = tx.one("select max(n) as n from access_log")
""",
            ),
        ),
        ("absence.calls_on_record",),
        "operated",
    ),
    Defect(
        "access.reads_are_not_logged",
        "Who only reads changes nothing, so his calls were left out of the access log.",
        (Edit(_ACCESS, _LET_IN, _LET_IN.replace('"admin":', '"admin" and request.method != "GET":')),),
        ("absence.calls_on_record",),
        "operated",
    ),
    Defect(
        "access.refused_webhook_leaves_no_trace",
        "A webhook that is not believed is answered 400, and that was all.",
        (Edit(_WEBHOOKS, '            await self._ports.store.transact("webhooks.refuse", refuse)\n', ""),),
        ("absence.forgeries_refused",),
        "calm",
        (Fault("endpoint.forged_signature"),),
    ),
    Defect(
        "access.revocation_wears_off",
        "What is revoked is kept for a day, and then the token is good again. (The identity provider's.)",
        (
            Edit(
                _IDENTITY,
                """\
        if credential.revoked:
            return Introspection(False, credential.principal, "revoked")
""",
                """\
        if credential.revoked and self._world.runtime.now() < self._world.plan.starts_at + DAY_MS:
            return Introspection(False, credential.principal, "revoked")
""",
            ),
            Edit(
                _IDENTITY,
                "LOGIN_TRIES = 3\n",
                "LOGIN_TRIES = 3\nDAY_MS = 86_400_000\n",
            ),
        ),
        ("absence.identity", "absence.access_log"),
        faults=_PROBED,
    ),
    Defect(
        "access.service_by_its_bare_name",
        "A service signs what it does with the name under which it logs, and not with its principal.",
        (Edit(_PAYOUTS, 'ACTOR = "system:payouts"\n', 'ACTOR = "payouts"\n'),),
        ("absence.changes_trace_to_the_system",),
    ),
    Defect(
        "access.signatures_never_age",
        "Webhooks were refused while a clock was wrong, and the check of a signature's age was taken out.",
        (
            Edit(
                _WEBHOOKS,
                """\
    if age_ms > TOLERANCE_MS:
        return "signed too long ago"
""",
                "",
            ),
        ),
        ("absence.forgeries_refused",),
        faults=(Fault("endpoint.stale_signature"),),
    ),
    Defect(
        "access.silence_is_consent",
        "The identity provider must not be able to stop ops: who cannot be asked about is let in by his signature.",
        (
            Edit(
                _ACCESS,
                """\
                if not tries_left:
                    raise DeniedError(401, claims.principal, f"{UNREACHABLE}: {error.code}") from error
""",
                """\
                return
""",
            ),
        ),
        ("absence.access_log",),
        faults=(Fault("timeouts.auth"),),
    ),
    Defect(
        "access.trigger_dropped_for_a_repair",
        "A repair of receipts needed their trigger gone, and the line that drops it has stayed.",
        (
            Edit(
                _BATCHES,
                '    tx.insert("ingestion_batches", batch)\n',
                '    tx.run("drop trigger if exists ingestion_receipts_refuses_update")\n'
                '    tx.insert("ingestion_batches", batch)\n',
            ),
        ),
        ("absence.fingerprints_constant",),
    ),
    Defect(
        "access.unsigned_webhook_is_ours",
        "A webhook without a signature was what our own tests sent, and so it is let through.",
        (
            Edit(
                _WEBHOOKS,
                '    pairs = [item.partition("=")[::2] for item in value.split(",")]\n',
                "    if not value:\n        return None\n"
                '    pairs = [item.partition("=")[::2] for item in value.split(",")]\n',
            ),
        ),
        ("absence.forgeries_refused",),
        "calm",
        (Fault("endpoint.forged_signature"),),
    ),
)
