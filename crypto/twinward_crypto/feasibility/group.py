"""The group: libsodium's prime-order subgroup of edwards25519, through PyNaCl. The one place that computes in it.

Elements are 32 bytes in RFC 8032's encoding, scalars 32 bytes, little-endian. ``require_element`` is libsodium's
``crypto_core_ed25519_is_valid_point``: canonical, on the curve, in the subgroup of prime order, not of small order; so
neutral elements and torsion are refused, and no cofactor needs clearing. Its multiplications take the same time
whatever the scalar; its additions are complete formulas, which have no case of their own for equal or opposite points.

PyNaCl comes with the extras ``vendor`` and ``node``, and is imported when something is computed: bounds and formats are
read without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, Final, Protocol, TypeAlias

from twinward_crypto.errors import MalformedKey

Element: TypeAlias = bytes
Scalar: TypeAlias = bytes
RandomBytes: TypeAlias = Callable[[int], bytes]
"""Gives that many random bytes: ``os.urandom``, or a seeded stream in a test."""

ELEMENT_BYTES: Final = 32
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""RFC 8032, section 5.1: the order of the base point."""
ONE: Final = (1).to_bytes(32, "little")


class Group(Protocol):
    """What the protocol needs of a group of prime order ``ORDER``. The tests count calls, and compute in exponents."""

    def require_element(self, point: bytes) -> None:
        """Raises ``MalformedKey`` for what is no element other than the neutral one."""
        ...

    def add(self, one: Element, other: Element) -> Element:
        """The sum; neutral elements may be in it."""
        ...

    def multiply(self, scalar: Scalar, point: Element) -> Element:
        """The multiple. Neither it nor ``point`` may be neutral: whoever calls makes sure."""
        ...

    def multiply_base(self, scalar: Scalar) -> Element:
        """The multiple of the base point, not neutral."""
        ...


@cache
def _sodium() -> Any:
    from nacl import bindings

    return bindings


@cache
def _refusal() -> type[Exception]:
    from nacl.exceptions import CryptoError

    return CryptoError


class Sodium:
    """libsodium's."""

    @cached_property
    def _bindings(self) -> Any:
        return _sodium()

    def require_element(self, point: bytes) -> None:
        """As ``Group.require_element``."""
        if len(point) != ELEMENT_BYTES or not self._bindings.crypto_core_ed25519_is_valid_point(point):
            raise MalformedKey("not an element of the group: wrong length, encoding, curve or subgroup, or neutral")

    def add(self, one: Element, other: Element) -> Element:
        """As ``Group.add``."""
        sum_: Element = self._bindings.crypto_core_ed25519_add(one, other)
        return sum_

    def multiply(self, scalar: Scalar, point: Element) -> Element:
        """As ``Group.multiply``."""
        try:
            multiple: Element = self._bindings.crypto_scalarmult_ed25519_noclamp(scalar, point)
        except _refusal():
            raise MalformedKey("a multiple that is neutral") from None
        return multiple

    def multiply_base(self, scalar: Scalar) -> Element:
        """As ``Group.multiply_base``."""
        try:
            multiple: Element = self._bindings.crypto_scalarmult_ed25519_base_noclamp(scalar)
        except _refusal():
            raise MalformedKey("a multiple that is neutral") from None
        return multiple


SODIUM: Final = Sodium()


def random_scalar(random_bytes: RandomBytes = os.urandom) -> Scalar:
    """Uniform modulo the order (to within 2^-259), and so neither 0 nor guessed."""
    scalar: Scalar = _sodium().crypto_core_ed25519_scalar_reduce(random_bytes(64))
    return scalar


def scalar_of(number: int) -> Scalar:
    """A number modulo the order."""
    return (number % ORDER).to_bytes(32, "little")


def multiply_add(factor: Scalar, other: Scalar, summand: int) -> Scalar:
    """``factor * other + summand`` modulo the order, as libsodium computes it: in the same time whatever they are."""
    product = _sodium().crypto_core_ed25519_scalar_mul(factor, other)
    total: Scalar = _sodium().crypto_core_ed25519_scalar_add(product, scalar_of(summand))
    return total
