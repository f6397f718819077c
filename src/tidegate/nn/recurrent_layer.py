"""What RNN, LSTM and GRU share: torch.nn's interface, ragged batches, single steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from tidegate.cells import Cell
from tidegate.nn import reference
from tidegate.nn.dropout import dropout
from tidegate.nn.functional import (
    LayerWeights,
    choose_path,
    compact,
    reason_against_torch,
    recurrence,
)
from tidegate.nn.products import rounds
from tidegate.nn.reference import State


class RecurrentLayer(nn.Module):
    """What the three layers of nn/layers.py share; each of them only names its cell.

    Arguments, parameter names, shapes, initialisation and outputs are those of the torch.nn class
    of the same name.  ``recurrent_dropout`` is the probability with which a unit of the hidden
    state is hidden from the recurrent weights, one mask per sequence, in training only
    (Gal & Ghahramani 2016, arXiv:1512.05287; what Keras calls recurrent_dropout).  ``strict``
    raises RuntimeError where nothing but the slow step-by-step reference could run.

    In training the engine saves, besides the input, 2 H (RNN), 4 H (GRU with ``reset="before"``),
    5 H (GRU) or 7 H (LSTM) floats per token, layer and direction: docs/design.md.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        recurrent_dropout: float,
        bidirectional: bool,
        strict: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool):
                raise TypeError(f"{name}: expected an int, got {type(size).__name__}")
            if size < 1:
                raise ValueError(f"{name}: expected at least 1, got {size}")
        for name, p in {"dropout": dropout, "recurrent_dropout": recurrent_dropout}.items():
            if not 0 <= p <= 1:
                raise ValueError(f"{name}: expected a probability in [0, 1], got {p}")
        if recurrent_dropout == 1:
            raise ValueError("recurrent_dropout: expected below 1, got 1; the state would be cut")
        self.cell, self.strict = cell, strict
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout, self.recurrent_dropout = float(dropout), float(recurrent_dropout)
        rows = len(cell.gates) * hidden_size
        for k, suffix in self._names():
            width = input_size if k == 0 else hidden_size * self.directions
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, width),
                "weight_hh": (rows, hidden_size),
            }
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            for name, shape in shapes.items():
                parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(f"{name}_l{k}{suffix}", parameter)
        self.reset_parameters()
        self._compact()

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def reset_parameters(self) -> None:
        """Draw every weight from U(-1/sqrt(H), 1/sqrt(H)), in torch.nn's order."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def layer_weights(self, layer: int, reverse: bool = False) -> LayerWeights:
        """The tensors of one layer in one direction."""
        suffix = f"_l{layer}_reverse" if reverse else f"_l{layer}"
        return LayerWeights(
            self._weight("weight_ih" + suffix), self._weight("weight_hh" + suffix),
            self._weight("bias_ih" + suffix) if self.bias else None,
            self._weight("bias_hh" + suffix) if self.bias else None,
        )  # fmt: skip

    def _weight(self, name: str) -> Tensor:
        # looked up here first: Module.__getattr__ takes a microsecond for the four of a layer
        found = self._parameters.get(name)
        return getattr(self, name) if found is None else found

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Tensor | tuple[Tensor, ...] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Any, Any]:
        """Hidden states of the last layer at every step, and the final state of every layer.

        x: [T, B, I] ([B, T, I] if ``batch_first``; [T, I] for one sequence) or a PackedSequence.
        state: [num_layers * directions, B, H], a pair (h, c) of these for the LSTM, None for zeros.
        lengths: [B] integers from 0 to T; beyond its length a row's outputs are zero, its final
        state is the one at its last true step and no gradient flows; length 0 returns its initial
        state.  Returns y [T, B, directions * H], shaped as x came, and the state.  Raises
        ValueError or TypeError naming the argument, what was expected and what came.
        """
        if isinstance(x, PackedSequence):
            return self._forward_packed(x, state, lengths)
        self._check_input(x)
        unbatched = x.dim() == 2
        if unbatched:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        steps, batch, _ = x.shape
        states = self._initial_state(x, state, batch, unbatched)
        y, final = self._stack(x, states, _check_lengths(lengths, steps, batch))
        if unbatched:
            y, final = y.squeeze(1), tuple(s.squeeze(1) for s in final)
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, self._as_given(final)

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step of a stream: x_t [B, I] -> y_t [B, H] and the new state.

        ``state`` is what the previous call (or ``forward``) returned, None to begin.  Raises
        ValueError for a bidirectional layer, which would need the future.
        """
        if self.bidirectional:
            raise ValueError("step: expected a layer that reads forward, got bidirectional=True")
        if x_t.dim() != 2:
            raise ValueError(
                f"x_t: expected [B, I] = [B, {self.input_size}], got {list(x_t.shape)}; "
                "pass one step, or call the layer for a sequence"
            )
        self._check_input(x_t, name="x_t")
        states = self._initial_state(x_t, state, x_t.shape[0], unbatched=False)
        y, finals = x_t, list[State]()
        for k in range(self.num_layers):
            w = self.layer_weights(k)
            gates_x = F.linear(y, w.weight_ih, w.bias_ih)
            before = tuple(s[k] for s in states)
            after = reference.step(self.cell, gates_x, before, w.weight_hh, w.bias_hh)
            finals.append(after)
            y = after[0]
        stacked = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
        return y, self._as_given(stacked)

    def explain(self) -> str:
        """Which path runs this layer in its present mode, and why."""
        masked = self.training and self.recurrent_dropout > 0
        probe = next(self.parameters())
        path, reason = choose_path(self.cell, probe, probe if masked else None)
        if path == "engine" and rounds():
            reason += ", products of bfloat16 factors where gradients are wanted"
        return f"{path}: {reason}"

    def extra_repr(self) -> str:
        """Sizes, and the options that differ from their defaults."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "recurrent_dropout": 0.0,
            "bidirectional": False,
            "strict": False,
        }
        shown += [f"{n}={getattr(self, n)}" for n, d in defaults.items() if getattr(self, n) != d]
        return ", ".join(shown)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """What ``to``, ``cuda`` and ``double`` do: the weights may be on a GPU now."""
        result = super()._apply(fn, recurse)
        self._compact()
        return result

    def _compact(self) -> None:
        for k, suffix in self._names():
            compact(self.cell, self.layer_weights(k, suffix != ""))

    def _names(self) -> Iterator[tuple[int, str]]:
        for k in range(self.num_layers):
            for suffix in ("", "_reverse")[: self.directions]:
                yield k, suffix

    def _stack(
        self, x: Tensor, states: tuple[Sequence[Tensor], ...], lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        finals: list[State] = []
        for k in range(self.num_layers):
            if k > 0 and self.dropout > 0:
                x = dropout(x, self.dropout, self.training)
            outputs = []
            for reverse in (False, True)[: self.directions]:
                before = tuple(s[len(finals)] for s in states)
                mask = self._recurrent_mask(before[0])
                weights = self.layer_weights(k, reverse)
                y, final = recurrence(
                    self.cell, x, before, weights, lengths, reverse, mask, self.strict
                )
                outputs.append(y)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return x, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def _recurrent_mask(self, like: Tensor) -> Tensor | None:
        if not self.training or self.recurrent_dropout == 0:
            return None
        keep = 1 - self.recurrent_dropout
        return torch.bernoulli(torch.full_like(like, keep)) / keep

    def _forward_packed(
        self, packed: PackedSequence, state: Any, lengths: Any
    ) -> tuple[PackedSequence, Any]:
        if lengths is not None:
            raise ValueError("lengths: expected None beside a PackedSequence, which holds its own")
        x, true_lengths = pad_packed_sequence(packed)  # rows in the caller's order
        self._check_input(x)
        states = self._initial_state(x, state, x.shape[1], unbatched=False)
        y, final = self._stack(x, states, true_lengths)
        if packed.sorted_indices is not None:
            y = y[:, packed.sorted_indices]
            true_lengths = true_lengths[packed.sorted_indices.cpu()]
        data, _ = torch._VF._pack_padded_sequence(y, true_lengths, False)  # pyright: ignore
        given = packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
        return PackedSequence(data, *given), self._as_given(final)

    def _as_given(self, state: State) -> Any:
        return state[0] if len(state) == 1 else state

    def _check_input(self, x: Tensor, name: str = "x") -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
        order = "[B, T, I]" if self.batch_first else "[T, B, I]"
        if x.dim() not in (2, 3):
            raise ValueError(f"{name}: expected {order} or [T, I], got {list(x.shape)}")
        if x.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: expected I = input_size = {self.input_size} in its last dimension, "
                f"got {list(x.shape)}"
            )
        weight = self.weight_ih_l0
        if x.dtype != weight.dtype:
            raise TypeError(
                f"{name}: expected {weight.dtype} as the weights, got {x.dtype}; "
                f"call {name}.to({weight.dtype}) or layer.to({x.dtype})"
            )
        if x.device != weight.device:
            raise ValueError(
                f"{name}: expected device {weight.device} as the weights, got {x.device}; "
                f"call {name}.to('{weight.device}')"
            )

    def _initial_state(
        self, x: Tensor, state: Any, batch: int, unbatched: bool
    ) -> tuple[Sequence[Tensor], ...]:
        """For each state of the cell [B, H] of every layer and direction."""
        names = [f"{s}0" for s in self.cell.state]
        layers = self.num_layers * self.directions
        shape = (layers, batch, self.hidden_size)
        if state is None:  # one [B, H] of zeros for all
            return ((x.new_zeros(shape[1:]),) * layers,) * len(names)
        given = state if isinstance(state, tuple | list) else (state,)
        if len(given) != len(names):
            expected = f"the tuple ({', '.join(names)})" if len(names) > 1 else "one tensor h0"
            raise ValueError(f"state: expected {expected}, got {len(given)} tensor(s)")
        checked = []
        for name, tensor in zip(names, given, strict=True):
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
            wanted = (layers, self.hidden_size) if unbatched else shape
            if tuple(tensor.shape) != wanted:
                raise ValueError(
                    f"{name}: expected [layers * directions, {'' if unbatched else 'B, '}H] = "
                    f"{list(wanted)}, got {list(tensor.shape)}"
                )
            if tensor.dtype != x.dtype or tensor.device != x.device:
                raise TypeError(
                    f"{name}: expected {x.dtype} on {x.device} as x, got {tensor.dtype} on "
                    f"{tensor.device}; call {name}.to(x)"
                )
            checked.append((tensor.unsqueeze(1) if unbatched else tensor).unbind())
        return tuple(checked)


def slow_on_gpu(network: nn.Module) -> str | None:
    """Why recurrent layers of ``network`` would be trained step by step on a GPU; None if not."""
    layers = (module for module in network.modules() if isinstance(module, RecurrentLayer))
    reasons = (reason_against_torch(layer.cell, layer.recurrent_dropout > 0) for layer in layers)
    return next((reason for reason in reasons if reason is not None), None)


def _check_lengths(lengths: Any, steps: int, batch: int) -> Tensor | None:
    """Lengths as int64 [B] on the CPU, or None where every row is full."""
    if lengths is None:
        return None
    lengths = torch.as_tensor(lengths)
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise TypeError(f"lengths: expected integers, got {lengths.dtype}; count steps")
    if lengths.dim() != 1 or len(lengths) != batch:
        raise ValueError(f"lengths: expected [B] = [{batch}], got {list(lengths.shape)}")
    lengths = lengths.to("cpu", torch.int64)
    if batch == 0:
        return None
    least, most = map(int, lengths.aminmax())
    if least < 0 or most > steps:
        raise ValueError(f"lengths: expected 0 to T = {steps}, got {least} to {most}")
    return None if least == steps else lengths
