"""Recurrent layers from Keras' configurations and arrays: a layer, or ``RNN`` of one or many cells.

Several cells in one layer (``StackedRNNCells``) are as many layers, one after the other: at each
step a cell reads what the one before it gave, and steps that are masked pass all of them by.
Sources: keras/src/layers/rnn of Keras 3; Keras 2 has the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tidegate.errors import InputError, shown, spelled
from tidegate.interchange.conventions.activations import Activation
from tidegate.interchange.conventions.forms import Form
from tidegate.interchange.conventions.weights import out_of
from tidegate.interchange.keras_config import (
    EXPORT,
    LayerConfig,
    Values,
    inner_object,
    name_of_class,
)
from tidegate.interchange.layers import Direction, Recurrent
from tidegate.interchange.torch_reader import check_shapes

Family = Literal["RNN", "GRU", "LSTM"]
_FAMILIES: dict[str, Family] = {"SimpleRNN": "RNN", "GRU": "GRU", "LSTM": "LSTM"}
_CELLS: dict[str, Family] = {f"{kind}Cell": family for kind, family in _FAMILIES.items()}
RECURRENT = (*_FAMILIES, "RNN")
_MOST_CELLS = 100


@dataclass(frozen=True)
class _Cell:
    """Arguments of a cell, and the part of the layer that holds its arrays."""

    family: Family
    values: Values
    part: str


def recurrent(config: LayerConfig) -> list[Recurrent]:
    """The layers that a layer in one direction is, one for each of its cells."""
    back, every = config.flag("go_backwards", False), config.flag("return_sequences", False)
    _note_stateful(config, config.values)
    cells = _cells(config, config.kind, config.values, "")
    found = []
    for k, (cell, arrays) in enumerate(zip(cells, _arrays(config, cells), strict=True)):
        form, direction = _direction(config, cell, arrays, back)
        last = k == len(cells) - 1
        found.append(
            Recurrent(
                _name(config, k, cells), form.cell, (direction,), every=every or not last,
                hold=not config.flag("zero_output_for_mask", False), turned=back and last,
                form=form,
            )
        )  # fmt: skip
    return found


def bidirectional(config: LayerConfig) -> list[Recurrent]:
    """The layers that two layers are, of which one goes backwards, one for each of their cells.

    A second cell reads the cell before it in its own direction alone, so that its weights on the
    other direction's outputs are zero.
    """
    merge = config.values.get("merge_mode", "concat")
    if merge not in ("concat", "sum", "mul", "ave"):
        raise config.bad(f"merge_mode: expected concat, sum, mul or ave, got {shown(merge)}")
    given = config.values.get("backward_layer")
    sides = [inner_object(said) for said in (config.values.get("layer"), given)]
    if given is None:
        sides[1] = sides[0]
    _note_stateful(config, sides[0][1])
    stacks, every = [], []
    for k, (kind, values) in enumerate(sides):
        if kind not in RECURRENT:
            raise config.bad(f"expected {', '.join(RECURRENT)} in it, got {shown(kind)}")
        if values.get("go_backwards", False) is not (k == 1 and given is not None):
            raise config.bad("expected one layer forwards and one backwards, got otherwise")
        stacks.append(_cells(config, kind, values, ("forward_layer/", "backward_layer/")[k]))
        every.append(values.get("return_sequences", False))
    if not isinstance(every[0], bool):
        raise config.bad(f"return_sequences: expected true or false, got {shown(every[0])}")
    alike = every[0] is every[1] and len(stacks[0]) == len(stacks[1])
    arrays = [_arrays(config, stack, d, 2) for d, stack in enumerate(stacks)]
    levels = []
    for k in range(len(stacks[0]) if alike else 0):
        two = [_direction(config, stacks[d][k], arrays[d][k], d == 1) for d in range(2)]
        shapes = [{n: a.shape for n, a in d.parameters.items()} for _, d in two]
        alike = alike and two[0][0] == two[1][0] and shapes[0] == shapes[1]
        levels.append(two)
    if not alike:
        raise config.bad("expected two layers alike, got different ones")
    found = []
    for k, ((form, forward), (_, backward)) in enumerate(levels):
        last = k == len(levels) - 1
        directions = forward, backward
        if k > 0:
            directions = _seeing_both(forward, first=True), _seeing_both(backward, first=False)
        # Keras sets zero_output_for_mask of both to return_sequences
        found.append(
            Recurrent(
                _name(config, k, levels), form.cell, directions, every=every[0] or not last,
                hold=not every[0], merge=merge if last else "concat", form=form,
            )
        )  # fmt: skip
    return found


def _name(config: LayerConfig, k: int, among: list[Any]) -> str:
    return config.name if len(among) == 1 else f"{config.name}.{k}"


def _seeing_both(direction: Direction, *, first: bool) -> Direction:
    """The direction where its input is both directions' outputs, its own ``first`` or last."""
    weight = direction.parameters["weight_ih"]
    nothing = np.zeros_like(weight)
    wide = np.concatenate([weight, nothing] if first else [nothing, weight], axis=1)
    return Direction({**direction.parameters, "weight_ih": wide}, direction.reverse)


def _note_stateful(config: LayerConfig, values: Values) -> None:
    if values.get("stateful"):
        config.notes.append(
            "it is stateful, so in Keras a batch goes on from the states after the last one; here "
            "each begins with zeros"
        )


def _cells(config: LayerConfig, kind: str, values: Values, side: str) -> list[_Cell]:
    """The cells that a layer of this class and of these arguments runs, the first first."""
    for key in ("return_state", "time_major"):
        if values.get(key):
            problem = f"{key}: expected false in layers that follow one another"
            raise config.bad(f"{problem}, got {shown(values[key])}; {EXPORT}")
    if kind in _FAMILIES:
        return [_Cell(_FAMILIES[kind], values, f"{side}cell")]
    inside, of_cell = inner_object(values.get("cell"))
    if inside != "StackedRNNCells":
        return [_Cell(_family(config, inside), of_cell, f"{side}cell")]
    listed = of_cell.get("cells")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_CELLS:
        raise config.bad(f"cells: expected 1 to {_MOST_CELLS}, got {shown(listed)}")
    found: list[_Cell] = []
    counts: dict[str, int] = {}
    for said in listed:
        inside, of_cell = inner_object(said)
        k = counts[inside] = counts.get(inside, -1) + 1
        part = f"{side}cell/cells/{name_of_class(inside, k)}"
        found.append(_Cell(_family(config, inside), of_cell, part))
    return found


def _family(config: LayerConfig, kind: str) -> Family:
    if kind not in _CELLS:
        known = f"{', '.join(_CELLS)}, or StackedRNNCells of these"
        raise config.bad(f"cell: expected {known}, got {shown(kind)}; {EXPORT}")
    return _CELLS[kind]


def _arrays(
    config: LayerConfig, cells: list[_Cell], side: int = 0, sides: int = 1
) -> list[list[np.ndarray]]:
    """The arrays of each cell; a legacy file holds those of all sides and cells in one list."""
    if "all" not in config.weights:
        return [config.arrays(cell.part, None) for cell in cells]
    held = config.arrays("all", None)
    half = len(held) // sides
    held = held[side * half : (side + 1) * half]
    if len(cells) == 1:
        return [held]
    ends = np.cumsum([2 + bool(cell.values.get("use_bias", True)) for cell in cells])
    if ends[-1] != len(held):
        raise config.bad(f"expected {ends[-1]} arrays for {len(cells)} cells, got {len(held)}")
    return [held[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _direction(
    config: LayerConfig, cell: _Cell, arrays: list[np.ndarray], back: bool
) -> tuple[Form, Direction]:
    """What one cell computes, and its parameters."""
    if cell.values.get("dropout") or cell.values.get("recurrent_dropout"):
        config.notes.append("its dropouts act in training only, and are left out")
    if len(arrays) not in (2, 3):
        raise config.bad(
            f"expected a kernel, a recurrent kernel and perhaps a bias, got {len(arrays)} arrays"
        )
    bias = arrays[2] if len(arrays) == 3 else None
    activation = config.activation("activation", cell.values.get("activation", "tanh"))
    gate = _gate_activation(config, cell) if cell.family != "RNN" else activation
    after = _reset_after(config, cell, bias) if cell.family == "GRU" else True
    usual = {"RNN": (activation,), "GRU": (gate, activation)}
    form = Form(
        cell.family, usual.get(cell.family, (gate, activation, activation)), reset_after=after
    )
    how = form.in_keras()
    names = ("kernel", "recurrent_kernel", "bias")
    blocks, hidden = len(how.gates), arrays[1].shape[0]
    rows = [[2, blocks * hidden]] if how.bias == "rows" else [[blocks * hidden]]
    wanted = [[arrays[0].shape[0], blocks * hidden], [hidden, blocks * hidden], *rows]
    got = [list(a.shape) for a in arrays]
    if got != wanted[: len(got)]:
        raise config.bad(f"expected weights {wanted[: len(got)]}, got {shown(got)}")
    parameters = out_of("keras", form.cell, dict(zip(names, arrays, strict=False)), how)
    check_shapes(form.cell, parameters, config.name)
    return form, Direction(parameters, back)


def _gate_activation(config: LayerConfig, cell: _Cell) -> Activation:
    said = cell.values.get("recurrent_activation") or config.answers.recurrent_activation
    if said is None:
        raise InputError(
            f"layer {shown(config.name)}: recurrent_activation: the file does not say whether "
            "its gates are of sigmoid, the default of tf.keras 2 and Keras 3, or hard_sigmoid, "
            "the default of Keras 1 and 2; say it with "
            f"{spelled('recurrent_activation', 'sigmoid')} or "
            f"{spelled('recurrent_activation', 'hard_sigmoid')}"
        )
    return config.activation("recurrent_activation", said)


def _reset_after(config: LayerConfig, cell: _Cell, bias: np.ndarray | None) -> bool:
    """Said by the configuration, else by the form of the bias, else by the user."""
    said = cell.values.get("reset_after")
    if isinstance(said, bool):
        return said
    if bias is not None:
        return bias.ndim == 2
    if config.answers.reset_after is not None:
        return config.answers.reset_after
    raise InputError(
        f"layer {shown(config.name)}: reset_after: the file does not say whether the GRU's "
        "reset gate acts after the product, the default of Keras 3, or before it, as in Keras "
        f"1 and 2; say it with {spelled('reset_after', True)} or "
        f"{spelled('reset_after', False)}"
    )
