"""Gated mode: index and query both encrypted under the key of the hospital's gate, scored by who sees neither.

CKKS, records in slots. With integers ``x_j``, ``q_j``, ``w_j``::

    distance = sum_j Enc(x_j) * Enc(-2 w_j q_j) + Enc(|x|^2) + Enc(sum w q^2)                       without weights
    distance = sum_j Enc(x_j) * Enc(-2 w_j q_j) + sum_j Enc(x_j^2) * Enc(w_j) + Enc(sum w q^2)      with weights

Products stay at size three and are never relinearised, so no evaluation key exists. The gate decrypts, rounds to
whole numbers and throws the approximate values away: handing raw CKKS decryptions to anyone would leak the key
(Li and Micciancio, Eurocrypt 2021). ``parameters.error_bound`` says why rounding is exact.

**The gate opens every query to check it** (``open_query``), for a vendor forms its ciphertexts as it likes: with other
numbers in other slots it would choose another score for every row. What passed is encrypted anew (``encrypt_query``),
so that of the vendor's ciphertexts nothing but the checked whole numbers reaches a row. The gate so learns the query;
the scoring side still sees neither query nor index. Whether a query was refused is one bit about the gate's key, as
any decryption is (reaction attacks: Fauzi, Hovd and Raddum, "On the IND-CCA1 security of FHE schemes", 2022):
the caller makes each one cost, and a key serves one epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.homomorphic import _seal, limbs, parts
from twinward_crypto.homomorphic.block_file import LIMBS, BlockFile, MappedBlocks
from twinward_crypto.homomorphic.database import Levels, check_levels
from twinward_crypto.homomorphic.index_block import (
    AnyIndexBlock,
    IndexBlock,
    index_in_limbs,
    index_of_objects,
    read_index_block,
    write_index_blocks,
)
from twinward_crypto.homomorphic.kernel_opening import KernelOpener
from twinward_crypto.homomorphic.kernel_scoring import CkksQuery
from twinward_crypto.homomorphic.parameters import Plan, error_bound, scales, square_tilt
from twinward_crypto.homomorphic.plain_query import PlainQuery
from twinward_crypto.homomorphic.ring_key import RingKey
from twinward_crypto.homomorphic.seal_format import Form
from twinward_crypto.homomorphic.wire import BINDING_BYTES, MAX_ROWS, UNBOUND, Bundle, Kind

NO_DISTANCE = np.iinfo(np.int64).max
"""What stands for a row whose score is no distance."""


class GateKey(RingKey):
    """The gate's secret key: it encrypts the index, checks queries and opens scores."""

    scheme = "ckks"
    _kernel_opener: KernelOpener | None = None

    def public_bundle(self, *, binding: bytes = UNBOUND) -> Bundle:
        """What vendors encrypt their queries with."""
        key = parts.take(self._public, parts.public_key_form(self.plan))
        return Bundle(Kind.GATE_PUBLIC_KEY, self.plan, binding, (key,))

    def encrypt_index(self, levels: Levels, *, binding: bytes = UNBOUND) -> EncryptedIndex:
        """Encrypt a cohort for the scoring side. Unused slots hold zeros under encryption: they look like any other.

        Raises:
            ParameterError: the array's shape or a level does not fit the plan.
        """
        rows = check_levels(self.plan, levels)
        if len(binding) != BINDING_BYTES:
            raise ParameterError(f"must be {BINDING_BYTES} bytes", part="binding")
        blocks: Iterator[AnyIndexBlock] = self._blocks(levels)
        if limbs.fits_ckks(self.plan) and limbs.kernels("ckks"):
            blocks = (index_in_limbs(self.plan, block) for block in blocks)
        return EncryptedIndex(self.plan, rows, binding, tuple(blocks))

    def write_index(self, file: BinaryIO, levels: Levels, *, binding: bytes = UNBOUND, key: bytes) -> None:
        """Encrypt a cohort into a file for ``EncryptedIndex.map``. Ciphertext: it may lie on a disk.

        Raises:
            ParameterError: as ``encrypt_index``.
        """
        rows = check_levels(self.plan, levels)
        write_index_blocks(file, self._blocks(levels), plan=self.plan, binding=binding, rows=rows, key=key)

    def open_query(self, query: Bundle) -> PlainQuery:
        """Decrypt a vendor's query and check it. Depends on the query alone, never on a record.

        Raises:
            MalformedBundle: not a query for this plan, a part that is no fresh ciphertext at its scale, or values that
                no honest client encrypts; those are refused with one message, whatever is wrong with them.
        """
        if query.kind is not Kind.GATED_QUERY or query.plan != self.plan:
            raise MalformedBundle("not a query for this gate's plan")
        slots = [np.array(self._encoder.decode_complex(self._decrypt(part))) for part in _load_query(query)]
        return PlainQuery.read(self.plan, slots, weighted=query.weighted)

    def encrypt_query(self, query: PlainQuery, *, binding: bytes = UNBOUND) -> Bundle:
        """Encrypt a checked query for the scoring side, under this key and with fresh randomness."""
        weighted = query.weights is not None
        forms = parts.forms(Kind.GATED_QUERY, self.plan, weighted=weighted)
        made = [
            parts.take(self._encrypt(number, scale_bits), form)
            for number, scale_bits, form in zip(
                query.numbers(), parts.query_scales(self.plan, weighted), forms, strict=True
            )
        ]
        return Bundle(Kind.GATED_QUERY, self.plan, binding, tuple(made), weighted)

    def open_distances(self, scores: Bundle) -> NDArray[np.int64]:
        """The exact squared distance of every record, ``int64[rows]``. For the gate's eyes only.

        A score that no checked query gives (not whole within the error bound, or outside ``0 .. max_distance``) is
        ``NO_DISTANCE``, farther than any threshold: what a row holds never turns into an error.

        Raises:
            MalformedBundle: no ciphertexts of this plan.
        """
        if scores.kind is not Kind.GATED_SCORES or scores.plan != self.plan:
            raise MalformedBundle("not scores for this gate's plan")
        forms = parts.forms(Kind.GATED_SCORES, self.plan, rows=scores.rows)
        if len(forms) != len(scores.parts):
            raise MalformedBundle("scores of another number of parts")
        opened = self._opener(forms[0])
        blocks = [
            opened.slots(part) if opened else self._opened_by_seal(form, part)
            for form, part in zip(forms, scores.parts, strict=True)
        ]
        values = np.nan_to_num(np.concatenate(blocks)[: scores.rows], nan=-1.0)
        rounded = np.rint(values)
        exact = np.abs(values - rounded) <= error_bound(self.plan)
        sound = exact & (rounded >= 0) & (rounded <= self.plan.max_distance)
        return np.where(sound, rounded, 0).astype(np.int64) + np.where(sound, 0, NO_DISTANCE)

    def _opened_by_seal(self, form: Form, part: bytes) -> NDArray[np.float64]:
        return np.array(self._encoder.decode_double(self._decrypt(parts.ciphertext(self.plan, form, part))))

    def _opener(self, form: Form) -> KernelOpener | None:
        """Kernels that open scores, where they are ready and the plan is theirs."""
        ckks, transforms = (limbs.kernels(family) for family in ("ckks", "bfv"))
        if not (ckks and transforms and limbs.fits_ckks(self.plan) and len(form.moduli) == 2):
            return None
        if self._kernel_opener is None:
            stored = _seal.plaintext_form(self.plan, _seal.Level.KEY)
            secret = stored.read(_seal.save(self._secret))[0].reshape(len(stored.moduli), -1)
            if stored.moduli[:2] != form.moduli:
                return None
            self._kernel_opener = KernelOpener(ckks, transforms, form, secret[:2])
        return self._kernel_opener

    def _blocks(self, levels: Levels) -> Iterator[IndexBlock]:
        slots = self.plan.profile.slots
        for start in range(0, len(levels), slots):
            padded = np.zeros((slots, self.plan.dimension), dtype=np.int64)
            part = levels[start : start + slots]
            padded[: len(part)] = part
            yield self._block(padded)

    def _block(self, levels: Levels) -> IndexBlock:
        index_bits, _ = scales(self.plan)
        tilt = square_tilt(self.plan)
        columns = levels.T.astype(np.float64)
        features = tuple(self._encrypt(column, index_bits) for column in columns)
        if self.plan.weighted:
            squares = tuple(self._encrypt(column * column, index_bits - tilt) for column in columns)
        else:
            squares = ()
        return IndexBlock(features, squares, self._encrypt((columns * columns).sum(axis=0), self.plan.scale_bits))

    def _encrypt(self, values: NDArray[np.float64] | int, scale_bits: int) -> Any:
        """A number for each slot, or one for all of them."""
        plaintext, ciphertext = seal.Plaintext(), seal.Ciphertext()
        encodable = float(values) if isinstance(values, int) else values.tolist()
        self._encoder.encode(encodable, 2.0**scale_bits, plaintext)
        self._encryptor.encrypt_symmetric(plaintext, ciphertext)
        return ciphertext

    @cached_property
    def _encoder(self) -> Any:
        return seal.CKKSEncoder(self._context)

    @cached_property
    def _encryptor(self) -> Any:
        return seal.Encryptor(self._context, self._secret)


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedIndex:
    """A cohort under the gate's key, as the scoring side holds it. Nothing in it can be read without that key."""

    plan: Plan
    rows: int
    binding: bytes
    blocks: Sequence[AnyIndexBlock] = field(repr=False)

    @classmethod
    def map(
        cls,
        path: Path,
        plan: Plan,
        *,
        binding: bytes = UNBOUND,
        key: bytes,
        resident: int = MAX_ROWS,
        lasting: bool = False,
    ) -> EncryptedIndex:
        """An index from a file that ``write_index`` made; at most ``resident`` blocks stay loaded once scored.

        ``lasting``: the file is anonymous memory that nobody else may write to. Its limbs are scored where they lie,
        and processes that map it share them; any other file's are copied before they are checked.

        Raises:
            MalformedBundle: it is not such a file.
        """
        file = BlockFile.map(path, plan=plan, binding=binding, key=key)
        read = partial(read_index_block, plan, file.version)
        copied = not (lasting and file.version == LIMBS)
        return cls(plan, file.rows, binding, MappedBlocks(file, read, resident, copied=copied))

    def shard(self, first: int, last: int) -> EncryptedIndex:
        """The records of blocks ``first .. last - 1``, as an index of its own under the same binding."""
        rows = min(self.rows, last * self.plan.block_rows) - first * self.plan.block_rows
        return EncryptedIndex(self.plan, rows, self.binding, self.blocks[first:last])


def encrypt_gated_query(gate: Bundle, levels: Sequence[int], weights: Sequence[int] | None = None) -> Bundle:
    """Encrypt a query under a gate's public key (``gate``, a decoded ``GATE_PUBLIC_KEY`` bundle).

    Parts: ``-2 w q`` of each feature, then each weight where weights are given, then ``sum w q^2``.

    Raises:
        ParameterError: a level or weight outside the plan.
        MalformedBundle: not a usable public key.
    """
    if gate.kind is not Kind.GATE_PUBLIC_KEY:
        raise MalformedBundle("not a gate's public key")
    plan = gate.plan
    query = PlainQuery.of(plan, levels, weights)
    context = _seal.context_of(plan)
    with _seal.refusing("not a public key for these parameters"):
        encryptor = seal.Encryptor(context, parts.public_key(plan, gate.parts[0]))
    encoder = seal.CKKSEncoder(context)

    def encrypted(value: int, form: Form) -> bytes:
        plaintext, ciphertext = seal.Plaintext(), seal.Ciphertext()
        encoder.encode(float(value), form.scale, plaintext)
        encryptor.encrypt(plaintext, ciphertext)
        return parts.take(ciphertext, form)

    forms = parts.forms(Kind.GATED_QUERY, plan, weighted=weights is not None)
    made = tuple(encrypted(number, form) for number, form in zip(query.numbers(), forms, strict=True))
    return Bundle(Kind.GATED_QUERY, plan, gate.binding, made, weighted=weights is not None)


def score_gated(query: Bundle, index: EncryptedIndex) -> Bundle:
    """Squared distances of every record, encrypted under the gate's key. Needs no key at all.

    Raises:
        MalformedBundle: the query is bound to another cohort, or a part is no fresh ciphertext at its scale.
    """
    plan = index.plan
    if query.kind is not Kind.GATED_QUERY or query.plan != plan or query.binding != index.binding:
        raise MalformedBundle("the query was made for another cohort")
    kernels = limbs.kernels("ckks") if limbs.fits_ckks(plan) else None
    if kernels:
        by_kernels = CkksQuery(kernels, plan, _forms(query), query.parts)
        answers = []
        for block in index.blocks:
            ours = index_in_limbs(plan, block)
            answers.append(by_kernels.answer(ours.limbs, None if query.weighted else ours.norms))
    else:
        answers = _scored_by_seal(query, index)
    return Bundle(Kind.GATED_SCORES, plan, query.binding, tuple(answers), query.weighted, index.rows)


def _scored_by_seal(query: Bundle, index: EncryptedIndex) -> list[bytes]:
    """Every block's score by SEAL's evaluator: the oracle, and every plan without limbs."""
    plan = index.plan
    evaluator = seal.Evaluator(_seal.context_of(plan))
    *factors, offset = _load_query(query)
    (score,) = set(parts.forms(Kind.GATED_SCORES, plan, rows=1))
    answers = []
    for held in index.blocks:
        block = index_of_objects(plan, held)
        with _seal.refusing("a query that cannot be scored"):
            total = _sum_of_products(evaluator, factors, block)
            evaluator.add_inplace(total, offset)
            if not query.weighted:
                evaluator.add_inplace(total, block.norms)
        answers.append(parts.take(total, score))
    return answers


def _sum_of_products(evaluator: Any, factors: list[Any], block: IndexBlock) -> Any:
    columns = block.features + block.squares
    total, product = seal.Ciphertext(), seal.Ciphertext()
    evaluator.multiply(columns[0], factors[0], total)
    for column, factor in zip(columns[1:], factors[1:], strict=False):
        evaluator.multiply(column, factor, product)
        evaluator.add_inplace(total, product)
    return total


def _load_query(query: Bundle) -> list[Any]:
    """A gated query's ciphertexts. Raises ``MalformedBundle``: a part is no fresh ciphertext at its scale."""
    loaded = [parts.ciphertext(query.plan, form, part) for form, part in zip(_forms(query), query.parts, strict=True)]
    if any(part.is_transparent() for part in loaded):
        raise MalformedBundle("a part that is not a freshly encrypted value")
    return loaded


def _forms(query: Bundle) -> list[Form]:
    forms = parts.forms(Kind.GATED_QUERY, query.plan, weighted=query.weighted)
    if len(forms) != len(query.parts):
        raise MalformedBundle("a query of another number of parts")
    return forms
