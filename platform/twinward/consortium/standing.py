"""How a consortium stands, and what is proposed to change it: what every node shows, from the chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from twinward.consortium.membership import Consortium, refusals_told
from twinward.core.sentences import Moment, sentence
from twinward_contracts import abi
from twinward_contracts.artefacts import load
from twinward_contracts.bindings import Change, name_id

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change that waits; times are in milliseconds since 1970."""

    number: int
    what: str
    due_ms: int
    expires_ms: int

    def sentence(self, now_ms: int) -> str:
        """What it would do, and when, in words."""
        if now_ms > self.expires_ms:
            return sentence("change {number} was proposed and has expired: {what}", number=self.number, what=self.what)
        if now_ms >= self.due_ms:
            until = Moment(self.expires_ms)
            return sentence(
                "change {number} can be enacted by anybody now, until {until}: {what}",
                number=self.number,
                until=until,
                what=self.what,
            )
        return sentence(
            "change {number} is proposed and can be enacted from {due}: {what}",
            number=self.number,
            due=Moment(self.due_ms),
            what=self.what,
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """Who must agree, who may propose, and what waits."""

    owner: str
    delay_s: int
    quorum: int
    witnesses: int
    epoch: int
    proposals: tuple[Proposal, ...]

    @property
    def sentence(self) -> str:
        """Who changes the consortium, in words."""
        days = sentence("{days} days", days=f"{self.delay_s / _DAY_S:g}")
        return sentence(
            "{quorum} of {witnesses} hospitals change it; what {owner} proposes waits {days}",
            quorum=self.quorum,
            witnesses=self.witnesses,
            owner=self.owner,
            days=days,
        )

    def shown(self, now_ms: int) -> dict[str, Any]:
        """For a machine, and in words."""
        waiting = [{**asdict(one), "say": one.sentence(now_ms)} for one in self.proposals]
        return {**asdict(self), "proposals": waiting, "say": self.sentence}


def standing_of(consortium: Consortium, names: Iterable[str]) -> Standing:
    """How things stand on the chain.

    Args:
        consortium: the contracts.
        names: of hospitals and vendors that this node knows: the chain has digests only.

    Raises:
        Conflict: the contracts are an earlier release's.
        Unavailable: the chain does not answer.
    """
    with refusals_told():
        chain = consortium.witness_set
        return Standing(
            owner=chain.owner(),
            delay_s=chain.delay_s(),
            quorum=chain.quorum(),
            witnesses=sum(one.active for one in chain.witnesses()),
            epoch=chain.epoch(),
            proposals=tuple(_proposal(consortium, one, names) for one in chain.proposed()),
        )


def proposals_of(consortium: Consortium, names: Iterable[str]) -> tuple[Proposal, ...]:
    """What waits, alone. Raises as ``standing_of``."""
    with refusals_told():
        return tuple(_proposal(consortium, one, names) for one in consortium.witness_set.proposed())


def describe(consortium: Consortium, change: Change, names: Iterable[str]) -> str:
    """What a change would do, in words. What this version cannot read is shown as bytes, and is not to be trusted."""
    addresses = consortium.addresses
    contracts = {
        addresses.witness_set: "WitnessSet",
        addresses.budget_ledger: "BudgetLedger",
        addresses.model_registry: "ModelRegistry",
        addresses.break_glass: "BreakGlass",
        addresses.resource_exchange: "ResourceExchange",
        addresses.outbreak_alert: "OutbreakAlert",
    }
    contract = contracts.get(change.target)
    if contract is None:
        return f"calls {change.target}, which is none of the consortium's contracts, with 0x{change.data.hex()}"
    try:
        function, arguments = abi.read_call(load(contract), change.data)
    except LookupError as error:
        return f"calls {contract} with what cannot be read ({error}): 0x{change.data.hex()}"
    known = {name_id(name): name for name in names}
    said = ", ".join(f"{name} {_shown(value, known)}" for name, value in arguments.items())
    return f"{contract}.{function} with {said}"


def _proposal(consortium: Consortium, change: Change, names: Iterable[str]) -> Proposal:
    return Proposal(change.number, describe(consortium, change, names), change.due_s * 1000, change.expires_s * 1000)


def _shown(value: Any, known: dict[bytes, str]) -> str:
    if isinstance(value, bytes):
        return known.get(value) or f"0x{value[:16].hex()}{'…' if len(value) > 16 else ''}"
    return str(value)
