"""Keras' recurrent layers on the engine: SimpleRNN, LSTM and GRU, under Keras' own names.

Keras on torch, on the CPU, in float32; anything else is left to Keras, and said once.  An import
also registers the layers, so that `keras.saving.load_model` knows them.
"""

try:
    import keras  # noqa: F401
except ModuleNotFoundError as e:
    if e.name == "keras":
        problem = "expected Keras 3, got no module keras; pip install 'tidegate[keras]'"
    else:  # what Keras is set to run on
        problem = (
            f"Keras is set to run on {e.name}, which is not installed; set KERAS_BACKEND=torch in "
            "the environment before the program starts, or in os.environ before keras is imported"
        )
    raise ModuleNotFoundError(f"tidegate.keras: {problem}", name=e.name) from e

from tidegate.keras.layers import GRU, LSTM, SimpleRNN

__all__ = ["GRU", "LSTM", "SimpleRNN"]
