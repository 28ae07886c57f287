"""A period of daily counts as hospitals agree on it: its terms, an invitation, each hospital's approval, and all of it.

Files, signed like those of studies (``federation.signed_json``), each checked in this order: size, JSON, fields, terms,
roster against the terms' hospitals, signatures. An approval brings the key of this hospital's masks and its signature
on what the period costs it; whoever has all of them has the agreed period, which is what counts are released under.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from twinward.core.field_faults import faults_of
from twinward.core.sentences import sentence
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity, SignedRoundKey, verify_round_keys
from twinward.federation.errors import InvitationInvalid, KeyRefused
from twinward.federation.models import BudgetSignature
from twinward.federation.signed_json import read_fields, signed_fields, verify_fields
from twinward.federation.study import HospitalName
from twinward.outbreak.continual import MAX_DAYS, MOST_SYNDROMES, Period, cost_micros, share_of
from twinward.outbreak.errors import OutbreakInvalid
from twinward.outbreak.syndromes import SYNDROMES, fingerprint
from twinward_crypto.canonical import canonicalize

ATTEMPT: Final = 1
"""Of the round key: one for the whole period; each day has masks of its own, by its transcript."""
MOST_HOSPITALS: Final = 64

_INVITATION: Final = b"twinward/outbreak/invitation/v1\0"
_APPROVAL: Final = b"twinward/outbreak/approval/v1\0"
_HINT: Final = "`twinward outbreak invite` writes one"
_KEPT: Final = {"kept": True}
"""In which context terms are read that were agreed on before."""
_Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Hex48 = Annotated[str, Field(pattern=r"^[0-9a-f]{96}$")]
_Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
_Hex96 = Annotated[str, Field(pattern=r"^[0-9a-f]{192}$")]


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Model = TypeVar("_Model", bound=_Written)


class PeriodTerms(_Written):
    """What hospitals agree on. Immutable; made by ``parse``.

    Attributes:
        name: of the period, for people.
        hospitals: who releases, 3 at least: two together with the sum know a third's otherwise.
        syndromes: what is counted.
        first_day: the day that is 1.
        days, levels: of the tree (``continual``).
        epsilon, delta: promised to each patient for all that is released.
        variance: v, which keeps that; the honest hospitals' noise in each node.
        honest: how many hospitals are counted on not to subtract their noise, 2 at least.
        code_lists: fingerprint of the published code lists that all count by.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    hospitals: Annotated[tuple[HospitalName, ...], Field(min_length=3, max_length=MOST_HOSPITALS)]
    syndromes: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_SYNDROMES)]
    first_day: date
    days: Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS)]
    levels: Annotated[int, Field(strict=True, ge=1, le=9)]
    epsilon: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
    delta: Annotated[float, Field(ge=1e-12, le=1e-4, allow_inf_nan=False)]
    variance: Annotated[int, Field(strict=True, ge=1, lt=1 << 40)]
    honest: Annotated[int, Field(strict=True, ge=2, le=MOST_HOSPITALS)]
    code_lists: _Hex32

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        if len(set(self.hospitals)) != len(self.hospitals) or len(set(self.syndromes)) != len(self.syndromes):
            raise ValueError(sentence("hospitals, syndromes: name each once"))
        is_new = info.context is not _KEPT
        if is_new and not set(self.syndromes) <= SYNDROMES.keys():
            raise ValueError(sentence("syndromes: of {known}", known=", ".join(SYNDROMES)))
        if self.honest > len(self.hospitals):
            raise ValueError(sentence("honest: no more than there are hospitals"))
        if self.levels > self.days.bit_length():
            raise ValueError(
                sentence("levels: a tree over {days} days has 1 to {most}", days=self.days, most=self.days.bit_length())
            )
        if not date(1970, 1, 1) <= self.first_day <= date(9000, 1, 1):
            raise ValueError(sentence("first_day: a day from 1970 on"))
        if is_new and not self.is_counted_here:
            raise ValueError(sentence("code_lists: other code lists than this release of Twinward counts by"))
        return self

    @classmethod
    def parse(cls, fields: Mapping[str, Any], *, kept: bool = False) -> Self:
        """Terms from plain fields. Raises ``OutbreakInvalid``, which names every field that is wrong and why.

        ``kept``: they were agreed on and kept here, perhaps by another release with other code lists.
        """
        try:
            return cls.model_validate(dict(fields), context=_KEPT if kept else None)
        except ValidationError as error:
            said = sentence("this period cannot be run as written: {faults}", faults=faults_of(error))
            raise OutbreakInvalid(said, hint=_HINT) from None

    @classmethod
    def promising(
        cls, period: Period, name: str, hospitals: Sequence[str], syndromes: Sequence[str], first_day: date, honest: int
    ) -> Self:
        """Terms under which a period keeps what it promises, with the least noise. Raises ``OutbreakInvalid``."""
        fields = {"name": name, "hospitals": tuple(hospitals), "syndromes": tuple(syndromes), "first_day": first_day}
        fields |= {"days": period.days, "levels": period.levels, "epsilon": period.epsilon, "delta": period.delta}
        agreed = {"variance": period.variance, "honest": honest, "code_lists": fingerprint().hex()}
        return cls.parse(fields | agreed)

    def require_enough_noise(self) -> None:
        """Raise ``OutbreakInvalid`` where v does not keep the ε and δ that are promised: computed, not believed."""
        needed = Period(self.days, self.levels, self.epsilon, self.delta, len(self.syndromes)).variance
        if self.variance < needed:
            raise OutbreakInvalid(
                sentence(
                    "a variance of {variance} does not keep ε {epsilon}, δ {delta}: {needed} does",
                    variance=self.variance,
                    epsilon=f"{self.epsilon:g}",
                    delta=f"{self.delta:g}",
                    needed=needed,
                ),
                hint="whoever invited makes the period anew",
            )

    @property
    def is_counted_here(self) -> bool:
        """Whether this release counts by the code lists that were agreed on."""
        return self.code_lists == fingerprint().hex()

    @property
    def cost(self) -> int:
        """What the period costs each hospital, in millionths of 1/σ²."""
        return cost_micros(self.levels * len(self.syndromes), self.variance)

    @property
    def share(self) -> int:
        """The variance of one hospital's noise in each node."""
        return share_of(self.variance, self.honest)

    @property
    def noise(self) -> int:
        """The variance of the noise in each node of the sum."""
        return len(self.hospitals) * self.share

    @property
    def last_day(self) -> date:
        """Of the period."""
        return self.date_of(self.days)

    def date_of(self, day: int) -> date:
        """The date of a day, from 1."""
        return self.first_day + timedelta(days=day - 1)

    def day_of(self, when: date) -> int:
        """Which day of the period a date is: 1 to ``days``; below or above where it is before or after."""
        return (when - self.first_day).days + 1

    def fingerprint(self) -> bytes:
        """SHA-256 of a tag and the terms' RFC 8785 bytes."""
        return hashlib.sha256(b"twinward/outbreak/period/v1\0" + canonicalize(self.model_dump(mode="json"))).digest()


class _InvitationFile(_Written):
    kind: Literal["twinward/outbreak-period/1"]
    terms: dict[str, Any]
    roster: Annotated[dict[HospitalName, _Hex32], Field(min_length=3, max_length=MOST_HOSPITALS)]
    coordinator: HospitalName
    account: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
    proof: _Hex64
    signature: _Hex64


@dataclass(frozen=True, slots=True)
class PeriodInvitation:
    """Terms, the hospitals' study keys, and who reserves what the period costs.

    Attributes:
        terms: what is agreed on.
        roster: every hospital's public study key, by name.
        coordinator: the hospital that signed this.
        account: which reserves on the ledger, in hexadecimal.
        proof: the coordinator's signature that makes the request (``federation.reservation_request``).
    """

    terms: PeriodTerms
    roster: Mapping[str, bytes]
    coordinator: str
    account: str
    proof: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """An invitation that its coordinator signed. Raises ``InvitationInvalid``, ``OutbreakInvalid``."""
        return cls.of(read_fields(raw, sentence("a period's invitation")))

    @classmethod
    def parse_kept(cls, raw: bytes) -> Self:
        """As ``parse``, of one that was approved here, perhaps under the code lists of another release."""
        return cls.of(read_fields(raw, sentence("a period's invitation")), kept=True)

    @classmethod
    def of(cls, fields: Mapping[str, Any], *, kept: bool = False) -> Self:
        """As ``parse`` or ``parse_kept``, of the members of its file."""
        found = _checked(_InvitationFile, fields, sentence("a period's invitation"))
        terms = PeriodTerms.parse(found.terms, kept=kept)
        roster = {name: bytes.fromhex(key) for name, key in found.roster.items()}
        made = cls(terms, roster, found.coordinator, found.account, bytes.fromhex(found.proof))
        made.require_whole()
        verify_fields(fields, roster[made.coordinator], _INVITATION, sentence("the period's invitation"))
        return made

    def require_whole(self) -> None:
        """Raise ``InvitationInvalid`` unless the keys are those of the terms' hospitals, each its own."""
        if set(self.roster) != set(self.terms.hospitals):
            odd = ", ".join(sorted(set(self.roster) ^ set(self.terms.hospitals)))
            said = sentence("the keys are not those of the period's hospitals: {odd}", odd=odd)
            raise InvitationInvalid(said, hint=_ASK_KEYS)
        if len(set(self.roster.values())) != len(self.roster):
            raise InvitationInvalid("two hospitals have the same study key", hint=_ASK_KEYS)
        if self.coordinator not in self.roster:
            raise InvitationInvalid(
                sentence("{hospital} coordinates a period that it is no hospital of", hospital=self.coordinator)
            )

    def require_own(self, identity: HospitalIdentity) -> None:
        """Raise ``InvitationInvalid`` unless it is to this hospital, under its own key."""
        if self.roster.get(identity.name) != identity.public_key:
            said = sentence("this period is not of {hospital} under its own study key", hospital=identity.name)
            raise InvitationInvalid(said, hint=_ASK_KEYS)

    def signed(self, identity: HospitalIdentity) -> bytes:
        """The file, signed by the coordinating hospital. Raises ``InvitationInvalid`` where it is not that one."""
        self.require_whole()
        self.require_own(identity)
        fields = {
            "kind": "twinward/outbreak-period/1",
            "terms": self.terms.model_dump(mode="json"),
            "roster": {name: key.hex() for name, key in sorted(self.roster.items())},
            "coordinator": self.coordinator,
            "account": self.account,
            "proof": self.proof.hex(),
        }
        return signed_fields(fields, identity, _INVITATION)


_ASK_KEYS: Final = "each hospital writes its own with `twinward study keygen`"


class _ApprovalFile(_Written):
    kind: Literal["twinward/outbreak-approval/1"]
    period: _Hex32
    hospital: HospitalName
    round_key: _Hex32
    round_signature: _Hex64
    budget_key: _Hex48
    budget_signature: _Hex96
    signature: _Hex64


@dataclass(frozen=True, slots=True)
class PeriodApproval:
    """What a hospital hands over when its officer approved: the key of its masks, and its signature on the cost."""

    period: bytes
    hospital: str
    round_key: SignedRoundKey
    budget: BudgetSignature

    def signed(self, identity: HospitalIdentity) -> bytes:
        """The file."""
        fields = {
            "kind": "twinward/outbreak-approval/1",
            "period": self.period.hex(),
            "hospital": self.hospital,
            "round_key": self.round_key.public_key.hex(),
            "round_signature": self.round_key.signature.hex(),
            "budget_key": self.budget.public_key.hex(),
            "budget_signature": self.budget.signature.hex(),
        }
        return signed_fields(fields, identity, _APPROVAL)

    @classmethod
    def of(cls, fields: Mapping[str, Any], invitation: PeriodInvitation) -> Self:
        """An approval of this very period by one of its hospitals. Raises ``InvitationInvalid``."""
        found = _checked(_ApprovalFile, fields, sentence("an approval of a period"))
        period = invitation.terms.fingerprint()
        if found.hospital not in invitation.roster or bytes.fromhex(found.period) != period:
            raise InvitationInvalid(
                sentence("{hospital} approved another period, or is no hospital of this one", hospital=found.hospital)
            )
        verify_fields(
            fields,
            invitation.roster[found.hospital],
            _APPROVAL,
            sentence("the approval of {hospital}", hospital=found.hospital),
        )
        key, signature = bytes.fromhex(found.round_key), bytes.fromhex(found.round_signature)
        budget = BudgetSignature(bytes.fromhex(found.budget_key), bytes.fromhex(found.budget_signature))
        return cls(period, found.hospital, SignedRoundKey(found.hospital, period, ATTEMPT, key, signature), budget)


@dataclass(frozen=True)
class AgreedPeriod:
    """An invitation that every hospital approved.

    Attributes:
        invitation: what was approved.
        approvals: of every hospital, in the order of their names.
        content: the file.
    """

    invitation: PeriodInvitation
    approvals: tuple[PeriodApproval, ...]
    content: bytes

    @classmethod
    def join(cls, invitation: bytes, approvals: Sequence[bytes]) -> Self:
        """An invitation and every hospital's approval, as files. Raises as ``parse``."""
        parts = [read_fields(one, sentence("an approval of a period")) for one in approvals]
        parts.sort(key=lambda one: str(one.get("hospital")))
        fields = {
            "kind": "twinward/outbreak-agreed/1",
            "invitation": read_fields(invitation, sentence("a period's invitation")),
            "approvals": parts,
        }
        return cls.parse(json.dumps(fields, indent=1).encode())

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """An agreed period. Raises ``InvitationInvalid``, which names who is missing, and ``OutbreakInvalid``."""
        fields = read_fields(raw, sentence("an agreed period"))
        parts, written = fields.get("approvals"), fields.get("invitation")
        known = fields.keys() == {"kind", "invitation", "approvals"} and fields["kind"] == "twinward/outbreak-agreed/1"
        if not known or not isinstance(parts, list) or not isinstance(written, dict):
            raise InvitationInvalid("this is not an agreed period", hint="`twinward outbreak reserve` writes one")
        invitation = PeriodInvitation.of(written)
        approvals = tuple(PeriodApproval.of(one if isinstance(one, dict) else {}, invitation) for one in parts)
        names = [one.hospital for one in approvals]
        missing = sorted(set(invitation.terms.hospitals) - set(names))
        if missing:
            raise InvitationInvalid(
                sentence(
                    "{hospitals} did not approve this period, or its approval is not among these",
                    hospitals=", ".join(missing),
                ),
                hint="`twinward outbreak approve` at that hospital writes it",
            )
        keys, period = [one.round_key for one in approvals], invitation.terms.fingerprint()
        try:
            verify_round_keys(keys, invitation.roster, period, ATTEMPT, least=len(invitation.roster))
        except KeyRefused as error:
            raise InvitationInvalid(str(error)) from None
        return cls(invitation, tuple(sorted(approvals, key=lambda one: one.hospital)), raw)

    @property
    def terms(self) -> PeriodTerms:
        """What is agreed on."""
        return self.invitation.terms

    @property
    def keys(self) -> tuple[SignedRoundKey, ...]:
        """Of every hospital, in the order of their names."""
        return tuple(one.round_key for one in self.approvals)

    @property
    def keys_digest(self) -> bytes:
        """SHA-256 of who masks with which key: all days of a period are masked by the same."""
        pairs = {one.hospital: one.round_key.public_key.hex() for one in self.approvals}
        return hashlib.sha256(b"twinward/outbreak/keys/v1\0" + canonicalize(pairs)).digest()


def _checked(model: type[_Model], fields: Mapping[str, Any], what: str) -> _Model:
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        said = sentence("this is not {what}: {fault}", what=what, fault=faults_of(error, most=1))
        raise InvitationInvalid(said, hint=_HINT) from None
