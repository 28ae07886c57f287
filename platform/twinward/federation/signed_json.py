"""JSON files that a hospital signs with its study key: keys, invitations, approvals.

The signature is Ed25519 (RFC 8032) over ``domain || RFC 8785 bytes of all members but "signature"``; it stands in that
member, in hexadecimal. A file is read in this order: size, UTF-8, JSON with each name once, its reader's fields, the
signature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from twinward.core.sentences import sentence
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.errors import InvitationInvalid
from twinward_crypto.canonical import canonicalize
from twinward_crypto.errors import CryptoError

MAX_BYTES: Final = 256 << 10
"""An invitation to the longest protocol is shorter, also where its titles are escaped and it is indented."""

HINT: Final = "`twinward study keygen` writes keys, `twinward study invite` writes invitations"
_SIGNATURE: Final = "signature"


def signed_fields(fields: Mapping[str, Any], identity: HospitalIdentity, domain: bytes) -> bytes:
    """Members as a file that people can read, signed."""
    signature = identity.sign(domain + canonicalize(fields)).hex()
    return json.dumps({**fields, _SIGNATURE: signature}, indent=2).encode() + b"\n"


def read_fields(raw: bytes, what: str, *, most: int = MAX_BYTES) -> dict[str, Any]:
    """The members of a file, not verified yet. Raises ``InvitationInvalid``, which says that it is not ``what``."""
    if len(raw) > most:
        raise InvitationInvalid(
            sentence("this is not {what}: one has at most {most} bytes", what=what, most=most), hint=HINT
        )
    try:
        fields = json.loads(raw.decode(), object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        raise InvitationInvalid(sentence("this is not {what}: it is no JSON", what=what), hint=HINT) from None
    if not isinstance(fields, dict):
        raise InvitationInvalid(sentence("this is not {what}: it is no JSON object", what=what), hint=HINT)
    return fields


def verify_fields(fields: Mapping[str, Any], public_key: bytes, domain: bytes, what: str) -> None:
    """Raise ``InvitationInvalid`` unless the members are signed by this key for this use."""
    rest = {name: value for name, value in fields.items() if name != _SIGNATURE}
    try:
        signature = bytes.fromhex(fields[_SIGNATURE])
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, domain + canonicalize(rest))
    except (InvalidSignature, CryptoError, KeyError, TypeError, ValueError):
        raise InvitationInvalid(
            sentence("{what} is not signed by whom it names, or was altered", what=what),
            hint="ask that hospital for it anew",
        ) from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice")
    return fields
