"""RNN, LSTM and GRU: the layer of any cell, with the signatures of torch.nn's layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tidegate.cells import cell_of
from tidegate.nn.described import described
from tidegate.nn.recurrent_layer import Recurrent


class _AsInTorch(Recurrent):
    """A layer whose class and options say which cell it runs."""

    def extra_repr(self) -> str:
        """Show sizes and what differs from its default, as torch.nn does, then our own options."""
        return self._changed(cell_of(self.cell.layer).options)


@described
class RNN(_AsInTorch):
    """Simple recurrent network with the interface of torch.nn.RNN.  Equations: docs/cells.md.

    ``forward`` says what a call takes, gives and raises.

    >>> import tidegate as tg, torch
    >>> output, h = tg.RNN(5, 7, nonlinearity="relu")(torch.zeros(11, 3, 5))  # [T, B, I]
    >>> output.shape, h.shape
    (torch.Size([11, 3, 7]), torch.Size([1, 3, 7]))
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
        input_dropout: float = 0.0,
        dropout_per_gate: bool = False,
        candidate_dropout: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        weight_dropout: float = 0.0,
        strict: bool = False,
    ) -> None:
        super().__init__(
            cell_of("RNN", nonlinearity=nonlinearity), input_size, hidden_size, num_layers, bias,
            batch_first, dropout, bidirectional, 0, device, dtype,
            recurrent_dropout=recurrent_dropout, input_dropout=input_dropout,
            dropout_per_gate=dropout_per_gate, candidate_dropout=candidate_dropout,
            zoneout=zoneout, weight_dropout=weight_dropout, strict=strict,
        )  # fmt: skip


@described
class LSTM(_AsInTorch):
    """Long short-term memory with the interface of torch.nn.LSTM.  Equations: docs/cells.md.

    With ``proj_size`` P > 0, a matrix of P x H weights projects the hidden state of every step to P
    values, which are also the output: the cell lstm_projected.  ``forward`` says what a call takes,
    gives and raises.

    >>> import tidegate as tg, torch
    >>> layer = tg.LSTM(5, 7, num_layers=2, bidirectional=True, batch_first=True)
    >>> output, (h, c) = layer(torch.zeros(3, 11, 5))  # [B, T, I]
    >>> output.shape, h.shape
    (torch.Size([3, 11, 14]), torch.Size([4, 3, 7]))
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
        input_dropout: float = 0.0,
        dropout_per_gate: bool = False,
        candidate_dropout: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        weight_dropout: float = 0.0,
        strict: bool = False,
    ) -> None:
        projected = not isinstance(proj_size, int) or proj_size != 0
        super().__init__(
            cell_of("LSTM", projected=projected), input_size, hidden_size, num_layers, bias,
            batch_first, dropout, bidirectional, proj_size, device, dtype,
            recurrent_dropout=recurrent_dropout, input_dropout=input_dropout,
            dropout_per_gate=dropout_per_gate, candidate_dropout=candidate_dropout,
            zoneout=zoneout, weight_dropout=weight_dropout, strict=strict,
        )  # fmt: skip


@described
class GRU(_AsInTorch):
    """Gated recurrent units with the interface of torch.nn.GRU.  Equations: docs/cells.md.

    ``forward`` says what a call takes, gives and raises.

    >>> import tidegate as tg, torch
    >>> layer = tg.GRU(5, 7)
    >>> output, h = layer(torch.zeros(11, 3, 5), lengths=[11, 4, 0])  # [T, B, I]
    >>> output.shape, h.shape
    (torch.Size([11, 3, 7]), torch.Size([1, 3, 7]))
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
        input_dropout: float = 0.0,
        dropout_per_gate: bool = False,
        candidate_dropout: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        weight_dropout: float = 0.0,
        strict: bool = False,
    ) -> None:
        super().__init__(
            cell_of("GRU", reset=reset), input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, 0, device, dtype,
            recurrent_dropout=recurrent_dropout, input_dropout=input_dropout,
            dropout_per_gate=dropout_per_gate, candidate_dropout=candidate_dropout,
            zoneout=zoneout, weight_dropout=weight_dropout, strict=strict,
        )  # fmt: skip
