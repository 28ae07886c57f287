"""Charts with axes, drawn by matplotlib and coloured by the style sheet, for the content policy allows no styles here.

matplotlib writes colours into ``style`` attributes. Each becomes plain attributes, and what has one of two colours a
class of the style sheet, which has a light and a dark face for it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SOFT, _BAR, _MARK = "#000001", "#000002", "#000003"  # stand for the colours until they are classes
_CLASSES: Final = {_SOFT: "axis", _BAR: "line", _MARK: "mark"}
_DRAWING: Final = threading.Lock()
"""matplotlib's settings are the process's own."""


@lru_cache(maxsize=256)
def burn_down(epochs: tuple[int, ...], left: tuple[int, ...], most: int, say: str, words: tuple[str, str]) -> Markup:
    """What is left of an allowance after each epoch, as a step line over a zero line.

    Args:
        epochs: their numbers, ascending; at least one.
        left: after each of them.
        most: the allowance, where the axis ends.
        say: what the picture says, for whoever does not see it.
        words: what stands at the axis of epochs, and at the other one.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with _DRAWING:
        figure = Figure(figsize=(6.4, 2.3), layout="constrained")
        axes = _plain(figure.add_subplot())
        axes.step([epochs[0] - 1, *epochs], [most, *left], where="post", color=_BAR, linewidth=2)
        axes.plot(epochs[-1:], left[-1:], marker="o", color=_BAR)
        axes.set_ylim(0, max(most, 1) * 1.08)
        axes.set_xlim(epochs[0] - 1, epochs[-1] + 0.5)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.ticklabel_format(style="plain", useOffset=False)
        axes.set_xlabel(words[0], color=_SOFT, fontsize=9)
        axes.set_ylabel(words[1], color=_SOFT, fontsize=9)
        drawn = _svg(figure)
    return _coloured(drawn, say)


@dataclass(frozen=True, slots=True)
class Curve:
    """A signal over time: what is drawn, all of it plain values, so that the same is drawn once.

    Attributes:
        times: seconds since 1970, ascending, of the beginning of each step.
        middle, low, high: of each step.
        step_s: how long one is; where three are missing, and more than is usual here, the line is broken.
        first_s, last_s: where the axis of time begins and ends.
        ticks: seconds, and what stands there.
        marks: seconds at which something is marked.
        comma: numbers have one for their point.
    """

    times: tuple[float, ...]
    middle: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    step_s: float
    first_s: float
    last_s: float
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[float, ...] = ()
    comma: bool = False


def over_time(curve: Curve, unit: str, say: str) -> Markup:
    """A signal over time: its mean as a line in the band from its lowest to its highest. Alerts are dashed lines.

    It is kept nowhere: what a patient's curve shows must not outlive the permit it was opened by.
    """
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    times = np.array(curve.times)
    apart = np.diff(times)
    usual_s = float(np.median(apart)) if len(apart) else 0.0
    broken = np.flatnonzero(apart > max(3 * curve.step_s, 4 * usual_s)) + 1
    times, middle, low, high = (
        np.insert(np.array(one, dtype=float), broken, np.nan)
        for one in (curve.times, curve.middle, curve.low, curve.high)
    )
    with _DRAWING:
        figure = Figure(figsize=(5.2, 1.9))
        axes = _plain(figure.add_axes((0.09, 0.15, 0.89, 0.72)))
        axes.fill_between(times, low, high, color=_BAR, alpha=0.2, linewidth=0)
        axes.plot(times, middle, color=_BAR, linewidth=1.8)
        axes.plot(times, middle, color=_BAR, linewidth=0, marker=".", markersize=3)
        for one in curve.marks:
            axes.axvline(one, color=_MARK, linewidth=1.2, linestyle="--")
        lowest, highest = min(curve.low), max(curve.high)
        room = max((highest - lowest) * 0.12, abs(highest) * 0.02, 0.5)
        axes.set_ylim(lowest - room, highest + room)
        axes.set_xlim(curve.first_s, curve.last_s)
        axes.set_xticks([at for at, _ in curve.ticks], [label for _, label in curve.ticks])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:g}".replace(".", ",") if curve.comma else f"{value:g}")
        )
        axes.set_title(unit, loc="left", color=_SOFT, fontsize=9)
        drawn = _svg(figure)
    return _coloured(drawn, say)


@dataclass(frozen=True, slots=True)
class Fan:
    """What was, and what is expected with intervals: plain values, by days since 1970.

    Attributes:
        known: days and what was seen on them.
        days: those ahead, that follow each other.
        middle: what is expected of each.
        half, most: within what it lies with one half of the probability, and with nearly all.
        ticks: days, and what stands there.
        words: what stands at the other axis.
        german: numbers have a point for their thousands, not a comma.
    """

    known: tuple[tuple[int, int], ...]
    days: tuple[int, ...]
    middle: tuple[int, ...]
    half: tuple[tuple[int, int], ...]
    most: tuple[tuple[int, int], ...]
    ticks: tuple[tuple[int, str], ...]
    words: str
    german: bool = False


@lru_cache(maxsize=64)
def fan(drawn: Fan, say: str) -> Markup:
    """Dots that were seen, and a line ahead in two bands; the dashed line is where what is known ends.

    The axis of numbers ends a little above what was seen and what is expected, where a band reaches further it leaves
    the picture: the table has its numbers.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    seen = [count for _, count in drawn.known]
    lowest, highest = min(0, *seen), 1.15 * max(*seen, 2 * max(drawn.middle), max(high for _, high in drawn.half), 4)
    with _DRAWING:
        figure = Figure(figsize=(6.4, 2.5), layout="constrained")
        axes = _plain(figure.add_subplot())
        for band, strength in ((drawn.most, 0.18), (drawn.half, 0.3)):
            low, high = ([min(max(one[end], lowest), highest) for one in band] for end in (0, 1))
            axes.fill_between(drawn.days, low, high, color=_BAR, alpha=strength, linewidth=0)
        axes.plot(drawn.days, drawn.middle, color=_BAR, linewidth=2)
        axes.plot([day for day, _ in drawn.known], seen, color=_BAR, linewidth=0, marker=".", markersize=5)
        axes.axvline(drawn.days[0] - 0.5, color=_SOFT, linewidth=1, linestyle="--")
        axes.set_ylim(lowest, highest)
        axes.set_xlim(min(drawn.known[0][0], drawn.days[0]) - 1, drawn.days[-1] + 1)
        axes.set_xticks([at for at, _ in drawn.ticks], [label for _, label in drawn.ticks])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        point = "." if drawn.german else ","
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", point)))
        axes.set_ylabel(drawn.words, color=_SOFT, fontsize=9)
        picture = _svg(figure)
    return _coloured(picture, say)


def _plain(axes: Axes) -> Axes:
    """Two quiet lines, below and to the left, and no frame."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_SOFT)
    axes.tick_params(colors=_SOFT, labelsize=9)
    return axes


def _svg(figure: object) -> str:
    from io import StringIO

    import matplotlib as mpl
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)  # noqa: S101 - narrows the type, which is imported late
    buffer = StringIO()
    with mpl.rc_context({"svg.hashsalt": "twinward", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return buffer.getvalue()


def _coloured(drawn: str, say: str) -> Markup:
    """The drawing without a style of its own."""
    body = drawn[drawn.index("<svg") :]
    view = re.search(r'viewBox="[\d. ]+"', body)
    inside = body[body.index(">") + 1 : body.rindex("</svg>")]
    inside = re.sub(r"<(metadata|style|clipPath)\b.*?</\1>", "", inside, flags=re.DOTALL)
    inside = re.sub(r' clip-path="[^"]*"', "", inside)  # nothing is drawn beyond the axes
    inside = re.sub(r'<g id="[^"]*"', "<g", inside)  # the same names in every drawing of a page
    inside = re.sub(r' style="([^"]*)"', lambda found: _attributes(found[1]), inside)
    box = view[0] if view else ""
    return Markup(  # noqa: S704 - matplotlib's own, of numbers and of words that stand above
        f'<svg class="chart plot" {box} role="img" aria-label="{escape(say)}">{inside}</svg>'
    )


def _attributes(style: str) -> str:
    """A style as attributes, its colour as a class."""
    pairs = [pair.split(":", 1) for pair in style.split(";") if ":" in pair]
    said = {name.strip(): value.strip() for name, value in pairs}
    if font := said.pop("font", ""):
        size = re.match(r"([\d.]+)px", font)
        said["font-size"] = size[1] if size else "9"
    classes = [f"{part}-{_CLASSES[said.pop(part)]}" for part in ("fill", "stroke") if said.get(part) in _CLASSES]
    kept = "".join(f' {name}="{value}"' for name, value in said.items())
    return kept + (f' class="{" ".join(classes)}"' if classes else "")


def steps_of(window: int, spent: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """From what was spent in each epoch, the epochs and what was left of the window after each."""
    left, found = window, []
    for _, number in spent:
        left -= number
        found.append(max(0, left))
    return tuple(epoch for epoch, _ in spent), tuple(found)
