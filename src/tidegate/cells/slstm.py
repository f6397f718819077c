"""The sLSTM of the xLSTM: exponential gates, and a state that keeps them within range.

Both gates are divided by exp(m), and so are c and n, of which h = o c / n is the ratio.  The
greater of the two is 1 then, so that n is at least 1 after any step.  Before the first, n is 0, and
m is to be that of the input gate alone.  The published code asks for this whether all of a batch's
n are 0; here each unit of each row is asked by itself.
"""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states

_NEVER = 1e30  # of which exp(-x) is 0
_GATES = {
    "i": Gate("input gate, exponential", "writes"),
    "f": Gate("forget gate", "keeps"),
    "z": Gate("candidate"),
    "o": Gate("output gate", "shows"),
}
_STATES = {
    "h": State("hidden state"),
    "c": State("cell state"),
    "n": State("normaliser"),
    "m": State("stabiliser"),
}
_SOURCE = "Beck et al. 2024, xLSTM, arXiv:2405.04517, eq. 8-17"


def _stabilised(ops, log_i, log_f, n, m):
    """Both gates divided by exp(m), and the new m."""
    begun = ops.minimum(2 * n, 1)  # 0 before the first step, 1 after any
    kept = log_f + m - _NEVER * (1 - begun)
    m = ops.maximum(kept, log_i)
    return ops.exp(log_i - m), ops.exp(kept - m), m


@cell(
    "slstm",
    heads=True,
    gates=_GATES,
    states=_STATES,
    source=f"{_SOURCE}, sigmoid forget gate, as in flashrnn and TiRex",
    use="To revise what was stored: exponential gates; with heads, small recurrent weights.",
)
def slstm(ops, w, u, h, c, n, m):
    """An LSTM with an exponential input gate and a normalised cell state."""
    seen = w.f + u.f(h)
    log_f = ops.minimum(seen, 0) - ops.log(1 + ops.exp(ops.minimum(seen, -seen)))
    i, f, m = _stabilised(ops, w.i + u.i(h), log_f, n, m)
    z = ops.tanh(w.z + u.z(h))
    o = ops.sigmoid(w.o + u.o(h))
    c = f * c + i * z
    n = f * n + i
    return states(h=o * c / n, c=c, n=n, m=m), gates(i=i, f=f, z=z, o=o)


@cell(
    "slstm_exp",
    heads=True,
    gates=_GATES,
    states=_STATES,
    source=f"{_SOURCE}, exponential forget gate",
    use="As slstm, with a forget gate that may also amplify.",
)
def slstm_exp(ops, w, u, h, c, n, m):
    """Both the input and the forget gate are exponential."""
    i, f, m = _stabilised(ops, w.i + u.i(h), w.f + u.f(h), n, m)
    z = ops.tanh(w.z + u.z(h))
    o = ops.sigmoid(w.o + u.o(h))
    c = f * c + i * z
    n = f * n + i
    return states(h=o * c / n, c=c, n=n, m=m), gates(i=i, f=f, z=z, o=o)
