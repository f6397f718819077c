"""The variants of the LSTM with peepholes that were compared in "A Search Space Odyssey".

Each changes one thing of lstm_peephole, the paper's vanilla LSTM.  Its NP, no peepholes, is lstm.
"""

from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states

_GATES = {
    "i": Gate("input gate", "writes"),
    "f": Gate("forget gate", "keeps"),
    "g": Gate("candidate"),
    "o": Gate("output gate", "shows"),
}


def _variant(name, change, use, *, blocks="ifgo"):
    """Declare a variant with these of the four blocks; those of gates have peepholes."""
    return cell(
        f"lstm_{name}",
        gates={g: _GATES[g] for g in blocks},
        states={"h": State("hidden state"), "c": State("cell state")},
        vectors={"weight_ch": tuple(g for g in blocks if g != "g")},
        source=f"Greff et al. 2015, arXiv:1503.04069, {name.upper()}: {change}",
        use=use,
        variant_of="lstm_peephole",
    )


@_variant("nig", "no input gate, i = 1", "To see what an input gate is for.", blocks="fgo")
def lstm_nig(ops, w, u, p, h, c):
    """Every candidate is written in full."""
    f = ops.sigmoid(w.f + u.f(h) + p.f * c)
    g = ops.tanh(w.g + u.g(h))
    c = f * c + g
    o = ops.sigmoid(w.o + u.o(h) + p.o * c)
    return states(h=o * ops.tanh(c), c=c), gates(f=f, g=g, o=o)


@_variant("nfg", "no forget gate, f = 1", "To see what a forget gate is for.", blocks="igo")
def lstm_nfg(ops, w, u, p, h, c):
    """Nothing is forgotten, as in the first LSTM, of 1997."""
    i = ops.sigmoid(w.i + u.i(h) + p.i * c)
    g = ops.tanh(w.g + u.g(h))
    c = c + i * g
    o = ops.sigmoid(w.o + u.o(h) + p.o * c)
    return states(h=o * ops.tanh(c), c=c), gates(i=i, g=g, o=o)


@_variant("nog", "no output gate, o = 1", "To see what an output gate is for.", blocks="ifg")
def lstm_nog(ops, w, u, p, h, c):
    """The whole cell state is shown."""
    i = ops.sigmoid(w.i + u.i(h) + p.i * c)
    f = ops.sigmoid(w.f + u.f(h) + p.f * c)
    g = ops.tanh(w.g + u.g(h))
    c = f * c + i * g
    return states(h=ops.tanh(c), c=c), gates(i=i, f=f, g=g)


@_variant("niaf", "no input activation function", "To see what the candidate's tanh is for.")
def lstm_niaf(ops, w, u, p, h, c):
    """The candidate is not squashed."""
    i = ops.sigmoid(w.i + u.i(h) + p.i * c)
    f = ops.sigmoid(w.f + u.f(h) + p.f * c)
    g = w.g + u.g(h)
    c = f * c + i * g
    o = ops.sigmoid(w.o + u.o(h) + p.o * c)
    return states(h=o * ops.tanh(c), c=c), gates(i=i, f=f, g=g, o=o)


@_variant("noaf", "no output activation function", "To see what the output's tanh is for.")
def lstm_noaf(ops, w, u, p, h, c):
    """What is shown is not squashed."""
    i = ops.sigmoid(w.i + u.i(h) + p.i * c)
    f = ops.sigmoid(w.f + u.f(h) + p.f * c)
    g = ops.tanh(w.g + u.g(h))
    c = f * c + i * g
    o = ops.sigmoid(w.o + u.o(h) + p.o * c)
    return states(h=o * c, c=c), gates(i=i, f=f, g=g, o=o)


@_variant(
    "cifg",
    "coupled input and forget gate, f = 1 - i",
    "lstm_coupled with peepholes.",
    blocks="igo",
)
def lstm_cifg(ops, w, u, p, h, c):
    """One gate both writes the new cell state and forgets the old one."""
    i = ops.sigmoid(w.i + u.i(h) + p.i * c)
    g = ops.tanh(w.g + u.g(h))
    c = (1 - i) * c + i * g
    o = ops.sigmoid(w.o + u.o(h) + p.o * c)
    return states(h=o * ops.tanh(c), c=c), gates(i=i, g=g, o=o)


_PAST = {
    f"{gate}_{of}": Gate(f"{_GATES[gate].meaning}, of the last {_GATES[of].meaning}")
    for gate in "ifo"
    for of in "ifo"
}


@cell(
    "lstm_fgr",
    gates=_GATES | _PAST,
    states={
        "h": State("hidden state"),
        "c": State("cell state"),
        "i": State("last input gate"),
        "f": State("last forget gate"),
        "o": State("last output gate"),
    },
    vectors={"weight_ch": ("i", "f", "o")},
    source="Greff et al. 2015, arXiv:1503.04069, FGR: full gate recurrence, as in Hochreiter & "
    "Schmidhuber 1997",
    use="To see that gates need not see each other: thirteen recurrent matrices, where four do.",
    variant_of="lstm_peephole",
)
def lstm_fgr(ops, w, u, p, h, c, i, f, o):
    """Every gate also sees what all gates were one step before."""
    seen_i = u.i(h) + u.i_i(i) + u.i_f(f) + u.i_o(o)
    seen_f = u.f(h) + u.f_i(i) + u.f_f(f) + u.f_o(o)
    seen_o = u.o(h) + u.o_i(i) + u.o_f(f) + u.o_o(o)
    i = ops.sigmoid(w.i + seen_i + p.i * c)
    f = ops.sigmoid(w.f + seen_f + p.f * c)
    g = ops.tanh(w.g + u.g(h))
    c = f * c + i * g
    o = ops.sigmoid(w.o + seen_o + p.o * c)
    return states(h=o * ops.tanh(c), c=c, i=i, f=f, o=o), gates(i=i, f=f, g=g, o=o)
