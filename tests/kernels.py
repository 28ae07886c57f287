"""Kernels for tests: compiled once a machine, and computations made by them and by plain code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from twinward_crypto.kernels import store


def kernels(family: str) -> ModuleType:
    """A family, compiled if need be. A test that holds kernels against plain code must not pass without them."""
    store.prepare()
    store._loaded.pop(family, None)
    found = store.load(family)
    assert found is not None, store.unusable()
    return found


@contextmanager
def plainly() -> Iterator[None]:
    """Within it nothing finds a kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "load", lambda family: None)
        patch.setattr(store, "loaded", lambda family: None)
        yield
