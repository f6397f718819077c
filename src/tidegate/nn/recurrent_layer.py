"""The layer of any cell: torch.nn's interface, ragged batches, single steps."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from tidegate.cells import Cell
from tidegate.nn.arguments import (
    check_cell,
    check_flag,
    check_heads,
    check_hidden,
    check_input,
    check_layers,
    check_lengths,
    check_placement,
    check_probability,
    check_projection,
    check_size,
)
from tidegate.nn.described import described
from tidegate.nn.dropout import dropout
from tidegate.nn.functional import compact, describe_path, reason_against_torch, recurrence
from tidegate.nn.reference import State
from tidegate.nn.regularising import Regularised, drop_weights
from tidegate.nn.step_values import StepValues, named
from tidegate.nn.torch_tools import OwnModule, one_node


@described
class Recurrent(Regularised, OwnModule, nn.RNNBase):
    """Stacked recurrent layers of any cell, called as torch.nn's are.  Equations: docs/cells.md.

    RNN, LSTM and GRU are this class with torch.nn's signatures.  The names of parameters, their
    initialisation and the outputs are those of torch.nn's recurrent layers.  ``forward`` says what
    a call takes, gives and raises; ``explain()`` says what would run it.

    >>> import tidegate as tg, torch
    >>> layer = tg.Recurrent("lstm_peephole", input_size=5, hidden_size=7)
    >>> output, state = layer(torch.zeros(11, 3, 5))  # [T, B, I]
    >>> output.shape
    torch.Size([11, 3, 7])

    A layer is an instance of torch.nn.RNNBase, but not of torch.nn.RNN, LSTM or GRU, because
    torch.compile stops at instances of those three.  ``mode`` is torch.nn's name of the cell in
    capitals, or ours for cells that torch.nn has not.

    In training the engine saves the input and, per token, layer and direction, the gates, the
    states and what else the backward step needs: docs/design.md counts them.
    """

    def __init__(
        self,
        cell: str | Cell,
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
        num_heads: int = 1,
        strict: bool = False,
    ) -> None:
        nn.Module.__init__(self)  # RNNBase's own knows four cells
        check_placement(device, dtype)
        self.cell = check_cell(cell)
        self.mode = (self.cell.torch or self.cell.name).upper()
        self.strict = check_flag("strict", strict)
        for name, value in self.cell.options.items():
            setattr(self, name, value)
        self.input_size = check_size("input_size", input_size)
        self.hidden_size = check_size("hidden_size", hidden_size)
        self.num_layers = check_layers(num_layers)
        self.bias, self.batch_first = (
            check_flag("bias", bias),
            check_flag("batch_first", batch_first),
        )
        # torch.nn also takes numbers for this one
        as_flag = bool(bidirectional) if bidirectional in (0, 1) else bidirectional
        self.bidirectional = check_flag("bidirectional", as_flag)
        self.proj_size = check_projection(self.cell, proj_size, self.hidden_size)
        self.num_heads = check_heads(self.cell, num_heads, self.hidden_size)
        self.dropout = check_probability("dropout", dropout)
        self._regularise(
            recurrent_dropout, input_dropout, dropout_per_gate, candidate_dropout, zoneout,
            weight_dropout,
        )  # fmt: skip
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(  # in torch.nn's words, by which people filter it
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                "dropout expects num_layers greater than 1, but got "
                f"dropout={dropout} and num_layers=1",
                stacklevel=2 if type(self) is Recurrent else 3,
            )
        sizes = {"H": self.hidden_size, "P": self.proj_size, "K": self.num_heads}
        self.state_sizes = self.cell.state_sizes(sizes)
        self._all_weights: list[list[str]] = []
        for k, suffix in self._names():
            width = self.input_size if k == 0 else self.state_sizes[0] * self.directions
            shapes = self.cell.shapes(sizes | {"I": width}, self.bias)
            self._all_weights.append([f"{name}_l{k}{suffix}" for name in shapes])
            for name, shape in zip(self._all_weights[-1], shapes.values(), strict=True):
                parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(name, parameter)
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        self._init_flat_weights()  # what RNNBase keeps for those who read it
        self.reset_parameters()

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def layer_weights(self, layer: int, reverse: bool = False) -> list[Tensor | None]:
        """The weights of one layer in one direction, in the order of ``cell.parameters``.

        A bias that the layer does without is None.
        """
        given = iter(map(self._weight, self._all_weights[layer * self.directions + reverse]))
        if self.bias:
            return [*given]
        return [None if p.is_bias else next(given) for p in self.cell.parameters.values()]

    def _weight(self, name: str) -> Tensor:
        # looked up here first: Module.__getattr__ takes a microsecond for the four of a layer
        found = self._parameters.get(name)
        return getattr(self, name) if found is None else found

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | tuple[Tensor, ...] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        return_gates: bool = False,
        return_states: bool = False,
    ) -> tuple[Any, ...]:
        """Run the layer over whole sequences.

        input: [T, B, I] ([B, T, I] if ``batch_first``; [T, I] for one sequence) or a
        PackedSequence.  hx: the initial state [num_layers * directions, B, H] ([.., H] for one
        sequence); a pair (h, c) of these for the LSTM; None for zeros.
        lengths: [B] integers from 0 to T, the number of true steps of each sequence.  After its
        length, the outputs of a sequence are zero and no gradient flows.  Its final state is the
        state at its last true step; with length 0 it is the initial state.

        Returns y and the final state of every layer.  y: hidden states of the last layer at every
        step, [T, B, directions * H], with the dimensions in the order of the input.  The state has
        the form of ``hx``.  With ``proj_size``, the H of h and y is ``proj_size``.

        return_gates: return a third value, a dict of every gate of every layer and direction by the
        names of ``model.inspect``: ``layer_0.z``, and backwards ``layer_0.z_reverse``.  Each is
        [T, B, H], in the form of the input, zero from a row's length on.  RNN has no gates.
        return_states: one more dict, of the states of every step: ``layer_0.h``, ``layer_0.c``.
        No gradient flows through either.  They cost a forward pass of training; on a GPU, in
        torch.compile and in other types than float32 they are computed step by step.

        Raises ValueError, TypeError or RuntimeError, where torch.nn does, naming the argument, what
        was expected and what came.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx, lengths, (return_gates, return_states))
        if isinstance(input, Proxy):
            asked = {"return_gates": return_gates or None, "return_states": return_states or None}
            return one_node(self, input, hx=hx, lengths=lengths, **asked)
        order = "[B, T, I]" if self.batch_first else "[T, B, I]"
        check_input(input, {3: order, 2: "[T, I]"}, self._weight("weight_ih_l0"))
        unbatched = input.dim() == 2
        if unbatched:
            x = input.unsqueeze(1)
        else:
            x = input.transpose(0, 1) if self.batch_first else input
        steps, batch, _ = x.shape
        states = self._initial_state(x, hx, batch, unbatched)
        asked = return_gates, return_states
        seen = [StepValues() for _ in self._names()] if any(asked) else []
        y, final = self._stack(x, states, check_lengths(lengths, steps, batch), seen=seen)

        def as_input(over_time: Tensor) -> Tensor:
            if unbatched:
                return over_time.squeeze(1)
            return over_time.transpose(0, 1) if self.batch_first else over_time

        if unbatched:
            final = tuple(s.squeeze(1) for s in final)
        return as_input(y), self._as_given(final), *named(self._names(), seen, as_input, asked)

    def step(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Run one step of a stream, without dropout: input [B, I] -> y [B, H] and the new state.

        ``hx`` is the state that the previous call of ``step`` or ``forward`` returned, or None at
        the beginning.  Raises ValueError for a bidirectional layer, which needs future steps.
        """
        if self.bidirectional:
            raise ValueError(
                "step: expected a layer that reads forward, got bidirectional=True; call the layer "
                "on the whole sequence"
            )
        check_input(input, {2: "one step [B, I]"}, self._weight("weight_ih_l0"))
        states = self._initial_state(input, hx, len(input), unbatched=False)
        x = input.unsqueeze(0)
        finals: list[State] = []
        cell = self._cell_that_runs(training=False)
        for k in range(self.num_layers):
            before = tuple(s[k] for s in states)
            weights = self.layer_weights(k)
            x, final = recurrence(cell, x, before, weights, strict=self.strict, by_steps=True)
            finals.append(final)
        return x.squeeze(0), self._as_given(_stacked(finals))

    def explain(self, *inputs: Tensor) -> str:
        """Say which path would run this layer now (engine, torch or reference), and why.

        The path depends on the mode (training or evaluation) and on what torch does around the
        call.  ``inputs``: what the layer will be called with, if they are not plain tensors.
        """
        masked = self.training and self.recurrent_dropout > 0
        tensors = (*inputs, *self.parameters())
        return describe_path(self._cell_that_runs(self.training), tensors, masked)

    def extra_repr(self) -> str:
        """Show the cell, sizes and what differs from its default, as torch.nn does."""
        return f"{self.cell.name}, {self._changed({})}"

    def _changed(self, usual: dict[str, Any]) -> str:
        """Sizes and what differs from torch.nn's defaults, from ``usual`` and from our own."""
        own = {"recurrent_dropout": 0.0, "input_dropout": 0.0, "dropout_per_gate": False}
        own |= {"candidate_dropout": 0.0, "zoneout": 0.0, "weight_dropout": 0.0}
        usual = usual | own | {"num_heads": 1, "strict": False}
        changed = (f"{n}={getattr(self, n)}" for n, v in usual.items() if getattr(self, n) != v)
        return ", ".join([super().extra_repr(), *changed])

    def flatten_parameters(self) -> None:
        """Put weights on a GPU into one block of memory, as cuDNN wants; no effect on the CPU.

        ``to`` and ``cuda`` already do this.
        """
        for k, suffix in self._names():
            compact(self.cell, self.layer_weights(k, suffix != ""))

    def _names(self) -> Iterator[tuple[int, str]]:
        for k in range(self.num_layers):
            for suffix in ("", "_reverse")[: self.directions]:
                yield k, suffix

    def _stack(
        self,
        x: Tensor,
        states: tuple[Sequence[Tensor], ...],
        lengths: Tensor | None,
        is_packed: bool = False,
        seen: Sequence[StepValues] = (),
    ) -> tuple[Tensor, State]:
        finals: list[State] = []
        cell = self._cell_that_runs(self.training)
        for k in range(self.num_layers):
            if k > 0 and self.dropout > 0:
                x = dropout(x, self.dropout, self.training)
            outputs = []
            for reverse in (False, True)[: self.directions]:
                before = tuple(s[len(finals)] for s in states)
                weights = drop_weights(
                    self.cell, self.layer_weights(k, reverse), self.weight_dropout, self.training
                )
                y, final = recurrence(
                    cell, x, before, weights, lengths, reverse,
                    self._mask(self.recurrent_dropout, "weight_hh", k, before[0]),
                    self._mask(self.input_dropout, "weight_ih", k, before[0]),
                    strict=self.strict, by_steps=is_packed, noise=self._noise(x, before[0]),
                    seen=seen[len(finals)] if seen else None,
                )  # fmt: skip
                outputs.append(y)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return x, _stacked(finals)

    def _forward_packed(
        self, packed: PackedSequence, hx: Any, lengths: Any, asked: tuple[bool, bool]
    ) -> tuple[Any, ...]:
        if lengths is not None:
            raise ValueError(
                "lengths: expected none beside a PackedSequence, which holds its own, got some; "
                "leave them out"
            )
        x, true_lengths = pad_packed_sequence(packed)  # rows in the caller's order
        check_input(x, {3: "packed steps [.., I]"}, self._weight("weight_ih_l0"))
        states = self._initial_state(x, hx, x.shape[1], unbatched=False)
        seen = [StepValues() for _ in self._names()] if any(asked) else []
        y, final = self._stack(x, states, true_lengths, is_packed=True, seen=seen)
        if packed.sorted_indices is not None:
            true_lengths = true_lengths[packed.sorted_indices.cpu()]

        def as_input(over_time: Tensor) -> PackedSequence:
            if packed.sorted_indices is not None:
                over_time = over_time[:, packed.sorted_indices]
            data, _ = torch._VF._pack_padded_sequence(over_time, true_lengths, False)  # pyright: ignore
            given = packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
            return PackedSequence(data, *given)

        return as_input(y), self._as_given(final), *named(self._names(), seen, as_input, asked)

    def _as_given(self, state: State) -> Any:
        return state[0] if len(state) == 1 else state

    def _initial_state(
        self, x: Tensor, hx: Any, batch: int, unbatched: bool
    ) -> tuple[Sequence[Tensor], ...]:
        """For each state of the cell [B, its size] of every layer and direction."""
        layers = self.num_layers * self.directions
        if hx is None:  # one [B, H] of zeros for all
            sizes = self.state_sizes
            zeros = x.new_zeros(batch, sizes[0])
            if len({*sizes}) == 1:
                return ((zeros,) * layers,) * len(sizes)
            rest = (zeros if n == sizes[0] else x.new_zeros(batch, n) for n in sizes[1:])
            return tuple((z,) * layers for z in (zeros, *rest))
        rows = () if unbatched else (batch,)
        shapes = [(layers, *rows, size) for size in self.state_sizes]
        letters = "layers * directions, " + ("" if unbatched else "B, ")
        given = check_hidden(hx, self.cell, shapes, letters, x)
        return tuple((s.unsqueeze(1) if unbatched else s).unbind() for s in given)


def slow_on_gpu(network: nn.Module) -> str | None:
    """Why recurrent layers of ``network`` would be trained step by step on a GPU; None if not."""
    layers = (module for module in network.modules() if isinstance(module, Recurrent))
    reasons = (
        reason_against_torch(layer._cell_that_runs(True), layer.recurrent_dropout > 0)
        for layer in layers
    )
    return next((reason for reason in reasons if reason is not None), None)


def _stacked(finals: Sequence[State]) -> State:
    """Each state [layers * directions, B, H] of those that layers and directions end with."""
    return tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
