"""The hospital's side of vendor-key mode: plaintext features, packed and pre-transformed for scoring.

A block holds N records (N the ring's degree): feature j of record r is coefficient r of the block's polynomial j,
already in SEAL's number-theoretic form. Where features are grouped, a block holds N/g records and polynomial i has
record r's features ``i g .. i g + g - 1`` as coefficients from ``r g`` on. Coefficients beyond the last record and the
last feature hold random levels, so that a padded block looks like a full one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward_crypto.errors import ParameterError
from twinward_crypto.homomorphic import _seal, limbs
from twinward_crypto.homomorphic.block_file import LIMBS, OBJECTS, BlockFile, MappedBlocks, write_blocks
from twinward_crypto.homomorphic.limbs import Limbs
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.query import random_levels
from twinward_crypto.homomorphic.wire import BINDING_BYTES, MAX_ROWS, UNBOUND

Levels = NDArray[np.int64]
"""Quantised features, ``[records, features]``, each in ``0 .. levels - 1``."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """N/g records: ``features`` and, for weighted queries, ``squares``, one transformed polynomial per group."""

    features: tuple[Any, ...]
    squares: tuple[Any, ...]
    norms: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class LimbBlock:
    """The same as kernels read it: ``limbs`` are ``uint32[features and squares, n]``."""

    limbs: Limbs
    norms: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Database:
    """A cohort ready to be scored. It holds plaintext features: it never leaves the hospital.

    Attributes:
        plan: the numbers both sides agreed on.
        rows: how many records it holds.
        binding: what a query must carry to be scored against it.
    """

    plan: Plan
    rows: int
    binding: bytes
    blocks: Sequence[Block | LimbBlock] = field(repr=False)

    @classmethod
    def build(cls, plan: Plan, levels: Levels, *, binding: bytes = UNBOUND) -> Database:
        """Pack and transform a cohort.

        Raises:
            ParameterError: the array's shape or a level does not fit the plan, or there is no record.
        """
        rows = check_levels(plan, levels)
        if len(binding) != BINDING_BYTES:
            raise ParameterError(f"must be {BINDING_BYTES} bytes", part="binding")
        return cls(plan, rows, binding, tuple(_blocks(plan, levels)))

    @staticmethod
    def write(file: BinaryIO, plan: Plan, levels: Levels, *, binding: bytes = UNBOUND, key: bytes) -> None:
        """Pack and transform a cohort into a file for ``map``. Plaintext in another form: anonymous memory only.

        Raises:
            ParameterError: as ``build``.
        """
        rows, parts = check_levels(plan, levels), plan.groups * (2 if plan.weighted else 1) + 1
        version = OBJECTS
        if _kernels(plan):
            version, parts = LIMBS, 3
        blocks = map(_written, _blocks(plan, levels))
        write_blocks(file, blocks, plan=plan, binding=binding, rows=rows, parts=parts, key=key, version=version)

    @classmethod
    def map(cls, path: Path, plan: Plan, *, binding: bytes = UNBOUND, key: bytes, resident: int = MAX_ROWS) -> Database:
        """A cohort from a file that ``write`` made; at most ``resident`` blocks stay loaded once scored.

        Raises:
            MalformedBundle: it is not such a file.
        """
        file = BlockFile.map(path, plan=plan, binding=binding, key=key)
        in_limbs = file.version == LIMBS
        read = _read_limbs if in_limbs else _read_block
        blocks = MappedBlocks(file, lambda parts: read(plan, parts), resident, copied=not in_limbs)
        return cls(plan, file.rows, binding, blocks)

    def shard(self, first: int, last: int) -> Database:
        """The records of blocks ``first .. last - 1``, as a cohort of its own under the same binding."""
        rows = min(self.rows, last * self.plan.block_rows) - first * self.plan.block_rows
        return Database(self.plan, rows, self.binding, self.blocks[first:last])


def check_levels(plan: Plan, levels: Levels) -> int:
    """The number of rows of an array that fits the plan; ``ParameterError`` for one that does not."""
    if levels.ndim != 2 or levels.shape[1] != plan.dimension:
        raise ParameterError(f"rows of {plan.dimension} levels are expected", part="dimension")
    if not 1 <= len(levels) <= MAX_ROWS:
        raise ParameterError(f"1 to {MAX_ROWS} records are expected", part="rows")
    if not np.issubdtype(levels.dtype, np.integer) or levels.min() < 0 or levels.max() >= plan.levels:
        raise ParameterError(f"levels must be whole numbers from 0 to {plan.levels - 1}", part="levels")
    return len(levels)


def _filled(plan: Plan, levels: Levels) -> Levels:
    """A block's levels, shifted by one, random where there is no record or no feature: ``[block_rows, groups * g]``."""
    full = random_levels(plan.block_rows * plan.groups * plan.grouping, plan.levels).reshape(plan.block_rows, -1)
    full[: len(levels), : plan.dimension] = 1 + levels
    return full


def of_objects(plan: Plan, block: Block | LimbBlock) -> Block:
    """A block for SEAL."""
    if isinstance(block, Block):
        return block
    form = _seal.plaintext_form(plan, _seal.Level.FIRST)
    made = [_seal.build(seal.Plaintext, plan, form, row.reshape(1, 1, -1)) for row in limbs.joined(block.limbs)]
    return Block(tuple(made[: plan.groups]), tuple(made[plan.groups :]), block.norms)


def in_limbs(plan: Plan, block: Block | LimbBlock) -> LimbBlock:
    """A block for kernels."""
    if isinstance(block, LimbBlock):
        return block
    form = _seal.plaintext_form(plan, _seal.Level.FIRST)
    residues = [form.read(_seal.save(one))[0].reshape(-1) for one in block.features + block.squares]
    return LimbBlock(limbs.split(np.array(residues)), block.norms)


def _kernels(plan: Plan) -> ModuleType | None:
    return limbs.kernels("bfv") if limbs.fits_bfv(plan) else None


def _blocks(plan: Plan, levels: Levels) -> Iterator[Block | LimbBlock]:
    kernels = _kernels(plan)
    for start in range(0, len(levels), plan.block_rows):
        filled = _filled(plan, levels[start : start + plan.block_rows])
        yield _limb_block(kernels, plan, filled) if kernels else _block(plan, filled)


def _written(block: Block | LimbBlock) -> list[bytes]:
    if isinstance(block, LimbBlock):
        return [block.limbs.low.tobytes(), block.limbs.high.tobytes(), block.norms.tobytes()]
    return [*map(_seal.save, block.features + block.squares), block.norms.tobytes()]


def _read_limbs(plan: Plan, parts: list[Any]) -> LimbBlock:
    low, high, norms = parts
    shape = (plan.groups * (2 if plan.weighted else 1), plan.profile.degree)
    made = Limbs(*(np.frombuffer(one, dtype="<u4").reshape(shape) for one in (low, high)))
    return LimbBlock(made, np.frombuffer(bytes(norms), dtype=np.int64))


def _read_block(plan: Plan, parts: list[bytes]) -> Block:
    form = _seal.plaintext_form(plan, _seal.Level.FIRST)
    polynomials = [_seal.load(seal.Plaintext, plan, form, part) for part in parts[:-1]]
    norms = np.frombuffer(parts[-1], dtype=np.int64)
    return Block(tuple(polynomials[: plan.groups]), tuple(polynomials[plan.groups :]), norms)


def _limb_block(kernels: ModuleType, plan: Plan, shifted: Levels) -> LimbBlock:
    squared = shifted * shifted
    columns = [*_grouped(plan, shifted), *(_grouped(plan, squared) if plan.weighted else ())]
    t, ring = plan.plain_modulus, limbs.ring(plan)
    values = np.array(columns)
    values[values >= (t + 1) // 2] += ring.prime - t  # as SEAL lifts them: the upper half stands for negative numbers
    polynomials = values.astype(np.uint64)
    ring.transform(kernels, polynomials)
    return LimbBlock(limbs.split(polynomials), squared[:, : plan.dimension].sum(axis=1))


def _grouped(plan: Plan, values: Levels) -> Levels:
    """Each group's coefficients, ``[groups, n]``: a record's grouped features lie side by side."""
    return values.reshape(plan.block_rows, plan.groups, plan.grouping).transpose(1, 0, 2).reshape(plan.groups, -1)


def _block(plan: Plan, shifted: Levels) -> Block:
    context = _seal.context_of(plan)
    evaluator = seal.Evaluator(context)
    squared = shifted * shifted

    def transformed(values: Levels) -> tuple[Any, ...]:
        return tuple(to_ntt(column) for column in _grouped(plan, values))

    def to_ntt(column: Levels) -> Any:
        made = seal.Plaintext()
        evaluator.transform_to_ntt(_seal.polynomial(plan, column.astype(np.uint64)), context.first_parms_id(), made)
        return made

    squares = transformed(squared) if plan.weighted else ()
    return Block(transformed(shifted), squares, squared[:, : plan.dimension].sum(axis=1))
