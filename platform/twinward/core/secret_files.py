"""Secrets that stand in files: a passphrase, a chain account's key. Refused where others than their owner may read."""

from __future__ import annotations

from pathlib import Path

from twinward.core.errors import BadInput
from twinward_crypto.errors import ProviderLocked
from twinward_crypto.providers import read_secret


def secret_in(path: Path, what: str) -> str:
    """The text of a secret file without the white space around it.

    Raises:
        BadInput: missing, empty, too long, not text, or readable by others.
    """
    try:
        return read_secret(path, what)
    except ProviderLocked as error:
        raise BadInput(str(error), hint=error.hint) from None
