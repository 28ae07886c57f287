"""The error tree of the ledger.

LedgerError
├── InvalidProof               an inclusion or consistency proof does not verify, or is malformed
├── MalformedLeaf              leaf bytes that are not canonical or not of a known version
├── MalformedCheckpoint        a note or checkpoint that does not parse
├── QuorumNotReached           too few valid cosignatures for the policy
├── WitnessRefused             a witness would not sign; the reason is in the message
│   └── SplitView              two contradicting checkpoints of one log; carries both as evidence
├── LogUnavailable             the log could not be written durably (the access must be refused)
├── NoSuchEntry                an index, node or checkpoint that the log does not hold
├── Rollback                   a checkpoint smaller than one that is already held
├── LogCorrupt                 stored leaves and roots disagree; ``first_bad_index`` says where
└── ChainError
    ├── ChainUnavailable       no answer from the chain
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


class QuorumNotReached(LedgerError):
    """Too few valid cosignatures for the quorum policy."""

    def __init__(self, valid: int, needed: int) -> None:
        super().__init__(f"{valid} valid cosignatures, the policy needs {needed}")
        self.valid = valid
        self.needed = needed


class WitnessRefused(LedgerError):
    """A witness would not sign."""


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


class LogCorrupt(LedgerError):
    """Stored leaves do not give the signed root."""

    def __init__(self, message: str, *, first_bad_index: int | None) -> None:
        super().__init__(message)
        self.first_bad_index = first_bad_index


class ChainError(LedgerError):
    """The chain refused or failed."""


class ChainUnavailable(ChainError):
    """No answer from the chain."""


class WrongChain(ChainError):
    """The endpoint answers for another chain id than the one configured."""


class TransactionReverted(ChainError):
    """A contract refused a transaction with a custom error."""

    def __init__(self, error: str, arguments: tuple[object, ...] = ()) -> None:
        super().__init__(f"contract refused: {error}{arguments if arguments else ''}")
        self.error = error
        self.arguments = arguments
