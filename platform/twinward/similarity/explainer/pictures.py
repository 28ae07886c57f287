"""Small pictures of one search, as SVG text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinward.similarity.explainer.observation import Observation

WIDTH, HEIGHT, EDGE = 640, 300, 44


def tests(seen: Observation) -> str:
    """Each leaf test: what the cloud saw (up), against what only the hospital knows (across)."""
    across, up = _stretched(seen.margins), _stretched(seen.tests)
    wide, high = WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE
    dots = "".join(
        f'<circle cx="{EDGE + (x + 1) / 2 * wide:.1f}" cy="{EDGE + (1 - y) / 2 * high:.1f}" r="3.2" '
        f'class="{"hit" if value <= 0 else "miss"}"/>'
        for x, y, value in zip(across, up, seen.tests, strict=True)
    )
    middle_x, middle_y = WIDTH / 2, HEIGHT / 2
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Encrypted test values against plain ones">'
        f'<rect x="{EDGE}" y="{middle_y}" width="{middle_x - EDGE}" height="{middle_y - EDGE}" class="in"/>'
        f'<line x1="{EDGE}" y1="{middle_y}" x2="{WIDTH - EDGE}" y2="{middle_y}" class="axis"/>'
        f'<line x1="{middle_x}" y1="{EDGE}" x2="{middle_x}" y2="{HEIGHT - EDGE}" class="axis"/>{dots}'
        f'<text x="{WIDTH - EDGE}" y="{middle_y - 8}" text-anchor="end">farther than asked →</text>'
        f'<text x="{EDGE}" y="{HEIGHT - EDGE + 18}">near enough: both below zero</text>'
        f'<text x="{middle_x + 8}" y="{EDGE - 10}">↑ the value the cloud computes, scaled at random</text></svg>'
    )


def matrix(values: NDArray[np.float64]) -> str:
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
