"""The closed form of a liquid time-constant network, for steps at irregular times.

The new state lies between two candidates, and moves from the first to the second with the time
since the last step, at a rate that follows input and state.  Elapsed time is a column of the input,
as all else that a step reads: each unit reads it by weights of its own, where the published code
has one number for all.
"""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states


@cell(
    "cfc",
    gates={
        "t": Gate("elapsed time, as each unit reads it"),
        "a": Gate("rate, by which time counts"),
        "s": Gate("share of the second candidate"),
        "g": Gate("first candidate state"),
        "n": Gate("second candidate state"),
    },
    states={"h": State("hidden state")},
    source="Hasani et al. 2022, closed-form continuous-time networks, arXiv:2106.13898; as in "
    "their code, without a backbone before the gates",
    use="For steps at irregular times, as gru_decay: time chooses between two candidate states.",
)
def cfc(ops, w, u, h):
    """Two candidates of input and state, mixed by the time that went by."""
    s = ops.sigmoid((w.a + u.a(h)) * w.t + w.s + u.s(h))
    g = ops.tanh(w.g + u.g(h))
    n = ops.tanh(w.n + u.n(h))
    return states(h=(1 - s) * g + s * n), gates(s=s, g=g, n=n)
