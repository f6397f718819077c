"""The ``.npz`` of the classical GRU tutorial for Theano: arrays E, U, W, V, b and c.

Source: gru_theano.py and utils.py of https://github.com/dennybritz/rnn-tutorial-gru-lstm.  For
tokens x, with two layers of 3 gates each in the order z, r, c:

    z = hard_sigmoid(U[0] E[:, x] + W[0] s + b[0])        hard_sigmoid(a) = 0.2 a + 0.5 in [0, 1]
    r = hard_sigmoid(U[1] E[:, x] + W[1] s + b[1])
    c = tanh(U[2] E[:, x] + W[2] (s * r) + b[2])
    s = (1 - z) * c + z * s

and the same of the next layer with U[3] to U[5]; then softmax(V s + c).  So its update gate keeps
the old state.  Others write (1 - z) * s + z * c; of such a file, say that the gate writes.
"""

from __future__ import annotations

from os import PathLike

import numpy as np

from tidegate.data.files.reading import read_bytes
from tidegate.errors import InputError, shown
from tidegate.interchange.archive import Archive, numbers
from tidegate.interchange.conventions.activations import OLD_HARD_SIGMOID, SOFTMAX, TANH, from_keras
from tidegate.interchange.conventions.forms import Form
from tidegate.interchange.conventions.weights import LIBRARIES, out_of
from tidegate.interchange.layers import Dense, Direction, Embedding, Layer, Recurrent
from tidegate.interchange.network import Network
from tidegate.interchange.problems import about_file
from tidegate.interchange.settled import Answers
from tidegate.interchange.torch_reader import check_shapes

_NAMES = "EUWVbc"
_AXES = {"E": 2, "U": 3, "W": 3, "V": 2, "b": 2, "c": 1}
_AGAIN = "write it again with the tutorial's save_model_parameters_theano"
_MOST_LAYERS = 64
_GATES = 3


def read_theano(path: str | PathLike[str], answers: Answers) -> Network:
    """The network of the tutorial, which reads tokens and gives the next one's probabilities.

    Raises InputError.
    """
    archive = Archive(read_bytes(path), path, _AGAIN)
    arrays, rounded = {}, False
    if sorted(archive.names) != sorted(f"{name}.npy" for name in _NAMES):
        raise InputError(
            f"expected the arrays E, U, W, V, b and c, got {shown(', '.join(archive.names), 200)}; "
            f"{_AGAIN}",
            file=path,
        )
    for name in _NAMES:
        try:
            array = numbers(archive.read(f"{name}.npy"))
        except InputError:
            raise
        except Exception as error:  # numpy raises whatever a damaged file leads to
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            raise InputError(
                f"array {name}: expected numbers, got what cannot be read ({reason}); {_AGAIN}",
                file=path,
            ) from None
        rounded |= array.dtype.itemsize > np.dtype(np.float32).itemsize
        with np.errstate(over="ignore"):
            arrays[name] = np.ascontiguousarray(array, np.float32)
    try:
        layers = _layers(arrays, answers)
    except ValueError as e:
        raise about_file(e, path, _AGAIN) from None
    notes = ["its gates are of hard_sigmoid, its update gate keeps the old state, as its code has"]
    if answers.update_gate or answers.recurrent_activation:
        notes = ["gates as you said"]
    notes += ["its numbers were rounded to float32"] if rounded else []
    return Network(tuple(layers), "a GRU tutorial's .npz", tuple(notes))


def _layers(arrays: dict[str, np.ndarray], answers: Answers) -> list[Layer]:
    for name, array in arrays.items():
        if array.ndim != _AXES[name] or not array.size or not np.isfinite(array).all():
            raise ValueError(
                f"array {name}: expected finite numbers of {_AXES[name]} axes, got "
                f"{list(array.shape)}"
            )
    e, u, w, v, b, c = arrays.values()
    hidden, count = u.shape[1], len(u) // _GATES
    inputs, tokens = e.shape
    wanted = {
        "U": (_GATES * count, hidden, inputs), "W": (_GATES * count, hidden, hidden),
        "V": (tokens, hidden), "b": (_GATES * count, hidden), "c": (tokens,),
    }  # fmt: skip
    for name, shape in wanted.items():
        if arrays[name].shape != shape or not 1 <= count <= _MOST_LAYERS:
            raise ValueError(
                f"array {name}: expected {list(shape)} beside E {list(e.shape)} and U "
                f"{list(u.shape)}, 3 gates a layer, got {list(arrays[name].shape)}"
            )
    if count > 1 and inputs != hidden:
        raise ValueError(f"E: expected {hidden} rows for two layers, got {inputs}")
    gate = answers.recurrent_activation
    activation = from_keras(gate, old=True) if gate else OLD_HARD_SIGMOID
    form = Form("GRU", (activation, TANH), reset_after=False)
    how = LIBRARIES["theano"]["gru_reset_before"]
    how = how.writing("z") if answers.update_gate == "writes" else how
    layers: list[Layer] = [Embedding("E", np.ascontiguousarray(e.T))]
    for k in range(count):
        part = slice(_GATES * k, _GATES * (k + 1))
        own = out_of("theano", form.cell, {"U": u[part], "W": w[part], "b": b[part]}, how)
        check_shapes(form.cell, own, f"layer {k}")
        layers.append(Recurrent(f"layer_{k}", form.cell, (Direction(own),), form=form))
    return [*layers, Dense("V", v, c, SOFTMAX)]
