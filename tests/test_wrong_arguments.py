"""Wrong arguments of layers and cells: one line that names the argument, of torch's own types."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.engine import EngineLayer

LAYERS = sorted({cell.layer for cell in CELLS.values()})
STEPS = [layer for layer in LAYERS if hasattr(tg, f"{layer}Cell")]

SIZES = ["3", None, 3.0, True, float("nan"), [3], (3,), 1e300, np.float32(3), 0, -1, 2**40, 2**70]
FLAGS = ["yes", None, 3.0, float("nan"), [True], 2, -1, 2**70]
PROBABILITIES = ["0.5", None, True, float("nan"), [0.5], -0.1, 1.5, 2**4000, 1j]
PLACES = {"device": [3.0, True, [1], -1, 2**70], "dtype": ["float32", 1, torch.int64, np.float32]}
OF_CELLS = {"input_size": SIZES, "hidden_size": SIZES, "bias": FLAGS, **PLACES}
OF_LAYERS = OF_CELLS | {
    "num_layers": SIZES,
    "proj_size": SIZES[:9] + SIZES[10:],  # 0 is none
    "batch_first": FLAGS,
    "bidirectional": FLAGS,
    "strict": FLAGS,
    "dropout": PROBABILITIES,
    "recurrent_dropout": [*PROBABILITIES, 1],
    "input_dropout": [*PROBABILITIES, 1],
    "dropout_per_gate": FLAGS,
    "candidate_dropout": [*PROBABILITIES, 1],
    "zoneout": [*PROBABILITIES, 1],
    "weight_dropout": [*PROBABILITIES, 1],
}


def class_of(layer: str) -> Callable[..., Any]:
    """What makes a layer of this class from its sizes."""
    return partial(tg.Recurrent, "mgu") if layer == "Recurrent" else getattr(tg, layer)


def refused(call: Callable[[], Any], name: str) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError)) as error:
        call()
    assert re.fullmatch(rf"{name}: expected [^\n]+, got [^\n]+", str(error.value)), error.value


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", OF_LAYERS)
def test_a_layer_names_what_cannot_be(layer: str, name: str) -> None:
    if name == "proj_size" and layer != "LSTM":
        pytest.skip("an LSTM alone has projections")
    for value in OF_LAYERS[name]:
        options = {"input_size": 3, "hidden_size": 4, "num_layers": 2, name: value}
        refused(lambda given=options: class_of(layer)(**given), name)


@pytest.mark.parametrize("layer", STEPS)
@pytest.mark.parametrize("name", OF_CELLS)
def test_a_cell_names_what_cannot_be(layer: str, name: str) -> None:
    for value in OF_CELLS[name]:
        options = {"input_size": 3, "hidden_size": 4, name: value}
        refused(lambda given=options: getattr(tg, f"{layer}Cell")(**given), name)


def test_numpys_numbers_and_flags_are_taken() -> None:
    layer = tg.GRU(np.int64(3), np.int32(4), num_layers=np.uint8(2), bidirectional=np.bool_(True))
    assert (layer.hidden_size, layer.num_layers, layer.bidirectional) == (4, 2, True)
    assert tg.GRU(3, 4, bidirectional=1).bidirectional  # as torch.nn


def nested(t: Tensor) -> Tensor:
    return torch.nested.nested_tensor([t[0], t[0]], layout=torch.jagged)


# Tensors that no layer reads, and what is advised.
TENSORS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "numpy": (lambda t: t.numpy(), "torch.as_tensor"),
    "list": (lambda t: t.tolist(), "torch.as_tensor"),
    "none": (lambda _: None, "torch.as_tensor"),
    "float64": (lambda t: t.double(), r"call input.to\(torch.float32\)"),
    "int": (lambda t: t.long(), r"call input.to\(torch.float32\)$"),
    "complex": (lambda t: t.cfloat(), r"call layer.to\(torch.complex64\)$"),
    "float8": (lambda t: t.to(torch.float8_e4m3fn), r"call input.to\(torch.float32\)$"),
    "sparse": (lambda t: t.to_sparse(), r"call input.to_dense\(\)"),
    "onednn": (lambda t: t.to_mkldnn(), r"call input.to_dense\(\)"),
    "nested": (nested, r"call torch.nested.to_padded_tensor\(input, 0.0\) and give lengths"),
    "meta": (lambda t: t.to("meta"), r"call input.to\('cpu'\)"),
}


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_tensor_that_cannot_be_read_is_refused_with_advice(layer: str, kind: str) -> None:
    change, advice = TENSORS[kind]
    whole = class_of(layer)(3, 4)
    calls = [(whole, torch.ones(5, 2, 3)), (whole.step, torch.ones(2, 3))]
    if layer in STEPS:
        calls.append((getattr(tg, f"{layer}Cell")(3, 4), torch.ones(2, 3)))
    for call, x in calls:
        refused(lambda call=call, x=x: call(change(x)), "input")
        with pytest.raises((TypeError, ValueError, RuntimeError), match=advice):
            call(change(x))


ADVICE: dict[str, Callable[[nn.Module, Any], Any]] = {
    "numpy": lambda layer, x: layer(torch.as_tensor(x, dtype=torch.float32)),
    "float64": lambda layer, x: layer(x.to(torch.float32)),
    "complex": lambda layer, x: layer.to(torch.complex64)(x),
    "sparse": lambda layer, x: layer(x.to_dense()),
    "onednn": lambda layer, x: layer(x.to_dense()),
}


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
@pytest.mark.parametrize("kind", ADVICE)
def test_who_follows_the_advice_gets_the_same_outputs(kind: str) -> None:
    layer, x = tg.GRU(3, 4), torch.randn(5, 2, 3)
    expected = layer(x)[0].detach()
    y = ADVICE[kind](layer, TENSORS[kind][0](x))[0].detach()
    torch.testing.assert_close(y.real if y.is_complex() else y, expected)


def test_a_padded_nested_tensor_is_read_as_its_parts() -> None:
    layer, parts = tg.GRU(3, 4, batch_first=True), [torch.randn(2, 3), torch.randn(4, 3)]
    x = torch.nested.nested_tensor(parts, layout=torch.jagged)
    y, _ = layer(torch.nested.to_padded_tensor(x, 0.0), lengths=[2, 4])
    for row, part in zip(y, parts, strict=True):
        torch.testing.assert_close(row[: len(part)], layer(part)[0])


STATES: dict[str, Any] = {
    "text": "a",
    "number": 3,
    "numpy": np.zeros((1, 2, 4), np.float32),
    "float64": torch.zeros(1, 2, 4).double(),
    "shape": torch.zeros(2, 4),
    "sparse": torch.zeros(1, 2, 4).to_sparse(),
    "nested": torch.nested.nested_tensor([torch.zeros(2, 4)], layout=torch.jagged),
    "meta": torch.zeros(1, 2, 4, device="meta"),
    "dict": {},
    "true": True,
}


@pytest.mark.parametrize("kind", STATES)
def test_a_state_that_cannot_be_is_named(kind: str) -> None:
    x, h = torch.ones(5, 2, 3), STATES[kind]
    refused(lambda: tg.GRU(3, 4)(x, h), "h0")
    refused(lambda: tg.LSTM(3, 4)(x, (torch.zeros(1, 2, 4), h)), "c0")
    refused(lambda: tg.LSTM(3, 4)(x, torch.zeros(1, 2, 4)), "hx")
    refused(lambda: tg.GRU(3, 4)(x, ()), "hx")


LENGTHS: list[Any] = [
    "ab", ["1", "2"], [1.0, 2.0], 3, [-1, 2], [6, 2], [2**70, 1], [None, 1], [True, False],
    [float("nan"), 1], [[1, 2]], [[1], [2, 3]], np.array([1, None]), [1, 2, 3], [], {1, 2},
    {1: 2, 2: 3}, np.array([2**63 + 5, 1], np.uint64), torch.tensor([1, 2], device="meta"),
    np.ma.array([1, 2], mask=[0, 1]), torch.tensor([1, 2]).to_sparse(), np.int64(2), b"ab",
    np.array([1, 2], "M8[s]"), torch.tensor([1 + 0j, 2]), (i for i in (1, 2)), object(),
]  # fmt: skip


@pytest.mark.parametrize("lengths", LENGTHS, ids=lambda x: type(x).__name__)
def test_lengths_that_cannot_be_are_named(lengths: Any) -> None:
    refused(lambda: tg.GRU(3, 4)(torch.ones(5, 2, 3), lengths=lengths), "lengths")


def test_lengths_of_any_integers_are_taken() -> None:
    layer, x = tg.GRU(3, 4), torch.randn(5, 2, 3)
    expected = layer(x, lengths=[5, 2])[0]
    for given in (range(5, 1, -3), np.array([5, 2], np.uint64), torch.tensor([5, 2]).byte(),
                  [torch.tensor(5), torch.tensor(2)]):  # fmt: skip
        torch.testing.assert_close(layer(x, lengths=given)[0], expected)


X = torch.ones(5, 2, 3)
PACKED = nn.utils.rnn.pack_padded_sequence(X, torch.tensor([5, 2]))
H0 = torch.zeros(1, 2, 4)
WEIGHTS = {"weight_ih": np.ones((12, 3)), "weight_hh": np.ones((12, 4))}
WEIGHTS = {name: array.astype(np.float32) for name, array in WEIGHTS.items()}
ARRAY = np.ones((5, 2, 3), np.float32)


def engine() -> EngineLayer:
    return EngineLayer("gru", WEIGHTS)


# A call, what the error advises, the call of who follows it.
FOLLOWED: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
    "other inputs": (
        lambda: tg.GRU(7, 4)(X), "make the layer with input_size=3", lambda: tg.GRU(3, 4)(X),
    ),
    "inputs in front": (
        lambda: tg.GRU(5, 4)(X), "move the inputs there", lambda: tg.GRU(5, 4)(X.movedim(0, 2)),
    ),
    "one dimension": (lambda: tg.GRU(3, 4)(X[0, 0]), "reshape it", lambda: tg.GRU(3, 4)(X[0])),
    "shape of a state": (
        lambda: tg.GRU(3, 4)(X, H0[:, :1]), "leave hx out", lambda: tg.GRU(3, 4)(X),
    ),
    "one state of two": (
        lambda: tg.LSTM(3, 4)(X, H0), r"the tuple \(h0, c0\), .*give these",
        lambda: tg.LSTM(3, 4)(X, (H0, H0)),
    ),
    "fewer lengths": (
        lambda: tg.GRU(3, 4)(X, lengths=[5]), "one for each row",
        lambda: tg.GRU(3, 4)(X, lengths=[5, 5]),
    ),
    "long lengths": (
        lambda: tg.GRU(3, 4)(X, lengths=[6, 2]), "0 to T = 5, .*count steps",
        lambda: tg.GRU(3, 4)(X, lengths=[5, 2]),
    ),
    "masked lengths": (
        lambda: tg.GRU(3, 4)(X, lengths=np.ma.array([1, 9], mask=[0, 1])), "filled",
        lambda: tg.GRU(3, 4)(X, lengths=np.ma.array([1, 9], mask=[0, 1]).filled(5)),
    ),
    "lengths twice": (
        lambda: tg.GRU(3, 4)(PACKED, lengths=[5, 2]), "leave them out",
        lambda: tg.GRU(3, 4)(PACKED),
    ),
    "a step both ways": (
        lambda: tg.GRU(3, 4, bidirectional=True).step(X[0]), "call the layer on the whole seq",
        lambda: tg.GRU(3, 4, bidirectional=True)(X),
    ),
    "all dropped": (
        lambda: tg.GRU(3, 4, recurrent_dropout=1.0), "give less",
        lambda: tg.GRU(3, 4, recurrent_dropout=0.9),
    ),
    "a projection of all": (
        lambda: tg.LSTM(3, 4, proj_size=4), "give a smaller one",
        lambda: tg.LSTM(3, 4, proj_size=3),
    ),
    "array of another shape": (
        lambda: engine().forward(ARRAY[0, 0]), "reshape it", lambda: engine().forward(ARRAY[:, :1]),
    ),
    "array in double precision": (
        lambda: engine().forward(ARRAY.astype(float)), r"numpy.asarray\(a, numpy.float32\)",
        lambda: engine().forward(np.asarray(ARRAY.astype(float), np.float32)),
    ),
    "lengths of an array": (
        lambda: engine().forward(ARRAY, lengths=[5]), "one for each row",
        lambda: engine().forward(ARRAY, lengths=[5, 5]),
    ),
    "state of an array": (
        lambda: engine().forward(ARRAY, [np.zeros((1, 4), np.float32)]), "give that shape",
        lambda: engine().forward(ARRAY, [np.zeros((2, 4), np.float32)]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLLOWED)
def test_who_follows_the_advice_on_an_argument_can_go_on(case: str) -> None:
    call, advice, followed = FOLLOWED[case]
    with pytest.raises((TypeError, ValueError, RuntimeError), match=advice):
        call()
    followed()
