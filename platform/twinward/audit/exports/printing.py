"""How an export is printed, where it is printed at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


def _nothing(_rows: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Printing:
    """What a printed page needs beside what it says.

    Attributes:
        fonts: files asked, in this order, for the characters that DejaVu lacks.
        told: called after each row with how many are done.
    """

    fonts: Sequence[Path] = ()
    told: Callable[[int], None] = _nothing


DEFAULT_PRINTING: Final = Printing()
