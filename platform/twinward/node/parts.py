"""Parts that are made when they are first asked for, and given back in reverse: a command opens what it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from twinward.node.errors import translated

P = TypeVar("P")
W = TypeVar("W", bound="Parts")


class Closable(Protocol):
    """What gives back files or connections."""

    def close(self) -> None:
        """Give them back."""
        ...


class Parts:
    """Something made of parts, each declared by a method under ``@part``; in layers, by inheritance, where it is large.

    One lock for all of them: a part that is being made asks for those it stands on, and no thread sees half of one.
    """

    def __init__(self) -> None:
        self._making = threading.RLock()
        self._held = ExitStack()
        self._is_closed = False

    def open_all(self) -> None:
        """Make every part now: what serves learns at once what is wrong, and nobody waits for a first use."""
        for layer in reversed(type(self).__mro__):
            for name, declared in vars(layer).items():
                if isinstance(declared, part):
                    getattr(self, name)

    def close(self) -> None:
        """Give back what was made, the newest first: what stands on something closes before it."""
        with self._making:
            self._is_closed = True
            self._held.close()

    def has_made(self, name: str) -> bool:
        """Whether a part was made already: who would only ask what it remembers need not make it."""
        return name in self.__dict__

    def keep(self, made: Closable) -> None:
        """Close something together with this."""
        self._held.callback(made.close)

    def make(self, name: str, maker: Callable[[Self], P]) -> P:
        """The part of this name, made once. Errors of the layers below come as the platform's own.

        A part that cannot be made is tried again when it is next asked for.
        """
        with self._making:
            if name not in self.__dict__:
                if self._is_closed:
                    raise RuntimeError(f"{name}: this was closed before it was first asked for")
                with translated():
                    self.__dict__[name] = maker(self)
            found: P = self.__dict__[name]
            return found


class part(Generic[W, P]):  # noqa: N801 - reads as ``property`` does
    """A part of a ``Parts``: made by its method when it is first asked for; afterwards it is a plain attribute."""

    def __init__(self, maker: Callable[[W], P]) -> None:
        self._maker = maker
        self._name = maker.__name__
        self.__doc__ = maker.__doc__

    @overload
    def __get__(self, whole: None, owner: type[Any]) -> Self: ...

    @overload
    def __get__(self, whole: W, owner: type[Any]) -> P: ...

    def __get__(self, whole: W | None, owner: type[Any]) -> Self | P:
        return self if whole is None else whole.make(self._name, self._maker)
