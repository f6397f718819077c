"""What training keeps in memory, and that calls of any shape keep nothing."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS, layer_of
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from tidegate import _engine
from tidegate.engine import EngineLayer

# docs/design.md: | `cells` | ... | 6 H + P |, the floats per token, H and P
PAGE = (Path(__file__).parents[1] / "docs/design.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|.*\| (\d+) H( \+ P)? \|$", PAGE, re.MULTILINE)
SAVED = {
    cell: (int(units), bool(projected))
    for cells, units, projected in ROWS
    for cell in re.findall(r"`(\w+)`", cells)
}


def saved_bytes(run) -> int:
    """What autograd holds after ``run``, each storage once."""
    storages: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        kept = run()
    del kept
    return sum(storages.values())


@pytest.mark.parametrize("lengths", [None, [5, 9, 0, 1]], ids=["rectangular", "ragged"])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_training_saves_the_floats_that_the_design_page_states(cell: str, lengths) -> None:
    T, B, I, H = 9, 4, 3, 20  # noqa: E741, N806
    layer = layer_of(cell, I, H)
    x = torch.randn(T, B, I, requires_grad=True)
    # biases are held, not saved: the backward pass does not read them
    declared = layer.cell.parameters
    weights = (
        p for n, p in layer.named_parameters() if not declared[n.removesuffix("_l0")].is_bias
    )
    given = sum(w.nbytes for w in weights) + x.nbytes
    units, projected = SAVED[cell]
    width = units * H + projected * layer.state_sizes[0]
    initial = B * sum(set(layer.state_sizes))  # zeros, the same for h and c of one width
    if layer.cell.seen_width is None and len(layer.state_sizes) == 1:
        initial = 0  # which autograd does not see: a copy stands beside, as no product reads it
    small = 8 * (1 + (B if lengths else 0))  # the number of threads and the lengths, int64
    expected = 4 * (T * B * width + initial) + small
    assert saved_bytes(lambda: layer(x, lengths=lengths)) - given == expected


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_a_checkpointed_layer_saves_its_input_alone_and_has_the_same_gradients(cell: str) -> None:
    layer = layer_of(cell, 3, 20, num_layers=2, bidirectional=True)
    x, lengths = torch.randn(9, 4, 3, requires_grad=True), torch.tensor([5, 9, 0, 1])

    def run() -> torch.Tensor:
        return checkpoint(layer, x, None, lengths, use_reentrant=False)[0]

    def gradients(y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])

    assert saved_bytes(run) == x.nbytes + lengths.nbytes
    plain = gradients(layer(x, lengths=lengths)[0])
    torch.testing.assert_close(gradients(run()), plain, rtol=1e-5, atol=1e-6)


def resident_bytes() -> int:
    gc.collect()
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux' /proc")
def test_resident_memory_is_flat_over_calls_of_any_shape() -> None:
    random = np.random.default_rng(0)
    sizes = [(cell, H) for cell in CELL_KINDS for H in (2, 5, 16, 23)]
    layers = [layer_of(cell, 4, H) for cell, H in sizes]
    engines = []
    for layer in layers:
        names = layer.cell.parameters
        weights = {n: getattr(layer, f"{n}_l0").detach().numpy() for n in names}
        engines.append(EngineLayer(layer.cell.name, weights))

    def call() -> None:
        T, B = random.integers(1, 30, 2)  # noqa: N806
        k = random.integers(len(layers))
        lengths = random.integers(0, T + 1, B) if random.random() < 0.5 else None
        kind = random.integers(4)
        if kind == 0:
            engines[k].forward(np.ones((T, B, 4), np.float32), None, lengths)
        elif kind == 1:
            with torch.no_grad():
                layers[k](torch.ones(T, B, 4), lengths=lengths)
        else:
            layers[k](torch.ones(T, B, 4), lengths=lengths)[0].sum().backward()

    for _ in range(2000):
        call()
    before = resident_bytes()
    for _ in range(18_000):
        call()
    # twice the drift of glibc's allocator; 250 bytes kept of each call would be more
    assert resident_bytes() - before < 4_000_000


def test_freed_memory_is_used_again_and_what_is_kept_stays_within_its_bound() -> None:
    array = torch.from_dlpack(_engine.empty([1 << 22]))
    address = array.data_ptr()
    del array
    assert torch.from_dlpack(_engine.empty([1 << 22])).data_ptr() == address
    sizes = np.random.default_rng(0).integers(1 << 20, 1 << 23, 60)
    arrays = [torch.from_dlpack(_engine.empty([int(size)])) for size in sizes]
    assert sum(a.nbytes for a in arrays) > 2 * _engine.most_kept_bytes
    del arrays
    assert 0 < _engine.kept_bytes() <= _engine.most_kept_bytes
