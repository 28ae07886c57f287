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

from twinward_crypto.errors import InvalidSignature
from twinward_ledger.clock import Clock
from twinward_ledger.errors import (
    LedgerError,
    LogCorrupt,
    NotSignedByLog,
    SplitView,
    WitnessDown,
    WitnessForgot,
    WitnessLied,
    WitnessRefused,
    WitnessSlow,
)
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.note import Note, VerifierKey
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log.log import Log
from twinward_ledger.stores.witness_memory import Standing, WitnessMemory, WitnessRecord
from twinward_ledger.witness.cosign_request import AnchorRequest, CosignRequest
from twinward_ledger.witness.interfaces import Cosignature, WitnessPeer

GRACE_S = 1.0
"""How long witnesses that were in time the last time are waited for once the quorum is there, in seconds."""

PATIENCE_S = 15.0
"""How long anybody is waited for, in seconds, whatever its own limit: a witness could send a byte now and then."""

NOT_FOLLOWING = "does not know the log's new key yet"
"""How the reason begins of a witness that refuses since the log's key was changed."""

_STANDINGS: tuple[tuple[type[WitnessRefused], Standing], ...] = (
    (WitnessSlow, Standing.SLOW),
    (WitnessDown, Standing.DOWN),
    (WitnessLied, Standing.LYING),
    (WitnessForgot, Standing.ROLLED_BACK),
    (SplitView, Standing.SPLIT_VIEW),
)


@dataclass(slots=True)
class Gathered:
    """What one round around the witnesses brought.

    Attributes:
        note: the checkpoint with every verified cosignature.
        keys: whose they are.
        cosigned: the same witnesses' names.
        refusals: witness and reason, for those that are not.
        bls: the verified BLS signatures, by public key.
        time_s: the time they name; 0 where none was asked for.
    """

    note: Note
    keys: set[VerifierKey] = field(default_factory=set)
    cosigned: list[str] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    bls: dict[bytes, bytes] = field(default_factory=dict)
    time_s: int = 0


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
        request = CosignRequest(self._log, checkpoint, note, anchor)
        signed = self._signed_already(note)
        time_s = anchor.time_s if anchor else 0
        gathered = Gathered(note, set(signed), [key.name for key in signed], time_s=time_s)
        asked = self._ask_all(request, gathered)
        pending, deadline, enough = set(asked), request.started + PATIENCE_S, False
        while pending:
            before, enough = enough, self._enough(gathered, anchor)
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
                self._take(asked[one], one, request, gathered)
        for one in pending:
            self._leave(asked[one], one, request, gathered)
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

    def _ask_all(self, request: CosignRequest, gathered: Gathered) -> dict[Future[Cosignature], WitnessPeer]:
        """Send the request to everybody who has not signed; for an anchor to everybody, as each signs that anew."""
        asked: dict[Future[Cosignature], WitnessPeer] = {}
        for peer in self.peers:
            if request.anchor is None and peer.key in gathered.keys:
                continue
            before = self._under_way.get(peer.key)
            if before is not None and not before.done():
                gathered.refusals.append((peer.key.name, "has not answered an earlier request yet"))
                continue
            future = self._pool.submit(self._ask, peer, request)
            self._under_way[peer.key] = future
            asked[future] = peer
        return asked

    def _take(self, peer: WitnessPeer, answer: Future[Cosignature], request: CosignRequest, gathered: Gathered) -> None:
        """Count one answer, or its refusal."""
        self._late.discard(peer.key)
        try:
            cosignature = answer.result()
        except SplitView as error:
            self._write_down(peer, request, error)
            raise
        except WitnessRefused as error:
            if isinstance(error, WitnessSlow):
                self._late.add(peer.key)
            self._write_down(peer, request, error)
            gathered.refusals.append((peer.key.name, str(error)))
            return
        self._write_down(peer, request, None)
        gathered.note = gathered.note.with_signatures(cosignature.line)
        gathered.keys.add(peer.key)
        gathered.cosigned = [*dict.fromkeys((*gathered.cosigned, peer.key.name))]
        key = request.anchor_key_of(peer, cosignature)
        if key is not None:
            gathered.bls[key] = cosignature.bls_signature

    def _enough(self, gathered: Gathered, anchor: AnchorRequest | None) -> bool:
        return self.policy.satisfied_by(gathered.keys) and (anchor is None or len(gathered.bls) >= anchor.quorum)

    def _put_in_order(self, gathered: Gathered) -> None:
        """Names and lines in the witnesses' order, whoever was first."""
        place = {peer.key.name: number for number, peer in enumerate(self.peers)}
        gathered.cosigned.sort(key=lambda name: place.get(name, len(place)))
        gathered.refusals.sort(key=lambda refusal: place[refusal[0]])
        lines = sorted(gathered.note.signatures, key=lambda line: place.get(line.name, -1))
        gathered.note = Note(gathered.note.text, tuple(lines))

    def _leave(
        self, peer: WitnessPeer, answer: Future[Cosignature], request: CosignRequest, gathered: Gathered
    ) -> None:
        """Go on without a witness; what it says later is kept if it still fits."""
        self._late.add(peer.key)
        if peer.key.name not in gathered.cosigned:
            gathered.refusals.append((peer.key.name, "has not answered yet"))
        self._write_down(peer, request, WitnessSlow("had not answered when the checkpoint went out"))
        answer.add_done_callback(lambda done: self._arrived(peer, done, request))

    def _arrived(self, peer: WitnessPeer, answer: Future[Cosignature], request: CosignRequest) -> None:
        if answer.cancelled():
            return
        if time.monotonic() - request.started < self._grace_s:
            self._late.discard(peer.key)
        error = answer.exception()
        with suppress(LedgerError):  # the log was closed meanwhile; the next round will ask again
            if error is None:
                self._log.keep_cosignatures(request.note.with_signatures(answer.result().line))
                self._write_down(peer, request, None)
            elif isinstance(error, WitnessRefused):
                self._write_down(peer, request, error)

    def _ask(self, peer: WitnessPeer, request: CosignRequest) -> Cosignature:
        remembered = self.memory.of(str(peer.key)).size if self.memory else 0
        return request.put_to(peer, remembered, self._clock)

    def _write_down(self, peer: WitnessPeer, request: CosignRequest, error: WitnessRefused | None) -> None:
        if isinstance(error, SplitView):
            self._on_split(error)
        if self.memory is None:
            return
        standing = Standing.GOOD if error is None else _standing(error)
        size = request.checkpoint.size if error is None else 0
        reason = "" if error is None else str(error)
        if isinstance(error, NotSignedByLog) and self._log.known_history.earlier:
            reason = f"{NOT_FOLLOWING}: {reason}"
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
