"""How long a study would take, measured on this machine: one round of one hospital, over made-up stays.

It knows nothing of other hospitals' machines or of the network between them: those are said apart.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import Final

from twinward.features.signal_schema import ICU
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import normalise
from twinward.federation.privacy.accountant import multiplier_of
from twinward.federation.privacy.dp_sum import add_noise, clipped_sum, noise_variance
from twinward.federation.stays.simulated import simulate_signals, simulate_stays
from twinward.federation.study import StudyProtocol

SAMPLE: Final = 128
"""Stays that are measured; a hospital's time is proportional to its own."""


@dataclass(frozen=True, slots=True)
class RunTime:
    """How long a study would take, in seconds.

    Attributes:
        round_s: one hospital's work in a round, on a core as this machine's.
        exchanges: messages to each hospital and back, where nothing is lost.
        apart_s: computing alone where every hospital has a machine of its own; sending comes on top.
        here_s: computing alone where all run on this machine.
    """

    round_s: float
    exchanges: int
    apart_s: float
    here_s: float


def measure_run_time(study: StudyProtocol, *, cores: int | None = None) -> RunTime:
    """Measure a round over made-up stays, and count.

    Raises:
        StudyInvalid: its detector cannot be built.
        ModuleNotFoundError: its detector wants torch, which is not installed.
    """
    detector = build_detector(study)
    made = simulate_stays(SAMPLE, 0) if study.signals == ICU else simulate_signals(study.signals, SAMPLE, 0)
    blocks = normalise(made, study.bins, study.signals)
    parameters = detector.untrained()
    variance = noise_variance(multiplier_of(study), detector.dimension, study.honest)

    def work() -> float:
        started = time.perf_counter()
        clipped_sum(detector.contributions(parameters, blocks), study.clip, detector.dimension)
        return time.perf_counter() - started

    work()  # the first also loads
    patients_s = min(work() for _ in range(3))
    started = time.perf_counter()
    add_noise(clipped_sum(iter(()), study.clip, detector.dimension), variance, os.urandom)
    noise_s = time.perf_counter() - started
    slots = math.ceil(1.25 * study.expected_patients / len(study.hospitals))  # as a site makes room for them
    round_s = patients_s * slots / SAMPLE + noise_s
    exchanges = 1 + study.rounds * (2 if study.sealed else 1)
    apart_s = study.rounds * round_s
    turns = math.ceil(len(study.hospitals) / (cores or os.cpu_count() or 1))
    return RunTime(round_s, exchanges, apart_s, apart_s * turns)
