"""The error tree of the ledger.

LedgerError
├── InvalidProof               an inclusion or consistency proof does not verify, or is malformed
├── MalformedLeaf              leaf bytes that are not canonical or not of a known version
├── MalformedCheckpoint        a note or checkpoint that does not parse
├── QuorumNotReached           too few valid cosignatures for the policy
├── MalformedPolicy            a quorum policy that does not parse; ``line`` says where
├── MalformedEvidence          a file that is not a split view's evidence, or proves nothing
├── WitnessRefused             a witness would not sign; the reason is in the message
│   ├── MalformedProposal      what was asked is no proposal at all
│   ├── UnknownLog             not a log it was configured with
│   ├── NotSignedByLog         the log's own signature is missing or does not verify
│   ├── StaleProof             the proof starts elsewhere than where the witness is; ``size`` says where that is
│   ├── InconsistentGrowth     the checkpoint is not shown to extend the one cosigned before
│   ├── WitnessForgot          it has forgotten what it cosigned: its state was rolled back
│   ├── WitnessDown            it cannot be reached, or cannot work now
│   │   └── WitnessSlow        it did not answer in time
│   ├── WitnessLied            it answered with something that is not its cosignature of this checkpoint
│   └── SplitView              two contradicting checkpoints of one log; carries both as evidence
├── LogUnavailable             the log could not be written durably (the access must be refused)
├── NoSuchEntry                an index, node or checkpoint that the log does not hold
├── Rollback                   a checkpoint smaller than one that is already held
├── ClockDoubted               this machine's clock is far ahead of everything that was signed: nothing is signed by it
├── LogCorrupt                 stored leaves and roots disagree; ``first_bad_index`` says where
└── ChainError
    ├── ChainUnavailable       no answer from the chain
    │   └── Unfunded           the account cannot pay for the gas
    ├── TransactionReverted    a contract refused; carries the custom error's name and arguments
    └── WrongChain             the endpoint is not the chain that was configured
"""

from __future__ import annotations


class LedgerError(Exception):
    """Root of every error this package raises on purpose."""


class InvalidProof(LedgerError):
    """A proof does not verify or is malformed."""


class MalformedLeaf(LedgerError):
    """Leaf bytes are not canonical or not of a known version."""


class MalformedCheckpoint(LedgerError):
    """A signed note or a checkpoint does not parse."""


class MalformedPolicy(LedgerError):
    """A quorum policy does not parse; ``line`` is the first wrong one, counted from 1, 0 for the file as a whole."""

    def __init__(self, message: str, *, line: int) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line


class MalformedEvidence(LedgerError):
    """A file is not a split view's evidence, or what it holds is no contradiction."""


class QuorumNotReached(LedgerError):
    """Too few valid cosignatures for the quorum policy."""

    def __init__(self, valid: int, needed: int) -> None:
        super().__init__(f"{valid} valid cosignatures, the policy needs {needed}")
        self.valid = valid
        self.needed = needed


class WitnessRefused(LedgerError):
    """A witness would not sign."""


class MalformedProposal(WitnessRefused):
    """What was asked is no proposal: unreadable, or its proof starts beyond its checkpoint."""


class UnknownLog(WitnessRefused):
    """The witness was not configured with this log."""


class NotSignedByLog(WitnessRefused):
    """The log's own signature is missing or does not verify."""


class StaleProof(WitnessRefused):
    """The proof starts elsewhere than at the largest size this witness cosigned, which is ``size``."""

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class InconsistentGrowth(WitnessRefused):
    """The checkpoint is not shown to extend the one that was cosigned before."""


class WitnessForgot(WitnessRefused):
    """A witness holds a smaller size than one it has cosigned: its state was rolled back."""


class WitnessDown(WitnessRefused):
    """A witness cannot be reached, or cannot work now."""


class WitnessSlow(WitnessDown):
    """A witness did not answer in time."""


class WitnessLied(WitnessRefused):
    """A witness answered with something that is not its cosignature of the checkpoint."""


class SplitView(WitnessRefused):
    """Two contradicting checkpoints of one log; both signed notes are carried as evidence."""

    def __init__(self, message: str, *, seen: bytes, offered: bytes) -> None:
        super().__init__(message)
        self.seen = seen
        self.offered = offered


class LogUnavailable(LedgerError):
    """The log could not be written durably."""


class NoSuchEntry(LedgerError):
    """The log holds no such entry, node or checkpoint."""


class Rollback(LedgerError):
    """A checkpoint smaller than one that is already held, or larger than the log."""


class KeyReplaced(LedgerError):
    """The log's key was changed meanwhile: what an older one signs is not kept."""


class ClockDoubted(LedgerError):
    """The clock is far ahead of every time that the log, its witnesses and its chain know. Nothing was signed."""


class LogCorrupt(LedgerError):
    """Stored leaves do not give the signed root."""

    def __init__(self, message: str, *, first_bad_index: int | None) -> None:
        super().__init__(message)
        self.first_bad_index = first_bad_index


class ChainError(LedgerError):
    """The chain refused or failed."""


class ChainUnavailable(ChainError):
    """No answer from the chain."""


class Unfunded(ChainUnavailable):
    """The account cannot pay for the transaction's gas. Nothing was sent."""


class WrongChain(ChainError):
    """The endpoint answers for another chain id than the one configured."""


class EarlierContracts(ChainError):
    """The contracts at these addresses are not ones that only the hospitals' agreement changes."""


class TransactionReverted(ChainError):
    """A contract refused a transaction with a custom error."""

    def __init__(self, error: str, arguments: tuple[object, ...] = ()) -> None:
        super().__init__(f"contract refused: {error}{arguments if arguments else ''}")
        self.error = error
        self.arguments = arguments
