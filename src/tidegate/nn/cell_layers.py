"""RNNCell, LSTMCell and GRUCell: one step of a layer, with torch.nn's interface."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from tidegate.cells import Cell, cell_of
from tidegate.nn.arguments import check_flag, check_hidden, check_input, check_placement, check_size
from tidegate.nn.described import described
from tidegate.nn.functional import describe_path, recurrence
from tidegate.nn.reference import State
from tidegate.nn.torch_tools import OwnModule, one_node


class CellLayer(OwnModule, nn.RNNCellBase):
    """What the three share: torch.nn's arguments, parameters, initialisation and outputs."""

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        bias: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        check_placement(device, dtype)
        super().__init__(
            check_size("input_size", input_size), check_size("hidden_size", hidden_size),
            check_flag("bias", bias), len(cell.gates), device, dtype,
        )  # fmt: skip
        self.cell = cell
        for name, value in cell.options.items():
            setattr(self, name, value)

    def forward(self, input: Tensor, hx: Tensor | tuple[Tensor, ...] | None = None) -> Any:
        """Compute the state after one step.

        input: [B, I], or [I] for one sequence.  hx: the state before the step, [B, H], or [H] for
        one sequence; a pair (h, c) for the LSTM; None for zeros.  Returns the new state in the form
        of ``hx``.  Raises ValueError, TypeError or RuntimeError, where torch.nn does, naming the
        argument.
        """
        if isinstance(input, Proxy):
            return one_node(self, input, hx=hx)
        check_input(input, {2: "[B, I]", 1: "[I]"}, self.weight_ih)
        shape = (*input.shape[:-1], self.hidden_size)
        batched = input.dim() == 2
        state: State
        if hx is None:
            state = (input.new_zeros(shape),) * len(self.cell.states)
        else:
            shapes = [shape] * len(self.cell.states)
            state = check_hidden(hx, self.cell, shapes, "B, " if batched else "", input)
        x = input.unsqueeze(0)
        if not batched:
            x, state = x.unsqueeze(0), tuple(s.unsqueeze(0) for s in state)
        weights = [getattr(self, name) for name in self.cell.parameters]
        _, state = recurrence(self.cell, x, state, weights, by_steps=True)
        if not batched:
            state = tuple(s.squeeze(0) for s in state)
        return state[0] if len(self.cell.states) == 1 else state

    def explain(self) -> str:
        """Say which path would run this cell now (engine, torch or reference), and why."""
        return describe_path(self.cell, tuple(self.parameters()))

    def extra_repr(self) -> str:
        """Show the sizes and what differs from its default, as torch.nn does."""
        usual = {"bias": True} | cell_of(self.cell.layer).options
        changed = (f"{n}={getattr(self, n)}" for n, v in usual.items() if getattr(self, n) != v)
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed])


@described
class RNNCell(CellLayer):
    """One step of the simple recurrent network, as torch.nn.RNNCell.  Equations: docs/cells.md.

    >>> import tidegate as tg, torch
    >>> h = tg.RNNCell(5, 7)(torch.zeros(3, 5), torch.zeros(3, 7))  # [B, I], [B, H]
    >>> h.shape
    torch.Size([3, 7])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cell = cell_of("RNN", nonlinearity=nonlinearity)
        super().__init__(cell, input_size, hidden_size, bias, device, dtype)


@described
class LSTMCell(CellLayer):
    """One step of long short-term memory, as torch.nn.LSTMCell.  Equations: docs/cells.md.

    >>> import tidegate as tg, torch
    >>> h, c = tg.LSTMCell(5, 7)(torch.zeros(3, 5))  # [B, I]; a state of zeros
    >>> h.shape, c.shape
    (torch.Size([3, 7]), torch.Size([3, 7]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(cell_of("LSTM"), input_size, hidden_size, bias, device, dtype)


@described
class GRUCell(CellLayer):
    """One step of gated recurrent units, as torch.nn.GRUCell.  Equations: docs/cells.md.

    >>> import tidegate as tg, torch
    >>> h = tg.GRUCell(5, 7)(torch.zeros(3, 5))  # [B, I]; a state of zeros
    >>> h.shape
    torch.Size([3, 7])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        reset: str = "after",
    ) -> None:
        super().__init__(cell_of("GRU", reset=reset), input_size, hidden_size, bias, device, dtype)
