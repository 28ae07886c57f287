"""What outsiders asked and what it cost, from the consortium's contracts: queries, privacy, registered models.

Every function raises ``Conflict`` where the contracts are an earlier release's, ``Unavailable`` where the chain does
not answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from twinward.consortium.membership import refusals_told
from twinward.core.allowances import hospital_epsilon, vendor_epsilon
from twinward.core.vocabulary import Role
from twinward.federation.models import COHORT
from twinward.node import Node

MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class VendorQueries:
    """One vendor's queries in the running epoch: how many it was granted, and how many are left."""

    vendor: str
    name: str
    granted: int
    left: int

    @property
    def spent(self) -> int:
        """How many it asked."""
        return self.granted - self.left


@dataclass(frozen=True, slots=True)
class QueryBudgets:
    """The running epoch, and what each vendor may ask in it."""

    epoch: int
    vendors: tuple[VendorQueries, ...]


@dataclass(frozen=True, slots=True)
class PrivacyBudget:
    """What studies may learn of one hospital's patients, in millionths of 1/σ²: the cap, and what is taken of it."""

    hospital: str
    cap_micros: int
    spent_micros: int
    reserved_micros: int

    @property
    def used_per_cent(self) -> int:
        """Of the cap, spent and reserved together."""
        return round(100 * (self.spent_micros + self.reserved_micros) / self.cap_micros)


def query_budgets(node: Node) -> QueryBudgets:
    """The running epoch and each vendor's budget in it."""
    with refusals_told():
        budgets = node.consortium.budgets
        epoch = budgets.current_epoch()
        found = []
        for vendor in node.accounts.of_role(Role.VENDOR):
            granted, left = budgets.queries_per_epoch(vendor.id), budgets.remaining_queries(vendor.id, epoch)
            found.append(VendorQueries(vendor.id, vendor.name or vendor.id, granted, left))
        return QueryBudgets(epoch, tuple(found))


@dataclass(frozen=True, slots=True)
class EpsilonAllowance:
    """What counts under hidden criteria may cost in the running epoch: of one vendor, or (``vendor`` empty) of all."""

    vendor: str
    name: str
    granted_millis: int
    left_millis: int


def epsilon_allowances(node: Node) -> tuple[EpsilonAllowance, ...]:
    """All vendors together first, then each that was ever granted epsilon; none where nothing was."""
    tenant = node.settings.tenant
    asked = [("", "all vendors together", hospital_epsilon(tenant))]
    asked += [
        (one.id, one.name or one.id, vendor_epsilon(tenant, one.id)) for one in node.accounts.of_role(Role.VENDOR)
    ]
    with refusals_told():
        budgets = node.consortium.budgets
        epoch = budgets.current_epoch()
        found = [
            EpsilonAllowance(vendor, name, granted, budgets.remaining_queries(allowance, epoch))
            for vendor, name, allowance in asked
            if (granted := budgets.queries_per_epoch(allowance))
        ]
    return tuple(found)


def privacy_budgets(node: Node) -> list[PrivacyBudget]:
    """Of each member hospital that has opened one."""
    with refusals_told():
        accounts = [(name, node.consortium.budgets.privacy(name, COHORT)) for name in node.settings.witnesses]
    return [
        PrivacyBudget(name, one.cap_micros, one.spent_micros, one.reserved_micros)
        for name, one in accounts
        if one.cap_micros
    ]


def privacy_left(node: Node, hospitals: Iterable[str]) -> dict[str, int]:
    """What studies may still learn of each hospital's patients, in millionths of 1/σ²."""
    with refusals_told():
        return {name: node.consortium.budgets.remaining_privacy(name, COHORT) for name in hospitals}


def model_cards(node: Node) -> dict[bytes, dict[str, Any]]:
    """The model cards this node keeps, by the hash under which the chain knows each."""
    found: dict[bytes, dict[str, Any]] = {}
    for path in sorted((node.settings.home / "models").glob("*.card.json")):
        try:
            content = path.read_bytes()
            card = json.loads(content)
            str(card["study"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # not a card; the model is then shown by its hash
        found[hashlib.sha256(content).digest()] = card
    return found


def studies_by_card(node: Node) -> dict[bytes, str]:
    """The studies of the model cards this node keeps, by the hash under which the chain knows the card."""
    return {digest: str(card["study"]) for digest, card in model_cards(node).items()}
