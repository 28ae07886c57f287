"""Changing the hospital's policy: one officer proposes, another approves; each step is an event of the log.

A change is in force in every process at its next decision. What was approved is what was looked at: a proposal is
against one version of the policy, and where another came into force meanwhile it is proposed anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, AccessControl
from twinward.access.policy import Policy
from twinward.access.policy_rules import PLACES, checked
from twinward.access.policy_store import PolicyStore, PolicyVersion, Proposal
from twinward.access.second_officer import require_second, why
from twinward.audit.interfaces import AuditTrail
from twinward.audit.models import AccessEvent
from twinward.core.clock import Clock
from twinward.core.errors import Conflict
from twinward.core.vocabulary import Action

REASONS: Final = {
    "proposed": "an officer proposed a change of the policy",
    "approved": "a second officer approved it: the changed policy decides from now on",
    "withdrawn": "the proposed change was withdrawn",
}


@dataclass(frozen=True, slots=True)
class PolicyDesk:
    """Changes the policy in officers' names; every method is refused to whom the policy in force does not permit it.

    Attributes:
        store: where versions are.
        access: decides who may.
        trail: where each step is written, before it counts.
        clock: the node's time.
        networks: the names of networks that rules may ask for.
    """

    store: PolicyStore
    access: AccessControl
    trail: AuditTrail
    clock: Clock
    networks: Sequence[str] = PLACES

    def propose(self, context: AccessContext, text: str, reason: str) -> Proposal:
        """Propose another text.

        Raises:
            AccessDenied: the policy in force does not permit it.
            PolicyInvalid: it is none that could be in force.
            Conflict: it is what is in force already, or too many wait.
        """
        return self._propose(context, text, reason, None)

    def restore(self, context: AccessContext, version: int, reason: str) -> Proposal:
        """Propose a version that was in force before. Raises as ``propose``, and ``NotFound``."""
        self._require(context)
        return self._propose(context, self.store.version(version).text, reason, version)

    def approve(self, context: AccessContext, name: str) -> PolicyVersion:
        """Put a proposal into force, in every process at its next decision.

        Raises:
            AccessDenied: the policy in force does not permit it.
            NotFound: there is no such proposal.
            Conflict: who proposed it approves it, or another version came into force since.
        """
        self._require(context)
        approver = context.principal.id

        def settled(proposal: Proposal, newest: PolicyVersion) -> PolicyVersion:
            require_second(proposal.proposed_by, approver)
            if proposal.base != newest.sha256:
                hint = "withdraw it, look at the preview again, and propose it anew"
                raise Conflict("another policy came into force since this was proposed", hint=hint)
            checked(proposal.text, self.networks)
            detail.update({"version": str(newest.version + 1), "sha256": Policy(proposal.text).hash})
            return PolicyVersion(
                version=newest.version + 1,
                text=proposal.text,
                at_ms=self.clock.now_ms(),
                proposed_by=proposal.proposed_by,
                approved_by=approver,
                reason=proposal.reason,
                restores=proposal.restores,
            )

        detail: dict[str, str] = {"proposal": name}
        made = self.store.settle(name, settled, lambda: self._log(context, "approved", detail))
        assert made is not None  # noqa: S101 - narrows the type: ``settled`` gives a version
        return made

    def withdraw(self, context: AccessContext, name: str) -> None:
        """Take a proposal back, one's own or another officer's. Raises ``AccessDenied``, ``NotFound``."""
        self._require(context)
        self.store.settle(name, lambda *_: None, lambda: self._log(context, "withdrawn", {"proposal": name}))

    def _propose(self, context: AccessContext, text: str, reason: str, restores: int | None) -> Proposal:
        self._require(context)
        policy, said = checked(text.replace("\r\n", "\n"), self.networks), why(reason)
        base = self.store.newest().sha256
        if policy.hash == base:
            raise Conflict("this is the policy in force already")
        proposal = Proposal(
            name=secrets.token_hex(8),
            text=policy.text,
            at_ms=self.clock.now_ms(),
            proposed_by=context.principal.id,
            reason=said,
            base=base,
            restores=restores,
        )
        detail = {"proposal": proposal.name, "why": said, "sha256": policy.hash, "base": base, "text": policy.text}
        if restores is not None:
            detail["restores"] = str(restores)
        self.store.propose(proposal, lambda: self._log(context, "proposed", detail))
        return proposal

    def _require(self, context: AccessContext) -> None:
        try:
            self.access.require(context.request(Action.POLICY))
        except AccessDenied as error:
            hint = "a policy file of your own from an earlier release needs a rule for the action policy"
            error.hint = error.hint or hint
            raise

    def _log(self, context: AccessContext, step: str, detail: dict[str, str]) -> None:
        who = context.principal
        event = AccessEvent(
            at_ms=self.clock.now_ms(),
            agent=who.id,
            role=who.role,
            unit=who.unit,
            action=Action.POLICY,
            purpose=context.purpose,
            twin=None,
            categories=(),
            decision="permit",
            reason=REASONS[step],
            policy_hash=self.access.check(context.request(Action.POLICY)).policy_hash,
            consent_version=0,
            detail=(("step", step), *detail.items(), *context.detail, *who.place),
        )
        self.trail.record([event])
