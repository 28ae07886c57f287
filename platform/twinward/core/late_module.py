"""A module that is imported when something of it is first used: for a large library that most runs never come to.

    if TYPE_CHECKING:
        import numpy as np
    else:
        np = LateModule("numpy")

Such a name reads like the module's own. Types that are made of it are written as texts (``TypeAlias``).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LateModule:
    """Stands for one module. What was asked for once is an attribute from then on, and costs what any does."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        found = getattr(import_module(self.__name__), name)
        setattr(self, name, found)
        return found
