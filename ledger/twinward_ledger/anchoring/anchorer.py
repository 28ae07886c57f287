"""From a log to its anchor: sign a checkpoint, have the witnesses cosign it, send it to ``AccessAnchor``.

One ``Anchorer.advance`` does the whole walk and may be called as often as one likes:

* What is still to be anchored is not a queue that could be lost: it is the difference between the log and what the
  contract says it holds. After an outage the newest checkpoint carries everything before it, by consistency.
* What was sent but not confirmed (a crash, a broken connection) is in the journal; the chain is asked about it.
* A chain that is down stops nothing: the checkpoint is cosigned and kept, ``AnchorOutcome.problem`` says why it waits,
  and the journal keeps that for whoever asks later.
* A chain that was reorganised and holds less than it confirmed: those anchors wait again and are sent anew.
* A clock that is far ahead of everything known signs nothing, see ``clock_doubt``.
* If the chain or a witness holds another root than the log has now, the log was rewritten: that raises.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twinward_contracts.bindings import Head
from twinward_crypto import bls
from twinward_ledger import merkle
from twinward_ledger.anchoring.clock_doubt import ClockDoubt, anchor_ahead, leap
from twinward_ledger.anchoring.contract import ChainAnchor, ChainState
from twinward_ledger.clock import Clock
from twinward_ledger.errors import ChainError, ClockDoubted, LogCorrupt, QuorumNotReached, SplitView
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.cosignature import AnchorStatement
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log.log import Log
from twinward_ledger.stores.anchor_journal import AnchorJournal
from twinward_ledger.stores.witness_memory import WitnessMemory
from twinward_ledger.witness.client import HttpWitness
from twinward_ledger.witness.cosign_request import AnchorRequest
from twinward_ledger.witness.cosigning import GRACE_S, Cosigning, Gathered
from twinward_ledger.witness.interfaces import WitnessPeer
from twinward_ledger.witness.witness import Witness


@dataclass(frozen=True, slots=True)
class AnchorOutcome:
    """What one ``advance`` came to.

    Attributes:
        checkpoint: the log as it was signed.
        cosigned: names of the witnesses that signed it.
        refusals: witness and reason, for those that did not.
        anchor: the newest anchor on the chain; None if there is none yet.
        problem: why the checkpoint is not anchored yet; empty if it is, or if no chain is configured.
    """

    checkpoint: Checkpoint
    cosigned: tuple[str, ...]
    refusals: tuple[tuple[str, str], ...]
    anchor: AnchorRecord | None
    problem: str = ""

    @property
    def pending(self) -> int:
        """Entries that are signed but not anchored."""
        return self.checkpoint.size - (self.anchor.statement.size if self.anchor else 0)


class Anchorer:
    """Takes one log to its witnesses and its chain.

    Args:
        log: the log.
        witnesses: who is asked to cosign.
        quorum: the policy a checkpoint must satisfy to count as cosigned, or how many of the witnesses; the contract
            has a quorum of its own, too.
        journal: where anchors are kept.
        clock: gives the time all BLS signers put their name to.
        chain: where to anchor; None for a log that is only cosigned.
        memory, grace_s, on_split: see ``Cosigning``.
    """

    def __init__(
        self,
        log: Log,
        witnesses: Sequence[WitnessPeer],
        quorum: int | QuorumPolicy,
        journal: AnchorJournal,
        clock: Clock,
        chain: ChainAnchor | None = None,
        *,
        memory: WitnessMemory | None = None,
        grace_s: float = GRACE_S,
        on_split: Callable[[SplitView], None] = lambda _: None,
    ) -> None:
        self.log = log
        self.witnesses = tuple(witnesses)
        keys = [peer.key for peer in witnesses]
        self.policy = quorum if isinstance(quorum, QuorumPolicy) else QuorumPolicy.k_of(log.key, keys, quorum)
        if not self.policy.satisfied_by(keys):
            raise QuorumNotReached(len(keys), self.policy.needed)
        self.cosigning = Cosigning(
            log, witnesses, self.policy, clock, memory=memory, grace_s=grace_s, on_split=on_split
        )
        self.journal = journal
        self.clock = clock
        self._chain = chain

    @property
    def quorum(self) -> int:
        """The fewest witnesses that are a quorum."""
        return self.policy.needed

    def advance(self) -> AnchorOutcome:
        """Sign the log as it is, have it cosigned, anchor it if the chain answers.

        Raises:
            ClockDoubted: the clock is far ahead of everything known. Nothing was signed.
            LogCorrupt: the log no longer extends what it signed or anchored.
            SplitView: a witness holds a contradicting checkpoint that this log signed.
            QuorumNotReached: too few witnesses cosigned; what was gathered is kept, and the next call tries again.
            LogUnavailable: something could not be written durably.
        """
        state, problem = self._state()
        self._require_believable_clock(state)
        self._let_follow()
        checkpoint, note = self.log.checkpoint()
        if checkpoint.size == 0:
            return AnchorOutcome(checkpoint, (), (), None, problem)
        if self._chain and state:
            require_agreement(self.log, state.head)
            self.journal.retract(state.head.size if state.head else 0, self.clock.now_ms())
            self._settle(self._chain, state.head)
        elif problem:
            self.journal.note_problem(problem, self.clock.now_ms())  # here already: there may be no quorum to go on
        gathered = self.cosigning.gather(checkpoint, note, self._request(checkpoint, state))
        self.log.keep_cosignatures(gathered.note)
        if not self.policy.satisfied_by([key for key, _ in self.policy.cosigned(gathered.note)]):
            error = QuorumNotReached(len(gathered.cosigned), self.quorum)
            error.add_note("; ".join(f"{name}: {reason}" for name, reason in gathered.refusals))
            raise error
        if self._chain and state:
            problem = self._anchor(self._chain, checkpoint, gathered, state)
        self.journal.note_problem(problem, self.clock.now_ms())
        newest = self.journal.newest()
        anchor = newest[1] if newest else None
        return AnchorOutcome(checkpoint, tuple(gathered.cosigned), tuple(gathered.refusals), anchor, problem)

    def close(self) -> None:
        """Stop asking witnesses. The log and the journal stay open."""
        self.cosigning.close()

    def _request(self, checkpoint: Checkpoint, state: ChainState | None) -> AnchorRequest | None:
        """What to ask the BLS signers for; None where there is no chain, or nothing to anchor on it."""
        if state is None or (state.head and state.head.size == checkpoint.size):
            return None
        # A contract refuses a time before the last anchor's, so a clock that was set back by seconds waits.
        time_s = max(self._now_s(), state.head.time_s if state.head else 0)
        if anchor_ahead(self._now_s(), time_s) and time_s != self.journal.accepted_time():
            return None  # no witness would sign it; without it they cosign all the same
        return AnchorRequest(state.domain, time_s, tuple(state.places), state.quorum)

    def clock_doubt(self) -> ClockDoubt | None:
        """Why this machine's clock is doubted; None where it is not, or the operator has accepted it."""
        state, _ = self._state()
        found = self._leap(state)
        if found is None and state and state.head and state.head.time_s != self.journal.accepted_time():
            found = anchor_ahead(self._now_s(), state.head.time_s)
        return found

    def accept(self, doubt: ClockDoubt) -> None:
        """Go on in spite of a doubt, which the operator has looked into.

        A clock that leapt is believed from where it is; anchors are dated as the last one until its time has come, by
        every witness in this process. Witnesses elsewhere go by their own clocks. Raises ``LogUnavailable``.
        """
        if doubt.leap:
            self.journal.accept_clock(doubt.clock_s, self.clock.now_ms())
            return
        for witness in self.witnesses:
            if isinstance(witness, Witness):
                witness.accept_time(doubt.known_s)
        self.journal.accept_time(doubt.known_s, self.clock.now_ms())

    def _let_follow(self) -> None:
        """Witnesses in this process learn the log's later keys from it, those elsewhere from their operators."""
        keys = self.log.history
        for witness in self.witnesses:
            if isinstance(witness, Witness | HttpWitness):
                witness.follow(keys)

    def _require_believable_clock(self, state: ChainState | None) -> None:
        doubt = self._leap(state)
        if doubt is not None:
            self.journal.note_problem(str(doubt), self.clock.now_ms())
            raise ClockDoubted(str(doubt))

    def _leap(self, state: ChainState | None) -> ClockDoubt | None:
        known = [self.journal.accepted_clock()]
        latest = self.log.latest()
        known += [time_s for _, time_s in self.policy.cosigned(latest[1])] if latest else []
        if state is not None:
            known += [state.head.time_s] if state.head else []
            known += [state.time_s] if state.own_clock or not any(known) else []  # a node's own chain has its clock
        return leap(self._now_s(), known)

    def _now_s(self) -> int:
        return self.clock.now_ms() // 1000

    def _state(self) -> tuple[ChainState | None, str]:
        if self._chain is None:
            return None, ""
        try:
            return self._chain.state(self.log.origin), ""
        except ChainError as error:
            return None, f"the chain does not answer: {error}"

    def _settle(self, chain: ChainAnchor, head: Head | None) -> None:
        """Find out what became of anchors that were sent and never confirmed."""
        for _, record in self.journal.unconfirmed():
            size = record.statement.size
            if head is None or size > head.size:
                continue  # it has not arrived; a newer checkpoint will take its place
            try:
                arrived = chain.anchored_root(self.log.origin, size) == record.statement.root
                block = chain.block_number()
            except ChainError:
                return
            if arrived:  # its own block is not known any more: this one is at or after it
                self.journal.confirm(record.confirmed(block, b""))
            else:
                self.journal.drop(size)

    def _anchor(self, chain: ChainAnchor, checkpoint: Checkpoint, gathered: Gathered, state: ChainState) -> str:
        """Send what was gathered; return what stands in the way, if anything."""
        size, anchored = checkpoint.size, state.head.size if state.head else 0
        if size == anchored:
            return ""
        if not gathered.time_s and state.head and (doubt := anchor_ahead(self._now_s(), state.head.time_s)):
            return f"{doubt}; anchors wait until then, or `twinward audit accept-clock`"
        record = _record(checkpoint, gathered, state)
        if len(record.signers) < state.quorum or not record.signers:
            return f"the contract wants {state.quorum} of its witnesses, {len(record.signers)} of them signed"
        self.journal.prepare(gathered.note.encode(), record)
        try:
            consistency = self.log.prove_consistency(anchored, size) if anchored else []
            self.journal.confirm(chain.send(record, consistency))
        except ChainError as error:
            return f"the anchor waits: {error}"
        return ""


def require_agreement(log: Log, head: Head | None) -> None:
    """What was anchored must be a prefix of the log. Raises ``LogCorrupt``: the log was cut or rewritten."""
    size = log.store.size()
    if head and head.size > size:
        raise LogCorrupt(f"{head.size} entries are anchored, the log has {size}", first_bad_index=size)
    if head and not hmac.compare_digest(merkle.root_at(head.size, log.store.node), head.root):
        raise LogCorrupt(
            f"the first {head.size} entries no longer give the root that was anchored; verify the log",
            first_bad_index=None,
        )


def _record(checkpoint: Checkpoint, gathered: Gathered, state: ChainState) -> AnchorRecord:
    """The anchor that the gathered BLS signatures make, by the places the contract gave the witnesses."""
    places = state.places
    signers = sorted((key for key in gathered.bls if key in places), key=places.__getitem__)
    aggregate = bls.aggregate([gathered.bls[key] for key in signers]) if signers else b""
    bitmap = sum(1 << places[key] for key in signers)
    statement = AnchorStatement.of(state.domain, checkpoint, gathered.time_s)
    return AnchorRecord(statement, bitmap, tuple(signers), aggregate)
