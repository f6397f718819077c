"""The simple recurrent network."""

from tidegate.cells.definition import cell
from tidegate.expr import gates, states

_ELMAN = "Elman 1990, Finding structure in time, with two biases as torch.nn.RNN"


@cell(
    "rnn_tanh",
    layer="RNN",
    options={"nonlinearity": "tanh"},
    gates={"h": "new state"},
    state={"h": "hidden state"},
    source=_ELMAN,
)
def rnn_tanh(ops, w, u, h):
    """Squash the sum of the input and the recurrent product."""
    return states(h=ops.tanh(w.h + u.h(h))), gates()


@cell(
    "rnn_relu",
    layer="RNN",
    options={"nonlinearity": "relu"},
    gates={"h": "new state"},
    state={"h": "hidden state"},
    source=_ELMAN,
)
def rnn_relu(ops, w, u, h):
    """Rectify the sum of the input and the recurrent product."""
    return states(h=ops.relu(w.h + u.h(h))), gates()
