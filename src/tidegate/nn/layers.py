"""RNN, LSTM and GRU: torch.nn's layers of these names, with ragged batches and single steps."""

from __future__ import annotations

from typing import Any

import torch

from tidegate.cells import CELLS
from tidegate.nn.recurrent_layer import RecurrentLayer


class RNN(RecurrentLayer):
    """The simple recurrent network, as torch.nn.RNN.  Equations: docs/cells.md.

    ``nonlinearity`` is ``tanh`` or ``relu``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recurrent_dropout: float = 0.0,
        strict: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', got {nonlinearity!r}")
        cell = CELLS[f"rnn_{nonlinearity}"]
        super().__init__(
            cell, input_size, hidden_size, num_layers, bias, batch_first, dropout,
            recurrent_dropout, bidirectional, strict, device, dtype,
        )  # fmt: skip


class LSTM(RecurrentLayer):
    """Long short-term memory, as torch.nn.LSTM without projections.  Equations: docs/cells.md."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recurrent_dropout: float = 0.0,
        strict: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            CELLS["lstm"], input_size, hidden_size, num_layers, bias, batch_first, dropout,
            recurrent_dropout, bidirectional, strict, device, dtype,
        )  # fmt: skip


class GRU(RecurrentLayer):
    """Gated recurrent units, as torch.nn.GRU.  Equations: docs/cells.md.

    ``reset`` is ``after`` (the reset gate scales the recurrent product: torch, cuDNN, Keras) or
    ``before`` (it scales the state: Cho et al. 2014 v3, most textbooks).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset: str = "after",
        recurrent_dropout: float = 0.0,
        strict: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if reset not in ("after", "before"):
            raise ValueError(f"reset: expected 'after' or 'before', got {reset!r}")
        cell = CELLS["gru" if reset == "after" else "gru_reset_before"]
        super().__init__(
            cell, input_size, hidden_size, num_layers, bias, batch_first, dropout,
            recurrent_dropout, bidirectional, strict, device, dtype,
        )  # fmt: skip


def layer_for(cell: str, input_size: int, hidden_size: int, **options: Any) -> RecurrentLayer:
    """The layer that runs the cell of this name."""
    if cell.startswith("rnn_"):
        return RNN(input_size, hidden_size, nonlinearity=cell.removeprefix("rnn_"), **options)
    if cell == "lstm":
        return LSTM(input_size, hidden_size, **options)
    return GRU(input_size, hidden_size, reset="after" if cell == "gru" else "before", **options)
