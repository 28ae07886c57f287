"""The decorator that makes a kernel: numba's, for stated types alone, and kept where ``place`` says.

numba's own cache would compile whatever it does not find, in a folder whose owner it does not ask for. Here a kernel is
read from ``place.folder()`` or is not to be had; ``allowed`` says when one may be compiled and written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.ir as ir
import numba
from numba.core import caching, types
from numba.extending import intrinsic

from twinward_crypto.kernels import place

Function = TypeVar("Function", bound=Callable[..., Any])
_compiling = False


class NotCompiled(ImportError):
    """A kernel that does not lie ready, where none may be compiled."""


@contextmanager
def allowed() -> Iterator[None]:
    """Within it, what does not lie ready is compiled and kept."""
    global _compiling
    _compiling = True
    try:
        yield
    finally:
        _compiling = False


def read_only(number: str, dimensions: int) -> Any:
    """The type of an array that a kernel reads only: one over memory that may not be written fits it, too."""
    return types.Array(getattr(types, number), dimensions, "C", readonly=True)


def kernel(*signatures: Any, **options: Any) -> Callable[[Function], Function]:
    """A function for these types and no others: the first call finds it compiled, another type is an error."""

    def made(function: Function) -> Function:
        dispatcher: Any = numba.njit(nogil=True, boundscheck=False, error_model="numpy", **options)(function)
        dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]
        for signature in signatures:
            dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher  # type: ignore[no-any-return]

    return made


def inlined(function: Function) -> Function:
    """A piece of kernels: compiled into each that calls it."""
    made: Any = numba.njit(inline="always", boundscheck=False, error_model="numpy")(function)
    return made  # type: ignore[no-any-return]


def called(function: Function) -> Function:
    """A piece of kernels that stays a function of its own: too large to be copied wherever it is called."""
    made: Any = numba.njit(nogil=True, boundscheck=False, error_model="numpy")(function)
    return made  # type: ignore[no-any-return]


def _high_product(_typing: Any, _one: Any, _other: Any) -> Any:
    """The upper 64 of a product's 128 bits, as processors give them."""

    def generated(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide, narrow = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), narrow)

    return types.uint64(types.uint64, types.uint64), generated


high_product: Any = intrinsic(_high_product)


class _Locator(caching.UserProvidedCacheLocator):
    """Names the folder. ``store.prepare`` made it; nothing is tried out by writing, for it may be read-only."""

    def __init__(self, function: Any, source: str) -> None:
        self._py_file = source
        self._lineno = function.__code__.co_firstlineno
        self._cache_path = str(place.folder())

    def ensure_cache_path(self) -> None:
        """It is there, or reading says so."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator:
        """As numba asks for it."""
        return cls(py_func, py_file)

    def get_disambiguator(self) -> str:
        """Which module and line."""
        return f"{Path(self._py_file).stem}-{self._lineno}"


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - numba reads it so


class _Cache(caching.FunctionCache):
    _impl_class = _Implementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled. Raises ``NotCompiled`` where it is not there and may not be made."""
        found = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if found is None and not _compiling:
            raise NotCompiled(self._name)
        return found
