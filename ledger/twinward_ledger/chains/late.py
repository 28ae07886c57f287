"""The embedded chain's file, looked at now; the machine that runs its contracts starts when it is first asked.

py-evm takes half a second and ten megabytes, and a node is asked for records long before it anchors anything. What can
be wrong with the file shows at once all the same: that it is no chain, another chain, or that its key is gone.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twinward_contracts.artefacts import Artefact
from twinward_ledger.chains._key_file import secret_in
from twinward_ledger.chains._tables import CHAIN
from twinward_ledger.chains.interfaces import ChainClient, Receipt
from twinward_ledger.errors import ChainUnavailable, WrongChain
from twinward_ledger.storage.sqlite import connect_raw

_BUSY_TIMEOUT_S = 10.0


class LateChain:
    """A ``ChainClient`` on the file of a chain that was made before. Safe to share between threads.

    Args:
        path: the chain's file.
        kept: which chain it is, as ``id_in`` says.
        chain_id: which it must be; None takes any.
        start: opens the chain that it stands for.

    Raises:
        ChainUnavailable: its key cannot be used.
        WrongChain: the file is a chain of another id.
    """

    def __init__(self, path: Path, kept: int, chain_id: int | None, start: Callable[[], ChainClient]) -> None:
        self._path, self._start = path, start
        self._chain_id = kept
        if chain_id is not None and chain_id != self._chain_id:
            raise WrongChain(f"{path} is chain {self._chain_id}, configured is {chain_id}")
        secret_in(path.with_name(path.name + ".key"))
        self._lock = threading.Lock()
        self._started: ChainClient | None = None
        self._closed = False

    @property
    def chain_id(self) -> int:
        """The EIP-155 chain id."""
        return self._chain_id

    @property
    def has_own_clock(self) -> bool:
        """Whether the times of its blocks come from other clocks than this machine's."""
        return False

    @property
    def sender(self) -> str:
        """The checksummed address transactions come from."""
        return self._chain().sender

    def block_number(self) -> int:
        """The newest block's number."""
        return self._chain().block_number()

    def block_time_s(self) -> int:
        """The newest block's time, Unix seconds."""
        return self._chain().block_time_s()

    def gas_used(self, block_number: int) -> int:
        """The gas that all transactions of a block used together."""
        return self._chain().gas_used(block_number)

    def deploy(self, artefact: Artefact, *arguments: Any) -> str:
        """Create a contract; return its checksummed address."""
        return self._chain().deploy(artefact, *arguments)

    def call(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Any:
        """Ask a contract without changing anything."""
        return self._chain().call(address, artefact, function, *arguments)

    def transact(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Receipt:
        """Send a transaction; it is in a block of its own, on disk, when this returns."""
        return self._chain().transact(address, artefact, function, *arguments)

    def events(
        self, address: str, artefact: Artefact, event: str, *, from_block: int = 0
    ) -> Sequence[Mapping[str, Any]]:
        """A contract's past events of one name, oldest first; each a mapping of its arguments."""
        return self._chain().events(address, artefact, event, from_block=from_block)

    def close(self) -> None:
        """Give back the file. The chain can't be used afterwards."""
        with self._lock:
            self._closed = True
            if self._started is not None:
                self._started.close()

    def _chain(self) -> ChainClient:
        with self._lock:
            if self._started is None:
                if self._closed:
                    raise ChainUnavailable(f"the chain's file {self._path} can't be used: it was closed")
                self._started = self._start()
            return self._started


def id_in(path: Path) -> int | None:
    """Which chain a file is; None where there is none yet. Raises ``ChainUnavailable`` for what cannot be one."""
    try:
        if not path.is_file() or not path.stat().st_size:
            return None
        connection = connect_raw(path, CHAIN, timeout_s=_BUSY_TIMEOUT_S)
        try:
            row = connection.execute("SELECT value FROM meta WHERE name = 'chain_id'").fetchone()
        finally:
            connection.close()
        return int(row[0]) if row else None
    except (sqlite3.Error, OSError) as error:
        raise ChainUnavailable(f"the chain's file {path} can't be used: {error}") from error
    except (TypeError, ValueError):
        raise ChainUnavailable(f"the chain's file {path} does not say which chain it is") from None
