"""Layers from Keras' configurations and arrays.

Sources: the classes of keras/src/layers of Keras 3; Keras 2 has the same names.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np

from tidegate.errors import InputError, shown, spelled
from tidegate.interchange.activations import SOFTMAX, Activation, from_keras
from tidegate.interchange.conventions import out_of
from tidegate.interchange.forms import Form
from tidegate.interchange.layers import (
    Activate,
    Dense,
    Direction,
    Dropout,
    Embedding,
    Layer,
    Masking,
    Normalisation,
    Pool,
    Recurrent,
)
from tidegate.interchange.settled import Answers
from tidegate.interchange.torch_reader import check_shapes

Weights = dict[str, list[np.ndarray]]  # by part of the layer, or all of them under "all"
Config = dict[str, Any]
_RECURRENT: dict[str, Literal["RNN", "GRU", "LSTM"]] = {
    "SimpleRNN": "RNN", "GRU": "GRU", "LSTM": "LSTM",
}  # fmt: skip
_ONLY_IN_TRAINING = {
    "Dropout", "SpatialDropout1D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization",
}  # fmt: skip
_POOLS = {
    "GlobalAveragePooling1D": Pool("", "mean"),
    "GlobalAvgPool1D": Pool("", "mean"),
    "GlobalMaxPooling1D": Pool("", "max"),
    "GlobalMaxPool1D": Pool("", "max"),
}
# Layers of one activation, and the arguments with which they are no more than it.
_PLAIN: dict[str, dict[str, tuple[Any, ...]]] = {
    "Softmax": {"axis": (-1, [-1])},
    "ReLU": {"max_value": (None,), "negative_slope": (None, 0), "threshold": (None, 0)},
}
_MOST_RANK = 3


def name_of_class(kind: str, k: int) -> str:
    """How Keras writes, in paths, the class of its ``k``-th layer of one class, from 0 on."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return f"{name}_{k}" if k else name


def layer_from_config(
    config: Config, weights: Weights, version: int | None, answers: Answers
) -> tuple[Layer | None, list[str]]:
    """The layer, or None for an input, and notes.  Raises ValueError or InputError.

    ``version``: 1, 2 or 3 of Keras; None where the file does not say.
    """
    return _Reader(config, weights, version, answers).layer()


class _Reader:
    def __init__(
        self, config: Config, weights: Weights, version: int | None, answers: Answers
    ) -> None:
        # tidegate.keras' layers are registered as "tidegate>GRU"
        self._class = config["class_name"].rpartition(">")[2]
        self._config: Config = config["config"]
        self._name: str = self._config["name"]
        self._weights, self._version, self._answers = weights, version, answers
        self._notes: list[str] = []

    def layer(self) -> tuple[Layer | None, list[str]]:
        return self._layer(), self._notes

    def _layer(self) -> Layer | None:
        kind, name = self._class, self._name
        if kind == "InputLayer":
            return None
        if kind in _RECURRENT:
            return self._recurrent(kind)
        if kind == "Bidirectional":
            return self._bidirectional()
        if kind == "TimeDistributed":
            return self._at_each_step()
        if kind == "Embedding":
            (weight,) = self._arrays("", [2])
            return Embedding(name, weight, self._flag("mask_zero", False))
        if kind == "Masking":
            return Masking(name, self._number("mask_value", 0.0))
        if kind == "Dense":
            return self._dense(self._config, self._arrays("", None))
        if kind == "BatchNormalization":
            return self._normalisation()
        if kind in ("Activation", *_PLAIN):
            self._check_plain(_PLAIN.get(kind, {}))
            said = self._config.get("activation") if kind == "Activation" else kind.lower()
            return Activate(name, self._activation("activation", said, softmax=True))
        if kind in _POOLS:
            if self._config.get("keepdims") or self._config.get("data_format") == "channels_first":
                raise self._bad("expected a pooling over time, got another")
            return Pool(name, _POOLS[kind].kind)
        if kind in _ONLY_IN_TRAINING:
            return Dropout(name, self._number("rate", 0.0))
        known = "Embedding, Masking, SimpleRNN, GRU, LSTM, Bidirectional, TimeDistributed, Dense, "
        known += "BatchNormalization, Dropout, Activation and pooling over time"
        raise self._bad(f"expected one of {known}, got {shown(kind)}; build the model of these")

    def _check_plain(self, wanted: dict[str, tuple[Any, ...]]) -> None:
        for key, values in wanted.items():
            value = self._config.get(key, values[0])
            if value not in values:
                raise self._bad(f"{key}: expected {values[0]}, got {shown(value)}")

    def _bad(self, problem: str) -> ValueError:
        return ValueError(f"layer {shown(self._name)}: {problem}")

    def _flag(self, key: str, default: bool) -> bool:
        value = self._config.get(key, default)
        if not isinstance(value, bool):
            raise self._bad(f"{key}: expected true or false, got {shown(value)}")
        return value

    def _number(self, key: str, default: float) -> float:
        value = self._config.get(key, default)
        if type(value) not in (int, float) or not abs(value) < 1e30:
            raise self._bad(f"{key}: expected a number, got {shown(value)}")
        return float(value)

    def _arrays(self, part: str, ranks: list[int] | None) -> list[np.ndarray]:
        """The arrays of a part of the layer, each of its rank in ``ranks`` if given."""
        arrays = self._weights.get("all", self._weights.get(part, []))
        for k, array in enumerate(arrays):
            good = array.dtype == np.float32 and 1 <= array.ndim <= _MOST_RANK and array.size
            if not good or not np.isfinite(array).all():
                raise self._bad(
                    f"weight {k}: expected finite numbers, got {array.dtype} {list(array.shape)}"
                )
        if ranks is not None and [a.ndim for a in arrays] != ranks:
            shapes = [list(a.shape) for a in arrays]
            raise self._bad(f"expected weights of {ranks} axes, got {shown(shapes)}")
        return arrays

    def _activation(self, key: str, said: Any, *, softmax: bool = False) -> Activation:
        said = "linear" if said is None else said
        if not isinstance(said, str):
            raise self._bad(f"{key}: expected the name of a function, got {shown(said)}")
        if said == "softmax" and softmax:
            return SOFTMAX
        if said == "hard_sigmoid" and self._version is None:
            raise InputError(
                f"layer {shown(self._name)}: {key}: hard_sigmoid is 0.2 x + 0.5 in Keras 1 and 2 "
                "and x / 6 + 0.5 in Keras 3, and the file does not say which it was; say it with "
                f"{spelled('keras_version', 2)} or {spelled('keras_version', 3)}"
            )
        try:
            return from_keras(said, old=self._version in (1, 2))
        except ValueError as e:
            raise self._bad(str(e)) from None

    def _dense(self, config: Config, arrays: list[np.ndarray]) -> Dense:
        if [a.ndim for a in arrays] not in ([2], [2, 1]):
            raise self._bad(f"expected a kernel and perhaps a bias, got {len(arrays)} arrays")
        weight, bias = np.ascontiguousarray(arrays[0].T), arrays[1] if len(arrays) > 1 else None
        if bias is not None and len(bias) != len(weight):
            raise self._bad(f"expected a bias of {len(weight)}, got {len(bias)}")
        said = self._activation("activation", config.get("activation"), softmax=True)
        return Dense(self._name, weight, bias, said)

    def _at_each_step(self) -> Layer:
        inner = self._config.get("layer")
        kind = inner.get("class_name") if isinstance(inner, dict) else None
        own = inner.get("config") if isinstance(inner, dict) else None
        if kind not in ("Dense", "Activation", "Dropout") or not isinstance(own, dict):
            raise self._bad(f"expected Dense, Activation or Dropout in it, got {shown(kind)}")
        if kind == "Dense":
            return self._dense(own, self._arrays("layer", None))
        reader = _Reader(
            {"class_name": kind, "config": {**own, "name": self._name}}, {}, self._version,
            self._answers,
        )  # fmt: skip
        found, _ = reader.layer()
        assert found is not None
        return found

    def _normalisation(self) -> Layer:
        axis = self._config.get("axis", -1)
        if axis not in (-1, 2, [-1], [2]):
            raise self._bad(f"axis: expected the last one, got {shown(axis)}")
        scaled, centred = self._flag("scale", True), self._flag("center", True)
        arrays = self._arrays("", [1] * (2 + scaled + centred))
        if len({len(a) for a in arrays}) != 1:
            raise self._bad("expected weights of one size, got several")
        left = list(arrays)
        scale, shift = left.pop(0) if scaled else None, left.pop(0) if centred else None
        epsilon = self._number("epsilon", 1e-3)
        if (left[1] < 0).any() or epsilon < 0:
            raise self._bad("expected variances from 0, got smaller ones")
        return Normalisation(self._name, scale, shift, left[0], left[1], epsilon)

    def _recurrent(self, kind: str) -> Recurrent:
        arrays = self._arrays("cell", None)
        back = self._flag("go_backwards", False)
        form, direction = self._direction(kind, self._config, arrays, back)
        return Recurrent(
            self._name, form.cell, (direction,), every=self._flag("return_sequences", False),
            hold=not self._flag("zero_output_for_mask", False), turned=back, form=form,
        )  # fmt: skip

    def _bidirectional(self) -> Recurrent:
        merge = self._config.get("merge_mode", "concat")
        if merge not in ("concat", "sum", "mul", "ave"):
            raise self._bad(f"merge_mode: expected concat, sum, mul or ave, got {shown(merge)}")
        forward = self._config.get("layer")
        both = [forward, self._config.get("backward_layer") or forward]
        parts = [self._arrays(f"{side}_layer/cell", None) for side in ("forward", "backward")]
        if "all" in self._weights:
            half = len(parts[0]) // 2
            parts = [parts[0][:half], parts[0][half:]]
        forms, directions, every = [], [], []
        for k, (inner, arrays) in enumerate(zip(both, parts, strict=True)):
            kind = inner.get("class_name") if isinstance(inner, dict) else None
            kind = kind.rpartition(">")[2] if isinstance(kind, str) else ""
            own = inner.get("config") if isinstance(inner, dict) else None
            if kind not in _RECURRENT or not isinstance(own, dict):
                raise self._bad(f"expected a SimpleRNN, GRU or LSTM in it, got {shown(kind)}")
            back = own.get("go_backwards", False)
            given = self._config.get("backward_layer") is not None
            if back is not (k == 1 and given):
                raise self._bad("expected one layer forwards and one backwards, got otherwise")
            form, direction = self._direction(kind, own, arrays, k == 1)
            forms.append(form)
            directions.append(direction)
            every.append(own.get("return_sequences", False))
        shapes = [{n: a.shape for n, a in d.parameters.items()} for d in directions]
        if forms[0] != forms[1] or every[0] is not every[1] or shapes[0] != shapes[1]:
            raise self._bad("expected two layers alike, got different ones")
        if not isinstance(every[0], bool):
            raise self._bad(f"return_sequences: expected true or false, got {shown(every[0])}")
        # Keras sets zero_output_for_mask of both to return_sequences
        return Recurrent(
            self._name, forms[0].cell, tuple(directions), every=every[0], hold=not every[0],
            merge=merge, form=forms[0],
        )  # fmt: skip

    def _direction(
        self, kind: str, config: Config, arrays: list[np.ndarray], back: bool
    ) -> tuple[Form, Direction]:
        """What one layer runs, and its parameters."""
        for key in ("return_state", "time_major"):
            if config.get(key):
                raise self._bad(f"{key}: expected false, got {shown(config[key])}")
        if config.get("dropout") or config.get("recurrent_dropout"):
            self._notes.append("its dropouts act in training only, and are left out")
        if len(arrays) not in (2, 3):
            raise self._bad(
                f"expected a kernel, a recurrent kernel and perhaps a bias, got {len(arrays)} "
                "arrays"
            )
        family = _RECURRENT[kind]
        bias = arrays[2] if len(arrays) == 3 else None
        activation = self._activation("activation", config.get("activation", "tanh"))
        gate = self._gate_activation(config) if family != "RNN" else activation
        after = self._reset_after(config, bias) if family == "GRU" else True
        usual = {"RNN": (activation,), "GRU": (gate, activation)}
        form = Form(family, usual.get(family, (gate, activation, activation)), reset_after=after)
        how = form.in_keras()
        names = ("kernel", "recurrent_kernel", "bias")
        blocks, hidden = len(how.gates), arrays[1].shape[0]
        rows = [[2, blocks * hidden]] if how.bias == "rows" else [[blocks * hidden]]
        wanted = [[arrays[0].shape[0], blocks * hidden], [hidden, blocks * hidden], *rows]
        got = [list(a.shape) for a in arrays]
        if got != wanted[: len(got)]:
            raise self._bad(f"expected weights {wanted[: len(got)]}, got {shown(got)}")
        parameters = out_of("keras", form.cell, dict(zip(names, arrays, strict=False)), how)
        check_shapes(form.cell, parameters, self._name)
        return form, Direction(parameters, back)

    def _gate_activation(self, config: Config) -> Activation:
        said = config.get("recurrent_activation") or self._answers.recurrent_activation
        if said is None:
            raise InputError(
                f"layer {shown(self._name)}: recurrent_activation: the file does not say whether "
                "its gates are of sigmoid, the default of tf.keras 2 and Keras 3, or hard_sigmoid, "
                "the default of Keras 1 and 2; say it with "
                f"{spelled('recurrent_activation', 'sigmoid')} or "
                f"{spelled('recurrent_activation', 'hard_sigmoid')}"
            )
        return self._activation("recurrent_activation", said)

    def _reset_after(self, config: Config, bias: np.ndarray | None) -> bool:
        """Said by the configuration, else by the form of the bias, else by the user."""
        said = config.get("reset_after")
        if isinstance(said, bool):
            return said
        if bias is not None:
            return bias.ndim == 2
        if self._answers.reset_after is not None:
            return self._answers.reset_after
        raise InputError(
            f"layer {shown(self._name)}: reset_after: the file does not say whether the GRU's "
            "reset gate acts after the product, the default of Keras 3, or before it, as in Keras "
            f"1 and 2; say it with {spelled('reset_after', True)} or "
            f"{spelled('reset_after', False)}"
        )
