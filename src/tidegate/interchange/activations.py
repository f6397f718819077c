"""Activations that other libraries name, by ONNX's names, in the language of the cells.

Source: https://onnx.ai/onnx/operators, RNN, GRU and LSTM; Keras' own ones as keras/src/activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.equations.bptt import Operations
from tidegate.equations.expr import Expr, Unary

Function = Callable[[Any, Any, float, float], Any]  # (ops, a, alpha, beta)


def _above(a: Any) -> Any:
    """1 where a is above 0, else 0."""
    return Unary("positive", a) if isinstance(a, Expr) else Operations.positive(a)


def _hard_sigmoid(ops: Any, a: Any, alpha: float, beta: float) -> Any:
    return ops.maximum(ops.minimum(alpha * a + beta, 1.0), 0.0)


def _elu(ops: Any, a: Any, alpha: float, _: float) -> Any:
    return ops.relu(a) + alpha * (ops.exp(ops.minimum(a, 0.0)) - 1.0)


_FUNCTIONS: Mapping[str, Function] = {
    "Tanh": lambda ops, a, _, __: ops.tanh(a),
    "Sigmoid": lambda ops, a, _, __: ops.sigmoid(a),
    "Relu": lambda ops, a, _, __: ops.relu(a),
    "Affine": lambda _, a, alpha, beta: alpha * a + beta,
    "LeakyRelu": lambda ops, a, alpha, _: ops.relu(a) - alpha * ops.relu(-a),
    "ThresholdedRelu": lambda _, a, alpha, __: a * (1.0 - _above(alpha - a)),
    "ScaledTanh": lambda ops, a, alpha, beta: alpha * ops.tanh(beta * a),
    "HardSigmoid": _hard_sigmoid,
    "Elu": _elu,
    "Softsign": lambda ops, a, _, __: a / (1.0 + ops.maximum(a, -a)),
    "Softplus": lambda ops, a, _, __: (
        ops.relu(a) + ops.log(1.0 + ops.exp(-ops.maximum(a, -a)))
    ),
}  # fmt: skip
# What a function takes, and what it is where it is not given; as ONNX Runtime has them, since the
# standard gives none for Affine and ScaledTanh.
_DEFAULTS: Mapping[str, tuple[float | None, float | None]] = {
    "Affine": (1.0, 0.0),
    "LeakyRelu": (0.01, None),
    "ThresholdedRelu": (1.0, None),
    "ScaledTanh": (1.0, 1.0),
    "HardSigmoid": (0.2, 0.5),
    "Elu": (1.0, None),
}
_BY_LOWER = {name.lower(): name for name in _FUNCTIONS}
NAMES = tuple(_FUNCTIONS)


@dataclass(frozen=True)
class Activation:
    """A function of one value, such as ``Activation("HardSigmoid", 0.2, 0.5)``.

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
        alpha = left.pop(0) if alpha is not None and left else alpha
        beta = right.pop(0) if beta is not None and right else beta
        found.append(Activation(name, alpha or 0.0, beta or 0.0))
    return tuple(found)


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
}
OLD_HARD_SIGMOID = Activation("HardSigmoid", 0.2, 0.5)  # Keras 1 and 2, Theano


def from_keras(name: str, *, old: bool = False) -> Activation:
    """Keras' activation of this name; ``old``: as Keras 1 and 2 have it.

    Raises ValueError for one that is unknown here.
    """
    if name == "hard_sigmoid" and old:
        return OLD_HARD_SIGMOID
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
