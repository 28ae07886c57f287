"""Pictures of how well detectors tell, as SVG that stands in a page: nothing is fetched, the same figures give the same
bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final, Protocol

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK: Final = "#17212b"
SOFT: Final = "#8a97a3"
BRAND: Final = "#0b5c7a"
_COLOURS: Final = (BRAND, "#b26a00", SOFT, "#6a4c93")


class Curve(Protocol):
    """One detector's AUROC with its interval, and its ROC curve where there is one; as ``benchmark.Measured``."""

    @property
    def name(self) -> str:
        """Which."""
        ...

    @property
    def auroc(self) -> float:
        """The estimate."""
        ...

    @property
    def low(self) -> float:
        """Where its 95 % interval begins."""
        ...

    @property
    def high(self) -> float:
        """Where it ends."""
        ...

    @property
    def false_positive_rate(self) -> Sequence[float]:
        """The curve's abscissae; empty where it was not kept."""
        ...

    @property
    def true_positive_rate(self) -> Sequence[float]:
        """The curve's ordinates."""
        ...


def draw_roc(curves: Sequence[Curve]) -> str:
    """ROC curves of every detector that has points."""
    figure, axes = new_figure(4.2, 3.6)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    for curve, colour in zip([c for c in curves if c.false_positive_rate], _COLOURS, strict=False):
        label = f"{curve.name} ({curve.auroc:.3f})"
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=colour, label=label, linewidth=1.8)
    axes.set_xlabel("false alarms")
    axes.set_ylabel("tampered stays found")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return svg(figure)


def draw_aurocs(curves: Sequence[Curve]) -> str:
    """AUROC of every detector with its 95 % interval."""
    figure, axes = new_figure(4.6, 0.55 * len(curves) + 0.7)
    names = [curve.name for curve in reversed(curves)]
    values = [curve.auroc for curve in reversed(curves)]
    errors = [
        [max(curve.auroc - curve.low, 0) for curve in reversed(curves)],
        [max(curve.high - curve.auroc, 0) for curve in reversed(curves)],
    ]
    axes.barh(
        names,
        values,
        xerr=errors,
        color=[BRAND if "private" in name.lower() and "non" not in name.lower() else SOFT for name in names],
    )
    for row, value in enumerate(values):
        axes.annotate(f"{value:.3f}", (0.415, row), va="center", color="white", fontsize=9)
    axes.set_xlim(0.4, 1.0)
    axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("AUROC (0.5 is a coin)")
    return svg(figure)


def draw_burn_down(epsilons: Sequence[float]) -> str:
    """The privacy spent after each round."""
    figure, axes = new_figure(4.2, 2.4)
    rounds = range(len(epsilons) + 1)
    axes.step(rounds, [0, *epsilons], where="post", color=BRAND, linewidth=1.8)
    axes.axhline(epsilons[-1], color=SOFT, linewidth=1, linestyle=":")
    axes.set_ylim(0, epsilons[-1] * 1.15)
    axes.set_xlim(0, len(epsilons))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("private sums released")
    axes.set_ylabel("ε spent")
    return svg(figure)


def draw_calibration(predicted: Sequence[float], observed: Sequence[tuple[float, float, float]]) -> str:
    """Of what was given a probability, how much is an anomaly: (share, low, high) of each."""
    figure, axes = new_figure(4.2, 3.6)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    shares = [share for share, _, _ in observed]
    errors = [
        [max(share - low, 0) for share, low, _ in observed],
        [max(high - share, 0) for share, _, high in observed],
    ]
    axes.errorbar(predicted, shares, yerr=errors, color=BRAND, marker="o", markersize=4, linewidth=1.4, capsize=3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("probability given")
    axes.set_ylabel("anomalies among them")
    return svg(figure)


def new_figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """An empty picture without a frame."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def svg(figure: Figure) -> str:
    """The picture as an ``<svg>`` element."""
    buffer = io.StringIO()
    # A fixed salt and no date: the same run gives the same bytes.
    with mpl.rc_context(
        {"svg.hashsalt": "twinward", "svg.fonttype": "none", "font.family": ["DejaVu Sans", "sans-serif"]}
    ):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
