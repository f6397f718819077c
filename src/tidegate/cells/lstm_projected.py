"""Long short-term memory whose output is a projection of its hidden state."""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states


@cell(
    "lstm_projected",
    layer="LSTM",
    torch="lstm",
    gates={
        "i": Gate("input gate", "writes"),
        "f": Gate("forget gate", "keeps"),
        "g": Gate("candidate"),
        "o": Gate("output gate", "shows"),
    },
    states={"h": State("projected hidden state", "P"), "c": State("cell state")},
    projections=("weight_hr",),
    source="Sak et al. 2014, arXiv:1402.1128; as torch.nn.LSTM with proj_size",
    use="For large memories at little cost: H cells behind an output of P values.",
)
def lstm_projected(ops, w, u, project, h, c):
    """Three gates around the cell state; what they show is projected to P values."""
    i = ops.sigmoid(w.i + u.i(h))
    f = ops.sigmoid(w.f + u.f(h))
    g = ops.tanh(w.g + u.g(h))
    o = ops.sigmoid(w.o + u.o(h))
    c = f * c + i * g
    return states(h=project(o * ops.tanh(c)), c=c), gates(i=i, f=f, g=g, o=o)
