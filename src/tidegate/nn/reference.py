"""The reference: a cell's own equations on torch tensors, step by step.

Any cell, any device, any float type, twice differentiable.  Every faster path is held to this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate.cells import Cell
from tidegate.equations.activations import with_activations
from tidegate.nn.step_values import StepValues

State = tuple[Tensor, ...]
Weights = Sequence[Tensor | None]  # as a cell declares its parameters; None for a bias that lacks


def unroll(
    cell: Cell,
    x: Tensor,
    state: State,
    weights: Weights,
    lengths: Tensor | None = None,
    reverse: bool = False,
    recurrent_mask: Tensor | None = None,
    input_mask: Tensor | None = None,
    noise: Tensor | None = None,
    seen: StepValues | None = None,
) -> tuple[Tensor, State]:
    """Run ``cell`` over x [T, B, I] from ``state`` ([B, its width] each).

    ``lengths`` [B] in steps: outputs from a row's length on are zero and its final state is the
    one at its last true step, where the reverse direction starts.  Masks: see `Step`.
    ``noise``: [T, B, H of each noise, side by side]; None for zeros.  ``seen`` receives what is to
    be looked at.  Returns y, [T, B, the output's width], and the final state.
    """
    step = Step(cell, weights, recurrent_mask, input_mask)
    products = step.of_inputs(x)
    steps = range(x.shape[0])
    outputs: list[Tensor] = []
    watched: list[tuple[State, dict[str, Tensor]]] = []
    for t in reversed(steps) if reverse else steps:
        new, gates = step.watched(products[t], state, None if noise is None else noise[t])
        if seen is not None:
            watched.append((new, gates))
        if lengths is None:
            state, y_t = new, new[0]
        else:
            alive = (t < lengths).unsqueeze(1)  # [B, 1]
            state = tuple(torch.where(alive, n, s) for n, s in zip(new, state, strict=True))
            y_t = torch.where(alive, new[0], 0.0)
        outputs.append(y_t)
    if seen is not None:
        turned = watched[::-1] if reverse else watched
        _fill(seen, cell, turned, state, products, lengths)
    if not outputs:
        return products.new_zeros(0, *state[0].shape), state
    return torch.stack(outputs[::-1] if reverse else outputs), state


def _fill(
    into: StepValues,
    cell: Cell,
    watched: Sequence[tuple[State, dict[str, Tensor]]],
    state: State,
    products: Tensor,
    lengths: Tensor | None,
) -> None:
    """Keep what was watched at each step, in the order of the steps; ``state``: of the last."""
    T, B, columns = products.shape  # noqa: N806
    gate_shape = 0, B, columns // len(cell.parameters["weight_ih"].blocks)
    outside = None
    if lengths is not None:
        outside = torch.arange(T, device=lengths.device)[:, None, None] >= lengths[:, None]

    def over_time(values: list[Tensor], shape: tuple[int, ...]) -> Tensor:
        if not values:
            return products.new_zeros(shape)
        stacked = torch.stack([value.detach() for value in values])
        return stacked if outside is None else stacked.masked_fill(outside, 0.0)

    for gate in cell.trace.gates:
        into.gates[gate] = over_time([gates[gate] for _, gates in watched], gate_shape)
    for k, name in enumerate(cell.states):
        into.states[name] = over_time([new[k] for new, _ in watched], (0, *state[k].shape))


class Step:
    """One step of ``cell`` with these ``weights``, in the order in which it declares them.

    ``recurrent_mask`` scales what weight_hh sees, ``input_mask`` what weight_ih sees, the same at
    every step (Gal & Ghahramani 2016, arXiv:1512.05287): [B, width], or one for each gate that has
    such a product, [G, B, width].
    """

    def __init__(
        self,
        cell: Cell,
        weights: Weights,
        recurrent_mask: Tensor | None = None,
        input_mask: Tensor | None = None,
    ) -> None:
        self._cell = cell
        self._recurrent_mask, self._input_mask = recurrent_mask, input_mask
        self._inputs: tuple[str, ...] = ()
        self._recurrent: tuple[str, ...] = ()
        self._further: list[Any] = []
        given: Sequence[Any] = weights
        self._heads = cell.head_count(dict(zip(cell.parameters, given, strict=True)))
        for parameter, weight in zip(cell.parameters.values(), given, strict=True):
            match parameter.role:
                case "input":
                    self._inputs, self._weight_ih, self._bias_ih = parameter.blocks, weight, None
                case "recurrent":
                    self._recurrent, self._weight_hh, self._bias_hh = parameter.blocks, weight, None
                case "input bias":
                    self._bias_ih = weight
                case "recurrent bias":
                    self._bias_hh = weight
                case "vector":
                    self._further.append(_Gates(_split(weight, parameter.blocks, 0)))
                case "projection":
                    self._further.append(_product_with(weight))

    def of_inputs(self, x: Tensor) -> Tensor:
        """The input products of all gates and steps, [T, B, G*H] from x [T, B, I]."""
        mask, weight, bias = self._input_mask, self._weight_ih, self._bias_ih
        if mask is None or mask.dim() == 2:
            return F.linear(x if mask is None else x * mask, weight, bias)
        size = len(self._inputs)
        rows = weight.chunk(size)
        biases = (None,) * size if bias is None else bias.chunk(size)
        blocks = zip(mask, rows, biases, strict=True)
        return torch.cat([F.linear(x * m, w, b) for m, w, b in blocks], -1)

    def __call__(self, products: Tensor, state: State, noise: Tensor | None = None) -> State:
        """The new state, of one step's input products [B, G*H], the state before and noise."""
        return self.watched(products, state, noise)[0]

    def watched(
        self, products: Tensor, state: State, noise: Tensor | None = None
    ) -> tuple[State, dict[str, Tensor]]:
        """The new state and the gates by name."""
        w = _Gates(_split(products, self._inputs, -1))
        u = self._recurrent_products(state[0])
        ops: Any = Operations
        if self._cell.noises:
            if noise is None:
                units = products.shape[-1] // len(self._inputs)
                noise = products.new_zeros(len(products), self._cell.noises * units)
            ops = _NoisyOperations(noise.chunk(self._cell.noises, -1))
        return self._cell.step(ops, w, u, *self._further, *state)

    def _recurrent_products(self, h: Tensor) -> _Gates:
        """``u`` of the equations; the gates that take the output state as it is share a product."""
        gates, mask = self._recurrent, self._recurrent_mask
        if not gates:
            return _Gates(())
        size = self._weight_hh.shape[0] // len(gates)
        own_masks = mask is not None and mask.dim() == 3

        def product(v: Tensor, first: int, last: int) -> Tensor:
            if mask is not None:
                v = v * (mask[first] if own_masks else mask)
            block = slice(first * size, last * size)
            bias = None if self._bias_hh is None else self._bias_hh[block]
            weight = self._weight_hh[block]
            if self._heads == 1:
                return F.linear(v, weight, bias)
            made = _product_by_heads(v, weight, self._heads)
            return made if bias is None else made + bias

        together = () if own_masks else _side_by_side(gates, _gates_of_output(self._cell))
        of_state: dict[str, Tensor] = {}
        if together:
            first = gates.index(together[0])
            products = product(h, first, first + len(together))
            of_state = dict(_split(products, together, -1))

        def block_of(k: int, gate: str) -> Callable[[Tensor], Tensor]:
            return lambda v: of_state[gate] if v is h and gate in of_state else product(v, k, k + 1)

        return _Gates((g, block_of(k, g)) for k, g in enumerate(gates))


@torch.compiler.assume_constant_result  # it cannot trace the lock of a cached_property
def _gates_of_output(cell: Cell) -> tuple[str, ...]:
    return cell.gates_of_output


def _product_by_heads(v: Tensor, weight: Tensor, heads: int) -> Tensor:
    """[B, G*H] of v [B, H] and weight [G*H, H/K], whose row h multiplies the units of h's head."""
    rows, units = v.shape[0], weight.shape[1]
    gates = weight.shape[0] // (heads * units)
    of_head = weight.view(gates, heads, units, units).transpose(0, 1)  # [K, G, H/K, H/K]
    factors = of_head.reshape(heads, gates * units, units).transpose(1, 2)
    made = torch.bmm(v.reshape(rows, heads, units).transpose(0, 1), factors)  # [K, B, G*H/K]
    by_gate = made.view(heads, rows, gates, units).permute(1, 2, 0, 3)
    return by_gate.reshape(rows, gates * heads * units)


def _side_by_side(gates: Sequence[str], wanted: Sequence[str]) -> Sequence[str]:
    """The first of ``gates`` that are wanted and stand side by side."""
    if not wanted:
        return ()
    first = gates.index(wanted[0])
    last = first
    while last < len(gates) and gates[last] in wanted:
        last += 1
    return gates[first:last]


def _split(stacked: Tensor, gates: Sequence[str], dim: int) -> Iterable[tuple[str, Tensor]]:
    return zip(gates, stacked.chunk(len(gates), dim), strict=True)


def _product_with(weight: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda v: F.linear(v, weight)


class _Gates:
    """What the equations read of each gate, by its name; torch.compile knows no SimpleNamespace."""

    def __init__(self, values: Iterable[tuple[str, Any]]) -> None:
        for gate, value in values:
            setattr(self, gate, value)


@with_activations
class Operations:
    """What a cell's equations call, on tensors."""

    sigmoid = staticmethod(torch.sigmoid)
    tanh = staticmethod(torch.tanh)
    relu = staticmethod(torch.relu)
    exp = staticmethod(torch.exp)
    log = staticmethod(torch.log)
    rsqrt = staticmethod(torch.rsqrt)
    erf = staticmethod(torch.erf)

    @staticmethod
    def maximum(a: Tensor | float, b: Tensor | float) -> Tensor:
        return torch.maximum(*_tensors(a, b))

    @staticmethod
    def minimum(a: Tensor | float, b: Tensor | float) -> Tensor:
        return torch.minimum(*_tensors(a, b))

    @staticmethod
    def positive(a: Tensor) -> Tensor:
        return (a > 0).to(a.dtype)

    @staticmethod
    def mean(a: Tensor) -> Tensor:
        return a.mean(-1, keepdim=True)


class _NoisyOperations(Operations):
    """These, and the noise of one step in the order in which it is asked for."""

    def __init__(self, noises: Sequence[Tensor]) -> None:
        self._noises, self._asked = noises, 0

    def noise(self) -> Tensor:
        self._asked += 1
        return self._noises[self._asked - 1]


def _tensors(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors, of which one may be a number."""
    if not isinstance(a, Tensor):
        a = b.new_full((), a)
    return a, b if isinstance(b, Tensor) else a.new_full((), b)
