"""A split view's evidence: two notes one log signed that cannot both be true, in one file that anybody can check.

The file (text, integers decimal, base64 as everywhere)::

    twinward/split-view/v1
    log <vkey>
    log <vkey>                    (only where the log's key changed between the two: the second note's)
    prefix <base64 hash>          (only where the two sizes differ)
    <base64 hash>                 (consistency proof lines, only there)
    <empty line>
    <the first note's text>
    <empty line>
    <the log's one signature line>
    <empty line>
    <the second note, likewise>

* **One size, two roots**: the two texts contradict each other as they stand. The note with the smaller root is first.
* **Two sizes**: the smaller is first. ``prefix`` is the root that the *larger* tree has at the smaller size: the proof
  leads from it to the larger note's root, and it is not the root that was signed for the smaller size.

A log that changed its key (``log_keys``) is answerable for what it signed with either. Whoever checks such a file must
know both keys to be that log's: anybody could put a key of his own beside another's.

Notes carry the log's own signature and nothing else, so every byte of the file is either signed or derived: no byte
can be changed without the file being refused. Needs public keys only: no log, no network, nothing of the platform.
"""

from __future__ import annotations

import base64
import hmac
from contextlib import suppress
from dataclasses import dataclass

from twinward_crypto.errors import InvalidSignature, MalformedKey
from twinward_ledger import merkle
from twinward_ledger.errors import InvalidProof, MalformedCheckpoint, MalformedEvidence
from twinward_ledger.formats.checkpoint import Checkpoint, open_checkpoint
from twinward_ledger.formats.note import Note, VerifierKey, decode_base64

HEADER = "twinward/split-view/v1"
MAX_EVIDENCE_BYTES = 64 * 1024
MAX_PROOF_LINES = 63
MEDIA_TYPE = "text/x.twinward.split-view"

_Signed = tuple[VerifierKey, Note]
"""A note with the one signature on it, and the key that made it."""


@dataclass(frozen=True, slots=True)
class SplitViewEvidence:
    """A contradiction that verified: there is no other way to get one than ``of``, ``of_sizes`` and ``verify``.

    Attributes:
        signers: the key that signed both notes, or the first's and the second's where the log's key changed.
        first, second: the checkpoints, smaller size or root first.
        notes: both as signed notes, in the same order.
        encoded: the file.
    """

    signers: tuple[VerifierKey, ...]
    first: Checkpoint
    second: Checkpoint
    notes: tuple[bytes, bytes]
    encoded: bytes

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.signers[0].name

    @property
    def statement(self) -> str:
        """What it proves, in one sentence."""
        one, other = self.first, self.second
        if one.size == other.size:
            return f"{self.origin} signed two roots for size {one.size}"
        return f"{self.origin} signed a tree of {other.size} that does not extend the tree of {one.size} it signed"

    @classmethod
    def of(cls, one: bytes, other: bytes, *keys: VerifierKey) -> SplitViewEvidence:
        """The evidence of two notes of one size, which any of the log's ``keys`` signed.

        Raises ``MalformedEvidence`` unless they contradict each other.
        """
        first, second = sorted(_only_signed(keys, one, other), key=lambda signed: _order(signed[1]))
        return verify(_encode(None, (), first, second), *keys)

    @classmethod
    def of_sizes(
        cls, smaller: bytes, larger: bytes, *keys: VerifierKey, prefix: bytes, proof: tuple[bytes, ...]
    ) -> SplitViewEvidence:
        """The evidence of two notes of different sizes.

        Args:
            smaller, larger: the notes.
            keys: the log's; one of them signed each.
            prefix: the root of the larger tree's first ``smaller.size`` leaves.
            proof: the consistency proof from ``prefix`` to the larger tree.

        Raises:
            MalformedEvidence: they do not contradict each other.
        """
        return verify(_encode(prefix, proof, *_only_signed(keys, smaller, larger)), *keys)


def verify(data: bytes, *keys: VerifierKey) -> SplitViewEvidence:
    """Check an evidence file from end to end.

    Args:
        data: the file.
        keys: the log's; every key of the file must be one of them. None given takes the file's own word for whose log
            it is, and the caller must compare ``signers`` with the keys known to be that hospital's.

    Raises:
        MalformedEvidence: it is not such a file, about another log, or proves no contradiction.
    """
    try:
        return _verify(data, keys)
    except (MalformedCheckpoint, MalformedKey, InvalidSignature, InvalidProof, UnicodeDecodeError) as error:
        raise MalformedEvidence(f"not a split view's evidence: {error}") from None


def _verify(data: bytes, known: tuple[VerifierKey, ...]) -> SplitViewEvidence:
    if len(data) > MAX_EVIDENCE_BYTES:
        raise MalformedEvidence(f"a split view's evidence is at most {MAX_EVIDENCE_BYTES} bytes")
    head, *rest = data.split(b"\n\n")
    lines = head.decode("ascii").split("\n")
    if len(rest) != 4 or len(lines) < 2 or lines[0] != HEADER or not lines[1].startswith("log "):
        raise MalformedEvidence("not a split view's evidence")
    keys = [VerifierKey.parse(line.removeprefix("log ")) for line in lines[1:3] if line.startswith("log ")]
    for key in keys:
        if known and key not in known:
            raise MalformedEvidence(f"this evidence is about {key.name}, not about {known[0].name} and its key")
    if len(keys) == 2 and (keys[0] == keys[1] or keys[0].name != keys[1].name):
        raise MalformedEvidence("two keys of one log are told apart, and have its name")
    notes = (rest[0] + b"\n\n" + rest[1] + b"\n", rest[2] + b"\n\n" + rest[3])
    (first, one), (second, other) = open_checkpoint(notes[0], keys[0]), open_checkpoint(notes[1], keys[-1])
    prefix, proof = _proof(lines[1 + len(keys) :])
    _require_contradiction(first, second, prefix, proof)
    encoded = _encode(prefix, proof, (keys[0], one), (keys[-1], other))
    if encoded != data or len(one.signatures) != 1 or len(other.signatures) != 1:
        raise MalformedEvidence("the evidence is not in its one canonical form")
    return SplitViewEvidence(tuple(keys), first, second, notes, data)


def _require_contradiction(
    first: Checkpoint, second: Checkpoint, prefix: bytes | None, proof: tuple[bytes, ...]
) -> None:
    if prefix is None:
        if first.size != second.size or first.root >= second.root or proof:
            raise MalformedEvidence("these two checkpoints do not contradict each other")
        return
    if not 0 < first.size < second.size or hmac.compare_digest(prefix, first.root):
        raise MalformedEvidence("these two checkpoints do not contradict each other")
    merkle.verify_consistency(first.size, second.size, proof, prefix, second.root)


def _proof(lines: list[str]) -> tuple[bytes | None, tuple[bytes, ...]]:
    if not lines:
        return None, ()
    if not lines[0].startswith("prefix ") or len(lines) > 1 + MAX_PROOF_LINES:
        raise MalformedEvidence("a proof begins with the prefix's root and has 63 lines at most")
    return decode_base64(lines[0].removeprefix("prefix ")), tuple(decode_base64(line) for line in lines[1:])


def _only_signed(keys: tuple[VerifierKey, ...], *notes: bytes) -> list[_Signed]:
    """Each note stripped to one signature of the log's own, with the key that made it: one key's, if it can be."""
    problems = []
    for key in keys:
        try:
            return [(key, _only_signed_by(note, key)) for note in notes]
        except MalformedEvidence as error:
            problems.append(error)
    found = [_by_any(note, keys) for note in notes]
    if None in found:
        raise problems[0]
    return [one for one in found if one is not None]


def _by_any(note: bytes, keys: tuple[VerifierKey, ...]) -> _Signed | None:
    for key in keys:
        with suppress(MalformedEvidence):
            return key, _only_signed_by(note, key)
    return None


def _only_signed_by(data: bytes, log: VerifierKey) -> Note:
    """A note stripped to the log's own signature: only that one is evidence."""
    try:
        _, note = open_checkpoint(data, log)
    except (MalformedCheckpoint, InvalidSignature) as error:
        raise MalformedEvidence(f"not a checkpoint signed by {log.name}: {error}") from None
    return Note(note.text, tuple(one for one in note.signatures if (one.name, one.key_id) == (log.name, log.key_id)))


def _order(note: Note) -> tuple[int, bytes]:
    checkpoint = Checkpoint.parse(note.text)
    return checkpoint.size, checkpoint.root


def _encode(prefix: bytes | None, proof: tuple[bytes, ...], one: _Signed, other: _Signed) -> bytes:
    lines = [HEADER, *dict.fromkeys(f"log {key}" for key in (one[0], other[0]))]
    if prefix is not None:
        lines += [f"prefix {_base64(prefix)}", *map(_base64, proof)]
    return b"".join(line.encode() + b"\n" for line in lines) + b"\n" + one[1].encode() + b"\n" + other[1].encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
