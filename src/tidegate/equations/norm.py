"""Layer normalisation, in the language of cells."""

from __future__ import annotations

from typing import Any

_EPSILON = 1e-5  # as torch.nn.LayerNorm's


def layer_norm(ops: Any, a: Any, gain: Any, shift: Any) -> Any:
    """``a`` with mean 0 and variance 1 over a row's units, scaled and shifted unit by unit.

    ``gain`` is kept as what it has beside 1, so that an untrained one, of values around 0, leaves
    the normalised value as it is.  Source: Ba et al. 2016, arXiv:1607.06450, eq. 4.
    """
    centred = a - ops.mean(a)
    normed = centred * ops.rsqrt(ops.mean(centred * centred) + _EPSILON)
    return normed + gain * normed + shift
