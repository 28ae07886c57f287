"""What waiting changes of the policy would change: the last decisions taken again beside the page, once for each.

Kept in this process, for the policy that is in force meanwhile: whoever opens the page again, the second officer too,
reads what was found, and as of when.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from twinward.access.interfaces import Permit
from twinward.access.policy import Policy
from twinward.access.policy_preview import LAST, Preview
from twinward.access.policy_store import Proposal
from twinward.core.beside import MOMENT_S, Standing, Told
from twinward.node import Node
from twinward.overview.policy import preview_of

_KEPT: Final = 32


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found, when."""

    at_ms: int
    found: Preview


class WaitingPreviews:
    """The previews of one node's proposals."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._mutex = threading.Lock()
        self._kept: OrderedDict[str, Looked] = OrderedDict()

    def of(self, permit: Permit, proposal: Proposal, then: Policy) -> Looked | None:
        """What a proposal would change; None where that is not known yet, which is begun here and waited for a moment.

        ``permit`` is one to audit, naming no twin; where it grew old before its turn came, it is decided, and logged,
        anew.
        """
        name = self._name(proposal)
        if name not in self._kept:

            def look(told: Told) -> None:
                at_ms = self._node.clock.now_ms()
                for found in self._node.access.opened(permit, lambda one: preview(one, told)):
                    with self._mutex:
                        self._kept[name] = Looked(at_ms, found)
                        while len(self._kept) > _KEPT:
                            self._kept.popitem(last=False)

            def preview(one: Permit, told: Told) -> Preview:
                return preview_of(self._node, one, then, told=lambda done: told(min(done, LAST), LAST))

            if self.standing(proposal).may_begin:
                self._node.beside.begin(name, LAST, look, by=permit.request.principal.id)
            self._node.beside.standing(name, MOMENT_S)
        return self._kept.get(name)

    def standing(self, proposal: Proposal) -> Standing:
        """How that stands: decisions that were taken again."""
        return self._node.beside.standing(self._name(proposal))

    def _name(self, proposal: Proposal) -> str:
        return f"preview of {proposal.name} against {self._node.policy.current().hash}"
