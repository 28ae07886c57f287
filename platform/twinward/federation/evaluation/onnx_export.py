"""A model as ONNX: from a stay's clinical values to its score, normalisation included, in standard operators only.

Input ``stays``, float32 ``[patients, steps, signals]`` in the units of the model's schema, NaN where nothing was
charted; output ``score``, ``[patients]``. Built by hand, operator by operator (ONNX operator set 17), so nothing of
torch is needed to export, and the graph is what ``detector.normalise`` and the detector's ``scores`` compute: tests
hold both against each other. The file's metadata name the study, the signals and the model's SHA-256.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from twinward.core.errors import BadInput
from twinward.federation.detectors.detector import CLIP, Detector, Parameters
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.detectors.grouped import GroupedDetector
from twinward.federation.detectors.logistic import LogisticDetector
from twinward.federation.detectors.model_file import Model
from twinward.federation.disease_groups import NO_GROUP
from twinward.federation.study import DetectorKind

OPERATOR_SET: Final = 17
_IR_VERSION: Final = 9


def export_onnx(model: Model, group: str = NO_GROUP) -> bytes:
    """The ONNX file of a model; of one with heads, of what scores a disease group's patients.

    Raises:
        BadInput: no group of its study.
    """
    if group not in (NO_GROUP, *(one.name for one in model.study.disease_groups)):
        raise BadInput(f"{model.study.study_id} has no disease group {group!r}", hint="its protocol names them")
    graph = _Graph()
    blocks = _normalised(graph, model)
    if model.study.detector is DetectorKind.DP_VAR:
        score = _dp_var(graph, model, blocks, group)
    elif model.study.detector is DetectorKind.LOGISTIC:
        score = _logistic(graph, model, blocks, group)
    else:
        score = _autoencoder(graph, model, blocks)
    graph.node("Cast", [score], output="score", to=TensorProto.FLOAT)
    content: bytes = graph.to_model(model).SerializeToString()
    return content


class _Graph:
    """Nodes and constants, named as they come."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, operator: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        """One operator with one output; the output's name."""
        name = output or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def nodes(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> list[str]:
        """One operator with several outputs, ``""`` for one that is not wanted."""
        named = [f"t{len(self._nodes)}_{output}" if output else "" for output in outputs]
        self._nodes.append(helper.make_node(operator, inputs, named, **attributes))
        return named

    def constant(self, value: Any, kind: type[np.generic] = np.float32) -> str:
        """A constant's name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(value, kind)), name))
        return name

    def whole(self, *numbers: int) -> str:
        """Whole numbers, as axes and shapes are given."""
        return self.constant(numbers, np.int64)

    def to_model(self, model: Model) -> onnx.ModelProto:
        """The checked file."""
        signals = model.study.signals
        given = helper.make_tensor_value_info(
            "stays", TensorProto.FLOAT, ["patients", signals.steps, len(signals.signal)]
        )
        found = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["patients"])
        graph = helper.make_graph(self._nodes, model.study.study_id, [given], [found], self._constants)
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPERATOR_SET)],
            producer_name="twinward",
            ir_version=_IR_VERSION,
        )
        described = {
            "twinward.study": model.study.study_id,
            "twinward.model_sha256": model.hash().hex(),
            "twinward.signals": json.dumps([{"name": one.name, "unit": one.unit} for one in signals.signal]),
        }
        helper.set_model_props(made, described)
        onnx.checker.check_model(made, full_check=True)
        return made


def _normalised(graph: _Graph, model: Model) -> str:
    """Blocks ``[patients, bins, signals]`` as ``detector.normalise`` makes them."""
    signals, bins = model.study.signals, model.study.bins
    middle = np.array([one.middle for one in signals.signal], np.float32)
    half = np.array([one.half_range for one in signals.signal], np.float32)
    usual = graph.constant(middle)
    missing = graph.node("IsNaN", ["stays"])
    filled = graph.node("Where", [missing, usual, "stays"])
    within = graph.node(
        "Max",
        [graph.node("Min", [filled, graph.constant(middle + CLIP * half)]), graph.constant(middle - CLIP * half)],
    )
    scaled = graph.node("Div", [graph.node("Sub", [within, usual]), graph.constant(half)])
    shape = graph.whole(-1, bins, signals.steps // bins, len(signals.signal))
    charted = graph.node("Cast", [graph.node("Not", [missing])], to=TensorProto.FLOAT)
    axis = graph.whole(2)
    total, count = (
        graph.node("ReduceSum", [graph.node("Reshape", [one, shape]), axis], keepdims=0) for one in (scaled, charted)
    )
    means = graph.node("Div", [total, graph.node("Max", [count, graph.constant(1.0)])])
    last = _carried_forward(graph, means, count, bins)
    share = graph.node("Div", [last, graph.constant(CLIP)])
    return graph.node("Max", [graph.node("Min", [share, graph.constant(1.0)]), graph.constant(-1.0)])


def _carried_forward(graph: _Graph, means: str, count: str, bins: int) -> str:
    """Where nothing was charted, the bin before."""
    if bins == 1:
        return means
    sizes = graph.whole(*[1] * bins)
    names = [f"b{step}" for step in range(bins)]
    steps, counts = (graph.nodes("Split", [one, sizes], names, axis=1) for one in (means, count))
    zero = graph.constant(0.0)
    for step in range(1, bins):
        charted = graph.node("Greater", [counts[step], zero])
        steps[step] = graph.node("Where", [charted, steps[step], steps[step - 1]])
    return graph.node("Concat", steps, axis=1)


def _head(model: Model, group: str) -> tuple[Detector, Parameters]:
    """What scores a group's patients, and by which parameters."""
    detector = model.detector()
    return (
        detector.head(model.parameters, group)
        if isinstance(detector, GroupedDetector)
        else (detector, model.parameters)
    )


def _logistic(graph: _Graph, model: Model, blocks: str, group: str) -> str:
    """The outcome's chance, in double precision; the outcome's own column has no part in it."""
    detector, parameters = _head(model, group)
    if not isinstance(detector, LogisticDetector):
        raise BadInput("this is no early warning")
    weights, inputs = detector.weights(parameters), len(model.study.signals.signal) - 1
    bins, axes = model.study.bins, graph.whole(1, 2)
    levels = graph.node("Cast", [blocks], to=TensorProto.DOUBLE)
    told = graph.node("Slice", [levels, graph.whole(0, 0), graph.whole(bins, inputs), axes])
    last = graph.node("Slice", [levels, graph.whole(bins - 1, 0), graph.whole(bins, inputs), axes])
    by_mean, by_last = (graph.constant(one, np.float64) for one in (weights[:inputs], weights[inputs:-1]))
    means = graph.node("ReduceMean", [told], axes=[1], keepdims=0)
    latest = graph.node("Squeeze", [last, graph.whole(1)])
    odds = graph.node("Add", [graph.node("MatMul", [means, by_mean]), graph.node("MatMul", [latest, by_last])])
    return graph.node("Sigmoid", [graph.node("Add", [odds, graph.constant(weights[-1], np.float64)])])


def _dp_var(graph: _Graph, model: Model, blocks: str, group: str) -> str:
    """The mean Mahalanobis residual, in double precision."""
    detector, parameters = _head(model, group)
    if not isinstance(detector, DpVarDetector):
        raise BadInput("this is no DP-VAR")
    fitted = detector.fitted(parameters)
    levels = graph.node("Cast", [blocks], to=TensorProto.DOUBLE)
    if detector.is_of_rows:
        rows = graph.node("Reshape", [levels, graph.whole(-1, 1, len(fitted.mean_change))])
        surprise = graph.node("Sub", [rows, graph.constant(fitted.mean_change, np.float64)])
    else:
        starts, ends, axis = (graph.whole(at) for at in (0, -1, 1))
        before = graph.node("Slice", [levels, starts, ends, axis])
        after = graph.node("Slice", [levels, graph.whole(1), graph.whole(model.study.bins), axis])
        away = graph.node("Sub", [before, graph.constant(fitted.mean_level, np.float64)])
        foretold = graph.node("MatMul", [away, graph.constant(fitted.W.T, np.float64)])
        changes = graph.node(
            "Sub", [graph.node("Sub", [after, before]), graph.constant(fitted.mean_change, np.float64)]
        )
        surprise = graph.node("Sub", [changes, foretold])
    whitened = graph.node("MatMul", [surprise, graph.constant(fitted.whitening, np.float64)])
    squares = graph.node("ReduceSum", [graph.node("Mul", [whitened, whitened]), graph.whole(2)], keepdims=0)
    return graph.node("ReduceMean", [graph.node("Sqrt", [squares])], axes=[1], keepdims=0)


def _autoencoder(graph: _Graph, model: Model, blocks: str) -> str:
    """The mean squared error of a reconstruction."""
    bins, signals, hidden = model.study.bins, len(model.study.signals.signal), model.study.hidden
    weights = _Weights(model.parameters)
    encoder, decoder = weights.lstm(signals, hidden), weights.lstm(hidden, hidden)
    dense, bias = weights.take(signals, hidden), weights.take(signals)
    by_time = graph.node("Transpose", [blocks], perm=[1, 0, 2])
    _, last = _lstm(graph, by_time, encoder, hidden)
    repeated = graph.node("Expand", [last, graph.whole(bins, 1, hidden)])
    decoded, _ = _lstm(graph, repeated, decoder, hidden)
    steps = graph.node("Transpose", [graph.node("Squeeze", [decoded, graph.whole(1)])], perm=[1, 0, 2])
    made = graph.node("Add", [graph.node("MatMul", [steps, graph.constant(dense.T)]), graph.constant(bias)])
    error = graph.node("Sub", [made, blocks])
    return graph.node("ReduceMean", [graph.node("Mul", [error, error])], axes=[1, 2], keepdims=0)


def _lstm(graph: _Graph, given: str, weights: tuple[NDArray[np.float32], ...], hidden: int) -> tuple[str, str]:
    """All steps ``[bins, 1, patients, hidden]`` and the last one ``[1, patients, hidden]``."""
    named = [graph.constant(one[None]) for one in weights]
    all_steps, last = graph.nodes("LSTM", [given, *named], ["y", "h"], hidden_size=hidden)
    return all_steps, last


class _Weights:
    """A parameter vector, taken apart in the order of the autoencoder's ``parameters()``."""

    def __init__(self, parameters: NDArray[np.float64]) -> None:
        self._left = parameters.astype(np.float32)

    def take(self, *shape: int) -> NDArray[np.float32]:
        """The next weight."""
        size = int(np.prod(shape))
        taken, self._left = self._left[:size].reshape(shape), self._left[size:]
        return taken

    def lstm(self, inputs: int, hidden: int) -> tuple[NDArray[np.float32], ...]:
        """W, R and B of ONNX' LSTM, whose gates stand as input, output, forget, cell."""
        weight_ih, bias_ih = self.take(4 * hidden, inputs), self.take(4 * hidden)
        weight_hh, bias_hh = self.take(4 * hidden, hidden), self.take(4 * hidden)
        order = np.concatenate([np.arange(gate * hidden, (gate + 1) * hidden) for gate in (0, 3, 1, 2)])
        return weight_ih[order], weight_hh[order], np.concatenate([bias_ih[order], bias_hh[order]])
