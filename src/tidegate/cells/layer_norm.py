"""The LSTM and the GRU with layer normalisation.

Where the norms stand: as in TensorFlow's LayerNormBasicLSTMCell, each gate is normalised by itself,
as the sum of both its products, with a gain and a shift of its own; so is the new cell state, and
what comes of it is carried on.  (Haste and Ba's own code normalise each product, over all gates.)
The shift stands for the bias; `bias=False` leaves out those that are normalised away.
"""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states
from tidegate.equations.norm import layer_norm

_SOURCE = "Ba et al. 2016, arXiv:1607.06450"


@cell(
    "lstm_norm",
    gates={
        "i": Gate("input gate", "writes"),
        "f": Gate("forget gate", "keeps"),
        "g": Gate("candidate"),
        "o": Gate("output gate", "shows"),
    },
    states={"h": State("hidden state"), "c": State("cell state, normalised")},
    vectors={"weight_norm": ("i", "f", "g", "o", "c"), "bias_norm": ("i", "f", "g", "o", "c")},
    shifts=("bias_norm",),
    source=f"{_SOURCE}, placed as in TensorFlow's LayerNormBasicLSTMCell",
    use="For deep stacks and high learning rates: gates stay in their range whatever the weights.",
)
def lstm_norm(ops, w, u, gain, shift, h, c):
    """Every gate, and the new cell state, is normalised over the units of its row."""
    i = ops.sigmoid(layer_norm(ops, w.i + u.i(h), gain.i, shift.i))
    f = ops.sigmoid(layer_norm(ops, w.f + u.f(h), gain.f, shift.f))
    g = ops.tanh(layer_norm(ops, w.g + u.g(h), gain.g, shift.g))
    o = ops.sigmoid(layer_norm(ops, w.o + u.o(h), gain.o, shift.o))
    c = layer_norm(ops, f * c + i * g, gain.c, shift.c)
    return states(h=o * ops.tanh(c), c=c), gates(i=i, f=f, g=g, o=o)


@cell(
    "gru_norm",
    gates={
        "r": Gate("reset gate"),
        "z": Gate("update gate", "keeps"),
        "n": Gate("candidate state"),
    },
    states={"h": State("hidden state")},
    vectors={"weight_norm": ("r", "z", "n", "u"), "bias_norm": ("r", "z", "n", "u")},
    shifts=("bias_norm",),
    source=f"{_SOURCE}, each gate by itself as in lstm_norm; the candidate's products as in eq. 32",
    use="As lstm_norm, with three quarters of its weights.",
)
def gru_norm(ops, w, u, gain, shift, h):
    """Both gates are normalised, and both products of the candidate."""
    r = ops.sigmoid(layer_norm(ops, w.r + u.r(h), gain.r, shift.r))
    z = ops.sigmoid(layer_norm(ops, w.z + u.z(h), gain.z, shift.z))
    seen = layer_norm(ops, u.n(h), gain.u, shift.u)
    n = ops.tanh(layer_norm(ops, w.n, gain.n, shift.n) + r * seen)
    return states(h=(1 - z) * n + z * h), gates(r=r, z=z, n=n)
