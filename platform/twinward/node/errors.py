"""Errors of a node as a whole, and those of the layers below at its boundary.

Unavailable
├── KeysNotOwn (exit 7)         the key service holds no key of this home, or another node's
└── StoresNotOwn (exit 7)       a database is gone, empty, or another one than this home works with
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twinward.core.errors import TwinwardError, Unavailable
from twinward_crypto.errors import CryptoError, KeyProviderError
from twinward_ledger.errors import LedgerError


class KeysNotOwn(Unavailable):
    """The key service holds no key of this home, or another node's. Nothing was opened, and nothing was made."""


class StoresNotOwn(Unavailable):
    """A database is gone, empty, or another one than this home works with. Nothing was done, and nothing was made."""


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the layers below, as the platform's own."""
    try:
        yield
    except TwinwardError:
        raise
    except KeyProviderError as error:
        raise Unavailable(f"the key service cannot be used: {error}", hint=error.hint) from error
    except (CryptoError, LedgerError) as error:
        raise Unavailable(str(error)) from error
