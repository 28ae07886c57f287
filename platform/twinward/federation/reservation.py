"""What a hospital reads on the ledger by itself before it answers a study: that it was paid for.

A study is named there by its protocol's fingerprint, so a reservation for one protocol is none for another that bears
the same name. The fingerprint is also the reservation's request id, which the contract takes once and for ever: a
protocol is paid for once, by whatever coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass

from twinward.federation.accountant import cost_of
from twinward.federation.errors import NotPaid
from twinward.federation.privacy_cohort import COHORT
from twinward.federation.study import StudyProtocol
from twinward_contracts.bindings import name_id


@dataclass(frozen=True, slots=True)
class ReservedPrivacy:
    """A reservation as it stands on the ledger.

    Attributes:
        number: the ledger's, from 1.
        study: the fingerprint of the protocol it pays for, 32 bytes.
        cohort: ``name_id`` of whose privacy is spent.
        hospitals: ``name_id`` of each hospital that is charged.
        micros: what each is charged, in millionths of 1/sigma^2.
        live: whether it is reserved and not settled yet.
    """

    number: int
    study: bytes
    cohort: bytes
    hospitals: frozenset[bytes]
    micros: int
    live: bool


def require_paid(study: StudyProtocol, hospital: str, found: ReservedPrivacy | None) -> ReservedPrivacy:
    """The reservation that pays for this protocol at this hospital and at all others of it.

    The cost is computed here, from the protocol, and not believed.

    Raises:
        NotPaid: there is none, it is settled, or it is of another protocol, cohort, hospitals or amount.
    """
    if found is None:
        raise _not_paid(hospital, "no reservation names this protocol")
    if found.study != study.fingerprint() or found.cohort != name_id(COHORT):
        raise _not_paid(hospital, f"reservation {found.number} is of another study or cohort")
    if not found.live:
        raise _not_paid(hospital, f"reservation {found.number} is settled")
    if found.hospitals != {name_id(name) for name in study.hospitals} or hospital not in study.hospitals:
        raise _not_paid(hospital, f"reservation {found.number} is not of exactly the study's hospitals")
    cost = cost_of(study)
    if found.micros < cost:
        raise _not_paid(hospital, f"reservation {found.number} is of {found.micros} millionths; it costs {cost}")
    return found


def _not_paid(hospital: str, why: str) -> NotPaid:
    hint = "reserve its privacy on the ledger first, under the protocol's fingerprint; a reservation serves one study"
    return NotPaid(f"{hospital} answers nothing that is not paid for: {why}", hint=hint)
