"""Exact scoring under encryption: plans, keys that do not slip, hostile parts, and what each profile must carry."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import tenseal.sealapi as seal

from twinward_crypto.errors import MalformedBundle, MalformedKey, ParameterError
from twinward_crypto.homomorphic import _seal, parts, wire
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.gated import NO_DISTANCE, GateKey, encrypt_gated_query, score_gated
from twinward_crypto.homomorphic.parameters import (
    CIRCUIT_PRIVATE,
    FAST,
    GATED,
    GATED_COMPACT,
    GATED_WIDE,
    MEDIUM,
    PROFILES,
    Plan,
    error_bound,
    plan,
    plan_gated,
)
from twinward_crypto.homomorphic.plain_query import PlainQuery
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.scoring import score

LEVELS = 128


def worst_rows(made: Plan, extra: int = 3) -> np.ndarray:
    """More rows than one block holds: all smallest, all largest, a feature that is zero throughout, random ones."""
    rng = np.random.default_rng(made.dimension)
    rows = rng.integers(0, made.levels, (made.profile.slots + extra, made.dimension))
    rows[:, 0] = 0
    rows[1], rows[-1], rows[2] = 0, made.levels - 1, made.levels - 1
    return rows


def brute(rows: np.ndarray, query: list[int], weights: list[int] | None) -> np.ndarray:
    return ((rows - np.array(query)) ** 2 * (1 if weights is None else np.array(weights))).sum(axis=1)


@pytest.mark.parametrize(
    ("profile", "dimension", "max_weight", "weighted"),
    [(FAST, 16, 1, False), (FAST, 32, 1, False), (MEDIUM, 16, 8, True), (CIRCUIT_PRIVATE, 4, 8, True)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_bfv_is_exact_at_its_extremes(profile, dimension: int, max_weight: int, weighted: bool) -> None:
    made = plan(dimension, LEVELS, max_weight, weighted=weighted, profile=profile)
    rows, key = worst_rows(made), QueryKey.generate(made)
    database = Database.build(made, rows)
    for query in ([LEVELS - 1] * dimension, [0] * dimension):
        weights = [max_weight] * dimension if weighted else None
        asked = key.encrypt_query(query, weights)
        answer = score(wire.decode(asked.bundle.encode(), kind=wire.Kind.QUERY, plan=made), database)
        back = wire.decode(answer.encode(), kind=wire.Kind.SCORES, plan=made)
        assert np.array_equal(key.decrypt_distances(asked, back), brute(rows, query, weights))


@pytest.mark.parametrize(
    ("dimension", "levels", "max_weight", "weighted", "profile"),
    [
        (16, 128, 1, False, GATED),
        (16, 128, 1, True, GATED),
        (32, 128, 1, True, GATED),
        (8, 128, 8, True, GATED_WIDE),
        (4, 8, 1, False, GATED_COMPACT),
    ],
)
def test_gated_rounds_to_the_exact_distance_within_its_bound(dimension, levels, max_weight, weighted, profile) -> None:
    made = plan_gated(dimension, levels, max_weight, weighted=weighted)
    assert made.profile is profile
    rows, key = worst_rows(made), GateKey.generate(made)
    index = key.encrypt_index(rows)
    gate = wire.decode(key.public_bundle().encode(), kind=wire.Kind.GATE_PUBLIC_KEY, plan=made)
    query, weights = [levels - 1] * dimension, [max_weight] * dimension if weighted else None
    answer = score_gated(encrypt_gated_query(gate, query, weights), index)
    expected = brute(rows, query, weights)
    assert np.array_equal(key.open_distances(answer), expected)
    encoder = seal.CKKSEncoder(_seal.context(profile.degree, profile.modulus_bits, 0))
    raw = [
        encoder.decode_double(key._decrypt(parts.ciphertext(made, form, part)))
        for form, part in zip(parts.forms(wire.Kind.GATED_SCORES, made, rows=len(rows)), answer.parts, strict=True)
    ]
    error = np.abs(np.concatenate(raw)[: len(rows)] - expected).max()
    assert 0 < error < error_bound(made) < 0.5


@pytest.mark.parametrize(("dimension", "grouping"), [(16, 4), (5, 2), (3, 8)])
def test_grouped_features_share_ciphertexts(dimension: int, grouping: int) -> None:
    made = plan(dimension, LEVELS, profile=FAST, grouping=grouping)
    alone = plan(dimension, LEVELS, profile=FAST)
    rows = np.random.default_rng(7).integers(0, LEVELS, (made.block_rows * 2 + 3, dimension))
    key, database = QueryKey.generate(made), Database.build(made, rows)
    asked = key.encrypt_query(rows[5].tolist())
    answer = score(asked.bundle, database)
    assert np.array_equal(key.decrypt_distances(asked, answer), brute(rows, rows[5].tolist(), None))
    assert len(asked.bundle.parts) == -(-dimension // grouping) == made.groups
    assert len(answer.parts) == made.blocks(len(rows)) == 3 > alone.blocks(len(rows))


def test_coefficients_between_distances_are_masked() -> None:
    """They would mix neighbouring records' features: each answer draws them anew, uniformly."""
    made = plan(4, LEVELS, profile=FAST, grouping=4)
    key, database = QueryKey.generate(made), Database.build(made, np.full((300, 4), 9))
    asked = key.encrypt_query([1, 2, 3, 4])
    drawn, form = [], parts.forms(wire.Kind.SCORES, made, rows=300)[0]
    for _ in range(2):
        answer = parts.ciphertext(made, form, score(asked.bundle, database).parts[0])
        drawn.append(_seal.coefficients(key._decrypt(answer), made.profile.degree).reshape(-1, 4)[:300])
    assert (drawn[0][:, 3] == drawn[1][:, 3]).all()
    between = np.concatenate([one[:, :3].ravel() for one in drawn])
    assert (drawn[0][:, :3] == drawn[1][:, :3]).mean() < 0.01
    assert abs(between.mean() / made.plain_modulus - 0.5) < 0.05


@pytest.mark.parametrize("grouping", [0, 3, 512])
def test_a_grouping_is_a_power_of_two(grouping: int) -> None:
    with pytest.raises(ParameterError) as refusal:
        plan(4, 16, grouping=grouping)
    assert refusal.value.part == "grouping"


def test_noise_is_added_and_hidden_rows_say_nothing() -> None:
    made = plan(2, 16, noise_width=8, profile=FAST)
    rows, key = np.array([[1, 2], [3, 4], [15, 15]]), QueryKey.generate(made)
    asked = key.encrypt_query([3, 4])
    noise, hidden = np.array([7, 0, 3]), np.array([False, False, True])
    seen = set()
    for _ in range(8):
        got = key.decrypt_distances(asked, score(asked.bundle, Database.build(made, rows), noise=noise, hidden=hidden))
        assert got[:2].tolist() == [8 + 7, 0]
        seen.add(int(got[2]))
    assert len(seen) > 4  # uniform over t >= 512: eight draws rarely coincide
    with pytest.raises(ParameterError, match="noise"):
        score(asked.bundle, Database.build(made, rows), noise=np.array([8, 0, 0]))


def test_every_profile_is_128_bit_secure() -> None:
    for profile in PROFILES.values():
        bound = seal.CoeffModulus.MaxBitCount(profile.degree, seal.SEC_LEVEL_TYPE.TC128)
        assert sum(profile.modulus_bits) <= bound


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((0, 128), "dimension"),
        ((257, 128), "dimension"),
        ((16, 1), "levels"),
        ((16, 1025), "levels"),
        ((16, 128, 0), "max_weight"),
        ((64, 1024, 1024), "max_weight"),
    ],
)
def test_the_planner_names_what_cannot_work(arguments: tuple[int, ...], part: str) -> None:
    with pytest.raises(ParameterError) as refusal:
        plan(*arguments)
    assert refusal.value.part == part


def test_the_planner_refuses_what_a_given_profile_cannot_carry() -> None:
    with pytest.raises(ParameterError) as refusal:
        plan(16, 128, weighted=True, profile=FAST)
    assert "fast" in str(refusal.value)
    with pytest.raises(ParameterError) as refusal:
        plan_gated(16, 128, profile=GATED_COMPACT)
    assert refusal.value.part
    with pytest.raises(ParameterError, match="not a BFV profile"):
        plan(16, 128, profile=GATED)


def test_the_plain_modulus_is_above_every_distance() -> None:
    for dimension, levels, weight, noise in ((1, 2, 1, 1), (16, 128, 1, 64), (7, 1024, 3, 5)):
        made = plan(dimension, levels, weight, noise_width=noise)
        assert made.plain_modulus > made.max_distance + noise - 1


@pytest.mark.parametrize("kind", [QueryKey, GateKey])
def test_a_secret_key_does_not_slip(kind: type[QueryKey] | type[GateKey]) -> None:
    made = plan(2, 16) if kind is QueryKey else plan_gated(2, 16)
    key = kind.generate(made)
    secret = key.dangerously_export_secret()
    assert repr(key) == f"{kind.__name__}({made.profile.name}, secret withheld)"
    for slip in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="does not serialise"):
            slip(key)
    assert kind.restore(made, secret).dangerously_export_secret() != b""
    for bad in (b"", secret[:-1], b"\0" * len(secret), bytes(2 << 20)):
        with pytest.raises(MalformedKey):
            kind.restore(made, bad)


def test_a_restored_key_reads_what_the_first_one_asked() -> None:
    made = plan(2, 16)
    key = QueryKey.generate(made)
    asked = key.encrypt_query([3, 4])
    answer = score(asked.bundle, Database.build(made, np.array([[3, 5]])))
    again = QueryKey.restore(made, key.dangerously_export_secret())
    assert again.decrypt_distances(asked, answer).tolist() == [1]


def test_an_encrypted_query_does_not_show_its_offset() -> None:
    asked = QueryKey.generate(plan(2, 16)).encrypt_query([3, 4])
    assert str(asked.offset) not in repr(asked).replace(str(asked.bundle), "")


@pytest.mark.parametrize("bad", [[1], [1, 2, 3], [-1, 0], [16, 0], [1.0, 2], [True, 0]])
def test_levels_outside_the_plan_are_refused(bad: list[int]) -> None:
    made = plan(2, 16)
    with pytest.raises(ParameterError) as refusal:
        QueryKey.generate(made).encrypt_query(bad)
    assert refusal.value.part == "levels"


@pytest.mark.parametrize("bad", [[[1]], [[-1, 0]], [[16, 0]], [[0.5, 1]], np.empty((0, 2), dtype=int)])
def test_records_outside_the_plan_are_refused(bad: object) -> None:
    with pytest.raises(ParameterError):
        Database.build(plan(2, 16), np.array(bad))
    with pytest.raises(ParameterError):
        GateKey.generate(plan_gated(2, 16)).encrypt_index(np.array(bad))


def test_weights_need_a_plan_that_takes_them() -> None:
    with pytest.raises(ParameterError) as refusal:
        QueryKey.generate(plan(2, 16)).encrypt_query([1, 2], [1, 1])
    assert refusal.value.part == "weights"


def test_a_query_for_another_cohort_is_refused() -> None:
    made = plan(2, 16)
    asked = QueryKey.generate(made).encrypt_query([1, 2], binding=bytes([1]) * 32)
    with pytest.raises(MalformedBundle, match="another cohort"):
        score(asked.bundle, Database.build(made, np.array([[1, 2]])))


def test_ciphertexts_of_another_shape_are_refused() -> None:
    """Well-framed parts that are not fresh: an answer, a plaintext, a ciphertext of another scheme."""
    made = plan(1, 16)
    key, database = QueryKey.generate(made), Database.build(made, np.array([[1]]))
    asked = key.encrypt_query([3]).bundle
    gated = GateKey.generate(plan_gated(1, 16))
    other = encrypt_gated_query(gated.public_bundle(), [3]).parts[0]
    ciphertext = parts.ciphertext(made, parts.forms(wire.Kind.QUERY, made)[0], asked.parts[0])
    for found in (score(asked, database).parts[0], other, _seal.save(seal.Plaintext("5")), _seal.save(ciphertext)):
        forged = wire.Bundle(wire.Kind.QUERY, made, wire.UNBOUND, (found,))
        with pytest.raises(MalformedBundle):
            score(forged, database)


def test_a_score_that_is_no_distance_is_no_match_and_no_error() -> None:
    """Scored without the gate's check: off by a half, below zero, too large. Rows never turn into an error."""
    made = plan_gated(1, 16)
    key = GateKey.generate(made)
    index, gate = key.encrypt_index(np.array([[3], [5]])), key.public_bundle()
    honest = encrypt_gated_query(gate, [3])
    context = _seal.context(made.profile.degree, made.profile.modulus_bits, 0)
    for constant, expected in (
        (9.5, [NO_DISTANCE, NO_DISTANCE]),
        (400.0, [NO_DISTANCE, NO_DISTANCE]),
        (5.0, [NO_DISTANCE, 0]),
        (9.0, [0, 4]),
    ):
        plaintext, ciphertext = seal.Plaintext(), seal.Ciphertext()
        seal.CKKSEncoder(context).encode(constant, 2.0**made.scale_bits, plaintext)
        seal.Encryptor(context, parts.public_key(made, gate.parts[0])).encrypt(plaintext, ciphertext)
        offset = parts.take(ciphertext, parts.forms(wire.Kind.GATED_QUERY, made)[-1])
        query = wire.Bundle(wire.Kind.GATED_QUERY, made, wire.UNBOUND, (honest.parts[0], offset))
        assert key.open_distances(score_gated(query, index)).tolist() == expected
        if constant == 9.0:
            assert key.open_query(query) == PlainQuery((3,))
        else:
            with pytest.raises(MalformedBundle, match="no well-formed query"):
                key.open_query(query)
