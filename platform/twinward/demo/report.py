"""The run as one HTML file with its pictures inside: nothing is fetched when it is opened."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinward.core.visible_text import visible_value
from twinward.demo.result import Curve, DemoResult

INK, SOFT, BRAND, BAD, GOOD = "#17212b", "#8a97a3", "#0b5c7a", "#b3261e", "#146c43"
_COLOURS = (BRAND, "#b26a00", SOFT, "#6a4c93")


def write_report(result: DemoResult, path: Path, *, explained: str) -> None:
    """Render the report of a finished run to ``path``; ``explained`` is the page beside it on one encrypted query."""
    pictures = {
        "sizes": _draw_sizes(result.sealing.plain_bytes, result.sealing.stored_bytes),
        "log": _draw_log_strip(result.witnessed.size, result.tampering.altered_index),
        "distances": _draw_distances(result.distances, result.queries[0].threshold),
        "rocs": [_draw_roc(model.curves) for model in result.training.models],
        "aurocs": [_draw_aurocs(model.curves) for model in result.training.models],
    }
    environment = Environment(
        loader=PackageLoader("twinward.demo"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=visible_value,
    )
    path.write_text(
        environment.get_template("report.html").render(run=result, picture=pictures, explained=explained),
        encoding="utf-8",
    )


def _draw_sizes(plain_bytes: int, stored_bytes: int) -> str:
    """Bytes before and after sealing."""
    figure, axes = _figure(5.2, 1.7)
    bars = axes.barh(["sealed rows", "plain JSON"], [stored_bytes / 1e6, plain_bytes / 1e6], color=[BRAND, SOFT])
    axes.bar_label(bars, fmt="%.1f MB", padding=3, fontsize=9)
    axes.set_xlim(0, max(stored_bytes, plain_bytes) / 1e6 * 1.25)
    axes.xaxis.set_visible(False)
    return _svg(figure)


def _draw_log_strip(size: int, bad_index: int) -> str:
    """The log's leaves in a row: what still fits the signed root, and the first leaf that does not."""
    figure, axes = _figure(7.2, 1.1)
    axes.axhspan(0, 1, 0, 1, color=GOOD, alpha=0.22)
    axes.axvspan(bad_index, size, color=BAD, alpha=0.12)
    axes.axvline(bad_index, color=BAD, linewidth=2.4)
    axes.annotate(
        f"first bad leaf: {bad_index}",
        (bad_index, 0.5),
        xytext=(8, 0),
        textcoords="offset points",
        color=BAD,
        va="center",
    )
    axes.set_xlim(0, max(size, 1))
    axes.set_ylim(0, 1)
    axes.yaxis.set_visible(False)
    axes.set_xlabel("index in the access log")
    return _svg(figure)


def _draw_distances(values: Sequence[float], threshold: float) -> str:
    """How far each twin of the cohort is from the query, and where the threshold cuts."""
    figure, axes = _figure(5.2, 2.5)
    axes.hist(values, bins=min(40, max(8, len(values) // 3)), color=SOFT)
    axes.axvline(threshold, color=BRAND, linewidth=2)
    axes.annotate(
        "threshold τ", (threshold, axes.get_ylim()[1]), xytext=(5, -12), textcoords="offset points", color=BRAND
    )
    axes.set_xlabel("distance to the query (quantised units)")
    axes.set_ylabel("twins")
    return _svg(figure)


def _draw_roc(curves: Sequence[Curve]) -> str:
    """ROC curves of every detector that has points."""
    figure, axes = _figure(4.2, 3.6)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    for curve, colour in zip([c for c in curves if c.false_positive_rate], _COLOURS, strict=False):
        label = f"{curve.name} ({curve.auroc:.3f})"
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=colour, label=label, linewidth=1.8)
    axes.set_xlabel("false alarms")
    axes.set_ylabel("tampered stays found")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return _svg(figure)


def _draw_aurocs(curves: Sequence[Curve]) -> str:
    """AUROC of every detector with its 95 % interval."""
    figure, axes = _figure(4.6, 0.55 * len(curves) + 0.7)
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
    return _svg(figure)


def _figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # A fixed salt and no date: the same run gives the same bytes.
    with mpl.rc_context(
        {"svg.hashsalt": "twinward", "svg.fonttype": "none", "font.family": ["DejaVu Sans", "sans-serif"]}
    ):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
