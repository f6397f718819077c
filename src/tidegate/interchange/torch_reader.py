"""The state_dict of a torch module, from safetensors: its recurrent layers, and what is around.

A torch ``.pt`` file is a pickle, which may run code; so none is read, and the error says how its
owner turns it into safetensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike

import numpy as np

from tidegate.cells import CELLS, Cell, get_cell
from tidegate.errors import InputError, shown, spelled
from tidegate.interchange.layers import Dense, Direction, Embedding, Layer, Recurrent
from tidegate.interchange.network import Network
from tidegate.interchange.problems import about_file
from tidegate.interchange.safetensors_file import read_safetensors
from tidegate.interchange.settled import Answers
from tidegate.interchange.torch_writer import TOLD
from tidegate.model.container import parse_json

Arrays = dict[str, np.ndarray]
# prefix, parameter, layer and direction of "encoder.rnn.weight_ih_l0_reverse"; a torch.nn.GRUCell
# has no layer
_KEY = re.compile(
    r"(?P<prefix>.{0,1000}?)(?P<name>(?:weight|bias)_[a-z]{2})(?:_l(?P<k>\d{1,3})"
    r"(?P<reverse>_reverse)?)?"
)
# a part of a weight that is computed of several, and what makes it one weight again
_PART = re.compile(
    r".{0,1000}?(?P<name>(?:weight|bias)_[a-z]{2}(?:_l\d{1,3})?(?:_reverse)?)"
    r"(?P<part>\.original\d{0,3}|_mask|_u|_g|_raw)"
)
_WHOLE_AGAIN = {
    ".original": "torch.nn.utils.parametrize.remove_parametrizations",
    "_mask": "torch.nn.utils.prune.remove",
    "_u": "torch.nn.utils.remove_spectral_norm",
    "_g": "torch.nn.utils.remove_weight_norm",
}
_OWN = {name for cell in CELLS.values() for name in cell.parameters}
_MOST_LAYERS = 64
_AGAIN = "write it again with safetensors.torch.save_file(module.state_dict(), path)"


def read_torch(path: str | PathLike[str], answers: Answers) -> Network:
    """The network in a state_dict.

    Recurrent layers are found by the names of their weights, and told apart by their shapes; their
    order is as the names number them, or as tidegate wrote it beside them.  One
    embedding before them and one linear layer after them belong to the network where nothing else
    is in the file; else the network is the recurrent layers alone, and ``kept`` holds the rest.  A
    tensor of several names is in the file once: safetensors.torch.save_model tells its others.
    Raises InputError, with the question to be answered where the file leaves one open.
    """
    arrays, notes, texts = read_safetensors(path)
    shared = {name: arrays[kept] for name, kept in texts.items() if kept in arrays}
    try:
        return _network(shared | arrays, notes, answers, _order_told(texts))
    except ValueError as e:
        raise about_file(e, path, _AGAIN) from None


Keys = dict[tuple[int, bool], dict[str, str]]  # of each layer and direction, by parameter


def _network(arrays: Arrays, notes: tuple[str, ...], answers: Answers, order: list[str]) -> Network:
    stacks, others = _stacks(arrays)
    if answers.layer is None and set(order) == set(stacks):  # as tidegate wrote it
        chosen = list(dict.fromkeys(order))
    else:
        chosen = _chosen(sorted(stacks, key=_natural), answers)
    layers: list[Layer] = []
    for prefix in chosen:
        layers += _layers(prefix, stacks[prefix], arrays, answers)
    _check_widths([layer for layer in layers if isinstance(layer, Recurrent)])
    for prefix in stacks.keys() - set(chosen):
        keys = [key for part in stacks[prefix].values() for key in part.values()]
        others |= {key: arrays[key] for key in keys}
    around = _around(others, layers)
    if around is not None:
        return Network(tuple(around), "a torch state_dict", notes + _notes_on_places(around))
    if others:
        names = ", ".join(sorted(others)[:4]) + (", ..." if len(others) > 4 else "")
        notes += (f"the network is the recurrent layers alone; kept beside them: {names}",)
    return Network(tuple(layers), "a torch state_dict", notes, others)


def _order_told(texts: Mapping[str, str]) -> list[str]:
    """The order of the recurrent layers that `torch_bytes` wrote; empty where none is told."""
    try:
        order = parse_json(texts.get(TOLD, "{}"), TOLD)["order"]
        return list(map(str, order))
    except (KeyError, TypeError, ValueError):
        return []


def _stacks(arrays: Arrays) -> tuple[dict[str, Keys], Arrays]:
    """The recurrent layers by what their names begin with, and all other arrays."""
    stacks: dict[str, Keys] = {}
    others = {}
    for key, array in arrays.items():
        found = _KEY.fullmatch(key)
        if found is None or found["name"] not in _OWN:
            _refuse_part(key)
            others[key] = array
            continue
        at = int(found["k"] or 0), bool(found["reverse"])
        stacks.setdefault(found["prefix"], {}).setdefault(at, {})[found["name"]] = key
    if not stacks:
        raise InputError(
            "expected weights of a recurrent layer, such as rnn.weight_ih_l0, got none; check that "
            "it is the state_dict of a module with torch.nn.RNN, LSTM or GRU"
        )
    return stacks, others


def _refuse_part(key: str) -> None:
    """Raise InputError for what weight_norm, spectral_norm, pruning and others keep of a weight."""
    found = _PART.fullmatch(key)
    if found is None:
        return
    name, way = found["name"], _WHOLE_AGAIN.get(found["part"].rstrip("0123456789"))
    remedy = f"call {way}(module, {name!r})" if way else f"make {name} a parameter of the layer"
    raise InputError(
        f"expected weights of recurrent layers, got {shown(key)}, a part of which {name} is "
        f"computed; {remedy}, and write its state_dict again"
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """So that layer 10 comes after layer 9."""
    return [(int(p), "") if p.isdecimal() and len(p) < 10 else (0, p)
            for p in re.split(r"(\d+)", name)]  # fmt: skip


def _chosen(prefixes: list[str], answers: Answers) -> list[str]:
    """Of several recurrent layers those that follow one another."""
    if answers.layer is not None:
        fitting = [p for p in prefixes if p.startswith(answers.layer)]
        if not fitting:
            raise InputError(
                f"expected the beginning of {_listed(prefixes)}, got {shown(answers.layer)}; name "
                "one of these",
                option="layer",
            )
        prefixes = fitting
    # "recurrent.0.", "recurrent.1.": members of one list, one after the other
    if len({re.sub(r"\d+", "#", p) for p in prefixes}) > 1:
        raise InputError(
            f"expected one recurrent network, got several, {_listed(prefixes)}, and nothing says "
            f"which comes first; choose one with {spelled('layer', prefixes[0].rstrip('.'))}"
        )
    return prefixes


def _listed(prefixes: list[str]) -> str:
    names = [shown(p.rstrip(".") or "(no name)", 40) for p in prefixes[:6]]
    return ", ".join(names) + (", ..." if len(prefixes) > 6 else "")


def _layers(prefix: str, keys: Keys, arrays: Arrays, answers: Answers) -> list[Layer]:
    """The layers of one module, each in one direction or in two."""
    count = 1 + max(k for k, _ in keys)
    both = any(reverse for _, reverse in keys)
    wanted = {(k, reverse) for k in range(count) for reverse in ({False, both})}
    if count > _MOST_LAYERS or set(keys) != wanted:
        raise InputError(
            f"{shown(prefix)}: expected weights of layers 0 to {count - 1}, at most "
            f"{_MOST_LAYERS}, {'in both directions' if both else 'in one direction'}, got others; "
            + _AGAIN
        )
    first = {name: arrays[key] for name, key in keys[0, False].items()}
    cell = cell_of_shapes(first, answers, prefix)
    layers: list[Layer] = []
    for k in range(count):
        directions = []
        for reverse in (False, True)[: 1 + both]:
            parameters = {name: arrays[key] for name, key in keys[k, reverse].items()}
            check_shapes(cell, parameters, f"{prefix}l{k}{'_reverse' if reverse else ''}")
            directions.append(Direction(parameters, reverse))
        layers.append(layer := Recurrent(f"{prefix}l{k}", cell, tuple(directions)))
        _check_alike(layer)
    return layers


def cell_of_shapes(parameters: Mapping[str, np.ndarray], answers: Answers, where: str) -> Cell:
    """The cell that has such parameters.  Raises InputError where it is none, or several."""
    if answers.cell is not None:
        return get_cell(answers.cell)
    fitting = [cell for cell in CELLS.values() if _fits(cell, parameters)]
    of_torch = [cell for cell in fitting if cell.torch]
    if len(of_torch or fitting) == 1:
        return (of_torch or fitting)[0]
    shapes = ", ".join(f"{n} {list(a.shape)}" for n, a in parameters.items())
    if not fitting:
        raise InputError(
            f"{shown(where)}: expected the weights of a known cell, got {shown(shapes, 200)}; "
            "tidegate has no such cell"
        )
    names = [cell.name for cell in of_torch or fitting]
    raise InputError(
        f"{shown(where)}: its weights fit the cells {', '.join(names)}, and the file does not say "
        f"which; say it with {spelled('cell', names[0])} or another of them"
    )


def _fits(cell: Cell, parameters: Mapping[str, np.ndarray]) -> bool:
    try:
        check_shapes(cell, parameters, "")
    except InputError:
        return False
    return True


def check_shapes(cell: Cell, parameters: Mapping[str, np.ndarray], where: str) -> None:
    """Raise InputError unless they are all of the cell's parameters, biases or none, that fit."""
    biases = {name for name, p in cell.parameters.items() if p.is_bias}
    given = set(parameters)
    if given not in (set(cell.parameters), set(cell.parameters) - biases):
        raise InputError(
            f"{shown(where)}: expected {', '.join(cell.parameters)} of the cell {cell.name}, or "
            f"these without biases, got {shown(', '.join(sorted(given)), 200)}; name another cell"
        )
    sizes: dict[str, int] = {}
    for name, array in parameters.items():
        parameter = cell.parameters[name]
        letters = [parameter.rows] + ([parameter.columns] if parameter.columns else [])
        blocks = len(parameter.blocks)
        good = array.dtype == np.float32 and array.ndim == len(letters) and array.size > 0
        if good:
            found = [array.shape[0] // blocks, *array.shape[1:]]
            good = array.shape[0] % blocks == 0
            good &= all(sizes.setdefault(a, n) == n for a, n in zip(letters, found, strict=True))
        if not good:
            wanted = f"{blocks} * " if blocks > 1 else ""
            raise InputError(
                f"{shown(where)}: {name}: expected numbers [{wanted}{', '.join(letters)}] that fit "
                f"the other weights of the cell {cell.name}, got {array.dtype} {list(array.shape)}"
                "; name another cell"
            )
    for name, array in parameters.items():
        if not np.isfinite(array).all():
            raise InputError(
                f"{shown(where)}: {name}: expected finite numbers, got others; "
                "train the model again"
            )


def _check_alike(layer: Recurrent) -> None:
    """Raise InputError unless both directions have the same shapes."""
    first, *others = ({n: a.shape for n, a in d.parameters.items()} for d in layer.directions)
    if any(other != first for other in others):
        raise InputError(
            f"{shown(layer.name)}: expected directions of one shape, got different; " + _AGAIN
        )


def _check_widths(layers: list[Recurrent]) -> None:
    for one, other in zip(layers, layers[1:], strict=False):
        if one.output_size != other.sizes["I"]:
            raise InputError(
                f"{shown(other.name)}: expected {one.output_size} inputs, the outputs of "
                f"{shown(one.name)} before it, got {other.sizes['I']}; choose a layer with "
                f"{spelled('layer')}"
            )


def _around(others: Arrays, recurrent: list[Layer]) -> list[Layer] | None:
    """With one embedding before and one linear layer after, if they are all that is left.

    A matrix without bias, named as an embedding, is one; of other names, where its shape fits no
    linear layer there, or where another matrix is that layer.
    """
    first, last = recurrent[0], recurrent[-1]
    assert isinstance(first, Recurrent)
    assert isinstance(last, Recurrent)
    inputs, outputs = first.sizes["I"], last.output_size
    matrices = {
        key.removesuffix("weight"): array
        for key, array in others.items()
        if key.endswith("weight") and array.ndim == 2 and array.dtype == np.float32
    }
    biased = [p for p, w in matrices.items() if f"{p}bias" in others and w.shape[1] == outputs]
    plain = [p for p in matrices if f"{p}bias" not in others]
    before = [p for p in plain if "emb" in p.lower() and matrices[p].shape[1] == inputs]
    after = list(biased)
    for prefix in plain:
        rows, columns = matrices[prefix].shape
        if prefix in before:
            continue
        if columns == outputs and (columns != inputs or (before and not biased)):
            after.append(prefix)
        elif columns == inputs != rows and (columns != outputs or biased):
            before.append(prefix)
    ends = [f"{p}weight" for p in before + after] + [f"{p}bias" for p in biased]
    if len(before) > 1 or len(after) > 1 or set(ends) != set(others):
        return None
    layers = list(recurrent)
    for prefix in before:
        layers.insert(0, Embedding(prefix.rstrip("."), matrices[prefix]))
    for prefix in after:
        weight, bias = matrices[prefix], others.get(f"{prefix}bias")
        if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != np.float32):
            return None
        layers.append(Dense(prefix.rstrip("."), weight, bias))
    return layers


def _notes_on_places(layers: list[Layer]) -> tuple[str, ...]:
    """Where a linear layer may as well stand before the recurrent ones."""
    recurrent = [layer for layer in layers if isinstance(layer, Recurrent)]
    last = layers[-1]
    if isinstance(last, Dense) and last.weight.shape == 2 * (recurrent[0].sizes["I"],):
        return (f"{last.name}: taken to follow the recurrent layers, which its shape does not say",)
    return ()
