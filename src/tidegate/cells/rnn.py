"""The simple recurrent network."""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states

_ELMAN = "Elman 1990, Finding structure in time, with two biases as torch.nn.RNN"


@cell(
    "rnn_tanh",
    short="rnn",
    layer="RNN",
    options={"nonlinearity": "tanh"},
    torch="rnn_tanh",
    gates={"h": Gate("new state")},
    states={"h": State("hidden state")},
    source=_ELMAN,
    use="The smallest and fastest cell; for memories of a few steps, and to see gradients vanish.",
)
def rnn_tanh(ops, w, u, h):
    """Squash the sum of the input and the recurrent product."""
    return states(h=ops.tanh(w.h + u.h(h))), gates()


@cell(
    "rnn_relu",
    layer="RNN",
    options={"nonlinearity": "relu"},
    torch="rnn_relu",
    gates={"h": Gate("new state")},
    states={"h": State("hidden state")},
    source=_ELMAN,
    use="Where states must not saturate; its states may grow without bound, so clip gradients.",
)
def rnn_relu(ops, w, u, h):
    """Rectify the sum of the input and the recurrent product."""
    return states(h=ops.relu(w.h + u.h(h))), gates()
