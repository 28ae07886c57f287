"""The LSTM layer against Opacus' DPLSTM, torch's own LSTM, and Opacus' hooks over the whole autoencoder."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from opacus import GradSampleModule
from opacus.layers import DPLSTM
from torch import Tensor, nn

from twinward.federation.detectors.autoencoder import LstmAutoencoder
from twinward.federation.detectors.lstm import Lstm, per_patient_gradients


@pytest.fixture(autouse=True)
def _same_weights_each_time() -> Iterator[None]:
    """A layer of one cell may be drawn with a largest gradient that single precision rounds by more than 1e-6 of it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def stays(patients: int = 9, bins: int = 12, signals: int = 24) -> Tensor:
    return torch.rand(patients, bins, signals, generator=torch.Generator().manual_seed(patients)) * 2 - 1


def close(ours: Tensor | None, theirs: Tensor | None) -> None:
    """Within 1e-6 of the largest gradient."""
    assert ours is not None
    assert theirs is not None
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1e-6 * float(theirs.abs().max())


@pytest.mark.parametrize(("patients", "steps", "signals", "hidden"), [(9, 12, 24, 7), (1, 2, 3, 1), (5, 48, 24, 24)])
def test_outputs_and_gradients_are_those_of_opacus(patients: int, steps: int, signals: int, hidden: int) -> None:
    layer, theirs = Lstm(signals, hidden), DPLSTM(signals, hidden, batch_first=True)
    for ours, other in zip(layer.parameters(), theirs.parameters(), strict=True):
        other.data = ours.data.clone()
    hooked = GradSampleModule(theirs, loss_reduction="sum")
    given = stays(patients, steps, signals)
    own, other_given = given.clone().requires_grad_(), given.clone().requires_grad_()
    start = torch.zeros(1, patients, hidden, requires_grad=True)
    outputs, expected = layer(own), hooked(other_given, (start, start.clone()))[0]
    close(outputs.detach(), expected.detach())
    weights = stays(patients, steps, hidden)
    (outputs * weights).sum().backward()
    (expected * weights).sum().backward()
    close(own.grad, other_given.grad)
    found = per_patient_gradients(layer, [given], None)
    for ours, other in zip(layer.parameters(), hooked.parameters(), strict=True):
        close(found[ours], other.grad_sample)
        close(ours.grad, other.grad)


def test_it_is_torchs_lstm() -> None:
    layer, torchs = Lstm(24, 6), nn.LSTM(24, 6, batch_first=True)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(torchs, f"{name}_l0").data = getattr(layer, name).data.clone()
    close(layer(stays()).detach(), torchs(stays())[0].detach())


def test_the_autoencoders_gradients_are_those_of_opacus_hooks() -> None:
    module = LstmAutoencoder(24, 8)
    hooked = GradSampleModule(copy.deepcopy(module), loss_reduction="sum")
    given = stays(33)
    rows = module.gradients(given)
    with_gradient = given.clone().requires_grad_()  # torch warns of hooks on layers whose inputs want none
    (((hooked(with_gradient) - given) ** 2).mean((1, 2)).sum() * 10).backward()
    samples = [weight.grad_sample.flatten(1) for weight in hooked.parameters()]
    close(rows, torch.cat(samples, 1))


def test_gradients_are_asked_for_once_after_a_pass_back() -> None:
    layer = Lstm(24, 2)
    layer(stays()).sum().backward()
    assert len(per_patient_gradients(layer, [stays()], None)) == 4
    with pytest.raises(RuntimeError, match="once"):
        per_patient_gradients(layer, [stays()], None)
