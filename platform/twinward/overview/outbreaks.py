"""What this hospital does about outbreaks, for officers: periods of daily counts, what they cost, alerts in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twinward.access.interfaces import AccessContext
from twinward.core.errors import Unavailable
from twinward.node import Node
from twinward.outbreak.agreeing import PeriodStanding
from twinward.outbreak.errors import NoOutbreakContract
from twinward_contracts.bindings import OutbreakState


@dataclass(frozen=True, slots=True)
class OutbreakStanding:
    """Where it stands.

    Attributes:
        periods: approved here, the newest first.
        left: of the hospital's privacy budget, in millionths of 1/σ²; None where the chain does not answer.
        alerts: those in force, the oldest first.
    """

    periods: Sequence[PeriodStanding]
    left: int | None
    alerts: Sequence[OutbreakState]


def outbreak_standing(node: Node, by: AccessContext) -> OutbreakStanding:
    """Of the home's own hospital. Logs nothing: who shows it has a permit for the page."""
    from twinward.node.outbreak_releases import releases_of

    try:
        with releases_of(node, node.settings.tenant, by) as (releases, _):
            periods, left = releases.periods(), releases.budget_left()
        return OutbreakStanding(periods, left, _alerts(node))
    except Unavailable:
        return OutbreakStanding((), None, ())


def _alerts(node: Node) -> Sequence[OutbreakState]:
    try:
        return [one for one in node.outbreaks.alerts() if not one.ended_at_s]
    except NoOutbreakContract:
        return ()
