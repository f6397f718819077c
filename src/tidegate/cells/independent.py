"""Cells of which each unit sees its own past alone: recurrent weights are one number for each."""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states

_PARARNN = "Danieli et al. 2025, ParaRNN, arXiv:2510.21450"


@cell(
    "indrnn",
    gates={"h": Gate("new state")},
    states={"h": State("hidden state")},
    vectors={"weight_diagonal": ("h",)},
    diagonals=("weight_diagonal",),
    source="Li et al. 2018, arXiv:1803.04831, eq. 2, rectified",
    use="For very long sequences and deep stacks: no unit sees another's past, so a step costs "
    "next to nothing.",
)
def indrnn(ops, w, u, own, h):  # noqa: ARG001
    """Rectify the input product and each unit's own past, scaled."""
    return states(h=ops.relu(w.h + own.h * h)), gates()


@cell(
    "gru_diagonal",
    gates={
        "r": Gate("reset gate"),
        "z": Gate("update gate", "keeps"),
        "n": Gate("candidate state"),
    },
    states={"h": State("hidden state")},
    vectors={"weight_diagonal": ("r", "z", "n")},
    diagonals=("weight_diagonal",),
    source=f"{_PARARNN}, the diagonal GRU; z keeps, as in our gru",
    use="For long sequences and wide layers: gates that see the state, without a product per step.",
)
def gru_diagonal(ops, w, u, own, h):  # noqa: ARG001
    """The gates of the GRU, of which each unit's see its own state."""
    r = ops.sigmoid(w.r + own.r * h)
    z = ops.sigmoid(w.z + own.z * h)
    n = ops.tanh(w.n + own.n * (r * h))
    return states(h=(1 - z) * n + z * h), gates(r=r, z=z, n=n)


@cell(
    "lstm_diagonal",
    gates={
        "f": Gate("forget gate", "keeps"),
        "g": Gate("candidate"),
        "o": Gate("output gate", "shows"),
    },
    states={"h": State("hidden state"), "c": State("cell state")},
    vectors={"weight_diagonal": ("f", "g", "o"), "weight_ch": ("f", "o")},
    diagonals=("weight_diagonal",),
    source=f"{_PARARNN}, the diagonal LSTM: coupled gates (i = 1 - f) and peepholes",
    use="As gru_diagonal, with a cell state apart from what is shown.",
)
def lstm_diagonal(ops, w, u, own, p, h, c):  # noqa: ARG001
    """Coupled gates with peepholes, of which each unit's see its own states."""
    f = ops.sigmoid(w.f + own.f * h + p.f * c)
    g = ops.tanh(w.g + own.g * h)
    c = f * c + (1 - f) * g
    o = ops.sigmoid(w.o + own.o * h + p.o * c)
    return states(h=o * ops.tanh(c), c=c), gates(f=f, g=g, o=o)
