"""Ways to break a study's privacy, each put into the product, and checks that must notice.

A check looks from outside: at what hospitals release, through their sites. Every one passes on the product as it is;
every mutant makes its check fail.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy import stats

from tests.integration.federation.kit import HOSPITALS, ask_all, join_all, next_keys, site_of, vectors, words
from twinward.features.monitored_stays import Stays
from twinward.features.signal_schema import SignalSchema
from twinward.federation import site
from twinward.federation.aggregation import secure_aggregation
from twinward.federation.aggregation.contribution import Contribution
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity, RoundSecret, SignedRoundKey, open_sum
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.autoencoder import AutoencoderDetector
from twinward.federation.detectors.detector import Blocks, Detector, Parameters, normalise
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.detectors.scaled_logistic import ScaledLogisticDetector
from twinward.federation.errors import KeyRefused
from twinward.federation.privacy import dp_sum
from twinward.federation.privacy.dp_sum import UNIT, sensitivity
from twinward.federation.site import HospitalSite
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol

pytestmark = pytest.mark.slow

MANY = 1026
"""Beyond the borders of both detectors' chunks."""
BORDERS = (0, 255, 256, 511, 512, 1023, 1024, 1025)

MOMENTS = StudyProtocol.for_dp_var("m", HOSPITALS, bins=4, clip=0.5, expected_patients=3 * MANY)
GRADIENTS = StudyProtocol.for_autoencoder(
    "g", HOSPITALS, bins=3, hidden=2, rounds=2, clip=1e-3, expected_patients=3 * MANY
)
WARNINGS = StudyProtocol.for_logistic("l", HOSPITALS, bins=4, clip=0.5, expected_patients=3 * MANY)
WIDE = StudyProtocol.for_autoencoder("w", HOSPITALS, bins=2, hidden=48, rounds=2, epsilon=1.0, expected_patients=3)
"""33,000 coordinates and no patients: what is released is noise."""

EAST = simulate_stays(MANY, 5, severity=0.9)
EAST[[0, 255, 511, 1024], :, ::2] = 3e38  # as abnormal as it gets
OTHERS = simulate_stays(3, 6)


def with_outcomes(stays: Stays) -> Stays:
    """Every third of them died."""
    died = (np.arange(len(stays)) % 3 == 0).astype(np.float32)
    return np.concatenate([stays, np.broadcast_to(died[:, None, None], (*stays.shape[:2], 1))], axis=2)


def start_of(study: StudyProtocol) -> Parameters:
    untrained = build_detector(study).untrained()
    return untrained + np.random.default_rng(1).normal(0, 0.3, untrained.shape)


def sites_with(east: Stays, others: Stays) -> list[HospitalSite]:
    return [site_of(name, HeldStays(east if name == "east" else others)) for name in HOSPITALS]


def released(study: StudyProtocol, made: list[HospitalSite], rounds: int = 1) -> list[np.ndarray]:
    """What the first rounds open to, each ``[dimension]`` int64."""
    keys, opened = join_all(made, study), []
    for number in range(1, rounds + 1):
        sent = ask_all(made, start_of(study), keys, number)
        opened.append(open_sum(vectors(sent), HOSPITALS))
        keys = next_keys(sent)
    return opened


def without_noise(study: StudyProtocol, east: Stays) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "add_noise", lambda total, *_: total)
        return released(study, sites_with(east, with_outcomes(OTHERS) if study.signals.has_outcome else OTHERS))[0]


# What must hold.


def one_patient_changes_a_sum_by_at_most_the_sensitivity(study: StudyProtocol) -> None:
    east = with_outcomes(EAST) if study is WARNINGS else EAST
    whole = without_noise(study, east)
    for index in BORDERS:
        moved = whole - without_noise(study, np.delete(east, index, 0))
        norm = math.sqrt(sum(int(value) ** 2 for value in moved))
        assert norm <= sensitivity(len(moved)), f"patient {index} moves the sum by {norm / UNIT} C"
        assert norm > 0.4 * UNIT, f"patient {index} hardly counts"


def moments_are_bounded() -> None:
    one_patient_changes_a_sum_by_at_most_the_sensitivity(MOMENTS)


def gradients_are_bounded() -> None:
    one_patient_changes_a_sum_by_at_most_the_sensitivity(GRADIENTS)


def warnings_are_bounded() -> None:
    one_patient_changes_a_sum_by_at_most_the_sensitivity(WARNINGS)


def a_row_is_one_patients_own() -> None:
    for study in (MOMENTS, GRADIENTS, WARNINGS):
        detector, start = build_detector(study), start_of(study)
        east = with_outcomes(EAST[:20]) if study is WARNINGS else EAST[:20]
        blocks = normalise(east, study.bins, study.signals)
        together = np.concatenate(list(detector.contributions(start, blocks)))
        for index in range(20):
            (alone,) = detector.contributions(start, blocks[index : index + 1])
            np.testing.assert_allclose(together[index], alone[0], rtol=1e-4, atol=1e-6)


def needed_multiplier(study: StudyProtocol) -> float:
    """σ by the closed form (Balle & Wang 2018), written out once more."""

    def delta(sigma: float) -> float:
        half, whole = 1 / (2 * sigma), study.epsilon * sigma
        return float(stats.norm.cdf(half - whole) - math.exp(study.epsilon) * stats.norm.cdf(-half - whole))

    low, high = 0.01, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if delta(middle) <= study.delta else (middle, high)
    return high * math.sqrt(study.rounds)


def noise_is_what_two_honest_hospitals_of_three_owe() -> None:
    owed = needed_multiplier(WIDE) * UNIT * math.sqrt(3 / 2)
    for opened in released(WIDE, sites_with(EAST[:0], OTHERS[:0]), 2):
        noise = opened.astype(float)
        assert abs(noise.std() / owed - 1) < 0.02  # five standard errors
        assert abs(noise.mean()) < 5 * owed / math.sqrt(len(noise))


def rounds_and_runs_have_noise_of_their_own() -> None:
    made, again = sites_with(EAST[:0], OTHERS[:0]), sites_with(EAST[:0], OTHERS[:0])
    seen = [*released(WIDE, made, 2), *released(replace_id(WIDE), again)]
    for first in range(3):
        for second in range(first):
            correlation = np.corrcoef(seen[first].astype(float), seen[second].astype(float))[0, 1]
            assert abs(correlation) < 5 / math.sqrt(len(seen[0]))


def noise_comes_from_the_systems_source() -> None:
    assert inspect.signature(HospitalSite).parameters["random_bytes"].default is os.urandom
    drawn = 0

    def counting(size: int) -> bytes:
        nonlocal drawn
        drawn += size
        return os.urandom(size)

    noise = dp_sum.add_noise(np.zeros(1000, np.int64), 1 << 40, counting)
    assert drawn >= 8 * len(noise)


def masks_fill_all_64_bits() -> None:
    made = sites_with(EAST[:0], OTHERS[:0])
    masked = words(made[0].contribute(1, 1, start_of(WIDE), join_all(made, WIDE)))
    for place in range(8):
        counted = np.bincount(masked.view(np.uint8)[place::8], minlength=256)
        assert stats.chisquare(counted).pvalue > 1e-6, f"byte {place}"


def a_key_that_its_hospital_did_not_sign_is_refused() -> None:
    made = sites_with(OTHERS, OTHERS)
    own = join_all(made, MOMENTS)[0]
    stranger = HospitalIdentity.generate("x").signing_key

    def forged(name: str) -> SignedRoundKey:
        posing = HospitalIdentity(name, stranger)
        return RoundSecret(posing, {name: posing.public_key}, own.study, 1).signed_key

    with pytest.raises(KeyRefused):
        made[0].contribute(1, 1, start_of(MOMENTS), [own, forged("north"), forged("south")])


def replace_id(study: StudyProtocol) -> StudyProtocol:
    return StudyProtocol.parse(study.model_dump() | {"study_id": "another"})


# What breaks it.

Patch = pytest.MonkeyPatch


def no_clip(patch: Patch) -> None:
    patch.setattr(dp_sum, "clipped_integers", lambda rows, clip: np.rint(rows / clip * UNIT).astype(np.int64))


def clip_each_coordinate(patch: Patch) -> None:
    def clipped(rows: np.ndarray, clip: float) -> np.ndarray:
        return np.rint(np.clip(rows, -clip, clip) / clip * UNIT).astype(np.int64)

    patch.setattr(dp_sum, "clipped_integers", clipped)


def clip_each_hour(patch: Patch) -> None:
    clipped, honest = dp_sum.clipped_integers, DpVarDetector.contributions

    def hourly(self: DpVarDetector, parameters: Parameters, blocks: Blocks) -> Iterator[np.ndarray]:
        total = np.zeros((len(blocks), self.dimension))
        for step in range(blocks.shape[1] - 1):
            rows = np.concatenate(list(honest(self, parameters, blocks[:, step : step + 2])))
            total += clipped(rows, MOMENTS.clip) * (MOMENTS.clip / UNIT)
        yield total

    patch.setattr(DpVarDetector, "contributions", hourly)
    no_clip(patch)


def statistics_of_the_data(patch: Patch) -> None:
    def standardised(held: Stays, bins: int, *signals: SignalSchema) -> Blocks:
        blocks = normalise(held, bins, *signals)
        return np.clip((blocks - blocks.mean(0)) / (blocks.std(0) + 1e-3), -1, 1).astype(np.float32)

    patch.setattr(site, "normalise", standardised)


def _altered(patch: Patch, kind: type[Detector], alter: Callable[[np.ndarray, np.ndarray | None], np.ndarray]) -> None:
    honest = kind.contributions

    def contributions(self: Detector, parameters: Parameters, blocks: Blocks) -> Iterator[np.ndarray]:
        before = None
        for chunk in honest(self, parameters, blocks):
            yield alter(chunk.copy(), before)
            before = chunk

    patch.setattr(kind, "contributions", contributions)


def one_gradient_for_the_batch(patch: Patch) -> None:
    _altered(patch, AutoencoderDetector, lambda chunk, _: np.repeat(chunk.mean(0, keepdims=True), len(chunk), 0))


def a_patient_twice_at_a_border(kind: type[Detector]) -> Callable[[Patch], None]:
    def twice(chunk: np.ndarray, before: np.ndarray | None) -> np.ndarray:
        if before is not None:
            chunk[0] = before[-1]
        return chunk

    return lambda patch: _altered(patch, kind, twice)


def shares_of_all(patch: Patch) -> None:
    honest = dp_sum.noise_variance
    patch.setattr(site, "noise_variance", lambda multiplier, dimension, _: honest(multiplier, dimension, 3))


def a_silent_hospital(patch: Patch) -> None:
    honest = HospitalSite.contribute

    def contribute(self: HospitalSite, *arguments: object) -> Contribution:
        if self.name != "south":
            return honest(self, *arguments)  # type: ignore[arg-type]
        with pytest.MonkeyPatch.context() as silent:
            silent.setattr(site, "add_noise", lambda total, *_: total)
            return honest(self, *arguments)  # type: ignore[arg-type]

    patch.setattr(HospitalSite, "contribute", contribute)


def epsilon_for_each_round(patch: Patch) -> None:
    honest = site.multiplier_of
    patch.setattr(site, "multiplier_of", lambda study: honest(study) / math.sqrt(study.rounds))


def noise_5_percent_low(patch: Patch) -> None:
    honest = dp_sum.noise_variance
    patch.setattr(site, "noise_variance", lambda *given: int(honest(*given) * 0.95**2))


def the_same_noise_every_round(patch: Patch) -> None:
    honest, kept = dp_sum.discrete_gaussian, dict[tuple[int, int], np.ndarray]()

    def same(size: int, variance: int, random_bytes: Callable[[int], bytes]) -> np.ndarray:
        return kept.setdefault((size, variance), honest(size, variance, random_bytes))

    patch.setattr(dp_sum, "discrete_gaussian", same)


def a_seeded_source(patch: Patch) -> None:
    honest, stream = dp_sum.discrete_gaussian, np.random.default_rng(7)
    patch.setattr(dp_sum, "discrete_gaussian", lambda size, variance, _: honest(size, variance, stream.bytes))


def a_seeded_default(patch: Patch) -> None:
    defaults = HospitalSite.__init__.__kwdefaults__ | {"random_bytes": np.random.default_rng(7).bytes}
    patch.setattr(HospitalSite.__init__, "__kwdefaults__", defaults)


def masks_of_32_bits(patch: Patch) -> None:
    honest = secure_aggregation._pair_stream
    patch.setattr(secure_aggregation, "_pair_stream", lambda *given: honest(*given) & np.uint64(0xFFFFFFFF))


def unsigned_keys(patch: Patch) -> None:
    for module in (secure_aggregation, site):
        patch.setattr(module, "verify_round_keys", lambda *_, **__: None)


Check = Callable[[], None]

MUTANTS: list[tuple[Callable[[Patch], None], Check]] = [
    (no_clip, moments_are_bounded),
    (no_clip, gradients_are_bounded),
    (no_clip, warnings_are_bounded),
    (a_patient_twice_at_a_border(ScaledLogisticDetector), warnings_are_bounded),
    (clip_each_coordinate, moments_are_bounded),
    (clip_each_coordinate, gradients_are_bounded),
    (clip_each_hour, moments_are_bounded),
    (statistics_of_the_data, moments_are_bounded),
    (one_gradient_for_the_batch, a_row_is_one_patients_own),
    (a_patient_twice_at_a_border(DpVarDetector), moments_are_bounded),
    (a_patient_twice_at_a_border(AutoencoderDetector), gradients_are_bounded),
    (shares_of_all, noise_is_what_two_honest_hospitals_of_three_owe),
    (a_silent_hospital, noise_is_what_two_honest_hospitals_of_three_owe),
    (epsilon_for_each_round, noise_is_what_two_honest_hospitals_of_three_owe),
    (noise_5_percent_low, noise_is_what_two_honest_hospitals_of_three_owe),
    (the_same_noise_every_round, rounds_and_runs_have_noise_of_their_own),
    (a_seeded_source, noise_comes_from_the_systems_source),
    (a_seeded_default, noise_comes_from_the_systems_source),
    (masks_of_32_bits, masks_fill_all_64_bits),
    (unsigned_keys, a_key_that_its_hospital_did_not_sign_is_refused),
]


@pytest.mark.parametrize("check", list(dict.fromkeys(check for _, check in MUTANTS)), ids=lambda one: one.__name__)
def test_the_product_as_it_is(check: Check) -> None:
    check()


@pytest.mark.parametrize(("mutate", "check"), MUTANTS, ids=lambda one: getattr(one, "__name__", ""))
def test_each_mutant_is_caught(mutate: Callable[[Patch], None], check: Check, monkeypatch: Patch) -> None:
    mutate(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check()
