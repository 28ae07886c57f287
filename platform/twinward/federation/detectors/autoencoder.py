"""The LSTM autoencoder (after Gupta et al. 2021): encoder, repeat vector, decoder, time-distributed dense.

One sample is one patient's whole stay, so Opacus' samplers (``lstm`` brings one) give each patient's own gradient
exactly. They are called one after the other here: its hooks would add copies and fills that take as long again, and
give the same (tested against ``GradSampleModule``). Its optimizer's noise is not taken either: ours is discrete, from
a cryptographic source, drawn by each hospital for itself (``dp_sum``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample.linear import compute_linear_grad_sample
from torch import Tensor, nn

from twinward.core.errors import BadInput
from twinward.federation.detectors.descent import AdamDescent, MomentumDescent
from twinward.federation.detectors.detector import Blocks, Learner, Parameters
from twinward.federation.detectors.lstm import Lstm, per_patient_gradients
from twinward.federation.detectors.simulated_start import simulated_start
from twinward.federation.study import StudyProtocol

_CHUNK: Final = 256
"""Patients whose gradients are in memory at once: 256 x 10,200 x 4 bytes at the default size."""
_CHUNK_NUMBERS: Final = 1 << 23
"""Gradient numbers in memory at once: the largest model a protocol may have gets smaller chunks."""
_LOSS_SCALE: Final = 10.0
_ONE_AT_A_TIME: Final = threading.Lock()
"""Sites that share a process take turns: passes with Python hooks, in several threads, were seen to stand still."""


class LstmAutoencoder(nn.Module):
    """``[patients, bins, signals]`` to a reconstruction of the same shape, through ``hidden`` numbers."""

    def __init__(self, signals: int, hidden: int) -> None:
        super().__init__()
        self.encoder = Lstm(signals, hidden)
        self.decoder = Lstm(hidden, hidden)
        self.dense = nn.Linear(hidden, signals)

    def forward(self, blocks: Tensor) -> Tensor:
        """Encode, repeat the last state for every bin, decode, map each step to signals."""
        reconstruction: Tensor = self.dense(self.decoder(self._repeated(self.encoder(blocks))))
        return reconstruction

    def loss(self, blocks: Tensor) -> Tensor:
        """The sum of all patients' mean squared errors, scaled."""
        return _loss(self(blocks), blocks)

    def gradients(self, blocks: Tensor) -> Tensor:
        """Each patient's own gradient ``[patients, weights]``, in the order of ``parameters()``."""
        repeated = self._repeated(self.encoder(blocks, summed=False))
        decoded = self.decoder(repeated, summed=False)
        reconstruction = self.dense(decoded)
        reconstruction.retain_grad()
        _loss(reconstruction, blocks).backward()  # type: ignore[no-untyped-call]
        found = per_patient_gradients(self.encoder, [blocks], None)
        found |= per_patient_gradients(self.decoder, [repeated.detach()], None)
        found |= compute_linear_grad_sample(self.dense, [decoded.detach()], reconstruction.grad)
        self.zero_grad()
        return torch.cat([found[weight].flatten(1) for weight in self.parameters()], 1)

    @staticmethod
    def _repeated(encoded: Tensor) -> Tensor:
        return encoded[:, -1:, :].expand(-1, encoded.shape[1], -1).contiguous()


def _loss(reconstruction: Tensor, blocks: Tensor) -> Tensor:
    return ((reconstruction - blocks) ** 2).mean((1, 2)).sum() * _LOSS_SCALE


class AutoencoderDetector:
    """The autoencoder as a ``Detector``.

    Args:
        study: its protocol.
        in_the_open: whether it learns from sums that are neither clipped nor noisy.
    """

    def __init__(self, study: StudyProtocol, *, in_the_open: bool = False) -> None:
        self._study = study
        self._start = simulated_start(study)
        self._in_the_open = in_the_open
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(study.seed)
            self._module = LstmAutoencoder(len(study.signals.signal), study.hidden)
        self._weights = list(self._module.parameters())
        drawn = np.concatenate([weight.detach().numpy().ravel() for weight in self._weights]).astype(np.float64)
        self._untrained = drawn if self._start is None else self._start

    @property
    def dimension(self) -> int:
        """One coordinate per weight."""
        return len(self._untrained)

    def untrained(self) -> Parameters:
        """Initial weights: learnt from simulated stays, or drawn from the protocol's seed."""
        return self._untrained.copy()

    def contributions(self, parameters: Parameters, blocks: Blocks) -> Iterator[NDArray[np.float32]]:
        """Each patient's gradient of its own mean squared reconstruction error."""
        self._load(parameters)
        size = min(_CHUNK, max(1, _CHUNK_NUMBERS // self.dimension))
        for start in range(0, len(blocks), size):
            part = blocks[start : start + size]
            # Always the same shape: a smaller batch rounds otherwise, and a patient's own gradient would depend on how
            # many others there are.
            filled = np.zeros((size, *blocks.shape[1:]), np.float32)
            filled[: len(part)] = part
            with _ONE_AT_A_TIME:
                rows: NDArray[np.float32] = self._module.gradients(torch.from_numpy(filled)).numpy()
            yield rows[: len(part)]

    def summed(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """The plain sum of all gradients, by one ordinary backward pass: for training in the open."""
        self._load(parameters)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # matrices this small lose more to waiting on each other than they gain
        try:
            gradients = torch.autograd.grad(self._module.loss(torch.from_numpy(blocks)), self._weights)
        finally:
            torch.set_num_threads(threads)
        return np.concatenate([gradient.numpy().ravel() for gradient in gradients]).astype(np.float64)

    def learner(self) -> Learner:
        """Descent along the mean gradient, the cohort's size being the protocol's public guess."""
        study = self._study
        if self._start is None or self._in_the_open:
            return AdamDescent(self.untrained(), study.learning_rate, study.expected_patients)
        return MomentumDescent(self.untrained(), study.learning_rate, study.expected_patients, study.clip)

    def scores(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """Mean squared reconstruction error of each stay."""
        self._load(parameters)
        with torch.no_grad():
            given = torch.from_numpy(blocks)
            errors: NDArray[np.float64] = ((self._module(given) - given) ** 2).mean((1, 2)).double().numpy()
        return errors

    def by_signal(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """What of each score is each signal's ``[patients, signals]``; they sum to it."""
        self._load(parameters)
        with torch.no_grad():
            given = torch.from_numpy(blocks)
            parts: NDArray[np.float64] = (
                (((self._module(given) - given) ** 2).mean(1) / blocks.shape[2]).double().numpy()
            )
        return parts

    def _load(self, parameters: Parameters) -> None:
        if parameters.shape != self._untrained.shape or not bool(np.isfinite(parameters).all()):
            raise BadInput(f"this autoencoder has {self.dimension} finite parameters")
        offset = 0
        with torch.no_grad():
            for weight in self._weights:
                part = parameters[offset : offset + weight.numel()].astype(np.float32)
                weight.copy_(torch.from_numpy(part).view_as(weight))
                offset += weight.numel()
