"""An anchor: which checkpoint was sent to which contract, and the quorum's signature that it was sent with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from twinward_ledger.errors import InvalidProof
from twinward_ledger.formats.cosignature import AnchorDomain, AnchorStatement


@dataclass(frozen=True, slots=True)
class AnchorRecord:
    """One anchor. Enough for anybody to check the quorum again without the chain.

    Attributes:
        statement: what the witnesses signed.
        bitmap: bit i is set where the witness at place i of the set signed.
        signers: their BLS public keys (48 bytes each) by ascending place.
        aggregate: the sum of their signatures (96 bytes).
        block_number: the block it is in; None while it waits for the chain.
        transaction_hash: empty where another process of the node sent it.
    """

    statement: AnchorStatement
    bitmap: int
    signers: tuple[bytes, ...]
    aggregate: bytes
    block_number: int | None = None
    transaction_hash: bytes = b""

    def confirmed(self, block_number: int, transaction_hash: bytes) -> AnchorRecord:
        """The same anchor, now in a block."""
        return replace(self, block_number=block_number, transaction_hash=transaction_hash)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object: bytes in hex, numbers as decimal strings (RFC 8785 holds no 64-bit integers)."""
        statement = self.statement
        return {
            "chain": str(statement.domain.chain_id),
            "contract": statement.domain.contract.hex(),
            "epoch": str(statement.domain.epoch),
            "origin": statement.origin,
            "size": str(statement.size),
            "root": statement.root.hex(),
            "time": str(statement.time_s),
            "bitmap": str(self.bitmap),
            "signers": [key.hex() for key in self.signers],
            "aggregate": self.aggregate.hex(),
            "block": None if self.block_number is None else str(self.block_number),
            "transaction": self.transaction_hash.hex(),
        }

    @classmethod
    def from_json(cls, value: Any) -> AnchorRecord:
        """Read ``to_json`` back. Raises ``InvalidProof`` for anything else."""
        try:
            domain = AnchorDomain(
                _number(value["chain"], 256), bytes.fromhex(value["contract"]), _number(value["epoch"], 64)
            )
            record = cls(
                statement=AnchorStatement(
                    domain,
                    value["origin"],
                    _number(value["size"], 63),
                    bytes.fromhex(value["root"]),
                    _number(value["time"], 63),
                ),
                bitmap=_number(value["bitmap"], 256),
                signers=tuple(bytes.fromhex(key) for key in value["signers"]),
                aggregate=bytes.fromhex(value["aggregate"]),
                block_number=None if value["block"] is None else _number(value["block"], 63),
                transaction_hash=bytes.fromhex(value["transaction"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidProof("malformed anchor") from error
        if record.to_json() != value:
            raise InvalidProof("malformed anchor: unknown or differently written fields")
        return record


def _number(text: str, bits: int) -> int:
    if not isinstance(text, str) or len(text) > 78 or not text.isascii() or not text.isdigit():
        raise ValueError("not a decimal number")
    value = int(text)
    if value >> bits:
        raise ValueError("number out of range")
    return value
