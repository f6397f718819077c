"""The engine's sweeps against the reference in float64: outputs and every gradient.

csrc/tests holds the same sweeps to a second reference, under the sanitizers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS, layer_of, sizes_of, slack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tidegate as tg
from tidegate import _engine
from tidegate.cells import CELLS
from tidegate.nn import engine_calls, engine_op, reference

SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 4, 7),
    (5, 17, 3, 33),
    (33, 2, 2, 64),
    (3, 50, 5, 100),
    (9, 8, 6, 16),
]
SIZES = st.sampled_from((1, 3, 17, 64))
TOLERANCE = 5e-6  # float32, up to 33 steps and 100 units, relative to the largest value


@pytest.fixture(params=_engine.available_isas())
def _isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _engine.isa()
    _engine.select_isa(request.param)
    yield request.param
    _engine.select_isa(before)


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Even the smallest batch is split over two threads."""
    monkeypatch.setattr("tidegate.engine.threads._SMALLEST_SHARE", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["rows", "units"])
def _shared_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_calls, "shares_units", lambda *_: request.param == "units")


class Layer:
    """Random weights, input and state of one layer in one direction, in float64."""

    def __init__(self, cell: str, T: int, B: int, I: int, H: int, bias: bool = True) -> None:  # noqa: E741, N803
        generator = torch.Generator().manual_seed(T * 1000 + B * 100 + I * 10 + H)

        def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
            return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.cell = CELLS[cell]
        sizes = sizes_of(self.cell, I, H)
        widths = self.cell.state_sizes(sizes)
        self.x = draw(T, B, I)
        self.state = tuple(draw(B, w) for w in widths)
        scales = {"input": 0.5 / I**0.5, "recurrent": 0.7 / H**0.5, "projection": 0.7 / H**0.5}
        self.weights = [
            draw(*p.shape(sizes), scale=scales.get(p.role, 0.2)) if bias or not p.is_bias else None
            for p in self.cell.parameters.values()
        ]
        self.lengths = torch.randint(0, T + 1, (B,), generator=generator)
        self.mask = self.mask_per_gate = None
        if recurrent := self.cell.parameters.get("weight_hh"):  # else no product sees the state
            seen, gates = recurrent.shape(sizes)[1], len(recurrent.blocks)
            keeps = torch.rand(gates, B, seen, generator=generator, dtype=torch.float64) > 0.3
            self.mask, self.mask_per_gate = keeps[0] / 0.7, keeps / 0.7
        self.loss_weights = [draw(T, B, widths[0]), *(draw(B, w) for w in widths)]

    def mask_of_gates(self) -> torch.Tensor | None:
        return None if self.mask_per_gate is None else self.mask_per_gate.float()

    def results(self, run, dtype, lengths=None, reverse=False, mask=None) -> list[torch.Tensor]:
        """y, the final states, and the gradients of x, the states, the weights and biases."""
        inputs = [
            t.to(dtype).requires_grad_() if t is not None else None
            for t in [self.x, *self.state, *self.weights]
        ]
        count = 1 + len(self.state)
        mask = None if mask is None else mask.to(dtype)
        y, final = run(
            self.cell.name,
            inputs[0],
            tuple(inputs[1:count]),
            inputs[count:],
            lengths,
            reverse,
            mask,
        )
        outputs = [y, *final]
        pairs = zip(outputs, self.loss_weights, strict=True)
        loss = torch.stack([(o * w.to(dtype)).sum() for o, w in pairs]).sum()
        return outputs + list(torch.autograd.grad(loss, [t for t in inputs if t is not None]))


def run_reference(cell, x, state, weights, lengths, reverse, mask):
    return reference.unroll(CELLS[cell], x, state, weights, lengths, reverse, mask)


layer_of_shape = cache(Layer)


@cache
def exact_results(
    cell: str, shape: tuple[int, ...], ragged: bool, reverse: bool, masked: str | None, bias: bool
) -> list[torch.Tensor]:
    """What the reference gives, reckoned once for all instruction sets and ways to share out."""
    options = chosen(cell, shape, ragged, reverse, masked, bias)
    layer = layer_of_shape(cell, *shape, bias=bias)
    return [t.detach() for t in layer.results(run_reference, torch.float64, **options)]


def chosen(
    cell: str, shape: tuple[int, ...], ragged: bool, reverse: bool, masked: str | None, bias: bool
) -> dict[str, Any]:
    layer = layer_of_shape(cell, *shape, bias=bias)
    return {
        "lengths": layer.lengths if ragged else None,
        "reverse": reverse,
        "mask": getattr(layer, masked) if masked else None,
    }


def assert_equals_the_reference(
    cell: str,
    shape: tuple[int, ...],
    ragged: bool = False,
    reverse: bool = False,
    masked: str | None = None,
    bias: bool = True,
) -> None:
    case = cell, shape, ragged, reverse, masked, bias
    layer = layer_of_shape(cell, *shape, bias=bias)
    ours = layer.results(engine_op.run, torch.float32, **chosen(*case))
    assert_same(ours, exact_results(*case))


def assert_same(ours: list[torch.Tensor], exact: list[torch.Tensor], summed: float = 1) -> None:
    """``summed``: how large a sum of what gradients are sums of may be, however small it is."""
    for mine, other in zip(ours, exact, strict=True):
        largest = float(other.detach().abs().max()) if other.numel() else 1.0
        scale = max(summed, largest)
        torch.testing.assert_close(mine.double(), other, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.usefixtures("_isa", "_shared_out")
@pytest.mark.parametrize(
    ("cell", "shape"),
    [(c, s) for c in _engine.cells() for s in (SHAPES if c in CELL_KINDS else SHAPES[2:4])],
    ids=str,
)
def test_outputs_and_gradients_equal_the_reference(cell: str, shape) -> None:
    for reverse in (False, True):
        assert_equals_the_reference(cell, shape, reverse=reverse)


@pytest.mark.usefixtures("_isa", "_shared_out")
@pytest.mark.parametrize("shape", SHAPES[1:3], ids=str)
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_ragged_masked_and_without_bias(cell: str, shape) -> None:
    for ragged, reverse, masked, bias in itertools.product(
        [True, False], [True, False], [None, "mask", "mask_per_gate"], [True, False]
    ):
        assert_equals_the_reference(cell, shape, ragged, reverse, masked, bias)


@pytest.mark.parametrize("cell", CELL_KINDS)
@settings(max_examples=16, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.sampled_from((1, 2, 33)), SIZES, SIZES, SIZES),
    ragged=st.booleans(),
    reverse=st.booleans(),
    threads=st.integers(1, 2),
)
def test_any_shape_equals_the_reference(
    cell, shape, ragged, reverse, threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(threads)
    if slack(CELLS[cell]) > 1:  # a norm over few units multiplies errors step after step
        shape = (*shape[:3], max(shape[3], 17))
    layer = Layer(cell, *shape)
    lengths = layer.lengths if ragged else None
    exact = layer.results(run_reference, torch.float64, lengths, reverse)
    # each token adds about as much to a weight's gradient as reaches its input; and of the many
    # sums that are drawn, some are half as far again from what they should be as most
    each = float(exact[1 + len(layer.state)].abs().max()) if exact[0].numel() else 1.0
    summed = 1.5 * (shape[0] * shape[1]) ** 0.5 * max(1.0, each)
    before = _engine.isa()
    try:
        for isa, by_units in itertools.product(_engine.available_isas(), (False, True)):
            _engine.select_isa(isa)
            monkeypatch.setattr(engine_calls, "shares_units", lambda *_, by=by_units: by)
            ours = layer.results(engine_op.run, torch.float32, lengths, reverse)
            assert_same(ours, exact, summed=slack(CELLS[cell]) * summed)
    finally:
        _engine.select_isa(before)


@pytest.mark.parametrize("cell", _engine.cells())
def test_two_layers_in_both_directions_equal_the_reference(cell: str) -> None:
    torch.manual_seed(0)
    layer = layer_of(cell, 3, 17, num_layers=2, bidirectional=True)
    x, lengths = torch.randn(7, 5, 3), torch.tensor([3, 7, 0, 1, 7])
    weights = torch.randn(7, 5, 2 * layer.state_sizes[0])

    def results(layer: tg.Recurrent, dtype: torch.dtype) -> list[torch.Tensor]:
        inputs = x.to(dtype).requires_grad_()
        y, state = layer(inputs, lengths=lengths)
        loss = (y * weights.to(dtype)).sum() + state[0].square().sum()
        return [y, *torch.autograd.grad(loss, [inputs, *layer.parameters()])]

    before, ours = _engine.isa(), {}
    try:
        for isa in _engine.available_isas():
            _engine.select_isa(isa)
            ours[isa] = results(layer, torch.float32)
    finally:
        _engine.select_isa(before)
    exact = results(layer.double(), torch.float64)
    for of_isa in ours.values():
        assert_same(of_isa, exact)


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_inference_equals_training(cell: str) -> None:
    layer = Layer(cell, 6, 5, 3, 20)
    y, *final = layer.results(engine_op.run, torch.float32)[: 1 + len(layer.state)]
    with torch.no_grad():
        state = tuple(s.float() for s in layer.state)
        weights = [w.float() for w in layer.weights if w is not None]
        y_inference, final_inference = engine_op.run(cell, layer.x.float(), state, weights)
    # the input product of training is torch's, that of inference the engine's: rounding may differ
    torch.testing.assert_close(y_inference, y, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(list(final_inference), final, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_inference_in_pieces_of_an_odd_number_of_steps_equals_training(
    reverse: bool, ragged: bool
) -> None:
    # 64 rows, at most 192 tokens at a time: three steps, so that each piece finds the state in the
    # other of the sweep's two blocks
    torch.set_num_threads(1)
    layer = Layer("lstm", 8, 64, 3, 192)
    x, h, c, *weights = (
        t.float() for t in [layer.x, *layer.state, *layer.weights] if t is not None
    )
    lengths = layer.lengths if ragged else None
    assert layer.mask is not None
    arguments = ("lstm", x, (h, c), weights, lengths, reverse, layer.mask.float())
    y_inference, final_inference = engine_op.run(*arguments)
    x.requires_grad_()
    y, final = engine_op.run(*arguments)
    torch.testing.assert_close(y_inference, y.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        list(final_inference), [s.detach() for s in final], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_the_same_threads_give_the_same_bits_and_others_differ_by_rounding(
    cell: str, ragged: bool
) -> None:
    layer = Layer(cell, 11, 13, 3, 20)
    by_threads = {}
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        lengths = layer.lengths if ragged else None
        by_threads[threads] = layer.results(engine_op.run, torch.float32, lengths)
        again = layer.results(engine_op.run, torch.float32, lengths)
        torch.testing.assert_close(by_threads[threads], again, rtol=0, atol=0)
    for other in (2, 3):
        assert_same(by_threads[other], [t.double() for t in by_threads[1]])


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_buffers_of_nan_leave_no_trace(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer(cell, 5, 6, 3, 20)
    new_empty = torch.Tensor.new_empty

    def filled(self: torch.Tensor, *shape, **kwargs) -> torch.Tensor:
        return new_empty(self, *shape, **kwargs).fill_(float("nan"))

    monkeypatch.setattr(torch.Tensor, "new_empty", filled)
    masks = [None, layer.mask, layer.mask_per_gate]
    for lengths, mask in itertools.product([None, layer.lengths], masks):
        options = {"lengths": lengths, "mask": mask}
        ours = layer.results(engine_op.run, torch.float32, **options)
        assert_same(ours, layer.results(run_reference, torch.float64, **options))


@pytest.mark.usefixtures("_isa")
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_nan_and_inf_do_what_they_do_in_the_reference_and_stay_in_their_rows(
    cell: str, poison: float
) -> None:
    layer = Layer(cell, 4, 5, 3, 20)
    clean = layer.results(engine_op.run, torch.float32)
    layer.x[1, 2, 0] = layer.state[0][0, 0] = poison
    ours = layer.results(engine_op.run, torch.float32)
    exact = layer.results(run_reference, torch.float64)
    outputs = 1 + len(layer.state)
    for mine, other in zip(ours[:outputs], exact[:outputs], strict=True):
        # by rows: a closed gate is 1.6e-38, so that inf times it is inf where the reference has NaN
        finite = other.isfinite().all(dim=-1)
        assert torch.equal(mine.isfinite().all(dim=-1), finite)
        torch.testing.assert_close(mine[finite].double(), other[finite], rtol=0, atol=TOLERANCE)
    if poison != poison:
        assert ours[0][1:, 2].isnan().any(dim=-1).all()
    untouched = torch.tensor([1, 3, 4])
    assert torch.equal(ours[0][:, untouched], clean[0][:, untouched])
    assert torch.equal(ours[outputs][:, untouched], clean[outputs][:, untouched])  # dL/dx


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_gradients_that_are_not_needed_change_nothing_in_those_that_are(cell: str) -> None:
    layer = Layer(cell, 4, 5, 3, 20)
    for lengths, mask in ((None, None), (layer.lengths, layer.mask_of_gates())):
        inputs = [t.float() for t in [layer.x, *layer.state, *layer.weights] if t is not None]
        count = 1 + len(layer.state)

        def gradients(
            wanted: list[int],
            inputs: list[torch.Tensor] = inputs,
            count: int = count,
            options: tuple = (lengths, False, mask),
        ) -> tuple[torch.Tensor, ...]:
            mine = [t.clone().requires_grad_(k in wanted) for k, t in enumerate(inputs)]
            y, _ = engine_op.run(cell, mine[0], tuple(mine[1:count]), mine[count:], *options)
            return torch.autograd.grad(y.square().sum(), [mine[k] for k in wanted])

        everything = gradients(list(range(len(inputs))))
        for k in range(len(inputs)):
            torch.testing.assert_close(gradients([k]), (everything[k],), rtol=0, atol=0)


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_a_retained_graph_gives_the_same_gradients_again(cell: str) -> None:
    layer = Layer(cell, 4, 5, 3, 20)
    x = layer.x.float().requires_grad_()
    weights = [t.float().requires_grad_() for t in layer.weights if t is not None]
    y, _ = engine_op.run(cell, x, tuple(s.float() for s in layer.state), weights)
    first = torch.autograd.grad(y.sum(), [x, *weights], retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), [x, *weights]), first, rtol=0, atol=0)


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_operator_passes_opcheck(cell: str) -> None:
    layer = Layer(cell, 3, 4, 2, 5)
    x, state, weights = (
        [t.float().requires_grad_() for t in tensors if t is not None]
        for tensors in ([layer.x], layer.state, layer.weights)
    )
    full = torch.full((4,), 3)  # shorter rows leave the end of what is saved undefined
    masks = torch.rand(len(CELLS[cell].parameters["weight_ih"].blocks), 4, 2)
    arguments = (cell, *x, state, weights, full, None, True, True, masks, None)
    torch.library.opcheck(torch.ops.tidegate.recurrence.default, arguments)


def test_compiles_as_one_graph_for_any_number_of_steps() -> None:
    graphs = 0

    def count(graph, _):
        nonlocal graphs
        graphs += 1
        return graph

    layer = Layer("gru", 6, 4, 3, 8)
    tensors = [t.float().requires_grad_() for t in layer.weights if t is not None]

    def loss(x, h):
        return engine_op.run("gru", x, (h,), tensors)[0].square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend=count, dynamic=True)
    x, h = layer.x.float(), layer.state[0].float()
    for steps in (6, 3, 5):
        part = x[:steps].clone()
        torch.testing.assert_close(compiled(part, h), loss(part, h))
    assert graphs == 1


def test_gradients_of_a_compiled_layer_are_the_eager_ones() -> None:
    layer = Layer("lstm", 6, 4, 3, 8)
    eager = layer.results(engine_op.run, torch.float32)
    compiled = torch.compile(engine_op.run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(layer.results(compiled, torch.float32), eager)


def test_second_derivatives_come_from_the_reference() -> None:
    layer = Layer("gru", 3, 2, 2, 4)

    def penalty(run, dtype) -> list[torch.Tensor]:
        inputs = [t.to(dtype).requires_grad_() for t in [layer.x, *layer.weights]]
        x, *weights = inputs
        state = tuple(s.to(dtype) for s in layer.state)
        y, _ = run("gru", x, state, weights, None, False, None)
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return list(torch.autograd.grad(slope.square().sum(), inputs))

    assert_same(penalty(engine_op.run, torch.float32), penalty(run_reference, torch.float64))


def test_the_callers_treatment_of_denormals_survives_a_call() -> None:
    layer = Layer("gru", 3, 2, 2, 4)
    many = torch.full((1 << 16,), 1e-40)  # enough for torch to use the threads the engine used
    for flushes in (True, False):
        torch.set_flush_denormal(flushes)
        try:
            layer.results(engine_op.run, torch.float32)
            halved = np.full(4, 1e-40, np.float32) * np.float32(0.5)
            assert (halved == 0).all() == flushes
        finally:
            torch.set_flush_denormal(False)
    assert (many * 0.5 > 0).all()


def test_wrong_sizes_are_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="lengths: expected 0 to 3"):
        _engine.schedule(3, 2, torch.tensor([4, 1]), False, 1)
    with pytest.raises(ValueError, match="lengths: expected 2 values, got 3"):
        _engine.schedule(3, 2, torch.tensor([1, 1, 1]), False, 1)
    x = torch.zeros(2, 3, 4)
    weights = [torch.zeros(15, 4), torch.zeros(15, 5), None, torch.zeros(14)]
    with pytest.raises(ValueError, match="bias_hh: expected \\[15\\], got \\[14\\]"):
        engine_op.run("gru", x, (torch.zeros(3, 5),), weights)
