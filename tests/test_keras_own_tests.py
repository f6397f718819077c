"""Keras' own tests of its recurrent layers, from the installed package, run on ours.

A test file of Keras is loaded once more under another name, and there `layers.GRU` is ours.
"""

import importlib.util
import inspect
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from keras_on_torch import keras

import tidegate.keras
from tidegate.keras import recurrence

PACKAGE = keras.layers.GRU.__module__.rpartition(".")[0]
FOLDER = Path(inspect.getfile(keras.layers.GRU)).parent
FILES = [
    "simple_rnn",
    "lstm",
    "gru",
    "bidirectional",
    "rnn",
    "stacked_rnn_cells",
    "dropout_rnn_cell",
]
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # cells of the tests' own
    pytest.mark.filterwarnings("ignore:RNN .*the engine has no kernel for:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning"),
]


@keras.saving.register_keras_serializable(package="tests")
class RNN(keras.layers.RNN):
    """Keras' layer of any cell with our loop."""

    def inner_loop(self, sequences, initial_state, mask, training=False):
        own = super().inner_loop
        return recurrence.inner_loop(self, own, sequences, initial_state, mask, training)


OURS = {name: getattr(tidegate.keras, name) for name in tidegate.keras.__all__} | {"RNN": RNN}


def cases_of(file: str) -> Iterator[type[unittest.TestCase]]:
    name = f"{PACKAGE}.{file}_test_with_ours"  # Keras loads no class of other packages
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{file}_test.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    theirs = vars(module.layers)
    assert theirs.keys() >= OURS.keys()
    module.layers = SimpleNamespace(**(theirs | OURS))
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            yield value


for file in FILES:
    for case in cases_of(file):
        globals()[f"{file}_{case.__name__}"] = case
del case


def test_all_files_of_keras_tests_are_there():
    found = [name for name in globals() if name.endswith("Test")]
    assert len(found) == len(FILES)
