"""Activations that torch, Keras and ONNX name, made of what equations can say.

Each takes ``ops``, a value and numbers, or vectors of the cell, whose defaults are torch's; a cell
writes ``ops.elu(a)`` or ``ops.elu(a, 0.5)``.  What bends smoothly where two pieces meet is made
with maximum and minimum, of which each has half the gradient there, and so has the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_SELU_ALPHA = 1.6732632423543772  # Klambauer et al. 2017, arXiv:1706.02515
_SELU_SCALE = 1.0507009873554805
_ROOT_OF_HALF = 0.7071067811865476
_ROOT_OF_2_OVER_PI = 0.7978845608028654


def _hard_sigmoid(ops: Any, a: Any, slope: Any = 1 / 6, shift: Any = 0.5) -> Any:
    return ops.maximum(ops.minimum(slope * a + shift, 1.0), 0.0)


def _hard_tanh(ops: Any, a: Any, low: Any = -1.0, high: Any = 1.0) -> Any:
    return ops.maximum(ops.minimum(a, high), low)


def _relu6(ops: Any, a: Any) -> Any:
    return ops.minimum(ops.relu(a), 6.0)


def _leaky_relu(ops: Any, a: Any, slope: Any = 0.01) -> Any:
    return ops.relu(a) - slope * ops.relu(-a)


def _thresholded_relu(ops: Any, a: Any, least: Any = 1.0) -> Any:
    """``a`` from ``least`` on, 0 below it."""
    return a * (1.0 - ops.positive(least - a))


def _elu(ops: Any, a: Any, alpha: Any = 1.0) -> Any:
    return ops.maximum(a, 0.0) + alpha * (ops.exp(ops.minimum(a, 0.0)) - 1.0)


def _celu(ops: Any, a: Any, alpha: Any = 1.0) -> Any:
    return ops.maximum(a, 0.0) + alpha * (ops.exp(ops.minimum(a, 0.0) / alpha) - 1.0)


def _selu(ops: Any, a: Any) -> Any:
    return _SELU_SCALE * _elu(ops, a, _SELU_ALPHA)


def _softplus(ops: Any, a: Any) -> Any:
    return ops.maximum(a, 0.0) + ops.log(1.0 + ops.exp(-ops.maximum(a, -a)))


def _log_sigmoid(ops: Any, a: Any) -> Any:
    return ops.minimum(a, 0.0) - ops.log(1.0 + ops.exp(-ops.maximum(a, -a)))


def _softsign(ops: Any, a: Any) -> Any:
    return a / (1.0 + ops.maximum(a, -a))


def _silu(ops: Any, a: Any) -> Any:
    return a * ops.sigmoid(a)


def _hard_silu(ops: Any, a: Any) -> Any:
    """Torch's Hardswish."""
    return a * _hard_sigmoid(ops, a)


def _mish(ops: Any, a: Any) -> Any:
    return a * ops.tanh(_softplus(ops, a))


def _gelu(ops: Any, a: Any) -> Any:
    return 0.5 * a * (1.0 + ops.erf(_ROOT_OF_HALF * a))


def _gelu_tanh(ops: Any, a: Any) -> Any:
    """What GELU is with ``approximate="tanh"``."""
    return 0.5 * a * (1.0 + ops.tanh(_ROOT_OF_2_OVER_PI * (a + 0.044715 * (a * a * a))))


def _tanh_shrink(ops: Any, a: Any) -> Any:
    return a - ops.tanh(a)


def _soft_shrink(ops: Any, a: Any, threshold: Any = 0.5) -> Any:
    return ops.relu(a - threshold) - ops.relu(-a - threshold)


def _hard_shrink(ops: Any, a: Any, threshold: Any = 0.5) -> Any:
    return a * ops.positive(ops.maximum(a, -a) - threshold)


def _squareplus(ops: Any, a: Any, b: Any = 4.0) -> Any:
    """Barron 2021, arXiv:2112.11687; with Keras' default."""
    square = a * a + b
    return 0.5 * (a + square * ops.rsqrt(square))


ACTIVATIONS: Mapping[str, Callable[..., Any]] = {
    function.__name__[1:]: function
    for function in (
        _hard_sigmoid, _hard_tanh, _relu6, _leaky_relu, _thresholded_relu, _elu, _celu, _selu,
        _softplus, _log_sigmoid, _softsign, _silu, _hard_silu, _mish, _gelu, _gelu_tanh,
        _tanh_shrink, _soft_shrink, _hard_shrink, _squareplus,
    )
}  # fmt: skip


def with_activations(operations: type) -> type:
    """Give the class of ``ops``, whose functions are static, a static function of each."""
    for name, function in ACTIVATIONS.items():
        setattr(operations, name, staticmethod(_bound(function, operations)))
    return operations


def _bound(function: Callable[..., Any], operations: type) -> Callable[..., Any]:
    return lambda a, *numbers: function(operations, a, *numbers)
