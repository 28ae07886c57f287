"""What a change of the policy would change on this node, for console and command line alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from twinward.access.consent import Consent
from twinward.access.interfaces import Permit
from twinward.access.policy import Policy
from twinward.access.policy_preview import Preview, preview
from twinward.core.vocabulary import TwinId
from twinward.node import Node


def preview_of(node: Node, permit: Permit, then: Policy, told: Callable[[int], None] = lambda _: None) -> Preview:
    """The last decisions taken again. Wants a permit to audit that names no twin."""

    @lru_cache(maxsize=1000)
    def kept(twin: TwinId) -> dict[int, Consent]:
        return {one.consent.version: one.consent for one in node.consents.kept(twin)}

    def consent_at(twin: TwinId, version: int) -> Consent | None:
        return kept(twin).get(version)

    return preview(node.audit_reader, permit, consent_at, node.policy.current(), then, hours=node.hours, told=told)
