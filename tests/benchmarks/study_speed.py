"""What a hospital computes in a round of a study: its noise, and its patients' own gradients."""

from __future__ import annotations

import math
import os

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.layers import DPLSTM
from torch import nn

from tests.benchmarks.federation import one_torch_thread
from tests.benchmarks.harness import Arm, Benchmark, Row, Scale, Target, race, versus
from tests.integration.federation.kit import HOSPITALS
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import normalise
from twinward.federation.privacy.discrete_gaussian import discrete_gaussian
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study import StudyProtocol


def noise(scale: Scale) -> list[Row]:
    variance, size = 2**52 + 12345, scale.pick(100_000, 20_000)
    ours, theirs = "exact, from the system's source", "NumPy's normal, rounded"

    def exact() -> object:
        return discrete_gaussian(size, variance, os.urandom)

    def rounded() -> object:
        return np.rint(np.random.default_rng().normal(0, math.sqrt(variance), size)).astype(np.int64)

    return [
        versus(
            f"{size:,} draws of discrete Gaussian noise",
            race([Arm(ours, exact, size), Arm(theirs, rounded, size)], scale.pick(9, 3)),
            ours,
            theirs,
            clock="cpu",
            unit="µs a draw",
            scale=1e6,
            kind="times",
            target=Target("≤1 µs a draw", "value", "most", 1.0),
        )
    ]


class _HookedAutoencoder(nn.Module):
    """The same autoencoder as Opacus has it: DPLSTM, whose hooks work step by step."""

    def __init__(self, signals: int, hidden: int) -> None:
        super().__init__()
        self.encoder = DPLSTM(signals, hidden, batch_first=True)
        self.decoder = DPLSTM(hidden, hidden, batch_first=True)
        self.dense = nn.Linear(hidden, signals)

    def forward(self, blocks: torch.Tensor) -> torch.Tensor:
        start = torch.zeros(1, len(blocks), self.encoder.hidden_size, requires_grad=True)
        encoded, _ = self.encoder(blocks, (start, start.clone()))
        repeated = encoded[:, -1:, :].expand(-1, blocks.shape[1], -1).contiguous()
        decoded, _ = self.decoder(repeated, (start.clone(), start.clone()))
        made: torch.Tensor = self.dense(decoded)
        return made


def gradients(scale: Scale) -> list[Row]:
    patients, chunk = scale.pick(900, 300), 256
    study = StudyProtocol.for_autoencoder("speed", HOSPITALS)
    detector = build_detector(study)
    blocks = normalise(simulate_stays(patients, 1), study.bins)
    hooked = GradSampleModule(_HookedAutoencoder(blocks.shape[2], study.hidden), loss_reduction="sum")
    ours, theirs = "one product over time", "Opacus' hooks on DPLSTM"

    def batched() -> object:
        return [len(rows) for rows in detector.contributions(detector.untrained(), blocks)]

    def by_hooks() -> object:
        for start in range(0, patients, chunk):
            given = torch.tensor(blocks[start : start + chunk], requires_grad=True)
            (((hooked(given) - given.detach()) ** 2).mean((1, 2)).sum() * 10).backward()
            rows = torch.cat([weight.grad_sample.flatten(1) for weight in hooked.parameters()], 1)
            hooked.zero_grad()
        return rows

    with one_torch_thread():
        samples = race([Arm(ours, batched), Arm(theirs, by_hooks)], scale.pick(9, 3))
    row = versus(
        f"LSTM step: each of {patients} patients' own gradient ({detector.dimension:,} numbers)",
        samples,
        ours,
        theirs,
        clock="cpu",
        unit="s",
        scale=1,
        target=Target("≤0.16 s where Opacus took 0.48 s: ≥3×", "ratio", "least", 3.0),
    )
    return [row]


BENCHMARKS = (
    Benchmark("studies.noise", "a round's noise from os.urandom, exact, against rounded floats of no proof", noise),
    Benchmark("studies.gradients", "per-patient gradients of the LSTM autoencoder, 12 bins, one thread", gradients),
)
