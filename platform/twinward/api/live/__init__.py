"""Live twins over HTTP: readings in, series out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from twinward.access.interfaces import Principal
from twinward.api.live.alerts import add_alerts
from twinward.api.live.readings import add_readings
from twinward.api.live.series import add_series, known_twins
from twinward.api.twins.events import EventStreams
from twinward.live.service import Live
from twinward.twins.service import Twins

__all__ = ["live_router"]


def live_router(
    live: Live,
    twins: Twins,
    streams: EventStreams,
    principal_of: Callable[..., Any],
    require_standing: Callable[[Principal], None],
) -> APIRouter:
    """The routes. ``require_standing`` raises once a token is good no longer: its streams end."""
    router = APIRouter(prefix="/api/1", tags=["Live"])
    add_readings(router, live, principal_of)
    known = known_twins(twins)
    add_series(router, live, known, streams, principal_of, require_standing)
    add_alerts(router, live, known, principal_of)
    return router
