"""Long short-term memory whose gates see the cell state."""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states


@cell(
    "lstm_peephole",
    gates={
        "i": Gate("input gate", "writes"),
        "f": Gate("forget gate", "keeps"),
        "g": Gate("candidate"),
        "o": Gate("output gate", "shows"),
    },
    states={"h": State("hidden state"), "c": State("cell state")},
    vectors={"weight_ch": ("i", "f", "o")},
    source="Gers & Schmidhuber 2000, Recurrent nets that time and count; as ONNX's LSTM with P",
    use="For exact times and counts: gates see the cell state even while the output gate hides it.",
)
def lstm_peephole(ops, w, u, p, h, c):
    """The input and forget gates see the old cell state, the output gate sees the new one."""
    i = ops.sigmoid(w.i + u.i(h) + p.i * c)
    f = ops.sigmoid(w.f + u.f(h) + p.f * c)
    g = ops.tanh(w.g + u.g(h))
    c = f * c + i * g
    o = ops.sigmoid(w.o + u.o(h) + p.o * c)
    return states(h=o * ops.tanh(c), c=c), gates(i=i, f=f, g=g, o=o)
