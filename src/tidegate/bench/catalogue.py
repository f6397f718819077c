"""What can be measured, by name: figures, cells, libraries.  Imports no library, for help texts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from shutil import which

from tidegate.cells import NAMES, get_cell

USUAL = ("rnn", "gru", "lstm")  # what is measured unless other cells are named
OF_TORCH = tuple(name for name in NAMES if get_cell(name).torch)

FIGURES = {
    "layers": "one layer over a batch, inference and training",
    "numpy": "inference of that layer on numpy arrays, beside ONNX Runtime",
    "reset": "our GRU with reset before the product, beside reset after it",
    "ragged": "a batch of unequal lengths, beside padding and torch's PackedSequence",
    "step": "one step of a stream, from numpy arrays to numpy arrays",
    "adam": "a whole training step of a small classifier",
    "loop": "a Python loop over torch's cells, with and without torch.compile",
    "neighbours": "training beside one to four busy processes, as a share of its speed alone",
    "random": "sixty shapes drawn by a seed, every fourth a ragged batch; half an hour",
}
USUAL_FIGURES = tuple(name for name in FIGURES if name != "random")


@dataclass(frozen=True)
class Library:
    """A contestant: where its code is, and what it can do.

    ``prepare`` names a function, "module:name", that makes a `work.Prepared` of a work.  With
    ``own_process`` it runs in a process that has ``environment`` set before anything is imported.
    """

    title: str
    prepare: str
    packages: tuple[str, ...]
    cells: tuple[str, ...] = tuple(NAMES)
    trains: bool = True
    own_process: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    programs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The packages and programs it needs that are not installed."""
        packages = [name for name in self.packages if find_spec(name) is None]
        return packages + [name for name in self.programs if which(name) is None]


OURS, OURS_ON_NUMPY = "tidegate", "tidegate-numpy"
_TORCH = "tidegate.bench.torch_contestants"
_KERAS = "tidegate.bench.keras_contestants:prepare"
# The back end is chosen when keras is imported, once per process.  Measured is the CPU.
_ON_JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
_ON_TORCH = {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}

LIBRARIES = {
    OURS: Library("tidegate", f"{_TORCH}:tidegate", ("torch",)),
    OURS_ON_NUMPY: Library(
        "tidegate on numpy arrays",
        "tidegate.bench.numpy_contestant:prepare",
        ("numpy",),
        trains=False,
        own_process=True,  # without torch, whose threads it would run on
    ),
    "tidegate-flushed": Library(
        "tidegate, denormals flushed", f"{_TORCH}:tidegate_flushed", ("torch",), own_process=True
    ),
    "torch": Library("torch.nn", f"{_TORCH}:torch_nn", ("torch",), OF_TORCH),
    "torch-flushed": Library(
        "torch.nn, denormals flushed",
        f"{_TORCH}:torch_nn_flushed",
        ("torch",),
        OF_TORCH,
        own_process=True,
    ),
    "torch-packed": Library(
        "torch.nn, packed beforehand", f"{_TORCH}:torch_nn_packed", ("torch",), OF_TORCH
    ),
    "torch-loop": Library("torch.nn cells in a loop", f"{_TORCH}:torch_loop", ("torch",)),
    "torch-compiled": Library(
        "the same under torch.compile",
        f"{_TORCH}:torch_compiled",
        ("torch",),
        programs=(os.environ.get("CXX", "g++"),),
    ),
    "onnxruntime": Library(
        "ONNX Runtime",
        "tidegate.bench.onnx_contestant:prepare",
        ("onnx", "onnxruntime"),
        cells=("gru", "lstm"),
        trains=False,
    ),
    "keras-jax": Library(
        "Keras on JAX",
        _KERAS,
        ("keras", "jax", "jaxlib"),
        cells=("gru", "lstm"),
        own_process=True,
        environment=_ON_JAX,
    ),
    "keras-torch": Library(
        "Keras on torch",
        _KERAS,
        ("keras", "torch"),
        cells=("gru", "lstm"),
        own_process=True,
        environment=_ON_TORCH,
    ),
}
PEERS = tuple(name for name in LIBRARIES if name not in (OURS, OURS_ON_NUMPY))
