"""RNN, LSTM and GRU: torch.nn's layers of these names, with ragged batches and single steps."""

from __future__ import annotations

from typing import Any

import torch

from tidegate.cells import cell_of, get_cell
from tidegate.nn.recurrent_layer import RecurrentLayer


class RNN(RecurrentLayer):
    """Simple recurrent network with the interface of torch.nn.RNN.  Equations: docs/cells.md.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        recurrent_dropout: float = 0.0,
        strict: bool = False,
    ) -> None:
        super().__init__(
            cell_of("RNN", nonlinearity=nonlinearity), input_size, hidden_size, num_layers, bias,
            batch_first, dropout, bidirectional, 0, device, dtype, recurrent_dropout, strict,
        )  # fmt: skip


class LSTM(RecurrentLayer):
    """Long short-term memory with the interface of torch.nn.LSTM.  Equations: docs/cells.md.

    With ``proj_size`` P > 0, a matrix of P x H weights projects the hidden state of every step to P
    values, which are also the output (Sak et al. 2014, arXiv:1402.1128).  The engine has no kernel
    for projections, so torch's kernel runs.
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
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        recurrent_dropout: float = 0.0,
        strict: bool = False,
    ) -> None:
        super().__init__(
            cell_of("LSTM"), input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, proj_size, device, dtype, recurrent_dropout, strict,
        )  # fmt: skip


class GRU(RecurrentLayer):
    """Gated recurrent units with the interface of torch.nn.GRU.  Equations: docs/cells.md.

    ``reset`` is ``after`` or ``before``.  ``after``: the reset gate scales the product of recurrent
    weights and state, as in torch, cuDNN and Keras.  ``before``: the reset gate scales the state,
    as in Cho et al. 2014 v3 and most textbooks.
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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        reset: str = "after",
        recurrent_dropout: float = 0.0,
        strict: bool = False,
    ) -> None:
        super().__init__(
            cell_of("GRU", reset=reset), input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, 0, device, dtype, recurrent_dropout, strict,
        )  # fmt: skip


def layer_for(name: str, input_size: int, hidden_size: int, **options: Any) -> RecurrentLayer:
    """The layer that runs the cell of this name."""
    cell = get_cell(name)
    return globals()[cell.layer](input_size, hidden_size, **cell.options, **options)
