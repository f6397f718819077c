"""Long short-term memory."""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states


@cell(
    "lstm",
    layer="LSTM",
    torch="lstm",
    gates={
        "i": Gate("input gate", "writes"),
        "f": Gate("forget gate", "keeps"),
        "g": Gate("candidate"),
        "o": Gate("output gate", "shows"),
    },
    states={"h": State("hidden state"), "c": State("cell state")},
    source="Hochreiter & Schmidhuber 1997, forget gate of Gers et al. 2000; as torch.nn.LSTM",
    use="For long memories and much data: the cell state can be kept without loss.",
)
def lstm(ops, w, u, h, c):
    """Three gates around a cell state that is only ever scaled and added to."""
    i = ops.sigmoid(w.i + u.i(h))
    f = ops.sigmoid(w.f + u.f(h))
    g = ops.tanh(w.g + u.g(h))
    o = ops.sigmoid(w.o + u.o(h))
    c = f * c + i * g
    return states(h=o * ops.tanh(c), c=c), gates(i=i, f=f, g=g, o=o)
