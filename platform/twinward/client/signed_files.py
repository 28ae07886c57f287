"""What a vendor's files of a hospital's answers have in common: a JSON object of one format, with the signed terms."""

from __future__ import annotations

from typing import Any, Final

from twinward.client.checking import parsed, read_as, require_proof
from twinward.client.errors import AnswerForged, AnswerMalformed
from twinward.core.errors import BadInput
from twinward.protocol.proofs import Kind, Proof
from twinward.protocol.terms import Terms

MAX_FILE_BYTES: Final = 300 << 20


def members(data: bytes, form: str, *, what: str, hint: str) -> dict[str, Any]:
    """A file's members, ``terms`` an object. Raises ``BadInput`` for what is not of this format."""
    try:
        told = parsed(data)
    except AnswerMalformed:
        raise BadInput(f"this is no {what}: not a JSON object", hint=hint) from None
    if told.get("format") != form or not isinstance(told.get("terms"), dict):
        raise BadInput(f"this is no {what}", hint=hint)
    return told


def terms_in(told: dict[str, Any], key: str | None) -> tuple[Terms, Proof, str]:
    """The terms, their proof, and the key that signed them, which has to sign what else is in the file.

    Args:
        told: the terms, the very JSON that the hospital sent.
        key: the hospital's key for answers as hex; None takes the file's own word for it.

    Raises:
        AnswerForged, AnswerMalformed: not the hospital's, altered, or no terms.
    """
    terms = read_as(Terms, told)
    believed = key or (terms.proof.key if terms.proof else "")
    about = require_proof(Kind.TERMS, told, key=believed)
    if terms.fingerprint != terms.feature_schema.fingerprint() or about.binding != terms.binding().hex():
        raise AnswerForged("terms that contradict themselves")
    return terms, about, believed
