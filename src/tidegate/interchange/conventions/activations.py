"""Activations that other libraries name, by ONNX's names, in the language of the cells.

Source: https://onnx.ai/onnx/operators, RNN, GRU and LSTM; Keras' own ones as keras/src/activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.equations.bptt import Operations
from tidegate.equations.expr import Expr, Input
from tidegate.equations.tracing import SymbolOps

Function = Callable[[Any, Any, float, float], Any]  # (ops, a, alpha, beta)


# Those that recurrent operators of ONNX may name.
_RECURRENT: Mapping[str, Function] = {
    "Tanh": lambda ops, a, _, __: ops.tanh(a),
    "Sigmoid": lambda ops, a, _, __: ops.sigmoid(a),
    "Relu": lambda ops, a, _, __: ops.relu(a),
    "Affine": lambda _, a, alpha, beta: alpha * a + beta,
    "LeakyRelu": lambda ops, a, alpha, _: ops.leaky_relu(a, alpha),
    "ThresholdedRelu": lambda ops, a, alpha, _: ops.thresholded_relu(a, alpha),
    "ScaledTanh": lambda ops, a, alpha, beta: alpha * ops.tanh(beta * a),
    "HardSigmoid": lambda ops, a, alpha, beta: ops.hard_sigmoid(a, alpha, beta),
    "Elu": lambda ops, a, alpha, _: ops.elu(a, alpha),
    "Softsign": lambda ops, a, _, __: ops.softsign(a),
    "Softplus": lambda ops, a, _, __: ops.softplus(a),
}
_FURTHER: Mapping[str, Function] = {
    "Exp": lambda ops, a, _, __: ops.exp(a),
    "Relu6": lambda ops, a, _, __: ops.relu6(a),
    "Selu": lambda ops, a, _, __: ops.selu(a),
    "Celu": lambda ops, a, alpha, _: ops.celu(a, alpha),
    "Silu": lambda ops, a, _, __: ops.silu(a),
    "HardSwish": lambda ops, a, _, __: ops.hard_silu(a),
    "Mish": lambda ops, a, _, __: ops.mish(a),
    "Gelu": lambda ops, a, _, __: ops.gelu(a),
    "GeluTanh": lambda ops, a, _, __: ops.gelu_tanh(a),
    "HardTanh": lambda ops, a, _, __: ops.hard_tanh(a),
    "LogSigmoid": lambda ops, a, _, __: ops.log_sigmoid(a),
    "TanhShrink": lambda ops, a, _, __: ops.tanh_shrink(a),
    "SoftShrink": lambda ops, a, alpha, _: ops.soft_shrink(a, alpha),
    "HardShrink": lambda ops, a, alpha, _: ops.hard_shrink(a, alpha),
    "Squareplus": lambda ops, a, alpha, _: ops.squareplus(a, alpha),
}
_FUNCTIONS = {**_RECURRENT, **_FURTHER}
# What a function takes, and what it is where it is not given; as ONNX Runtime has them, since the
# standard gives none for Affine and ScaledTanh.
_DEFAULTS: Mapping[str, tuple[float | None, float | None]] = {
    "Affine": (1.0, 0.0),
    "LeakyRelu": (0.01, None),
    "ThresholdedRelu": (1.0, None),
    "ScaledTanh": (1.0, 1.0),
    "HardSigmoid": (0.2, 0.5),
    "Elu": (1.0, None),
    "Celu": (1.0, None),
    "SoftShrink": (0.5, None),
    "HardShrink": (0.5, None),
    "Squareplus": (4.0, None),
}
_BY_LOWER = {name.lower(): name for name in _RECURRENT}
NAMES = tuple(_RECURRENT)  # of recurrent operators


@dataclass(frozen=True)
class Activation:
    """A function of one value, such as ``Activation("HardSigmoid", 0.2, 0.5)``.

    ``alpha`` and ``beta`` are what the function takes beside its value, 0 where it takes none.
    Called with the operations of `tidegate.equations.expr` and symbols, or with arrays alone.
    ``Softmax`` is over the last axis, and of arrays only.
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def of(self, ops: Any, a: Any) -> Any:
        """The function of ``a`` in an equation."""
        return _FUNCTIONS[self.name](ops, a, self.alpha, self.beta)

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """The function of an array, in its type."""
        if self.name == "Softmax":
            e = np.exp(a - a.max(-1, keepdims=True))
            return e / e.sum(-1, keepdims=True)
        return np.asarray(self.of(Operations, a), a.dtype)

    def graph(self) -> tuple[Input, Expr]:
        """A symbol, and the function of it in symbols."""
        symbol = Input("a")
        return symbol, self.of(SymbolOps(), symbol)

    def __str__(self) -> str:
        alpha, beta = _DEFAULTS.get(self.name, (None, None))
        given = [f"{v:.4g}" for v, d in ((self.alpha, alpha), (self.beta, beta)) if d is not None]
        return f"{self.name}({', '.join(given)})" if given else self.name


IDENTITY = Activation("Affine", 1.0, 0.0)
SIGMOID, TANH, RELU, SOFTMAX = (Activation(n) for n in ("Sigmoid", "Tanh", "Relu", "Softmax"))


def from_onnx(names: list[str], alphas: list[float], betas: list[float]) -> tuple[Activation, ...]:
    """Those that a node names; numbers go, in turn, to the functions that take one.

    Raises ValueError for a name that ONNX does not have.
    """
    left, right, found = list(alphas), list(betas), []
    for given in names:
        name = _BY_LOWER.get(given.lower())
        if name is None:
            known = ", ".join(NAMES)
            raise ValueError(f"activations: expected one of {known}, got {given!r:.40}")
        alpha, beta = _DEFAULTS.get(name, (None, None))
        alpha = left.pop(0) if alpha is not None and left else None
        beta = right.pop(0) if beta is not None and right else None
        found.append(_with_numbers(name, alpha, beta))
    return tuple(found)


def of_onnx_node(kind: str, numbers: Mapping[str, Any]) -> Activation | None:
    """What a node of an operator of its own computes, given its attributes; None for another."""
    if kind == "Gelu":
        return Activation("GeluTanh" if numbers.get("approximate") == "tanh" else "Gelu")
    if kind == "Selu" and numbers:  # of numbers of its own
        return None
    if kind not in _OF_NODES:
        return None
    return _with_numbers(kind, *map(numbers.get, ("alpha", "beta")))


def _with_numbers(name: str, *given: Any) -> Activation:
    """The function with these numbers, or with its own where they are none."""
    usual = _DEFAULTS.get(name, (None, None))
    pairs = zip(given, usual, strict=True)
    numbers = (u if u is None or not isinstance(g, float) else g for g, u in pairs)
    return Activation(name, *(0.0 if n is None else n for n in numbers))


_OF_NODES = (
    "Relu", "Tanh", "Sigmoid", "HardSigmoid", "Softsign", "Softplus", "Elu", "LeakyRelu", "Selu",
    "Celu", "HardSwish", "Mish", "Exp",
)  # fmt: skip
_KERAS = {
    "linear": IDENTITY,
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "relu": RELU,
    "softsign": Activation("Softsign"),
    "softplus": Activation("Softplus"),
    "elu": Activation("Elu", 1.0),
    "hard_sigmoid": Activation("HardSigmoid", 1 / 6, 0.5),
    "leaky_relu": Activation("LeakyRelu", 0.2),
    "relu6": Activation("Relu6"),
    "selu": Activation("Selu"),
    "celu": Activation("Celu", 1.0),
    "silu": Activation("Silu"),
    "hard_silu": Activation("HardSwish"),
    "mish": Activation("Mish"),
    "gelu": Activation("Gelu"),
    "hard_tanh": Activation("HardTanh"),
    "log_sigmoid": Activation("LogSigmoid"),
    "tanh_shrink": Activation("TanhShrink"),
    "soft_shrink": Activation("SoftShrink", 0.5),
    "hard_shrink": Activation("HardShrink", 0.5),
    "squareplus": Activation("Squareplus", 4.0),
    "sparse_sigmoid": Activation("HardSigmoid", 0.5, 0.5),
    "exponential": Activation("Exp"),
}
_KERAS_ALSO = {"swish": "silu", "hard_swish": "hard_silu"}
KERAS_NAMES = frozenset((*_KERAS, *_KERAS_ALSO))
OLD_HARD_SIGMOID = Activation("HardSigmoid", 0.2, 0.5)  # Keras 1 and 2, Theano


def from_keras(name: str, *, old: bool = False) -> Activation:
    """Keras' activation of this name; ``old``: as Keras 1 and 2 have it.

    Raises ValueError for one that is unknown here.
    """
    if name == "hard_sigmoid" and old:
        return OLD_HARD_SIGMOID
    name = _KERAS_ALSO.get(name, name)
    if name not in _KERAS:
        raise ValueError(f"activation: expected one of {', '.join(_KERAS)}, got {name!r:.40}")
    return _KERAS[name]


def to_keras(activation: Activation) -> str:
    """Its name in Keras 3.  Raises ValueError where Keras has none of these numbers."""
    if activation == SOFTMAX:
        return "softmax"
    for name, known in _KERAS.items():
        if known == activation:
            return name
    raise ValueError(f"Keras has no activation {activation}")
