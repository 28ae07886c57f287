"""A hospital's daemon as a coordinator reaches it: signed requests over whatever carries bytes there and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twinward.core.errors import Unavailable
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity, SignedRoundKey
from twinward.federation.errors import KeyRefused, RoundAborted
from twinward.federation.invitation import Invitation
from twinward.federation.models import BudgetSignature
from twinward.federation.site_envelope import open_answer, request
from twinward.federation.site_messages import Prepare, Prepared, RemoteSite, Signed, SignReservation, SignSettlement
from twinward.federation.study import StudyProtocol


class Channel(Protocol):
    """Carries a message to one daemon."""

    def ask(self, message: bytes) -> bytes:
        """Its answer. Raises ``Unavailable`` where there is none."""
        ...

    def close(self) -> None:
        """Give back what it holds, at once, whatever is being asked."""
        ...


class Invitations(Protocol):
    """What a coordinator knows of the studies that it runs."""

    def invitation(self, fingerprint: bytes) -> Invitation:
        """The invitation to the study of this fingerprint. Raises ``NotApproved``."""
        ...


class DaemonSite(RemoteSite):
    """A ``Site`` in a hospital's daemon.

    Args:
        name: the hospital.
        channel: what carries messages there.
        coordinator: the study key that signs what it is asked.
        invitations: whose roster says by which key each hospital answers.
    """

    def __init__(self, name: str, channel: Channel, coordinator: HospitalIdentity, invitations: Invitations) -> None:
        super().__init__(name)
        self._channel = channel
        self._coordinator = coordinator
        self._invitations = invitations
        self._study = b""
        self._roster: Mapping[str, bytes] = {}

    def address(self, study: StudyProtocol) -> None:
        """Sign requests for this study from now on; nothing is asked. Raises ``NotApproved``, ``KeyRefused``."""
        self._sign_for(study)

    def prepare(self, study: StudyProtocol) -> None:
        """Whether the hospital would take part, before anything is reserved.

        Raises:
            NotApproved: no officer there, or here, approved it.
            KeyRefused: another hospital, or another key, coordinates it.
        """
        self._sign_for(study)
        self._ask(Prepare(), Prepared)

    def join(self, study: StudyProtocol, attempt: int = 1) -> SignedRoundKey | None:
        """See ``HospitalSite.join``. From now on requests are signed for this study. Raises also as ``prepare``."""
        self._sign_for(study)
        return super().join(study, attempt)

    def sign_reservation(self, number: int, proof: bytes, account: str) -> BudgetSignature:
        """See ``OwnBudget.sign_reservation``; of the study that was prepared last."""
        made = self._ask(SignReservation(number, proof, account), Signed)
        return BudgetSignature(made.public_key, made.signature)

    def sign_settlement(self, reservation: int, *, committed: bool) -> BudgetSignature:
        """See ``OwnBudget.sign_settlement``; of the study that was prepared last."""
        made = self._ask(SignSettlement(reservation, committed), Signed)
        return BudgetSignature(made.public_key, made.signature)

    def close(self) -> None:
        """End the conversation; the daemon goes on."""
        self._channel.close()

    def _sign_for(self, study: StudyProtocol) -> None:
        invitation = self._invitations.invitation(study.fingerprint())
        if invitation.roster.get(invitation.coordinator) != self._coordinator.public_key:
            raise KeyRefused(
                f"{invitation.coordinator} coordinates this study, under another key than the one here",
                hint="run it at the hospital that sent the invitation",
            )
        self._study, self._roster = study.fingerprint(), invitation.roster

    def _carried(self, message: bytes) -> bytes:
        asked = request(self._coordinator, self._name, self._study, message)
        try:
            answered = self._channel.ask(asked)
        except Unavailable as error:
            hint = error.hint or "see that hospital's own log"
            raise RoundAborted(f"{self._name} dropped out: {error}", hint=hint) from error
        return open_answer(answered, self._name, self._roster.get(self._name, bytes(32)), asked)
