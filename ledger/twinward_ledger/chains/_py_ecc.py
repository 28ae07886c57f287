"""What py_ecc computes each time it is imported, computed with less: import this before py-evm or eth_account.

* py-evm imports py_ecc's pairing, which the embedded chain never uses (``_precompiles``), and whose module raises each
  wⁱ of F_p¹² to the p: as (wⁱ)ᵖ = (wᵖ)ⁱ, one power and products do.
* It imports the eighth roots of unity of F_p² as well, powers of (1 + u) to k (p² - 1) / 8: those of the first.
* eth_account imports the plain pairing, which takes a thousand inverses modulo p in Python: ``pow`` takes them.

Every power and every inverse stays what it was.

Importing py_ecc lets Python recurse 100,000 deep, in the whole process: from then on a few kilobytes of nested JSON
overflow the C stack and kill it. Here that ends.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import py_ecc.utils

RECURSION_LIMIT: Final = 2_000
"""Our contracts call each other a handful deep, which the usual limit is enough for."""
sys.setrecursionlimit(RECURSION_LIMIT)


def _inverse(a: int, n: int) -> int:
    """Modulo a prime; of 0 it is 0, as py_ecc has it."""
    return pow(a, -1, n) if a % n else 0


py_ecc.utils.prime_field_inv = _inverse

from py_ecc.fields import optimized_bls12_381_FQ2 as Pair  # noqa: E402 - takes the inverse from above
from py_ecc.fields import optimized_bls12_381_FQ12 as Element  # noqa: E402

_plain_power: Final = Element.__pow__
_EIGHTH: Final = (Pair.field_modulus**2 - 1) // 8
_frobenius: list[Element] = []
"""(wⁱ)ᵖ, as far as they were asked for."""
_roots: list[Pair] = []
"""(1 + u) to the k (p² - 1) / 8, as far as they were asked for."""


def _power(element: Element, exponent: int) -> Any:
    degree = _degree(element)
    if exponent != element.field_modulus or degree is None:
        return _plain_power(element, exponent)
    if not _frobenius:
        w = Element([0, 1, *[0] * 10])
        _frobenius[:] = [Element.one(), _plain_power(w, exponent)]
    while len(_frobenius) <= degree:
        _frobenius.append(_frobenius[-1] * _frobenius[1])
    return _frobenius[degree]


def _degree(element: Element) -> int | None:
    """The i of wⁱ; None for any other element."""
    terms = [(degree, int(one)) for degree, one in enumerate(element.coeffs) if int(one)]
    return terms[0][0] if len(terms) == 1 and terms[0][1] == 1 else None


def _root(element: Pair, exponent: int) -> Any:
    times, rest = divmod(exponent, _EIGHTH)
    if rest or not 0 <= times < 8 or [int(one) for one in element.coeffs] != [1, 1]:
        return _plain_power(element, exponent)
    if not _roots:
        _roots[:] = [Pair.one(), _plain_power(element, _EIGHTH)]
    while len(_roots) <= times:
        _roots.append(_roots[-1] * _roots[1])
    return _roots[times]


setattr(Element, "__pow__", _power)  # noqa: B010 - its type is narrower than what it does
setattr(Pair, "__pow__", _root)  # noqa: B010 - as above
