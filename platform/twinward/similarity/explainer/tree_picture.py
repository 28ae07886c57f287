"""The tree as SVG: every node down to a depth, every visited node at any depth, leaves in order from left to right."""

from __future__ import annotations

from dataclasses import dataclass

from twinward.similarity.explainer.observation import Observation

WIDTH, ROW, EDGE = 1120, 46, 16
DRAWN_DEPTH = 7
"""Below it, what was not visited is not drawn."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node is drawn: across by the share of leaves to its left, down by depth."""

    x: float
    depth: int


def draw_tree(seen: Observation) -> str:
    """One SVG."""
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
        f'<svg viewBox="0 0 {WIDTH} {2 * EDGE + depth * ROW}" role="img" '
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
        found[node] = _Place(EDGE + middle * (WIDTH - 2 * EDGE), depth)
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
    y1, y2 = EDGE + above.depth * ROW, EDGE + below.depth * ROW
    kind = "walked" if walked else "branch"
    return f'<line x1="{above.x:.1f}" y1="{y1}" x2="{below.x:.1f}" y2="{y2}" class="{kind}"/>'


def _mark(node: int, place: _Place, *, visited: bool, hits: int) -> str:
    y = EDGE + place.depth * ROW
    if node >= 0:
        return (
            f'<circle cx="{place.x:.1f}" cy="{y}" r="{5 if visited else 2.5}" class="{"seen" if visited else "node"}"/>'
        )
    kind = "match" if hits else "seen" if visited else "node"
    size = 9 if visited else 5
    words = f"<title>{hits} of its records match</title>" if visited else ""
    corner = f'x="{place.x - size / 2:.1f}" y="{y - size / 2}"'
    return f'<rect {corner} width="{size}" height="{size}" class="{kind}">{words}</rect>'
