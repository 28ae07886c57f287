"""Passwords of tests are stretched briefly: a fifth of a second of every core for each one is for those who guess.

Both what is kept and the decoy of unknown accounts change alike. What the product does by itself is ``REAL``, which
``tests/unit/access/test_passwords.py`` holds against the RFC; processes of their own stretch as they always do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from twinward.access import passwords

REAL: Final = {name: getattr(passwords, name) for name in ("_PASSES", "_MEMORY_KIB", "_LANES")}


@contextmanager
def stretched_briefly() -> Iterator[None]:
    """Until the end, one pass over 64 KiB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_PASSES", 1)
        patch.setattr(passwords, "_MEMORY_KIB", 64)
        yield
