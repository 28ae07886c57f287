"""The LSTM autoencoder (after Gupta et al. 2021): encoder, repeat vector, decoder, time-distributed dense.

Opacus' DPLSTM and GradSampleModule give each patient's own gradient exactly: one sample is one patient's whole stay.
Only gradients are taken from Opacus. Its optimizer's noise is not: ours is discrete, from a cryptographic source,
drawn by each hospital for itself (``dp_sum``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.layers import DPLSTM
from torch import Tensor, nn

from twinward.core.errors import BadInput
from twinward.federation.detectors.adam import AdamDescent
from twinward.federation.detectors.detector import Blocks, Parameters
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
        self.encoder = DPLSTM(signals, hidden, batch_first=True)
        self.decoder = DPLSTM(hidden, hidden, batch_first=True)
        self.dense = nn.Linear(hidden, signals)

    def forward(self, blocks: Tensor) -> Tensor:
        """Encode, repeat the last state for every bin, decode, map each step to signals."""
        encoded, _ = self.encoder(blocks, self._start(blocks))
        repeated = encoded[:, -1:, :].expand(-1, blocks.shape[1], -1).contiguous()
        decoded, _ = self.decoder(repeated, self._start(blocks))
        reconstruction: Tensor = self.dense(decoded)
        return reconstruction

    def _start(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Zero states. Where ``blocks`` wants gradients they do too: torch warns of hooks on inputs that don't."""
        zeros = torch.zeros(1, len(blocks), self.encoder.hidden_size, requires_grad=blocks.requires_grad)
        return zeros, zeros.clone()


class AutoencoderDetector:
    """The autoencoder as a ``Detector``."""

    def __init__(self, study: StudyProtocol) -> None:
        self._study = study
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(study.seed)
            self._module = GradSampleModule(
                LstmAutoencoder(len(study.signals.signal), study.hidden), loss_reduction="sum"
            )
        self._weights = list(self._module.parameters())
        self._untrained = np.concatenate([weight.detach().numpy().ravel() for weight in self._weights]).astype(
            np.float64
        )

    @property
    def dimension(self) -> int:
        """One coordinate per weight."""
        return len(self._untrained)

    def untrained(self) -> Parameters:
        """Initial weights, drawn from the protocol's seed."""
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
                rows = self._gradients(filled)
            yield rows[: len(part)]

    def _gradients(self, blocks: Blocks) -> NDArray[np.float32]:
        # An input that wants gradients: torch warns of Opacus' hooks on layers whose inputs do not.
        chunk = torch.tensor(blocks, requires_grad=True)
        error = (self._module(chunk) - chunk.detach()) ** 2
        (error.mean((1, 2)).sum() * _LOSS_SCALE).backward()
        return np.concatenate([_take_gradient(weight, len(chunk)) for weight in self._weights], axis=1)

    def summed(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """The plain sum of all gradients, by one ordinary backward pass: for training in the open."""
        self._load(parameters)
        self._module.disable_hooks()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # matrices this small lose more to waiting on each other than they gain
        try:
            given = torch.tensor(blocks, requires_grad=True)  # for torch's sake, as above
            error = ((self._module(given) - given.detach()) ** 2).mean((1, 2)).sum() * _LOSS_SCALE
            gradients = torch.autograd.grad(error, self._weights)
        finally:
            torch.set_num_threads(threads)
            self._module.enable_hooks()
        return np.concatenate([gradient.numpy().ravel() for gradient in gradients]).astype(np.float64)

    def learner(self) -> AdamDescent:
        """Adam on the mean gradient, the cohort's size being the protocol's public guess."""
        return AdamDescent(self.untrained(), self._study.learning_rate, self._study.expected_patients)

    def scores(self, parameters: Parameters, blocks: Blocks) -> NDArray[np.float64]:
        """Mean squared reconstruction error of each stay."""
        self._load(parameters)
        with torch.no_grad():
            given = torch.from_numpy(blocks)
            errors: NDArray[np.float64] = ((self._module(given) - given) ** 2).mean((1, 2)).double().numpy()
        return errors

    def _load(self, parameters: Parameters) -> None:
        if parameters.shape != self._untrained.shape or not bool(np.isfinite(parameters).all()):
            raise BadInput(f"this autoencoder has {self.dimension} finite parameters")
        offset = 0
        with torch.no_grad():
            for weight in self._weights:
                part = parameters[offset : offset + weight.numel()].astype(np.float32)
                weight.copy_(torch.from_numpy(part).view_as(weight))
                offset += weight.numel()


def _take_gradient(weight: nn.Parameter, patients: int) -> NDArray[np.float32]:
    """The per-patient gradients of one weight, ``[patients, size]``, cleared behind them."""
    gradients: Tensor = weight.__dict__.pop("grad_sample")  # where Opacus' hooks leave them
    weight.grad_sample = None  # type: ignore[attr-defined]  # and look for them on the next pass
    weight.grad = None
    taken: NDArray[np.float32] = gradients.reshape(patients, -1).numpy()
    return taken
