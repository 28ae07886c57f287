"""C2SP signed notes (c2sp.org/signed-note): a text signed by one or more named Ed25519 keys.

A note is the text (ending in a newline), an empty line, then signature lines
``— <key name> base64(key id, 4 bytes ‖ signature)``. The key id is
``SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key)[:4]``, so name and id together say which key and which kind of
signature it is; signatures of unknown keys are ignored, those of a known key must verify.

Parsing is stricter than the specification in one point: a (name, id) pair may sign a note only once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature as _BadEd25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from twinward_crypto.errors import InvalidSignature, MalformedKey
from twinward_ledger.errors import MalformedCheckpoint

MAX_NOTE_BYTES = 256 * 1024
MAX_SIGNATURES = 100
KEY_ID_BYTES = 4
ED25519_KEY_BYTES = 32
ED25519_SIGNATURE_BYTES = 64

_DASH = "— "


class Algorithm(IntEnum):
    """Signature type bytes assigned by c2sp.org/signed-note."""

    ED25519 = 0x01
    """A plain signature over the note's text."""
    COSIGNATURE_V1 = 0x04
    """A timestamped witness cosignature (c2sp.org/tlog-cosignature)."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named public key, written ``name+hex(key id)+base64(algorithm ‖ public key)``."""

    name: str
    algorithm: Algorithm
    public_key: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name):
            raise MalformedKey("a note key's name is not empty and has neither spaces nor '+'")
        if len(self.public_key) != ED25519_KEY_BYTES:
            raise MalformedKey(f"an Ed25519 public key is {ED25519_KEY_BYTES} bytes")

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before each of its signatures."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public_key).digest()[:4]

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.algorithm]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a key as written. Raises ``MalformedKey`` for anything else, a wrong key id included."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            material = decode_base64(encoded)
        except MalformedCheckpoint as error:
            raise MalformedKey("a note key's material is not base64") from error
        if len(material) != 1 + ED25519_KEY_BYTES or material[0] not in list(Algorithm):
            raise MalformedKey("a note key of an unknown algorithm or a wrong length")
        key = cls(name, Algorithm(material[0]), material[1:])
        if key.key_id.hex() != key_id:
            raise MalformedKey("a note key whose id does not belong to it")
        return key


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: whose it is said to be, and the bytes after the key id."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read one line, its newline included. Raises ``MalformedCheckpoint``."""
        if not line.startswith(_DASH) or not line.endswith("\n"):
            raise MalformedCheckpoint("a signature line starts with an em dash and a space and ends in a newline")
        name, _, encoded = line[len(_DASH) : -1].partition(" ")
        if not _is_key_name(name):
            raise MalformedCheckpoint("a signature line without a proper key name")
        data = decode_base64(encoded)
        if len(data) <= KEY_ID_BYTES:
            raise MalformedCheckpoint("a signature line too short to hold a signature")
        return cls(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, none of them checked yet."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note's bytes. Raises ``MalformedCheckpoint`` if it could not be read back."""
        data = (self.text + "\n" + "".join(map(str, self.signatures))).encode("utf-8", "surrogatepass")
        Note.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read a note strictly. Raises ``MalformedCheckpoint``; nothing is verified."""
        if len(data) > MAX_NOTE_BYTES:
            raise MalformedCheckpoint(f"a note longer than {MAX_NOTE_BYTES} bytes")
        if any(byte < 0x20 and byte != 0x0A for byte in data):
            raise MalformedCheckpoint("a note with control characters")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedCheckpoint("a note that is not UTF-8") from None
        at = whole.rfind("\n\n")
        if at < 0:
            raise MalformedCheckpoint("a note without the empty line before its signatures")
        lines = whole[at + 2 :].split("\n")
        if lines[-1] or len(lines) < 2:
            raise MalformedCheckpoint("a note without signatures, or cut off")
        if len(lines) - 1 > MAX_SIGNATURES:
            raise MalformedCheckpoint(f"a note with more than {MAX_SIGNATURES} signatures")
        signatures = tuple(Signature.parse(line + "\n") for line in lines[:-1])
        if len({(one.name, one.key_id) for one in signatures}) != len(signatures):
            raise MalformedCheckpoint("a key has signed the note twice")
        return cls(whole[: at + 1], signatures)

    def signature_of(self, key: VerifierKey) -> bytes:
        """The bytes a known key put there. Raises ``InvalidSignature`` if it did not sign."""
        for signature in self.signatures:
            if signature.name == key.name and signature.key_id == key.key_id:
                return signature.blob
        raise InvalidSignature(f"the note carries no signature of {key.name}")

    def with_signatures(self, *more: Signature) -> Note:
        """This note with further signatures; one of a (name, id) that is there already replaces it."""
        new = {(one.name, one.key_id) for one in more}
        kept = tuple(one for one in self.signatures if (one.name, one.key_id) not in new)
        return Note(self.text, kept + more)


class NoteSigner:
    """A named Ed25519 private key, given as its 32-byte seed."""

    def __init__(self, name: str, seed: bytes) -> None:
        if len(seed) != ED25519_KEY_BYTES:
            raise MalformedKey(f"an Ed25519 seed is {ED25519_KEY_BYTES} bytes")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        self.key = VerifierKey(name, Algorithm.ED25519, public)
        self.cosigner_key = VerifierKey(name, Algorithm.COSIGNATURE_V1, public)

    def __repr__(self) -> str:
        return f"NoteSigner({self.key})"

    def sign(self, text: str) -> Signature:
        """A plain signature over a note's text."""
        return Signature(self.key.name, self.key.key_id, self.sign_bytes(text.encode()))

    def sign_bytes(self, message: bytes) -> bytes:
        """A raw Ed25519 signature (64 bytes), for formats that build their own message."""
        return self._private.sign(message)


def verify_note(note: Note, key: VerifierKey) -> None:
    """Accept a note that a plain Ed25519 key signed.

    Raises:
        InvalidSignature: the key did not sign it, or its signature does not verify.
    """
    if key.algorithm is not Algorithm.ED25519:
        raise InvalidSignature(f"{key.name} is a cosigner's key, not one that signs notes")
    verify_ed25519(key.public_key, note.text.encode(), note.signature_of(key))


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Accept a raw Ed25519 signature (RFC 8032). Raises ``InvalidSignature``."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (_BadEd25519, ValueError):
        raise InvalidSignature("an Ed25519 signature does not verify") from None


def decode_base64(text: str) -> bytes:
    """Standard base64 (RFC 4648 section 4) in its one canonical spelling. Raises ``MalformedCheckpoint``."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedCheckpoint("not base64") from None
    if base64.b64encode(data).decode() != text:  # padding bits or characters that another decoder would reject
        raise MalformedCheckpoint("not canonical base64")
    return data


def _is_key_name(name: str) -> bool:
    printable = all(not char.isspace() and ord(char) >= 0x20 and not 0xD800 <= ord(char) < 0xE000 for char in name)
    return bool(name) and "+" not in name and printable
