"""The ledger's errors as the trail's own, for what reads and proves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twinward.audit.errors import LogTampered, NoSuchEvent
from twinward.core.errors import Unavailable
from twinward_ledger.errors import LedgerError, LogCorrupt, NoSuchEntry


@contextmanager
def ledger_translated() -> Iterator[None]:
    """Run a block that reads the log.

    Raises:
        NoSuchEvent: the log has no such entry.
        LogTampered: it is not what was signed.
        Unavailable: it does not answer.
    """
    try:
        yield
    except NoSuchEntry as error:
        raise NoSuchEvent(str(error)) from error
    except LogCorrupt as error:
        raise LogTampered(str(error), first_bad_index=error.first_bad_index) from error
    except LedgerError as error:
        raise Unavailable(f"the access log does not answer: {error}") from error
