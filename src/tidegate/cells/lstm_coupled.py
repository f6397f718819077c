"""Long short-term memory that forgets just as much as it writes."""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states


@cell(
    "lstm_coupled",
    gates={
        "i": Gate("input gate", "writes"),
        "g": Gate("candidate"),
        "o": Gate("output gate", "shows"),
    },
    states={"h": State("hidden state"), "c": State("cell state")},
    source="Greff et al. 2015, arXiv:1503.04069, CIFG: f = 1 - i; as ONNX's LSTM with input_forget",
    use="An LSTM with three quarters of its weights, close to it in quality.",
)
def lstm_coupled(ops, w, u, h, c):
    """Two gates: one both writes the new cell state and forgets the old one."""
    i = ops.sigmoid(w.i + u.i(h))
    g = ops.tanh(w.g + u.g(h))
    o = ops.sigmoid(w.o + u.o(h))
    c = (1 - i) * c + i * g
    return states(h=o * ops.tanh(c), c=c), gates(i=i, g=g, o=o)
