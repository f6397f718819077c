"""Keras' recurrent layers with their loop over time on the engine.

Activations may be any of Keras' that take one value.  Kernels of other ones than tanh, sigmoid and,
of SimpleRNN, relu are compiled when they are first used.

Only the loop is ours.  Configuration, weights, dropout masks, states that are kept and files are
Keras', so the classes bear Keras' names: a file's paths are made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from tidegate.keras import recurrence

if TYPE_CHECKING:
    _Base = keras.layers.RNN
else:
    _Base = object


class _OnEngine(_Base):
    """What the three layers share."""

    def __init__(self, units: int, *args: Any, strict: bool = False, **kwargs: Any) -> None:
        super().__init__(units, *args, **kwargs)
        self.strict = strict

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        super().build(sequences_shape, initial_state_shape)
        recurrence.make_cell(self)

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: Any = False
    ) -> Any:
        return recurrence.inner_loop(
            self, super().inner_loop, sequences, initial_state, mask, training, self.strict
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config | {"strict": True} if self.strict else config


@keras.saving.register_keras_serializable(package="tidegate")
class SimpleRNN(_OnEngine, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` on the engine.

    Arguments, shapes, weights and results are those of `keras.layers.SimpleRNN`: [B, T, I] in,
    [B, H] out, or [B, T, H] with ``return_sequences``.  Where the engine cannot run, Keras' own
    loop does, and a warning says once why; with ``strict`` the call raises RuntimeError instead.
    """


@keras.saving.register_keras_serializable(package="tidegate")
class LSTM(_OnEngine, keras.layers.LSTM):
    """`keras.layers.LSTM` on the engine.

    Arguments, shapes, weights and results are those of `keras.layers.LSTM`: [B, T, I] in, [B, H]
    out, or [B, T, H] with ``return_sequences``.  Where the engine cannot run, Keras' own loop does,
    and a warning says once why; with ``strict`` the call raises RuntimeError instead.
    """


@keras.saving.register_keras_serializable(package="tidegate")
class GRU(_OnEngine, keras.layers.GRU):
    """`keras.layers.GRU` on the engine.

    Both forms run there, ``reset_after`` and not.  Arguments, shapes, weights and results are those
    of `keras.layers.GRU`: [B, T, I] in, [B, H] out, or [B, T, H] with ``return_sequences``.  Where
    the engine cannot run, Keras' own loop does, and a warning says once why; with ``strict`` the
    call raises RuntimeError instead.
    """
