"""A log's side of witnessing: every witness is asked at once, and the checkpoint is out as soon as a quorum signed.

* All witnesses of a policy are asked side by side; each has one request at most under way.
* ``gather`` returns once the quorum is there and every witness that was in time the last time has answered, or has
  used up ``grace_s``. A witness that was late gets no grace until it is in time again: one slow witness delays one
  checkpoint, once. Where there is no quorum, everybody's time limit is waited for.
* What comes in later is added to the checkpoint, if it is still the newest. Otherwise the witness catches up with the
  next one: by then it is asked with a proof from wherever it is.
* Every answer is verified here before it counts. What a witness did is written down (``WitnessMemory``); a witness that
  holds less than this log has seen it cosign was rolled back, and does not count until its operator has repaired it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field

from twinward_crypto import bls
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.checkpoint import Checkpoint
from twinward_ledger.clock import Clock
from twinward_ledger.cosignature import AnchorDomain, AnchorStatement, anchor_key_id, verify_cosignature
from twinward_ledger.errors import (
    LedgerError,
    LogCorrupt,
    SplitView,
    StaleProof,
    WitnessDown,
    WitnessForgot,
    WitnessLied,
    WitnessRefused,
    WitnessSlow,
)
from twinward_ledger.log import Log
from twinward_ledger.note import Note, VerifierKey
from twinward_ledger.policy import QuorumPolicy
from twinward_ledger.stores.witness_memory import Standing, WitnessMemory, WitnessRecord
from twinward_ledger.witness import MAX_SKEW_S, Cosignature, Proposal, WitnessPeer

GRACE_S = 1.0
"""How long witnesses that were in time the last time are waited for once the quorum is there, in seconds."""

PATIENCE_S = 15.0
"""How long anybody is waited for, in seconds, whatever its own limit: a witness could send a byte now and then."""

_STANDINGS: tuple[tuple[type[WitnessRefused], Standing], ...] = (
    (WitnessSlow, Standing.SLOW),
    (WitnessDown, Standing.DOWN),
    (WitnessLied, Standing.LYING),
    (WitnessForgot, Standing.ROLLED_BACK),
    (SplitView, Standing.SPLIT_VIEW),
)


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


@dataclass(slots=True)
class Gathered:
    """What one round around the witnesses brought.

    Attributes:
        note: the checkpoint with every verified cosignature.
        cosigned: names of the witnesses on it.
        refusals: witness and reason, for those that are not.
        bls: the verified BLS signatures, by public key.
        time_s: the time they name; 0 where none was asked for.
    """

    note: Note
    cosigned: list[str] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    bls: dict[bytes, bytes] = field(default_factory=dict)
    time_s: int = 0


@dataclass(frozen=True, slots=True)
class _Round:
    checkpoint: Checkpoint
    note: Note
    anchor: AnchorRequest | None
    started: float = field(default_factory=time.monotonic)


class Cosigning:
    """The witnesses of one log.

    Args:
        log: the log.
        peers: who is asked.
        policy: what a quorum is.
        clock: this log's own clock.
        memory: where what they did is written down; None forgets it.
        grace_s: see the module's docstring.
        on_split: called with every split view found, before it is raised: the evidence must be kept.
    """

    def __init__(
        self,
        log: Log,
        peers: Sequence[WitnessPeer],
        policy: QuorumPolicy,
        clock: Clock,
        *,
        memory: WitnessMemory | None = None,
        grace_s: float = GRACE_S,
        on_split: Callable[[SplitView], None] = lambda _: None,
    ) -> None:
        self.peers = tuple(peers)
        self.policy = policy
        self.memory = memory
        self._log = log
        self._clock = clock
        self._grace_s = grace_s
        self._on_split = on_split
        self._under_way: dict[VerifierKey, Future[Cosignature]] = {}
        self._late: set[VerifierKey] = set()
        self._pool = ThreadPoolExecutor(max_workers=max(1, len(self.peers)), thread_name_prefix="witness")

    def gather(self, checkpoint: Checkpoint, note: Note, anchor: AnchorRequest | None) -> Gathered:
        """Ask everybody who has not signed yet; return as soon as the quorum (and the anchor's) is there.

        Raises:
            SplitView: a witness holds a contradicting checkpoint that this log signed.
            LogCorrupt: the log cannot prove what it signed.
        """
        around = _Round(checkpoint, note, anchor)
        signed = self._signed_already(note)
        gathered, keys = Gathered(note, [key.name for key in signed]), set(signed)
        gathered.time_s = anchor.time_s if anchor else 0
        asked = self._ask_all(around, keys if anchor is None else set(), gathered)
        pending, deadline, enough = set(asked), around.started + PATIENCE_S, False
        while pending:
            before, enough = enough, self._enough(gathered, keys, anchor)
            if enough and not before:
                deadline = min(deadline, time.monotonic() + self._grace_s)
            waited_for = {one for one in pending if not enough or asked[one].key not in self._late}
            if not waited_for:
                break
            done, _ = wait(waited_for, max(0.0, deadline - time.monotonic()), return_when=FIRST_COMPLETED)
            if not done:
                break
            for one in done:
                pending.discard(one)
                self._take(asked[one], one, around, gathered, keys)
        for one in pending:
            self._leave(asked[one], one, around, gathered)
        self._put_in_order(gathered)
        return gathered

    def records(self) -> dict[VerifierKey, WitnessRecord]:
        """What is known of every witness asked."""
        known = self.memory.all() if self.memory else {}
        return {peer.key: known.get(str(peer.key), WitnessRecord()) for peer in self.peers}

    def close(self) -> None:
        """Stop asking. A request that is under way is given up, its answer ignored."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for peer in self.peers:
            close = getattr(peer, "hang_up", None)
            if close is not None:
                close()
        self._pool.shutdown(wait=True)
        if self.memory:
            self.memory.close()

    def _ask_all(
        self, around: _Round, but: set[VerifierKey], gathered: Gathered
    ) -> dict[Future[Cosignature], WitnessPeer]:
        asked: dict[Future[Cosignature], WitnessPeer] = {}
        for peer in self.peers:
            if peer.key in but:
                continue
            before = self._under_way.get(peer.key)
            if before is not None and not before.done():
                gathered.refusals.append((peer.key.name, "has not answered an earlier request yet"))
                continue
            future = self._pool.submit(self._ask, peer, around)
            self._under_way[peer.key] = future
            asked[future] = peer
        return asked

    def _take(
        self, peer: WitnessPeer, answer: Future[Cosignature], around: _Round, gathered: Gathered, keys: set[VerifierKey]
    ) -> None:
        self._late.discard(peer.key)
        try:
            cosignature = answer.result()
        except SplitView as error:
            self._write_down(peer, around, error)
            raise
        except WitnessRefused as error:
            if isinstance(error, WitnessSlow):
                self._late.add(peer.key)
            self._write_down(peer, around, error)
            gathered.refusals.append((peer.key.name, str(error)))
            return
        self._write_down(peer, around, None)
        gathered.note = gathered.note.with_signatures(cosignature.line)
        keys.add(peer.key)
        gathered.cosigned = [*dict.fromkeys((*gathered.cosigned, peer.key.name))]
        if cosignature.bls_signature and around.anchor is not None:
            key = _anchor_key(peer.key.name, cosignature, around.anchor)
            if key is not None:
                gathered.bls[key] = cosignature.bls_signature

    def _enough(self, gathered: Gathered, keys: set[VerifierKey], anchor: AnchorRequest | None) -> bool:
        return self.policy.satisfied_by(keys) and (anchor is None or len(gathered.bls) >= anchor.quorum)

    def _put_in_order(self, gathered: Gathered) -> None:
        """Names and lines in the witnesses' order, whoever was first."""
        place = {peer.key.name: number for number, peer in enumerate(self.peers)}
        gathered.cosigned.sort(key=lambda name: place.get(name, len(place)))
        gathered.refusals.sort(key=lambda refusal: place[refusal[0]])
        lines = sorted(gathered.note.signatures, key=lambda line: place.get(line.name, -1))
        gathered.note = Note(gathered.note.text, tuple(lines))

    def _leave(self, peer: WitnessPeer, answer: Future[Cosignature], around: _Round, gathered: Gathered) -> None:
        """Go on without a witness; what it says later is kept if it still fits."""
        self._late.add(peer.key)
        if peer.key.name not in gathered.cosigned:
            gathered.refusals.append((peer.key.name, "has not answered yet"))
        self._write_down(peer, around, WitnessSlow("had not answered when the checkpoint went out"))
        answer.add_done_callback(lambda done: self._arrived(peer, done, around))

    def _arrived(self, peer: WitnessPeer, answer: Future[Cosignature], around: _Round) -> None:
        if answer.cancelled():
            return
        if time.monotonic() - around.started < self._grace_s:
            self._late.discard(peer.key)
        error = answer.exception()
        with suppress(LedgerError):  # the log was closed meanwhile; the next round will ask again
            if error is None:
                self._log.keep_cosignatures(around.note.with_signatures(answer.result().line))
                self._write_down(peer, around, None)
            elif isinstance(error, WitnessRefused):
                self._write_down(peer, around, error)

    def _ask(self, peer: WitnessPeer, around: _Round) -> Cosignature:
        """One witness's cosignature of this checkpoint, verified. Raises ``WitnessRefused``."""
        remembered = self.memory.of(str(peer.key)).size if self.memory else 0
        old = remembered or peer.last_size(self._log.origin)
        try:
            answer = self._propose(peer, around, old)
        except StaleProof as stale:
            if stale.size < remembered:
                raise WitnessForgot(
                    f"it cosigned size {remembered} and now says it knows {stale.size}: its state was rolled back"
                ) from stale
            answer = self._propose(peer, around, stale.size)
        self._verify(peer, around, answer)
        return answer

    def _propose(self, peer: WitnessPeer, around: _Round, old: int) -> Cosignature:
        size = around.checkpoint.size
        if old > size:
            raise WitnessRefused(f"it has cosigned size {old} already, the log signs {size}")
        proof = tuple(self._log.prove_consistency(old, size)) if old else ()
        domain, time_s = (around.anchor.domain, around.anchor.time_s) if around.anchor else (None, 0)
        return peer.cosign(Proposal(around.note.encode(), old, proof, time_s, domain))

    def _verify(self, peer: WitnessPeer, around: _Round, answer: Cosignature) -> None:
        """A wrong Ed25519 line would make readers refuse the note, a wrong BLS signature spoil the aggregate."""
        try:
            time_s = verify_cosignature(Note(around.note.text, (answer.line,)), peer.key)
            anchor = around.anchor
            key = _anchor_key(peer.key.name, answer, anchor) if anchor and answer.bls_signature else None
            if anchor is not None and key is not None:
                statement = AnchorStatement.of(anchor.domain, around.checkpoint, anchor.time_s)
                bls.verify(key, statement.message(), answer.bls_signature)
        except InvalidSignature as error:
            raise WitnessLied(f"answered with a signature that does not verify: {error}") from error
        skew = time_s - self._clock.now_ms() // 1000
        if abs(skew) > MAX_SKEW_S:
            raise WitnessLied(f"states a time {skew} s from this log's clock, {MAX_SKEW_S} allowed")

    def _write_down(self, peer: WitnessPeer, around: _Round, error: WitnessRefused | None) -> None:
        if isinstance(error, SplitView):
            self._on_split(error)
        if self.memory is None:
            return
        standing = Standing.GOOD if error is None else _standing(error)
        size = around.checkpoint.size if error is None else 0
        reason = "" if error is None else str(error)
        self.memory.note(str(peer.key), standing, at_ms=self._clock.now_ms(), size=size, reason=reason)

    def _signed_already(self, note: Note) -> list[VerifierKey]:
        try:
            return [key for key, _ in self.policy.cosigned(note)]
        except InvalidSignature as error:  # every line was verified before it was kept
            raise LogCorrupt(
                f"a cosignature that was kept no longer verifies: {error}", first_bad_index=None
            ) from error


def _standing(error: WitnessRefused) -> Standing:
    return next((standing for kind, standing in _STANDINGS if isinstance(error, kind)), Standing.REFUSES)


def _anchor_key(name: str, answer: Cosignature, anchor: AnchorRequest) -> bytes | None:
    """Which of the keys that count made a BLS signature, by the id in its line; None for one that does not count."""
    return next((key for key in anchor.keys if anchor_key_id(name, key) == answer.bls_key_id), None)
