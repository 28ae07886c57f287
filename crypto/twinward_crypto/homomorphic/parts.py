"""A bundle's parts: what each must be, and its numbers on the way out of SEAL and in again.

A part is a ciphertext or a public key without anything that kind, plan and place already say: the coefficients, packed
(``residues``), then 64 bytes of seed where the second polynomial follows from one. Nothing of SEAL's format travels, so
nobody outside can choose a byte of what SEAL reads but coefficients below their primes, and seeds.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import tenseal.sealapi as seal

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic import _seal
from twinward_crypto.homomorphic._seal import Level
from twinward_crypto.homomorphic.parameters import Plan, scales, shrinks, square_tilt
from twinward_crypto.homomorphic.residues import pack, packed_size, unpack
from twinward_crypto.homomorphic.seal_format import SEED_BYTES, Form


class Kind(IntEnum):
    """What a bundle carries."""

    QUERY = 1
    SCORES = 2
    GATED_QUERY = 3
    GATED_SCORES = 4
    GATE_PUBLIC_KEY = 5

    @property
    def answer(self) -> Kind:
        """The kind that answers a query of this one."""
        return {Kind.QUERY: Kind.SCORES, Kind.GATED_QUERY: Kind.GATED_SCORES}[self]


def forms(kind: Kind, plan: Plan, *, weighted: bool = False, rows: int = 0) -> list[Form]:
    """What a bundle's parts must be, in order.

    Raises:
        MalformedBundle: a plan of the other scheme.
    """
    if (plan.profile.scheme == "bfv") != (kind in (Kind.QUERY, Kind.SCORES)):
        raise MalformedBundle("a kind that this plan does not have")
    match kind:
        case Kind.QUERY:
            factor = _seal.ciphertext_form(plan, Level.FIRST, seeded=True)
            key = [public_key_form(plan)] if plan.profile.floods else []
            return [factor] * (plan.groups * (2 if weighted else 1)) + key
        case Kind.SCORES:
            return [_seal.ciphertext_form(plan, Level.NEXT if shrinks(plan) else Level.FIRST)] * plan.blocks(rows)
        case Kind.GATED_QUERY:
            return [_seal.ciphertext_form(plan, Level.FIRST, scale_bits=bits) for bits in query_scales(plan, weighted)]
        case Kind.GATED_SCORES:
            score = _seal.ciphertext_form(plan, Level.FIRST, polynomials=3, scale_bits=plan.scale_bits)
            return [score] * plan.blocks(rows)
        case Kind.GATE_PUBLIC_KEY:
            return [public_key_form(plan)]


def public_key_form(plan: Plan) -> Form:
    """What a plan's public key must be."""
    return _seal.ciphertext_form(plan, Level.KEY)


def query_scales(plan: Plan, weighted: bool) -> list[int]:
    """Bits of the scale of each part of a gated query."""
    _, query_bits = scales(plan)
    d = plan.dimension
    weights = [query_bits + square_tilt(plan)] * d if weighted else []
    return [query_bits] * d + weights + [plan.scale_bits]


def size(form: Form) -> int:
    """Bytes of a part."""
    return packed_size(form.moduli, form.degree, form.stored) + (SEED_BYTES if form.seeded else 0)


def check(form: Form, part: bytes) -> None:
    """Raise ``MalformedBundle`` unless a part is of this form, every coefficient below its prime."""
    unpack(part[: len(part) - SEED_BYTES] if form.seeded else part, form.moduli, form.degree, form.stored)


def take(thing: Any, form: Form) -> bytes:
    """The part that a SEAL object of this form is."""
    residues, seed = form.read(_seal.save(thing))
    return pack(residues, form.moduli) + seed


def ciphertext(plan: Plan, form: Form, part: bytes) -> Any:
    """SEAL's ciphertext of a part. Raises ``MalformedBundle``."""
    return _build(seal.Ciphertext, plan, form, part)


def public_key(plan: Plan, part: bytes) -> Any:
    """SEAL's public key of a part. Raises ``MalformedBundle``."""
    return _build(seal.PublicKey, plan, public_key_form(plan), part)


def _build(kind: type[Any], plan: Plan, form: Form, part: bytes) -> Any:
    end = len(part) - (SEED_BYTES if form.seeded else 0)
    residues = unpack(part[:end], form.moduli, form.degree, form.stored)
    return _seal.build(kind, plan, form, residues, part[end:])
