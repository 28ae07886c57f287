"""How a node stands: what it knows by itself, and what the consortium's contracts say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from twinward.access.emergencies import EmergencyCounts
from twinward.audit.service import Audit
from twinward.audit.status import AuditStatus, cosigners
from twinward.consortium.standing import Proposal, Standing, proposals_of, standing_of
from twinward.consortium.witness.health import WitnessHealth, health_of
from twinward.core.clock import iso
from twinward.core.errors import TwinwardError
from twinward.node import Node
from twinward.node.restored_home import RestoredHome
from twinward.overview.external_use import EpsilonAllowance, QueryBudgets, epsilon_allowances, query_budgets
from twinward_ledger.formats.key_history import KeyHistory
from twinward_ledger.stores.witness_memory import Standing as WitnessStanding


@dataclass(frozen=True, slots=True)
class OwnStatus:
    """What a node knows without asking the chain.

    Attributes:
        hospital, tenant, home: what it calls itself, and where it lives.
        restored: the mark of a restored home that is not at work.
        twins: how many are kept; ``shredded`` are not among them.
        log: how far the audit trail is signed, cosigned and anchored.
        emergencies: broken glass at a glance.
        witnesses: how each of them is.
        log_keys: what the log signs with, and what it signed with before.
    """

    hospital: str
    tenant: str
    home: str
    restored: RestoredHome | None
    twins: int
    shredded: int
    log: AuditStatus
    emergencies: EmergencyCounts
    witnesses: tuple[WitnessHealth, ...]
    log_keys: KeyHistory

    def shown(self) -> dict[str, Any]:
        """For a machine."""
        return {
            "hospital": self.hospital,
            "tenant": self.tenant,
            "home": self.home,
            "restored": None if self.restored is None else asdict(self.restored),
            "twins": self.twins,
            "shredded": self.shredded,
            "log": _log_shown(self.log) | _keys_shown(self.log_keys),
            "emergencies": asdict(self.emergencies),
            "witnesses": [_witness_shown(one) for one in self.witnesses],
        }


@dataclass(frozen=True, slots=True)
class AgreedStatus:
    """What the contracts say: who changes the consortium, what is proposed, what vendors may still ask."""

    consortium: Standing
    queries: QueryBudgets
    counts: tuple[EpsilonAllowance, ...]

    def shown(self, now_ms: int) -> dict[str, Any]:
        """For a machine."""
        vendors = [{"id": one.vendor, "queries_left": one.left} for one in self.queries.vendors]
        counts = [
            {"id": one.vendor, "epsilon_granted": one.granted_millis / 1000, "epsilon_left": one.left_millis / 1000}
            for one in self.counts
        ]
        agreed = self.consortium.shown(now_ms)
        return {"consortium": agreed, "epoch": self.queries.epoch, "vendors": vendors, "counts": counts}


@dataclass(frozen=True, slots=True)
class WitnessStatus:
    """One witness; ``signed``: whether its cosignature on the newest checkpoint verifies."""

    health: WitnessHealth
    signed: bool


def own_status(node: Node) -> OwnStatus:
    """What the node knows by itself."""
    census = node.keyring.census()
    return OwnStatus(
        hospital=node.settings.hospital,
        tenant=node.settings.tenant,
        home=str(node.settings.home),
        restored=node.restored,
        twins=len(set(node.twins.all()) - census.shredded),
        shredded=len(census.shredded),
        log=node.audit.status(),
        emergencies=node.emergencies.counts(),
        witnesses=tuple(health_of(node.audit.anchorer)),
        log_keys=node.log.known_history,
    )


def agreed_status(node: Node) -> AgreedStatus:
    """What the contracts say.

    Raises:
        Conflict: they are an earlier release's.
        Unavailable: the chain does not answer.
    """
    standing = standing_of(node.consortium, node.known_names())
    return AgreedStatus(standing, query_budgets(node), epsilon_allowances(node))


def witnesses(audit: Audit) -> list[WitnessStatus]:
    """Every witness of the log, in the order they are asked."""
    latest = audit.log.latest()
    signed = dict(cosigners(latest[1].encode(), audit.anchorer)) if latest else {}
    return [WitnessStatus(one, one.name in signed) for one in health_of(audit.anchorer)]


def failing_witnesses(audit: Audit) -> list[WitnessHealth]:
    """Those that are down, behind or lying; one that was never asked is none of them."""
    return [one for one in health_of(audit.anchorer) if not one.good and one.standing is not WitnessStanding.UNKNOWN]


def proposals(node: Node) -> tuple[Proposal, ...]:
    """What is proposed to change the consortium; nothing where the chain does not answer: the log's status says so."""
    try:
        return proposals_of(node.consortium, node.known_names())
    except TwinwardError:
        return ()


def _keys_shown(keys: KeyHistory) -> dict[str, Any]:
    return {"key": str(keys.newest), "key_since": keys.earlier[-1].until if keys.earlier else 0}


def _log_shown(log: AuditStatus) -> dict[str, Any]:
    return {
        "size": log.size,
        "signed": log.signed_size,
        "witnesses": log.witnesses,
        "cosigned": log.cosigned,
        "quorum": log.quorum,
        "anchored": log.anchored_size,
        "anchored_block": log.anchored_block,
        "pending": log.pending,
        "waits": {"since": iso(log.waits.since_ms), "why": log.waits.text} if log.waits else None,
        "journal": {
            "waiting": log.journal.waiting,
            "lost": log.journal.cut_off,
            "evidence": [str(one) for one in log.journal.evidence],
        },
    }


def _witness_shown(one: WitnessHealth) -> dict[str, Any]:
    return {
        "name": one.name,
        "standing": one.standing.value,
        "size": one.size,
        "behind": one.behind,
        "since": iso(one.since_ms) if one.since_ms else None,
        "reason": one.reason,
        "say": one.sentence,
    }
