"""How other libraries write the cells' weights: the one table of it.

A cell's own order of gates is its declaration's (`tidegate.cells`).  Letters: I input, H hidden,
G gates.  Sources: torch.nn's documentation; keras/src/layers/rnn of Keras 3; the operators RNN,
GRU and LSTM of https://onnx.ai/onnx/operators; the GRU tutorial for Theano is gru_theano.py of
https://github.com/dennybritz/rnn-tutorial-gru-lstm.  In all four the update gate z of a GRU keeps
the old state, as ours does: h = (1 - z) * n + z * h.  Where one writes the new state instead,
as in Chung et al. 2014 (arXiv:1412.3555), `Convention.writing` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tidegate.cells import CELLS, Cell
from tidegate.cells.parts import Parameter

Array = NDArray[Any]


@dataclass(frozen=True)
class Convention:
    """How a library writes one of our cells.

    ``layer`` is its layer or operator, ``options`` the arguments or attributes that choose the
    cell there.  ``gates`` are its blocks in its order, by our names; a block that our cell does
    not have counts for nothing, and is written as zeros.  ``arrays`` says what it calls our
    weights.  ``bias`` says what becomes of our two biases, [G*H] each:

    - ``two``: they are arrays of their own;
    - ``joined``: one after the other, [2*G*H];
    - ``rows``: one above the other, [2, G*H];
    - ``sum``: added, [G*H]; when read, the input's bias is the sum and the other is zero.

    ``transposed`` matrices are [I, G*H]; ``stacked`` arrays have an axis of gates, [G, H, I].
    Weights and biases of ``negated`` gates have the other sign: these gates write where ours
    keep, and 1 - σ(a) = σ(-a).  ``vector_gates`` are the blocks of vectors, of the gates that see
    the cell state.
    """

    layer: str
    gates: tuple[str, ...]
    arrays: Mapping[str, str]
    bias: Literal["two", "joined", "rows", "sum"]
    options: Mapping[str, Any] = field(default_factory=dict)
    transposed: bool = False
    stacked: bool = False
    negated: tuple[str, ...] = ()
    vector_gates: tuple[str, ...] = ()

    def writing(self, *gates: str) -> Convention:
        """The same, where these gates write the new state."""
        return replace(self, negated=gates)

    def order_of(self, cell: Cell) -> tuple[int, ...]:
        """For each of the cell's gates, in its order, the place of it among the blocks here."""
        return tuple(self.gates.index(gate) for gate in cell.gates)


_KERAS = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel", "bias": "bias"}
_ONNX = {"weight_ih": "W", "weight_hh": "R", "bias": "B"}
_THEANO = {"weight_ih": "U", "weight_hh": "W", "bias": "b"}


def _of_torch() -> dict[str, Convention]:
    """torch.nn's, from whose order of gates and names of arrays ours are."""
    return {
        name: Convention(
            cell.layer, tuple(cell.gates), {array: array for array in cell.parameters}, "two",
            {k: v for k, v in cell.options.items() if k == "nonlinearity"},
        )
        for name, cell in CELLS.items()
        if cell.torch
    }  # fmt: skip


def _keras(layer: str, gates: str, bias: Literal["rows", "sum"], **options: Any) -> Convention:
    return Convention(layer, tuple(gates), _KERAS, bias, options, transposed=True)


def _onnx(layer: str, gates: str, p: bool = False, **attributes: Any) -> Convention:
    arrays = _ONNX | ({"weight_ch": "P"} if p else {})
    return Convention(
        layer, tuple(gates), arrays, "joined", attributes, vector_gates=tuple("iof") if p else ()
    )


LIBRARIES: Mapping[str, Mapping[str, Convention]] = MappingProxyType(
    {
        "torch": _of_torch(),
        "keras": {
            "rnn_tanh": _keras("SimpleRNN", "h", "sum", activation="tanh"),
            "rnn_relu": _keras("SimpleRNN", "h", "sum", activation="relu"),
            "gru": _keras("GRU", "zrn", "rows", reset_after=True),
            "gru_reset_before": _keras("GRU", "zrn", "sum", reset_after=False),
            "lstm": _keras("LSTM", "ifgo", "sum"),
        },
        "onnx": {
            "rnn_tanh": _onnx("RNN", "h", activations=("Tanh",)),
            "rnn_relu": _onnx("RNN", "h", activations=("Relu",)),
            "gru": _onnx("GRU", "zrn", linear_before_reset=1),
            "gru_reset_before": _onnx("GRU", "zrn", linear_before_reset=0),
            "lstm": _onnx("LSTM", "iofg"),
            "lstm_peephole": _onnx("LSTM", "iofg", p=True),
            "lstm_coupled": _onnx("LSTM", "iofg", input_forget=1),
        },
        "theano": {
            "gru_reset_before": Convention(
                "GRUTheano", tuple("zrn"), _THEANO, "sum", stacked=True,
            ),
        },
    }
)  # fmt: skip


def into(
    library: str, cell: str | Cell, parameters: Mapping[str, Array], how: Convention | None = None
) -> dict[str, Array]:
    """Arrays of one layer in one direction by the library's names, from the cell's parameters.

    ``parameters`` by the names that the cell declares; without biases there are none in the
    answer.  ``how`` instead of what the table says, for a cell that stands in none.  Arrays are
    new and contiguous.  Raises KeyError for a cell that the library does not have.
    """
    cell = CELLS[cell] if isinstance(cell, str) else cell
    how = how or LIBRARIES[library][cell.name]
    found = {}
    for name, parameter in cell.parameters.items():
        if name not in parameters:
            continue
        found[name] = _in_their_order(parameters[name], parameter, how)
    if how.bias != "two" and "bias_ih" in found:
        biases = found.pop("bias_ih"), found.pop("bias_hh")
        combine = {"joined": np.concatenate, "rows": np.stack, "sum": sum}[how.bias]
        found["bias"] = combine(biases)
    return {how.arrays[name]: _shaped(name, array, how) for name, array in found.items()}


def out_of(
    library: str, cell: str | Cell, arrays: Mapping[str, Array], how: Convention | None = None
) -> dict[str, Array]:
    """The cell's parameters, from arrays of one layer in one direction by the library's names.

    The inverse of `into`, but that a sum of two biases stays in the first.  Shapes must be right.
    """
    cell = CELLS[cell] if isinstance(cell, str) else cell
    how = how or LIBRARIES[library][cell.name]
    found = {ours: arrays[theirs] for ours, theirs in how.arrays.items() if theirs in arrays}
    found = {name: _flat(name, np.asarray(array), how) for name, array in found.items()}
    if "bias" in found:
        bias = found.pop("bias")
        if how.bias == "sum":
            both = bias, np.zeros_like(bias)
        else:
            both = np.split(bias, 2) if how.bias == "joined" else tuple(bias)
        found["bias_ih"], found["bias_hh"] = both
    return {
        name: np.ascontiguousarray(_in_our_order(found[name], parameter, how))
        for name, parameter in cell.parameters.items()
        if name in found
    }


def _blocks_there(parameter: Parameter, how: Convention) -> tuple[str, ...]:
    """The blocks of a parameter in the library's order."""
    return how.vector_gates if parameter.role == "vector" else how.gates


def _in_their_order(array: Array, parameter: Parameter, how: Convention) -> Array:
    if parameter.role == "projection":
        return np.array(array)
    ours = np.split(array, len(parameter.blocks))
    of = dict(zip(parameter.blocks, ours, strict=True))
    parts = [of.get(g, np.zeros_like(ours[0])) for g in _blocks_there(parameter, how)]
    signs = [g in how.negated for g in _blocks_there(parameter, how)]
    return np.concatenate([-p if other else p for p, other in zip(parts, signs, strict=True)])


def _in_our_order(array: Array, parameter: Parameter, how: Convention) -> Array:
    if parameter.role == "projection":
        return np.array(array)
    theirs = _blocks_there(parameter, how)
    of = dict(zip(theirs, np.split(array, len(theirs)), strict=True))
    return np.concatenate([-of[g] if g in how.negated else of[g] for g in parameter.blocks])


def _shaped(name: str, array: Array, how: Convention) -> Array:
    if how.stacked:
        return array.reshape(len(how.gates), -1, *array.shape[1:])
    return np.ascontiguousarray(array.T) if how.transposed and name != "bias" else array


def _flat(name: str, array: Array, how: Convention) -> Array:
    if how.stacked:
        return array.reshape(-1, *array.shape[2:])
    return array.T if how.transposed and name != "bias" else array
