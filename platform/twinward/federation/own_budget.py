"""What a hospital signs of its own privacy budget: by its own key, in its own daemon, by its own look at the ledger.

The order of checks of a reservation: the coordinator that the officer approved made the request, for the account that
will hold it; no reservation of this study names this hospital; no other request was signed that may still be used;
the budget reaches. What it costs is computed from the protocol. The request is on disk before it is signed, so that
whatever ends the process, a hospital's budget is reserved once for a study.
"""

from __future__ import annotations

from twinward.core.errors import Conflict
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.errors import BudgetExhausted, NotPaid
from twinward.federation.ledger_adapters import LedgerReservations, asked
from twinward.federation.models import COHORT, BudgetSignature, ReservedPrivacy
from twinward.federation.privacy.accountant import cost_of
from twinward.federation.reservation_request import Holder, request_of, require_proof
from twinward.federation.study import StudyProtocol
from twinward_contracts.bindings import BudgetLedger
from twinward_crypto import bls
from twinward_ledger.witness.witness import WitnessKeys


class LedgerOwnBudget:
    """Implements ``OwnBudget``, and ``Reservations`` as this hospital sees them.

    Args:
        hospital: its name on the ledger.
        contract: the consortium's ``BudgetLedger``, through this hospital's own node.
        keys: its witness's; the BLS key is the one that the ledger knows.
        memory: what it signed, which outlives the process.
        coordinator: the public study key of who runs the study.
    """

    def __init__(
        self, hospital: str, contract: BudgetLedger, keys: WitnessKeys, memory: AnsweredRounds, coordinator: bytes
    ) -> None:
        self._hospital = hospital
        self._contract = contract
        self._keys = keys
        self._memory = memory
        self._coordinator = coordinator
        self._reservations = LedgerReservations(contract, hospital, memory.signed_requests)

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        """What the ledger holds for a protocol, with this hospital's signature. Raises ``Unavailable``."""
        return self._reservations.of_study(fingerprint)

    def sign_reservation(self, study: StudyProtocol, number: int, proof: bytes, account: str) -> BudgetSignature:
        """Sign that an account reserves what the protocol costs. Asked the same again, it says the same again.

        Raises:
            NotAuthentic: the approved coordinator did not ask for it.
            Conflict: this study was reserved before.
            RoundRefused: another request of this study was signed, and may still be used.
            BudgetExhausted: this hospital's budget does not reach.
            Unavailable: the chain or the memory does not answer; nothing was signed.
        """
        fingerprint = study.fingerprint()
        holder = Holder(self._contract.chain_id, self._contract.address, account)
        require_proof(proof, self._coordinator, fingerprint, holder, number)
        request = request_of(proof)
        if self.of_study(fingerprint) is not None:
            raise Conflict(
                f"{self._hospital} paid for this protocol before: it is run once",
                hint="a new run is a new study, with its own ε",
            )
        cost, left = cost_of(study), asked(lambda: self._contract.remaining_privacy(self._hospital, COHORT))
        if cost > left:
            raise BudgetExhausted(
                f"{self._hospital} has {left} millionths of 1/σ² left; this study costs {cost}",
                hint="ask for a smaller ε, or ask that hospital to raise its cap",
            )
        signed_before = self._memory.signed_requests(fingerprint)
        taken = [one for one in signed_before if self._reservations.of_request(one) is not None]
        self._memory.keep_request(fingerprint, request, taken)
        message = self._contract.reserve_message(request, fingerprint, COHORT, study.hospitals, cost, holder=account)
        return self._signed(message)

    def sign_settlement(self, study: StudyProtocol, reservation: int, *, committed: bool) -> BudgetSignature:
        """Sign that the study's live reservation is settled: as the price of a model, or as burned. Both charge it.

        A hospital that was lost signs as well: the others' sums left, its privacy is charged, and no sum of its own is
        opened by this.

        Raises:
            NotPaid: that is no live reservation of this study.
            Unavailable: the chain does not answer.
        """
        found = self.of_study(study.fingerprint())
        if found is None or found.number != reservation or not found.live:
            raise NotPaid(
                f"{self._hospital} finds no live reservation {reservation} of this study",
                hint="`twinward study run` of the same protocol says how it stands",
            )
        return self._signed(self._contract.settle_message(reservation, committed=committed))

    def _signed(self, message: bytes) -> BudgetSignature:
        return BudgetSignature(self._keys.bls_public_key, bls.sign(self._keys.bls_secret_key, message))
