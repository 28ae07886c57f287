"""The run as one HTML file with its pictures inside: nothing is fetched when it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from twinward.core.visible_text import visible_value
from twinward.demo.result import DemoResult
from twinward.federation.evaluation.charts import BRAND, SOFT, draw_aurocs, draw_roc, new_figure, svg

BAD, GOOD = "#b3261e", "#146c43"


def write_report(result: DemoResult, path: Path, *, explained: str, counted: str) -> None:
    """Render the report of a finished run to ``path``; ``explained`` and ``counted`` are pages beside it."""
    pictures = {
        "sizes": _draw_sizes(result.sealing.plain_bytes, result.sealing.stored_bytes),
        "log": _draw_log_strip(result.witnessed.size, result.tampering.altered_index),
        "distances": _draw_distances(result.distances, result.queries[0].threshold),
        "rocs": [draw_roc(model.curves) for model in result.training.models],
        "aurocs": [draw_aurocs(model.curves) for model in result.training.models],
    }
    environment = Environment(
        loader=PackageLoader("twinward.demo"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=visible_value,
    )
    page = environment.get_template("report.html").render(
        run=result, picture=pictures, explained=explained, counted=counted
    )
    path.write_text(page, encoding="utf-8")


def _draw_sizes(plain_bytes: int, stored_bytes: int) -> str:
    """Bytes before and after sealing."""
    figure, axes = new_figure(5.2, 1.7)
    bars = axes.barh(["sealed rows", "plain JSON"], [stored_bytes / 1e6, plain_bytes / 1e6], color=[BRAND, SOFT])
    axes.bar_label(bars, fmt="%.1f MB", padding=3, fontsize=9)
    axes.set_xlim(0, max(stored_bytes, plain_bytes) / 1e6 * 1.25)
    axes.xaxis.set_visible(False)
    return svg(figure)


def _draw_log_strip(size: int, bad_index: int) -> str:
    """The log's leaves in a row: what still fits the signed root, and the first leaf that does not."""
    figure, axes = new_figure(7.2, 1.1)
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
    return svg(figure)


def _draw_distances(values: Sequence[float], threshold: float) -> str:
    """How far each twin of the cohort is from the query, and where the threshold cuts."""
    figure, axes = new_figure(5.2, 2.5)
    axes.hist(values, bins=min(40, max(8, len(values) // 3)), color=SOFT)
    axes.axvline(threshold, color=BRAND, linewidth=2)
    axes.annotate(
        "threshold τ", (threshold, axes.get_ylim()[1]), xytext=(5, -12), textcoords="offset points", color=BRAND
    )
    axes.set_xlabel("distance to the query (quantised units)")
    axes.set_ylabel("twins")
    return svg(figure)
