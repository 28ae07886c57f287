"""The run as one HTML file with its pictures inside: nothing is fetched when it is opened."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from twinward.core.visible_text import visible_value
from twinward.demo import plots
from twinward.demo.result import DemoResult


def write_report(result: DemoResult, path: Path, *, explained: str) -> None:
    """Render the report of a finished run to ``path``; ``explained`` is the page beside it on one encrypted query."""
    pictures = {
        "sizes": plots.sizes(result.sealing.plain_bytes, result.sealing.stored_bytes),
        "log": plots.log_strip(result.witnessed.size, result.tampering.altered_index),
        "distances": plots.distances(result.distances, result.queries[0].threshold),
        "rocs": [plots.roc(model.curves) for model in result.training.models],
        "aurocs": [plots.aurocs(model.curves) for model in result.training.models],
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
