"""The minimal gated unit."""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states


@cell(
    "mgu",
    gates={"f": Gate("forget gate", "writes"), "n": Gate("candidate state")},
    states={"h": State("hidden state")},
    source="Zhou et al. 2016, arXiv:1603.09420, eq. 6-8",
    use="The smallest gated cell, with two thirds of the GRU's weights.",
)
def mgu(ops, w, u, h):
    """One gate, which both resets the state that the candidate sees and writes the candidate."""
    f = ops.sigmoid(w.f + u.f(h))
    n = ops.tanh(w.n + u.n(f * h))
    return states(h=(1 - f) * h + f * n), gates(f=f, n=n)
