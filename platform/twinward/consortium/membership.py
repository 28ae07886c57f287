"""The consortium as one hospital sees it: the chain its hospitals share and the contracts they founded on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinward.consortium.agreed_chain import AgreedChain
from twinward.core.allowances import hospital_epsilon, vendor_epsilon
from twinward.core.errors import BadInput, Conflict, Unavailable
from twinward.core.private_files import write_public
from twinward_contracts.bindings import (
    AccessAnchor,
    BreakGlass,
    BudgetLedger,
    Call,
    Change,
    ModelRegistry,
    OutbreakAlert,
    ResourceExchange,
    WitnessSet,
)
from twinward_crypto import bls
from twinward_crypto.errors import CryptoError, MalformedKey
from twinward_ledger.anchoring.agreement import agree, sign_as
from twinward_ledger.anchoring.contract import Founder, register_all
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.errors import ChainError, EarlierContracts, QuorumNotReached, TransactionReverted
from twinward_ledger.formats.note import Algorithm, VerifierKey
from twinward_ledger.witness.witness import WitnessKeys

REVIEW_S = 72 * 3600
"""How long a hospital has to review an emergency, unless its consortium agreed otherwise when it was founded."""


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

    @classmethod
    def of(cls, name: str, keys: WitnessKeys, url: str = "") -> Self:
        """The card of a witness whose keys are here; ``url`` is empty where no log asks it from elsewhere."""
        possession = keys.prove_possession().hex()
        return cls(
            name=name,
            key=str(keys.signer.cosigner_key),
            url=url,
            bls_public_key=keys.bls_public_key.hex(),
            possession=possession,
        )

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
    break_glass: str = ""
    """Empty where a consortium was founded before emergencies were declared; it is then made when one is."""
    resource_exchange: str = ""
    """Empty until a hospital opens the exchange, for all of them."""
    outbreak_alert: str = ""
    """Empty until a hospital opens alerts of outbreaks, for all of them."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The addresses in a consortium's file. Raises ``ValueError`` or ``TypeError`` where one is missing.

        What this version has no use for is passed over: a consortium may have founded more contracts.
        """
        named = json.loads(text)
        return cls(**{field.name: named[field.name] for field in fields(cls) if field.name in named})


class Consortium:
    """The contracts, bound to a chain client.

    Args:
        chain: the chain, seen from this hospital's account.
        addresses: where the contracts are.
        path: the file that says so.
        keys: of the hospitals whose keys are on this machine, by name. They sign what is theirs; where they are a
            quorum, they agree to changes.
    """

    def __init__(
        self, chain: ChainClient, addresses: Addresses, path: Path, keys: Mapping[str, WitnessKeys] | None = None
    ) -> None:
        shared = [addresses.budget_ledger, addresses.model_registry]
        obeying = [*shared, addresses.break_glass, addresses.resource_exchange, addresses.outbreak_alert]
        self.chain = AgreedChain(
            chain,
            addresses.witness_set,
            addresses.access_anchor,
            [one for one in obeying if one],
            paying=(addresses.model_registry, addresses.budget_ledger),
        )
        self._path = path
        self.keys = dict(keys or {})
        self.addresses = addresses
        self.witness_set = WitnessSet(self.chain, addresses.witness_set)
        self.anchor = AccessAnchor(self.chain, addresses.access_anchor)
        self.budgets = BudgetLedger(self.chain, addresses.budget_ledger)
        self.models = ModelRegistry(self.chain, addresses.model_registry)

    def change(self, call: Call) -> Change | None:
        """Have a change made: at once where the keys here are a quorum (None), else by proposing it for all to see.

        Raises:
            Conflict: the contract refuses the change, or this account may not propose.
            Unavailable: the chain does not answer.
        """
        with refusals_told():
            try:
                agree(self.witness_set, call, list(self.keys.values()))
            except QuorumNotReached:
                return self.witness_set.change(self.witness_set.propose(call))
        return None

    def enact(self, number: int) -> None:
        """Make a proposed change that is due. Raises ``Conflict`` where it is not, or ``Unavailable``."""
        with refusals_told():
            self.witness_set.enact(number)

    def cancel(self, number: int) -> None:
        """Take a proposal back, as its owner or by the quorum whose keys are here. Raises as ``change``."""
        with refusals_told():
            try:
                agree(self.witness_set, self.witness_set.cancelling(number), list(self.keys.values()))
            except QuorumNotReached:
                self.witness_set.cancel(number)

    def membership(self, account: str, *, admit: bool) -> list[Call]:
        """The changes that admit or expel a hospital's account, one for each contract with members.

        Raises:
            BadInput: that is not an account's address.
        """
        from eth_utils.address import is_address  # slow to load: not for a node that only joins

        if not is_address(account):
            raise BadInput(f"{account!r} is not an account's address", hint="0x and 40 hexadecimal digits")
        contracts: list[BudgetLedger | ModelRegistry | BreakGlass] = [self.budgets, self.models]
        if self.addresses.break_glass:
            contracts.append(BreakGlass(self.chain, self.addresses.break_glass))
        return [one.admitting(account) if admit else one.expelling(account) for one in contracts]

    def grant_queries(self, vendor: str, per_epoch: int) -> Change | None:
        """Set how many queries a vendor may spend an epoch. As ``change``."""
        return self.change(self.budgets.granting(vendor, per_epoch))

    def grant_epsilon(self, tenant: str, vendor: str, *, own_millis: int, whole_millis: int) -> list[Change | None]:
        """Set what a vendor's counts may spend of epsilon an epoch, and all vendors' at this hospital together.

        In thousandths. What all may spend is left as it is where something was granted before. As ``change``.
        """
        calls = [self.budgets.granting(vendor_epsilon(tenant, vendor), own_millis)]
        with refusals_told():
            if not self.budgets.queries_per_epoch(hospital_epsilon(tenant)):
                calls.append(self.budgets.granting(hospital_epsilon(tenant), whole_millis))
        return [self.change(call) for call in calls]

    def cap_privacy(self, hospital: str, cohort: str, cap_micros: int) -> Change | None:
        """Set what all studies may learn about a cohort of a hospital whose key is here. As ``change``.

        Lowering needs nobody else; raising is agreed on, or proposed.

        Raises:
            Conflict: that hospital's key is not here.
        """
        with refusals_told():
            sign = sign_as(self.keys)
            try:
                if cap_micros <= self.budgets.privacy(hospital, cohort).cap_micros:
                    self.budgets.cap_privacy(hospital, cohort, cap_micros, sign=sign)
                    return None
                call = self.budgets.capping(hospital, cohort, cap_micros, sign=sign)
            except QuorumNotReached:
                hint = f"{hospital} caps its own budget, at its own node"
                raise Conflict(f"the key of {hospital} is not here", hint=hint) from None
        return self.change(call)

    def break_glass(self) -> BreakGlass:
        """Where emergencies are declared. A consortium that was founded without it gets this hospital's own.

        Raises ``ChainError``. Call it from one process of the home at a time.
        """
        if not self.addresses.break_glass:  # another process may have made it since
            self.addresses = Addresses.parse(self._path.read_text(encoding="utf-8"))
        if not self.addresses.break_glass:
            made = BreakGlass.deploy(self.chain, self.addresses.witness_set)
            self.addresses = replace(self.addresses, break_glass=made.address)
            _write(self._path, self.addresses)
        return BreakGlass(self.chain, self.addresses.break_glass)

    def resource_exchange(self) -> ResourceExchange | None:
        """Where hospitals exchange resources; None until one of them opened it. Raises ``ChainError``."""
        address = self._later("resource_exchange")
        return ResourceExchange(self.chain, address) if address else None

    def open_exchange(self) -> ResourceExchange:
        """Make the exchange, for every hospital that is handed the consortium's file. Raises ``Conflict``.

        Call it from one process of the home at a time.
        """
        if self._later("resource_exchange"):
            raise Conflict("the consortium has an exchange", hint="`twinward exchange list` shows what is in it")
        with refusals_told():
            made = ResourceExchange.deploy(self.chain, self.addresses.witness_set)
        self.addresses = replace(self.addresses, resource_exchange=made.address)
        _write(self._path, self.addresses)
        return made

    def outbreak_alert(self) -> OutbreakAlert | None:
        """Where alerts of outbreaks stand; None until one of the hospitals opened it. Raises ``ChainError``."""
        address = self._later("outbreak_alert")
        return OutbreakAlert(self.chain, address) if address else None

    def open_outbreak(self) -> OutbreakAlert:
        """Make the contract for alerts, as ``open_exchange``. Raises ``Conflict``."""
        if self._later("outbreak_alert"):
            raise Conflict("the consortium has a contract for alerts", hint="`twinward outbreak alerts` lists them")
        with refusals_told():
            made = OutbreakAlert.deploy(self.chain, self.addresses.witness_set)
        self.addresses = replace(self.addresses, outbreak_alert=made.address)
        _write(self._path, self.addresses)
        return made

    def _later(self, name: str) -> str:
        """A contract's address that another process may have written since; a stranger's contract is refused."""
        if not getattr(self.addresses, name):
            found = Addresses.parse(self._path.read_text(encoding="utf-8"))
            if address := getattr(found, name):
                self.chain.require_obeying(address)
                self.addresses = replace(self.addresses, **{name: address})
        return str(getattr(self.addresses, name))

    def witness_keys(self) -> tuple[bytes, ...]:
        """The BLS public keys (48 bytes each) that count; possession of each was proven to the contract."""
        return tuple(bls.public_key_from_eip2537(one.public_key) for one in self.witness_set.witnesses() if one.active)

    @classmethod
    def found(
        cls,
        chain: ChainClient,
        path: Path,
        founders: Sequence[Founder],
        quorum: int,
        *,
        review_s: int = REVIEW_S,
        keys: Mapping[str, WitnessKeys] | None = None,
        carry: Callable[[BudgetLedger, ModelRegistry], None] | None = None,
    ) -> Self:
        """Deploy the contracts, register the witnesses with proof of possession, write the addresses to ``path``.

        Setting the quorum comes last and ends the founding: from then on nothing changes without agreement.

        Args:
            chain, path, keys: as of the class.
            founders: the witnesses.
            quorum: how many of them must sign.
            review_s: how long emergencies may wait for their review.
            carry: takes over what stood in earlier contracts, while that is possible.

        Raises:
            Conflict: a consortium was founded here before.
            BadInput: a quorum that the witnesses cannot reach.
        """
        from eth_utils.address import to_checksum_address

        if path.exists():
            raise Conflict(f"{path} names a consortium already")
        if not 0 < quorum <= len(founders):
            raise BadInput(f"a quorum of {quorum} cannot be reached by {len(founders)} witnesses")
        witnesses = WitnessSet.deploy(chain)
        register_all(witnesses, founders)
        budgets = BudgetLedger.deploy(chain, witnesses.address)
        models = ModelRegistry.deploy(chain, budgets.address)
        addresses = Addresses(
            chain_id=chain.chain_id,
            witness_set=witnesses.address,
            access_anchor=to_checksum_address(AccessAnchor.deploy(chain, witnesses.address).address),
            budget_ledger=budgets.address,
            model_registry=models.address,
            break_glass=BreakGlass.deploy(chain, witnesses.address, review_s=review_s).address,
        )
        if carry is not None:
            carry(budgets, models)
        witnesses.set_quorum(quorum)
        _write(path, addresses)
        return cls(chain, addresses, path, keys)

    @classmethod
    def join(cls, chain: ChainClient, path: Path, keys: Mapping[str, WitnessKeys] | None = None) -> Self:
        """Use the contracts a consortium founded earlier. Raises ``BadInput`` if the file or the chain do not fit."""
        try:
            addresses = Addresses.parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise BadInput(
                f"{path} does not name a consortium: {error}", hint="copy it from a member hospital"
            ) from error
        if addresses.chain_id != chain.chain_id:
            raise BadInput(f"the consortium lives on chain {addresses.chain_id}, this is chain {chain.chain_id}")
        return cls(chain, addresses, path, keys)


@contextmanager
def refusals_told() -> Iterator[None]:
    """What the contracts refuse, and a chain that does not answer, as the platform's own errors."""
    try:
        yield
    except EarlierContracts as error:
        raise Conflict(str(error)) from error
    except TransactionReverted as refusal:
        raise Conflict(f"the consortium's contract refuses: {refusal.error}", hint=_hint(refusal)) from refusal
    except ChainError as error:
        raise Unavailable(str(error)) from error


def _hint(refusal: TransactionReverted) -> str:
    if refusal.error == "OwnableUnauthorizedAccount":
        return "only the account that founded the consortium proposes changes; ask its operator"
    if refusal.error in {"TooEarly", "TooLate", "NotProposed"}:
        return "`twinward consortium show` lists what is proposed, from when and until when it can be enacted"
    return "`twinward consortium show` says how things stand"


def _write(path: Path, addresses: Addresses) -> None:
    write_public(path, json.dumps(asdict(addresses), indent=2).encode())
