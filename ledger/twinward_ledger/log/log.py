"""A log: append to a store, sign what it has become, prove what is in it.

Invariants:

* A checkpoint is signed only if the tree still extends the last one this log signed, and it is kept before anybody
  sees it. A store that was rolled back or rewritten therefore makes the log stop (``LogCorrupt``), not fork.
* Proofs are made from complete subtrees of the store; no leaf is read.
* The store says which key is in force, and believes nobody: every change of the key is a checkpoint that the key before
  and the new one signed, so the chain of them leads from the first key to the newest. The change and its checkpoint are
  one durable step, and no checkpoint is kept from a signer that does not know the newest change: however a process
  ends, one key is in force, and other processes of this log follow with their next checkpoint.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twinward_crypto.errors import CryptoError, InvalidSignature, MalformedKey
from twinward_ledger import merkle
from twinward_ledger.errors import (
    KeyReplaced,
    LogCorrupt,
    LogUnavailable,
    MalformedCheckpoint,
    NoSuchEntry,
    Rollback,
)
from twinward_ledger.formats.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from twinward_ledger.formats.export_seal import seal_export
from twinward_ledger.formats.key_history import KeyHistory
from twinward_ledger.formats.note import Note, NoteSigner, VerifierKey
from twinward_ledger.log.store import Entry, KeyChange, LogStore
from twinward_ledger.log.tiles import TileNodes

Renewed = Callable[[int], NoteSigner]
"""The log's signer of a generation; the second is the one after the first change."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """Which keys the store's changes give, and what signs now."""

    changes: tuple[KeyChange, ...]
    history: KeyHistory
    signer: NoteSigner


class Log:
    """One hospital's log.

    Args:
        store: where it lies.
        signer: of its first key. The signer's name is the log's origin line.
        renewed: its later keys; None for a log whose key never changes.
    """

    def __init__(self, store: LogStore, signer: NoteSigner, renewed: Renewed | None = None) -> None:
        self.store = store
        self._first = signer
        self._renewed = renewed
        self._signing = threading.Lock()
        self._keys = _Keys((), KeyHistory(signer.key), signer)

    @property
    def origin(self) -> str:
        """The log's name in its checkpoints."""
        return self._first.key.name

    @property
    def key(self) -> VerifierKey:
        """What its newest checkpoints verify with, as far as ``known_history`` knows."""
        return self.known_history.newest

    @property
    def known_history(self) -> KeyHistory:
        """All its keys; the last that were known where the store does not answer, or holds what is none. For pages."""
        try:
            return self._in_force().history
        except (LogUnavailable, LogCorrupt):
            return self._keys.history

    @property
    def history(self) -> KeyHistory:
        """All its keys. Raises ``LogCorrupt`` where a change of them is not what this log signed."""
        return self._in_force().history

    @property
    def next_key(self) -> VerifierKey:
        """What the next change of the key would bring into force."""
        return self._signer_after(self._in_force()).key

    def open(self, data: bytes) -> tuple[Checkpoint, Note]:
        """Read a checkpoint that this log signed with the key that counts for its size; see ``KeyHistory.open``."""
        return self.history.open(data)

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
            while True:
                try:
                    return self._checkpoint(self._in_force())
                except KeyReplaced:  # by another process, between reading and keeping
                    continue

    def change_key(self, to: VerifierKey) -> KeyHistory:
        """Bring the next key into force: sign the log as it is with it and with the one before.

        The caller has appended what says so before. Other processes of this log follow with their next checkpoint.

        Raises:
            LogCorrupt: the store no longer extends what was signed last.
            KeyReplaced: another process changed the key meanwhile: ``to`` is not the next one any more.
            Rollback: the key was changed at this size already, or another process signed a larger one meanwhile.
            MalformedKey: the log has changed its key as often as it can.
            LogUnavailable: nothing was changed.
        """
        with self._signing:
            keys = self._in_force()
            signer, size, last = self._signer_after(keys), self.store.size(), self.latest()
            if signer.key != to:
                raise KeyReplaced(f"the next key of the log is {signer.key}, not {to}")
            if last:
                self._require_extends(last[0], size)
            if size == 0 or (keys.changes and keys.changes[-1].size >= size):
                raise Rollback(f"the log's key cannot be changed at size {size}: nothing was logged since the last one")
            keys.history.replaced_by(signer.key, size)  # raises where it would be one key too many
            checkpoint = Checkpoint(self.origin, size, merkle.root_at(size, self._node))
            note = last[1] if last and last[0].size == size else sign_checkpoint(checkpoint, keys.signer)
            both = note.with_signatures(signer.sign(note.text)).encode()
            self.store.change_key(KeyChange(len(keys.changes) + 1, size, str(signer.key), both))
            return self._in_force().history

    def require_extends(self, signed: Checkpoint) -> None:
        """Raise ``LogCorrupt`` unless this log still begins with what was once signed. Reads no leaf."""
        self._require_extends(signed, self.store.size())

    def keep_cosignatures(self, note: Note) -> None:
        """Keep a checkpoint's note with the cosignatures it gained, unless a newer checkpoint was signed meanwhile."""
        with self._signing:
            while True:
                keys, last = self._in_force(), self.latest()
                if not last or last[1].text != note.text:
                    return
                merged = last[1].with_signatures(*note.signatures)
                try:
                    self.store.save_checkpoint(last[0].size, merged.encode(), key_changes=len(keys.changes))
                except KeyReplaced:  # by another process: that checkpoint may bear a further signature now
                    continue
                return

    def prove_inclusion(self, index: int, size: int) -> list[bytes]:
        """The audit path of an entry in the tree of ``size`` leaves. Raises ``NoSuchEntry``."""
        return self.prover(size)(index)

    def prover(self, size: int) -> Callable[[int], list[bytes]]:
        """``prove_inclusion`` for many entries of one tree, best in rising order: tiles they share are read once.

        Raises ``NoSuchEntry``, as what it returns does.
        """
        held = self.store.size()
        if not 0 < size <= held:
            raise NoSuchEntry(f"no proof in a tree of {size}: the log holds {held}")
        nodes = TileNodes(self.store.tile)

        def node(level: int, place: int) -> bytes:
            found = nodes.node(level, place)
            if found is None:
                message = f"node {place} at level {level} of the tree is missing; verify the log"
                raise LogCorrupt(message, first_bad_index=None)
            return found

        def prove(index: int) -> list[bytes]:
            if not 0 <= index < size:
                raise NoSuchEntry(f"no proof of entry {index} in a tree of {size}: the log holds {held}")
            return merkle.inclusion_path(index, size, node)

        return prove

    def prove_consistency(self, size1: int, size2: int) -> list[bytes]:
        """The proof that the tree of ``size2`` leaves extends the one of ``size1``. Raises ``NoSuchEntry``."""
        if not 0 < size1 <= size2 <= self.store.size():
            raise NoSuchEntry(f"no proof from size {size1} to {size2}: the log holds {self.store.size()}")
        return merkle.consistency_path(size1, size2, self._node)

    def seal(self, unsealed: bytes) -> bytes:
        """The log's signature over an export (64 bytes); see ``export_seal``."""
        return seal_export(unsealed, self._in_force().signer)

    def _checkpoint(self, keys: _Keys) -> tuple[Checkpoint, Note]:
        size, last = self.store.size(), self.latest()
        if last:
            self._require_extends(last[0], size)
            if last[0].size == size:
                return last
        checkpoint = Checkpoint(self.origin, size, merkle.root_at(size, self._node))
        note = sign_checkpoint(checkpoint, keys.signer)
        try:
            self.store.save_checkpoint(size, note.encode(), key_changes=len(keys.changes))
        except Rollback as error:  # another process of this log has signed a larger one meanwhile
            newer = self.latest()
            if newer is None:
                raise LogCorrupt("the last checkpoint is gone", first_bad_index=None) from error
            return newer
        return checkpoint, note

    def _in_force(self) -> _Keys:
        """The keys as the store has them now. Raises ``LogCorrupt``, ``LogUnavailable``."""
        changes = tuple(self.store.key_changes())
        if changes != self._keys.changes:
            self._keys = self._verified(changes)
        return self._keys

    def _verified(self, changes: tuple[KeyChange, ...]) -> _Keys:
        history, signer = KeyHistory(self._first.key), self._first
        for number, change in enumerate(changes, 1):
            try:
                open_checkpoint(change.note, history.newest)
                checkpoint, _ = open_checkpoint(change.note, VerifierKey.parse(change.key))
                if (change.number, change.size) != (number, checkpoint.size):
                    raise MalformedCheckpoint("it stands at another place")
                history = history.replaced_by(VerifierKey.parse(change.key), change.size)
            except (InvalidSignature, MalformedCheckpoint, MalformedKey) as error:
                raise LogCorrupt(
                    f"change {number} of the log's key was not signed by the key before and the new one: {error}",
                    first_bad_index=None,
                ) from error
            signer = self._signer_of(number + 1)
            if signer.key != history.newest:
                raise LogCorrupt(f"the log's key {history.newest} is none of this node's", first_bad_index=None)
        return _Keys(changes, history, signer)

    def _signer_after(self, keys: _Keys) -> NoteSigner:
        return self._signer_of(len(keys.changes) + 2)

    def _signer_of(self, generation: int) -> NoteSigner:
        if self._renewed is None:
            raise LogCorrupt("the log's key was changed, and this log has one only", first_bad_index=None)
        try:
            return self._renewed(generation)
        except CryptoError as error:
            raise LogUnavailable(f"the log's key cannot be had from the key service: {error}") from error

    def _opened(self, data: bytes | None) -> tuple[Checkpoint, Note] | None:
        try:
            return self.open(data) if data is not None else None
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
