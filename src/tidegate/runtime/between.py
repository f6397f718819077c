"""What stands between the recurrent layers of a trained network: norms, and what goes past a layer.

The same arithmetic as nn/stack.py's, and nn/network.py's batch norms, on numpy arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tidegate.model.architecture import Architecture
from tidegate.runtime.products import Array, linear

EPSILON = np.float32(1e-5)  # added to variances, as torch.nn's norms do


class Between:
    """Of each layer from the second on what it reads, and what is added to what it puts out.

    ``tensors``: the network's, by their names in a model file.
    """

    def __init__(self, architecture: Architecture, tensors: Mapping[str, Array]) -> None:
        self._architecture, self._tensors = architecture, tensors
        later = range(1, len(architecture.hidden_sizes))
        self.batch_norms = [self._batch_norm(k) for k in later if architecture.batch_norm]

    def normalised(self, k: int, x: Array, outside: np.ndarray | None = None) -> Array:
        """``x`` [..., I], changed in its place by the batch norm before layer ``k``; 0 outside."""
        if k > 0 and self.batch_norms:
            scale, shift = self.batch_norms[k - 1]
            x *= scale
            x += shift
            if outside is not None:
                x[outside] = 0.0
        return x

    def read(self, k: int, x: Array) -> Array:
        """What layer ``k`` reads of ``x`` [..., I] by its layer norm."""
        if (norm := self.layer_norm(k)) is None:
            return x
        centred, deviation = self._centred(x)
        return centred / deviation * norm[0] + norm[1]

    def read_back(self, k: int, x: Array, by_read: Array) -> Array:
        """The gradient by ``x`` of that by what ``read`` makes of it."""
        if (norm := self.layer_norm(k)) is None:
            return by_read
        centred, deviation = self._centred(x)
        unit, by_unit = centred / deviation, by_read * norm[0]
        along = (by_unit * unit).mean(-1, keepdims=True)
        return (by_unit - by_unit.mean(-1, keepdims=True) - unit * along) / deviation

    def added(
        self, k: int, x: Array, y: Sequence[Array], outside: np.ndarray | None = None
    ) -> list[Array]:
        """The outputs ``y`` of layer ``k``'s directions with what goes past it; 0 outside."""
        if not self.has_shortcut(k):
            return list(y)
        matrix = self.shortcut(k)
        past = x if matrix is None else linear(x, matrix)
        both = [a + b for a, b in zip(y, np.split(past, len(y), axis=-1), strict=True)]
        for one in both:
            if outside is not None:
                one[outside] = 0.0
        return both

    def has_shortcut(self, k: int) -> bool:
        """Whether what layer ``k`` reads is added to what it puts out."""
        return k > 0 and self._architecture.residual

    def shortcut(self, k: int) -> Array | None:
        """The matrix [W, I] by which it is; None where it is added as it is."""
        return self._tensors.get(f"recurrent.shortcuts.{k}.weight")

    def layer_norm(self, k: int) -> tuple[Array, Array] | None:
        """What the layer norm before layer ``k`` multiplies by and adds; None where none is."""
        if k == 0 or not self._architecture.layer_norm:
            return None
        prefix = f"recurrent.norms.{k}."
        return self._tensors[prefix + "weight"], self._tensors[prefix + "bias"]

    @staticmethod
    def _centred(x: Array) -> tuple[Array, Array]:
        centred = x - x.mean(-1, keepdims=True)
        variance = np.square(centred).mean(-1, keepdims=True)
        return centred, np.sqrt(variance + EPSILON)

    def _batch_norm(self, k: int) -> tuple[Array, Array]:
        """What the one before layer ``k``, with its running statistics, multiplies by and adds."""
        names = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (self._tensors[f"norms.{k - 1}.{name}"] for name in names)
        scale = weight / np.sqrt(variance + EPSILON)
        return np.asarray(scale, np.float32), np.asarray(bias - mean * scale, np.float32)
