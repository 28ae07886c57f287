"""One vendor for an officer: what it asked, what it was told, what it may still ask, and what bounds what it knows.

From three places that nobody writes alone: the access log (what was asked and refused), the history of releases (the
groups it was told of), and the contracts (what it paid, epoch by epoch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from twinward.access.interfaces import Permit
from twinward.audit.models import Footprint
from twinward.consortium.membership import refusals_told
from twinward.core.allowances import vendor_epsilon
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Category, Role
from twinward.node import Node
from twinward.node.release_history import SealedHistory
from twinward.similarity.release.history import ReleaseHistory

MODES: Final = ("gated", "vendor-key", "matrix", "feasibility")


@dataclass(frozen=True, slots=True)
class Spending:
    """What a vendor paid in queries, as the contracts say.

    Attributes:
        granted: queries an epoch.
        left: in the running epoch.
        window: what it may spend in all epochs of the window together.
        by_epoch: what it spent in each epoch of the window: (epoch, queries), oldest first, the running one last.
        epsilon_granted_millis, epsilon_left_millis: for counts, in the running epoch; 0 where it may not count.
    """

    granted: int
    left: int
    window: int
    by_epoch: tuple[tuple[int, int], ...]
    epsilon_granted_millis: int
    epsilon_left_millis: int

    @property
    def window_left(self) -> int:
        """What it may still spend in the window."""
        return max(0, self.window - sum(spent for _, spent in self.by_epoch))


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a vendor was told, and so may know.

    Attributes:
        asked: answers it was let ask for, by mode.
        again: how often it fetched an answer again.
        refused: how often it was refused, at whatever.
        compared: patients whose figures its queries were compared with.
        told: patients that it was told of by a handle, all epochs together.
        groups: groups of patients that its answers never split; ``smallest`` is the least of them.
        smallest: patients in the smallest group; 0 where there is none.
        records: patients whose records it received; ``categories`` says which.
        categories: of the records it received.
        since_ms, until_ms: the first and the last event; 0 where there is none.
        whole: whether the whole log was counted.
    """

    asked: dict[str, int]
    again: int
    refused: int
    compared: int
    told: int
    groups: int
    smallest: int
    records: int
    categories: tuple[Category, ...]
    since_ms: int
    until_ms: int
    whole: bool


@dataclass(frozen=True, slots=True)
class VendorReport:
    """One vendor."""

    id: str
    name: str
    spending: Spending
    learnt: Learnt


def vendor_report(node: Node, permit: Permit, vendor: str) -> VendorReport:
    """One vendor, with all that is known of it. Wants a permit to audit that names no twin.

    Raises:
        NotFound: no vendor has such an account here.
        Conflict, Unavailable: the contracts are an earlier release's, or the chain does not answer.
        StoreAltered: the history of releases is not what this node wrote.
    """
    found = {one.id: one for one in node.accounts.of_role(Role.VENDOR)}.get(vendor)
    if found is None:
        raise NotFound("no vendor has such an account here", hint="the page Vendors and studies lists all")
    spending = _spending(node, vendor)
    footprint = node.access_search.footprint(permit, vendor)
    groups = _groups(node, vendor, spending.by_epoch[-1][0])
    return VendorReport(vendor, found.name or vendor, spending, _learnt(footprint, groups))


def _spending(node: Node, vendor: str) -> Spending:
    settings = node.settings
    with refusals_told():
        budgets = node.consortium.budgets
        now, granted = budgets.current_epoch(), budgets.queries_per_epoch(vendor)
        epochs = range(max(0, now - settings.vendor_window_epochs + 1), now + 1)
        spent = tuple((epoch, max(0, granted - budgets.remaining_queries(vendor, epoch))) for epoch in epochs)
        counts = vendor_epsilon(settings.tenant, vendor)
        epsilon = budgets.queries_per_epoch(counts)
        return Spending(
            granted=granted,
            left=granted - spent[-1][1],
            window=granted * settings.vendor_window_grants,
            by_epoch=spent,
            epsilon_granted_millis=epsilon,
            epsilon_left_millis=budgets.remaining_queries(counts, now) if epsilon else 0,
        )


def _groups(node: Node, vendor: str, epoch: int) -> list[int]:
    """The sizes of the groups that the vendor's answers never split."""
    history = ReleaseHistory(epoch, SealedHistory(node.settings.home, node.identity.sealing_key, node.heads))
    return sorted(len(group) for group in history.told(vendor))


def _learnt(footprint: Footprint, groups: list[int]) -> Learnt:
    requests = {said: number for (action, said), number in footprint.requests.items() if action is Action.QUERY}
    return Learnt(
        asked={mode: number for mode in MODES if (number := requests.get(f"mode {mode}", 0))},
        again=sum(number for said, number in requests.items() if said.startswith("again ")),
        refused=sum(footprint.refused.values()),
        compared=footprint.patients.get(Action.QUERY, 0),
        told=footprint.patients.get(Action.MATCH, 0),
        groups=len(groups),
        smallest=groups[0] if groups else 0,
        records=footprint.patients.get(Action.EXPORT, 0),
        categories=footprint.categories,
        since_ms=footprint.first_ms,
        until_ms=footprint.last_ms,
        whole=footprint.whole,
    )
