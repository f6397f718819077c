"""tidegate.accelerate on torch models: the same objects, answers and gradients, on the engine."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_drop_in import assert_same, constructions, flat, gradients, hidden
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import pack_padded_sequence

import tidegate as tg

pytestmark = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN",
    "ignore:dropout option adds dropout",
)

KINDS = ["RNN", "LSTM", "GRU"]
OURS = tuple(getattr(tg, kind) for kind in KINDS)


class Tagger(nn.Module):
    """Layers in a list, in a dictionary, two levels down, and one in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.stack = nn.ModuleList([nn.GRU(5, 4, bidirectional=True), nn.RNN(8, 5)])
        self.heads = nn.ModuleDict({"a": nn.Sequential(nn.LSTM(5, 7, proj_size=3))})
        self.again = self.stack[1]

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        for layer in (*self.stack, *self.heads["a"]):
            x, _ = layer(x)
        return x


def tokens() -> torch.Tensor:
    return torch.randint(11, (6, 3))


def answers(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    outputs = flat(model(x))
    return outputs + gradients(model, outputs)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data())
def test_any_layer_answers_and_learns_as_before(kind, data):
    layer = getattr(nn, kind)(**data.draw(constructions(kind))).eval()
    steps, rows = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    x = torch.randn(rows, steps, layer.input_size)
    x = x if layer.batch_first else x.transpose(0, 1)
    if data.draw(st.booleans()):
        lengths = data.draw(st.lists(st.integers(1, steps), min_size=rows, max_size=rows))
        x = pack_padded_sequence(x, torch.tensor(lengths), layer.batch_first, False)
    hx = hidden(layer, (rows,)) if data.draw(st.booleans()) else None
    results, shown, keys = [], [], []
    for accelerated in (False, True):
        if accelerated:
            assert len(tg.accelerate(layer).swapped) == 1
            assert layer.explain().startswith("engine: ")
        outputs = flat(layer(x, hx))
        results.append(outputs + gradients(layer, outputs))
        shown.append(repr(layer).replace(", nonlinearity=relu", ""))  # torch.nn hides it
        keys.append(list(layer.state_dict()))
    assert_same(*results)
    assert shown[0] == shown[1]
    assert keys[0] == keys[1]


def test_layers_at_any_depth_are_swapped_once_and_stay_the_same_objects():
    model, x = Tagger(), tokens()
    modules, parameters = list(model.modules()), list(model.parameters())
    before = answers(model, x)
    report = tg.accelerate(model)
    found = [(layer.name, layer.kind, layer.reason) for layer in report.layers]
    assert found == [
        ("stack.0", "GRU", None), ("stack.1", "RNN", None), ("heads.a.0", "LSTM", None),
    ]  # fmt: skip
    assert report.swapped == report.layers
    assert all(a is b for a, b in zip(modules, model.modules(), strict=True))
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert [type(m) for m in modules if isinstance(m, nn.RNNBase)] == [tg.GRU, tg.RNN, tg.LSTM]
    assert model.again is model.stack[1]
    assert_same(before, answers(model, x))


def test_a_second_call_changes_nothing_and_says_so():
    model = Tagger()
    tg.accelerate(model)
    again = tg.accelerate(model)
    assert not again.swapped
    assert {layer.reason for layer in again.left} == {"it is tidegate's already"}


def test_an_optimiser_made_before_goes_on():
    models = [Tagger(), Tagger()]
    models[1].load_state_dict(models[0].state_dict())
    x = tokens()
    for model in models:
        optimiser = torch.optim.Adam(model.parameters(), 0.01)
        for step in range(4):
            if step == 2 and model is models[1]:
                assert tg.accelerate(model).swapped
            optimiser.zero_grad()
            model(x).square().sum().backward()
            optimiser.step()
    # Adam divides by gradients' size, so rounding of a small one shows: a hundredth of its steps
    for theirs, ours in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_frozen_weights_and_modes_stay():
    model = Tagger().eval()
    model.stack[0].train()
    model.stack[1].weight_hh_l0.requires_grad_(False)
    tg.accelerate(model)
    assert [m.training for m in (model, model.stack[0], model.stack[1])] == [False, True, False]
    model(tokens()).sum().backward()
    assert model.stack[1].weight_hh_l0.grad is None
    assert model.stack[1].weight_ih_l0.grad is not None


def test_hooks_are_called_as_before():
    def called(accelerated: bool) -> list[Any]:
        torch.manual_seed(0)
        model, seen = nn.Sequential(nn.LSTM(3, 4)), []
        layer = model[0]
        layer.register_forward_pre_hook(lambda _, args: seen.append(["pre", args[0].shape]))
        layer.register_forward_hook(lambda _, __, out: seen.append(["forward", out[0].shape]))
        layer.register_full_backward_hook(lambda _, i, o: seen.append(["back", i[0].sum(), o[0]]))
        layer.register_state_dict_post_hook(lambda *_: seen.append(["state_dict"]))
        if accelerated:
            tg.accelerate(model)
        model(torch.ones(2, 3, 3).requires_grad_())[0].sum().backward()
        model.state_dict()
        return seen

    theirs, ours = called(False), called(True)
    assert [s[0] for s in ours] == ["pre", "forward", "back", "state_dict"]
    for a, b in zip(theirs, ours, strict=True):
        for expected, got in zip(a, b, strict=True):
            if isinstance(expected, torch.Tensor):
                torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
            else:
                assert got == expected


def old_weight_norm(layer: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(layer, "weight_hh_l0")


COMPUTED = {
    "weight_norm": lambda layer: parametrizations.weight_norm(layer, "weight_hh_l0"),
    "orthogonal": lambda layer: parametrizations.orthogonal(layer, "weight_hr_l0"),
    "spectral_norm": lambda layer: parametrizations.spectral_norm(layer.eval(), "weight_ih_l0"),
    "weight_norm by hooks": old_weight_norm,
    "pruned": lambda layer: prune.random_unstructured(layer, "weight_hh_l0", 0.5),
}


@pytest.mark.parametrize("form", COMPUTED)
def test_weights_that_are_computed_from_others_still_are(form):
    torch.manual_seed(0)
    layer, x = nn.LSTM(5, 7, proj_size=3), torch.randn(4, 3, 5)
    COMPUTED[form](layer)
    names = [name for name, _ in layer.named_parameters()]
    results = []
    for accelerated in (False, True):
        if accelerated:
            (swapped,) = tg.accelerate(nn.Sequential(layer)).swapped
            assert swapped.kind == "LSTM"
        outputs = flat(layer(x))
        loss = sum(o.square().sum() for o in outputs)
        used = torch.autograd.grad(loss, list(layer.parameters()), allow_unused=True)
        results.append(outputs + [g for g in used if g is not None])
    assert_same(*results)
    assert [name for name, _ in layer.named_parameters()] == names
    assert isinstance(layer, tg.LSTM)


def test_a_parametrisation_that_is_removed_leaves_our_class():
    layer, x = nn.GRU(5, 7), torch.randn(4, 3, 5)
    parametrizations.weight_norm(layer, "weight_hh_l0")
    tg.accelerate(layer)
    expected = layer(x)[0]
    parametrize.remove_parametrizations(layer, "weight_hh_l0")
    assert type(layer) is tg.GRU
    assert_same([layer(x)[0]], [expected])


def test_an_accelerated_model_is_saved_loaded_and_copied():
    model, x = Tagger().eval(), tokens()
    plain = copy.deepcopy(model)
    tg.accelerate(model)
    plain.load_state_dict(model.state_dict(), strict=True)
    model.load_state_dict(plain.state_dict(), strict=True)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (loaded, copy.deepcopy(model)):
        assert isinstance(other.stack[0], tg.GRU)
        assert_same([model(x)], [other(x)])
    assert_same([model(x)], [plain(x)])


class Own(nn.GRU):
    """A class with code of its own."""


def replaced() -> nn.Module:
    layer = nn.GRU(3, 4)
    layer.forward = lambda x: x
    return layer


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.GRU(3, 4))


def quantised() -> nn.Module:
    return torch.ao.nn.quantized.dynamic.GRU(3, 4)


LEFT = {
    "a subclass": (lambda: Own(3, 4), "subclass of torch.nn.GRU"),
    "another type": (lambda: nn.GRU(3, 4).double(), "torch.float64; .* call .float"),
    "half": (lambda: nn.LSTM(3, 4).bfloat16(), "torch.bfloat16"),
    "another device": (lambda: nn.LSTM(3, 4, device="meta"), "on meta; the engine runs on the CPU"),
    "a cell": (lambda: nn.LSTMCell(3, 4), "torch.nn.LSTM runs whole sequences"),
    "a replaced forward": (replaced, "forward was replaced"),
    "a scripted layer": (scripted, "torch.jit has compiled it"),
    "a quantised layer": (quantised, "is not torch.nn's class"),
}


@pytest.mark.filterwarnings("ignore")  # of torch's, that it will give up scripts and quantisation
@pytest.mark.parametrize("case", LEFT)
def test_what_is_left_as_it_was_is_named_with_the_reason(case):
    make, reason = LEFT[case]
    model = nn.ModuleDict({"layer": make(), "other": nn.GRU(3, 4)})
    kept = type(model["layer"])
    report = tg.accelerate(model)
    assert [layer.name for layer in report.swapped] == ["other"]
    (left,) = report.left
    assert left.name == "layer"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(left.reason)
    assert type(model["layer"]) is kept


def test_the_remedy_for_float64_works():
    model = nn.GRU(3, 4).double()
    assert not tg.accelerate(model).swapped
    assert tg.accelerate(model.float()).swapped


def test_the_report_is_a_table_of_names_classes_and_reasons():
    model = nn.ModuleDict({"encoder": nn.GRU(3, 4), "a\x1b": nn.LSTMCell(3, 4)})
    report = tg.accelerate(model)
    title, header, first, second = str(report).split("\n")
    assert title == "accelerate: 1 of 2 recurrent layers swapped"
    assert header.split() == ["layer", "class", "now"]
    assert first.split(maxsplit=2) == ["encoder", "GRU", "on the engine"]
    assert second.startswith("a\\x1b")
    assert "as before: one step per call" in second
    assert repr(report) == str(report)
    assert str(tg.accelerate(nn.Linear(2, 2))) == "accelerate: found no recurrent layer"
    assert "the model" in str(tg.accelerate(nn.GRU(2, 2)))


@pytest.mark.parametrize("wrong", [None, "model.pt", nn.GRU, {"weight": 1}])
def test_what_is_no_model_is_refused(wrong):
    with pytest.raises(TypeError, match="model: expected a torch.nn.Module or a keras.Model, got"):
        tg.accelerate(wrong)


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_is_swapped_within_and_compiles_anew():
    model, x = Tagger(), tokens()
    compiled = torch.compile(model, backend="eager")
    before = answers(compiled, x)
    assert len(tg.accelerate(compiled).swapped) == 3
    assert isinstance(model.stack[0], tg.GRU)
    with torch.profiler.profile() as profile:
        after = answers(compiled, x)
    assert_same(before, after)
    assert any("tidegate" in event.name for event in profile.events())


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_is_traced_by_fx_is_swapped():
    model = torch.fx.symbolic_trace(Tagger())
    x = tokens()
    before = answers(model, x)
    assert len(tg.accelerate(model).swapped) == 3
    assert_same(before, answers(model, x))


DISTRIBUTED = """
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel
import tidegate as tg

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
mesh, x = init_device_mesh("cpu", (1,)), torch.randn(6, 2, 3)

def sharded(model):
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model

def flattened(model):
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"))

(left,) = tg.accelerate(flattened(nn.Sequential(nn.GRU(3, 4)))).left
assert "before that is made" in left.reason, left
(left,) = tg.accelerate(sharded(nn.Sequential(nn.GRU(3, 4)))).left
assert "sharded by fully_shard; call accelerate before that" in left.reason, left
for wrap in (sharded, DistributedDataParallel, flattened):
    model = nn.Sequential(nn.GRU(3, 4))
    expected = model(x)[0]
    assert tg.accelerate(model).swapped
    model = wrap(model)
    y = model(x)[0]
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
model = DistributedDataParallel(nn.Sequential(nn.GRU(3, 4)))
assert tg.accelerate(model).swapped
model(x)[0].sum().backward()
assert all(p.grad is not None for p in model.parameters())
"""


def test_models_are_accelerated_before_they_are_sharded():
    script = [sys.executable, "-W", "ignore", "-c", DISTRIBUTED]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
