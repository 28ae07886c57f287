"""A backup's manifest: what is in it, signed by the node. Nothing of an archive is believed before it verifies.

The text of a C2SP signed note: the line ``twinward/backup/1``, then one line of JSON. Its first line can be no log's
origin, and its key signs nothing but backups.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import msgspec

from twinward.backup.errors import BackupDamaged
from twinward_crypto.errors import InvalidSignature, MalformedKey
from twinward_ledger.errors import MalformedCheckpoint
from twinward_ledger.formats.note import Note, NoteSigner, VerifierKey, verify_note

HEADLINE = "twinward/backup/1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}")

SQLITE, POSTGRES, PLAIN = "sqlite", "postgresql", "file"


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One member of the archive: its path in the home, or ``pg/DATABASE/TABLE``, its length and SHA-256."""

    name: str
    kind: str
    size_bytes: int
    sha256: str
    roles: list[str] = []
    """Which of records, keyring and log it holds."""
    columns: list[str] = []
    """Of a table, in the order they were copied."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds.

    Attributes:
        tenant: whose node.
        origin: its log's name.
        made_at_ms: when its databases were held still.
        made_by: the version of Twinward.
        log_size: entries in its access log.
        checkpoint: the newest signed checkpoint in it, with its cosignatures; empty if there was none.
        keks: versions of the KEK that the keyring in it needs.
        parts: what it consists of.
        left_out: files of the home that are not in it.
    """

    tenant: str
    origin: str
    made_at_ms: int
    made_by: str
    log_size: int
    checkpoint: str
    keks: list[int]
    parts: list[Part]
    left_out: list[str] = []

    def roles(self) -> dict[str, Part]:
        """The part that holds each of records, keyring and log (for a server's database, one of its tables)."""
        return {role: part for part in self.parts for role in part.roles}


def sign(manifest: Manifest, signer: NoteSigner) -> bytes:
    """The manifest as it stands in the archive."""
    text = f"{HEADLINE}\n{msgspec.json.encode(manifest).decode()}\n"
    return Note(text, (signer.sign(text),)).encode()


def claimed_tenant(note: bytes) -> str:
    """Whose backup it says it is, to know which key must have signed it. Raises ``BackupDamaged``."""
    return _decoded(note)[1].tenant


def verify(note: bytes, key: VerifierKey) -> Manifest:
    """The manifest of a genuine backup. Raises ``BackupDamaged``."""
    parsed, manifest = _decoded(note)
    try:
        verify_note(parsed, key)
    except (InvalidSignature, MalformedKey):
        raise BackupDamaged(
            "this backup was not signed by this node's key, or was altered",
            hint="restore with the keys of the node it was made on (--keys-from), or take another backup",
        ) from None
    return manifest


def _decoded(note: bytes) -> tuple[Note, Manifest]:
    try:
        parsed = Note.parse(note)
        headline, text = parsed.text.split("\n", 1)
        if headline != HEADLINE:
            raise BackupDamaged("this is no backup that this version of Twinward reads")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (MalformedCheckpoint, ValueError, msgspec.DecodeError):
        raise BackupDamaged("the backup's manifest cannot be read", hint="take another backup") from None
    names = [part.name for part in manifest.parts]
    if len(set(names)) != len(names) or not all(map(_is_safe, names)):
        raise BackupDamaged("the backup's manifest names parts that cannot be")
    return parsed, manifest


def _is_safe(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and PurePosixPath(name).suffix != ".key"
