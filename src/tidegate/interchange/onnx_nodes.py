"""ONNX's RNN, GRU and LSTM: one node, with all its attributes, as a layer.

Source: https://onnx.ai/onnx/operators, RNN, GRU and LSTM, versions 1 to 22.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from tidegate.errors import shown
from tidegate.interchange.conventions.activations import Activation, from_onnx
from tidegate.interchange.conventions.forms import USUAL, Family, Form
from tidegate.interchange.conventions.weights import out_of
from tidegate.interchange.layers import Direction, Recurrent
from tidegate.interchange.onnx_values import listed, whole
from tidegate.interchange.torch_reader import check_shapes

OPERATORS = ("RNN", "GRU", "LSTM")
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_KNOWN = {
    "activations", "activation_alpha", "activation_beta", "clip", "direction", "hidden_size",
    "layout", "linear_before_reset", "input_forget", "output_sequence",
}  # fmt: skip


def layer_of_node(
    name: str, operator: str, attributes: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Recurrent:
    """The layer of a node with these ``arrays``, by the names of its inputs: W, R and, where the
    node has them, B, initial_h, initial_c and P.

    Raises ValueError for attributes or arrays that the standard does not have.
    """
    if unknown := set(attributes) - _KNOWN:
        raise ValueError(f"{operator}: an unknown attribute, {shown(sorted(unknown)[0])}")
    family = cast(Family, operator)
    said = attributes.get("direction", "forward")
    if not isinstance(said, str) or said not in _DIRECTIONS:
        raise ValueError(f"direction: expected one of {', '.join(_DIRECTIONS)}, got {shown(said)}")
    turns = _DIRECTIONS[said]
    forms = _forms(family, attributes, len(turns), "P" in arrays)
    sizes = _sizes(arrays, len(turns), len(forms[0].in_onnx().gates), attributes)
    shapes = {
        "W": (len(turns), sizes["GH"], sizes["I"]), "R": (len(turns), sizes["GH"], sizes["H"]),
        "B": (len(turns), 2 * sizes["GH"]), "P": (len(turns), 3 * sizes["H"]),
    }  # fmt: skip
    for key, shape in shapes.items():
        if key in arrays and (arrays[key].shape != shape or arrays[key].dtype != np.float32):
            got = f"{arrays[key].dtype} {list(arrays[key].shape)}"
            raise ValueError(f"{key}: expected numbers {list(shape)}, got {got}")
    directions = []
    for d, (reverse, form) in enumerate(zip(turns, forms, strict=True)):
        own = {key: arrays[key][d] for key in shapes if key in arrays}
        parameters = out_of("onnx", form.cell, own, form.in_onnx())
        check_shapes(form.cell, parameters, name)
        initial = _initial(
            family, arrays, d, len(turns), sizes["H"], whole(attributes, "layout", 0)
        )
        other = None if form == forms[0] else form.cell
        directions.append(Direction(parameters, reverse, initial, other))
    return Recurrent(name, forms[0].cell, tuple(directions), form=forms[0])


def _forms(
    family: Family, attributes: Mapping[str, Any], directions: int, peepholes: bool
) -> list[Form]:
    """One for each direction."""
    usual = USUAL[family]
    names = listed(attributes, "activations", str)
    numbers = (listed(attributes, f"activation_{n}", float) for n in ("alpha", "beta"))
    found: tuple[Activation, ...] = from_onnx(names, *numbers) if names else usual * directions
    if len(found) != len(usual) * directions:
        raise ValueError(
            f"activations: expected {len(usual) * directions} of them, got {len(found)}"
        )
    clip = attributes.get("clip")
    if clip is not None and not (isinstance(clip, float) and 0 <= clip < np.inf):
        raise ValueError(f"clip: expected a number from 0, got {shown(clip)}")
    return [
        Form(
            family, found[d * len(usual) : (d + 1) * len(usual)], clip,
            reset_after=family != "GRU" or whole(attributes, "linear_before_reset", 0) != 0,
            coupled=family == "LSTM" and whole(attributes, "input_forget", 0) != 0,
            peepholes=family == "LSTM" and peepholes,
        )
        for d in range(directions)
    ]  # fmt: skip


def _sizes(
    arrays: Mapping[str, np.ndarray], directions: int, gates: int, attributes: Mapping[str, Any]
) -> dict[str, int]:
    w, r = arrays["W"], arrays["R"]
    if w.ndim != 3 or r.ndim != 3 or 0 in (*w.shape, *r.shape):
        raise ValueError(f"W and R: expected 3 axes, got {list(w.shape)} and {list(r.shape)}")
    hidden = r.shape[2]
    if whole(attributes, "hidden_size", hidden) != hidden:
        raise ValueError(f"hidden_size: expected {hidden} as R, got {attributes['hidden_size']}")
    if w.shape[0] != directions:
        raise ValueError(f"W: expected {directions} directions, got {w.shape[0]}")
    return {"I": w.shape[2], "H": hidden, "GH": gates * hidden}


def _initial(
    family: Family, arrays: Mapping[str, np.ndarray], d: int, count: int, hidden: int, layout: int
) -> tuple[np.ndarray, ...] | None:
    """The initial states of a direction, [B, H] each; None where none are given."""
    names = ("initial_h", "initial_c")[: 2 if family == "LSTM" else 1]
    if not any(name in arrays for name in names):
        return None
    found = {}
    for name in names:
        if name not in arrays:
            continue
        array = arrays[name].swapaxes(0, 1) if layout and arrays[name].ndim == 3 else arrays[name]
        rows = array.shape[1] if array.ndim == 3 else 0
        if array.shape != (count, rows, hidden) or rows < 1 or array.dtype != np.float32:
            got = f"{array.dtype} {list(arrays[name].shape)}"
            raise ValueError(f"{name}: expected numbers [{count}, B, {hidden}], got {got}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite numbers, got others")
        found[name] = np.ascontiguousarray(array[d])
    rows = {len(a) for a in found.values()}
    if len(rows) > 1:
        raise ValueError(f"initial states: expected as many rows each, got {sorted(rows)}")
    return tuple(found.get(n, np.zeros((rows.copy().pop(), hidden), np.float32)) for n in names)
