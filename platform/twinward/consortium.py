"""The consortium as one hospital sees it: the chain its hospitals share and the contracts they founded on it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Self

from eth_utils.address import to_checksum_address
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinward.errors import BadInput, Conflict
from twinward_contracts.bindings import AccessAnchor, BudgetLedger, ModelRegistry, WitnessSet
from twinward_crypto import bls
from twinward_crypto.errors import CryptoError, MalformedKey
from twinward_ledger.anchor import ChainAnchor, Founder
from twinward_ledger.chain import ChainClient
from twinward_ledger.note import Algorithm, VerifierKey
from twinward_ledger.witness import WitnessKeys


class WitnessCard(BaseModel):
    """What a witness hands to the hospitals whose logs it will cosign. All of it is public."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    key: str
    """Its cosigner key (``VerifierKey``)."""
    url: str
    bls_public_key: Annotated[str, Field(pattern=r"^[0-9a-f]{96}$")]
    possession: Annotated[str, Field(pattern=r"^[0-9a-f]{192}$")]
    """The proof of possession that a witness set on the chain demands."""

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """A card whose key parses and whose possession is proven. Raises ``BadInput``."""
        try:
            card = cls.model_validate_json(raw)
            if VerifierKey.parse(card.key).algorithm is not Algorithm.COSIGNATURE_V1:
                raise MalformedKey("not a cosigner's key")
            bls.verify_possession(bytes.fromhex(card.bls_public_key), bytes.fromhex(card.possession))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise BadInput(f"not a witness's card: {first['msg']}", hint="`twinward witness card` prints one") from None
        except CryptoError as error:
            raise BadInput(f"not a witness's card: {error}", hint="`twinward witness card` prints one") from None
        return card

    def founder(self) -> Founder:
        """The witness as a contract registers it."""
        return Founder(self.name, bytes.fromhex(self.bls_public_key), bytes.fromhex(self.possession))


def founder_of(name: str, keys: WitnessKeys) -> Founder:
    """A witness whose keys are here, as a contract registers it."""
    return Founder(name, keys.bls_public_key, keys.prove_possession())


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the contracts are: public facts that every hospital of a consortium shares."""

    chain_id: int
    witness_set: str
    access_anchor: str
    budget_ledger: str
    model_registry: str


class Consortium:
    """The contracts, bound to a chain client."""

    def __init__(self, chain: ChainClient, addresses: Addresses) -> None:
        self.chain = chain
        self.addresses = addresses
        self.witness_set = WitnessSet(chain, addresses.witness_set)
        self.anchor = AccessAnchor(chain, addresses.access_anchor)
        self.budgets = BudgetLedger(chain, addresses.budget_ledger)
        self.models = ModelRegistry(chain, addresses.model_registry)

    def witness_keys(self) -> tuple[bytes, ...]:
        """The BLS public keys (48 bytes each) that count; possession of each was proven to the contract."""
        return tuple(bls.public_key_from_eip2537(one.public_key) for one in self.witness_set.witnesses() if one.active)

    @classmethod
    def found(cls, chain: ChainClient, path: Path, founders: Sequence[Founder], quorum: int) -> Self:
        """Deploy the contracts, register the witnesses with proof of possession, write the addresses to ``path``.

        Raises:
            Conflict: a consortium was founded here before.
            BadInput: a quorum that the witnesses cannot reach.
        """
        if path.exists():
            raise Conflict(f"{path} names a consortium already")
        if not 0 < quorum <= len(founders):
            raise BadInput(f"a quorum of {quorum} cannot be reached by {len(founders)} witnesses")
        anchor = to_checksum_address(ChainAnchor.found(chain, founders, quorum).contract)
        addresses = Addresses(
            chain_id=chain.chain_id,
            witness_set=AccessAnchor(chain, anchor).witness_set(),
            access_anchor=anchor,
            budget_ledger=BudgetLedger.deploy(chain).address,
            model_registry=ModelRegistry.deploy(chain).address,
        )
        _write(path, addresses)
        return cls(chain, addresses)

    @classmethod
    def join(cls, chain: ChainClient, path: Path) -> Self:
        """Use the contracts a consortium founded earlier. Raises ``BadInput`` if the file or the chain do not fit."""
        try:
            addresses = Addresses(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise BadInput(
                f"{path} does not name a consortium: {error}", hint="copy it from a member hospital"
            ) from error
        if addresses.chain_id != chain.chain_id:
            raise BadInput(f"the consortium lives on chain {addresses.chain_id}, this is chain {chain.chain_id}")
        return cls(chain, addresses)


def _write(path: Path, addresses: Addresses) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(asdict(addresses), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
