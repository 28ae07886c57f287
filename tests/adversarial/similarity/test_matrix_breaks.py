"""The two known breaks of matrix encryption, against our own scheme. They succeed: that is why it is called
obfuscation-grade. Should one of these tests ever fail, the documentation is wrong, not the attack.
"""

from __future__ import annotations

import itertools

import numpy as np

from twinward_crypto.matrix.index import OutsourcedIndex, build_index, key_for
from twinward_crypto.matrix.scheme import MatrixKey
from twinward_crypto.matrix.token import EXTRA, centred, make_token

D, TOP, RECORDS = 4, 127, 30


def outsourced() -> tuple[np.ndarray, OutsourcedIndex, MatrixKey]:
    """(plaintext in outsourced order, what the cloud holds, the key that nobody below may touch)."""
    rows = np.random.default_rng(13).integers(0, TOP + 1, (RECORDS, D))
    key = key_for(D, TOP)
    index = build_index(key, rows, top=TOP)
    return rows[index.rows], index, key


def test_one_known_record_and_one_observed_token_reveal_the_others() -> None:
    """C_i T is similar to a triangular matrix with beta_i v_i Q on its diagonal, in one basis for all i.

    So the eigenvalues of (C_i T)(C_0 T + tiny)^-1 are the ratios beta_i v_i / (beta_0 v_0), and zero where a pad is.
    The token's query is not known; record 0 is. One ratio is the constant's, beta_i / beta_0: divided by it, a ratio
    times the known record's coordinate is the other's. Whole levels whose squares add up to the norm, which has a
    ratio of its own, are the record.
    """
    rows, index, key = outsourced()
    m = index.tree.size
    token = make_token(key, [17, 99, 3, 64], 1_000, top=TOP).flat.reshape(m, m).T
    products = index.tree.records.reshape(-1, m, m) @ token
    undo = np.linalg.inv(products[0] + 1e-4 * np.eye(m))
    guesses = [recover(np.linalg.eigvals(product @ undo), rows[0] - TOP / 2) for product in products[1:]]
    exact = sum(guess == [tuple(row)] for guess, row in zip(guesses, rows[1:].tolist(), strict=True))
    assert exact >= 0.75 * (RECORDS - 1)


def recover(ratios: np.ndarray, known: np.ndarray) -> list[tuple[int, ...]]:
    """Every record that the ratios allow, given one known record: nearly always exactly one."""
    allowed = set()
    for constant in ratios[np.abs(ratios) > 1e-3]:
        scaled = (ratios / constant).real
        norms = scaled * (known @ known)
        for levels in itertools.product(*(whole_levels(scaled * coordinate) for coordinate in known)):
            norm = ((np.array(levels) - TOP / 2) ** 2).sum()
            used = [np.abs(scaled * k - (x - TOP / 2)).argmin() for k, x in zip(known, levels, strict=True)]
            if len(set(used)) == D and np.abs(norms - norm).min() < 1e-2:
                allowed.add(levels)
    return sorted(allowed)


def whole_levels(centred_guesses: np.ndarray) -> list[int]:
    levels = centred_guesses + TOP / 2
    near = (np.abs(levels - np.rint(levels)) < 1e-3) & (levels > -0.5) & (levels < TOP + 0.5)
    return sorted(set(np.rint(levels[near]).astype(int).tolist()))


def test_tokens_and_a_few_known_records_reveal_everything() -> None:
    """Traces of records and tokens form a matrix of rank d + 2; d + 3 known records fix the change of basis."""
    rows, index, key = outsourced()
    rng = np.random.default_rng(12)
    tokens = np.array(
        [
            make_token(key, rng.integers(0, TOP + 1, D).tolist(), int(rng.integers(100, 9_000)), top=TOP).flat
            for _ in range(4 * D)
        ]
    )
    gram = index.tree.records @ tokens.T
    rank = D + 2
    singular = np.linalg.svd(gram, compute_uv=False)
    assert singular[rank] < 1e-9 * singular[0]
    assert singular[rank - 1] > 1e-6 * singular[0]
    basis = np.linalg.svd(gram)[0][:, :rank]
    vectors = centred(rows.astype(float), TOP)
    truth = np.column_stack([-2 * vectors, (vectors**2).sum(axis=1) / key.reach, np.full(RECORDS, key.reach)])
    known = D + EXTRA
    equations = []
    for i in range(known):  # basis_i W - beta_i truth_i = 0, linear in W and beta
        for a in range(rank):
            equation = np.zeros(rank * rank + known)
            equation[a : rank * rank : rank] = basis[i]
            equation[rank * rank + i] = -truth[i, a]
            equations.append(equation)
    change = np.linalg.svd(np.array(equations))[2][-1][: rank * rank].reshape(rank, rank)
    guessed = basis @ change
    guessed = guessed / guessed[:, [-1]] * key.reach
    levels = np.rint(guessed[:, :D] / -2 + TOP / 2).astype(int)
    assert np.array_equal(levels, rows)
