"""A torch model of someone's own with layers of tidegate goes through torch's exporter."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS, ENGINE_CELLS, flat, layer_of, state_of
from torch import Tensor, nn

import tidegate.onnx
from tidegate.errors import InputError

pytest.importorskip("onnxscript")
InferenceSession = pytest.importorskip("onnxruntime").InferenceSession

from tidegate.onnx.checking import session_of  # noqa: E402

# of torch's exporter itself
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:# The axis name:UserWarning"),
]
B, T = torch.export.Dim("B"), torch.export.Dim("T")


class Tagger(nn.Module):
    """An output at every step, and the final states, of ragged batches or whole ones."""

    def __init__(self, cell: str, **options: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.recurrent = layer_of(cell, 5, 6, batch_first=True, **options)
        width = self.recurrent.state_sizes[0] * self.recurrent.directions
        self.dense = nn.Linear(width, 3)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
        y, state = self.recurrent(self.embedding(tokens), None, lengths)
        return self.dense(y), *flat(state)


class Stateful(nn.Module):
    def __init__(self, cell: str) -> None:
        super().__init__()
        self.layer = layer_of(cell, 5, 6)

    def forward(self, x: Tensor, state: Any, lengths: Tensor) -> tuple[Tensor, ...]:
        y, final = self.layer(x, state, lengths)
        return y, *flat(final)


def exported(model: nn.Module, given: tuple[Any, ...], shapes: Any, **options: Any) -> Any:
    program = torch.onnx.export(
        model.eval(), given, dynamo=True, dynamic_shapes=shapes, verbose=False,
        custom_translation_table=tidegate.onnx.translation_table(), **options,
    )  # fmt: skip
    assert program is not None
    file = io.BytesIO()
    program.save(file)
    return session_of(file.getvalue())


def assert_same(session: Any, model: nn.Module, given: list[Tensor], call: Any) -> None:
    feed = zip((one.name for one in session.get_inputs()), given, strict=True)
    found = session.run(None, {name: tensor.numpy() for name, tensor in feed})
    with torch.no_grad():
        expected = model(*call)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)


# of both directions, depth, biases, lengths: each pair of choices with some cell
CHOICES = [
    ({}, False),
    ({"bidirectional": True, "num_layers": 2}, True),
    ({"bias": False}, True),
]


@pytest.mark.parametrize("name", CELL_KINDS)
def test_a_model_of_any_cell_answers_in_onnx_runtime_as_in_torch(name: str) -> None:
    options, ragged = CHOICES[ENGINE_CELLS.index(name) % len(CHOICES)]
    torch.manual_seed(0)
    model = Tagger(name, **options)
    tokens, lengths = torch.randint(0, 11, (3, 7)), torch.tensor([7, 0, 3])
    given = (tokens, lengths) if ragged else (tokens,)
    session = exported(model, given, ({0: B, 1: T}, {0: B}) if ragged else ({0: B, 1: T},))
    for rows, steps in ((3, 7), (1, 1), (4, 12)):
        tokens = torch.randint(0, 11, (rows, steps))
        lengths = torch.tensor([steps, 0, 1, steps // 2][:rows])
        given = [tokens, lengths] if ragged else [tokens]
        assert_same(session, model, given, given)


@pytest.mark.parametrize(("name", "opset"), [("gru", 18), ("lstm_peephole", 22), ("mgu", 22)])
def test_rows_of_length_0_keep_the_initial_state_that_was_given(name: str, opset: int) -> None:
    torch.manual_seed(0)
    model = Stateful(name)
    x, lengths = torch.randn(4, 3, 5), torch.tensor([4, 0, 2])
    state = state_of(model.layer, 3)
    of_state = tuple({1: B} for _ in flat(state)) if isinstance(state, tuple) else {1: B}
    shapes = ({0: T, 1: B}, of_state, {0: B})
    session = exported(model, (x, state, lengths), shapes, opset_version=opset)
    x, lengths = torch.randn(9, 2, 5), torch.tensor([0, 6])
    state = state_of(model.layer, 2)
    assert_same(session, model, [x, *flat(state), lengths], (x, state, lengths))


class Plain(nn.Module):
    """What somebody wrote with a layer of torch.nn."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = getattr(tidegate, kind)(5, 6, 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:Exporting a model:UserWarning")
@pytest.mark.parametrize("dynamo", [None, True, False])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_swapped_layer_is_exported_by_the_call_that_was_there(
    kind: str, dynamo: bool | None, tmp_path: Path
) -> None:
    """By each of torch's exporters, and with the time and the batch that it calls dynamic."""
    torch.manual_seed(0)
    model = Plain(kind).eval()
    how: dict[str, Any] = {} if dynamo is None else {"dynamo": dynamo}
    if dynamo is False:
        how |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "B", 1: "T"}}}
    elif dynamo:
        how["dynamic_shapes"] = ({0: B, 1: T},)
    torch.onnx.export(model, (torch.randn(3, 4, 5),), tmp_path / "m.onnx", verbose=False, **how)
    session = InferenceSession(tmp_path / "m.onnx")  # its weights may stand in a file beside it
    for rows, steps in ((3, 4), (2, 9)) if how else ((3, 4),):
        x = torch.randn(rows, steps, 5)
        assert_same_one(session, model, x)


def assert_same_one(session: Any, model: nn.Module, x: Tensor) -> None:
    (name,) = (one.name for one in session.get_inputs())
    (found,) = session.run(None, {name: x.numpy()})
    np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("case", ["lengths", "mgu"])
def test_what_the_older_exporter_writes_for_one_number_of_steps_is_said(
    case: str, tmp_path: Path
) -> None:
    model = Tagger("gru" if case == "lengths" else "mgu").eval()
    given = (torch.randint(0, 11, (3, 7)), torch.tensor([7, 0, 3]))[: 1 + (case == "lengths")]
    with pytest.warns(UserWarning, match=r"for the 7 steps .* alone; export with dynamo=True"):
        torch.onnx.export(model, given, tmp_path / "m.onnx", dynamo=False, verbose=False)
    session = session_of((tmp_path / "m.onnx").read_bytes())
    assert_same(session, model, [*given], given)


def test_an_exporter_that_was_loaded_before_tidegate_knows_its_operator() -> None:
    script = """
import torch
from torch.onnx._internal.exporter import _registration
_registration.ONNXRegistry.from_torchlib()
import tidegate
assert "tidegate::recurrence" in _registration.ONNXRegistry.from_torchlib().functions
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


def test_without_onnxscript_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tidegate.onnx.torch_export", raising=False)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"got no onnxscript; .*pip install .* onnxscript$"):
        tidegate.onnx.translation_table()


def test_the_page_s_export_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).resolve().parents[1] / "docs/onnx.md"
    (block,) = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    exec(block, names)
    x, lengths = names["x"][:4, :2], names["lengths"][:2].clamp(max=4)
    session = session_of(Path("model.onnx").read_bytes())
    (y,) = session.run(None, {"x": x.numpy(), "lengths": lengths.numpy()})
    np.testing.assert_allclose(y, names["model"](x, lengths).detach().numpy(), atol=1e-5)
