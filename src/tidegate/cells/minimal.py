"""Minimal gated units: their gates see no state, and so are all known before the first step.

A state is only ever scaled and added to.  Published with a parallel scan over time, for GPUs; on a
few processors the steps in turn are fewer operations, and are what the engine makes.
"""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states

_SOURCE = "Feng et al. 2024, Were RNNs all we needed?, arXiv:2410.01201, section 3"


@cell(
    "mingru",
    gates={"z": Gate("update gate", "writes"), "n": Gate("candidate state")},
    states={"h": State("hidden state")},
    source=f"{_SOURCE}.1",
    use="For very long sequences at little cost: a step has no matrix product; stack two or more.",
)
def mingru(ops, w, u, h):  # noqa: ARG001
    """One gate mixes the old state with a candidate; both see the input alone."""
    z = ops.sigmoid(w.z)
    n = w.n
    return states(h=(1 - z) * h + z * n), gates(z=z, n=n)


@cell(
    "minlstm",
    gates={
        "f": Gate("forget gate", "keeps"),
        "i": Gate("input gate", "writes"),
        "n": Gate("candidate state"),
    },
    states={"h": State("hidden state")},
    source=f"{_SOURCE}.2",
    use="As mingru, with a gate of its own to forget by.",
)
def minlstm(ops, w, u, h):  # noqa: ARG001
    """Two gates, scaled to a sum of 1, mix the old state with a candidate."""
    f = ops.sigmoid(w.f)
    i = ops.sigmoid(w.i)
    n = w.n
    return states(h=(f * h + i * n) / (f + i)), gates(f=f, i=i, n=n)
