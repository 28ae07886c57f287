"""What a hospital's daemon answers: signed requests of studies that its officer approved, and nothing else.

The order of checks of one message: that it has the parts of a request, that a protocol of its fingerprint was approved
here, that the approved coordinator signed it for this hospital, that it is approved now; but for what ends a study and
lets nothing leave. Only then is the hospital's site asked, which looks at the ledger, the patients' consent and its
memory of answers by itself. Every answer is signed, a
refusal too. After kill -9 the next message finds everything where it was: what a site promised is in its memory of
answers, and it joins its study again by itself.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from twinward.core.errors import TwinwardError, Unavailable
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.approval import Approval, Approvals
from twinward.federation.interfaces import OwnBudget
from twinward.federation.site import HospitalSite
from twinward.federation.site_envelope import Request, answer, greet, is_greeting
from twinward.federation.site_messages import PACE_S, answered, ends_a_study, failed

MOST_STUDIES: Final = 2
"""Whose stays are held at once; the one asked least recently is read again when it is asked again."""

_LOG: Final = logging.getLogger(__name__)


class StudyDesk:
    """Answers for one hospital. Not for several threads at once.

    Args:
        identity: its study key.
        approvals: what its officer approved.
        open_site: the site for an approved study, which has not joined.
        own_budget: the hospital's own budget as an approved study may use it; without one it signs nothing of it.
        pace_s: see ``site_messages.answered``.
    """

    def __init__(
        self,
        identity: HospitalIdentity,
        approvals: Approvals,
        open_site: Callable[[Approval], HospitalSite],
        *,
        own_budget: Callable[[Approval], OwnBudget] | None = None,
        pace_s: float = PACE_S,
    ) -> None:
        self._identity = identity
        self._approvals = approvals
        self._open_site = open_site
        self._own_budget = own_budget
        self._pace_s = pace_s
        self._sites: OrderedDict[bytes, HospitalSite] = OrderedDict()

    def answer(self, message: bytes) -> bytes:
        """The signed answer to a message, whoever sent it. Raises nothing."""
        if is_greeting(message):
            return greet(self._identity, message)
        try:
            body = self._said(message)
        except TwinwardError as error:
            body = failed(error)
        except Exception as error:  # noqa: BLE001 - one defect must not end the daemon, nor its words leave the hospital
            _LOG.error("a request could not be answered: %s", type(error).__name__)
            hint = "see that hospital's own log"
            body = failed(Unavailable(f"{self._identity.name} cannot answer this", hint=hint))
        return answer(self._identity, message, body)

    def close(self) -> None:
        """Forget all stays."""
        while self._sites:
            self._sites.popitem()[1].close()

    def _said(self, message: bytes) -> bytes:
        request = Request.split(message)
        approval = self._approvals.last(request.study)
        invitation = approval.invitation
        body = request.verified(invitation.roster[invitation.coordinator], self._identity.name)
        if not ends_a_study(body):
            self._approvals.of(request.study)
        budget = None if self._own_budget is None else self._own_budget(approval)
        return answered(self._site(approval), body, pace_s=self._pace_s, only=invitation.study, budget=budget)

    def _site(self, approval: Approval) -> HospitalSite:
        fingerprint = approval.invitation.study.fingerprint()
        if fingerprint not in self._sites:
            self._sites[fingerprint] = self._open_site(approval)
        self._sites.move_to_end(fingerprint)
        while len(self._sites) > MOST_STUDIES:
            self._sites.popitem(last=False)[1].close()
        return self._sites[fingerprint]
