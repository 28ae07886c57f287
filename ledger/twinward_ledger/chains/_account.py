"""The embedded chain's account: a key in a file beside the chain, made once."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from eth.abc import SignedTransactionAPI
from eth_keys.datatypes import PrivateKey
from eth_typing import Address

from twinward_ledger.chains._key_file import KEY_BYTES, malformed, secret_in
from twinward_ledger.errors import ChainUnavailable


class Account:
    """Signs transactions. eth_keys shows a private key in its repr; this keeps it out of any."""

    __slots__ = ("_key",)

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    @property
    def address(self) -> Address:
        """20 bytes."""
        return Address(self._key.public_key.to_canonical_address())

    def sign(self, transaction: Any, chain_id: int) -> SignedTransactionAPI:
        """Sign one of py-evm's unsigned transactions.

        Whose it is need not be found from the signature any more, which is three quarters of what signing costs.
        """
        signed: SignedTransactionAPI = transaction.as_signed_transaction(self._key, chain_id=chain_id)
        vars(signed)["sender"] = self.address  # what the cached property would compute
        return signed


def create(path: Path, key: bytes | None = None) -> Account:
    """Write a new key, readable by its owner only and durable before this returns; keep one that is there already."""
    if path.exists():
        return read(path)
    secret = key if key is not None else secrets.token_bytes(KEY_BYTES)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike a rename it never replaces a key that another process made meanwhile
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    _sync_folder(path.parent)
    return read(path)


def read(path: Path) -> Account:
    """Read the key. Raises ``ChainUnavailable`` if it is missing, malformed or readable by others."""
    try:
        return Account(PrivateKey(secret_in(path)))
    except ChainUnavailable:
        raise
    except Exception:  # noqa: BLE001 - eth_keys raises its own; none may quote the key
        raise malformed(path) from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
