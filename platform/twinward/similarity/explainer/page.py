"""The page of one search: pictures as SVG text in place, nothing fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from twinward.core.visible_text import visible_value
from twinward.similarity.explainer.observation import Observation

SHOWN_TESTS = 12
PLOT_WIDTH, PLOT_HEIGHT, PLOT_EDGE = 640, 300, 44
TREE_WIDTH, TREE_ROW, TREE_EDGE = 1120, 46, 16
DRAWN_DEPTH = 7
"""Of the tree: below it, what was not visited is not drawn."""


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
            "tree": _draw_tree(seen),
            "tests": _draw_tests(seen),
            "ciphertext": _draw_matrix(seen.ciphertext),
            "token": _draw_matrix(seen.token),
        },
    )
    path.write_text(page, encoding="utf-8")


def _draw_tests(seen: Observation) -> str:
    """Each leaf test: what the cloud saw (up), against what only the hospital knows (across)."""
    across, up = _stretched(seen.margins), _stretched(seen.tests)
    wide, high = PLOT_WIDTH - 2 * PLOT_EDGE, PLOT_HEIGHT - 2 * PLOT_EDGE
    dots = "".join(
        f'<circle cx="{PLOT_EDGE + (x + 1) / 2 * wide:.1f}" cy="{PLOT_EDGE + (1 - y) / 2 * high:.1f}" r="3.2" '
        f'class="{"hit" if value <= 0 else "miss"}"/>'
        for x, y, value in zip(across, up, seen.tests, strict=True)
    )
    middle_x, middle_y = PLOT_WIDTH / 2, PLOT_HEIGHT / 2
    return (
        f'<svg viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" role="img" '
        'aria-label="Encrypted test values against plain ones">'
        f'<rect x="{PLOT_EDGE}" y="{middle_y}" width="{wide / 2}" height="{high / 2}" class="in"/>'
        f'<line x1="{PLOT_EDGE}" y1="{middle_y}" x2="{PLOT_WIDTH - PLOT_EDGE}" y2="{middle_y}" class="axis"/>'
        f'<line x1="{middle_x}" y1="{PLOT_EDGE}" x2="{middle_x}" y2="{PLOT_HEIGHT - PLOT_EDGE}" class="axis"/>{dots}'
        f'<text x="{PLOT_WIDTH - PLOT_EDGE}" y="{middle_y - 8}" text-anchor="end">farther than asked →</text>'
        f'<text x="{PLOT_EDGE}" y="{PLOT_HEIGHT - PLOT_EDGE + 18}">near enough: both below zero</text>'
        f'<text x="{middle_x + 8}" y="{PLOT_EDGE - 10}">↑ the value the cloud computes, scaled at random</text></svg>'
    )


def _draw_matrix(values: NDArray[np.float64]) -> str:
    """A square of numbers as a square of colours: blue below zero, amber above."""
    m, side = len(values), 9
    shades = _stretched(values.ravel()).reshape(values.shape)
    cells = "".join(
        f'<rect x="{column * side}" y="{row * side}" width="{side}" height="{side}" '
        f'fill="{"#0b5c7a" if shade < 0 else "#b26a00"}" fill-opacity="{abs(shade):.2f}"/>'
        for row, line in enumerate(shades)
        for column, shade in enumerate(line)
    )
    label = f'role="img" aria-label="{m} by {m} numbers"'
    return f'<svg viewBox="0 0 {m * side} {m * side}" class="matrix" {label}>{cells}</svg>'


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between -1 and 1, signs kept, small ones made visible (a signed cube root)."""
    top = float(np.abs(values).max()) if values.size else 0.0
    shares: NDArray[np.float64] = np.cbrt(values / top) if top else np.zeros_like(values)
    return shares


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node is drawn: across by the share of leaves to its left, down by depth."""

    x: float
    depth: int


def _draw_tree(seen: Observation) -> str:
    """Every node down to a depth, every visited node at any depth, leaves in order from left to right."""
    places = _places(seen)
    visited = {node.number for node in seen.path} | {~leaf for leaf in seen.leaves}
    hits = {~leaf: hit for leaf, hit in zip(seen.leaves, seen.hits, strict=True)}
    lines, marks = [], []
    for node, place in places.items():
        if node >= 0:
            for child in seen.children[node].tolist():
                if child in places:
                    lines.append(_line(place, places[child], walked=node in visited and child in visited))
        marks.append(_mark(node, place, visited=node in visited, hits=hits.get(node, 0)))
    depth = max(place.depth for place in places.values())
    return (
        f'<svg viewBox="0 0 {TREE_WIDTH} {2 * TREE_EDGE + depth * TREE_ROW}" role="img" '
        f'aria-label="The tree, with the visited path">{"".join(lines)}{"".join(marks)}</svg>'
    )


def _places(seen: Observation) -> dict[int, _Place]:
    order = _leaf_order(seen)
    spans = _spans(seen, order)
    keep = {node.number for node in seen.path} | {~leaf for leaf in seen.leaves}
    found: dict[int, _Place] = {}
    stack = [(seen.root, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > DRAWN_DEPTH and node not in keep:
            continue
        first, last = spans[node]
        middle = (first + last) / 2 / len(order)
        found[node] = _Place(TREE_EDGE + middle * (TREE_WIDTH - 2 * TREE_EDGE), depth)
        if node >= 0:
            stack += [(child, depth + 1) for child in seen.children[node].tolist()]
    return found


def _leaf_order(seen: Observation) -> dict[int, int]:
    order: dict[int, int] = {}
    stack = [seen.root]
    while stack:
        node = stack.pop()
        if node < 0:
            order[node] = len(order)
        else:
            left, right = seen.children[node].tolist()
            stack += [right, left]
    return order


def _spans(seen: Observation, order: dict[int, int]) -> dict[int, tuple[int, int]]:
    """For each node the leaves below it, as a half-open span of their order."""
    spans = {leaf: (place, place + 1) for leaf, place in order.items()}
    stack = [(seen.root, False)]
    while stack:
        node, ready = stack.pop()
        if node < 0:
            continue
        left, right = seen.children[node].tolist()
        if ready:
            spans[node] = (spans[left][0], spans[right][1])
        else:
            stack += [(node, True), (left, False), (right, False)]
    return spans


def _line(above: _Place, below: _Place, *, walked: bool) -> str:
    y1, y2 = TREE_EDGE + above.depth * TREE_ROW, TREE_EDGE + below.depth * TREE_ROW
    kind = "walked" if walked else "branch"
    return f'<line x1="{above.x:.1f}" y1="{y1}" x2="{below.x:.1f}" y2="{y2}" class="{kind}"/>'


def _mark(node: int, place: _Place, *, visited: bool, hits: int) -> str:
    y = TREE_EDGE + place.depth * TREE_ROW
    if node >= 0:
        return (
            f'<circle cx="{place.x:.1f}" cy="{y}" r="{5 if visited else 2.5}" class="{"seen" if visited else "node"}"/>'
        )
    kind = "match" if hits else "seen" if visited else "node"
    size = 9 if visited else 5
    words = f"<title>{hits} of its records match</title>" if visited else ""
    corner = f'x="{place.x - size / 2:.1f}" y="{y - size / 2}"'
    return f'<rect {corner} width="{size}" height="{size}" class="{kind}">{words}</rect>'
