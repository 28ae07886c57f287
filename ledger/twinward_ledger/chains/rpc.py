"""Any Ethereum chain behind JSON-RPC endpoints (Besu, geth, anvil …) with the precompiles of Prague.

Transactions are signed here; the endpoint never sees the key. Whatever web3 or the network raises comes out as a
``ChainError``: no answer or nonsense is ``ChainUnavailable``, a contract's refusal ``TransactionReverted``. How final
a block is, is the chain's affair: on one that reorganises, wait before trusting a receipt. How endpoints are asked,
and asked again, is in ``_endpoints``.
"""

from __future__ import annotations

from twinward_ledger.chains import _py_ecc  # noqa: F401 - before eth_account

# isort: split
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from eth_account import Account
from eth_typing import ChecksumAddress
from eth_utils.address import is_address, to_checksum_address
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import ContractLogicError, TimeExhausted, TransactionNotFound, Web3Exception, Web3RPCError
from web3.types import Nonce, TxParams, TxReceipt

from twinward_contracts.artefacts import Artefact
from twinward_ledger.chains import _codec
from twinward_ledger.chains._endpoints import Endpoints, endpoints_of
from twinward_ledger.chains.interfaces import Receipt
from twinward_ledger.errors import ChainError, ChainUnavailable, TransactionReverted, Unfunded

_POLL_S: Final = 0.1
_PRIORITY_FEE_WEI: Final = 1_000_000_000
_GAS_HEADROOM_PERCENT: Final = 20
_OUTBID_PERCENT: Final = 25
"""Nodes replace a transaction that waits only for one that offers a tenth more."""
_LOG_PAGE_BLOCKS: Final = 10_000
"""Endpoints refuse longer ranges."""
_NO_FUNDS: Final = re.compile(
    r"insufficient funds|upfront cost|not enough (funds|balance)|gas required exceeds allowance", re.IGNORECASE
)
"""What geth, Erigon, anvil, Besu and Nethermind call an account that can't pay."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """A transaction's place in its account's order, and the most it pays for each gas."""

    nonce: int
    max_fee_wei: int
    priority_wei: int


class RpcChain:
    """A ``ChainClient`` over HTTP or a websocket. Safe to share between threads; requests go one at a time.

    Nothing is asked before the first use, so a node starts while its chain is down. The first use of each endpoint
    checks its chain id.

    Args:
        url: ``http://…``, ``https://…``, ``ws://…`` or ``wss://…``; several of one chain with commas between, the
            preferred one first. Only scheme, host and port ever appear in messages.
        key: 32 bytes, the account's secret key.
        chain_id: the EIP-155 chain id that every endpoint must have.
        timeout_s: how long one request to one endpoint may take; see ``Endpoints`` for how often it is tried.
        receipt_timeout_s: how long a transaction may take into a block.
        priority_fee_wei: what the block's maker is offered for each gas; 0 on a network without fees.
        pause: waits some seconds before an endpoint is asked again.
    """

    def __init__(
        self,
        url: str,
        key: bytes,
        chain_id: int,
        *,
        timeout_s: float = 10.0,
        receipt_timeout_s: float = 120.0,
        priority_fee_wei: int = _PRIORITY_FEE_WEI,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoints = Endpoints(endpoints_of(url), chain_id, timeout_s, pause)
        self._account = _account(key)
        self._chain_id = chain_id
        self._receipt_timeout_s = receipt_timeout_s
        self._priority_fee_wei = Web3.to_wei(priority_fee_wei, "wei")
        self._web3 = Web3(self._endpoints)
        self._lock = threading.RLock()
        self._stuck: _Offer | None = None
        self._contracts: set[str] = set()

    @property
    def chain_id(self) -> int:
        """The EIP-155 chain id."""
        return self._chain_id

    @property
    def has_own_clock(self) -> bool:
        """Whether the times of its blocks come from other clocks than this machine's."""
        return True

    @property
    def sender(self) -> str:
        """The checksummed address transactions come from."""
        return str(self._account.address)

    def block_number(self) -> int:
        """The newest block's number."""
        with self._connection() as eth:
            return int(eth.block_number)

    def block_time_s(self) -> int:
        """The newest block's time, Unix seconds."""
        with self._connection() as eth:
            return int(eth.get_block("latest")["timestamp"])

    def gas_used(self, block_number: int) -> int:
        """The gas that all transactions of a block used together."""
        with self._connection() as eth:
            return int(eth.get_block(block_number)["gasUsed"])

    def deploy(self, artefact: Artefact, *arguments: Any) -> str:
        """Create a contract; return its checksummed address."""
        data = _codec.creation_data(artefact, arguments)
        with self._connection(artefact):
            receipt = self._send({"data": HexBytes(data)})
        address = receipt["contractAddress"]
        if address is None:
            raise ChainUnavailable(f"{self._name} gave a receipt without the new contract's address")
        return str(address)

    def call(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Any:
        """Ask a contract without changing anything, as of the newest block."""
        data = _codec.call_data(artefact, function, arguments)
        target = _address(address)
        with self._connection(artefact) as eth:
            self._require_contract(target)
            answer = eth.call({"from": self._account.address, "to": target, "data": HexBytes(data)})
        return _codec.output(artefact, function, bytes(answer))

    def transact(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Receipt:
        """Send a transaction and wait until it is in a block."""
        data = _codec.call_data(artefact, function, arguments)
        target = _address(address)
        with self._connection(artefact):
            self._require_contract(target)
            receipt = self._send({"to": target, "data": HexBytes(data)})
        return Receipt(bytes(receipt["transactionHash"]), int(receipt["blockNumber"]), int(receipt["gasUsed"]))

    def events(
        self, address: str, artefact: Artefact, event: str, *, from_block: int = 0
    ) -> Sequence[Mapping[str, Any]]:
        """A contract's past events of one name, oldest first; each a mapping of its arguments."""
        topic = _codec.event_topic(artefact, event)
        target = _address(address)
        found: list[Mapping[str, Any]] = []
        with self._connection(artefact) as eth:
            newest = int(eth.block_number)
            for start in range(from_block, newest + 1, _LOG_PAGE_BLOCKS):
                stop = min(start + _LOG_PAGE_BLOCKS - 1, newest)
                logs = eth.get_logs(
                    {"address": target, "topics": [HexBytes(topic)], "fromBlock": start, "toBlock": stop}
                )
                found += [
                    _codec.event(artefact, event, [bytes(part) for part in log["topics"]], bytes(log["data"]))
                    for log in logs
                ]
        return found

    def close(self) -> None:
        """Give back the connections."""
        self._endpoints.close()

    @property
    def _name(self) -> str:
        """The endpoint that is asked now, fit for messages."""
        return self._endpoints.name

    def _send(self, transaction: TxParams) -> TxReceipt:
        """Sign, send and wait. What a contract refuses is found out before it costs anything, and raised."""
        eth = self._web3.eth
        offer = self._offer()
        draft: TxParams = {
            **transaction,
            "from": self._account.address,
            "chainId": self._chain_id,
            "value": Web3.to_wei(0, "wei"),
            "type": 2,
            "maxPriorityFeePerGas": Web3.to_wei(offer.priority_wei, "wei"),
            "maxFeePerGas": Web3.to_wei(offer.max_fee_wei, "wei"),
        }
        gas = eth.estimate_gas(draft)
        signed = self._account.sign_transaction(
            {**draft, "gas": gas + gas * _GAS_HEADROOM_PERCENT // 100, "nonce": Nonce(offer.nonce)}
        )
        self._submit(signed.raw_transaction, signed.hash)
        try:
            receipt = eth.wait_for_transaction_receipt(
                signed.hash, timeout=self._receipt_timeout_s, poll_latency=_POLL_S
            )
        except TimeExhausted:
            self._stuck = offer
            raise
        if receipt["status"] != 1:
            # The state changed between the estimate and the block; asking again at that block gives the reason.
            eth.call(draft, receipt["blockNumber"])
            raise TransactionReverted("NoReason")
        return receipt

    def _offer(self) -> _Offer:
        """The next transaction's place and price.

        One of this client's that got into no block in time, and still waits, is outbid: its caller was told that it
        may not have happened, and whatever came after it would wait behind it for ever.
        """
        eth, address = self._web3.eth, self._account.address
        base_fee = int(eth.fee_history(1, "latest")["baseFeePerGas"][-1])
        usual = 2 * base_fee + self._priority_fee_wei
        stuck = self._stuck
        if stuck is not None and eth.get_transaction_count(address, "latest") <= stuck.nonce:
            outbid, priority = (
                wei + wei * _OUTBID_PERCENT // 100 + 1 for wei in (stuck.max_fee_wei, stuck.priority_wei)
            )
            return _Offer(stuck.nonce, max(usual, outbid), max(self._priority_fee_wei, priority))
        self._stuck = None
        return _Offer(int(eth.get_transaction_count(address, "pending")), usual, self._priority_fee_wei)

    def _submit(self, raw: HexBytes, transaction_hash: HexBytes) -> None:
        try:
            self._web3.eth.send_raw_transaction(raw)
        except Web3RPCError:
            # After a lost answer a retry is told "already known" or "nonce too low", in every client's own words.
            try:
                self._web3.eth.get_transaction(transaction_hash)
            except TransactionNotFound:
                known = False
            else:
                known = True
            if not known:
                raise

    def _require_contract(self, target: ChecksumAddress) -> None:
        if target not in self._contracts:
            if not self._web3.eth.get_code(target):
                raise ChainError(f"there is no contract at {target} on chain {self._chain_id}")
            self._contracts.add(target)

    @contextmanager
    def _connection(self, artefact: Artefact | None = None) -> Iterator[Any]:
        """web3's ``eth`` of the right chain; every error it raises translated."""
        with self._lock:
            try:
                yield self._web3.eth
            except ContractLogicError as error:
                raise _refusal(artefact, error) from None
            except TimeExhausted:
                raise ChainUnavailable(
                    f"{self._name} took the transaction but no block within {self._receipt_timeout_s:g} s"
                ) from None
            except Web3RPCError as error:
                reason = _reason(error)
                if _NO_FUNDS.search(reason):
                    told = f"the account {self.sender} cannot pay for gas on chain {self._chain_id}: {reason}"
                    raise Unfunded(told) from None
                raise ChainUnavailable(f"{self._name} refused: {reason}") from None
            except Web3Exception as error:
                raise ChainUnavailable(f"{self._name} does not answer as a chain: {type(error).__name__}") from None
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ChainUnavailable(f"{self._name} answered what is no JSON-RPC: {type(error).__name__}") from None


def _refusal(artefact: Artefact | None, error: ContractLogicError) -> TransactionReverted:
    data = error.data if isinstance(error.data, str) and error.data.startswith("0x") else "0x"
    if artefact is None:
        return TransactionReverted("UnknownError", (data,))
    return _codec.reverted(artefact, bytes.fromhex(data[2:]))


def _reason(error: Web3RPCError) -> str:
    """The endpoint's own words, e.g. that the account has no funds; bounded, for they are foreign."""
    answer = (error.rpc_response or {}).get("error", {})
    text = answer.get("message", "") if isinstance(answer, dict) else str(answer)
    return ascii(text[:200])


def _account(key: bytes) -> Any:
    try:
        return Account.from_key(key)
    except Exception:  # noqa: BLE001 - eth_account raises several kinds; none may quote the key
        raise ChainError("the account's key must be 32 bytes between 1 and the curve's order") from None


def _address(text: str) -> ChecksumAddress:
    if not is_address(text):
        raise ChainError(f"{text!r} is not an address")
    return to_checksum_address(text)
