"""A witness: a hospital that cosigns another's log after checking that it only ever grew (c2sp.org/tlog-witness).

The order of checks in ``Witness.cosign``:

1. the log is one it was configured with, and the log signed the checkpoint, with a key it has not replaced since;
2. the proof does not start beyond the checkpoint; for an anchor: the proposed time is within the allowed skew of its
   own clock (or is one ahead that its operator accepted), the anchor is on a chain and contract it was configured with;
3. the note does not bear this witness's own cosignature on a size it has forgotten (``WitnessForgot``: it was restored
   from a backup, and might sign a second history of what it forgot);
4. nothing it cosigned before is contradicted (same size, another root: ``SplitView``, both notes are the evidence);
5. the checkpoint is no smaller than the largest it cosigned, and a consistency proof from *that one* verifies;
6. the checkpoint is durable in its own state; only then are signatures made.

3 to 6 are one atomic step. A witness that cosigned nothing of a log yet trusts the first checkpoint it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from twinward_crypto import bls
from twinward_crypto.errors import InvalidSignature
from twinward_ledger import merkle
from twinward_ledger.clock import Clock
from twinward_ledger.errors import (
    InconsistentGrowth,
    InvalidProof,
    LogUnavailable,
    MalformedCheckpoint,
    MalformedProposal,
    NotSignedByLog,
    SplitView,
    StaleProof,
    UnknownLog,
    WitnessDown,
    WitnessForgot,
    WitnessRefused,
)
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.cosignature import (
    AnchorDomain,
    AnchorStatement,
    anchor_key_id,
    cosign,
    cosign_bls,
    verify_cosignature,
)
from twinward_ledger.formats.key_history import KeyHistory
from twinward_ledger.formats.note import Note, NoteSigner, VerifierKey
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.witness.interfaces import Cosignature, Proposal
from twinward_ledger.witness.log_keys import LogKeys

MAX_SKEW_S = 300
"""How far a proposed time may be from a witness's own clock, in seconds."""


@dataclass(frozen=True, slots=True)
class WitnessKeys:
    """A witness's secrets: its named Ed25519 key and its BLS secret key (32 bytes)."""

    signer: NoteSigner
    bls_secret_key: bytes = field(repr=False)

    @property
    def bls_public_key(self) -> bytes:
        """What its BLS signatures verify with (48 bytes)."""
        return bls.public_key(self.bls_secret_key)

    def prove_possession(self) -> bytes:
        """The proof of possession (96 bytes) that a witness set demands before it registers the BLS key."""
        return bls.prove_possession(self.bls_secret_key)


class Witness:
    """A witness in this process.

    Args:
        keys: what it signs with.
        logs: the keys of the logs it cosigns for, see ``serve``; any other log is refused.
        state: where it remembers what it cosigned; its own, never the log's.
        clock: its own clock.
        chain_id, contract: the only anchor (EIP-155 id, 20-byte address) it gives BLS signatures for; None for none.
        max_skew_s: how far a proposed time may be from its own.
    """

    def __init__(
        self,
        keys: WitnessKeys,
        logs: Iterable[VerifierKey],
        state: WitnessState,
        clock: Clock,
        *,
        chain_id: int | None = None,
        contract: bytes | None = None,
        max_skew_s: int = MAX_SKEW_S,
    ) -> None:
        self._keys = keys
        self._state = state
        self._clock = clock
        self._max_skew_s = max_skew_s
        self._bls_public_key = keys.bls_public_key
        self.serve(logs, () if chain_id is None or contract is None else ((chain_id, contract),))

    def serve(
        self,
        logs: Iterable[VerifierKey],
        anchors: Iterable[tuple[int, bytes]],
        retired: Iterable[VerifierKey] = (),
    ) -> None:
        """Replace the logs it cosigns for, and the anchors (EIP-155 id, 20-byte address) it gives BLS signatures for.

        Several keys of one log are in the order in which it took them up, ``retired`` those it signs with no more
        (see ``LogKeys``). What it cosigned of a log that is no longer listed stays remembered.
        """
        self._logs = LogKeys.by_origin(logs, retired)
        self._anchors = frozenset(anchors)

    def follow(self, log: KeyHistory) -> None:
        """Know the later keys, too, of a log whose first key it was configured with: for a witness beside that log."""
        known = self._logs.get(log.origin)
        if known is not None and known.keys != log.keys and known.keys[0] == log.keys[0]:
            self._logs = self._logs | {log.origin: LogKeys(log.keys, known.retired)}

    @property
    def key(self) -> VerifierKey:
        """What its Ed25519 cosignatures verify with."""
        return self._keys.signer.cosigner_key

    @property
    def bls_public_key(self) -> bytes:
        """Its BLS public key (48 bytes)."""
        return self._bls_public_key

    def last_size(self, origin: str) -> int:
        """The largest size it cosigned of a log; 0 if none."""
        try:
            newest = self._state.newest(origin)
        except LogUnavailable as error:
            raise WitnessDown(str(error)) from error
        return newest[0] if newest else 0

    def cosign(self, proposal: Proposal) -> Cosignature:
        """Check a proposal and sign it.

        Raises:
            SplitView: it contradicts a checkpoint cosigned before.
            WitnessRefused: any other check failed, or its state could not be written.
        """
        checkpoint, note, key = self._open(proposal.note)
        if proposal.old_size > checkpoint.size:
            raise MalformedProposal(f"the proof starts at {proposal.old_size}, beyond the checkpoint's size")
        try:
            if proposal.domain is not None:
                self._check_anchor(proposal.domain, proposal.time_s)
            self._state.advance(
                checkpoint.origin, checkpoint.size, proposal.note, lambda: self._check(checkpoint, note, key, proposal)
            )
        except LogUnavailable as error:
            raise WitnessDown(str(error)) from error
        line = cosign(note.text, self._clock.now_ms() // 1000, self._keys.signer)
        if proposal.domain is None:
            return Cosignature(line)
        statement = AnchorStatement.of(proposal.domain, checkpoint, proposal.time_s)
        key_id = anchor_key_id(self.key.name, self._bls_public_key)
        return Cosignature(line, cosign_bls(statement, self._keys.bls_secret_key), key_id)

    def accept_time(self, time_s: int) -> None:
        """Also sign anchors that are dated this very time, though it lies ahead: its operator was asked, and said so.

        For the anchors it is configured with; written down with the moment it was asked. Raises ``LogUnavailable``.
        """
        for chain_id, contract in self._anchors:
            self._state.accept_time(chain_id, contract, time_s, self._clock.now_ms())

    def newest(self, origin: str) -> bytes | None:
        """The largest checkpoint it cosigned of a log, as it was proposed; None if none. Public: the log signed it."""
        try:
            newest = self._state.newest(origin)
        except LogUnavailable as error:
            raise WitnessDown(str(error)) from error
        return newest[1] if newest else None

    def origins(self) -> tuple[str, ...]:
        """The logs it cosigns for."""
        return tuple(self._logs)

    def log_of(self, data: bytes) -> LogKeys:
        """The keys of the log that signed a checkpoint. Raises ``WitnessRefused`` if it is none this witness knows."""
        checkpoint, _, _ = self._open(data)
        return self._logs[checkpoint.origin]

    def remember(self, data: bytes) -> Checkpoint:
        """Take back a checkpoint that it cosigned and has forgotten, after a restore from a backup.

        Its own cosignature is what shows that it checked the checkpoint once.

        Raises:
            SplitView: it contradicts a checkpoint cosigned before.
            WitnessRefused: it does not bear this witness's cosignature, or is no checkpoint of a log it knows.
        """
        checkpoint, note, _ = self._open(data)
        if not self._signed(note):
            raise WitnessRefused("the checkpoint does not bear this witness's own cosignature")
        try:
            self._state.advance(checkpoint.origin, checkpoint.size, data, lambda: self._check_same(checkpoint, data))
        except LogUnavailable as error:
            raise WitnessDown(str(error)) from error
        return checkpoint

    def close(self) -> None:
        """Give back its state's file."""
        self._state.close()

    def _open(self, data: bytes) -> tuple[Checkpoint, Note, VerifierKey]:
        try:
            origin = Checkpoint.parse(Note.parse(data).text).origin
        except MalformedCheckpoint as error:
            raise MalformedProposal(f"not a checkpoint: {error}") from error
        keys = self._logs.get(origin)
        if keys is None:
            raise UnknownLog(f"{origin} is not a log this witness knows")
        try:
            return keys.open(data)
        except (MalformedCheckpoint, InvalidSignature) as error:
            raise NotSignedByLog(f"not a checkpoint signed by its log: {error}") from error

    def _check_anchor(self, domain: AnchorDomain, time_s: int) -> None:
        skew = time_s - self._clock.now_ms() // 1000
        accepted = skew > 0 and time_s == self._state.accepted_time(domain.chain_id, domain.contract)
        if abs(skew) > self._max_skew_s and not accepted:
            raise WitnessRefused(f"the proposed time is {skew} s from this witness's clock, {self._max_skew_s} allowed")
        if (domain.chain_id, domain.contract) not in self._anchors:
            raise WitnessRefused("the anchor is on another chain or contract than this witness signs for")

    def _check(self, checkpoint: Checkpoint, note: Note, key: VerifierKey, proposal: Proposal) -> None:
        newest = self._state.newest(checkpoint.origin)
        size = newest[0] if newest else 0
        if self._logs[checkpoint.origin].replaced(key, newest[1] if newest else None):
            raise NotSignedByLog(f"signed with a key that {checkpoint.origin} has replaced")
        if checkpoint.size > size and self._signed(note):
            raise WitnessForgot(
                f"this witness cosigned size {checkpoint.size} once and now knows {size} only: restored?"
            )
        self._check_same(checkpoint, proposal.note)
        if checkpoint.size < size:
            message = f"a checkpoint of size {checkpoint.size}, {size} was cosigned already (rollback)"
            raise StaleProof(message, size=size)
        if proposal.old_size != size:
            message = f"the proof starts at size {proposal.old_size}, the last one cosigned is {size}"
            raise StaleProof(message, size=size)
        self._check_extends(newest[1] if newest and size else None, checkpoint, proposal)

    def _check_same(self, checkpoint: Checkpoint, data: bytes) -> None:
        same = self._state.at(checkpoint.origin, checkpoint.size)
        if same and Checkpoint.parse(Note.parse(same[1]).text).root != checkpoint.root:
            message = f"{checkpoint.origin} has signed two roots for size {checkpoint.size}"
            raise SplitView(message, seen=same[1], offered=data)

    def _signed(self, note: Note) -> bool:
        """Whether a note bears this witness's own cosignature."""
        try:
            verify_cosignature(note, self.key)
        except InvalidSignature:
            return False
        return True

    def _check_extends(self, seen: bytes | None, checkpoint: Checkpoint, proposal: Proposal) -> None:
        if seen is None:
            if proposal.consistency:
                raise InconsistentGrowth("a proof from size 0 is empty")
            return
        old = Checkpoint.parse(Note.parse(seen).text)
        try:
            merkle.verify_consistency(old.size, checkpoint.size, proposal.consistency, old.root, checkpoint.root)
        except InvalidProof as error:
            raise InconsistentGrowth(
                f"size {checkpoint.size} is not shown to extend size {old.size}, which was cosigned: {error}"
            ) from error
