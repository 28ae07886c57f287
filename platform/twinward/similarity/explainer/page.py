"""The page: pictures in place, nothing fetched."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from twinward.core.visible_text import visible_value
from twinward.similarity.explainer import pictures
from twinward.similarity.explainer.observation import Observation
from twinward.similarity.explainer.tree_picture import draw_tree

SHOWN_TESTS = 12


def write_explainer(seen: Observation, path: Path, *, title: str) -> None:
    """Render one search to ``path``."""
    environment = Environment(
        loader=PackageLoader("twinward.similarity.explainer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=visible_value,
    )
    page = environment.get_template("explainer.html").render(
        title=title,
        seen=seen,
        shown=seen.path[:SHOWN_TESTS],
        share=seen.tests_made / seen.records,
        picture={
            "tree": draw_tree(seen),
            "tests": pictures.tests(seen),
            "ciphertext": pictures.matrix(seen.ciphertext),
            "token": pictures.matrix(seen.token),
        },
    )
    path.write_text(page, encoding="utf-8")
