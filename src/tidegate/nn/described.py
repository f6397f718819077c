"""What the arguments of layers and of cells mean: said once, at the end of each docstring."""

from __future__ import annotations

import inspect
import textwrap
from typing import TypeVar

_OWN = {
    "cell": (
        "str or tidegate.cells.Cell",
        "a name of those in ``tidegate.cells.NAMES``, or a cell",
    ),
    "input_size": ("int", "numbers in the input of one step, I"),
    "hidden_size": ("int", "units, H: numbers in the state"),
    "num_layers": ("int", "layers, each of which reads the outputs of the one before it"),
    "nonlinearity": ("str", "``tanh`` or ``relu``"),
    "bias": ("bool", "whether there are biases"),
    "batch_first": ("bool", "whether inputs and outputs are [B, T, ...] instead of [T, B, ...]"),
    "dropout": ("float", "probability of dropping an output of a layer that another layer reads"),
    "bidirectional": ("bool", "whether a second set of weights reads from the last step on"),
    "proj_size": (
        "int",
        "size P of the output of a cell that projects it, from 1 to hidden_size - 1; 0: no "
        "projection",
    ),
    "device": ("torch.device or str", "where the weights are; None: torch's default device"),
    "dtype": ("torch.dtype", "type of the weights; None: torch's default type"),
    "reset": (
        "str",
        "``after``: the reset gate scales the product of recurrent weights and state, as in torch, "
        "cuDNN and Keras; ``before``: it scales the state, as in Cho et al. 2014 v3 and most "
        "textbooks",
    ),
    "recurrent_dropout": (
        "float",
        "probability of hiding a value of the state from the recurrent weights, in training only; "
        "a sequence keeps one mask for all its steps (Gal & Ghahramani 2016, arXiv:1512.05287)",
    ),
    "input_dropout": (
        "float",
        "probability of hiding a value of a layer's input from its input weights, in training "
        "only; a sequence keeps one mask for all its steps; Keras calls it dropout",
    ),
    "dropout_per_gate": (
        "bool",
        "whether each gate has masks of its own (the paper's untied weights), as Keras draws them",
    ),
    "candidate_dropout": (
        "float",
        "probability of dropping a candidate, the value that a cell proposes for its state, in "
        "training only: what is kept is never dropped (Semeniuta et al. 2016, arXiv:1603.05118); "
        "drawn for each unit and step",
    ),
    "zoneout": (
        "float or dict",
        "probability that a unit of a state stays as it was, in training; otherwise its new value "
        "is what is to be expected (Krueger et al. 2017, arXiv:1606.01305); drawn for each unit "
        "and step, one number for all states of H units, or a dict of some, {'c': 0.5, 'h': 0.05}; "
        "not of states at a scale that is a state, as c, n and m of the sLSTM",
    ),
    "weight_dropout": (
        "float",
        "probability of hiding a recurrent weight, in training only, the same one at all steps of "
        "a call (DropConnect as in Merity et al. 2018, arXiv:1708.02182)",
    ),
    "num_heads": (
        "int",
        "heads K of a cell that is declared with them, a divisor of hidden_size: the recurrent "
        "weights of each see its own H/K units only",
    ),
    "hidden_sizes": ("sequence of int", "units of each layer, from the first to the last"),
    "residual": (
        "bool",
        "whether what enters a layer is added to what leaves it, by way of a linear map where "
        "their widths differ (He et al. 2016, arXiv:1512.03385)",
    ),
    "norm": (
        "bool",
        "whether what enters a layer is normalised over its values at each step (layer "
        "normalisation, Ba et al. 2016, arXiv:1607.06450), but not what goes past the layer",
    ),
    "strict": (
        "bool",
        "whether a call raises RuntimeError where only the slow step-by-step path could run",
    ),
}  # fmt: skip
_WIDTH = 92

Class = TypeVar("Class", bound=type)


def described(layer: Class) -> Class:
    """The class, its docstring ending with what each argument of its constructor is."""
    lines = [inspect.cleandoc(layer.__doc__ or ""), "", "Parameters", "----------"]
    for name, parameter in list(inspect.signature(layer).parameters.items()):
        kind, about = _OWN[name]
        default = "" if parameter.default is parameter.empty else f", default {parameter.default!r}"
        lines.append(f"{name} : {kind}{default}")
        lines += textwrap.wrap(
            about, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
        )
    layer.__doc__ = "\n".join(lines)
    return layer
