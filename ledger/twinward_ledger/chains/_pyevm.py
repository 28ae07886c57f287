"""The rules of the embedded chain: py-evm's Prague with fast BLS precompiles and no fees worth speaking of."""

from __future__ import annotations

from twinward_ledger.chains import _py_ecc  # before py-evm

# isort: split
import sys
from typing import Any, Final

from eth.abc import BlockHeaderAPI
from eth.chains.base import MiningChain
from eth.constants import POST_MERGE_DIFFICULTY, POST_MERGE_MIX_HASH, POST_MERGE_NONCE
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PRAGUE_PRECOMPILES, PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth_typing import Address, BlockNumber
from eth_utils.address import to_canonical_address

from twinward_ledger.chains._precompiles import BY_ADDRESS
from twinward_ledger.chains._sqlite_db import SqliteDb

sys.setrecursionlimit(_py_ecc.RECURSION_LIMIT)  # py-evm raises it again

BLOCK_GAS_LIMIT: Final = 30_000_000
_ENDOWMENT_WEI: Final = 10**27
"""What the only account starts with: gas for some 10^12 anchors. It buys nothing anywhere."""


class _Computation(PragueComputation):
    _precompiles = {  # noqa: RUF012 - py-evm's way of saying it
        **PRAGUE_PRECOMPILES,
        **{Address(address.rjust(20, b"\x00")): function for address, function in BY_ADDRESS.items()},
    }


class _State(PragueState):
    computation_class = _Computation


class _Vm(PragueVM):
    _state_class = _State


class EmbeddedRules(MiningChain):
    """One block a transaction, mined at once; a constant gas limit. ``chain_id`` is set on a subclass."""

    vm_configuration = ((BlockNumber(0), _Vm),)

    def create_header_from_parent(self, parent_header: BlockHeaderAPI, **header_params: Any) -> BlockHeaderAPI:
        """A child header with the parent's gas limit."""
        return super().create_header_from_parent(
            parent_header, **{**header_params, "gas_limit": parent_header.gas_limit}
        )


def rules(chain_id: int) -> type[EmbeddedRules]:
    """The chain class of one chain id, which py-evm keeps on the class."""
    return type("EmbeddedRules", (EmbeddedRules,), {"chain_id": chain_id})


def write_genesis(db: SqliteDb, chain_id: int, account: str, timestamp_s: int) -> None:
    """Make block 0, in which one account owns everything."""
    rules(chain_id).from_genesis(
        db,
        {
            "coinbase": Address(bytes(20)),
            "difficulty": POST_MERGE_DIFFICULTY,
            "extra_data": b"",
            "gas_limit": BLOCK_GAS_LIMIT,
            "mix_hash": POST_MERGE_MIX_HASH,
            "nonce": POST_MERGE_NONCE,
            "timestamp": timestamp_s,
        },
        {Address(to_canonical_address(account)): {"balance": _ENDOWMENT_WEI, "nonce": 0, "code": b"", "storage": {}}},
    )
