"""State dicts of torch as people have them: other names, shared tensors, parts of weights."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.cli import main
from tidegate.errors import InputError
from tidegate.interchange import Network, read
from tidegate.interchange.layers import Dense, Embedding

torch = pytest.importorskip("torch")
from safetensors.torch import save_file, save_model  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

TOKENS = np.random.default_rng(1).integers(0, 11, (3, 6))


class Writer(nn.Module):
    """A language model: ``names`` are those of its embedding and of its last layer."""

    def __init__(
        self, names: tuple[str, str], width: int, hidden: int, bias: bool, tied: bool = False
    ) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.names = names
        setattr(self, names[0], nn.Embedding(11, width))
        self.rnn = nn.GRU(width, hidden, batch_first=True)
        setattr(self, names[1], nn.Linear(hidden, 11, bias=bias))
        if tied:
            getattr(self, names[1]).weight = getattr(self, names[0]).weight

    def forward(self, x: Any) -> Any:
        first, last = (getattr(self, name) for name in self.names)
        return last(self.rnn(first(x))[0])


def saved(module: nn.Module, path: Path) -> Path:
    save_file(module.state_dict(), path)
    return path


def check_answers_as(network: Network, module: nn.Module) -> None:
    expected = module(torch.from_numpy(TOKENS)).detach().numpy()
    np.testing.assert_allclose(network.predict(TOKENS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "width", "hidden", "bias"),
    [
        (("encoder", "decoder"), 5, 4, True),
        (("encoder", "decoder"), 4, 4, True),
        (("lookup", "out"), 5, 4, False),
        (("embed", "out"), 4, 4, False),
    ],
)
def test_an_embedding_is_told_by_its_shape_where_its_name_does_not(
    tmp_path: Path, names: tuple[str, str], width: int, hidden: int, bias: bool
) -> None:
    module = Writer(names, width, hidden, bias)
    network = read(saved(module, tmp_path / "m.safetensors"))
    assert network.notes == ()
    check_answers_as(network, module)


def test_what_two_matrices_are_is_not_guessed(tmp_path: Path) -> None:
    path = saved(Writer(("first", "second"), 4, 4, bias=False), tmp_path / "m.safetensors")
    network = read(path)
    assert not any(isinstance(layer, Embedding | Dense) for layer in network.layers)
    assert "the recurrent layers alone" in network.notes[0]


def test_a_linear_layer_that_would_fit_on_either_side_is_said(tmp_path: Path) -> None:
    module = nn.ModuleDict({"rnn": nn.GRU(4, 4), "mix": nn.Linear(4, 4)})
    network = read(saved(module, tmp_path / "m.safetensors"))
    assert network.notes == (
        "mix: taken to follow the recurrent layers, which its shape does not say",
    )


def test_shared_tensors_are_found_under_all_their_names(tmp_path: Path) -> None:
    module = Writer(("encoder", "decoder"), 4, 4, bias=True, tied=True)
    save_model(module, str(tmp_path / "m.safetensors"))
    check_answers_as(read(tmp_path / "m.safetensors"), module)


PARTED = {
    "parametrizations": lambda m: nn.utils.parametrizations.weight_norm(m, "weight_hh_l0"),
    "weight_norm": lambda m: nn.utils.weight_norm(m, "weight_hh_l0"),
    "spectral_norm": lambda m: nn.utils.spectral_norm(m, "weight_hh_l0"),
    "pruning": lambda m: prune.l1_unstructured(m, "weight_hh_l0", 0.5),
}


@pytest.mark.parametrize("kind", PARTED)
def test_a_weight_in_parts_is_refused_with_a_remedy_that_works(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(5)
    module = nn.LSTM(3, 4, batch_first=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old weight_norm says that it is old
        PARTED[kind](module)
    module.eval()
    x = torch.randn(2, 5, 3)
    expected = module(x)[0].detach().numpy()
    with pytest.raises(InputError, match="a part of which weight_hh_l0 is computed") as caught:
        read(saved(module, tmp_path / "m.safetensors"))
    remedy = re.search(r"call (torch\S+\(module, '\w+'\))", str(caught.value))
    assert remedy
    eval(remedy[1], {"torch": torch, "module": module})
    network = read(saved(module, tmp_path / "m.safetensors"))
    np.testing.assert_allclose(network.predict(x.numpy()), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("ending", "key"),
    [(ending, None) for ending in ("pt", "pth", "pth.tar", "bin", "ckpt", "pkl")]
    + [("pt", key) for key in ("state_dict", "model_state_dict", "model")],
)
def test_a_pickle_is_refused_with_a_remedy_that_works(
    tmp_path: Path, ending: str, key: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"m.{ending}"
    values = Writer(("encoder", "decoder"), 4, 4, bias=True, tied=True).state_dict()
    torch.save(values if key is None else {"epoch": 3, key: values}, path)
    with pytest.raises(InputError, match="may run code") as caught:
        read(path)
    for command in (["convert", str(path), str(tmp_path / "m.onnx")], ["generate", str(path)]):
        assert main(command) == 2
        assert str(caught.value) in capsys.readouterr().err
    program = str(caught.value).split('python -c "')[1].partition('"')[0]
    out = tmp_path / "m.safetensors"
    program = program.replace("IN.pt", str(path)).replace("OUT.safetensors", str(out))
    subprocess.run([sys.executable, "-c", program], check=True)
    assert [type(layer) for layer in read(out).layers][::2] == [Embedding, Dense]


def test_a_language_model_of_torch_writes_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = Writer(("encoder", "decoder"), 5, 4, bias=True)
    path = saved(module, tmp_path / "m.safetensors")
    command = ["generate", str(path), "--prompt", "3 7", "--length", "4", "--greedy"]
    assert main(command) == 0
    tokens = [3, 7]
    for _ in range(4):
        tokens.append(int(module(torch.tensor([tokens]))[0, -1].argmax()))
    assert capsys.readouterr().out.split() == [str(token) for token in tokens]


@pytest.mark.parametrize("command", ["predict", "info"])
def test_a_network_of_torch_where_a_model_is_expected_is_told_where_it_is_read(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(Writer(("encoder", "decoder"), 5, 4, bias=True), tmp_path / "m.safetensors")
    assert main([command, str(path), *(["-"] if command == "predict" else [])]) == 2
    assert "are read by tidegate.interchange.read" in capsys.readouterr().err
