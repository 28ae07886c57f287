"""The page of one feasibility count: what the hospital saw, what the vendor saw, the interval. It fetches nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from twinward.core.visible_text import visible_value

SHOWN = 6
"""Pairs and slots that the page shows as bytes."""
_WIDTH, _EDGE = 720, 40


@dataclass(frozen=True, slots=True)
class CountObservation:
    """One count of a real run, seen from both sides. ``truth`` is the demonstration's alone: no party to it has it.

    Attributes:
        reading: the criteria, as the vendor's own side reads them.
        pairs: of the query, what the hospital saw: hex of A and of B.
        slots: of the answer, what the vendor saw: hex of A, hex of B's first bytes, and whether it counts.
        patients, room: in the cohort, and rows that the answer has room for.
        bound: W; ``matched`` slots counted, of them W plus the noise are dummies.
    """

    reading: tuple[str, ...] = field(repr=False)
    pairs: tuple[tuple[str, str], ...] = field(repr=False)
    pairs_sent: int
    slots: tuple[tuple[str, str, bool], ...] = field(repr=False)
    slots_sent: int
    patients: int
    room: int
    truth: int
    noisy: int
    half_width: int
    bound: int
    matched: int
    epsilon: float
    delta: float
    upload_bytes: int
    download_bytes: int
    seconds: float

    @property
    def is_covered(self) -> bool:
        """Whether the truth lies in the interval: in 95 of 100 runs it does."""
        return abs(self.noisy - self.truth) <= self.half_width

    @property
    def is_possible(self) -> bool:
        """Whether the count is off by no more than its noise can be: in every run."""
        return abs(self.noisy - self.truth) <= self.bound


def write_count_page(seen: CountObservation, path: Path, *, title: str) -> None:
    """Render one count to ``path``."""
    environment = Environment(
        loader=PackageLoader("twinward.similarity.explainer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=visible_value,
    )
    page = environment.get_template("count.html").render(title=title, seen=seen, interval=_draw_interval(seen))
    path.write_text(page, encoding="utf-8")


def _draw_interval(seen: CountObservation) -> str:
    """An axis of patients with the interval, the noisy count and the truth."""
    low, high = seen.noisy - seen.half_width, seen.noisy + seen.half_width
    first = min(0, low, seen.truth) - 1
    last = max(high, seen.truth, seen.patients) + 1

    def x(value: float) -> float:
        return _EDGE + (value - first) / (last - first) * (_WIDTH - 2 * _EDGE)

    label = f"Told: {seen.noisy}; {max(0, low)} to {max(0, high)} with 95 % probability; true: {seen.truth}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} 120" role="img" aria-label="{label}">'
        f'<line x1="{_EDGE}" y1="70" x2="{_WIDTH - _EDGE}" y2="70" class="axis"/>'
        f'<rect x="{x(low):.1f}" y="58" width="{x(high) - x(low):.1f}" height="24" class="in"/>'
        f'<line x1="{x(seen.noisy):.1f}" y1="52" x2="{x(seen.noisy):.1f}" y2="88" class="walked"/>'
        f'<circle cx="{x(seen.truth):.1f}" cy="70" r="6" class="match"/>'
        f'<text x="{x(seen.noisy):.1f}" y="40" text-anchor="middle">told: {seen.noisy}</text>'
        f'<text x="{x(seen.truth):.1f}" y="106" text-anchor="middle">true: {seen.truth}</text>'
        f'<text x="{x(0):.1f}" y="22" text-anchor="middle">0</text>'
        f'<text x="{x(seen.patients):.1f}" y="22" text-anchor="middle">all {seen.patients}</text></svg>'
    )
