"""What this hospital does about outbreaks: periods of daily counts, what they cost, alerts in force, forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from twinward.access.interfaces import AccessContext
from twinward.core.errors import StoreAltered, Unavailable
from twinward.core.vocabulary import Action
from twinward.node import Node
from twinward.outbreak.agreeing import PeriodStanding
from twinward.outbreak.errors import NoOutbreakContract, OutbreakInvalid
from twinward.outbreak.forecast_report import SyndromeForecast, newest_region, reports_on
from twinward.outbreak.shares import SummedDays
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
    """Of the home's own hospital. Logs nothing: who shows it has a permit for the page. Raises ``StoreAltered``."""
    from twinward.node.outbreak_releases import releases_of

    try:
        with releases_of(node, node.settings.tenant, by) as (releases, _):
            periods, left = releases.periods(), releases.budget_left()
        return OutbreakStanding(periods, left, _alerts(node))
    except StoreAltered:  # not what a chain is that does not answer
        raise
    except Unavailable:
        return OutbreakStanding((), None, ())


def forecasts_of(node: Node, ahead: int, syndrome: str = "") -> list[SyndromeForecast]:
    """What the sums that were added up here let expect: those of the hospitals that were added up last.

    Logs nothing: who shows it has a permit for the page, or asks by ``asked_forecasts``.

    Args:
        node: of the hospital that added up.
        ahead: days.
        syndrome: which; all that were counted where it is empty.

    Raises:
        OutbreakInvalid: no sum counts this syndrome.
        BadInput: a number of days that is none.
        StoreAltered, Unavailable: the store cannot be read.
    """
    kept = []
    for one in node.outbreak_periods.sums():
        with suppress(OutbreakInvalid):  # counted by an earlier release's code lists: no series with today's
            kept.append(SummedDays.parse(one))
    return reports_on(newest_region(kept), ahead, syndrome)


def asked_forecasts(node: Node, by: AccessContext, ahead: int, syndrome: str = "") -> list[SyndromeForecast]:
    """As ``forecasts_of``, as an event in the log. Raises ``AccessDenied`` besides."""
    detail = (("step", "forecast"), ("hospital", node.settings.tenant))
    node.access.decide(by.request(Action.OUTBREAK, detail=detail))
    return forecasts_of(node, ahead, syndrome)


def _alerts(node: Node) -> Sequence[OutbreakState]:
    try:
        return [one for one in node.outbreaks.alerts() if not one.ended_at_s]
    except NoOutbreakContract:
        return ()
