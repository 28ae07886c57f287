"""Handing a patient's records to somebody outside: decided and logged as an export, sealed to the recipient's key."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from twinward.access.interfaces import AccessControl, AccessRequest, require_records
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action
from twinward.protocol.disclosed import DisclosedRecord, DisclosedRecords
from twinward.vault.interfaces import RecordVault


def disclose(
    access: AccessControl, vault: RecordVault, request: AccessRequest, recipient_public: bytes, origin: str
) -> tuple[DisclosedRecords, bytes]:
    """Open what the request asks for, under its own permit, and seal it to one recipient.

    The event names the recipient by the SHA-256 of its public key.

    Args:
        access, vault: the node's.
        request: to export categories of one twin.
        recipient_public: ``twinward_crypto.disclosure``'s form.
        origin: the access log's.

    Returns:
        What was disclosed, and the file.

    Raises:
        BadInput: the request is not to export categories of one twin, or the key is none; nothing was decided.
        NotARecord: a category of derived data is among them; nothing was decided.
        AccessDenied: policy or consent says no.
        NotFound: no such twin.
    """
    if request.twin is None or request.action is not Action.EXPORT or not request.categories:
        raise BadInput("a disclosure is a request to export categories of one twin")
    require_records(request.categories)
    DisclosedRecords(origin, 0, request.twin, ()).seal(recipient_public)  # a bad key is no reason to open anything
    fingerprint = hashlib.sha256(recipient_public).hexdigest()
    permit = access.decide(replace(request, detail=(*request.detail, ("recipient", fingerprint))))
    records = tuple(
        DisclosedRecord(
            str(one.record_id), one.record_type, one.category.value, one.version, one.committed_at_ms, one.content
        )
        for one in vault.read_twin(permit)
    )
    disclosed = DisclosedRecords(origin, permit.log_index, request.twin, records)
    return disclosed, disclosed.seal(recipient_public)
