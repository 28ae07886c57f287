"""A power that py_ecc takes twelve times when it is imported, taken once.

py-evm imports py_ecc's pairing, which the embedded chain never uses (``_precompiles``), and whose module raises each wⁱ
of F_p¹² to the p: most of what opening the chain's code costs. As (wⁱ)ᵖ = (wᵖ)ⁱ, one power and products do. Import this
before anything of ``eth``; every power stays what it was.
"""

from __future__ import annotations

from typing import Any

from py_ecc.fields import optimized_bls12_381_FQ12 as Element

_plain_power = Element.__pow__
_frobenius: list[Element] = []
"""(wⁱ)ᵖ, as far as they were asked for."""


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


setattr(Element, "__pow__", _power)  # noqa: B010 - its type is narrower than what it does
