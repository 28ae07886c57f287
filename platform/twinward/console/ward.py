"""The console's pages of a ward: everybody at a glance, and one patient over time. They show themselves anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import Response

from twinward.access.interfaces import AccessContext
from twinward.access.sessions import Session
from twinward.api.twins.pages import TWIN
from twinward.console.live_words import STALE_MS, ago, alert_row, measured, model_row, unit_of, value_row
from twinward.console.pages import Console
from twinward.console.plots import Curve, over_time
from twinward.console.sessions import PATH, via_of
from twinward.console.viewer import Language, gettext, viewer
from twinward.core.vocabulary import Purpose, TwinId
from twinward.live.alerts.models import Alert
from twinward.live.service import signal_named
from twinward.live.signals import SIGNALS
from twinward.live.timeseries import Aggregate, Samples, Span, points
from twinward.live.ward import History, Watched
from twinward.overview.ward import NAMED, name_of

PAGE: Final = f"{PATH}/ward"
TILE: Final = ("heart_rate", "systolic", "respiratory_rate", "spo2", "temperature")
HOURS: Final = {1: 10, 6: 60, 24: 240, 72: 720}
"""The spans to choose from, and how many minutes lie between two ticks of each."""
STEPS: Final = 240
"""Of a chart: more than there are pixels for on a phone."""
_HIGH, _MEDIUM = 7, 5
"""NEWS2, table 3: what is an emergency, what is urgent."""
_HOUR_MS: Final = 3_600_000
Devices = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9._:-]*$")]


def caring(request: Request, session: Session) -> AccessContext:
    """A clinician at work."""
    return AccessContext(session.principal, Purpose.TREATMENT, detail=via_of(request))


def add_ward(router: APIRouter, console: Console) -> None:
    """Add both pages to the pages' router."""
    node = console.node

    @router.get("/ward")
    def ward(request: Request, devices: Devices = "") -> Response:
        session = console.sessions.clinician(request)
        found = node.live.ward.patients(caring(request, session), NAMED, begins=devices)
        now_ms = node.clock.now_ms()
        tiles = [_tile(one, name_of(node, one.permits), now_ms) for one in found.patients]
        shown: dict[str, Any] = {
            "tiles": tiles,
            "hidden": found.hidden,
            "left": found.left,
            "devices": devices,
            "now": now_ms,
        }
        return _unkept(console.page(request, "ward.html", session, **shown))

    @router.get("/ward/{twin}")
    def patient(
        request: Request,
        twin: Annotated[str, InPath(pattern=TWIN.pattern)],
        hours: Annotated[int, Query(ge=1, le=max(HOURS))] = 6,
    ) -> Response:
        session = console.sessions.clinician(request)
        hours = hours if hours in HOURS else 6
        now_ms = node.clock.now_ms()
        context = caring(request, session)
        to_ms = now_ms + 1
        history = node.live.ward.patient(context, TwinId(twin), to_ms - hours * _HOUR_MS, to_ms, NAMED)
        now = history.now
        return _unkept(
            console.page(
                request,
                "ward_patient.html",
                session,
                now=now_ms,
                hours=hours,
                choices=list(HOURS),
                patient=_tile(now, name_of(node, now.permits), now_ms),
                charts=_charts(history, to_ms - hours * _HOUR_MS, to_ms, hours),
                values=[value_row(one.name, now.newest[one.name], now_ms) for one in SIGNALS if one.name in now.newest],
                alerts=[alert_row(one, now_ms) for one in now.alerts or ()],
                earlier=[alert_row(one, now_ms) for one in reversed(history.alerts or ()) if one.is_done][:20],
                may_see_alerts=now.alerts is not None,
                devices=[
                    {"name": name, "from": one.from_ms, "until": one.until_ms} for name, one in history.devices[:50]
                ],
                withheld=[gettext(one.title) for one in now.withheld],
            )
        )


def _unkept(page: Response) -> Response:
    page.headers["cache-control"] = "no-store"
    return page


def _tile(one: Watched, name: str, now_ms: int) -> dict[str, Any]:
    waiting = [alert for alert in one.alerts or () if alert.acknowledged_ms is None]
    total = one.score.total if one.score else None
    missing, parts = _made_of(one)
    grave = any(alert.escalated_ms is not None or alert.severity == "emergency" for alert in waiting)
    return {
        "twin": one.twin,
        "name": name,
        "devices": ", ".join(one.devices),
        "values": [value_row(name, one.newest[name], now_ms) for name in TILE if name in one.newest],
        "score": total,
        "score_badge": _badge(total, whole=not missing, red=one.score is not None and one.score.is_red),
        "red": one.score is not None and one.score.is_red,
        "missing": missing,
        "parts": parts,
        "alerts": [alert_row(alert, now_ms) for alert in one.alerts or ()],
        "models": [model_row(study, said) for study, said in one.models.items()],
        "may_see_alerts": one.alerts is not None,
        "badge": "bad" if grave else "warn" if waiting else "",
        "last": None if one.last_ms is None else _age(one.last_ms, now_ms),
        "withheld": [gettext(signal.title) for signal in one.withheld],
        "damaged": one.damaged,
    }


def _badge(total: int | None, *, whole: bool, red: bool) -> str:
    """What a score looks like; one that may be higher than it is known to be is not good, nor is a red one."""
    if total is None or (total < _MEDIUM and not red):
        return "good" if whole else "plain"
    return "bad" if total >= _HIGH else "warn"


def _made_of(one: Watched) -> tuple[list[str], list[tuple[str, int]]]:
    """What a score lacks, and what each parameter gave. Whether oxygen is given is not known to who may not see it."""
    if one.score is None:
        return [], []
    missing = [gettext(signal_named(name).title) for name in one.score.missing]
    parts = [(gettext(signal_named(name).title), given) for name, given in one.score.parts.items() if name != "oxygen"]
    oxygen = gettext("Supplemental oxygen")
    if any(signal.name == "oxygen_flow" for signal in one.withheld):
        return [*missing, oxygen], parts
    return missing, [*parts, (oxygen, one.score.parts["oxygen"])]


def _age(at_ms: int, now_ms: int) -> dict[str, Any]:
    return {"at": at_ms, "ago": ago(at_ms, now_ms), "stale": now_ms - at_ms >= STALE_MS}


def _charts(history: History, from_ms: int, to_ms: int, hours: int) -> list[dict[str, Any]]:
    found = []
    for signal in SIGNALS:
        samples = history.samples.get(signal.name)
        if samples is None or not len(samples):
            continue
        chart = _chart(signal.name, samples, from_ms, to_ms, hours, history.alerts or ())
        if chart is not None:
            found.append(chart)
    return found


def _chart(
    name: str, samples: Samples, from_ms: int, to_ms: int, hours: int, alerts: Sequence[Alert]
) -> dict[str, Any] | None:
    signal = signal_named(name)
    step_ms = max(1000, hours * _HOUR_MS // STEPS)
    middle, low, high = (
        points(samples, Span(from_ms, to_ms, step_ms, how)) for how in (Aggregate.MEAN, Aggregate.MIN, Aggregate.MAX)
    )
    if not middle:
        return None
    title, unit = gettext(signal.title), unit_of(signal)
    marks = [one.raised_ms for one in alerts if any(part.signal == name for part in one.because)]
    lowest, highest = min(one.value for one in low), max(one.value for one in high)
    say = gettext("{title} over {hours} hours: from {low} to {high} {unit}, {last} last").format(
        title=title,
        hours=hours,
        low=measured(lowest),
        high=measured(highest),
        unit=unit,
        last=measured(middle[-1].value),
    )
    curve = Curve(
        times=tuple(one.time_ms / 1000 for one in middle),
        middle=tuple(one.value for one in middle),
        low=tuple(one.value for one in low),
        high=tuple(one.value for one in high),
        step_s=step_ms / 1000,
        first_s=from_ms / 1000,
        last_s=to_ms / 1000,
        ticks=_ticks(from_ms, to_ms, HOURS[hours]),
        marks=tuple(one / 1000 for one in marks if from_ms <= one < to_ms),
        comma=viewer().language is Language.GERMAN,
    )
    return {
        "name": name,
        "title": title,
        "unit": unit,
        "last": measured(points(samples, Span(from_ms, to_ms, to_ms - from_ms, Aggregate.LAST))[-1].value),
        "picture": over_time(curve, unit, say),
        "rows": _rows(samples, from_ms, to_ms, hours),
    }


def _rows(samples: Samples, from_ms: int, to_ms: int, hours: int) -> list[dict[str, Any]]:
    """The same as a table: twelve rows at most, the newest first."""
    step_ms = hours * _HOUR_MS // 12
    spans = [
        points(samples, Span(from_ms, to_ms, step_ms, how)) for how in (Aggregate.MEAN, Aggregate.MIN, Aggregate.MAX)
    ]
    return [
        {
            "from": one.time_ms,
            "middle": measured(round(one.value, 1)),
            "low": measured(low.value),
            "high": measured(high.value),
        }
        for one, low, high in reversed(list(zip(*spans, strict=True)))
    ]


def _ticks(from_ms: int, to_ms: int, minutes: int) -> tuple[tuple[float, str], ...]:
    """Round times by the viewer's clock: hours and minutes, and the day where there are several."""
    zone, step_s = ZoneInfo(viewer().zone), minutes * 60
    offset = datetime.fromtimestamp(from_ms / 1000, zone).utcoffset()
    shift_s = int(offset.total_seconds()) if offset else 0
    first = -(-(from_ms // 1000 + shift_s) // step_s) * step_s - shift_s
    form = "%H:%M" if minutes < 720 else "%d. %H:%M" if viewer().language is Language.GERMAN else "%d %H:%M"
    return tuple(
        (float(at), datetime.fromtimestamp(at, zone).strftime(form)) for at in range(first, to_ms // 1000, step_s)
    )
