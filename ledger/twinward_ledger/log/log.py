"""A log: append to a store, sign what it has become, prove what is in it.

Invariants:

* A checkpoint is signed only if the tree still extends the last one this log signed, and it is kept before anybody
  sees it. A store that was rolled back or rewritten therefore makes the log stop (``LogCorrupt``), not fork.
* Proofs are made from complete subtrees of the store; no leaf is read.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Sequence

from twinward_crypto.errors import InvalidSignature
from twinward_ledger import merkle
from twinward_ledger.errors import LogCorrupt, MalformedCheckpoint, NoSuchEntry, Rollback
from twinward_ledger.formats.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from twinward_ledger.formats.export_seal import seal_export
from twinward_ledger.formats.note import Note, NoteSigner, VerifierKey
from twinward_ledger.log.store import Entry, LogStore


class Log:
    """One hospital's log. The signer's name is the log's origin line."""

    def __init__(self, store: LogStore, signer: NoteSigner) -> None:
        self.store = store
        self._signer = signer
        self._signing = threading.Lock()

    @property
    def origin(self) -> str:
        """The log's name in its checkpoints."""
        return self._signer.key.name

    @property
    def key(self) -> VerifierKey:
        """What its checkpoints verify with."""
        return self._signer.key

    def append(self, entries: Sequence[Entry]) -> range:
        """Append in one durable step; return the indices. Raises ``LogUnavailable`` or ``MalformedLeaf``."""
        return self.store.append(entries)

    def latest(self) -> tuple[Checkpoint, Note] | None:
        """The last checkpoint this log signed, with the cosignatures gathered for it.

        Raises:
            LogCorrupt: what the store holds is not a checkpoint this log signed.
        """
        return self._opened(self.store.checkpoint())

    def checkpoint(self) -> tuple[Checkpoint, Note]:
        """Sign the log as it is now, or give the last checkpoint if nothing was appended since.

        Raises:
            LogCorrupt: the store no longer extends what was signed last.
            LogUnavailable: the checkpoint could not be kept.
        """
        with self._signing:
            size, last = self.store.size(), self.latest()
            if last:
                self._require_extends(last[0], size)
                if last[0].size == size:
                    return last
            checkpoint = Checkpoint(self.origin, size, merkle.root_at(size, self._node))
            note = sign_checkpoint(checkpoint, self._signer)
            try:
                self.store.save_checkpoint(size, note.encode())
            except Rollback as error:  # another process of this log has signed a larger one meanwhile
                newer = self.latest()
                if newer is None:
                    raise LogCorrupt("the last checkpoint is gone", first_bad_index=None) from error
                return newer
            return checkpoint, note

    def require_extends(self, signed: Checkpoint) -> None:
        """Raise ``LogCorrupt`` unless this log still begins with what was once signed. Reads no leaf."""
        self._require_extends(signed, self.store.size())

    def keep_cosignatures(self, note: Note) -> None:
        """Keep a checkpoint's note with the cosignatures it gained, unless a newer checkpoint was signed meanwhile."""
        with self._signing:
            last = self.latest()
            if last and last[1].text == note.text:
                merged = last[1].with_signatures(*note.signatures)
                self.store.save_checkpoint(last[0].size, merged.encode())

    def prove_inclusion(self, index: int, size: int) -> list[bytes]:
        """The audit path of an entry in the tree of ``size`` leaves. Raises ``NoSuchEntry``."""
        if not 0 <= index < size <= self.store.size():
            raise NoSuchEntry(f"no proof of entry {index} in a tree of {size}: the log holds {self.store.size()}")
        return merkle.inclusion_path(index, size, self._node)

    def prove_consistency(self, size1: int, size2: int) -> list[bytes]:
        """The proof that the tree of ``size2`` leaves extends the one of ``size1``. Raises ``NoSuchEntry``."""
        if not 0 < size1 <= size2 <= self.store.size():
            raise NoSuchEntry(f"no proof from size {size1} to {size2}: the log holds {self.store.size()}")
        return merkle.consistency_path(size1, size2, self._node)

    def seal(self, unsealed: bytes) -> bytes:
        """The log's signature over an export (64 bytes); see ``export_seal``."""
        return seal_export(unsealed, self._signer)

    def _opened(self, data: bytes | None) -> tuple[Checkpoint, Note] | None:
        try:
            return open_checkpoint(data, self.key) if data is not None else None
        except (InvalidSignature, MalformedCheckpoint) as error:
            raise LogCorrupt(f"the checkpoint kept is not this log's: {error}", first_bad_index=None) from error

    def _require_extends(self, last: Checkpoint, size: int) -> None:
        if size < last.size:
            raise LogCorrupt(f"the log has shrunk: {size} entries, {last.size} were signed", first_bad_index=size)
        if not hmac.compare_digest(merkle.root_at(last.size, self._node), last.root):
            raise LogCorrupt(
                f"the first {last.size} entries no longer give the root that was signed; verify the log",
                first_bad_index=None,
            )

    def _node(self, level: int, index: int) -> bytes:
        try:
            return self.store.node(level, index)
        except NoSuchEntry as error:  # callers ask below the log's size only, so it must be there
            raise LogCorrupt(
                f"a node of the tree is missing; verify the log ({error})", first_bad_index=None
            ) from error
