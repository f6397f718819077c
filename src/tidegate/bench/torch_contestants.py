"""What runs on torch: our layers, torch.nn's, and a loop over torch.nn's cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tidegate.bench.shapes import sizes_of
from tidegate.bench.work import (
    AdamWork,
    LayerWeights,
    LayerWork,
    Prepared,
    Results,
    StepWork,
    Work,
    stream,
    training,
)
from tidegate.cells import Cell, get_cell
from tidegate.nn.recurrent_layer import Recurrent
from tidegate.nn.reference import unroll

# by the names of torch's kernels
_TORCH_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "rnn_tanh": nn.RNN,
    "rnn_relu": partial(nn.RNN, nonlinearity="relu"),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}
_TORCH_CELLS: dict[str, Callable[..., nn.Module]] = {
    "rnn_tanh": nn.RNNCell,
    "rnn_relu": partial(nn.RNNCell, nonlinearity="relu"),
    "gru": nn.GRUCell,
    "lstm": nn.LSTMCell,
}
_LayerMaker = Callable[..., nn.Module]


def tidegate(work: Work) -> Prepared:
    """Our layers on torch tensors."""
    match work:
        case LayerWork():
            layer = _with_weights(Recurrent, work.cell, work.weights)
            lengths = None if work.lengths is None else torch.from_numpy(work.lengths)
            return _layer(work, lambda x: layer(x, lengths=lengths)[0], layer.parameters())
        case AdamWork():
            return _adam(work, Recurrent)
    raise TypeError(f"expected work on tensors, got {type(work).__name__}")


def torch_nn(work: Work) -> Prepared:
    """torch.nn's layers; a ragged batch is packed and padded again inside the timing."""
    match work:
        case LayerWork():
            layer = _with_weights(_torch_layer, work.cell, work.weights)
            run = _packing(layer, work) if work.lengths is not None else lambda x: layer(x)[0]
            return _layer(work, run, layer.parameters())
        case StepWork():
            layer = _with_weights(_torch_layer, work.cell, work.weights)

            def step(state: Any) -> tuple[Any, Any]:
                with torch.no_grad():
                    y, state = layer(torch.from_numpy(work.x).unsqueeze(0), state)
                return y.numpy(), state

            return stream(lambda: None, step)
        case AdamWork():
            return _adam(work, _torch_layer)


def tidegate_flushed(work: Work) -> Prepared:
    """Ours where denormals are zero in torch's own parts too, in a process of its own."""
    _flush_denormals()
    return tidegate(work)


def torch_nn_flushed(work: Work) -> Prepared:
    """torch.nn where denormals are zero, in a process of its own."""
    _flush_denormals()
    return torch_nn(work)


def torch_nn_packed(work: Work) -> Prepared:
    """torch.nn on a PackedSequence made beforehand, whose results nobody pads."""
    assert isinstance(work, LayerWork)
    layer = _with_weights(_torch_layer, work.cell, work.weights)
    packed = _pack(torch.from_numpy(work.x), work)
    data, *order = packed
    incoming = None if work.grad is None else _pack(torch.from_numpy(work.grad), work).data

    def padded(flat: Tensor) -> np.ndarray:
        return _pad(PackedSequence(flat, *order), work).numpy()

    named = dict(zip(work.weights, layer.parameters(), strict=True))
    prepared = _gradients(lambda x: layer(PackedSequence(x, *order))[0].data, data, incoming, named)

    def results() -> Results:
        flat = prepared.results()
        of_tokens = {n: padded(torch.from_numpy(flat[n])) for n in ("y", "d_x") if n in flat}
        return {**flat, **of_tokens}

    return Prepared(prepared.call, results)


def torch_loop(work: Work) -> Prepared:
    """What one writes by hand: torch.nn's cell, called once per step."""
    return _loop(work, lambda run: run)


def torch_compiled(work: Work) -> Prepared:
    """The same as one compiled graph; its steps are unrolled, so that compile time grows with T."""
    return _loop(work, lambda run: torch.compile(run, fullgraph=True))


def _loop(work: Work, compiled: Callable[[Any], Any]) -> Prepared:
    assert isinstance(work, LayerWork)
    declared = get_cell(work.cell)
    if declared.torch is None or declared.is_projected:
        return _by_hand(work, declared, compiled)
    cell = _TORCH_CELLS[declared.torch](work.x.shape[2], work.weights["weight_hh"].shape[1])
    cell.load_state_dict({name: torch.from_numpy(a) for name, a in work.weights.items()})

    def unrolled(x: Tensor) -> Tensor:
        state, outputs = None, []
        for x_t in x.unbind():
            state = cell(x_t, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs)

    return _layer(work, compiled(unrolled), cell.parameters())


def _by_hand(work: LayerWork, cell: Cell, compiled: Callable[[Any], Any]) -> Prepared:
    """A cell that torch.nn has not: its equations, and the input products of all steps at once."""
    weights = [torch.from_numpy(a).requires_grad_() for a in work.weights.values()]
    hidden = len(weights[0]) // len(cell.parameters["weight_ih"].blocks)
    widths = cell.state_sizes(sizes_of(work.cell, work.x.shape[2], hidden))
    state = tuple(torch.zeros(work.x.shape[1], width) for width in widths)
    return _layer(work, compiled(lambda x: unroll(cell, x, state, weights)[0]), weights)


def _layer(work: LayerWork, run: Callable[[Tensor], Tensor], parameters: Any) -> Prepared:
    grad = None if work.grad is None else torch.from_numpy(work.grad)
    named = dict(zip(work.weights, parameters, strict=True))
    return _gradients(run, torch.from_numpy(work.x), grad, named)


def _gradients(
    run: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor | None, weights: Mapping[str, Tensor]
) -> Prepared:
    if grad is None:

        def infer() -> Tensor:
            with torch.no_grad():
                return run(x)

        return Prepared(infer, lambda: {"y": infer().numpy()})
    inputs = [x.requires_grad_(), *weights.values()]

    def train() -> tuple[Tensor, Sequence[Tensor]]:
        y = run(x)
        return y, torch.autograd.grad(y, inputs, grad)

    def results() -> Results:
        y, gradients = train()
        names = ("d_x", *(f"d_{name}" for name in weights))
        named = {name: g.numpy() for name, g in zip(names, gradients, strict=True)}
        return {"y": y.detach().numpy(), **named}

    return Prepared(train, results)


def _packing(layer: nn.Module, work: LayerWork) -> Callable[[Tensor], Tensor]:
    return lambda x: _pad(layer(_pack(x, work))[0], work)


def _pack(x: Tensor, work: LayerWork) -> PackedSequence:
    assert work.lengths is not None
    return pack_padded_sequence(x, torch.from_numpy(work.lengths), enforce_sorted=False)


def _pad(packed: PackedSequence, work: LayerWork) -> Tensor:
    return pad_packed_sequence(packed, total_length=len(work.x))[0]


class _Classifier(nn.Module):
    def __init__(self, work: AdamWork, make: _LayerMaker) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(
            torch.from_numpy(work.embedding.copy()), freeze=False
        )
        self.first = _with_weights(make, work.cell, work.first)
        self.second = _with_weights(make, work.cell, work.second)
        self.output = nn.Linear(*reversed(work.output_weight.shape))
        self.output.load_state_dict(
            {
                "weight": torch.from_numpy(work.output_weight),
                "bias": torch.from_numpy(work.output_bias),
            }
        )

    def forward(self, tokens: Tensor) -> Tensor:
        y, _ = self.first(self.embedding(tokens))
        _, final = self.second(y)
        h = final[0] if isinstance(final, tuple) else final
        return self.output(h[-1])


def _adam(work: AdamWork, make: _LayerMaker) -> Prepared:
    network = _Classifier(work, make)
    # one pass over each weight, as our training takes; without it ten, each with its own threads
    optimizer = torch.optim.Adam(
        network.parameters(), work.learning_rate, eps=work.epsilon, fused=True
    )
    tokens = torch.from_numpy(work.tokens).t().contiguous()  # [T, B]
    labels = torch.from_numpy(work.labels)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(tokens), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return training(step)


def _torch_layer(cell: str, inputs: int, hidden: int, proj_size: int) -> nn.Module:
    declared = get_cell(cell)
    assert declared.torch is not None  # held by catalogue.LIBRARIES
    make = _TORCH_LAYERS[declared.torch]
    return make(inputs, hidden, proj_size=proj_size) if proj_size else make(inputs, hidden)


def _with_weights(make: _LayerMaker, cell: str, weights: LayerWeights) -> nn.Module:
    declared = get_cell(cell)
    rows, inputs = weights["weight_ih"].shape
    hidden = rows // len(declared.parameters["weight_ih"].blocks)
    projection = sum(len(weights[name]) for name in declared.projections)
    layer = make(cell, inputs, hidden, proj_size=projection)
    layer.load_state_dict({f"{name}_l0": torch.from_numpy(a) for name, a in weights.items()})
    return layer


@cache
def _flush_denormals() -> None:
    """Once, before anything runs on several threads.

    The flag is each thread's own: OpenMP's workers take it over from the thread that starts them
    and keep it.  Set between the turns of one process, it would reach the calling thread alone, and
    the others would go on at the denormals' pace.
    """
    if torch.set_flush_denormal(True) and (torch.full((1 << 20,), 1e-40) * 0.5).any():
        raise RuntimeError("expected denormals to be zero in every thread, got some that are not")
