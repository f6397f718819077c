"""Recurrent networks on the CPU: layers for torch, tasks from a file, a runtime without torch.

A public name is imported when it is first used, so ``import tidegate`` is fast and needs neither
torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tidegate.registration import import_with

if TYPE_CHECKING:
    from tidegate.acceleration.accelerate import accelerate
    from tidegate.cells.parts import Gate, State
    from tidegate.comparison.compare import compare
    from tidegate.declaring import cell
    from tidegate.equations.expr import gates, states
    from tidegate.nn.cell_layers import GRUCell, LSTMCell, RNNCell
    from tidegate.nn.layers import GRU, LSTM, RNN
    from tidegate.nn.recurrent_layer import Recurrent
    from tidegate.nn.stack import Stack
    from tidegate.tasks import load
    from tidegate.tasks.classifier import TextClassifier
    from tidegate.tasks.forecaster import Forecaster
    from tidegate.tasks.language_model import LanguageModel
    from tidegate.tasks.music_model import MusicModel
    from tidegate.tasks.sequence_classifier import SequenceClassifier
    from tidegate.tasks.sequence_regressor import SequenceRegressor
    from tidegate.tasks.sequence_to_sequence import SequenceToSequence
    from tidegate.tasks.series_tagger import SeriesTagger
    from tidegate.tasks.series_to_series import SeriesToSeries
    from tidegate.tasks.tagger import SequenceTagger
    from tidegate.tasks.text_regressor import TextRegressor
    from tidegate.tuning.tune import tune

    __version__: str

_HOME_OF = {
    "RNN": "tidegate.nn.layers",
    "LSTM": "tidegate.nn.layers",
    "GRU": "tidegate.nn.layers",
    "Recurrent": "tidegate.nn.recurrent_layer",
    "Stack": "tidegate.nn.stack",
    "RNNCell": "tidegate.nn.cell_layers",
    "LSTMCell": "tidegate.nn.cell_layers",
    "GRUCell": "tidegate.nn.cell_layers",
    "TextClassifier": "tidegate.tasks.classifier",
    "TextRegressor": "tidegate.tasks.text_regressor",
    "LanguageModel": "tidegate.tasks.language_model",
    "MusicModel": "tidegate.tasks.music_model",
    "Forecaster": "tidegate.tasks.forecaster",
    "SequenceClassifier": "tidegate.tasks.sequence_classifier",
    "SequenceRegressor": "tidegate.tasks.sequence_regressor",
    "SequenceTagger": "tidegate.tasks.tagger",
    "SeriesTagger": "tidegate.tasks.series_tagger",
    "SequenceToSequence": "tidegate.tasks.sequence_to_sequence",
    "SeriesToSeries": "tidegate.tasks.series_to_series",
    "Gate": "tidegate.cells.parts",
    "State": "tidegate.cells.parts",
    "accelerate": "tidegate.acceleration.accelerate",
    "cell": "tidegate.declaring",
    "compare": "tidegate.comparison.compare",
    "gates": "tidegate.equations.expr",
    "load": "tidegate.tasks",
    "states": "tidegate.equations.expr",
    "tune": "tidegate.tuning.tune",
}
# modules that people name without an import of their own, as they do torch.onnx
_MODULES = {
    "interchange": "tidegate.interchange",
    "keras": "tidegate.keras",
    "onnx": "tidegate.onnx",
    "samples": "tidegate.samples",
}

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Forecaster",
    "GRUCell",
    "Gate",
    "LSTMCell",
    "LanguageModel",
    "MusicModel",
    "RNNCell",
    "Recurrent",
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceTagger",
    "SeriesTagger",
    "SeriesToSeries",
    "SequenceToSequence",
    "Stack",
    "State",
    "TextClassifier",
    "TextRegressor",
    "__version__",
    "accelerate",
    "cell",
    "compare",
    "gates",
    "load",
    "states",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("tidegate")
    elif name in _HOME_OF:
        try:
            value = getattr(importlib.import_module(_HOME_OF[name]), name)
        except ModuleNotFoundError as e:
            if e.name != "torch":
                raise
            problem = f"{name} needs torch; install it with: pip install 'tidegate[train]'"
            raise ModuleNotFoundError(problem, name=e.name) from e
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'tidegate' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


import_with("torch", "tidegate.nn.engine_op")
import_with("torch.onnx._internal.exporter._torchlib.ops", "tidegate.onnx.torch_registry")
