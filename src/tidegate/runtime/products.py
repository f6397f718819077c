"""Matrix products of inference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.engine import compiled, threads_worth

Array = NDArray[np.float32]

# Below, the engine takes longer to pack the weights than numpy's BLAS to multiply by them; above,
# the BLAS takes up to twice as long (Zen 5, 384 x 50,000 weights).
_FEW_ROWS = 16


def linear(x: Array, weight: Array, bias: Array | None = None, out: Array | None = None) -> Array:
    """X @ weight.T + bias: float32 [..., F], [O, F] and [O] to [..., O]; ``out``: its place."""
    rows = x.reshape(-1, x.shape[-1])
    if out is None:
        out = np.empty((len(rows), len(weight)), np.float32)
    if len(rows) < _FEW_ROWS:
        np.matmul(rows, weight.T, out=out)
        if bias is not None:
            out += bias
    else:
        threads = threads_worth(len(rows) * weight.size)
        rows = np.ascontiguousarray(rows)
        compiled.multiply(rows, weight.T, out, bias, False, False, threads)
    return out.reshape(*x.shape[:-1], len(weight))
