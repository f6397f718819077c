"""``tidegate convert``: a network from one library's file to another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tidegate.cli.command import Argument, Option, command, flag
from tidegate.cli.parameters import FORCE, JSON, file_to_write
from tidegate.cli.show import print_json
from tidegate.errors import InputError, spelled
from tidegate.terminal import say


def _answer(name: str, metavar: str, help: str, **about: Any) -> Option:
    return Option(name, metavar=metavar, help=help, panel="Where IN does not say", **about)


def _bits(name: str, metavar: str, help: str) -> Option:
    return Option(name, metavar=metavar, help=help, panel="A tidegate model in fewer bits")


@command(
    Argument(
        "file",
        "IN",
        "a tidegate model; a torch state_dict (.safetensors); a Keras model (.keras, .h5); an ONNX "
        "model (.onnx); the .npz of the GRU tutorial for Theano",
        Path,
    ),
    Argument(
        "output", "OUT", "the file to write: .safetensors for torch, .keras, .onnx", file_to_write
    ),
    Option(
        "--from",
        "from_",
        metavar="NAME",
        help="what IN is: tidegate, torch, keras, h5, onnx or theano (default: as its name and "
        "content say)",
    ),
    Option(
        "--to",
        metavar="NAME",
        help="what OUT is to be: torch, keras, onnx, or tidegate (default: as its name says; "
        ".safetensors is torch)",
    ),
    _answer(
        "--cell",
        "NAME",
        "the cell, where the shapes of a state_dict fit several, such as rnn_relu",
    ),
    _answer(
        "--layer",
        "NAME",
        "how the name of the recurrent layer begins, where there are several",
    ),
    flag(
        "--reset-after",
        default=None,
        help="where the reset gate of a Keras GRU acts: after the product, or before it",
        panel="Where IN does not say",
    ),
    _answer(
        "--recurrent-activation",
        "NAME",
        "the function of the gates: sigmoid or hard_sigmoid",
    ),
    _answer("--keras-version", "N", "1, 2 or 3: Keras 3 has another hard_sigmoid", type=int),
    _answer(
        "--update-gate",
        "NAME",
        "of the tutorial's .npz: keeps (as its code has it) the old state, or writes",
    ),
    _answer(
        "--architecture",
        "FILE",
        "of Keras' weights alone (.h5): a file of what model.to_json() gives",
        type=Path,
    ),
    _bits(
        "--weights",
        "KIND",
        "write a tidegate model with matrices in bfloat16 (half the size) or int8 (a quarter), "
        "which recurrent layers then multiply faster where the processor has instructions for it; "
        "float32 writes them at full length",
    ),
    _bits(
        "--on",
        "FILE",
        "with --weights: measure both models on this file, which is like the one in training; - is "
        "standard input",
    ),
    FORCE,
    JSON,
)
def convert(
    file: Path,
    output: Path,
    from_: str | None,
    to: str | None,
    cell: str | None,
    layer: str | None,
    reset_after: bool | None,
    recurrent_activation: str | None,
    keras_version: int | None,
    update_gate: str | None,
    architecture: Path | None,
    weights: str | None,
    on: str | None,
    force: bool,
    json: bool,
) -> None:
    """Convert a network between tidegate, torch, Keras and ONNX, or to weights in fewer bits.

    Nothing in IN is executed.  It needs neither torch nor Keras; Keras' files need h5py, and ONNX's
    the package onnx.  What of the network OUT cannot hold is said; what cannot be converted is
    refused with the reason.

    Example: tidegate convert book-language-model.safetensors book.onnx
    """
    from tidegate.interchange.formats import (
        check_answers,
        format_of,
        format_to_write,
        read,
        written,
    )
    from tidegate.interchange.settled import Answers
    from tidegate.output.places import check_output
    from tidegate.output.writing import write_atomically

    answers = {
        "cell": cell, "layer": layer, "reset_after": reset_after,
        "recurrent_activation": recurrent_activation, "keras_version": keras_version,
        "update_gate": update_gate, "architecture": architecture,
    }  # fmt: skip
    given = Answers(**answers)
    if on is not None and weights is None:
        raise InputError(f"expected it beside {spelled('weights')}; add that", option="on")
    if to == "tidegate" or weights is not None:
        from tidegate.cli.copying import copy_model

        source = from_ or format_of(file)
        _refuse_foreign(file, source)
        check_answers(given, source)
        if to not in (None, "tidegate"):
            raise InputError(
                f"expected a tidegate model to be written, got {to!r:.40}; leave out "
                f"{spelled('to')}",
                option="weights",
            )
        copy_model(file, output, weights, on, force, json)
        return
    chosen = format_to_write(output, to)
    inputs = [one for one in (file, architecture) if one is not None]
    check_output(output, inputs=inputs, force=force)
    source = from_ or format_of(file)
    network = read(file, source, **answers)
    content, lost = written(network, output, chosen)
    write_atomically(output, content)
    layers = {a.name or str(k): a.described() for k, a in enumerate(network.layers)}
    if json:
        print_json(
            {
                "input": str(file), "output": str(output), "from": source, "to": chosen,
                "layers": layers, "notes": network.notes, "not_written": lost,
            }
        )  # fmt: skip
        return
    say(f"{file}: {network.origin}")
    width = max(map(len, layers))
    for name, text in layers.items():
        say(f"  {name:<{width}}  {text}")
    for note in network.notes:
        say(f"- {note}")
    say(f"\n{output}: {chosen}, {len(content)} bytes")
    for note in lost:
        say(f"- {note}")


def _refuse_foreign(file: Path, source: str) -> None:
    """InputError unless ``file`` is a tidegate model: others cannot become one."""
    from tidegate.interchange.formats import FORMATS

    if source != "tidegate":
        raise InputError(
            f"expected a tidegate model to write one, got "
            f"{FORMATS[source].title if source in FORMATS else source}: it does not hold the "
            "tokens, labels or scaling that a tidegate model is used with; in Python, "
            "tidegate.interchange.read gives its network, which predicts",
            file=file,
        )
