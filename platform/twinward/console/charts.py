"""The console's charts: inline SVG coloured by the style sheet's classes, for the content policy allows none here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup, escape

from twinward.audit.models import IndexedAccess
from twinward.console.viewer import gettext, minute, ngettext, number, second

_WIDTH, _HEIGHT, _BINS = 560, 150, 24
_PERMITTED, _REFUSED = "permitted", "refused"  # the style sheet's words: both faces, and red kept for tampering


def timeline(events: Sequence[IndexedAccess]) -> Markup:
    """How many accesses fell into each twenty-fourth of the time they span; refusals in red on top."""
    if not events:
        return Markup("<p>{}</p>").format(gettext("No events yet."))
    first, last = min(e.at_ms for e in events), max(e.at_ms for e in events)
    span = max(last - first, 1)
    bins: list[Counter[bool]] = [Counter() for _ in range(_BINS)]
    for event in events:
        bins[min((event.at_ms - first) * _BINS // span, _BINS - 1)][event.permitted] += 1
    top = max(sum(counts.values()) for counts in bins)
    step, floor = _WIDTH / _BINS, _HEIGHT - 22
    marks = []
    for place, counts in enumerate(bins):
        good = counts[True] / top * (floor - 8)
        bad = counts[False] / top * (floor - 8)
        marks.append(_bar(place * step + 1, floor - good, step - 2, good, _PERMITTED))
        marks.append(_bar(place * step + 1, floor - good - bad, step - 2, bad, _REFUSED))
    start, end = _span_labels(first, last)
    labels = _text(0, _HEIGHT - 6, start) + _text(_WIDTH, _HEIGHT - 6, end, anchor="end")
    refused = sum(not e.permitted for e in events)
    return _svg(
        _HEIGHT,
        Markup("").join(marks) + labels,
        gettext("{count} accesses over time, {refused} of them refused").format(count=len(events), refused=refused),
    )


def by_role(events: Sequence[IndexedAccess]) -> Markup:
    """Permitted and refused accesses of each role, as bars."""
    if not events:
        return Markup("<p>{}</p>").format(gettext("No events yet."))
    roles = Counter(e.role.value for e in events)
    refused = Counter(e.role.value for e in events if not e.permitted)
    top, row_height, left = max(roles.values()), 26, 120
    marks = []
    for place, (role, count) in enumerate(roles.most_common()):
        y, scale = place * row_height + 6, (_WIDTH - left - 130) / top
        good, bad = (count - refused[role]) * scale, refused[role] * scale
        marks += [
            _text(0, y + 13, gettext(role)),
            _bar(left, y, good, 16, _PERMITTED),
            _bar(left + good, y, bad, 16, _REFUSED),
        ]
        label = number(count) + (
            gettext(", {refused} refused").format(refused=number(refused[role])) if refused[role] else ""
        )
        marks.append(_text(left + good + bad + 6, y + 13, label))
    say = "; ".join(
        gettext("{role}: {count}, {refused} refused").format(role=gettext(role), count=count, refused=refused[role])
        for role, count in roles.most_common()
    )
    return _svg(len(roles) * row_height + 10, Markup("").join(marks), say)


def burn_down(steps: Sequence[tuple[str, int, int]]) -> Markup:
    """A budget as studies took of it, oldest first: what was there before each, and what was left after."""
    if not steps:
        return Markup("<p>{}</p>").format(gettext("Nothing was spent yet."))
    top, floor = max(max(before for _, before, _ in steps), 1), _HEIGHT - 22
    step, marks = _WIDTH / len(steps), []
    for place, (_, before, after) in enumerate(steps):
        left, taken = after / top * (floor - 8), (before - after) / top * (floor - 8)
        marks.append(_bar(place * step + 1, floor - left, max(step - 2, 1), left, _PERMITTED))
        marks.append(_bar(place * step + 1, floor - left - taken, max(step - 2, 1), taken, _REFUSED))
    labels = _text(0, _HEIGHT - 6, steps[0][0])
    if len(steps) > 1:
        labels += _text(_WIDTH, _HEIGHT - 6, steps[-1][0], anchor="end")
    say = ngettext(
        "{count} study; {left} per cent of what was there before it is left",
        "{count} studies; {left} per cent of what was there before them is left",
        len(steps),
    ).format(count=len(steps), left=100 * steps[-1][2] // top)
    return _svg(_HEIGHT, Markup("").join(marks) + labels, say)


def _span_labels(first_ms: int, last_ms: int) -> tuple[str, str]:
    """Both ends of the time axis: seconds only where minutes would not tell them apart."""
    start, end = (minute(at_ms).striptags() for at_ms in (first_ms, last_ms))
    return (start, end) if start != end else (second(first_ms).striptags(), second(last_ms).striptags())


def _svg(height: int, inside: Markup, say: str) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, say, inside
    )


def _bar(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    if height <= 0 or width <= 0:
        return Markup("")
    return Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}"/>').format(
        x, y, width, height, kind
    )


def _text(x: float, y: float, words: str, *, anchor: str = "start") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" font-size="12" text-anchor="{}">{}</text>').format(
        x, y, anchor, escape(words)
    )
