"""What the demo tells whoever is watching. The command line draws it; tests listen."""

from __future__ import annotations

from typing import Protocol


class Display(Protocol):
    """A live display of one run."""

    def begin(self, title: str, total: int) -> None:
        """A new piece of work of ``total`` steps."""
        ...

    def advance(self, steps: int = 1) -> None:
        """Steps of the running piece that are done."""
        ...

    def finish(self, result: str) -> None:
        """The running piece is done; one line on what came of it."""
        ...


class Silent:
    """A display nobody watches."""

    def begin(self, title: str, total: int) -> None:
        """Say nothing."""

    def advance(self, steps: int = 1) -> None:
        """Say nothing."""

    def finish(self, result: str) -> None:
        """Say nothing."""
