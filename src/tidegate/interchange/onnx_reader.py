"""ONNX models: networks whose layers follow one another, or one recurrent node of another graph.

The graph is walked from its input.  What each axis of a value is, batch, time or features, is known
at every node, so that a Transpose or a Reshape is taken only for what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np

from tidegate.data.files.reading import read_bytes
from tidegate.errors import InputError, shown, spelled
from tidegate.interchange.layers import Layer
from tidegate.interchange.network import Network
from tidegate.interchange.onnx_nodes import INPUTS, OPERATORS, layer_of_node
from tidegate.interchange.onnx_values import array_of, attributes_of, title_of
from tidegate.interchange.onnx_walk import STARTS, Unread, Walk
from tidegate.interchange.problems import about_file
from tidegate.interchange.settled import Answers

_MOST_NODES = 20_000


def read_onnx(path: str | PathLike[str], answers: Answers) -> Network:
    """The network in an ONNX model.

    Where the graph is more than layers one after the other, its only recurrent node, or that which
    ``answers.layer`` names, is read alone.  Raises InputError.
    """
    import onnx
    from google.protobuf.message import DecodeError

    data = read_bytes(path)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"expected an ONNX model, got a file that cannot be read ({reason}); export it again",
            file=path,
        ) from None
    try:
        opsets = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        return _network(Graph(model.graph, max(opsets, default=1)), answers)
    except ValueError as e:
        raise about_file(e, path, "export the model again") from None


def _network(graph: Graph, answers: Answers) -> Network:
    recurrent = [node for node in graph.nodes if node.op_type in OPERATORS]
    if answers.layer is not None:
        recurrent = [n for n in recurrent if title_of(n).startswith(answers.layer)]
    if not recurrent:
        raise ValueError(
            f"expected a node {', '.join(OPERATORS)}, got none"
            + (f" whose name begins with {shown(answers.layer)}" if answers.layer else "")
            + "; check the model"
        )
    reason = "its node was chosen"
    if answers.layer is None:
        try:
            layers, notes = _walked(graph)
            return Network(tuple(layers), "an ONNX model", notes)
        except Unread as e:
            reason = str(e)
    if len(recurrent) > 1:
        names = ", ".join(shown(title_of(n), 40) for n in recurrent[:6])
        raise ValueError(
            f"expected layers that follow one another, got another graph ({reason}); choose one of "
            f"its recurrent nodes, {names}, with {spelled('layer', title_of(recurrent[0]))}"
        )
    (node,) = recurrent
    layer, notes = graph.recurrent(node)
    said = f"the recurrent node alone was read ({reason})"
    return Network((layer,), f"a node {node.op_type} of an ONNX model", (said, *notes))


def _walked(graph: Graph) -> tuple[list[Layer], tuple[str, ...]]:
    """The layers from the graph's input to its output.  Raises Unread."""
    reasons = []
    for name in graph.data_inputs():
        for labels in STARTS:
            try:
                walk = Walk(graph, name, labels)
                walk.to_the_end()
            except Unread as e:
                reasons.append((walk.length, str(e)))
            else:
                return walk.layers, walk.notes()
    raise Unread(max(reasons)[1] if reasons else "it has no input")


class Graph:
    """The nodes of a graph, who reads each value, and the arrays it holds.

    ``opset``: the version of its operators.
    """

    def __init__(self, graph: Any, opset: int) -> None:
        self.opset = opset
        self.nodes = list(graph.node)
        if len(self.nodes) > _MOST_NODES or len(graph.initializer) > _MOST_NODES:
            raise ValueError(f"expected at most {_MOST_NODES} nodes and arrays, got more")
        self._tensors = {t.name: t for t in graph.initializer}
        self.inputs = [i.name for i in graph.input if i.name not in self._tensors]
        self.outputs = {o.name for o in graph.output}
        self.readers: dict[str, list[Any]] = {}
        self.maker: dict[str, Any] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
            self.maker |= {name: node for name in node.output if name}
        self._arrays: dict[str, np.ndarray] = {}

    def array(self, name: str) -> np.ndarray | None:
        """The array of this name, where the file holds it: an initializer or a Constant."""
        if name not in self._arrays:
            tensor = self._tensors.get(name)
            if tensor is None:
                node = self.maker.get(name)
                if node is None or node.op_type not in ("Constant", "Identity"):
                    return None
                if node.op_type == "Identity":
                    return self._behind(node.input[0]) if node.input else None
                given = attributes_of(node)
                tensor = given.get("value")
                if tensor is None:
                    values = next(iter(given.values()), 0)
                    kind = np.float32 if "float" in next(iter(given), "") else np.int64
                    return np.array(values, kind)
            self._arrays[name] = array_of(tensor)
        return self._arrays[name]

    def _behind(self, name: str) -> np.ndarray | None:
        """An array behind an Identity, of which a model needs one, not a chain."""
        return array_of(self._tensors[name]) if name in self._tensors else None

    def data_inputs(self) -> Iterator[str]:
        """The inputs that may be the batch: of these, one at least is."""
        for name in self.inputs:
            roles = [
                INPUTS[list(node.input).index(name)] if node.op_type in OPERATORS else "X"
                for node in self.readers.get(name, [])
            ]
            if "X" in roles:
                yield name

    def is_zero(self, name: str, depth: int = 0) -> bool:
        """Whether a value is made of zeros alone, whatever its shape."""
        array = self.array(name)
        if array is not None:
            return not array.any()
        node = self.maker.get(name)
        if node is None or depth > 16:
            return False
        if node.op_type == "ConstantOfShape":
            value = attributes_of(node).get("value")
            return value is None or not array_of(value).any()
        same = ("Expand", "Reshape", "Identity", "Cast", "Unsqueeze", "Squeeze", "Slice", "Tile")
        return node.op_type in same and bool(node.input) and self.is_zero(node.input[0], depth + 1)

    def recurrent(self, node: Any) -> tuple[Any, tuple[str, ...]]:
        """The layer of a node, and what of it comes from outside the file."""
        given = dict(zip(INPUTS, node.input, strict=False))
        name, notes, arrays = title_of(node), [], {}
        for key, value in given.items():
            if key == "X" or not value:
                continue
            if key == "sequence_lens":
                if value not in self.inputs:
                    raise Unread(f"{shown(name)}: sequence_lens is no input of the graph")
                notes.append(f"{name}: {shown(value)} is what predict calls lengths")
            elif (array := self.array(value)) is not None:
                arrays[key] = array
            elif key.startswith("initial") and value in self.inputs:
                notes.append(f"{name}: {shown(value)} is an input of the graph; here it is zero")
            elif not (key.startswith("initial") and self.is_zero(value)):
                raise ValueError(
                    f"node {shown(name)}: expected {key} in the file, got one that is computed; "
                    "export the model with its weights"
                )
        if not {"W", "R"} <= arrays.keys():
            raise ValueError(f"node {shown(name)}: expected the weights W and R in the file")
        return layer_of_node(name, node.op_type, attributes_of(node), arrays), tuple(notes)
