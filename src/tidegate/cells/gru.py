"""Gated recurrent units.

Here z keeps the old state (torch, Keras, cuDNN).  In the papers' other convention z writes the
new one: the same function with the weights and biases of z negated, since 1 - σ(a) = σ(-a).
"""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states

_GATES = {"r": Gate("reset gate"), "z": Gate("update gate", "keeps"), "n": Gate("candidate state")}


@cell(
    "gru",
    layer="GRU",
    options={"reset": "after"},
    torch="gru",
    gates=_GATES,
    states={"h": State("hidden state")},
    source="Cho et al. 2014, arXiv:1406.1078v1: reset after the product, as torch.nn.GRU and cuDNN",
    use="The first to try: close to the LSTM in quality, with three quarters of its weights.",
)
def gru(ops, w, u, h):
    """Two gates; the reset gate scales the recurrent product of the candidate."""
    r = ops.sigmoid(w.r + u.r(h))
    z = ops.sigmoid(w.z + u.z(h))
    n = ops.tanh(w.n + r * u.n(h))
    return states(h=(1 - z) * n + z * h), gates(r=r, z=z, n=n)


@cell(
    "gru_reset_before",
    layer="GRU",
    options={"reset": "before"},
    gates=_GATES,
    states={"h": State("hidden state")},
    source="Cho et al. 2014, arXiv:1406.1078v3, eq. 5-8: reset before the product",
    use="For weights of a model that was trained in this form; else take the GRU, which is faster.",
)
def gru_reset_before(ops, w, u, h):
    """Two gates; the reset gate scales the state that the candidate's product sees."""
    r = ops.sigmoid(w.r + u.r(h))
    z = ops.sigmoid(w.z + u.z(h))
    n = ops.tanh(w.n + u.n(r * h))
    return states(h=(1 - z) * n + z * h), gates(r=r, z=z, n=n)
