"""What hospitals hand each other before a study, as files: a hospital's study key, and an invitation.

Both are signed JSON (``signed_json``). A study key's file proves that who wrote it holds the key; whose key it is, no
file proves: officers compare fingerprints by another way. An invitation names the protocol and every hospital's key,
and is signed by the hospital that will coordinate. It is checked in this order: size, JSON, fields, protocol, roster
against the protocol's hospitals, signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinward.core.field_faults import faults_of
from twinward.core.sentences import sentence
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.errors import InvitationInvalid
from twinward.federation.signed_json import HINT, read_fields, signed_fields, verify_fields
from twinward.federation.study import HospitalName, StudyProtocol

_KEY_DOMAIN: Final = b"twinward/federation/study-key/v1\0"
_INVITATION_DOMAIN: Final = b"twinward/federation/invitation/v1\0"

_PublicKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
Researcher = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:@-]{1,64}$")]


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Model = TypeVar("_Model", bound=_Written)


class _KeyFile(_Written):
    kind: Literal["twinward/study-key/1"]
    hospital: HospitalName
    key: _PublicKey
    signature: _Signature


class _InvitationFile(_Written):
    kind: Literal["twinward/study-invitation/1"]
    study: dict[str, Any]
    roster: Annotated[dict[HospitalName, _PublicKey], Field(min_length=3, max_length=64)]
    coordinator: HospitalName
    researcher: Researcher
    signature: _Signature


@dataclass(frozen=True, slots=True)
class StudyKey:
    """A hospital's public study key: what its round keys, answers and approvals verify with."""

    hospital: str
    public_key: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """A key whose file is signed by it. Raises ``InvitationInvalid``."""
        fields = read_fields(raw, sentence("a study key"))
        found = _checked(_KeyFile, fields, sentence("a study key"))
        public_key = bytes.fromhex(found.key)
        verify_fields(fields, public_key, _KEY_DOMAIN, sentence("the study key of {hospital}", hospital=found.hospital))
        return cls(found.hospital, public_key)

    @property
    def fingerprint(self) -> str:
        """For reading aloud: 128 bits of SHA-256."""
        return fingerprint_of(self.public_key)


@dataclass(frozen=True, slots=True)
class Invitation:
    """A protocol, the hospitals' keys, and who will coordinate in whose name.

    Attributes:
        study: what is to be run.
        roster: every hospital's public study key, by name.
        coordinator: the hospital that signed this and whose key signs what sites are asked.
        researcher: the account at that hospital in whose name stays are read, at every hospital.
    """

    study: StudyProtocol
    roster: Mapping[str, bytes]
    coordinator: str
    researcher: str

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """An invitation that its coordinator signed. Raises ``InvitationInvalid``, ``StudyInvalid``."""
        fields = read_fields(raw, sentence("an invitation"))
        found = _checked(_InvitationFile, fields, sentence("an invitation"))
        study = StudyProtocol.parse(found.study)
        roster = {name: bytes.fromhex(key) for name, key in found.roster.items()}
        made = cls(study, roster, found.coordinator, found.researcher)
        made.require_whole()
        verify_fields(fields, roster[made.coordinator], _INVITATION_DOMAIN, sentence("the invitation"))
        return made

    def require_whole(self) -> None:
        """Raise ``InvitationInvalid`` unless the keys are those of the protocol's hospitals, each its own."""
        if set(self.roster) != set(self.study.hospitals):
            odd = ", ".join(sorted(set(self.roster) ^ set(self.study.hospitals)))
            raise InvitationInvalid(
                sentence("the keys are not those of the protocol's hospitals: {odd}", odd=odd), hint=_ASK_KEYS_HINT
            )
        if len(set(self.roster.values())) != len(self.roster):
            raise InvitationInvalid("two hospitals have the same study key", hint=_ASK_KEYS_HINT)
        if self.coordinator not in self.roster:
            raise InvitationInvalid(
                sentence("{hospital} coordinates a study that it is no hospital of", hospital=self.coordinator)
            )

    def signed(self, identity: HospitalIdentity) -> bytes:
        """The file, signed by the coordinating hospital. Raises ``InvitationInvalid`` where it is not that one."""
        self.require_whole()
        if self.roster.get(identity.name) != identity.public_key or identity.name != self.coordinator:
            raise InvitationInvalid(
                sentence(
                    "{hospital}'s key in the roster is not its own, or it does not coordinate", hospital=identity.name
                )
            )
        fields = {
            "kind": "twinward/study-invitation/1",
            "study": self.study.model_dump(mode="json"),
            "roster": {name: key.hex() for name, key in sorted(self.roster.items())},
            "coordinator": self.coordinator,
            "researcher": self.researcher,
        }
        _checked(_InvitationFile, fields | {"signature": "0" * 128}, sentence("an invitation"))
        return signed_fields(fields, identity, _INVITATION_DOMAIN)


_ASK_KEYS_HINT: Final = "each hospital writes its own with `twinward study keygen`"


def study_key_file(identity: HospitalIdentity) -> bytes:
    """A hospital's public study key as the file that it hands to others."""
    fields = {"kind": "twinward/study-key/1", "hospital": identity.name, "key": identity.public_key.hex()}
    return signed_fields(fields, identity, _KEY_DOMAIN)


def fingerprint_of(public_key: bytes) -> str:
    """A key for people: eight groups of four hexadecimal digits."""
    digits = hashlib.sha256(public_key).hexdigest()[:32]
    return " ".join(digits[start : start + 4] for start in range(0, 32, 4))


def _checked(model: type[_Model], fields: Mapping[str, Any], what: str) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        fault = faults_of(error, most=1)
        raise InvitationInvalid(sentence("this is not {what}: {fault}", what=what, fault=fault), hint=HINT) from None
