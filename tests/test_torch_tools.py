"""What people do to a torch.nn layer with torch's own tools gives the same with ours."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, skip_init
from torch.utils.checkpoint import checkpoint

import tidegate as tg

pytestmark = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN",
    "ignore:Complex modules are a new feature",
    "ignore:torch.ao.quantization is deprecated",
    "ignore:torch.quantize_per_tensor",
    "ignore:`torch.nn.utils.weight_norm` is deprecated",
)

PAIRS = {
    "RNN": (nn.RNN, tg.RNN, {}),
    "LSTM": (nn.LSTM, tg.LSTM, {}),
    "LSTM projected": (nn.LSTM, tg.LSTM, {"proj_size": 3}),
    "GRU": (nn.GRU, tg.GRU, {}),
}
X = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0))


def flat(outputs: Any) -> list[torch.Tensor]:
    if isinstance(outputs, tuple):
        return [tensor for part in outputs for tensor in flat(part)]
    return [outputs]


def weight_norm(layer):
    parametrizations.weight_norm(layer, "weight_hh_l0")
    return flat(copy.deepcopy(layer)(X)) + flat(layer(X))


def spectral_norm(layer):
    parametrizations.spectral_norm(layer, "weight_ih_l0")
    return flat(layer.eval()(X))


def old_weight_norm(layer):
    return flat(torch.nn.utils.weight_norm(layer, "weight_hh_l0")(X))


def pruned(layer):
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    before = flat(layer(X))
    prune.remove(layer, "weight_hh_l0")
    return before + flat(layer(X))


def pruned_with_others(layer):
    weights = [(layer, "weight_hh_l0"), (layer, "weight_ih_l0")]
    prune.global_unstructured(weights, prune.L1Unstructured, amount=0.3)
    return flat(layer(X))


def of_another_type(dtype):
    def use(layer):
        return flat(layer.to(dtype)(X.to(dtype)))

    return use


def weights_assigned(layer):
    other = type(layer)(5, 7, device="meta", **projection(layer))
    other.load_state_dict(layer.state_dict(), strict=True, assign=True)
    assert other.all_weights[0][0] is other.weight_ih_l0
    return flat(other(X))


def a_weight_replaced(layer):
    layer.weight_hh_l0 = nn.Parameter(2 * layer.weight_hh_l0)
    return [*flat(layer(X)), *layer.all_weights[0], *layer._flat_weights]


def on_meta(layer):
    outputs = flat(layer.to("meta")(X.to("meta")))
    assert all(o.device.type == "meta" for o in outputs)
    return [torch.zeros(o.shape) for o in outputs]


def emptied_and_filled(layer):
    weights = {name: w.clone() for name, w in layer.state_dict().items()}
    layer.to("meta").to_empty(device="cpu").load_state_dict(weights)
    return flat(layer(X))


def frozen(layer):
    outputs = flat(layer.requires_grad_(False)(X))
    assert not any(o.requires_grad for o in outputs)
    return outputs


def hooked(layer):
    seen = []
    layer.register_forward_pre_hook(lambda _, args, kw: (args, {**kw, "input": 2 * kw["input"]}),
                                    with_kwargs=True)  # fmt: skip
    layer.register_forward_hook(lambda _, args, kw, __: seen.append((len(args), list(kw))),
                                with_kwargs=True)  # fmt: skip
    outputs = flat(layer(input=X, hx=None))
    assert seen == [(0, ["input", "hx"])]
    return outputs


def called_with_other_weights(layer):
    doubled = {name: 2 * w for name, w in layer.state_dict().items()}
    return flat(torch.func.functional_call(layer, doubled, (X,)))


def tied(layer):
    other = copy.deepcopy(layer)
    other.weight_hh_l0 = layer.weight_hh_l0
    outputs = flat(other(X)) + flat(layer(X))
    sum(o.sum() for o in outputs).backward()
    return [*outputs, layer.weight_hh_l0.grad]


def checkpointed(layer):
    x = X.clone().requires_grad_()
    outputs = flat(checkpoint(layer, x, use_reentrant=False))
    sum(o.square().sum() for o in outputs).backward()
    return [*outputs, x.grad, *(p.grad for p in layer.parameters())]


def as_a_vector(layer):
    vector = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(2 * vector, layer.parameters())
    return flat(layer(X))


def averaged(layer):
    mean = torch.optim.swa_utils.AveragedModel(layer)
    mean.update_parameters(layer)
    return flat(mean(X))


def shared_memory(layer):
    layer.share_memory()
    assert all(p.is_shared() for p in layer.parameters())
    return flat(layer(X))


class Model(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.dense = nn.Linear(projection(layer).get("proj_size", 7), 2)

    def forward(self, x: torch.Tensor, state: Any = None) -> torch.Tensor:
        _, state = self.layer(x, state)
        y, _ = self.layer(input=x, hx=state)
        return self.dense(y)


def fx_traced(layer):
    model = Model(layer)
    traced = torch.fx.symbolic_trace(model, concrete_args={"state": None})
    assert [n.target for n in traced.graph.nodes if n.op == "call_module"] == [
        "layer", "layer", "dense",
    ]  # fmt: skip
    torch.testing.assert_close(traced(X), model(X))
    return [traced(X)]


def projection(layer) -> dict[str, int]:
    return {"proj_size": layer.proj_size} if getattr(layer, "proj_size", 0) else {}


USES = [
    weight_norm, spectral_norm, old_weight_norm, pruned, pruned_with_others, weights_assigned,
    a_weight_replaced, on_meta, emptied_and_filled, frozen, hooked, called_with_other_weights,
    tied, checkpointed, as_a_vector, averaged, shared_memory, fx_traced,
]  # fmt: skip
TYPES = {torch.float16: 1e-2, torch.bfloat16: 5e-2, torch.float64: 1e-10, torch.complex64: 1e-5}


def assert_same_use(pair, use, tolerance) -> None:
    theirs_cls, ours_cls, options = PAIRS[pair]
    results = []
    for cls in (theirs_cls, ours_cls):
        torch.manual_seed(0)
        results.append(use(cls(5, 7, **options)))
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
@pytest.mark.parametrize("pair", PAIRS)
def test_torchs_tools_do_to_a_layer_what_they_do_to_torch_nns(pair, use):
    assert_same_use(pair, use, 1e-5)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_a_layer_of_another_type_answers_as_torch_nns(pair, dtype):
    assert_same_use(pair, of_another_type(dtype), TYPES[dtype])  # half types: some of their digits


@pytest.mark.parametrize("name", ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"])
def test_a_layer_is_made_without_drawing_weights(name):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    made = skip_init(getattr(tg, name), 5, 7)
    assert torch.equal(torch.get_rng_state(), before)
    assert {p.device.type for p in made.parameters()} == {"cpu"}


# torch.fx and torch.ao


def test_fx_keeps_lengths_as_an_argument_of_the_node():
    class Ragged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = tg.GRU(5, 7)

        def forward(self, x, lengths):
            return self.layer(x, lengths=lengths)[0]

    model, lengths = Ragged(), torch.tensor([6, 2, 0])
    traced = torch.fx.symbolic_trace(model)
    torch.testing.assert_close(traced(X, lengths), model(X, lengths))


def test_fx_traces_a_cell_in_a_loop():
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = tg.LSTMCell(5, 7)

        def forward(self, x):
            state = self.cell(x[0])
            for t in range(1, 3):
                state = self.cell(x[t], state)
            return state[0]

    model = Loop()
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(X), model(X))


QUANTISED = {"GRU": tg.GRU(5, 7), "LSTM": tg.LSTM(5, 7), "GRUCell": tg.GRUCell(5, 7)}


@pytest.mark.parametrize("name", QUANTISED)
def test_dynamic_quantisation_says_that_it_passes_a_layer_by(name):
    model = nn.Sequential(nn.Linear(5, 5), QUANTISED[name]).eval()
    with pytest.warns(
        UserWarning, match=f"leaves tidegate.{name} .*; load its .* torch.nn.{name}$"
    ):
        quantised = torch.ao.quantization.quantize_dynamic(model)
    assert type(quantised[0]) is not nn.Linear
    x = torch.randn(3, 5)
    for got, expected in zip(flat(quantised[1](x)), flat(model[1](x)), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("name", QUANTISED)
def test_what_the_warning_of_quantisation_advises_works(name):
    twin = getattr(nn, name)(5, 7)
    twin.load_state_dict(QUANTISED[name].state_dict())
    quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(twin).eval())
    x = torch.randn(3, 5) if "Cell" in name else torch.randn(4, 3, 5)
    for got, expected in zip(flat(quantised(x)), flat(QUANTISED[name](x)), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0.05)  # eight bits a weight


@pytest.mark.parametrize("layer", [tg.GRU(5, 7, reset="before"), tg.RNN(5, 7)], ids=str)
def test_no_way_is_advised_where_torch_has_none(layer):
    with pytest.warns(UserWarning, match="torch.nn's own classes alone$"):
        torch.ao.quantization.quantize_dynamic(nn.Sequential(layer).eval())


@pytest.mark.parametrize("layer", [tg.GRU(5, 7), tg.LSTMCell(5, 7)], ids=str)
def test_torch_script_is_refused_with_what_to_do_instead(layer):
    model = nn.Sequential(nn.Identity(), layer)
    name = type(layer).__name__
    with (
        pytest.warns(DeprecationWarning, match="torch.jit.script"),
        pytest.raises(RuntimeError, match=f"use torch.compile .* state_dict .* torch.nn.{name}$"),
    ):
        torch.jit.script(model)
    assert model[1] is layer
    twin = getattr(nn, name)(5, 7)
    twin.load_state_dict(layer.state_dict())
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        torch.jit.script(twin)


def test_torch_script_is_refused_where_torch_has_no_such_cell():
    with (
        pytest.warns(DeprecationWarning, match="torch.jit.script"),
        pytest.raises(RuntimeError, match="use torch.compile or torch.export$"),
    ):
        torch.jit.script(tg.GRU(5, 7, reset="before"))
