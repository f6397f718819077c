"""A network as an ONNX graph of standard operators, the batch first as in `Network.predict`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.equations.expr import topological
from tidegate.errors import InputError
from tidegate.interchange.conventions.activations import IDENTITY, NAMES, Activation
from tidegate.interchange.conventions.forms import USUAL
from tidegate.interchange.conventions.weights import into
from tidegate.interchange.layers import (
    Activate,
    Dense,
    Dropout,
    Embedding,
    Normalisation,
    Pool,
    Recurrent,
)
from tidegate.interchange.network import Network

OPSET = 17  # read by older runtimes, too
_DIRECTIONS = {(False,): "forward", (True,): "reverse", (False, True): "bidirectional"}
_WITH_NUMBERS = {
    "Affine",
    "LeakyRelu",
    "ThresholdedRelu",
    "ScaledTanh",
    "HardSigmoid",
    "Elu",
    "Celu",
}
_OPERATORS = {
    *("Tanh", "Sigmoid", "Relu", "LeakyRelu", "HardSigmoid", "Elu", "Celu", "Selu", "Softsign"),
    *("Softplus", "ThresholdedRelu", "Softmax", "HardSwish", "Exp"),
}
_WITH_BETA = {"Affine", "ScaledTanh", "HardSigmoid"}


def onnx_bytes(network: Network) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of an ONNX model, and what is not in it.

    Its input is ``tokens``, int64 [batch, time], or ``x``, float32 [batch, time, I]; its output is
    ``y``.  All steps of all rows are true ones.  Raises InputError for what ONNX does not have.
    """
    from tidegate.onnx.graph import Graph, tensor

    writer = _Writer(Graph(OPSET))
    size = network.input_size
    name = "tokens" if size is None else "x"
    shape = ["batch", "time"] if size is None else ["batch", "time", size]
    given = tensor(name, np.int64 if size is None else np.float32, shape)
    value, axes = name, ["batch", "time"]
    width = size or 0
    for layer in network.layers:
        value = writer.layer(layer, value, len(axes) == 2)
        match layer:
            case Embedding(_, weight):
                width = weight.shape[1]
            case Dense(_, weight):
                width = len(weight)
            case Recurrent():
                width = layer.output_size
        if isinstance(layer, Pool) or (isinstance(layer, Recurrent) and not layer.every):
            axes = ["batch"]
    writer.graph.named(value, "y")
    returned = tensor("y", np.float32, [*axes, width])
    model = writer.graph.model([given], [returned], "network", "")
    return model.SerializeToString(deterministic=True), tuple(writer.notes)


class _Writer:
    """Nodes and arrays of a graph."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.node, self.array = graph, graph.node, graph.constant
        self.notes: list[str] = []

    def layer(self, layer: Any, x: str, timed: bool) -> str:
        """The nodes of a layer on a value with or without an axis of time; its output."""
        name = layer.name
        match layer:
            case Embedding(_, weight, mask_zero):
                if mask_zero:
                    self.notes.append(f"{name}: in ONNX, token 0 is a true step, too")
                return self.node("Gather", self.array(weight), x, name=name)
            case Recurrent():
                return self._recurrent(layer, x)
            case Dense(_, weight, bias, activation):
                if not timed and bias is not None:
                    held = [self.array(weight), self.array(bias)]
                    y = self.node("Gemm", x, *held, name=name, transB=1)
                else:
                    y = self.node("MatMul", x, self.array(weight.T), name=name)
                    y = y if bias is None else self.node("Add", y, self.array(bias))
                return self._activation(activation, y, "")
            case Activate(_, activation):
                return self._activation(activation, x, name)
            case Normalisation(_, scale, shift, mean, variance, epsilon):
                ones = np.ones_like(mean)
                values = [ones if scale is None else scale, 0 * ones if shift is None else shift]
                held = [self.array(a) for a in (*values, mean, variance)]
                x = self.node("Transpose", x, perm=[0, 2, 1]) if timed else x
                y = self.node("BatchNormalization", x, *held, name=name, epsilon=epsilon)
                return self.node("Transpose", y, perm=[0, 2, 1]) if timed else y
            case Pool(_, kind, true_steps):
                if true_steps:
                    self.notes.append(f"{name}: in ONNX, over all steps")
                operator = {"mean": "ReduceMean", "max": "ReduceMax"}[kind]
                return self.node(operator, x, name=name, axes=[1], keepdims=0)
            case Dropout():
                return x
        raise InputError(
            f"layer {name}: expected one that ONNX has, got {layer.described()}; "
            "take it out of the network"
        )

    def _activation(self, activation: Activation, x: str, name: str) -> str:
        if activation == IDENTITY:
            return x
        if activation.name in _OPERATORS:
            return self.node(activation.name, x, name=name, **_numbers(activation))
        from tidegate.onnx.cells import elementwise

        symbol, root = activation.graph()  # what has no operator is made of those that there are
        values: dict[Any, Any] = {symbol: x}
        for node in topological([root], values):
            values[node] = elementwise(self.graph, node, values)
        return values[root]

    def _recurrent(self, layer: Recurrent, x: str) -> str:
        form = layer.known_form
        reverse = tuple(d.reverse for d in layer.directions)
        if form is None or reverse not in _DIRECTIONS or layer.merge != "concat" or layer.turned:
            raise InputError(
                f"layer {layer.name}: expected a cell and directions that ONNX's operators have, "
                f"got {layer.described()}; take network.to_torch()"
            )
        how = form.in_onnx()
        arrays = [into("onnx", layer.cell, d.parameters, how) for d in layer.directions]
        names = {key: self.array(np.stack([a[key] for a in arrays])) for key in arrays[0]}
        names |= self._initial(layer)
        attributes: dict[str, Any] = {
            "hidden_size": layer.sizes["H"], "direction": _DIRECTIONS[reverse],
        }  # fmt: skip
        if strange := [str(a) for a in form.activations if a.name not in NAMES]:
            raise InputError(
                f"layer {layer.name}: expected activations that ONNX's operators have, such as "
                f"{', '.join(NAMES[:3])}, got {', '.join(strange)}; take network.to_torch()"
            )
        if form.activations != USUAL[form.family]:
            both = form.activations * len(reverse)
            attributes["activations"] = [a.name for a in both]
            attributes["activation_alpha"] = [a.alpha for a in both if a.name in _WITH_NUMBERS]
            attributes["activation_beta"] = [a.beta for a in both if a.name in _WITH_BETA]
        attributes |= {} if form.clip is None else {"clip": form.clip}
        attributes |= {"linear_before_reset": int(form.reset_after)} if form.family == "GRU" else {}
        attributes |= {"input_forget": 1} if form.coupled else {}
        x = self.node("Transpose", x, perm=[1, 0, 2])
        order = ["W", "R", "B", "", "initial_h", "initial_c", "P"]
        y, last = self.node(
            form.family, x, *map(names.get, order), outputs=2, name=layer.name, **_given(attributes)
        )
        if layer.every:  # [T, D, B, H]
            return self._joined(y, [2, 0, 1, 3], 3)
        return self._joined(last, [1, 0, 2], 2)  # [D, B, H]

    def _joined(self, y: str, order: list[int], axes: int) -> str:
        """The batch first, directions side by side."""
        y = self.node("Transpose", y, perm=order)
        shape = np.array([0, 0, -1][3 - axes :], np.int64)
        return self.node("Reshape", y, self.array(shape))

    def _initial(self, layer: Recurrent) -> dict[str, str]:
        if all(d.initial is None for d in layer.directions):
            return {}
        rows = max(len(d.initial[0]) for d in layer.directions if d.initial)
        states = [layer.initial(d, rows) for d in layer.directions]
        names = [f"initial_{state}" for state in layer.cell.states]
        stacked = [np.stack(arrays) for arrays in zip(*states, strict=True)]
        return {n: self.array(a) for n, a in zip(names, stacked, strict=True)}


def _numbers(activation: Activation) -> dict[str, float]:
    found = {"alpha": activation.alpha} if activation.name in _WITH_NUMBERS else {}
    return found | ({"beta": activation.beta} if activation.name in _WITH_BETA else {})


def _given(attributes: dict[str, Any]) -> dict[str, Any]:
    """Without empty lists, which have no type."""
    return {name: value for name, value in attributes.items() if value != []}
