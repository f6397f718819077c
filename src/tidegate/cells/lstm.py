"""Long short-term memory."""

from tidegate.cells.definition import cell
from tidegate.expr import gates, states


@cell(
    "lstm",
    layer="LSTM",
    gates={"i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate"},
    state={"h": "hidden state", "c": "cell state"},
    source="Hochreiter & Schmidhuber 1997, forget gate of Gers et al. 2000; as torch.nn.LSTM",
)
def lstm(ops, w, u, h, c):
    """Three gates around a cell state that is only ever scaled and added to."""
    i = ops.sigmoid(w.i + u.i(h))
    f = ops.sigmoid(w.f + u.f(h))
    g = ops.tanh(w.g + u.g(h))
    o = ops.sigmoid(w.o + u.o(h))
    c = f * c + i * g
    return states(h=o * ops.tanh(c), c=c), gates(i=i, f=f, g=g, o=o)
