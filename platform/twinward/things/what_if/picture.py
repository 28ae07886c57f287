"""An outlook as a picture: how full the longest stage will be, as SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import escape

from twinward.things.what_if.outlook import Outlook, main_stage

_WIDTH: Final = 720
_HEIGHT: Final = 320
_LEFT: Final = 56
_TOP: Final = 56
_RIGHT: Final = 704
_BOTTOM: Final = 272
_INK: Final = "#17212b"
_BAND: Final = "#9cc3e6"
_LINE: Final = "#0b5394"
_LIMIT: Final = "#a61c00"


def picture(outlook: Outlook) -> str:
    """The SVG document. Text in it is escaped; lengths are in pixels."""
    stage = main_stage(outlook)
    mean, least, most = outlook.occupancy
    top = max(stage.servers, float(most.max()), 1.0) * 1.1
    days = outlook.scenario.days

    def points(values: Iterable[float]) -> list[str]:
        found = list(values)
        step = (_RIGHT - _LEFT) / (len(found) - 1)
        return [f"{_LEFT + place * step:.1f},{_level(one, top):.1f}" for place, one in enumerate(found)]

    band = " ".join([*points(most), *reversed(points(least))])
    limit = _level(stage.servers, top)
    said = f"{outlook.scenario.name}: {stage.name}, {stage.servers} places, {outlook.runs:,} runs"
    refused = f"refused {outlook.refused.mean:.1%} ({outlook.refused.low:.1%} to {outlook.refused.high:.1%})"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="13" fill="{_INK}">',
        f"<title>{escape(said)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="15" font-weight="bold">{escape(said)}</text>',
        f'<text x="{_LEFT}" y="42">{escape(refused)}; line: mean, band: 95 of 100 runs</text>',
        f'<polygon points="{band}" fill="{_BAND}"/>',
        f'<polyline points="{" ".join(points(mean))}" fill="none" stroke="{_LINE}" stroke-width="2"/>',
        f'<line x1="{_LEFT}" y1="{limit:.1f}" x2="{_RIGHT}" y2="{limit:.1f}" stroke="{_LIMIT}" '
        'stroke-dasharray="6 4"/>',
        f'<line x1="{_LEFT}" y1="{_BOTTOM}" x2="{_RIGHT}" y2="{_BOTTOM}" stroke="{_INK}"/>',
        f'<text x="{_LEFT - 8}" y="{limit + 4:.1f}" text-anchor="end">{stage.servers}</text>',
        f'<text x="{_LEFT - 8}" y="{_BOTTOM + 4}" text-anchor="end">0</text>',
        f'<text x="{_LEFT}" y="{_BOTTOM + 22}">now</text>',
        f'<text x="{_RIGHT}" y="{_BOTTOM + 22}" text-anchor="end">in {_span(days)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _level(value: float, top: float) -> float:
    return _BOTTOM - value / top * (_BOTTOM - _TOP)


def _span(days: float) -> str:
    return f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
