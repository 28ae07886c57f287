"""Alerts: one hospital's signature on a statement, a quorum's signatures put together, and what stands on the chain.

A hospital signs what it has checked itself: the sum, the detector's threshold, the terms. The event is in its log
before the signature exists. Whoever has enough signatures sends them; the contract counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from twinward.access.interfaces import AccessContext, AccessControl
from twinward.core.vocabulary import Action
from twinward.outbreak.errors import AlertRefused, OutbreakInvalid, refusals_explained
from twinward.outbreak.syndromes import SYNDROMES, fingerprint
from twinward_contracts.bindings import OutbreakAlert, OutbreakState, OutbreakStatement, QuorumSignature, WitnessSet
from twinward_contracts.bindings.words import tag
from twinward_crypto import bls
from twinward_crypto.errors import CryptoError
from twinward_ledger.witness.witness import WitnessKeys

SHOWN: Final = 500
_TERMS: Final = b"twinward/outbreak-terms/1\n"
_DAYS: Final = 1 << 31
_COUNTS: Final = 1 << 53


class Detector(Protocol):
    """What judges a day's, or a week's, count by those before (``ears``, ``farrington``): a dataclass of its terms."""

    @property
    def limit(self) -> float:
        """What the score must exceed."""
        ...

    @property
    def days_needed(self) -> int:
        """How many counts before one."""
        ...

    def score(self, counts: Sequence[float], day: int, /) -> float:
        """How unusual one is. Raises ``BadInput`` where too few lie before it."""
        ...

    def threshold(self, counts: Sequence[float], day: int, /) -> float:
        """The count from which it lies above the limit."""
        ...

    def expected(self, counts: Sequence[float], day: int, /) -> float:
        """What was expected."""
        ...


def terms_of(detector: Detector) -> bytes:
    """SHA-256 of a tag, the published code lists' fingerprint and the detector, as JSON with sorted names."""
    said = {name: str(value) for name, value in asdict(detector).items()}  # type: ignore[call-overload]
    return hashlib.sha256(_TERMS + fingerprint() + json.dumps(said, sort_keys=True).encode()).digest()


def statement_of(syndrome: str, detector: Detector, counts: Sequence[int], last_day: int) -> OutbreakStatement | None:
    """What there is to say of the last of these daily sums; None where it is nothing unusual.

    Args:
        syndrome: its word in ``syndromes``.
        detector: judges by its score, whose limit in cases is the threshold.
        counts: the sums of the days up to the last one, oldest first.
        last_day: since 1970-01-01.

    Raises:
        OutbreakInvalid: no such syndrome, too few days, or numbers that are none.
    """
    if syndrome not in SYNDROMES:
        raise OutbreakInvalid(f"no syndrome {syndrome!r}", hint=f"one of {', '.join(SYNDROMES)}")
    if len(counts) <= detector.days_needed:
        raise OutbreakInvalid(f"{detector.days_needed + 1} counts are needed, {len(counts)} are there")
    if not 0 <= last_day < _DAYS or any(abs(one) >= _COUNTS for one in counts):
        raise OutbreakInvalid("a day or a count is out of range")
    at = len(counts) - 1
    if detector.score(counts, at) <= detector.limit:
        return None
    threshold = detector.threshold(counts, at)
    return OutbreakStatement(
        tag(syndrome),
        terms_of(detector),
        last_day,
        counts[-1],
        round(detector.expected(counts, at) * 1000),
        min(max(round(threshold * 1000), -_COUNTS * 1000), counts[-1] * 1000 - 1),  # C3's may lie anywhere below
    )


def syndrome_word(kept: bytes) -> str:
    """The syndrome behind 32 bytes of a file or the chain; what is no word of ours is shown in hexadecimal."""
    text = kept.rstrip(b"\x00").decode("ascii", "replace")
    return text if text in SYNDROMES else f"0x{kept.hex()}"


@dataclass(frozen=True, slots=True)
class Endorsement:
    """One hospital's signature on a statement: a key of 48 bytes, a signature of 96."""

    said: OutbreakStatement
    epoch: int
    public_key: bytes
    signature: bytes

    def shown(self) -> dict[str, Any]:
        """As the file that is handed over."""
        said = asdict(self.said) | {"syndrome": self.said.syndrome.hex(), "terms": self.said.terms.hex()}
        keys = {"public_key": self.public_key.hex(), "signature": self.signature.hex()}
        return {"statement": said, "epoch": self.epoch, **keys}

    @classmethod
    def parse(cls, raw: bytes) -> Endorsement:
        """From the file. Raises ``OutbreakInvalid``."""
        try:
            found = json.loads(raw)
            said = dict(found["statement"])
            words = (bytes.fromhex(said.pop("syndrome")), bytes.fromhex(said.pop("terms")))
            numbers = [said.pop(name) for name in ("day", "counted", "expected_milli", "threshold_milli")]
            key, signature = bytes.fromhex(found["public_key"]), bytes.fromhex(found["signature"])
            whole = not said and all(type(one) is int and abs(one) < 1 << 63 for one in (*numbers, found["epoch"]))
            whole = whole and 0 <= numbers[0] < _DAYS and found["epoch"] >= 0  # what the contract has words for
            whole = whole and [len(one) for one in (*words, key, signature)] == [32, 32, 48, 96]
            made = cls(OutbreakStatement(*words, *numbers), found["epoch"], key, signature)
        except (KeyError, TypeError, ValueError, RecursionError):
            whole = False
        if not whole:
            raise OutbreakInvalid("not a hospital's signature", hint="`twinward outbreak watch --sign FILE` writes one")
        return made


@dataclass(frozen=True, slots=True)
class EndSignature:
    """One hospital's signature that an alert is over."""

    alert: int
    epoch: int
    public_key: bytes
    signature: bytes

    def shown(self) -> dict[str, Any]:
        """As the file that is handed over."""
        keys = {"public_key": self.public_key.hex(), "signature": self.signature.hex()}
        return {"ends": self.alert, "epoch": self.epoch, **keys}

    @classmethod
    def parse(cls, raw: bytes) -> EndSignature:
        """From the file. Raises ``OutbreakInvalid``."""
        try:
            found = json.loads(raw)
            numbers = (found["ends"], found["epoch"])
            key, signature = bytes.fromhex(found["public_key"]), bytes.fromhex(found["signature"])
            whole = all(type(one) is int and 0 <= one < 1 << 63 for one in numbers)
            whole = whole and (len(key), len(signature)) == (48, 96)
            made = cls(*numbers, key, signature)
        except (KeyError, TypeError, ValueError, RecursionError):
            whole = False
        if not whole:
            raise OutbreakInvalid("not a hospital's signature", hint="`twinward outbreak end --sign FILE` writes one")
        return made


class OutbreakDesk:
    """One hospital's part in alerts.

    Args:
        contract: gives the consortium's contract; may raise as a chain does, and ``NoOutbreakContract``.
        witnesses: gives the set that counts.
        hospital: this hospital.
        keys: its witness keys, which sign; None where they are elsewhere.
        access: decides and logs.
    """

    def __init__(
        self,
        contract: Callable[[], OutbreakAlert],
        witnesses: Callable[[], WitnessSet],
        hospital: str,
        keys: Callable[[], WitnessKeys | None],
        access: AccessControl,
    ) -> None:
        self._contract = contract
        self._witnesses = witnesses
        self._hospital = hospital
        self._keys = keys
        self._access = access

    def sign(self, by: AccessContext, said: OutbreakStatement) -> Endorsement:
        """Sign a statement in this hospital's name.

        Raises:
            OutbreakInvalid, AccessDenied, OutbreakUnreachable.
        """
        keys = self._keys()
        if keys is None:
            raise OutbreakInvalid(f"the key of {self._hospital} is not here", hint="it signs at its own node")
        self._decide(by, "sign", said)
        with refusals_explained():
            epoch = self._witnesses().epoch()
            message = self._contract().raise_message(epoch, said)
        return Endorsement(said, epoch, keys.bls_public_key, bls.sign(keys.bls_secret_key, message))

    def raise_alert(self, by: AccessContext, endorsements: Sequence[Endorsement]) -> OutbreakState:
        """Send what a quorum signed.

        Raises:
            OutbreakInvalid: they are of several statements, or of no hospital of the consortium.
            AccessDenied, AlertRefused, OutbreakUnreachable.
        """
        if len({(one.said, one.epoch) for one in endorsements}) != 1:
            raise OutbreakInvalid("the signatures are not of one and the same statement")
        said = endorsements[0].said
        self._decide(by, "raise", said)
        with refusals_explained():
            quorum = self._quorum_of([(one.public_key, one.signature) for one in endorsements])
            contract = self._contract()
            return contract.alert(contract.raise_alert(said, quorum))

    def sign_end(self, by: AccessContext, alert: int) -> EndSignature:
        """Sign in this hospital's name that an alert is over. Raises as ``sign``; ``AlertRefused``: no such alert."""
        keys = self._keys()
        if keys is None:
            raise OutbreakInvalid(f"the key of {self._hospital} is not here", hint="it signs at its own node")
        said = self._said(alert)
        self._decide(by, "sign-end", said, ("alert", str(alert)))
        with refusals_explained():
            epoch = self._witnesses().epoch()
            message = self._contract().end_message(epoch, alert)
        return EndSignature(alert, epoch, keys.bls_public_key, bls.sign(keys.bls_secret_key, message))

    def end(self, by: AccessContext, alert: int, signatures: Sequence[EndSignature]) -> OutbreakState:
        """Say that an alert is over, as a quorum signed. Raises as ``raise_alert``."""
        if not signatures or any(one.alert != alert for one in signatures):
            raise OutbreakInvalid("the signatures are not of this alert's end")
        said = self._said(alert)
        self._decide(by, "end", said, ("alert", str(alert)))
        with refusals_explained():
            quorum = self._quorum_of([(one.public_key, one.signature) for one in signatures])
            contract = self._contract()
            contract.end(alert, quorum)
            return contract.alert(alert)

    def alerts(self) -> list[OutbreakState]:
        """The newest alerts, oldest first. Raises ``OutbreakUnreachable``."""
        with refusals_explained():
            contract = self._contract()
            last = contract.count()
            return [contract.alert(number) for number in range(max(1, last - SHOWN + 1), last + 1)]

    def _said(self, alert: int) -> OutbreakStatement:
        with refusals_explained():
            contract = self._contract()
            if not 0 < alert <= contract.count():
                raise AlertRefused(f"there is no alert {alert}", hint="`twinward outbreak alerts` lists what stands")
            return contract.alert(alert).said

    def _quorum_of(self, signed: Sequence[tuple[bytes, bytes]]) -> QuorumSignature:
        """Hospitals' keys and signatures as the contract takes them. Raises ``OutbreakInvalid``."""
        active = [one for one in self._witnesses().witnesses() if one.active]
        places = {bls.public_key_from_eip2537(one.public_key): one.index for one in active}
        found = {places[key]: (key, signature) for key, signature in signed if key in places}
        if len(found) < len(signed):
            raise OutbreakInvalid("a signature is of no hospital of the consortium, or there twice")
        try:
            return _quorum(found)
        except CryptoError:
            raise OutbreakInvalid("a hospital's signature is none") from None

    def _decide(self, by: AccessContext, step: str, said: OutbreakStatement, *more: tuple[str, str]) -> None:
        facts = (("syndrome", syndrome_word(said.syndrome)), ("day", str(said.day)), ("counted", str(said.counted)))
        detail = (("step", step), ("hospital", self._hospital), *facts, *more, ("terms", said.terms.hex()))
        self._access.decide(by.request(Action.OUTBREAK, detail=detail))


def _quorum(signed: dict[int, tuple[bytes, bytes]]) -> QuorumSignature:
    ordered = [signed[place] for place in sorted(signed)]
    return QuorumSignature(
        sum(1 << place for place in signed),
        tuple(bls.public_key_to_eip2537(key) for key, _ in ordered),
        bls.signature_to_eip2537(bls.aggregate([signature for _, signature in ordered])),
    )
