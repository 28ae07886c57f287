"""Attacks on vendor-key mode's distances, through the hospital's own service, with and without the policy.

The policy is ``ServicePolicy``'s default: noise 0 .. 4095 on every distance, at most d queries an epoch, no feature
left out. Without it there is none of the three. What no policy stops is in ``test_vendor_key_limits``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.similarity.fixtures import EPOCH, VENDOR, House, schema_of
from twinward.client import HospitalRefused, Threshold
from twinward.core.errors import BadInput
from twinward.protocol.messages import VendorKeyQuery
from twinward.protocol.terms import Mode
from twinward.similarity.service_policy import ServicePolicy
from twinward_crypto.homomorphic import wire
from twinward_crypto.homomorphic.query import QueryKey

D, LEVELS, PATIENTS = 4, 128, 80
NAMES = ("a", "b", "c", "d")
SCHEMA = schema_of(dict.fromkeys(NAMES, (0, LEVELS - 1)))
ROWS = np.random.default_rng(17).integers(0, LEVELS, (PATIENTS, D))
EVERYBODY = Threshold.squared_levels(1 << 30)
CORNERS = np.vstack([np.zeros(D, dtype=int), 127 * np.eye(D, dtype=int)])


def hospital(folder: Path, *, protected: bool, allowance: int = 10**6) -> House:
    choices = {"noise_width": ServicePolicy().noise_width} if protected else {"vendor_key_profile": "fast"}
    return House(folder, SCHEMA, ROWS, modes=(Mode.VENDOR_KEY,), allowance=D if protected else allowance, **choices)


def distances(house: House, query: np.ndarray) -> np.ndarray:
    """One answer, as ``float64[patients]`` in the order of ``ROWS``."""
    with house.vendor() as vendor:
        told = vendor.query_vendor_key(dict(zip(NAMES, query.astype(float).tolist(), strict=True)), threshold=EVERYBODY)
    by_handle = dict(zip(told.handles, told.distances, strict=True))
    return np.array([by_handle[house.service.secrets.handle(VENDOR.id, twin)] for twin in house.twins], dtype=float)


def unbounded(house: House) -> None:
    """Ask as if nobody counted: only the bound on queries is lifted, the noise stays."""
    house.service._below_trilateration = lambda principal: None  # type: ignore[method-assign]
    house.budget.left[VENDOR.id] = 10**6  # type: ignore[attr-defined]


def test_trilateration_locates_everybody_without_the_policy(tmp_path: Path) -> None:
    house = hospital(tmp_path, protected=False)
    unbounded(house)
    answers = np.array([distances(house, corner) for corner in CORNERS])
    found = (answers[0] - answers[1:] + 127**2).T / 254
    assert np.array_equal(found, ROWS)


def test_trilateration_is_refused_by_the_policy_and_blurred_before(tmp_path: Path) -> None:
    """d queries are answered, the next is refused; what d give is off by some 6.6 levels of 128 in each feature."""
    house = hospital(tmp_path, protected=True)
    answers = np.array([distances(house, corner) for corner in CORNERS[:D]])
    with pytest.raises(HospitalRefused, match="0 queries left"):
        distances(house, CORNERS[D])
    found = (answers[0] - answers[1:] + 127**2).T / 254
    off = found - ROWS[:, : D - 1]
    assert 5 < off.std() < 8.5  # 4096 / sqrt(6) / 254 = 6.6
    assert (np.abs(off) <= 0.5).all(axis=1).mean() <= 0.05  # three of four features of a patient right
    known = np.rint(np.clip(found, 0, 127))
    rest = np.sqrt(np.clip(answers[0] - 2048 - (known**2).sum(axis=1), 0, None))  # the last one from the first distance
    assert (np.abs(rest - ROWS[:, D - 1]) <= 0.5).mean() < 0.15


def test_a_small_noise_would_not_help(tmp_path: Path) -> None:
    """Noise must be large against 2 (levels - 1): up to 63 of it, two queries still tell a feature exactly."""
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.VENDOR_KEY,), allowance=2, noise_width=64)
    zero, far = (distances(house, corner) for corner in CORNERS[:2])
    assert np.array_equal(np.rint((zero - far + 127**2) / 254), ROWS[:, 0])


@pytest.mark.slow
def test_asking_again_averages_the_noise_away_where_nobody_counts(tmp_path: Path) -> None:
    noisy = {"noise_width": ServicePolicy().noise_width, "vendor_key_profile": "fast"}
    house = House(tmp_path, SCHEMA, ROWS, modes=(Mode.VENDOR_KEY,), **noisy)
    unbounded(house)
    service, key = house.service, QueryKey.generate(house.answers.terms().modes[0].plan(SCHEMA))

    def ask(corner: np.ndarray) -> np.ndarray:  # as the client does, without its HTTP
        query = key.encrypt_query(corner.tolist(), binding=service.cohort.binding)
        reply = house.answers.answer_vendor_key(
            VENDOR, VendorKeyQuery.model_construct(epoch=EPOCH, bundle=query.bundle.encode())
        )
        scores = wire.decode(
            reply.bundle,
            kind=wire.Kind.SCORES,
            plan=key.plan,
            binding=service.cohort.binding,
        )
        by_handle = dict(zip(reply.handles, key.decrypt_distances(query, scores), strict=True))
        return np.array([by_handle[service.secrets.handle(VENDOR.id, twin)] for twin in house.twins], dtype=float)

    repeats = 60
    zero, far = (np.mean([ask(corner) for _ in range(repeats)], axis=0) for corner in CORNERS[:2])
    off = (zero - far + 127**2) / 254 - ROWS[:, 0]
    assert off.std() < 1.1  # 6.6 / sqrt(60) = 0.85, and it goes on falling
    assert (np.abs(off) <= 0.5).mean() > 0.3


def test_asking_again_within_the_bound_leaves_features_uncertain(tmp_path: Path) -> None:
    house = hospital(tmp_path, protected=True)
    zero, far = (np.mean([distances(house, corner) for _ in range(D // 2)], axis=0) for corner in CORNERS[:2])
    off = (zero - far + 127**2) / 254 - ROWS[:, 0]
    assert off.std() > 3.5  # 6.6 / sqrt(2) = 4.7
    assert (np.abs(off) <= 0.5).mean() < 0.25
    with pytest.raises(HospitalRefused):
        distances(house, CORNERS[0])


def test_a_query_of_one_feature_reads_it_where_weights_are_allowed(tmp_path: Path) -> None:
    """(x - 0)^2 and some noise: one query, everybody's feature to within some levels, large ones exactly."""
    house = House(
        tmp_path, SCHEMA, ROWS, modes=(Mode.VENDOR_KEY,), allowance=1, noise_width=64, vendor_key_weighted=True
    )
    with house.vendor() as vendor:
        told = vendor.query_vendor_key({"a": 0.0}, threshold=EVERYBODY)
    by_handle = dict(zip(told.handles, told.distances, strict=True))
    found = [by_handle[house.service.secrets.handle(VENDOR.id, twin)] ** 0.5 for twin in house.twins]
    right = np.floor(found) == ROWS[:, 0]
    assert right[ROWS[:, 0] >= 32].all()
    assert house.budget.remaining(VENDOR.id, EPOCH) == 0


def test_by_default_no_feature_can_be_left_out(tmp_path: Path) -> None:
    house = hospital(tmp_path, protected=True)
    with house.vendor() as vendor, pytest.raises(BadInput, match="every feature must be given"):
        vendor.query_vendor_key({"a": 0.0})
    assert not house.answers.terms().modes[0].weighted


def test_more_allowance_than_features_is_refused_with_a_reason(tmp_path: Path) -> None:
    house = hospital(tmp_path, protected=True)
    house.budget.left[VENDOR.id] = D + 1  # type: ignore[attr-defined]
    with pytest.raises(HospitalRefused, match=f"at most {D} queries an epoch.*could be located") as refusal:
        distances(house, CORNERS[0])
    assert f"set the allowance to {D} or less" in refusal.value.hint
    assert house.budget.remaining(VENDOR.id, EPOCH) == D + 1
