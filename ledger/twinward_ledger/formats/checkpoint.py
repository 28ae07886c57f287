"""C2SP tlog-checkpoints: a log's size and root, signed by the log (c2sp.org/tlog-checkpoint).

The note's text is ``origin \\n size \\n base64(root) \\n`` and, opaque, any extension lines. This package writes no
extension lines and accepts them from others. The log's key has the origin as its name.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from twinward_ledger.errors import MalformedCheckpoint
from twinward_ledger.formats.note import Note, NoteSigner, VerifierKey, decode_base64, verify_note
from twinward_ledger.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log was at one size. ``root`` is 32 bytes."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note's text. Raises ``MalformedCheckpoint`` for values that have none."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        text = "".join(line + "\n" for line in lines)
        if Checkpoint.parse(text) != self:
            raise MalformedCheckpoint("a checkpoint's lines hold no newline")
        return text

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note's text strictly. Raises ``MalformedCheckpoint``."""
        lines = text.split("\n")
        if lines.pop() or len(lines) < 3 or not all(lines):
            raise MalformedCheckpoint("a checkpoint is at least three lines, none empty, each ended by a newline")
        origin, size, encoded, *extensions = lines
        if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE:
            raise MalformedCheckpoint("a checkpoint's size is a decimal below 2**63 without leading zeros")
        root = decode_base64(encoded)
        if len(root) != HASH_BYTES:
            raise MalformedCheckpoint(f"a checkpoint's root is {HASH_BYTES} bytes")
        if size == "0" and root != EMPTY_ROOT:
            raise MalformedCheckpoint("an empty log has one root only")
        return cls(origin, int(size), root, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> Note:
    """The checkpoint as a note signed by the log. The signer's name must be the origin."""
    if signer.key.name != checkpoint.origin:
        raise MalformedCheckpoint(f"the key {signer.key.name} does not sign for the log {checkpoint.origin}")
    text = checkpoint.text()
    return Note(text, (signer.sign(text),))


def open_checkpoint(data: bytes, key: VerifierKey) -> tuple[Checkpoint, Note]:
    """Read a checkpoint that the log with this key signed; cosignatures stay unchecked in the note.

    Raises:
        MalformedCheckpoint: it does not parse, or is another log's.
        InvalidSignature: the log did not sign it.
    """
    note = Note.parse(data)
    verify_note(note, key)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != key.name:
        raise MalformedCheckpoint(f"a checkpoint of {checkpoint.origin}, expected {key.name}")
    return checkpoint, note
