"""The embedded chain: an Ethereum virtual machine over one SQLite file, in this process. Needs no server.

Invariants: a returned ``Receipt`` is on disk (one SQL transaction a block, ``synchronous=FULL``); what a contract
refuses leaves no block; reopening continues where the last receipt left off, whatever killed the process. It orders
and enforces rules for one operator; trust comes from the witnesses' signatures that its contracts check.
"""

from __future__ import annotations

from twinward_ledger.chains import _py_ecc  # noqa: F401 - before py-evm

# isort: split
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from eth.abc import ComputationAPI, ReceiptAPI
from eth.exceptions import PyEVMError, Revert
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address, BlockNumber
from eth_utils.address import is_address, to_canonical_address, to_checksum_address
from eth_utils.exceptions import ValidationError

from twinward_contracts.artefacts import Artefact
from twinward_ledger.chains import _account, _codec
from twinward_ledger.chains._pyevm import BLOCK_GAS_LIMIT, EmbeddedRules, rules, write_genesis
from twinward_ledger.chains._sqlite_db import SqliteDb
from twinward_ledger.chains.interfaces import Receipt
from twinward_ledger.errors import ChainError, ChainUnavailable, TransactionReverted, WrongChain

DEFAULT_CHAIN_ID: Final = 845_317
"""Of no public network, so that nothing signed for an embedded chain counts elsewhere."""

_NOWHERE: Final = Address(b"")
_PRIORITY_FEE_WEI: Final = 1


def _system_now_s() -> int:
    return int(time.time())


class EmbeddedChain:
    """A ``ChainClient`` on a file. Safe to share between threads; several processes may open the same file.

    Args:
        path: the chain's file, made if it is absent; its folder must exist. The account's key lies beside it as
            ``<path>.key``, readable by its owner only.
        chain_id: EIP-155 chain id; a file keeps the one it was made with. None takes the file's, or the default.
        now_s: the clock, Unix seconds. Block times never go back, even where the clock does.
        key: 32 bytes, the account of a new chain; drawn at random if None. For reproducible runs.

    Raises:
        ChainUnavailable: the file or its key can't be used.
        WrongChain: the file is a chain of another id.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        chain_id: int | None = None,
        now_s: Callable[[], int] = _system_now_s,
        key: bytes | None = None,
    ) -> None:
        self._path = Path(path)
        self._now_s = now_s
        if not self._path.parent.is_dir():
            raise ChainUnavailable(f"the folder {self._path.parent} of the chain does not exist")
        with self._translated():
            self._db = SqliteDb(self._path)
        try:
            with self._translated():
                self._open(chain_id, key)
        except BaseException:
            self._db.close()
            raise

    def _open(self, chain_id: int | None, key: bytes | None) -> None:
        key_path = self._path.with_name(self._path.name + ".key")
        with self._db.transaction(write=True):
            stored = self._db.meta("chain_id")
            if stored is None:
                self._chain_id = DEFAULT_CHAIN_ID if chain_id is None else chain_id
                self._account = _account.create(key_path, key)
                self._db.set_meta("chain_id", str(self._chain_id).encode())
                write_genesis(self._db, self._chain_id, self.sender, self._now_s())
            else:
                self._chain_id = int(stored)
                self._account = _account.read(key_path)
        if chain_id is not None and chain_id != self._chain_id:
            raise WrongChain(f"{self._path} is chain {self._chain_id}, configured is {chain_id}")
        self._rules = rules(self._chain_id)

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
        return str(to_checksum_address(self._account.address))

    def block_number(self) -> int:
        """The newest block's number."""
        with self._chain(write=False) as chain:
            return int(chain.get_canonical_head().block_number)

    def block_time_s(self) -> int:
        """The newest block's time, Unix seconds."""
        with self._chain(write=False) as chain:
            return int(chain.get_canonical_head().timestamp)

    def gas_used(self, block_number: int) -> int:
        """The gas that all transactions of a block used together."""
        with self._chain(write=False) as chain:
            return int(chain.get_canonical_block_header_by_number(BlockNumber(block_number)).gas_used)

    def deploy(self, artefact: Artefact, *arguments: Any) -> str:
        """Create a contract; return its checksummed address."""
        data = _codec.creation_data(artefact, arguments)
        with self._chain(write=True) as chain:
            computation = self._mine(chain, artefact, _NOWHERE, data)[1]
            return str(to_checksum_address(computation.msg.storage_address))

    def call(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Any:
        """Ask a contract without changing anything, as of the present moment."""
        data = _codec.call_data(artefact, function, arguments)
        target = _address(address)
        with self._chain(write=False) as chain:
            self._require_contract(chain, target)
            computation = self._simulate(chain, target, data)
        if computation.is_error:
            raise _refusal(artefact, computation)
        return _codec.output(artefact, function, bytes(computation.output))

    def transact(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Receipt:
        """Send a transaction; it is in a block of its own, on disk, when this returns."""
        data = _codec.call_data(artefact, function, arguments)
        target = _address(address)
        with self._chain(write=True) as chain:
            self._require_contract(chain, target)
            return self._mine(chain, artefact, target, data)[0]

    def events(
        self, address: str, artefact: Artefact, event: str, *, from_block: int = 0
    ) -> Sequence[Mapping[str, Any]]:
        """A contract's past events of one name, oldest first; each a mapping of its arguments."""
        topic = _codec.event_topic(artefact, event)
        with self._translated(), self._db.transaction(write=False):
            found = self._db.logs(_address(address), topic, from_block)
        return [_codec.event(artefact, event, topics, data) for topics, data in found]

    def close(self) -> None:
        """Give back the file. The chain can't be used afterwards."""
        self._db.close()

    @contextmanager
    def _chain(self, *, write: bool) -> Iterator[EmbeddedRules]:
        """py-evm's chain at the file's head, made anew each time: no cache can outlive a rollback or another writer."""
        with self._translated(), self._db.transaction(write=write):
            chain = self._rules(self._db)
            parent = chain.get_canonical_head()
            chain.set_header_timestamp(max(self._now_s(), parent.timestamp + 1))
            yield chain

    def _mine(
        self, chain: EmbeddedRules, artefact: Artefact, target: Address, data: bytes
    ) -> tuple[Receipt, ComputationAPI]:
        """Run one transaction into a block of its own; a refusal rolls everything back by raising."""
        header = chain.header
        vm = chain.get_vm(header)
        # Prague's builder, which the interface that py-evm declares here is older than.
        builder: Any = vm.get_transaction_builder()
        unsigned = builder.new_unsigned_dynamic_fee_transaction(
            chain_id=self._chain_id,
            nonce=vm.state.get_nonce(self._account.address),
            max_priority_fee_per_gas=_PRIORITY_FEE_WEI,
            max_fee_per_gas=2 * (header.base_fee_per_gas or 0) + _PRIORITY_FEE_WEI,
            gas=BLOCK_GAS_LIMIT,
            to=target,
            value=0,
            data=data,
            access_list=(),
        )
        transaction = self._account.sign(unsigned, self._chain_id)
        _, receipt, computation = chain.apply_transaction(transaction)
        if computation.is_error:
            raise _refusal(artefact, computation)
        block = chain.mine_block()
        self._index(block.number, receipt)
        return Receipt(bytes(transaction.hash), block.number, block.header.gas_used), computation

    def _index(self, block: int, receipt: ReceiptAPI) -> None:
        for position, log in enumerate(receipt.logs):
            topics = tuple(topic.to_bytes(32, "big") for topic in log.topics)
            self._db.add_log(block, position, log.address, topics, log.data)

    def _simulate(self, chain: EmbeddedRules, target: Address, data: bytes) -> ComputationAPI:
        """Run a call as the next block would, and keep nothing of it.

        Not py-evm's ``in_costless_state``: that makes up a block after the next, at the machine's own time.
        """
        vm = chain.get_vm(chain.header.copy(base_fee_per_gas=0))
        unsigned = vm.get_transaction_builder().create_unsigned_transaction(
            nonce=vm.state.get_nonce(self._account.address),
            gas_price=0,
            gas=BLOCK_GAS_LIMIT,
            to=target,
            value=0,
            data=data,
        )
        spoofed: Any = SpoofTransaction(unsigned, from_=self._account.address)  # unsigned, but runs as one signed by us
        return vm.state.costless_execute_transaction(spoofed)

    @staticmethod
    def _require_contract(chain: EmbeddedRules, target: Address) -> None:
        if not chain.get_vm(chain.header).state.get_code(target):
            raise ChainError(f"there is no contract at {to_checksum_address(target)} on this chain")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ChainUnavailable(f"the chain's file {self._path} can't be used: {error}") from error
        except (PyEVMError, ValidationError, OSError) as error:
            raise ChainUnavailable(f"the chain in {self._path} failed: {type(error).__name__}") from error


def _refusal(artefact: Artefact, computation: ComputationAPI) -> TransactionReverted:
    if isinstance(computation.error, Revert):
        return _codec.reverted(artefact, bytes(computation.output))
    return TransactionReverted(type(computation.error).__name__)


def _address(text: str) -> Address:
    if not is_address(text):
        raise ChainError(f"{text!r} is not an address")
    return Address(to_canonical_address(text))
