"""What is asked for rarely: routes that are made, with all they stand on, when somebody first comes to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from twinward.api.http.doors import Door
from twinward.api.twins.events import EventStreams
from twinward.node import Node


@dataclass(frozen=True)
class Rarely:
    """The routes of one node that stand behind doors. Each method adds some, and loads what they stand on."""

    node: Node
    streams: EventStreams
    principal_of: Callable[..., Any]

    def doors(self) -> list[Door]:
        """A door for each part of the node."""
        log = ["/log"] if self.node.settings.publish_log else []
        return [
            Door(["/api/1/twins", "/api/1/alerts", "/api/1/readings"], self.add_twins),
            Door(["/api/1/things"], self.add_things),
            Door(["/api/1/similarity"], self.add_similarity),
            Door(["/api/1/audit", *log], self.add_audit),
            Door(["/api/1/accounts", "/api/1/proofs"], self.add_accounts),
            Door(["/api/1/delegations"], self.add_delegations),
            Door(["/api/1/emergencies"], self.add_emergencies),
        ]

    def add_twins(self, router: APIRouter) -> None:
        """Twins, and what live ones measure."""
        from twinward.api.live import live_router
        from twinward.api.twins.reading import twins_router
        from twinward.api.twins.records import twin_records_router
        from twinward.api.twins.targets import twin_targets_router

        node, standing = self.node, self.node.accounts.require_standing
        reading = twins_router(node.twins, node.access, node.audit.writes, self.streams, self.principal_of, standing)
        router.include_router(reading)
        router.include_router(twin_targets_router(node.twins, self.principal_of))
        router.include_router(twin_records_router(node.twins, node.access, node.store, self.principal_of))
        router.include_router(live_router(node.live, node.twins, self.streams, self.principal_of, standing))

    def add_things(self, router: APIRouter) -> None:
        """Devices, beds, wards."""
        from twinward.api.things import things_router

        node = self.node
        router.include_router(things_router(node.things, node.twins, self.principal_of, node.settings.public_url))

    def add_similarity(self, router: APIRouter) -> None:
        """Vendors' queries and contacts."""
        from twinward.api.contacts import contacts_router
        from twinward.api.similarity import similarity_router

        node = self.node
        router.include_router(similarity_router(node.cohort, node.access, self.principal_of))
        router.include_router(contacts_router(node.cohort, node.contacts, node.access, self.principal_of))

    def add_audit(self, router: APIRouter) -> None:
        """The log: its files, where they are published; its events and proofs, for officers."""
        from twinward.api.audit import audit_router, log_files_router

        if self.node.settings.publish_log:
            router.include_router(log_files_router(self.node.log_files))
        router.include_router(audit_router(self.node, self.principal_of))

    def add_accounts(self, router: APIRouter) -> None:
        """Accounts, and proofs that who asks is there."""
        from twinward.api.accounts import accounts_router
        from twinward.api.proofs import proofs_router

        router.include_router(accounts_router(self.node.account_desk, self.principal_of))
        router.include_router(proofs_router(self.node.fresh_proofs, self.principal_of))

    def add_delegations(self, router: APIRouter) -> None:
        """Roles that are lent."""
        from twinward.api.delegations import delegations_router

        router.include_router(delegations_router(self.node.delegations, self.node.clock, self.principal_of))

    def add_emergencies(self, router: APIRouter) -> None:
        """Glass that was broken."""
        from twinward.api.emergencies import emergencies_router

        node = self.node
        router.include_router(emergencies_router(node.emergencies, node.access, node.clock, self.principal_of))
