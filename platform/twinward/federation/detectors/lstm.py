"""An LSTM layer that gives each patient's own gradient by one batched product over time.

Opacus' DPLSTM computes an outer product for each patient *and step*, and adds them up. But a weight's gradient is
Σ_t δ_t a_tᵀ (δ_t: that of the gates' inputs, a_t: what the weight was applied to), which for all patients together is
one product ``[N, 4H, T] x [N, T, A]``. Forward and backward passes are written out here so that all δ_t are at hand;
Opacus stays the trainer: the layer's gradients are registered as one of its samplers. Weights have DPLSTM's
shapes and order, and gradients are equal to those of its hooks (tested to 1e-6).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from opacus.grad_sample import register_grad_sampler
from torch import Tensor, nn


class Lstm(nn.Module):
    """``[patients, steps, inputs]`` to the hidden state at each step, ``[patients, steps, hidden]``, from zero states.

    Gates in the order of torch: input, forget, cell, output (``nn.LSTM``'s documentation has the formulas).
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        bound = 1 / math.sqrt(hidden)

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

        self.weight_ih, self.bias_ih = weight(4 * hidden, inputs), weight(4 * hidden)
        self.weight_hh, self.bias_hh = weight(4 * hidden, hidden), weight(4 * hidden)
        self.last_pass: tuple[Tensor, Tensor] | None = None
        """Of the pass just gone back through: the gates' gradients ``[patients, 4 hidden, steps]``, states before."""

    def forward(self, given: Tensor, *, summed: bool = True) -> Tensor:
        """All steps; ``summed``: a pass back also leaves the weights' ordinary gradients, summed over patients."""
        weights = (self.weight_ih, self.bias_ih, self.weight_hh, self.bias_hh)
        outputs: Tensor = _Steps.apply(self, summed, given, *weights)  # type: ignore[no-untyped-call]
        return outputs


class _Steps(torch.autograd.Function):
    """The recurrence and its derivative. Inside, tensors are ``[steps, features, patients]``: a gate is contiguous."""

    @staticmethod
    def forward(
        ctx: Any,
        layer: Lstm,
        summed: bool,
        given: Tensor,
        weight_ih: Tensor,
        bias_ih: Tensor,
        weight_hh: Tensor,
        bias_hh: Tensor,
    ) -> Tensor:
        patients, steps, _ = given.shape
        hidden = weight_hh.shape[1]
        gates = torch.matmul(weight_ih, given.permute(1, 2, 0)).add_((bias_ih + bias_hh)[:, None])
        states, cells = given.new_zeros(2, steps + 1, hidden, patients)
        squashed = given.new_empty(steps, hidden, patients)
        for step in range(steps):
            gate = gates[step].addmm_(weight_hh, states[step])
            opened, kept, written, shown = gate.chunk(4)
            gate[: 2 * hidden].sigmoid_()
            written.tanh_()
            shown.sigmoid_()
            torch.mul(kept, cells[step], out=cells[step + 1]).addcmul_(opened, written)
            torch.tanh(cells[step + 1], out=squashed[step])
            torch.mul(shown, squashed[step], out=states[step + 1])
        ctx.layer, ctx.summed = layer, summed
        ctx.save_for_backward(given, weight_ih, weight_hh, gates, states, cells, squashed)
        outputs: Tensor = states[1:].permute(2, 0, 1)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        given, weight_ih, weight_hh, gates, states, cells, squashed = ctx.saved_tensors
        steps, hidden, patients = squashed.shape
        of_outputs = gradients[0].permute(1, 2, 0)
        of_gates, turned = torch.empty_like(gates), weight_hh.T.contiguous()
        of_state, of_cell = given.new_zeros(2, hidden, patients)
        for step in reversed(range(steps)):
            opened, kept, written, shown = gates[step].chunk(4)
            into_opened, into_kept, into_written, into_shown = of_gates[step].chunk(4)
            of_state += of_outputs[step]
            torch.mul(of_state, squashed[step], out=into_shown)  # of the gate's output; below, of its input
            of_cell.addcmul_(of_state, shown).addcmul_(into_shown * shown, squashed[step], value=-1)
            torch.mul(of_cell, opened, out=into_written)
            torch.mul(of_cell, written, out=into_opened)
            torch.mul(of_cell, cells[step], out=into_kept)
            of_gates[step] *= _slopes(gates[step], hidden)
            of_cell *= kept
            torch.mm(turned, of_gates[step], out=of_state)
        by_patient = of_gates.permute(2, 1, 0).contiguous()
        ctx.layer.last_pass = by_patient, states[:-1].permute(2, 0, 1).contiguous()
        of_given = torch.matmul(weight_ih.T, of_gates).permute(2, 0, 1)
        if not ctx.summed:
            return None, None, of_given, None, None, None, None
        of_bias = of_gates.sum((0, 2))
        of_weight_ih = torch.einsum("tgn,nta->ga", of_gates, given)
        of_weight_hh = torch.einsum("tgn,thn->gh", of_gates, states[:-1])
        return None, None, of_given, of_weight_ih, of_bias, of_weight_hh, of_bias


def _slopes(gate: Tensor, hidden: int) -> Tensor:
    """Derivatives of sigmoid (of tanh for the third gate) where it has these values."""
    slopes = torch.addcmul(gate, gate, gate, value=-1)
    slopes[2 * hidden : 3 * hidden] += 1 - gate[2 * hidden : 3 * hidden]
    return slopes


@register_grad_sampler(Lstm)  # type: ignore[untyped-decorator]
def per_patient_gradients(layer: Lstm, activations: list[Tensor], _: Tensor | None) -> dict[nn.Parameter, Tensor]:
    """Each patient's own gradient of each weight ``[patients, …]``, from the pass just gone back through."""
    if layer.last_pass is None:
        raise RuntimeError("gradients of an LSTM are asked for after a pass back through it, and once")
    (by_gate, states), layer.last_pass = layer.last_pass, None
    of_bias = by_gate.sum(2)
    return {
        layer.weight_ih: torch.bmm(by_gate, activations[0]),
        layer.bias_ih: of_bias,
        layer.weight_hh: torch.bmm(by_gate, states),
        layer.bias_hh: of_bias,
    }
