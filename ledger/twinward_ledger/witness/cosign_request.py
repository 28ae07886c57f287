"""A checkpoint as it is put to witnesses: with a proof from wherever each is, every answer verified."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from twinward_crypto import bls
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.clock import Clock
from twinward_ledger.errors import StaleProof, WitnessForgot, WitnessLied, WitnessRefused
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.cosignature import AnchorDomain, AnchorStatement, anchor_key_id, verify_cosignature
from twinward_ledger.formats.note import Note
from twinward_ledger.log.log import Log
from twinward_ledger.witness.interfaces import Cosignature, Proposal, WitnessPeer
from twinward_ledger.witness.witness import MAX_SKEW_S


@dataclass(frozen=True, slots=True)
class AnchorRequest:
    """What a checkpoint's anchor needs.

    Attributes:
        domain: where it goes.
        time_s: the time all BLS signers put their name to, seconds since the Unix epoch.
        keys: the BLS public keys that count, 48 bytes each.
        quorum: how many of them must sign.
    """

    domain: AnchorDomain
    time_s: int
    keys: tuple[bytes, ...]
    quorum: int


@dataclass(frozen=True, slots=True)
class CosignRequest:
    """One checkpoint that wants cosigning.

    Attributes:
        log: whose it is; proves that it grew.
        checkpoint: what is to be cosigned.
        note: the same, signed by the log.
        anchor: what its anchor needs; None where it is not anchored.
        started: when the round began, on the monotonic clock, in seconds.
    """

    log: Log
    checkpoint: Checkpoint
    note: Note
    anchor: AnchorRequest | None
    started: float = field(default_factory=time.monotonic)

    def put_to(self, peer: WitnessPeer, remembered: int, clock: Clock) -> Cosignature:
        """One witness's cosignature of this checkpoint, verified.

        Args:
            peer: who is asked, with a proof from wherever it is.
            remembered: the size it is known to have cosigned; 0 where none is known.
            clock: this log's own clock, against which the time it states is held.

        Raises:
            WitnessForgot: it holds less than it is known to have cosigned.
            WitnessLied: its answer does not verify.
            WitnessRefused: it did not cosign.
        """
        old = remembered or peer.last_size(self.log.origin)
        try:
            answer = self._propose(peer, old)
        except StaleProof as stale:
            if stale.size < remembered:
                raise WitnessForgot(
                    f"it cosigned size {remembered} and now says it knows {stale.size}: its state was rolled back"
                ) from stale
            answer = self._propose(peer, stale.size)
        self._verify(peer, answer, clock)
        return answer

    def anchor_key_of(self, peer: WitnessPeer, answer: Cosignature) -> bytes | None:
        """Which of the anchor's keys made a BLS signature, by the id in its line; None where none that counts did."""
        if self.anchor is None or not answer.bls_signature:
            return None
        name, keys = peer.key.name, self.anchor.keys
        return next((key for key in keys if anchor_key_id(name, key) == answer.bls_key_id), None)

    def _propose(self, peer: WitnessPeer, old: int) -> Cosignature:
        size = self.checkpoint.size
        if old > size:
            raise WitnessRefused(f"it has cosigned size {old} already, the log signs {size}")
        proof = tuple(self.log.prove_consistency(old, size)) if old else ()
        domain, time_s = (self.anchor.domain, self.anchor.time_s) if self.anchor else (None, 0)
        return peer.cosign(Proposal(self.note.encode(), old, proof, time_s, domain))

    def _verify(self, peer: WitnessPeer, answer: Cosignature, clock: Clock) -> None:
        """A wrong Ed25519 line would make readers refuse the note, a wrong BLS signature spoil the aggregate."""
        try:
            time_s = verify_cosignature(Note(self.note.text, (answer.line,)), peer.key)
            key = self.anchor_key_of(peer, answer)
            if self.anchor is not None and key is not None:
                statement = AnchorStatement.of(self.anchor.domain, self.checkpoint, self.anchor.time_s)
                bls.verify(key, statement.message(), answer.bls_signature)
        except InvalidSignature as error:
            raise WitnessLied(f"answered with a signature that does not verify: {error}") from error
        skew = time_s - clock.now_ms() // 1000
        if abs(skew) > MAX_SKEW_S:
            raise WitnessLied(f"states a time {skew} s from this log's clock, {MAX_SKEW_S} allowed")
