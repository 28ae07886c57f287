"""What a witness signs: "this is the largest tree I have seen of this log, and it extends what I saw before".

Two forms of the same statement:

* **Ed25519** ``cosignature/v1`` (c2sp.org/tlog-cosignature): each witness puts its own time in; goes into the note.
  Signed: ``cosignature/v1\\n`` ‖ ``time <seconds>\\n`` ‖ the checkpoint's text. In the note: u64 time ‖ signature.
* **BLS12-381**: all witnesses sign one message, so that their signatures add up to one that a contract can check.
  The proposer sets the time and every witness checks it against its own clock.

The BLS message is bound to one chain, one contract, one log and one epoch of the witness set, so it cannot be
replayed to another. Its bytes are in ``AnchorStatement``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from twinward_crypto import bls
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import MalformedCheckpoint
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.note import ED25519_SIGNATURE_BYTES, Algorithm, Note, NoteSigner, Signature, VerifierKey
from twinward_ledger.formats.note import verify_ed25519 as _verify_ed25519

TIMESTAMP_BYTES = 8
ADDRESS_BYTES = 20

ANCHOR_DOMAIN = b"twinward/access-anchor/v1".ljust(32, b"\0")
"""``AccessAnchor.DOMAIN``: keeps an anchor statement from being read as another message under the same key."""


ANCHOR_ALGORITHM = b"twinward/bls-anchor/v1"
"""What a BLS signature over an anchor statement is called in a note's signature line."""

ANCHOR_LINE_BYTES = TIMESTAMP_BYTES + 96
"""What follows the key id there."""


def log_id(origin: str) -> bytes:
    """The 32 bytes by which contracts name a log: SHA-256 of its origin line (UTF-8, no newline)."""
    return hashlib.sha256(origin.encode()).digest()


@dataclass(frozen=True, slots=True)
class AnchorDomain:
    """Where an anchor is valid: an EIP-155 chain id, a contract (20 bytes), the epoch of the witness set."""

    chain_id: int
    contract: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class AnchorStatement:
    """The one message that all witnesses of a checkpoint sign with BLS.

    256 bytes, eight words of 32 bytes as Solidity's ``abi.encode`` lays them out, integers big-endian:
    ``ANCHOR_DOMAIN ‖ chain id ‖ contract (left-padded) ‖ log id ‖ epoch ‖ size ‖ root ‖ time``.
    Time is the proposer's, in whole seconds since the Unix epoch.
    """

    domain: AnchorDomain
    origin: str
    size: int
    root: bytes
    time_s: int

    @classmethod
    def of(cls, domain: AnchorDomain, checkpoint: Checkpoint, time_s: int) -> AnchorStatement:
        """The statement for a checkpoint."""
        return cls(domain, checkpoint.origin, checkpoint.size, checkpoint.root, time_s)

    def message(self) -> bytes:
        """The bytes that are signed."""
        domain = self.domain
        if len(domain.contract) != ADDRESS_BYTES or len(self.root) != 32:
            raise MalformedCheckpoint("an anchor statement wants a 20-byte address and a 32-byte root")
        try:
            return b"".join(
                (
                    ANCHOR_DOMAIN,
                    domain.chain_id.to_bytes(32, "big"),
                    domain.contract.rjust(32, b"\0"),
                    log_id(self.origin),
                    domain.epoch.to_bytes(8, "big").rjust(32, b"\0"),
                    self.size.to_bytes(8, "big").rjust(32, b"\0"),
                    self.root,
                    self.time_s.to_bytes(8, "big").rjust(32, b"\0"),
                )
            )
        except OverflowError:
            raise MalformedCheckpoint("a number in an anchor statement is out of range") from None


def cosign(text: str, time_s: int, signer: NoteSigner) -> Signature:
    """A witness's timestamped Ed25519 cosignature over a checkpoint's text."""
    blob = time_s.to_bytes(TIMESTAMP_BYTES, "big") + signer.sign_bytes(_v1_message(text, time_s))
    return Signature(signer.cosigner_key.name, signer.cosigner_key.key_id, blob)


def verify_cosignature(note: Note, key: VerifierKey) -> int:
    """Accept one witness's Ed25519 cosignature; return the time it states (seconds since the Unix epoch).

    Raises:
        InvalidSignature: the witness did not cosign this note, or its signature does not verify.
    """
    if key.algorithm is not Algorithm.COSIGNATURE_V1:
        raise InvalidSignature(f"{key.name} is not a cosigner's key")
    blob = note.signature_of(key)
    if len(blob) != TIMESTAMP_BYTES + ED25519_SIGNATURE_BYTES:
        raise InvalidSignature("a cosignature of a wrong length")
    time_s = int.from_bytes(blob[:TIMESTAMP_BYTES], "big")
    if time_s >= 2**63:
        raise InvalidSignature("a cosignature's time is out of range")
    _verify_ed25519(key.public_key, _v1_message(note.text, time_s), blob[TIMESTAMP_BYTES:])
    return time_s


def anchor_key_id(name: str, bls_public_key: bytes) -> bytes:
    """The four bytes before a witness's BLS signature in a note's line.

    ``SHA-256(name ‖ LF ‖ 0xff ‖ "twinward/bls-anchor/v1" ‖ public key)[:4]``: type 0xff is c2sp.org/signed-note's for
    algorithms named by a long identifier, so whoever does not know this one ignores the line.
    """
    return hashlib.sha256(name.encode() + b"\n\xff" + ANCHOR_ALGORITHM + bls_public_key).digest()[:4]


def cosign_bls(statement: AnchorStatement, secret_key: bytes) -> bytes:
    """A witness's BLS signature over the common statement (96 bytes)."""
    return bls.sign(secret_key, statement.message())


def _v1_message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
