"""A cell with heads, the same without them, and a layer of it."""

from __future__ import annotations

from typing import Any

import torch

import tidegate as tg
from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states

GATES = {
    "r": Gate("reset gate"),
    "z": Gate("update gate", "keeps"),
    "n": Gate("candidate"),
    "o": Gate("output gate", "shows"),
}
STATES = {"h": State("output"), "c": State("memory")}
COMMON: dict[str, Any] = {"gates": GATES, "states": STATES, "source": "a test", "use": "In tests."}


@cell("headed", heads=True, vectors={"peep": ("o",)}, **COMMON)
def headed(ops, w, u, peep, h, c):
    """Products of a state and of a computed value; the gates of the state stand not in a row."""
    r = ops.sigmoid(w.r + u.r(h))
    z = ops.sigmoid(w.z + u.z(h))
    n = ops.tanh(w.n + u.n(r * h))
    c = z * c + (1 - z) * n
    o = ops.sigmoid(w.o + u.o(h) + peep.o * c)
    return states(h=o * ops.tanh(c), c=c), gates(r=r, z=z)


plain = cell("plain", vectors={"peep": ("o",)}, **COMMON)(headed.equations)


def layer_of(**options: Any) -> tg.Recurrent:
    """A layer of two heads of three units, the same at each call."""
    torch.manual_seed(0)
    return tg.Recurrent(headed, 3, 6, num_heads=2, dtype=torch.float64, **options)
