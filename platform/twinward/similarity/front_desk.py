"""What vendors may know whether or not there is a cohort: what may be asked, and what is left of their allowance."""

from __future__ import annotations

from dataclasses import dataclass

from twinward.access.interfaces import Principal
from twinward.features.schema import FeatureSchema
from twinward.protocol.messages import BudgetReply
from twinward.protocol.proofs import AnswerSigner, Kind
from twinward.protocol.terms import Terms
from twinward.similarity.interfaces import QueryBudget
from twinward.similarity.offer import Offer


@dataclass(frozen=True, slots=True)
class FrontDesk:
    """Answers from the offer and the ledger, and touches no patient.

    Attributes:
        hospital: whose offer it is.
        schema: the features that count.
        offer: which modes, with which parameters.
        budget: vendors' allowances, on the ledger.
        signer: the hospital's key for answers.
    """

    hospital: str
    schema: FeatureSchema
    offer: Offer
    budget: QueryBudget
    signer: AnswerSigner

    def terms(self, epoch: int) -> Terms:
        """What may be asked, signed. Public. Raises ``ParameterError``, naming what no mode can be exact with."""
        terms = Terms(
            hospital=self.hospital,
            epoch=epoch,
            feature_schema=self.schema,
            modes=self.offer.terms(self.schema),
            minimum_count=self.offer.minimum_count,
            fingerprint=self.schema.fingerprint(),
        )
        return terms.model_copy(update={"proof": self.signer.prove(Kind.TERMS, terms, binding=terms.binding())})

    def allowance(self, principal: Principal, epoch: int) -> BudgetReply:
        """What a vendor has left. Raises ``BudgetUnavailable``: the ledger does not answer."""
        left = self.budget.remaining(principal.id, epoch)
        return BudgetReply(epoch=epoch, remaining=left, resets_at_s=self.budget.resets_at_s(epoch))
