"""One block of an index under the gate's key: SEAL's objects or limbs, each made from the other, written and read.

Limbs (``limbs.fits_ckks``) of a block are three parts of a file: bits 0-31 of the features' and squares' residues,
``uint32[primes, columns, 2, n]``, their bits 32-39, ``uint8``, and the norms', ``uint64[primes, 2, n]``. They are
copied out of a file, which may lie on a disk, before they are checked: nobody changes afterwards what was checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic import _seal, limbs
from twinward_crypto.homomorphic.block_file import LIMBS, OBJECTS, write_blocks
from twinward_crypto.homomorphic.limbs import Limbs
from twinward_crypto.homomorphic.parameters import Plan, scales, square_tilt
from twinward_crypto.homomorphic.seal_format import Form


@dataclass(frozen=True, slots=True, eq=False)
class IndexBlock:
    """One block of records, encrypted: levels, their squares (weighted plans), and squared norms."""

    features: tuple[Any, ...]
    squares: tuple[Any, ...]
    norms: Any


@dataclass(frozen=True, slots=True, eq=False)
class LimbIndexBlock:
    """The same as kernels read it."""

    limbs: Limbs
    norms: NDArray[np.uint64]


AnyIndexBlock: TypeAlias = IndexBlock | LimbIndexBlock


def index_in_limbs(plan: Plan, block: AnyIndexBlock) -> LimbIndexBlock:
    """A block for kernels."""
    if isinstance(block, LimbIndexBlock):
        return block
    *forms, last = index_forms(plan)
    columns = [_residues(form, one) for form, one in zip(forms, block.features + block.squares, strict=True)]
    residues = np.array(columns).transpose(2, 0, 1, 3)
    low, high = residues.astype(np.uint32), (residues >> np.uint64(32)).astype(np.uint8)
    norms = np.ascontiguousarray(_residues(last, block.norms).transpose(1, 0, 2))
    return LimbIndexBlock(Limbs(np.ascontiguousarray(low), np.ascontiguousarray(high)), norms)


def index_of_objects(plan: Plan, block: AnyIndexBlock) -> IndexBlock:
    """A block for SEAL."""
    if isinstance(block, IndexBlock):
        return block
    *forms, last = index_forms(plan)
    residues = block.limbs.low.astype(np.uint64) | block.limbs.high.astype(np.uint64) << np.uint64(32)
    columns = residues.transpose(1, 2, 0, 3)
    made = [_seal.build(seal.Ciphertext, plan, form, one) for form, one in zip(forms, columns, strict=True)]
    norms = _seal.build(seal.Ciphertext, plan, last, block.norms.transpose(1, 0, 2))
    return IndexBlock(tuple(made[: plan.dimension]), tuple(made[plan.dimension :]), norms)


def index_forms(plan: Plan) -> list[Form]:
    """What a block's ciphertexts are: features, squares, norms."""
    index_bits, _ = scales(plan)
    squares = [index_bits - square_tilt(plan)] * plan.dimension if plan.weighted else []
    bits = [index_bits] * plan.dimension + squares + [plan.scale_bits]
    return [_seal.ciphertext_form(plan, _seal.Level.FIRST, scale_bits=one) for one in bits]


def write_index_blocks(
    file: BinaryIO, blocks: Iterable[IndexBlock], *, plan: Plan, binding: bytes, rows: int, key: bytes
) -> None:
    """Blocks to a file: as limbs where kernels are ready for them, otherwise as SEAL's objects."""
    if limbs.fits_ckks(plan) and limbs.kernels("ckks"):
        made = (_parts(index_in_limbs(plan, block)) for block in blocks)
        write_blocks(file, made, plan=plan, binding=binding, rows=rows, parts=3, key=key, version=LIMBS)
        return
    saved = ([_seal.save(one) for one in (*b.features, *b.squares, b.norms)] for b in blocks)
    count = len(index_forms(plan))
    write_blocks(file, saved, plan=plan, binding=binding, rows=rows, parts=count, key=key, version=OBJECTS)


def read_index_block(plan: Plan, version: int, pieces: Sequence[bytes]) -> AnyIndexBlock:
    """A block's parts, checked by their file. Raises ``MalformedBundle``."""
    forms = index_forms(plan)
    if version == LIMBS:
        low, high, norms = pieces
        primes, n = len(forms[0].moduli), plan.profile.degree
        shape = (primes, len(forms) - 1, 2, n)
        cut = Limbs(np.frombuffer(low, "<u4").reshape(shape), np.frombuffer(high, np.uint8).reshape(shape))
        return LimbIndexBlock(cut, np.frombuffer(norms, "<u8").reshape(primes, 2, n))
    if len(forms) != len(pieces):
        raise MalformedBundle("a prepared block of another number of parts")
    ciphertexts = [_seal.load(seal.Ciphertext, plan, *one) for one in zip(forms, pieces, strict=True)]
    d = plan.dimension
    return IndexBlock(tuple(ciphertexts[:d]), tuple(ciphertexts[d:-1]), ciphertexts[-1])


def _parts(block: LimbIndexBlock) -> list[bytes]:
    return [block.limbs.low.tobytes(), block.limbs.high.tobytes(), block.norms.tobytes()]


def _residues(form: Form, ciphertext: Any) -> NDArray[np.uint64]:
    """``uint64[2, primes, n]``."""
    return form.read(_seal.save(ciphertext))[0]
