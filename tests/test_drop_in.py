"""Layers and cells in the place of torch.nn's: same calls, same answers, same errors."""

from __future__ import annotations

import inspect
import re
import typing
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import tidegate as tg

pytestmark = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN",
    "ignore:dropout option adds dropout",
)

LAYERS = ["RNN", "LSTM", "GRU"]
CELLS = ["RNNCell", "LSTMCell", "GRUCell"]
TOLERANCE = 1e-5  # float32, at most 4 steps of 3 layers


def signature(function: Any) -> dict[str, inspect.Parameter]:
    """Of torch.nn's layers the one they document: they take *args, **kwargs."""
    overloads = typing.get_overloads(function)
    parameters = dict(inspect.signature(overloads[0] if overloads else function).parameters)
    parameters.pop("self")
    return parameters


@pytest.mark.parametrize("method", ["__init__", "forward"])
@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_arguments_have_torch_nns_names_order_and_defaults(name, method):
    theirs = signature(getattr(getattr(nn, name), method))
    ours = signature(getattr(getattr(tg, name), method))
    assert list(ours)[: len(theirs)] == list(theirs)
    for argument, parameter in theirs.items():
        assert ours[argument].default == parameter.default
        assert ours[argument].kind == parameter.kind


@st.composite
def constructions(draw: Any, name: str) -> dict[str, Any]:
    """Arguments of a layer or cell, in torch.nn's order; what is left out stands at its default."""
    sizes = st.integers(1, 6)
    values = {
        "input_size": sizes,
        "hidden_size": sizes,
        "num_layers": st.integers(1, 3) | st.just(np.int64(2)),
        "nonlinearity": st.sampled_from(["tanh", "relu"]),
        "bias": st.booleans(),
        "batch_first": st.booleans(),
        "dropout": st.sampled_from([0, 0.0, 0.5]),
        "bidirectional": st.booleans(),
        "proj_size": st.integers(0, 2),
        "device": st.sampled_from([None, "cpu", torch.device("cpu")]),
        "dtype": st.sampled_from([None, torch.float32]),
    }
    parameters = signature(getattr(nn, name).__init__)
    drawn = {argument: draw(values[argument]) for argument in parameters}
    if drawn.get("proj_size", 0) >= drawn["hidden_size"]:
        drawn["proj_size"] = 0
    return {
        argument: value
        for argument, value in drawn.items()
        if parameters[argument].default is inspect.Parameter.empty or draw(st.booleans())
    }


def twins(name: str, arguments: dict[str, Any]) -> list[nn.Module]:
    """torch.nn's module and ours, each drawn from the same seed."""
    made = []
    for library in (nn, tg):
        torch.manual_seed(0)
        made.append(getattr(library, name)(**arguments))
    return made


def flat(outputs: Any) -> list[torch.Tensor]:
    if isinstance(outputs, PackedSequence):
        return [part for part in outputs if part is not None]
    if isinstance(outputs, tuple):
        return [tensor for part in outputs for tensor in flat(part)]
    return [outputs]


def hidden(layer: Any, batch: tuple[int, ...]) -> Any:
    """A random state that torch.nn's layer or cell takes."""
    if isinstance(layer, nn.RNNCellBase):
        rows, sizes = (), (layer.hidden_size,) * 2
    else:
        rows = (layer.num_layers * (2 if layer.bidirectional else 1),)
        sizes = layer.proj_size or layer.hidden_size, layer.hidden_size
    pair = tuple(torch.randn(*rows, *batch, size) for size in sizes)
    return pair if isinstance(layer, nn.LSTM | nn.LSTMCell) else pair[0]


def gradients(module: nn.Module, outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    floats = [o for o in outputs if o.is_floating_point()]
    loss = sum((o * torch.linspace(-1, 2, o.numel()).view_as(o)).sum() for o in floats)
    return list(torch.autograd.grad(loss, list(module.parameters())))


def assert_same(theirs: list[torch.Tensor], ours: list[torch.Tensor]) -> None:
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", LAYERS)
@given(data=st.data())
def test_any_layer_and_call_answers_as_torch_nns(name, data):
    theirs, ours = twins(name, data.draw(constructions(name)))
    assert repr(ours).replace(", nonlinearity=relu", "") == repr(theirs)  # torch.nn hides it
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert_same(list(theirs.state_dict().values()), list(ours.state_dict().values()))
    steps, rows = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 3))
    form = data.draw(st.sampled_from(["batched", "unbatched", "packed"]))
    x = torch.randn(rows, steps, theirs.input_size)
    if form == "unbatched":
        x, batch = torch.randn(steps, theirs.input_size), ()
    else:
        x, batch = x if theirs.batch_first else x.transpose(0, 1), (rows,)
    if form == "packed" and rows:
        lengths = data.draw(st.lists(st.integers(1, steps), min_size=rows, max_size=rows))
        x = pack_padded_sequence(x, torch.tensor(lengths), theirs.batch_first, False)
    hx = hidden(theirs, batch) if data.draw(st.booleans()) else None
    positional = data.draw(st.booleans())
    training = data.draw(st.booleans()) and theirs.dropout == 0
    results = []
    for layer in (theirs.train(training), ours.train(training)):
        outputs = flat(layer(x, hx) if positional else layer(input=x, hx=hx))
        results.append(outputs + gradients(layer, outputs))
    assert_same(*results)


@pytest.mark.parametrize("name", CELLS)
@given(data=st.data())
def test_any_cell_and_call_answers_as_torch_nns(name, data):
    theirs, ours = twins(name, data.draw(constructions(name)))
    assert repr(ours) == repr(theirs)
    assert_same(list(theirs.state_dict().values()), list(ours.state_dict().values()))
    batch = data.draw(st.sampled_from([(), (0,), (1,), (3,)]))
    x = torch.randn(*batch, theirs.input_size)
    hx = hidden(theirs, batch) if data.draw(st.booleans()) else None
    positional = data.draw(st.booleans())
    results = []
    for cell in (theirs, ours):
        outputs = flat(cell(x, hx) if positional else cell(input=x, hx=hx))
        results.append(outputs + gradients(cell, outputs))
    assert_same(*results)


@pytest.mark.parametrize("name", LAYERS)
@given(data=st.data())
def test_a_state_dict_loads_both_ways(name, data):
    theirs, ours = twins(name, data.draw(constructions(name)))
    torch.manual_seed(1)
    ours.reset_parameters()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert_same(list(ours.parameters()), list(theirs.parameters()))
    theirs.reset_parameters()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_same(list(ours.parameters()), list(theirs.parameters()))


@pytest.mark.parametrize("name", LAYERS)
@given(data=st.data())
def test_wrong_shapes_raise_torch_nns_types_of_error(name, data):
    shape = st.lists(st.integers(1, 3), min_size=0, max_size=4)
    theirs, ours = twins(name, {"input_size": 2, "hidden_size": 3, "num_layers": 2})
    x = torch.zeros(data.draw(shape))
    hx = torch.zeros(data.draw(shape)) if data.draw(st.booleans()) else None
    if hx is not None and name == "LSTM":
        hx = hx, torch.zeros(data.draw(shape))
    try:
        theirs(x, hx)
    except Exception as error:  # noqa: BLE001
        with pytest.raises(type(error)):
            ours(x, hx)
    else:
        ours(x, hx)


WRONG: dict[str, dict[str, Any]] = {
    "no input": {"input_size": 0},
    "half a unit": {"hidden_size": 7.5},
    "no units": {"hidden_size": 0},
    "no layers": {"num_layers": 0},
    "half a layer": {"num_layers": 1.5},
    "a bias that is a number": {"bias": 1},
    "an order that is a word": {"batch_first": "yes"},
    "more than everything dropped": {"dropout": 1.5},
    "less than nothing dropped": {"dropout": -0.1},
    "dropout that is a flag": {"dropout": True},
    "dropout that is none": {"dropout": None},
    "weights that are whole numbers": {"dtype": torch.int32},
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("name", LAYERS)
def test_wrong_options_raise_torch_nns_types_of_error(name, case):
    arguments = {"input_size": 5, "hidden_size": 7, **WRONG[case]}
    with pytest.raises(Exception) as expected:  # noqa: PT011
        getattr(nn, name)(**arguments)
    with pytest.raises(expected.type):
        getattr(tg, name)(**arguments)


@pytest.mark.parametrize("size", [-1, 7, 8])
def test_a_projection_is_smaller_than_the_state(size):
    with pytest.raises(ValueError, match="proj_size: expected"):
        tg.LSTM(5, 7, proj_size=size)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", LAYERS)
def test_dropout_in_a_single_layer_warns_as_torch_nn_does_at_the_callers_line(name):
    said = []
    for library in (nn, tg):
        with pytest.warns(UserWarning, match="dropout option adds") as caught:
            getattr(library, name)(5, 7, dropout=0.5)
        said += [str(warning.message) for warning in caught]
    assert said[1] == said[0]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("x", [torch.zeros(6, 3, 5).double(), torch.zeros(6, 3, 5).half()])
def test_both_remedies_for_an_input_of_another_type_work(x):
    layer = tg.GRU(5, 7)
    message = f"call input.to(torch.float32) or layer.to({x.dtype})"
    with pytest.raises(ValueError, match=re.escape(message)):
        layer(x)
    layer(x.to(torch.float32))
    layer.to(x.dtype)(x)


def test_whole_numbers_are_to_be_made_floats():
    with pytest.raises(ValueError, match=r"call input.to\(torch.float32\)$"):
        tg.GRU(5, 7)(torch.zeros(6, 3, 5, dtype=torch.int64))


# what differs is shown, and what people read of a torch.nn.RNNBase is there


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        (tg.GRU(5, 7, reset="before"), "GRU(5, 7, reset=before)"),
        (tg.RNN(5, 7, 2, "relu"), "RNN(5, 7, num_layers=2, nonlinearity=relu)"),
        (tg.LSTM(5, 7, proj_size=3, strict=True), "LSTM(5, 7, proj_size=3, strict=True)"),
        (tg.GRU(5, 7, recurrent_dropout=0.2), "GRU(5, 7, recurrent_dropout=0.2)"),
        (
            tg.RNN(5, 7, input_dropout=0.2, dropout_per_gate=True),
            "RNN(5, 7, input_dropout=0.2, dropout_per_gate=True)",
        ),
        (tg.GRUCell(5, 7, reset="before"), "GRUCell(5, 7, reset=before)"),
        (tg.RNNCell(5, 7, False, "relu"), "RNNCell(5, 7, bias=False, nonlinearity=relu)"),
    ],
)
def test_a_layer_shows_what_differs_from_the_defaults(module, shown):
    assert repr(module) == shown


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (nn.GRU(5, 7, 2, bias=False), tg.GRU(5, 7, 2, bias=False)),
        (nn.LSTM(5, 7, 2, proj_size=2), tg.LSTM(5, 7, 2, proj_size=2)),
        (nn.RNN(5, 7), tg.RNN(5, 7)),
        (nn.RNN(5, 7, nonlinearity="relu"), tg.RNN(5, 7, nonlinearity="relu")),
    ],
)  # fmt: skip
def test_attributes_that_people_read_are_torch_nns(theirs, ours):
    assert isinstance(ours, nn.RNNBase)
    for name in theirs.__constants__:
        assert getattr(ours, name) == getattr(theirs, name)
    shapes = [
        [[w.shape for w in layer] for layer in module.all_weights] for module in (theirs, ours)
    ]
    assert shapes[0] == shapes[1]
    assert ours.all_weights[0][0] is ours.weight_ih_l0
    assert ours.flatten_parameters() is None


def test_the_mode_of_a_cell_that_torch_has_not_is_none_of_torchs():
    assert tg.GRU(5, 7, reset="before").mode == "GRU_RESET_BEFORE"


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_one_step_of_its_layer_and_says_what_runs_it(name):
    cell, layer = getattr(tg, name)(5, 7), getattr(tg, name.removesuffix("Cell"))(5, 7)
    layer.load_state_dict({f"{key}_l0": value for key, value in cell.state_dict().items()})
    before, x = cell(torch.randn(3, 5)), torch.randn(3, 5)
    stacked = [s.unsqueeze(0) for s in flat(before)]
    _, expected = layer.step(x, tuple(stacked) if len(stacked) > 1 else stacked[0])
    assert_same([s.squeeze(0) for s in flat(expected)], flat(cell(x, before)))
    assert isinstance(cell, nn.RNNCellBase)
    assert cell.explain() == layer.explain()
    assert cell.double().explain().startswith("torch: ")


def test_a_cell_that_resets_before_differs_and_runs_in_a_loop():
    torch.manual_seed(0)
    cell, layer = tg.GRUCell(5, 7, reset="before"), tg.GRU(5, 7, reset="before")
    layer.load_state_dict({f"{key}_l0": value for key, value in cell.state_dict().items()})
    x, h, outputs = torch.randn(4, 3, 5), None, []
    for x_t in x:
        h = cell(x_t, h)
        outputs.append(h)
    assert_same([layer(x)[0]], [torch.stack(outputs)])


CELL = tg.LSTMCell(5, 7)
WRONG_STEPS = {
    "rank": (lambda: CELL(torch.zeros(2, 3, 5)), ValueError, r"expected \[B, I\] or \[I\]"),
    "width": (lambda: CELL(torch.zeros(3, 4)), RuntimeError, "input_size = 5"),
    "state": (lambda: CELL(torch.zeros(3, 5), torch.zeros(3, 7)), TypeError, r"tuple \(h0, c0\)"),
    "rows": (
        lambda: CELL(torch.zeros(3, 5), (torch.zeros(2, 7),) * 2), RuntimeError,
        r"h0: expected \[B, H\] = \[3, 7\], got \[2, 7\]",
    ),
    "one": (
        lambda: CELL(torch.zeros(5), (torch.zeros(1, 7),) * 2), RuntimeError,
        r"h0: expected \[H\] = \[7\], got \[1, 7\]",
    ),
    "reset": (lambda: tg.GRUCell(5, 7, reset="x"), ValueError, "'after' or 'before', got 'x'"),
    "nonlinearity": (lambda: tg.RNNCell(5, 7, nonlinearity="x"), ValueError, "'tanh' or 'relu'"),
    "size": (lambda: tg.RNNCell(5, 0), ValueError, "hidden_size: expected at least 1, got 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_STEPS)
def test_wrong_arguments_of_a_cell_are_named(case):
    call, error, message = WRONG_STEPS[case]
    with pytest.raises(error, match=message):
        call()
