"""That a hospital takes part in one very protocol: an officer's approval, kept in the hospital's home.

One file a protocol, ``approvals/<fingerprint>.json``: the invitation as it was approved, who approved it and when,
signed by the hospital's own study key, which only its key service derives: a file that is laid there by somebody else
approves nothing. Nor does an older one that is put back: the newest decision in the hospital's log has the last word,
and names the very invitation. A site reads both whenever it is asked something, so that a withdrawal holds at once, in
every process. Where the log does not answer, nothing is approved.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from twinward.core.errors import BadInput, Unavailable
from twinward.core.private_files import write_private
from twinward.core.sentences import sentence
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.errors import InvitationInvalid, NotApproved
from twinward.federation.invitation import Invitation
from twinward.federation.signed_json import MAX_BYTES, read_fields, signed_fields, verify_fields

FOLDER: Final = "approvals"
_DOMAIN: Final = b"twinward/federation/approval/v1\0"
_KIND: Final = "twinward/study-approval/1"
_MAX_FILE_BYTES: Final = 4 * MAX_BYTES
"""An invitation stands in it as a string, in which a character of two bytes takes six."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What was approved, by whom, when.

    Attributes:
        invitation: the protocol, the hospitals' keys, who coordinates.
        officer: the account that approved.
        at_ms: when.
        withdrawn: whether it was taken back since; it then approves nothing.
    """

    invitation: Invitation
    officer: str
    at_ms: int
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """An officer's newest decision on a protocol, as the hospital's log has it.

    Attributes:
        approved: or withdrawn.
        invitation: ``digest_of`` the invitation that was decided on; empty where the event says none, of releases
            before ADR 74.
        officer, at_ms, reason: who, when, and why where it was said.
    """

    approved: bool
    invitation: str
    officer: str
    at_ms: int
    reason: str = ""


class Decisions(Protocol):
    """What the hospital's log says was decided."""

    def newest(self, fingerprint: bytes) -> Decision | None:
        """On the protocol of this fingerprint. Raises ``Unavailable`` and ``LogTampered``."""
        ...


def digest_of(invitation: bytes) -> str:
    """An invitation as events name it."""
    return hashlib.sha256(invitation).hexdigest()


class Approvals:
    """A hospital's approvals.

    Args:
        home: the hospital's home.
        identity: its study key, which signs and verifies them.
        decisions: its log, against which each is held. Without one, as in tests, the file alone counts.
    """

    def __init__(self, home: Path, identity: HospitalIdentity, decisions: Decisions | None = None) -> None:
        self._decisions = decisions
        self._folder = home / FOLDER
        self._identity = identity
        self._public_key = identity.public_key

    def keep(self, invitation: bytes, officer: str, at_ms: int) -> Approval:
        """Approve an invitation, durably.

        Raises:
            InvitationInvalid, StudyInvalid: it is none, was altered, or does not name this hospital's key.
            Unavailable: the home cannot be written.
        """
        approval = Approval(self.own(Invitation.parse(invitation)), officer, at_ms)
        self._write(approval, invitation.decode())
        return approval

    def of(self, fingerprint: bytes) -> Approval:
        """What was approved of the protocol of this fingerprint.

        Raises:
            NotApproved: nothing, or what lies there is not this hospital's.
            Unavailable: it cannot be read.
        """
        found = self._found(fingerprint)
        if found is None or found.withdrawn:
            name = self._identity.name
            raise NotApproved(
                sentence("{hospital} took back its approval of this protocol, so it takes no part", hospital=name)
                if found is not None
                else sentence("no officer of {hospital} approved this protocol, so it takes no part", hospital=name),
                hint="its officer approves it: `twinward study approve INVITATION --as OFFICER`",
            )
        return found

    def last(self, fingerprint: bytes) -> Approval:
        """What was approved of it last, also where that was taken back: for what ends a study. Raises as ``of``."""
        return self._found(fingerprint) or self.of(fingerprint)

    def invitation(self, fingerprint: bytes) -> Invitation:
        """The invitation that was approved. Raises as ``of``."""
        return self.of(fingerprint).invitation

    def withdraw(self, fingerprint: bytes) -> None:
        """Take an approval back, durably; again is no error, for the log says so first. Raises as ``of``."""
        found = self.last(fingerprint)
        raw = read_fields(self._content(self._path(fingerprint)), sentence("an approval"), most=_MAX_FILE_BYTES)
        self._write(replace(found, withdrawn=True), str(raw["invitation"]))

    def was_withdrawn(self, fingerprint: bytes) -> bool:
        """Whether it was approved once, and taken back; also where the file is gone."""
        decided = self._decided(fingerprint)
        if decided is not None and not decided.approved:
            return True
        found = self._found(fingerprint)
        return found is not None and found.withdrawn

    def all(self) -> list[Approval]:
        """Every protocol that is approved, newest first."""
        found = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return sorted((one for one in found if one is not None and not one.withdrawn), key=lambda one: -one.at_ms)

    def _path(self, fingerprint: bytes) -> Path:
        return self._folder / f"{fingerprint.hex()}.json"

    def _write(self, approval: Approval, invitation: str) -> None:
        fields = {
            "kind": _KIND,
            "hospital": self._identity.name,
            "officer": approval.officer,
            "at_ms": approval.at_ms,
            "withdrawn": approval.withdrawn,
            "invitation": invitation,
        }
        try:
            self._folder.mkdir(exist_ok=True, mode=0o700)
            content = signed_fields(fields, self._identity, _DOMAIN)
            write_private(self._path(approval.invitation.study.fingerprint()), content)
        except OSError as error:
            raise Unavailable(f"the approval cannot be written: {error.strerror}") from None

    def _found(self, fingerprint: bytes) -> Approval | None:
        found = self._read(self._path(fingerprint))
        return None if found is None or found.invitation.study.fingerprint() != fingerprint else found

    def _content(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise Unavailable(f"the approvals of {self._identity.name} cannot be read: {error.strerror}") from None

    def _read(self, path: Path) -> Approval | None:
        """One file; None where there is none, or none that this hospital signed."""
        raw = self._content(path)
        try:
            fields = read_fields(raw, sentence("an approval"), most=_MAX_FILE_BYTES)
            verify_fields(fields, self._public_key, _DOMAIN, sentence("the approval"))
            return self._checked(fields)
        except BadInput:
            return None

    def _checked(self, fields: dict[str, Any]) -> Approval | None:
        if fields.get("kind") != _KIND or fields.get("hospital") != self._identity.name:
            return None
        raw = str(fields["invitation"]).encode()
        invitation = self.own(Invitation.parse(raw))
        withdrawn = fields["withdrawn"] is not False
        if self._decisions is not None:
            decided = self._decided(invitation.study.fingerprint())
            if decided is None or decided.invitation not in ("", digest_of(raw)):
                return None
            withdrawn = withdrawn or not decided.approved
        return Approval(invitation, str(fields["officer"]), int(fields["at_ms"]), withdrawn)

    def _decided(self, fingerprint: bytes) -> Decision | None:
        return None if self._decisions is None else self._decisions.newest(fingerprint)

    def own(self, invitation: Invitation) -> Invitation:
        """An invitation of this hospital under its own key. Raises ``InvitationInvalid``."""
        name = self._identity.name
        if name not in invitation.roster:
            raise InvitationInvalid(
                sentence(
                    "this invitation is not to {name}: {others}",
                    name=name,
                    others=", ".join(invitation.study.hospitals),
                )
            )
        if invitation.roster[name] != self._public_key:
            raise InvitationInvalid(
                sentence("this invitation names another key for {name} than its own", name=name),
                hint="send the coordinator what `twinward study keygen` writes here",
            )
        return invitation


@dataclass(frozen=True, slots=True)
class EvenWithdrawn:
    """A coordinator's invitations to end a study with, though its approval may have been taken back since."""

    approvals: Approvals

    def invitation(self, fingerprint: bytes) -> Invitation:
        """What was approved last. Raises ``NotApproved``: nothing ever."""
        return self.approvals.last(fingerprint).invitation


def approval_json(approval: Approval) -> dict[str, Any]:
    """An approval for programs."""
    invitation = approval.invitation
    study = json.loads(invitation.study.canonical())
    return {
        "study": invitation.study.study_id,
        "fingerprint": invitation.study.fingerprint().hex(),
        "coordinator": invitation.coordinator,
        "researcher": invitation.researcher,
        "officer": approval.officer,
        "at_ms": approval.at_ms,
        "protocol": study,
    }
