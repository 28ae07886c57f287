"""A way on where the release history is lost: begun anew from the log, so that no vendor learns more than with it.

The log says of each vendor about whom it may have been told (each telling is an event, durable before the answer
leaves). About those it is told nothing more in answers with groups: which groups they were in, nobody knows any more.
Whoever it was never told of was in no answer, so a new history says about them what the old one would have said. The
log is verified first, whole: a telling that was taken out of it would be a patient told apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from twinward.access.interfaces import AccessRequest, Permit
from twinward.audit.models import AccessEvent, Head
from twinward.core.errors import Conflict, StoreAltered
from twinward.core.vocabulary import Action, Role, TwinId
from twinward.node.home import serving
from twinward.node.node import Node
from twinward.node.release_history import RELEASES, SealedHistory
from twinward.similarity.errors import SecretsUnreadable
from twinward.similarity.release.history import ReleaseHistory, begun_anew

_TELLING = frozenset({Action.MATCH, Action.EXPORT})
"""Older logs call it an export that a vendor was told a handle."""
_MAX_FAULT = 200


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """What beginning anew would come to.

    Attributes:
        fault: why the history that is there is refused.
        lost: where the log said that it stood; None where it never did.
        closed: by vendor, about whom it is told nothing more.
    """

    fault: str
    lost: Head | None
    closed: Mapping[str, frozenset[TwinId]] = field(repr=False)

    @property
    def detail(self) -> tuple[tuple[str, str], ...]:
        """What the log says of it."""
        lost = "none recorded" if self.lost is None else f"{self.lost.changes}:{self.lost.mac.hex()}"
        patients = len(frozenset[TwinId]().union(*self.closed.values()))
        return (
            ("store", f"{RELEASES}, begun anew"),
            ("lost head", lost),
            ("fault", self.fault[:_MAX_FAULT]),
            ("closed", f"{len(self.closed)} vendors, {patients} patients"),
        )


def plan_of(node: Node, permit: Permit) -> Rebuilding:
    """Find out whether the history is lost, and what beginning anew would close. Changes nothing.

    Args:
        node: whose history it is.
        permit: to read the log.

    Raises:
        Conflict: the history is sound: there is nothing to begin anew.
        LogTampered: the log does not verify, so it does not say who was told.
        Unavailable: the log does not answer.
    """
    history = _sealed_history(node)
    try:
        ReleaseHistory(0, history)
    except (StoreAltered, SecretsUnreadable) as error:
        fault = str(error)
    else:
        raise Conflict("the release history is sound: vendors are answered by it", hint="there is nothing to do")
    node.audit.verify(deep=True)
    return Rebuilding(fault, node.heads.newest(RELEASES), _told(node.audit_reader.every(permit)))


def rebuild(node: Node, plan: Rebuilding, request: AccessRequest) -> None:
    """Begin anew, while nobody serves the node. The log names the lost head before anything changes.

    Args:
        node: whose history it is.
        plan: as ``plan_of`` made it.
        request: in whose name; for reading the log, which officers alone may.

    Raises:
        Conflict: a process serves the node, or something was told since the plan.
        AccessDenied: policy says no; logged.
        Unavailable: the log or the file cannot be written.
    """
    with serving(node.settings.home):
        permit = node.access.decide(request)
        if plan_of(node, permit) != plan:
            raise Conflict("vendors were told something since", hint="look again, with --dry-run")
        _sealed_history(node).begin_anew(begun_anew(plan.closed))


def _sealed_history(node: Node) -> SealedHistory:
    return SealedHistory(node.settings.home, node.identity.sealing_key, node.heads)


def _told(events: Iterable[AccessEvent]) -> dict[str, frozenset[TwinId]]:
    """By vendor, about whom an answer may have told it."""
    found: dict[str, set[TwinId]] = defaultdict(set)
    for event in events:
        telling = event.role is Role.VENDOR and event.action in _TELLING and event.decision == "permit"
        if telling and event.twin is not None:
            found[event.agent].add(event.twin)
    return {vendor: frozenset(twins) for vendor, twins in sorted(found.items())}
