"""The light gated recurrent unit."""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states


@cell(
    "gru_light",
    gates={"z": Gate("update gate", "keeps"), "n": Gate("candidate state")},
    states={"h": State("hidden state")},
    source="Ravanelli et al. 2018, arXiv:1803.10225, without the batch normalisation of its inputs",
    use="For speech and other smooth inputs: a GRU without reset gate, with a rectified candidate.",
)
def gru_light(ops, w, u, h):
    """One gate; the candidate is rectified and sees the state as it is."""
    z = ops.sigmoid(w.z + u.z(h))
    n = ops.relu(w.n + u.n(h))
    return states(h=z * h + (1 - z) * n), gates(z=z, n=n)
