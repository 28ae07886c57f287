"""``OutbreakAlert``: alerts of outbreaks that a quorum of hospitals signed, and when they ended."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.signatures import QuorumSignature
from twinward_contracts.bindings.transactor import Transactor
from twinward_contracts.bindings.words import address_word, message, tag, word

_ARTEFACT: Final = load("OutbreakAlert")

DOMAIN: Final = tag("twinward/outbreak/v1")
_WORD: Final = 1 << 256


@dataclass(frozen=True, slots=True)
class OutbreakStatement:
    """What a quorum signs, in the contract's order.

    Attributes:
        syndrome: its code, ASCII padded with zeros to 32 bytes.
        terms: 32 bytes, the hash of how it was counted and detected.
        day: since 1970-01-01 UTC.
        counted: the sum of the hospitals' private counts; may be negative, for it bears noise.
        expected_milli, threshold_milli: what was expected and what it had to exceed, in thousandths.
    """

    syndrome: bytes
    terms: bytes
    day: int
    counted: int
    expected_milli: int
    threshold_milli: int


@dataclass(frozen=True, slots=True)
class OutbreakState:
    """One alert as it stands; ``ended_at_s`` is 0 while it lasts. Times are Unix seconds."""

    number: int
    said: OutbreakStatement
    raised_at_s: int
    ended_at_s: int


class OutbreakAlert:
    """The contract at one address. The bytes to sign are made here, equal to ``raiseMessage`` and ``endMessage``."""

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(cls, client: Transactor, witness_set: str) -> Self:
        """Create the contract. It obeys the witness set. Refused with ``NotAContract``."""
        return cls(client, client.deploy(_ARTEFACT, witness_set))

    def raise_message(self, epoch: int, said: OutbreakStatement) -> bytes:
        """What a quorum signs in an epoch to raise an alert: 11 words."""
        numbers = (said.day, said.counted, said.expected_milli, said.threshold_milli)
        return self._message("raise", epoch, said.syndrome, said.terms, *(word(one % _WORD) for one in numbers))

    def end_message(self, epoch: int, alert: int) -> bytes:
        """What a quorum signs in an epoch to end one: 6 words."""
        return self._message("end", epoch, word(alert))

    def raise_alert(self, said: OutbreakStatement, quorum: QuorumSignature) -> int:
        """Raise an alert; return its number.

        Refused with ``NothingStated``, ``NoExcess``, ``DayNotNear``, ``AlreadyRaised``, or as ``WitnessSet`` refuses a
        quorum's signature.
        """
        self._client.transact(self.address, _ARTEFACT, "raise", astuple(said), *_signed(quorum))
        return self.alert_of(said.syndrome, said.day)

    def end(self, alert: int, quorum: QuorumSignature) -> None:
        """Say that an alert is over. Refused with ``UnknownAlert`` or ``AlreadyOver``."""
        self._client.transact(self.address, _ARTEFACT, "end", alert, *_signed(quorum))

    def alert_of(self, syndrome: bytes, day: int) -> int:
        """The alert of a syndrome's day; 0 for none."""
        return int(self._client.call(self.address, _ARTEFACT, "alertOf", syndrome, day))

    def count(self) -> int:
        """How many alerts there are; they are numbered from 1."""
        return int(self._client.call(self.address, _ARTEFACT, "alerts"))

    def alert(self, number: int) -> OutbreakState:
        """One alert. Refused with ``UnknownAlert``."""
        said, raised_at_s, ended_at_s = self._client.call(self.address, _ARTEFACT, "alertAt", number)
        return OutbreakState(number, OutbreakStatement(*said), raised_at_s, ended_at_s)

    def _message(self, purpose: str, epoch: int, *words: bytes) -> bytes:
        place = (word(self._client.chain_id), address_word(self.address))
        return message(DOMAIN, *place, tag(purpose), word(epoch), *words)


def _signed(quorum: QuorumSignature) -> tuple[int, list[bytes], bytes]:
    return quorum.bitmap, list(quorum.public_keys), quorum.aggregate
