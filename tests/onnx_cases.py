"""Recurrent ONNX nodes with random weights over all attributes, and the standard in float64.

Written from https://onnx.ai/onnx/operators (RNN, GRU, LSTM) alone, gate by gate, so that it shares
nothing with what it is held against.  ``python onnx_cases.py FOLDER`` writes the cases as files.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
# name: function of (x, alpha, beta), and whether it takes alpha, beta
ACTIVATIONS: dict[str, tuple[Any, int]] = {
    "Tanh": (lambda x, *_: np.tanh(x), 0),
    "Sigmoid": (lambda x, *_: np.exp(-np.logaddexp(0, -x)), 0),
    "Relu": (lambda x, *_: np.maximum(x, 0), 0),
    "Softsign": (lambda x, *_: x / (1 + np.abs(x)), 0),
    "Softplus": (lambda x, *_: np.logaddexp(0, x), 0),
    "LeakyRelu": (lambda x, a, *_: np.where(x >= 0, x, a * x), 1),
    "ThresholdedRelu": (lambda x, a, *_: np.where(x >= a, x, 0), 1),
    "Elu": (lambda x, a, *_: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))), 1),
    "Affine": (lambda x, a, b: a * x + b, 2),
    "ScaledTanh": (lambda x, a, b: a * np.tanh(b * x), 2),
    "HardSigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 2),
}


@dataclass
class Case:
    """One node: its operator, attributes, constant inputs, the batch and its lengths or None."""

    operator: str
    attributes: dict[str, Any]
    arrays: dict[str, np.ndarray]
    x: np.ndarray  # [T, B, I], whatever the layout
    lengths: np.ndarray | None
    functions: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def directions(self) -> int:
        return len(self.arrays["W"])

    def reference(self) -> dict[str, np.ndarray]:
        """Y [T, D, B, H], Y_h and, of an LSTM, Y_c [D, B, H], in float64."""
        steps, rows, _ = self.x.shape
        hidden = self.arrays["R"].shape[2]
        y = np.zeros((steps, self.directions, rows, hidden))
        final = {"Y_h": np.zeros((self.directions, rows, hidden))}
        if self.operator == "LSTM":
            final["Y_c"] = final["Y_h"].copy()
        for d in range(self.directions):
            back = self.attributes["direction"] == "reverse" or d == 1
            for b in range(rows):
                length = steps if self.lengths is None else int(self.lengths[b])
                state = {k: self._initial(k.replace("Y", "initial"), d, b) for k in final}
                for t in range(length)[:: -1 if back else 1]:
                    state = self._step(d, self.x[t, b].astype(float), state)
                    y[t, d, b] = state["Y_h"]
                for key, value in state.items():
                    final[key][d, b] = value
        return {"Y": y, **final}

    def _initial(self, name: str, d: int, b: int) -> np.ndarray:
        if name in self.arrays:
            return self.arrays[name][d, b].astype(float)
        return np.zeros(self.arrays["R"].shape[2])

    def _step(self, d: int, x: np.ndarray, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        held = {k: a[d].astype(float) for k, a in self.arrays.items() if k in ("W", "R", "B", "P")}
        gates, h = GATES[self.operator], state["Y_h"]
        w, r = np.split(held["W"], gates), np.split(held["R"], gates)
        zero = np.zeros(2 * gates * len(h))
        bias = np.split(held.get("B", zero), 2 * gates)
        wb, rb = bias[:gates], bias[gates:]
        count = FUNCTIONS[self.operator]
        act = [self._function(*f) for f in self.functions[d * count : (d + 1) * count]]
        if self.operator == "RNN":
            return {"Y_h": act[0](w[0] @ x + wb[0] + r[0] @ h + rb[0])}
        if self.operator == "GRU":
            z = act[0](w[0] @ x + wb[0] + r[0] @ h + rb[0])
            reset = act[0](w[1] @ x + wb[1] + r[1] @ h + rb[1])
            if self.attributes.get("linear_before_reset"):
                n = act[1](w[2] @ x + wb[2] + reset * (r[2] @ h + rb[2]))
            else:
                n = act[1](w[2] @ x + wb[2] + r[2] @ (reset * h) + rb[2])
            return {"Y_h": (1 - z) * n + z * h}
        c = state["Y_c"]
        pi, po, pf = np.split(held.get("P", np.zeros(3 * len(h))), 3)
        i = act[0](w[0] @ x + wb[0] + r[0] @ h + rb[0] + pi * c)
        f = act[0](w[2] @ x + wb[2] + r[2] @ h + rb[2] + pf * c)
        if self.attributes.get("input_forget"):
            f = 1 - i
        c = f * c + i * act[1](w[3] @ x + wb[3] + r[3] @ h + rb[3])
        o = act[0](w[1] @ x + wb[1] + r[1] @ h + rb[1] + po * c)
        return {"Y_h": o * act[2](c), "Y_c": c}

    def _function(self, name: str, alpha: float, beta: float) -> Any:
        bound = self.attributes.get("clip", np.inf)
        return lambda a: ACTIVATIONS[name][0](np.clip(a, -bound, bound), alpha, beta)

    def model(self, layout: int) -> Any:
        """A model of the node; X, and sequence_lens if there are lengths, are its inputs."""
        from onnx import helper, numpy_helper

        def tensor(name: str, kind: int = 1) -> Any:
            return helper.make_tensor_value_info(name, kind, None)

        arrays = dict(self.arrays)
        if layout:
            arrays |= {k: a.swapaxes(0, 1) for k, a in arrays.items() if k.startswith("initial")}
        order = ["W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
        there = {*arrays, *([] if self.lengths is None else ["sequence_lens"])}
        inputs = ["X", *(k if k in there else "" for k in order)]
        while not inputs[-1]:
            inputs.pop()
        outputs = ["Y", "Y_h", *(["Y_c"] if self.operator == "LSTM" else [])]
        given = {k: v for k, v in self.attributes.items() if v is not None}
        given |= {"layout": 1} if layout else {}
        node = helper.make_node(self.operator, inputs, outputs, "node", **given)
        lengths = [] if self.lengths is None else [tensor("sequence_lens", 6)]
        graph = helper.make_graph(
            [node], "case", [tensor("X"), *lengths], [tensor(name) for name in outputs],
            [numpy_helper.from_array(np.ascontiguousarray(a), k) for k, a in arrays.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def case(seed: int) -> Case:
    """A node drawn with this seed; every attribute is there in some, and absent in others."""
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32) * np.float32(0.5)

    operator = ("RNN", "GRU", "LSTM")[seed % 3]
    direction = ("forward", "reverse", "bidirectional")[seed // 3 % 3]
    count = 2 if direction == "bidirectional" else 1
    steps, rows, inputs, hidden = (int(n) for n in rng.integers((0, 1, 1, 1), (7, 5, 6, 6)))
    gates = GATES[operator]
    arrays = {"W": numbers(count, gates * hidden, inputs)}
    arrays["R"] = numbers(count, gates * hidden, hidden)
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    if rng.random() < 0.7:
        arrays["B"] = numbers(count, 2 * gates * hidden)
    if rng.random() < 0.5:
        arrays["initial_h"] = numbers(count, rows, hidden)
    if operator == "LSTM":
        if rng.random() < 0.5:
            arrays["initial_c"] = numbers(count, rows, hidden)
        if rng.random() < 0.5:
            arrays["P"] = numbers(count, 3 * hidden)
        if rng.random() < 0.4:
            attributes["input_forget"] = 1
    if operator == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(2))
    if rng.random() < 0.3:
        attributes["clip"] = float(np.float32(rng.uniform(0.3, 1.5)))
    usual = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
    functions = [(name, 0.0, 0.0) for name in usual[operator] * count]
    if rng.random() < 0.5:
        functions = _functions(rng, FUNCTIONS[operator] * count)
        attributes["activations"] = [name for name, _, _ in functions]
        for place, key in enumerate(("activation_alpha", "activation_beta"), 1):
            taken = [f[place] for f in functions if ACTIVATIONS[f[0]][1] >= place]
            if taken:
                attributes[key] = taken
    lengths = rng.integers(0, steps + 1, rows).astype(np.int32) if rng.random() < 0.5 else None
    return Case(operator, attributes, arrays, numbers(steps, rows, inputs), lengths, functions)


def _functions(rng: np.random.Generator, count: int) -> list[tuple[str, float, float]]:
    """Of different kinds, with numbers that float32 has exactly."""
    names = rng.choice(list(ACTIVATIONS), count)
    drawn = np.round(rng.uniform(0.1, 1.0, (count, 2)) * 64) / 64
    return [(str(name), float(a), float(b)) for name, (a, b) in zip(names, drawn, strict=True)]


def main() -> int:
    """Write each case as a folder with model.onnx and its inputs and outputs, as ONNX has tests."""
    import onnx
    from onnx import numpy_helper

    for seed in range(200):
        one = case(seed)
        folder = Path(sys.argv[1]) / f"test_{one.operator.lower()}_{seed:03}"
        data = folder / "test_data_set_0"
        data.mkdir(parents=True, exist_ok=True)
        onnx.save(one.model(0), folder / "model.onnx")
        given = [one.x, *([] if one.lengths is None else [one.lengths])]
        came = [a.astype(np.float32) for a in one.reference().values()]
        for kind, arrays in (("input", given), ("output", came)):
            for k, array in enumerate(arrays):
                tensor = numpy_helper.from_array(array)
                (data / f"{kind}_{k}.pb").write_bytes(tensor.SerializeToString())
    return 0


if __name__ == "__main__":
    sys.exit(main())
