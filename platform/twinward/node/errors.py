"""Errors of the layers below, at the boundary of the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twinward.errors import TwinwardError, Unavailable
from twinward_crypto.errors import CryptoError, KeyProviderError
from twinward_ledger.errors import LedgerError


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the layers below, as the platform's own."""
    try:
        yield
    except TwinwardError:
        raise
    except KeyProviderError as error:
        hint = "check TWINWARD_PASSPHRASE_FILE and the permissions of the key file"
        raise Unavailable(f"the key service cannot be used: {error}", hint=hint) from error
    except (CryptoError, LedgerError) as error:
        raise Unavailable(str(error)) from error
