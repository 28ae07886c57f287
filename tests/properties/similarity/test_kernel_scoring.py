"""Kernels score bit for bit as SEAL does, and refuse what it refuses, whatever a vendor sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels import kernels, plainly
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic import database, limbs, parts, scoring
from twinward_crypto.homomorphic.database import Database, in_limbs, of_objects
from twinward_crypto.homomorphic.gated import EncryptedIndex, GateKey, encrypt_gated_query, score_gated
from twinward_crypto.homomorphic.index_block import index_in_limbs, index_of_objects
from twinward_crypto.homomorphic.parameters import FAST, GATED, MEDIUM, Plan, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.residues import pack
from twinward_crypto.homomorphic.scoring import score
from twinward_crypto.homomorphic.wire import Bundle, Kind

FORGED = ("zeros", "largest", "random", "one")


@pytest.fixture(autouse=True)
def bfv(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Kernels are there, and what pads answers is the same twice."""
    for family in ("residues", "bfv", "ckks"):
        kernels(family)
    monkeypatch.setattr(scoring.os, "urandom", lambda count: bytes(k * 37 % 251 for k in range(count)))
    return kernels("bfv")


def outcome(do: Callable[[], Bundle]) -> Bundle | type[Exception]:
    """An answer, or how it is refused."""
    try:
        return do()
    except MalformedBundle as error:
        return type(error)


def both(do: Callable[[], Bundle]) -> Bundle | type[Exception]:
    """By kernels and by SEAL, which agree."""
    by_kernels = outcome(do)
    with plainly():
        assert outcome(do) == by_kernels
    return by_kernels


def levels_of(made: Plan, count: int, seed: int) -> np.ndarray:
    """Random rows, one of zeros and one of the highest levels."""
    rows = np.random.default_rng(seed).integers(0, made.levels, (count, made.dimension))
    rows[0], rows[-1] = 0, made.levels - 1
    return rows


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """What the fast profile holds."""
    levels, weight = draw(st.sampled_from([(2, 3), (3, 3), (16, 3), (128, 1)]))
    grouping, width = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 5]))
    return plan(draw(st.integers(1, 9)), levels, weight, grouping=grouping, noise_width=width, profile=FAST)


@settings(max_examples=6, deadline=None)
@given(plans(), st.integers(0, 10**6), st.data())
def test_vendor_key_scores_are_seals(made: Plan, seed: int, data: st.DataObject) -> None:
    assert limbs.fits_bfv(made)
    rows = levels_of(made, made.block_rows + 3, seed)
    built, key = Database.build(made, rows), QueryKey.generate(made)
    edge = st.sampled_from([0, made.levels - 1]) | st.integers(0, made.levels - 1)
    query = data.draw(st.lists(edge, min_size=made.dimension, max_size=made.dimension))
    weights = [made.max_weight] * made.dimension if made.weighted and data.draw(st.booleans()) else None
    asked = key.encrypt_query(query, weights)
    noise = np.arange(len(rows)) % made.noise_width
    hidden = np.arange(len(rows)) % 7 == 3
    answer = both(lambda: score(asked.bundle, built, noise=noise, hidden=hidden))
    assert isinstance(answer, Bundle)
    wanted = ((rows - query) ** 2 * (made.max_weight if weights else 1)).sum(axis=1) + noise
    assert np.array_equal(key.decrypt_distances(asked, answer)[~hidden], wanted[~hidden])
    form = parts.forms(Kind.SCORES, made, rows=1)[0]
    assert key._decryptor.invariant_noise_budget(parts.ciphertext(made, form, answer.parts[0])) > 0


@pytest.mark.parametrize("levels", [2, 3, 128])
def test_a_block_is_transformed_as_seal_transforms_it(levels: int, bfv: ModuleType) -> None:
    made = plan(3, levels, 2, weighted=True, profile=FAST)
    filled = database._filled(made, levels_of(made, 99, levels))
    ours, theirs = database._limb_block(bfv, made, filled), database._block(made, filled)
    for one, other in zip((*ours.limbs, ours.norms), (*in_limbs(made, theirs).limbs, theirs.norms), strict=True):
        assert np.array_equal(one, other)
    again = in_limbs(made, of_objects(made, ours))
    assert all(np.array_equal(one, other) for one, other in zip(again.limbs, ours.limbs, strict=True))


def residues(kind: str, form: object, draw: np.random.Generator) -> np.ndarray:
    """Polynomials that nobody encrypted."""
    moduli, degree, stored = form.moduli, form.degree, form.stored  # type: ignore[attr-defined]
    made = np.zeros((stored, len(moduli), degree), np.uint64)
    for k, prime in enumerate(moduli):
        if kind == "random":
            made[:, k] = draw.integers(0, prime, (stored, degree), dtype=np.uint64)
        elif kind == "largest":
            made[:, k] = prime - 1
        elif kind == "one":
            made[:, k, 0] = 1
    return made


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.lists(st.sampled_from(FORGED), min_size=6, max_size=6), st.integers(0, 10**6))
def test_forged_vendor_key_queries_are_scored_as_seal_scores_them(d: int, kinds: list[str], seed: int) -> None:
    made, draw = plan(d, 128, profile=FAST), np.random.default_rng(seed)
    built = Database.build(made, levels_of(made, 50, seed))
    forms = parts.forms(Kind.QUERY, made)
    seeds = [draw.bytes(64), bytes(64), b"\xff" * 64]
    pieces = tuple(
        pack(residues(kind, form, draw), form.moduli) + seeds[k % 3]
        for k, (kind, form) in enumerate(zip(kinds, forms, strict=False))
    )
    assert isinstance(both(lambda: score(Bundle(Kind.QUERY, made, bytes(32), pieces), built)), Bundle)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(FORGED), min_size=8, max_size=8), st.integers(1, 7), st.integers(0, 10**6))
def test_forged_gated_queries_are_scored_or_refused_as_by_seal(kinds: list[str], d: int, seed: int) -> None:
    made, draw = plan_gated(d, 16, profile=GATED), np.random.default_rng(seed)
    index = gated_index(made, seed)
    forms = parts.forms(Kind.GATED_QUERY, made)
    pieces = tuple(
        pack(residues(kind, form, draw), form.moduli) for kind, form in zip(kinds[-len(forms) :], forms, strict=True)
    )
    answer = both(lambda: score_gated(Bundle(Kind.GATED_QUERY, made, bytes(32), pieces), index))
    assert (answer is MalformedBundle) == ("zeros" in kinds[-len(forms) :])


def gated_index(made: Plan, seed: int) -> EncryptedIndex:
    index = GateKey.generate(made).encrypt_index(levels_of(made, 9, seed))
    return replace(index, blocks=tuple(index_in_limbs(made, block) for block in index.blocks))


@settings(max_examples=3, deadline=None)
@given(st.integers(1, 7), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 10**6))
def test_gated_scores_are_seals(d: int, weight: int, weighted: bool, seed: int) -> None:
    made = plan_gated(d, 16, weight, profile=GATED)
    assert limbs.fits_ckks(made)
    gate, rows = GateKey.generate(made), levels_of(made, made.block_rows + 2, seed)
    index = gate.encrypt_index(rows)
    kept = replace(index, blocks=tuple(index_in_limbs(made, block) for block in index.blocks))
    weights = [weight] * d if made.weighted and weighted else None
    asked = encrypt_gated_query(gate.public_bundle(), rows[3].tolist(), weights)
    answer = both(lambda: score_gated(asked, kept))
    assert answer == score_gated(asked, index)
    assert isinstance(answer, Bundle)
    distances = ((rows - rows[3]) ** 2 * (weight if weights else 1)).sum(axis=1)
    assert np.array_equal(gate.open_distances(answer), distances)
    again = index_in_limbs(made, index_of_objects(made, kept.blocks[0]))
    assert all(np.array_equal(a, b) for a, b in zip(again.limbs, kept.blocks[0].limbs, strict=True))  # type: ignore[union-attr]


@settings(max_examples=4, deadline=None)
@given(st.integers(1, 9), st.sampled_from([1, 3]), st.lists(st.sampled_from(FORGED), min_size=2, max_size=2))
def test_the_gate_opens_whatever_it_is_given_as_seal_does(d: int, weight: int, kinds: list[str]) -> None:
    made, draw = plan_gated(d, 128, weight, profile=GATED), np.random.default_rng(d)
    gate, rows = GateKey.generate(made), levels_of(made, 3 * made.block_rows - 5, d)
    honest = score_gated(encrypt_gated_query(gate.public_bundle(), rows[1].tolist()), gate.encrypt_index(rows))
    form = parts.forms(Kind.GATED_SCORES, made, rows=1)[0]
    forged = (pack(residues(kind, form, draw), form.moduli) for kind in kinds)
    scores = replace(honest, parts=(honest.parts[0], *forged))
    found, opener = gate.open_distances(scores), gate._opener(form)
    assert opener is not None
    with plainly():
        assert np.array_equal(found, gate.open_distances(scores))
        assert np.abs(opener.slots(honest.parts[0]) - gate._opened_by_seal(form, honest.parts[0])).max() < 1e-6
    assert np.array_equal(found[: made.block_rows], ((rows - rows[1]) ** 2).sum(axis=1)[: made.block_rows])
    with pytest.raises(MalformedBundle):
        opener.slots(honest.parts[0][:-1])


@pytest.mark.parametrize("weighted", [False, True])
def test_what_an_index_takes_is_known_before_it_is_made(weighted: bool) -> None:
    vendors, gated = plan(3, 16, weighted=weighted, profile=FAST), plan_gated(3, 16, weighted=weighted, profile=GATED)
    rows = levels_of(vendors, vendors.block_rows + 1, 5)
    built, index = Database.build(vendors, rows), GateKey.generate(gated).encrypt_index(rows)
    for made, blocks in ((vendors, built.blocks), (gated, index.blocks)):
        held = sum(one.limbs.low.nbytes + one.limbs.high.nbytes + one.norms.nbytes for one in blocks)  # type: ignore[union-attr]
        assert held == made.prepared_bytes(len(rows))


@pytest.mark.parametrize("cut", [-1, 1, -64, 64, -10_000])
@pytest.mark.parametrize("gated", [False, True])
def test_parts_of_another_length_are_refused(cut: int, gated: bool) -> None:
    made = plan_gated(2, 16, profile=GATED) if gated else plan(2, 16, profile=FAST)
    kind = Kind.GATED_QUERY if gated else Kind.QUERY
    sizes = [parts.size(form) for form in parts.forms(kind, made)]
    pieces = tuple(bytes([3]) * (size + cut if k == 1 else size) for k, size in enumerate(sizes))
    query = Bundle(kind, made, bytes(32), pieces)
    cohort = gated_index(made, 1) if gated else Database.build(made, levels_of(made, 5, 1))
    assert both(lambda: (score_gated if gated else score)(query, cohort)) is MalformedBundle  # type: ignore[operator]
    few = replace(query, parts=pieces[:1])
    assert both(lambda: (score_gated if gated else score)(few, cohort)) is MalformedBundle  # type: ignore[operator]


@pytest.mark.parametrize("gated", [False, True])
def test_a_coefficient_that_is_not_below_its_prime_is_refused_wherever_it_stands(gated: bool) -> None:
    made = plan_gated(1, 16, profile=GATED) if gated else plan(1, 16, profile=FAST)
    kind = Kind.GATED_QUERY if gated else Kind.QUERY
    cohort = gated_index(made, 1) if gated else Database.build(made, levels_of(made, 5, 1))
    forms, draw = parts.forms(kind, made), np.random.default_rng(3)
    for prime in range(len(forms[0].moduli)):
        for place in (0, 7, made.profile.degree - 1):
            made_of = [residues("random", form, draw) for form in forms]
            made_of[0][-1, prime, place] = forms[0].moduli[prime]
            tail = b"" if gated else bytes(64)
            pieces = tuple(pack(one, form.moduli) + tail for one, form in zip(made_of, forms, strict=True))
            query = Bundle(kind, made, bytes(32), pieces)
            assert both(lambda: (score_gated if gated else score)(query, cohort)) is MalformedBundle  # type: ignore[operator]  # noqa: B023


def test_a_word_that_seal_would_draw_again_is_left_to_seal(bfv: ModuleType) -> None:
    prime = limbs.ring(plan(2, 16, profile=FAST)).prime
    words = np.full(512, 7, np.uint64)
    assert bfv.uniform(words, prime)
    words[511] = np.iinfo(np.uint64).max
    assert not bfv.uniform(words, prime)
    made = plan(2, 16, profile=FAST)
    built, key = Database.build(made, levels_of(made, 9, 2)), QueryKey.generate(made)
    asked = key.encrypt_query([3, 4])
    whole = score(asked.bundle, built)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twinward_crypto.homomorphic.kernel_scoring.BfvQuery._expand", lambda *_: False)
        assert score(asked.bundle, built) == whole


def test_other_profiles_are_scored_by_seal() -> None:
    assert not limbs.fits_bfv(plan(4, 16, profile=MEDIUM))
    assert not limbs.fits_ckks(plan_gated(2, 4, weighted=False, profile=None)) or plan_gated(2, 4).profile is GATED
