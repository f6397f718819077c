"""``tidegate convert``: a network from one library's file to another's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli.reading import Force, Json, file_to_write
from tidegate.cli.show import print_json
from tidegate.errors import InputError, spelled
from tidegate.terminal import say


def _answer(metavar: str, help: str) -> Any:
    return typer.Option(metavar=metavar, help=help, rich_help_panel="Where IN does not say")


def convert(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="a tidegate model; a torch state_dict (.safetensors); a Keras model (.keras, "
            ".h5); an ONNX model (.onnx); the .npz of the GRU tutorial for Theano",
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            parser=file_to_write,
            help="the file to write: .safetensors for torch, .keras, .onnx",
        ),
    ],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="what IN is: tidegate, torch, keras, h5, onnx or theano (default: as its name "
            "and content say)",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="what OUT is to be: torch, keras, onnx, or tidegate (default: as its name says; "
            ".safetensors is torch)",
        ),
    ] = None,
    cell: Annotated[
        str | None,
        _answer("NAME", "the cell, where the shapes of a state_dict fit several, such as rnn_relu"),
    ] = None,
    layer: Annotated[
        str | None,
        _answer("NAME", "how the name of the recurrent layer begins, where there are several"),
    ] = None,
    reset_after: Annotated[
        bool | None,
        typer.Option(
            "--reset-after/--no-reset-after",
            metavar="",
            show_default=False,
            help="where the reset gate of a Keras GRU acts: after the product, or before it",
            rich_help_panel="Where IN does not say",
        ),
    ] = None,
    recurrent_activation: Annotated[
        str | None,
        _answer("NAME", "the function of the gates: sigmoid or hard_sigmoid"),
    ] = None,
    keras_version: Annotated[
        int | None, _answer("N", "1, 2 or 3: Keras 3 has another hard_sigmoid")
    ] = None,
    update_gate: Annotated[
        str | None,
        _answer(
            "NAME",
            "of the tutorial's .npz: keeps (as its code has it) the old state, or writes",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="write a tidegate model with matrices in bfloat16 (half the size) or int8 (a "
            "quarter), which recurrent layers then multiply faster where the processor has "
            "instructions for it; float32 writes them at full length",
            rich_help_panel="A tidegate model in fewer bits",
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="with `weights`: measure both models on this file, which is like the one in "
            "training; - is standard input",
            rich_help_panel="A tidegate model in fewer bits",
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
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
        "update_gate": update_gate,
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
    check_output(output, inputs=(file,), force=force)
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
