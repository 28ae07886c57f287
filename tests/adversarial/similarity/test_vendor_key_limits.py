"""What vendor-key mode does not stop, shown: trilateration without a bound, and a query that is formed by hand.

These attacks succeed against bare scoring. What holds against the first is the bound on queries (at most d an epoch,
``Similarity.answer_vendor_key``); against the second nothing here does, and the documentation says so.
"""

from __future__ import annotations

import numpy as np
import pytest
import tenseal.sealapi as seal

from twinward_crypto.homomorphic import _seal, parts, wire
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.parameters import CIRCUIT_PRIVATE, FAST, Plan, plan
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.scoring import score

D, LEVELS = 4, 128
ROWS = np.random.default_rng(21).integers(0, LEVELS, (50, D))


def ask(key: QueryKey, database: Database, query: list[int], noise: np.ndarray | None = None) -> np.ndarray:
    asked = key.encrypt_query(query)
    return key.decrypt_distances(asked, score(asked.bundle, database, noise=noise))


def located(queries: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Records from distances to d + 1 points: differences of squares are linear."""
    left = -2 * (queries[1:] - queries[0])
    right = (distances[1:] - distances[0]).T - ((queries[1:] ** 2).sum(axis=1) - (queries[0] ** 2).sum())
    return np.linalg.lstsq(left, right.T, rcond=None)[0].T


def test_d_plus_one_exact_answers_locate_every_record_and_d_do_not() -> None:
    made = plan(D, LEVELS, profile=FAST)
    key, database = QueryKey.generate(made), Database.build(made, ROWS)
    queries = np.vstack([np.zeros(D, dtype=int), np.diag([100] * D)])
    answers = np.array([ask(key, database, query.tolist()) for query in queries])
    assert np.array_equal(np.rint(located(queries, answers)).astype(int), ROWS)
    short = np.rint(located(queries[:-1], answers[:-1])).astype(int)
    assert (short == ROWS).all(axis=1).mean() < 0.2


def test_noise_blurs_what_trilateration_finds() -> None:
    made = plan(D, LEVELS, profile=FAST, noise_width=4096)
    key, database = QueryKey.generate(made), Database.build(made, ROWS)
    queries, rng = np.vstack([np.zeros(D, dtype=int), np.diag([100] * D)]), np.random.default_rng(5)
    answers = np.array([ask(key, database, q.tolist(), rng.integers(0, 4096, len(ROWS))) for q in queries])
    assert (np.rint(located(queries, answers)).astype(int) == ROWS).all(axis=1).mean() < 0.2


@pytest.mark.parametrize("profile", [FAST, CIRCUIT_PRIVATE])
def test_a_query_formed_by_hand_reads_two_features_at_once(profile: object) -> None:
    """Two answers, to "0" and to "-2 q = (1, 128, 0, ...)", differ by x_1 + 128 x_2: no honest query asks that."""
    made = plan(D, LEVELS, profile=profile)
    key, database = QueryKey.generate(made), Database.build(made, ROWS)
    nothing, packed = (linear(key, made, values) for values in ([0] * D, [1, LEVELS, 0, 0]))
    difference = (raw(key, database, packed) - raw(key, database, nothing)) % made.plain_modulus
    shifted = difference - 1 - LEVELS  # levels are shifted by one inside
    assert np.array_equal(shifted % LEVELS, ROWS[:, 0])
    assert np.array_equal(shifted // LEVELS, ROWS[:, 1])


def linear(key: QueryKey, made: Plan, values: list[int]) -> wire.Bundle:
    """A query bundle whose factors were chosen freely."""
    encryptor = seal.Encryptor(key._context, key._secret)
    constants = [_seal.polynomial(made, np.array([value], dtype=np.uint64)) for value in values]
    things = [encryptor.encrypt_symmetric(constant) for constant in constants]
    if made.profile.floods:
        things.append(key._public)
    forms = parts.forms(wire.Kind.QUERY, made)
    taken = tuple(parts.take(thing, form) for thing, form in zip(things, forms, strict=True))
    return wire.Bundle(wire.Kind.QUERY, made, wire.UNBOUND, taken)


def raw(key: QueryKey, database: Database, query: wire.Bundle) -> np.ndarray:
    answer = score(query, database)
    n = database.plan.profile.degree
    form = parts.forms(wire.Kind.SCORES, database.plan, rows=answer.rows)[0]
    return _seal.coefficients(key._decrypt(parts.ciphertext(database.plan, form, answer.parts[0])), n)[: len(ROWS)]
