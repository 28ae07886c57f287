"""A consortium whose contracts are an earlier release's founds new ones, and takes over what was granted and spent.

Order: nothing serves the home; the old contracts are really earlier ones; the log still holds what was anchored in
them; no emergency waits for its review there. Then the new ones are deployed, budgets and models are carried over while
that is still possible, and setting the quorum (this node's own, not what stands in the old contracts) ends the
founding. The old contracts stay on the chain as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twinward.consortium.membership import Consortium, WitnessCard, founder_of, refusals_told
from twinward.core.allowances import hospital_epsilon, vendor_epsilon
from twinward.core.config import CONSORTIUM_FILE, Settings
from twinward.core.errors import BadInput, Conflict
from twinward.core.private_files import write_public
from twinward.core.vocabulary import Role
from twinward.federation.models import COHORT
from twinward.node.errors import translated
from twinward.node.home import require_not_served
from twinward.node.node import Node
from twinward_contracts.bindings import AccessAnchor, BreakGlass, BudgetLedger, ModelRegistry
from twinward_ledger.anchoring.anchorer import require_agreement
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.errors import EarlierContracts
from twinward_ledger.formats.cosignature import log_id


@dataclass(frozen=True, slots=True)
class Renewed:
    """What was done: the new anchor's chain and address, where the old addresses are kept, and what was taken over."""

    anchor: str
    kept: Path
    vendors: int
    hospitals: int
    models: int


def renew(node: Node, cards: Sequence[WitnessCard] = ()) -> Renewed:
    """Found new contracts for the consortium of a node.

    Args:
        node: whose contracts are an earlier release's; its account founds.
        cards: the witnesses, where they are asked over HTTP: each proves again that it holds its key.

    Raises:
        Conflict: the home is served, the contracts are not earlier ones, or emergencies wait for their review there.
        BadInput: the witnesses are too few for the quorum.
        Unavailable: the chain does not answer, or the log does not hold what was anchored.
    """
    require_not_served(node.settings.home)
    old, chain = node.consortium, node.consortium.chain.chain
    _require_earlier(old)
    with translated():
        require_agreement(node.log, AccessAnchor(chain, old.addresses.access_anchor).latest(log_id(node.log.origin)))
    with refusals_told():
        if old.addresses.break_glass and BreakGlass(chain, old.addresses.break_glass).open_count():
            raise Conflict(
                "emergencies wait for their review in the earlier contracts",
                hint="review them first, with the release that declared them (`twinward access review`)",
            )
    if not cards and node.settings.quorum_policy is not None:
        raise BadInput("this node's witnesses are elsewhere", hint="give each one's --witness-card")
    founders = [one.founder() for one in cards] or [founder_of(one, old.keys[one]) for one in node.settings.witnesses]
    carried = _Carried(node, chain)
    path = node.settings.home / CONSORTIUM_FILE
    fresh = path.with_suffix(".new.json")
    fresh.unlink(missing_ok=True)  # of an attempt that was cut short: its contracts are of no use to anybody
    review_s = node.settings.break_glass_review_s
    with refusals_told():
        made = Consortium.found(
            chain, fresh, founders, node.settings.quorum, review_s=review_s, keys=old.keys, carry=carried.carry
        )
    _open_anew(old, made)
    kept = _free(path)
    write_public(kept, path.read_bytes())
    fresh.replace(path)
    anchor = f"{made.addresses.chain_id} {made.addresses.access_anchor}"
    return Renewed(anchor, kept, carried.vendors, carried.hospitals, carried.models)


def _open_anew(old: Consortium, made: Consortium) -> None:
    """What hospitals opened besides is there again, empty: it obeyed a witness set that counts no more."""
    if old.addresses.resource_exchange:
        made.open_exchange()
    if old.addresses.outbreak_alert:
        made.open_outbreak()


class _Carried:
    """Takes over what the earlier contracts say. Names it does not know cannot be read from a chain of digests."""

    def __init__(self, node: Node, chain: ChainClient) -> None:
        addresses = node.consortium.addresses
        self._budgets = BudgetLedger(chain, addresses.budget_ledger)
        self._models = ModelRegistry(chain, addresses.model_registry)
        self._vendors = [vendor.id for vendor in node.accounts.of_role(Role.VENDOR)]
        self._settings: Settings = node.settings
        self.vendors = self.hospitals = self.models = 0

    def carry(self, budgets: BudgetLedger, models: ModelRegistry) -> None:
        """Write all of it into the new contracts."""
        for vendor in self._vendors:
            self.vendors += self._carry_allowance(vendor, budgets)
        tenant = self._settings.tenant
        for name in (hospital_epsilon(tenant), *(vendor_epsilon(tenant, vendor) for vendor in self._vendors)):
            self._carry_allowance(name, budgets)
        for hospital in dict.fromkeys((*self._settings.witnesses, self._settings.tenant)):
            account = self._budgets.privacy(hospital, COHORT)
            if account.cap_micros or account.spent_micros or account.reserved_micros:
                budgets.carry_privacy(hospital, COHORT, account)
                self.hospitals += 1
        for number in range(1, self._models.count() + 1):
            one = self._models.model(number)
            models.carry_model(one.study_id, one.model_hash, one.card_hash, one.epsilon_micros, one.delta_e12)
            self.models += 1

    def _carry_allowance(self, name: str, budgets: BudgetLedger) -> bool:
        """What is granted an epoch under a name, and what was spent of it. Says whether there was anything."""
        granted, now = self._budgets.queries_per_epoch(name), self._budgets.current_epoch()
        if not granted:
            return False
        budgets.grant_queries(name, granted)
        for epoch in range(max(0, now - self._settings.vendor_window_epochs + 1), now + 1):
            spent = granted - self._budgets.remaining_queries(name, epoch)
            if spent:
                budgets.carry_queries(name, epoch, spent)
        return True


def _require_earlier(old: Consortium) -> None:
    with refusals_told():
        try:
            old.chain.require_agreed()
        except EarlierContracts:
            return
    raise Conflict("the consortium's contracts are this release's", hint="there is nothing to renew")


def _free(path: Path) -> Path:
    number = 1
    while (kept := path.with_suffix(f".before-{number}.json")).exists():
        number += 1
    return kept
