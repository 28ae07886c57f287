"""How pages of live twins say things: signals, units, how long ago, alerts."""

from __future__ import annotations

from typing import Any, Final

from twinward.console.viewer import Language, gettext, message, ngettext, viewer
from twinward.live.alerts.models import Alert
from twinward.live.alerts.monitor import Measurement, ModelScore
from twinward.live.alerts.rules import Severity
from twinward.live.models import Reason
from twinward.live.signals import BY_NAME, Signal

MINUTE_MS: Final = 60_000
STALE_MS: Final = 15 * MINUTE_MS
"""A monitor that has been silent for so long is said to be."""
_UNITS: Final = {"mm[Hg]": "mmHg", "Cel": "°C", "{score}": "", "10*3/uL": "10³/µL"}
"""UCUM's words, as people write them where they are others."""
SEVERITIES: Final = {
    Severity.EMERGENCY: (message("emergency"), "bad"),
    Severity.URGENT: (message("urgent"), "warn"),
    Severity.NOTICE: (message("notice"), "plain"),
}
REASONS: Final = {
    Reason.MALFORMED: message("no reading: a member is missing or wrong"),
    Reason.UNKNOWN_CODE: message("a code that this node does not take"),
    Reason.UNKNOWN_UNIT: message("a unit that does not fit the code"),
    Reason.IMPOSSIBLE_VALUE: message("a value that nobody can have"),
    Reason.UNKNOWN_SUBJECT: message("a patient that is not known here"),
    Reason.NOT_ASSIGNED: message("a device that was with nobody when it measured"),
    Reason.FUTURE_TIME: message("a time that is not here yet: look at the source's clock"),
    Reason.NOT_PERMITTED: message("policy or consent says no"),
    Reason.TOO_MANY_GAPS: message("too many numbers were skipped"),
    Reason.BAD_MESSAGE: message("a message that cannot be read"),
}


def unit_of(signal: Signal) -> str:
    """A signal's unit as people write it; empty where it has none."""
    return _UNITS.get(signal.unit, signal.unit)


def measured(value: float) -> str:
    """A value with as many places as it has."""
    written = f"{value:g}"
    return written.replace(".", ",") if viewer().language is Language.GERMAN else written


def ago(at_ms: int, now_ms: int) -> str:
    """How long ago, in the largest unit that is not 0."""
    minutes = max(0, now_ms - at_ms) // MINUTE_MS
    if minutes < 1:
        return gettext("less than a minute ago")
    if minutes < 120:
        return ngettext("{count} minute ago", "{count} minutes ago", minutes).format(count=minutes)
    if minutes < 2880:
        return ngettext("{count} hour ago", "{count} hours ago", minutes // 60).format(count=minutes // 60)
    return ngettext("{count} day ago", "{count} days ago", minutes // 1440).format(count=minutes // 1440)


def value_row(name: str, one: Measurement, now_ms: int) -> dict[str, Any]:
    """A measurement for a page."""
    signal = BY_NAME[name]
    return {
        "name": name,
        "title": gettext(signal.title),
        "value": measured(one.value),
        "unit": unit_of(signal),
        "ago": ago(one.time_ms, now_ms),
        "stale": now_ms - one.time_ms >= STALE_MS,
    }


def model_row(study: str, said: ModelScore) -> dict[str, Any]:
    """What a registered model said last, for a page."""
    return {
        "study": study,
        "score": "–" if said.score is None else measured(round(said.score, 2)),
        "threshold": measured(round(said.threshold, 2)),
        "until": said.end_ms,
        "up": said.is_up,
    }


def alert_row(one: Alert, now_ms: int, name: str = "") -> dict[str, Any]:
    """An alert for a page. Escalated and not seen yet, it is red whatever its severity."""
    word, badge = SEVERITIES[one.severity]
    waits = one.acknowledged_ms is None
    because = [
        value_row(part.signal, part, now_ms) | {"share": round(100 * one.shares.get(part.signal, 0))}
        for part in one.because
        if part.signal in BY_NAME
    ]
    return {
        "id": one.id,
        "twin": one.twin,
        "name": name,
        "rule": one.rule,
        "about": one.about,
        "severity": gettext(word),
        "badge": badge,
        "escalated": one.escalated_ms if waits else None,
        "raised": one.raised_ms,
        "ago": ago(one.raised_ms, now_ms),
        "times": one.times,
        "score": None if one.score is None else measured(one.score),
        "because": because,
        "over": one.over_ms,
        "waits": waits,
        "by": one.acknowledged_by,
        "seen": one.acknowledged_ms,
        "silenced": one.silenced_until_ms if one.silenced_until_ms > now_ms else None,
        "silenced_by": one.silenced_by,
        "why": one.silence_reason,
    }
