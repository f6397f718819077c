"""Files of networks by the library that reads them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

from tidegate.errors import InputError, shown
from tidegate.interchange.network import Network
from tidegate.interchange.settled import Answers
from tidegate.model.checkpoint import is_model_file
from tidegate.output.places import check_output
from tidegate.output.writing import write_atomically

Name = str | PathLike[str]
Reader = Callable[[Name, Answers], Network]
Writer = Callable[[Network], tuple[bytes, tuple[str, ...]]]


@dataclass(frozen=True)
class Format:
    """``suffixes`` of its files; where its reader and its writer are, if there is one.

    ``answers``: what a user may have to say of such a file.
    """

    title: str
    suffixes: tuple[str, ...]
    reader: str | None
    writer: str | None = None
    answers: tuple[str, ...] = ()


FORMATS: Mapping[str, Format] = {
    "tidegate": Format(
        "a tidegate model", (".safetensors",), "tidegate.interchange.model_file:read_tidegate"
    ),
    "torch": Format(
        "a torch state_dict in safetensors",
        (".safetensors",),
        "tidegate.interchange.torch_reader:read_torch",
        "tidegate.interchange.torch_writer:torch_bytes",
        ("cell", "layer"),
    ),
    "keras": Format(
        "a Keras model",
        (".keras",),
        "tidegate.interchange.keras_reader:read_keras",
        "tidegate.interchange.keras_writer:keras_bytes",
        ("reset_after", "recurrent_activation", "keras_version"),
    ),
    "h5": Format(
        "a legacy Keras model, or weights of one",
        (".h5", ".hdf5"),
        "tidegate.interchange.keras_reader:read_h5",
        None,
        ("reset_after", "recurrent_activation", "keras_version", "architecture"),
    ),
    "onnx": Format(
        "an ONNX model",
        (".onnx",),
        "tidegate.interchange.onnx_reader:read_onnx",
        "tidegate.interchange.onnx_writer:onnx_bytes",
        ("layer",),
    ),
    "theano": Format(
        "the .npz of the GRU tutorial for Theano",
        (".npz",),
        "tidegate.interchange.theano_reader:read_theano",
        None,
        ("update_gate", "recurrent_activation"),
    ),
}
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")  # which may run code
# a state_dict, or a checkpoint that holds one, from whatever device; tensors that share memory, or
# are not contiguous, safetensors would refuse
_OF_PICKLE = (
    "import torch; from safetensors.torch import save_file; "
    "p = torch.load('IN.pt', map_location='cpu', weights_only=True); "
    "p = next((p[k] for k in ('state_dict', 'model_state_dict', 'model') if k in p), p); "
    "save_file({k: v.contiguous().clone() for k, v in p.items()}, 'OUT.safetensors')"
)
WRITTEN = tuple(name for name, about in FORMATS.items() if about.writer)


def read(path: Name, format: str | None = None, **answers: Any) -> Network:
    """The network in a file of another library's, or of tidegate's.

    ``format``: torch, keras, h5, onnx, theano or tidegate; None: as the file's name and content
    say.  ``answers`` to what a file may leave open, each of which an error asks for where it is
    needed: ``cell``, ``layer``, ``reset_after``, ``recurrent_activation``, ``keras_version``,
    ``update_gate``, ``architecture``.  Nothing in a file is executed.  Raises InputError.
    """
    known = {f.name for f in fields(Answers)}
    if unknown := set(answers) - known:
        raise InputError(
            f"expected one of {', '.join(sorted(known))}, got {shown(sorted(unknown)[0])}; name "
            "one of these"
        )
    given = Answers(**answers)
    chosen = format_of(path) if format is None else _known(format, tuple(FORMATS))
    check_answers(given, chosen)
    about = FORMATS[chosen]
    assert about.reader is not None
    try:
        return _taken(about.reader)(path, given)
    except ModuleNotFoundError as e:
        raise _without(e, about) from e


def check_answers(answers: Answers, format: str) -> None:
    """Raise InputError for an answer to a question that files of this format do not leave open."""
    about = FORMATS[format]
    for name, value in vars(answers).items():
        if value is not None and name not in about.answers:
            raise InputError(
                f"expected none for {about.title}, which leaves no such question open, got "
                f"{shown(value)}; leave it out",
                option=name,
            )


def write(
    network: Network, path: Name, format: str | None = None, *, force: bool = False
) -> tuple[str, ...]:
    """Write a network for another library: ``torch``, ``keras`` or ``onnx``, by the file's name or
    by ``format``.

    Replaces a file that tidegate wrote, any other only with ``force``.  Returns what of the network
    is not in such a file.  Raises InputError for a network that the format cannot hold, in whole.
    """
    check_output(path, force=force)
    content, notes = written(network, path, format)
    write_atomically(path, content)
    return notes


def written(network: Network, path: Name, format: str | None) -> tuple[bytes, tuple[str, ...]]:
    """The bytes that ``write`` writes, and what is not in them.  Raises InputError."""
    about = FORMATS[format_to_write(path, format)]
    assert about.writer is not None
    try:
        return _taken(about.writer)(network)
    except ModuleNotFoundError as e:
        raise _without(e, about) from e


def format_of(path: Name) -> str:
    """The format of a file that is there, by its name and, of safetensors, its content.

    Raises InputError.
    """
    suffix = Path(path).suffix.lower()
    if _is_pickle(path):
        raise InputError(
            "expected a safetensors file, got a torch pickle, which may run code when it is read; "
            f'convert it where you trust it: python -c "{_OF_PICKLE}"; of a whole module '
            "save the state_dict() first",
            file=path,
        )
    if suffix == ".safetensors":
        return "tidegate" if is_model_file(path) else "torch"
    for name, about in FORMATS.items():
        if suffix in about.suffixes:
            return name
    suffixes = ", ".join(dict.fromkeys(s for about in FORMATS.values() for s in about.suffixes))
    raise InputError(
        f"expected a file that ends in one of {suffixes}, got {shown(suffix)}; rename it, or "
        "name its format with --from, in Python format=",
        file=path,
    )


def is_of_another_library(path: Name) -> bool:
    """Whether a file is one that `read` takes, or refuses with a way out, and no tidegate model."""
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors":
        return Path(path).is_file() and not is_model_file(path)
    return _is_pickle(path) or any(suffix in about.suffixes for about in FORMATS.values())


def _is_pickle(path: Name) -> bool:
    return Path(str(path).lower().removesuffix(".tar")).suffix in _PICKLES  # .pth.tar is one, too


def format_to_write(path: Name, format: str | None) -> str:
    """The format of a file that is to be written.  Raises InputError where none can be."""
    if format is not None:
        return _known(format, WRITTEN)
    suffix = Path(path).suffix.lower()
    for name in WRITTEN:
        if suffix in FORMATS[name].suffixes:
            return name
    if suffix in FORMATS["h5"].suffixes:
        remedy = "write .keras, the format that took the place of .h5"
    elif suffix in _PICKLES:
        remedy = "write .safetensors, which safetensors.torch.load_file reads"
    else:
        remedy = "name a file that ends so"
    wanted = ", ".join(f"{FORMATS[name].suffixes[0]} ({name})" for name in WRITTEN)
    raise InputError(f"expected a file {wanted}, got {shown(suffix)}; {remedy}", file=path)


def _known(format: str, known: tuple[str, ...]) -> str:
    if format not in known:
        raise InputError(
            f"format: expected one of {', '.join(known)}, got {shown(format)}; name one of these"
        )
    return format


def _taken(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _without(error: ModuleNotFoundError, about: Format) -> ModuleNotFoundError:
    """The same error, with the remedy where a package of an extra is missing."""
    extra = {"h5py": "keras", "onnx": "onnx"}.get(error.name or "")
    if extra is None:
        return error
    problem = f"{about.title} needs {error.name}; install it with: pip install 'tidegate[{extra}]'"
    return ModuleNotFoundError(problem, name=error.name)
