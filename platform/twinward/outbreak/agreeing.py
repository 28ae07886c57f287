"""One hospital's part in agreeing on a period of daily counts: invited, approved, paid for; and where periods stand.

An approval is an event of the action ``study`` before anything is signed; the newest in the log has the last word. What
the hospital signs of its budget is computed from the terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twinward.access.interfaces import AccessContext, AccessControl
from twinward.core.clock import Clock
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, TwinId
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity, RoundSecret, new_private_key
from twinward.federation.approval import Decisions, digest_of
from twinward.federation.errors import BudgetExhausted, ContributionRefused, NotApproved, NotPaid
from twinward.federation.interfaces import Reservations
from twinward.federation.ledger_adapters import LedgerReservations, asked
from twinward.federation.models import COHORT, BudgetSignature, ReservedPrivacy
from twinward.federation.reservation_request import Holder, proof_of, request_of, require_proof
from twinward.outbreak.agreement import ATTEMPT, AgreedPeriod, PeriodApproval, PeriodInvitation, PeriodTerms
from twinward.outbreak.errors import ReleaseForgotten, ReleaseRefused
from twinward.outbreak.period_store import KeptPeriod, PeriodStore
from twinward_contracts.bindings import BudgetLedger, HospitalSignature
from twinward_contracts.names import name_id
from twinward_crypto import bls
from twinward_crypto.errors import CryptoError
from twinward_ledger.witness.witness import WitnessKeys

_REQUEST: Final = 0
"""A period has one request for a reservation: where others used it up, it is agreed anew under another name."""


class Conditions(Protocol):
    """Where patients' Conditions come from (``twins.read.cohorts.ConditionReader``)."""

    decided: int

    def conditions(self) -> Iterator[tuple[TwinId, list[bytes]]]:
        """Each consenting patient's, as JSON, read under a permit of its own."""
        ...


@dataclass(frozen=True)
class ReleaseParts:
    """What a release stands on.

    Attributes:
        identity: the hospital's name and study key.
        witness: its witness's keys; the BLS key is the one that the ledger knows.
        store: which periods it agreed on, what it counted, whom.
        memory: what it answered, in no backup.
        contract: the consortium's ``BudgetLedger``, through this hospital's own node.
        reservations: those that the memory reaches back to.
        decisions: what its officers approved, by its log.
        access: decides and logs.
        conditions: the reader, for events with this detail.
        reading: while it lasts patients are read for a period of this name, and the log grows by a size that does not
            tell of how many; it is told how many events there were.
        publish: has the log cosigned by a quorum of witnesses as it stands now.
        clock: says which days are over.
    """

    identity: HospitalIdentity
    witness: WitnessKeys
    store: PeriodStore
    memory: AnsweredRounds
    contract: BudgetLedger
    reservations: Reservations
    decisions: Decisions
    access: AccessControl
    conditions: Callable[[tuple[tuple[str, str], ...]], Conditions]
    reading: Callable[[str], AbstractContextManager[list[int]]]
    publish: Callable[[], object]
    clock: Clock


@dataclass(frozen=True, slots=True)
class PeriodStanding:
    """Where a period stands here.

    Attributes:
        terms: what was agreed on.
        officer, approved_at_ms: who approved, when.
        approved: whether it was not taken back since.
        reservation: what pays for it; 0 where nothing does yet.
        released: days that were released.
    """

    terms: PeriodTerms
    officer: str
    approved_at_ms: int
    approved: bool
    reservation: int
    released: int

    def shown(self) -> dict[str, Any]:
        """For programs."""
        said = self.terms.model_dump(mode="json", exclude={"code_lists"})
        standing = {"officer": self.officer, "approved": self.approved, "reservation": self.reservation}
        standing |= {"counted_here": self.terms.is_counted_here}
        released = {"released": self.released, "last_day": str(self.terms.last_day), "cost": self.terms.cost}
        return said | standing | released


class Agreeing:
    """The part. Not for several threads at once."""

    def __init__(self, parts: ReleaseParts) -> None:
        self._parts = parts
        self._hospital = parts.identity.name

    def invite(self, by: AccessContext, terms: PeriodTerms, roster: Mapping[str, bytes]) -> bytes:
        """An invitation to a period that this hospital coordinates, and whose cost its account reserves.

        Raises:
            InvitationInvalid: a hospital's key is missing or not asked for, or this hospital is not among them.
            OutbreakInvalid: the variance does not keep ε and δ.
            AccessDenied, Unavailable.
        """
        terms.require_enough_noise()
        holder = self._holder(self._parts.contract.holder)
        proof = proof_of(self._parts.identity, terms.fingerprint(), holder, _REQUEST)
        invitation = PeriodInvitation(terms, roster, self._hospital, holder.account, proof)
        content = invitation.signed(self._parts.identity)
        self._decide_study(by, "invite", terms)
        return content

    def approve(self, by: AccessContext, content: bytes) -> bytes:
        """Approve an invitation for this hospital, sign what it costs, and give it the key of its masks; a file.

        Asked the same again, it says the same again. Nothing is reserved by it.

        Raises:
            InvitationInvalid, OutbreakInvalid: it is none, not to this hospital, or keeps less than it promises.
            NotAuthentic: the coordinator did not ask for this reservation, on this consortium's ledger.
            ReleaseForgotten: it was paid for before this home knew of it.
            BudgetExhausted, AccessDenied, RoundRefused, Unavailable.
        """
        parts, invitation = self._parts, PeriodInvitation.parse(content)
        terms, period = invitation.terms, invitation.terms.fingerprint()
        invitation.require_own(parts.identity)
        terms.require_enough_noise()
        require_proof(
            invitation.proof,
            invitation.roster[invitation.coordinator],
            period,
            self._holder(invitation.account),
            _REQUEST,
        )
        request = request_of(invitation.proof)
        paid = self._ledger().of_request(request)
        if paid is not None and request not in parts.memory.signed_requests(period):
            raise forgotten(terms, sentence("it was paid for before this home knew of it"))
        left = asked(lambda: parts.contract.remaining_privacy(self._hospital, COHORT))
        if paid is None and terms.cost > left:
            raise BudgetExhausted(
                sentence(
                    "{hospital} has {left} millionths of 1/σ² left; this period costs {cost}",
                    hospital=self._hospital,
                    left=left,
                    cost=terms.cost,
                ),
                hint="agree on a smaller ε, or raise the cap: `twinward consortium propose`",
            )
        self._decide_study(by, "approve", terms, ("invitation", digest_of(content)))
        private = parts.memory.key_for(period, ATTEMPT, new_private_key()).private
        parts.memory.keep_request(period, request, ())
        parts.store.keep(period, KeptPeriod(content, by.principal.id, parts.clock.now_ms()))
        round_key = RoundSecret(parts.identity, invitation.roster, period, ATTEMPT, private).signed_key
        message = _reserve_message(parts.contract, invitation)
        budget = BudgetSignature(parts.witness.bls_public_key, bls.sign(parts.witness.bls_secret_key, message))
        return PeriodApproval(period, self._hospital, round_key, budget).signed(parts.identity)

    def invitation_of(self, period: bytes) -> bytes:
        """The invitation that was approved of a period, by its fingerprint. Raises ``NotApproved``."""
        kept = self._parts.store.period(period)
        if kept is None:
            raise NotApproved(sentence("no officer of {hospital} approved such a period", hospital=self._hospital))
        return kept.invitation

    def withdraw(self, by: AccessContext, content: bytes) -> PeriodTerms:
        """Take an approval back: nothing is released from then on. Raises ``NotApproved`` where there is none."""
        terms = PeriodInvitation.parse_kept(content).terms
        self._require_approved(terms)
        self._decide_study(by, "withdraw", terms)
        return terms

    def reserve(self, by: AccessContext, agreed: AgreedPeriod) -> int:
        """Reserve what the period costs each hospital, of all or none; the reservation. Again is no error.

        Raises:
            ReleaseRefused: another account reserves it.
            ContributionRefused: a hospital signed something else; it is named.
            BudgetExhausted, Conflict, AccessDenied, Unavailable.
        """
        parts, invitation, terms = self._parts, agreed.invitation, agreed.terms
        contract = parts.contract
        if contract.holder.lower() != invitation.account.lower():
            raise ReleaseRefused(
                f"{invitation.coordinator} reserves this period, by its account {invitation.account}",
                hint=f"hand the approvals to {invitation.coordinator}",
            )
        self._decide(by, "reserve", terms)
        request = request_of(invitation.proof)
        found = self._ledger().of_request(request)
        if found is None:
            message = _reserve_message(contract, invitation)
            by_id = {name_id(one.hospital): one for one in agreed.approvals}

            def sign(hospital_ids: Sequence[bytes], _message: bytes) -> HospitalSignature:
                made = [by_id[one] for one in hospital_ids]
                for one in made:
                    _require_signed(one, message)
                points = tuple(bls.public_key_to_eip2537(one.budget.public_key) for one in made)
                whole = bls.aggregate([one.budget.signature for one in made])
                return HospitalSignature(points, bls.signature_to_eip2537(whole))

            period = terms.fingerprint()
            asked(lambda: contract.reserve_for(period, COHORT, terms.hospitals, terms.cost, sign=sign, request=request))
            found = self._ledger().of_request(request)
        require_pays(found, self._hospital, terms)
        return 0 if found is None else found.number

    def periods(self) -> list[PeriodStanding]:
        """Every period that was approved here, the newest first. Raises ``Unavailable``."""
        return [self._standing(period, kept) for period, kept, _ in self._parts.store.periods()]

    def budget_left(self) -> int:
        """Of this hospital, in millionths of 1/σ². Raises ``Unavailable``."""
        return asked(lambda: self._parts.contract.remaining_privacy(self._hospital, COHORT))

    def _standing(self, period: bytes, kept: KeptPeriod) -> PeriodStanding:
        invitation = PeriodInvitation.parse_kept(kept.invitation)
        paid = self._ledger().of_request(request_of(invitation.proof))
        answered = self._parts.memory.newest(period)
        decided = self._parts.decisions.newest(period)
        return PeriodStanding(
            invitation.terms,
            kept.officer,
            kept.at_ms,
            approved=decided is not None and decided.approved,
            reservation=0 if paid is None else paid.number,
            released=0 if answered is None else answered.number,
        )

    def _require_approved(self, terms: PeriodTerms) -> None:
        period = terms.fingerprint()
        kept, decided = self._parts.store.period(period), self._parts.decisions.newest(period)
        approved = decided is not None and decided.approved and kept is not None
        if not approved or decided is None or kept is None or decided.invitation != digest_of(kept.invitation):
            taken_back = decided is not None and not decided.approved
            whose = {"hospital": self._hospital, "period": terms.name}
            said = (
                sentence("{hospital} took back its approval of the period {period}", **whose)
                if taken_back
                else sentence("no officer of {hospital} approved the period {period}", **whose)
            )
            raise NotApproved(
                said,
                hint="its officer approves it: `twinward outbreak approve INVITATION --as OFFICER`",
            )

    def _ledger(self) -> LedgerReservations:
        return LedgerReservations(self._parts.contract, self._hospital, self._parts.memory.signed_requests)

    def _holder(self, account: str) -> Holder:
        return Holder(self._parts.contract.chain_id, self._parts.contract.address, account)

    def _decide(self, by: AccessContext, step: str, terms: PeriodTerms, *more: tuple[str, str]) -> None:
        self._parts.access.decide(by.request(Action.OUTBREAK, detail=self._detail(step, terms, *more)))

    def _decide_study(self, by: AccessContext, step: str, terms: PeriodTerms, *more: tuple[str, str]) -> None:
        self._parts.access.decide(by.request(Action.STUDY, detail=self._detail(step, terms, *more)))

    def _detail(self, step: str, terms: PeriodTerms, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        what = (("study", terms.name), ("fingerprint", terms.fingerprint().hex()))
        return (*what, ("step", step), ("hospital", self._hospital), *more)


def _reserve_message(contract: BudgetLedger, invitation: PeriodInvitation) -> bytes:
    terms, request = invitation.terms, request_of(invitation.proof)
    holder = invitation.account
    return contract.reserve_message(request, terms.fingerprint(), COHORT, terms.hospitals, terms.cost, holder=holder)


def _require_signed(approval: PeriodApproval, message: bytes) -> None:
    try:
        bls.verify(approval.budget.public_key, message, approval.budget.signature)
    except CryptoError:
        raise ContributionRefused(
            f"{approval.hospital} signed something else of its budget than this period's cost",
            hint="is its node on the same chain, with the same consortium's contracts?",
        ) from None


def require_pays(found: ReservedPrivacy | None, hospital: str, terms: PeriodTerms) -> None:
    """Raise ``NotPaid`` unless this reservation pays for exactly these terms, at all of their hospitals."""
    named = {name_id(name) for name in terms.hospitals}
    if found is None:
        why = "no reservation that it signed names this period"
    elif found.study != terms.fingerprint() or found.cohort != name_id(COHORT) or found.hospitals != named:
        why = f"reservation {found.number} is of another period, cohort or other hospitals"
    elif not found.live:
        why = f"reservation {found.number} is settled"
    elif found.micros < terms.cost:
        why = f"reservation {found.number} is of {found.micros} millionths; it costs {terms.cost}"
    else:
        return
    raise NotPaid(
        f"{hospital} releases nothing that is not paid for: {why}",
        hint="`twinward outbreak reserve` at the hospital that invited, with every hospital's approval",
    )


def forgotten(terms: PeriodTerms, why: str) -> ReleaseForgotten:
    """The error for a home that does not know what it released."""
    return ReleaseForgotten(
        sentence("nothing more is released of {period} here: {why}", period=terms.name, why=why),
        hint="a second answer would tell more than was paid for; agree on a new period, for the days that follow",
    )
