"""The audit trail's errors.

TwinwardError
├── Unavailable
│   ├── LogNotWritten       an event could not be made durable: the access must be refused
│   ├── ClockNotBelieved    the clock is far ahead of everything that was signed: nothing is signed by it
│   └── NotCosigned         too few witnesses signed; the checkpoint is kept and tried again
├── NotFound
│   ├── NoSuchEvent         the log has no entry of that index
│   ├── NoSuchPatient       nobody is known by an id, and nothing is logged about it
│   └── EventErased         the event was erased with its patient's key; its proof stands
├── BadInput
│   └── EventNotLoggable    an event that has no canonical form
├── ProofRefused            a proof file that does not prove what it says
└── LogTampered             the log is not what was signed; ``first_bad_index`` says where
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twinward.core.errors import BadInput, NotFound, TwinwardError, Unavailable
from twinward.core.sentences import Sentence, of_numbers, sentence
from twinward_ledger.errors import LedgerError, LogCorrupt, NoSuchEntry


class LogNotWritten(Unavailable):
    """An event could not be made durable. Nothing was permitted."""


class NotCosigned(Unavailable):
    """Too few witnesses cosigned a checkpoint. It is kept, and the next attempt asks again."""


class ClockNotBelieved(Unavailable):
    """The machine's clock is far ahead of everything that was signed. Nothing was signed by it."""


class NoSuchEvent(NotFound):
    """The log has no entry of that index."""


class NoSuchPatient(NotFound):
    """Nobody is known by this id, and nothing is logged about it: there is nothing to prove."""


class EventErased(NotFound):
    """The event's body was erased, or its key was; the leaf and its proof stand."""


class EventNotLoggable(BadInput):
    """An event that cannot be written down: a lone surrogate, a number out of range, too long."""


class ProofRefused(TwinwardError):
    """A well-formed proof that does not hold: forged, altered, of another log, or signed by too few."""

    exit_code = 8
    http_status = 400


class LogTampered(TwinwardError):
    """The log is not what was signed.

    Attributes:
        first_bad_index: the first bad entry, or the first of the smallest range it must lie in; None where the log's
            own records of itself (its checkpoint, its head) are what was changed.
    """

    exit_code = 8
    http_status = 503

    def __init__(self, message: str, *, first_bad_index: int | None = None, hint: str = "") -> None:
        super().__init__(
            message, hint=hint or "keep this file as evidence, and compare it with the witnesses' checkpoints"
        )
        self.first_bad_index = first_bad_index


def corrupt(error: LogCorrupt, *, first_bad_index: int | None = None) -> LogTampered:
    """What the ledger found, as the trail's own; ``first_bad_index`` where it is known better."""
    found = error.first_bad_index if first_bad_index is None else first_bad_index
    return LogTampered(of_the_ledger(error), first_bad_index=found)


def of_the_ledger(error: LedgerError) -> Sentence:
    """What the ledger says, as a sentence that can be said again; its cause, where it tells one, as another in it."""
    said, why = str(error), str(error.__cause__ or "")
    if why and said.endswith(f": {why}"):
        return sentence("{what}: {why}", what=of_numbers(said.removesuffix(f": {why}")), why=of_numbers(why))
    if why and said.endswith(f" ({why})"):
        return sentence("{what} ({why})", what=of_numbers(said.removesuffix(f" ({why})")), why=of_numbers(why))
    return of_numbers(said)


@contextmanager
def ledger_translated() -> Iterator[None]:
    """Run a block that reads the log; the ledger's errors leave it as the trail's own.

    Raises:
        NoSuchEvent: the log has no such entry.
        LogTampered: it is not what was signed.
        Unavailable: it does not answer.
    """
    try:
        yield
    except NoSuchEntry as error:
        raise NoSuchEvent(of_the_ledger(error)) from error
    except LogCorrupt as error:
        raise corrupt(error) from error
    except LedgerError as error:
        raise Unavailable(f"the access log does not answer: {error}") from error
