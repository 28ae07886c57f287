"""The log's signature over a whole export: whoever holds one can show that the hospital handed out exactly this.

Most of a proof file proves itself. What does not (in which block an anchor is, which openings were left out) is as
good as the hospital's word, and the seal makes it that: one bit changed on the way, anywhere in the file, is refused.
It is an Ed25519 signature by the log's key over ``"twinward/export-seal/1" ‖ LF ‖ the file with a null seal``. A note
signed by the same key begins with the log's origin, which this line is not, so neither passes for the other.
"""

from __future__ import annotations

from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import InvalidProof
from twinward_ledger.formats.note import NoteSigner, VerifierKey, verify_ed25519

SEAL_DOMAIN = b"twinward/export-seal/1\n"


def seal_export(unsealed: bytes, signer: NoteSigner) -> bytes:
    """The log's signature over a file as it is without a seal (64 bytes)."""
    return signer.sign_bytes(SEAL_DOMAIN + unsealed)


def verify_seal(unsealed: bytes, seal: bytes | None, *log: VerifierKey) -> None:
    """Accept a file that the log sealed, with one of these keys of it.

    Raises ``InvalidProof`` for one without a seal, ``InvalidSignature``.
    """
    if seal is None:
        raise InvalidProof("the file bears no seal: the hospital never handed it out like this")
    for key in log:
        try:
            verify_ed25519(key.public_key, SEAL_DOMAIN + unsealed, seal)
        except InvalidSignature:
            continue
        return
    raise InvalidSignature("the seal does not fit: the file was changed after the hospital handed it out")
