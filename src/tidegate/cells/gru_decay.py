"""The GRU whose state fades with the time that went by, for steps at irregular times.

Elapsed times are columns of the input, as all else that a step reads.  So the decay can follow each
of them, and whatever the other columns say of how long the state is worth keeping.  GRU-D also lets
missing inputs fade, towards their mean; here inputs are what the data say.
"""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states


@cell(
    "gru_decay",
    gates={
        "d": Gate("decay of the state before it is seen"),
        "r": Gate("reset gate"),
        "z": Gate("update gate", "keeps"),
        "n": Gate("candidate state"),
    },
    states={"h": State("hidden state")},
    source="Che et al. 2018, GRU-D, arXiv:1606.01865, eq. 10-16: the decay of the hidden state",
    use="For steps at irregular times, which are read with the time since the step before: the "
    "state fades with it.",
)
def gru_decay(ops, w, u, h):
    """A GRU of the state as far as it has not faded; w.d follows the time since the last step."""
    d = ops.exp(-ops.relu(w.d))
    h = d * h
    r = ops.sigmoid(w.r + u.r(h))
    z = ops.sigmoid(w.z + u.z(h))
    n = ops.tanh(w.n + r * u.n(h))
    return states(h=(1 - z) * n + z * h), gates(d=d, r=r, z=z, n=n)
