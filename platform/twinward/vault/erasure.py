"""Erasing a person: the decision is logged, the key destroyed, and that it happened is logged where it stays readable.

The event of the decision is about the twin and so sealed under the twin's key, which the erasure destroys. A second
event follows; the twin's key being gone, the audit trail seals it under the hospital's own, and an officer can read
for ever who had which opaque id shredded, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from twinward.access.consent import ConsentStore
from twinward.access.interfaces import AccessControl, AccessRequest
from twinward.errors import BadInput
from twinward.vault.keyring import Keyring
from twinward.vocabulary import Action, TwinId


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What was erased, and where the log says so: the decision (unreadable from now on) and the deed (readable)."""

    twin: TwinId
    decided_at_index: int
    done_at_index: int


def erase(access: AccessControl, keyring: Keyring, consents: ConsentStore, request: AccessRequest) -> ErasureReceipt:
    """Shred a twin's key and forget its consents. Idempotent: what was interrupted is finished by doing it again.

    Backups of the keyring still hold the wrapped key until ``Keyring.rotate`` and ``retire`` have followed.

    Raises:
        BadInput: the request is not to shred one twin.
        AccessDenied: policy says no; nothing was erased.
        TwinNotFound: there was never such a twin.
    """
    if request.twin is None or request.action is not Action.SHRED:
        raise BadInput("an erasure is a request to shred one twin")
    decided = access.decide(request)
    keyring.shred(request.twin)
    consents.forget(request.twin)
    deed = (("shredded", "done"), ("decided_at_index", str(decided.log_index)))
    done = access.decide(replace(request, detail=request.detail + deed))
    return ErasureReceipt(request.twin, decided.log_index, done.log_index)
