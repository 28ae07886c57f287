"""A hospital's part in a study before it runs: its key, its invitation, its officer's approval. Each is an event.

In an embedded consortium the other hospitals' keys are in this home, too: who approves here approves for them, each in
its own folder and in its own log. A hospital that stands elsewhere is never approved for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from twinward.access.interfaces import NODE, AccessContext, Principal
from twinward.audit.models import AccessEvent
from twinward.core.errors import BadInput, NotAtWork
from twinward.core.vocabulary import Action, Purpose
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.approval import Approval, Approvals, digest_of
from twinward.federation.errors import InvitationInvalid, NotApproved
from twinward.federation.invitation import Invitation, StudyKey, study_key_file
from twinward.federation.study import StudyProtocol
from twinward.node.lifecycle import join_as_peer
from twinward.node.node import Node
from twinward.node.study_decisions import APPROVE, WITHDRAW
from twinward.node.study_inbox import Received, StudyInbox

AT_THIS_MACHINE = AccessContext(NODE, Purpose.COMPLIANCE)
"""Who approves where nobody is named: whoever can run commands where all hospitals' keys lie."""

Detail = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Member:
    """A hospital whose keys are in a home: its node, and its own folder."""

    node: Node

    @property
    def name(self) -> str:
        """The hospital."""
        return self.node.settings.tenant

    @property
    def home(self) -> Path:
        """Its folder."""
        return self.node.settings.home

    def identity(self) -> HospitalIdentity:
        """Its study key."""
        return identity_of_member(self.node)

    def inbox(self) -> StudyInbox:
        """What it was invited to."""
        return StudyInbox(self.home)

    def approvals(self) -> Approvals:
        """What it approved."""
        return Approvals(self.home, self.identity(), self.node.study_decisions)


def identity_of_member(node: Node) -> HospitalIdentity:
    """A hospital's study key, from its key service."""
    return HospitalIdentity(node.settings.tenant, node.identity.study_key())


def names_here(node: Node) -> tuple[str, ...]:
    """The hospitals whose keys are in this home: its own, and the others of an embedded consortium."""
    embedded = node.settings.witnesses if node.settings.quorum_policy is None else ()
    return (node.settings.tenant, *(name for name in embedded if name != node.settings.tenant))


@contextmanager
def member(node: Node, name: str) -> Iterator[Member]:
    """One hospital of this home. Raises ``BadInput`` where it is none of them, ``NotAtWork`` for a restored home."""
    if node.restored is not None:
        raise NotAtWork("it takes part in no study")
    if name not in names_here(node):
        raise BadInput(
            f"{name}: no such hospital in this home", hint=f"its hospitals are {', '.join(names_here(node))}"
        )
    if name == node.settings.tenant:
        yield Member(node)
        return
    peer = join_as_peer(node, name)
    try:
        yield Member(peer)
    finally:
        peer.close()


def give_out_key(node: Node, by: AccessContext = AT_THIS_MACHINE) -> bytes:
    """The home's own hospital's study key as a file for others. Giving it out is an event."""
    with member(node, node.settings.tenant) as own:
        log_step(own, by, "key", ())
        return study_key_file(own.identity())


def invite(node: Node, study: StudyProtocol, keys: Sequence[StudyKey], by: AccessContext) -> bytes:
    """A signed invitation to a study that this hospital coordinates, in the name of a researcher.

    Args:
        node: the coordinating hospital's.
        study: the protocol.
        keys: of the hospitals that are not in this home.
        by: the researcher.

    Raises:
        InvitationInvalid: a hospital's key is missing, not asked for, or given twice.
        AccessDenied: that is no researcher.
        Unavailable: the event could not be logged.
    """
    roster = _roster_here(node, study)
    for key in keys:
        if roster.setdefault(key.hospital, key.public_key) != key.public_key:
            raise InvitationInvalid(f"two different keys of {key.hospital}", hint="ask that hospital which is its own")
    invitation = Invitation(study, roster, node.settings.tenant, by.principal.id)
    with member(node, node.settings.tenant) as own:
        content = invitation.signed(own.identity())
        log_step(own, by, "invite", _of(study))
    for name in study.hospitals:
        if name in names_here(node):
            with member(node, name) as other:
                other.inbox().keep(content)
    return content


def receive(node: Node, content: bytes) -> Received:
    """Lay an invitation to this home's own hospital where its officers read it; it approves nothing.

    Raises:
        InvitationInvalid, StudyInvalid: it is none, was altered, or is not to this hospital under its own key.
        Conflict: too many are kept.
        Unavailable: the home cannot be written.
    """
    with member(node, node.settings.tenant) as own:
        own.approvals().own(Invitation.parse(content))
        return own.inbox().keep(content)


def approve(node: Node, hospital: str, invitation: bytes, by: AccessContext) -> Approval:
    """Approve an invitation for one hospital of this home, once that is in its log.

    Raises:
        InvitationInvalid, StudyInvalid: it is none, or not to this hospital under its own key.
        AccessDenied: policy does not let this account approve.
        Unavailable: the event could not be logged, or the approval not be kept.
    """
    parsed = Invitation.parse(invitation)
    with member(node, hospital) as one:
        approvals = one.approvals()
        approvals.own(parsed)
        log_step(one, abroad(by, one, node), APPROVE, (*_of(parsed.study), ("invitation", digest_of(invitation))))
        one.inbox().keep(invitation)
        return approvals.keep(invitation, by.principal.id, one.node.clock.now_ms())


def withdraw(node: Node, hospital: str, study: StudyProtocol, by: AccessContext) -> None:
    """Take an approval back, once that is in the log. Raises ``NotApproved``, and as ``approve``."""
    with member(node, hospital) as one:
        approvals = one.approvals()
        approvals.of(study.fingerprint())
        log_step(one, abroad(by, one, node), WITHDRAW, _of(study))
        approvals.withdraw(study.fingerprint())


def approved_here(node: Node, study: StudyProtocol) -> Mapping[str, Approval | None]:
    """What each of the protocol's hospitals in this home approved of it."""
    found: dict[str, Approval | None] = {}
    for name in study.hospitals:
        if name in names_here(node):
            with member(node, name) as one:
                found[name] = _approval_of(one, study)
    return found


def approve_embedded(node: Node, study: StudyProtocol, researcher: Principal, by: AccessContext) -> tuple[str, ...]:
    """Approve for every hospital that did not yet, where all of the protocol's are in this home. Who they are.

    Raises:
        NotApproved: one of them stands elsewhere, or took its approval back: its own officer approves.

    And as ``approve``.
    """
    missing = tuple(name for name, approval in approved_here(node, study).items() if approval is None)
    if not missing:
        return ()  # those that stand elsewhere refuse for themselves
    withdrawn = any(_was_withdrawn(node, name, study) for name in missing)
    if withdrawn or not set(study.hospitals) <= set(names_here(node)):
        raise NotApproved(
            f"{', '.join(missing)} did not approve this protocol",
            hint="`twinward study approve INVITATION --as OFFICER`, at each hospital",
        )
    invitation = Invitation(study, _roster_here(node, study), node.settings.tenant, researcher.id)
    content = invitation.signed(identity_of_member(node))
    for name in missing:
        approve(node, name, content, by)
    return missing


def _was_withdrawn(node: Node, name: str, study: StudyProtocol) -> bool:
    with member(node, name) as one:
        return one.approvals().was_withdrawn(study.fingerprint())


def _approval_of(one: Member, study: StudyProtocol) -> Approval | None:
    try:
        return one.approvals().of(study.fingerprint())
    except NotApproved:
        return None


def _roster_here(node: Node, study: StudyProtocol) -> dict[str, bytes]:
    roster = {}
    for name in study.hospitals:
        if name in names_here(node):
            with member(node, name) as one:
                roster[name] = one.identity().public_key
    return roster


def abroad(by: AccessContext, one: Member, node: Node) -> AccessContext:
    """Who asks, as another hospital of this home knows them: by name, for their account is not there."""
    if one.node is node:
        return by
    detail = (*by.detail, ("account_of", node.settings.tenant))
    return replace(by, principal=replace(by.principal, standing=None), detail=detail)


def _of(study: StudyProtocol) -> Detail:
    return (("study", study.study_id), ("fingerprint", study.fingerprint().hex()))


def log_step(one: Member, by: AccessContext, step: str, what: Detail) -> None:
    """Have policy decide and log it; whoever is at the machine is no account, and is logged as the node."""
    detail = (*what, ("step", step))
    if by.principal != NODE:
        one.node.access.decide(by.request(Action.STUDY, detail=detail))
        return
    event = AccessEvent(
        at_ms=one.node.clock.now_ms(),
        agent=NODE.id,
        role=NODE.role,
        unit="",
        action=Action.STUDY,
        purpose=by.purpose,
        twin=None,
        categories=(),
        decision="permit",
        reason="by whoever runs commands on this node's machine",
        policy_hash="",
        consent_version=0,
        detail=(*detail, *by.detail),
    )
    one.node.audit.record([event])
