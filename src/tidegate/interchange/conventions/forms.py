"""A recurrent cell as ONNX's attributes and Keras' arguments describe it: one of ours, or one made
of them.

Sources: https://onnx.ai/onnx/operators, RNN, GRU and LSTM; keras/src/layers/rnn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from tidegate.cells import CELLS, Cell, add_stored
from tidegate.cells.definition import cell as define
from tidegate.equations.expr import gates, states
from tidegate.interchange.conventions.activations import RELU, SIGMOID, TANH, Activation
from tidegate.interchange.conventions.weights import LIBRARIES, Convention

Family = Literal["RNN", "GRU", "LSTM"]
USUAL: Mapping[Family, tuple[Activation, ...]] = {
    "RNN": (TANH,),
    "GRU": (SIGMOID, TANH),
    "LSTM": (SIGMOID, TANH, TANH),
}
_PLAIN = {"RNN": "rnn_tanh", "GRU": "gru", "LSTM": "lstm"}


@dataclass(frozen=True)
class Form:
    """``activations``: f of an RNN; f of the gates and g of the candidate of a GRU; these and h of
    the new cell state of an LSTM.  ``clip``: bound of what enters each of them, or None.
    ``reset_after``: the GRU's reset gate scales the product.  ``coupled``: the LSTM forgets just
    as much as it writes.  ``peepholes``: the LSTM's gates see the cell state.
    """

    family: Family
    activations: tuple[Activation, ...]
    clip: float | None = None
    reset_after: bool = True
    coupled: bool = False
    peepholes: bool = False

    @property
    def cell(self) -> Cell:
        """Our cell of this form, or one of its own equations, which is compiled as readers' are."""
        return _cell(self)

    @property
    def name(self) -> str:
        """In words."""
        what = {"reset before": self.family == "GRU" and not self.reset_after}
        what |= {"coupled gates": self.coupled, "peepholes": self.peepholes}
        if self.activations != USUAL[self.family]:
            what[", ".join(map(str, self.activations))] = True
        if self.clip is not None:
            what[f"clip {self.clip:.4g}"] = True
        said = [text for text, so in what.items() if so]
        return f"{self.family} ({', '.join(said)})" if said else self.family

    def in_onnx(self) -> Convention:
        """How ONNX writes it, whose order of gates does not depend on the rest."""
        return LIBRARIES["onnx"]["lstm_peephole" if self.peepholes else _PLAIN[self.family]]

    def in_keras(self) -> Convention:
        """How Keras writes it."""
        before = self.family == "GRU" and not self.reset_after
        return LIBRARIES["keras"]["gru_reset_before" if before else _PLAIN[self.family]]


# Our cells that are of such a form.
FORM_OF = {
    "rnn_tanh": Form("RNN", (TANH,)),
    "rnn_relu": Form("RNN", (RELU,)),
    "gru": Form("GRU", USUAL["GRU"]),
    "gru_reset_before": Form("GRU", USUAL["GRU"], reset_after=False),
    "lstm": Form("LSTM", USUAL["LSTM"]),
    "lstm_peephole": Form("LSTM", USUAL["LSTM"], peepholes=True),
    "lstm_coupled": Form("LSTM", USUAL["LSTM"], coupled=True),
}
_OURS = {form: CELLS[name] for name, form in FORM_OF.items()}


@lru_cache(maxsize=256)
def _cell(form: Form) -> Cell:
    if form in _OURS:
        return _OURS[form]
    equations = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}[form.family](form)
    plain = CELLS["lstm_coupled" if form.coupled else _PLAIN[form.family]]
    seen = ("i", "o") if form.coupled else ("i", "f", "o")
    made = define(
        _identifier(form), gates=plain.gates, states=plain.states, source="the file's attributes",
        use="", vectors={"weight_ch": seen} if form.peepholes else None,
    )(equations)  # fmt: skip
    made = replace(made, key=f"{made.name}@{made.digest()}")
    add_stored(made)
    return made


def _identifier(form: Form) -> str:
    """A name for programs; numbers of activations are told apart by the cell's key."""
    parts = {"reset_before": form.family == "GRU" and not form.reset_after}
    parts |= {"coupled": form.coupled, "peephole": form.peepholes}
    names = "_".join(re.sub("(?<=[a-z])(?=[A-Z])", "_", a.name) for a in form.activations)
    parts |= {names: form.activations != USUAL[form.family], "clip": form.clip is not None}
    return "_".join((form.family, *(part for part, so in parts.items() if so))).lower()


def _functions(form: Form) -> list[Any]:
    """The activations on operations and a value, which is clipped before."""

    def clipped(activation: Activation) -> Any:
        bound = form.clip
        if bound is None:
            return activation.of
        return lambda ops, a: activation.of(ops, ops.maximum(ops.minimum(a, bound), -bound))

    return [clipped(activation) for activation in form.activations]


def _rnn(form: Form) -> Any:
    (f,) = _functions(form)

    def step(ops: Any, w: Any, u: Any, h: Any) -> Any:
        return states(h=f(ops, w.h + u.h(h))), gates()

    return step


def _gru(form: Form) -> Any:
    f, g = _functions(form)

    def step(ops: Any, w: Any, u: Any, h: Any) -> Any:
        r = f(ops, w.r + u.r(h))
        z = f(ops, w.z + u.z(h))
        n = g(ops, w.n + (r * u.n(h) if form.reset_after else u.n(r * h)))
        return states(h=(1 - z) * n + z * h), gates(r=r, z=z, n=n)

    return step


def _lstm(form: Form) -> Any:
    f, g, h_of = _functions(form)

    def step(ops: Any, w: Any, u: Any, *others: Any) -> Any:
        h, c = others[-2:]
        p = others[0] if form.peepholes else None
        i = f(ops, w.i + u.i(h) + (p.i * c if p else 0.0))
        forget = 1 - i if form.coupled else f(ops, w.f + u.f(h) + (p.f * c if p else 0.0))
        n = g(ops, w.g + u.g(h))
        c = forget * c + i * n
        o = f(ops, w.o + u.o(h) + (p.o * c if p else 0.0))
        return states(h=o * h_of(ops, c), c=c), gates(i=i, f=forget, g=n, o=o)

    return step
