"""Hospitals that ruin a study's sums, as tests and benchmarks play them: on sums, and as sites that answer masked."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tests.integration.federation.kit import seeded_bytes
from twinward.features.monitored_stays import Stays
from twinward.federation.aggregation.groups import deal_groups
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Blocks, Detector, Parameters, normalise
from twinward.federation.privacy.accountant import multiplier_of
from twinward.federation.privacy.discrete_gaussian import discrete_gaussian
from twinward.federation.privacy.dp_sum import Integers, clipped_sum, decode, noise_variance
from twinward.federation.site import HospitalSite, _Participation
from twinward.federation.study import StudyProtocol
from twinward.federation.suspicion.suspects import GroupSum

NINE = tuple(f"h{number}" for number in range(9))


@dataclass(frozen=True)
class Attack:
    """What a liar does to its own sum.

    Attributes:
        name: in words.
        times: what it multiplies its patients' sum by.
        noise: what it multiplies the variance of its noise by.
        elsewhere: whether it sends a sum as long in a direction of its own.
        flips_outcome: whether it swaps its patients' outcomes.
    """

    name: str
    times: int = 1
    noise: int = 1
    elsewhere: bool = False
    flips_outcome: bool = False

    def blocks(self, blocks: Blocks) -> Blocks:
        """Its patients, as it says they are."""
        if not self.flips_outcome:
            return blocks
        flipped = blocks.copy()
        flipped[:, :, -1] *= -1
        return flipped

    def sum(self, honest: Integers, seed: int) -> Integers:
        """Its sum, before noise."""
        if self.elsewhere:
            drawn = np.random.default_rng(seed).normal(size=len(honest))
            return np.rint(drawn / np.linalg.norm(drawn) * np.linalg.norm(honest.astype(float))).astype(np.int64)
        return self.times * honest


HONEST = Attack("honest")
ATTACKS = (
    Attack("twice the noise variance", noise=2),
    Attack("10 times the noise", noise=100),
    Attack("1,000 times the noise", noise=10**6),
    Attack("sums turned around", times=-1),
    Attack("turned around, 5 times as long", times=-5),
    Attack("another direction", elsewhere=True),
)
FLIPPED = Attack("outcomes swapped", flips_outcome=True)


def released(
    study: StudyProtocol, stays: Mapping[str, Stays], liars: Mapping[str, Attack], seed: int
) -> list[GroupSum]:
    """Every group's sum of a study: clipped contributions and discrete noise as sites add them; masks cancel."""
    detector = build_detector(study)
    variance = noise_variance(multiplier_of(study), detector.dimension, study.honest)
    blocks = {
        name: liars.get(name, HONEST).blocks(normalise(stays[name], study.bins, study.signals))
        for name in study.hospitals
    }
    learner, found = detector.learner(), list[GroupSum]()
    random_bytes, chance = seeded_bytes(seed), random.Random(seed)
    own: dict[str, Integers] = {}
    for number in range(1, study.rounds + 1):
        if number == 1 or not study.repeats:
            own = {name: _own(study, detector, learner.parameters, blocks[name]) for name in study.hospitals}
        noisy = {}
        for index, name in enumerate(study.hospitals):
            attack = liars.get(name, HONEST)
            noise = discrete_gaussian(detector.dimension, variance * attack.noise, random_bytes)
            noisy[name] = attack.sum(own[name], seed * 100 + index) + noise
        groups = deal_groups(study.hospitals, study.group_size, [one.members for one in found], chance)
        found += [GroupSum(number, group, sum(noisy[name] for name in group)) for group in groups]
        if not study.repeats:
            learner.learn(decode(sum(noisy.values()), study.clip))
    return found


def _own(study: StudyProtocol, detector: Detector, parameters: Parameters, blocks: Blocks) -> Integers:
    return clipped_sum(detector.contributions(parameters, blocks), study.clip, detector.dimension)


class _Turned:
    """A detector whose contributions are multiplied."""

    def __init__(self, detector: Detector, times: float) -> None:
        self._detector, self._times = detector, times
        self.dimension = detector.dimension

    def contributions(self, parameters: Parameters, blocks: Blocks) -> Iterator[np.ndarray]:
        return (self._times * chunk for chunk in self._detector.contributions(parameters, blocks))


def lying_site(site: HospitalSite, attack: Attack) -> HospitalSite:
    """The same site, which turns its patients' contributions around or adds more noise, under honest masks."""
    honest: Callable[..., _Participation] = site._take_part

    def take_part(study: StudyProtocol, *, over: bool) -> _Participation:
        part = honest(study, over=over)
        detector = _Turned(part.detector, attack.times)
        return replace(part, variance=part.variance * attack.noise, detector=detector)  # type: ignore[arg-type]

    site._take_part = take_part  # type: ignore[method-assign]
    return site
