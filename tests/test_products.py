"""Products of whole matrices: the engine's against float64."""

from __future__ import annotations

import pytest
import torch
from any_cell import layer_of
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tidegate import _engine
from tidegate.nn import products
from tidegate.training.randomness import products_of

SIZES = st.integers(1, 70)
# of the sum of the terms' magnitudes: float32, 300 terms
TOLERANCE = 3e-6


@pytest.fixture
def every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torch's library were behind here."""
    monkeypatch.setattr(products, "_LEFT_BEHIND", True)


def matrix(rows: int, columns: int, transposed: bool, gap: int, seed: int) -> Tensor:
    """A view with ``gap`` numbers between its rows, or its columns."""
    generator = torch.Generator().manual_seed(seed)
    shape = (columns, rows + gap) if transposed else (rows, columns + gap)
    stored = torch.randn(shape, generator=generator)
    return stored[:, :rows].t() if transposed else stored[:, :columns]


def assert_product(out: Tensor, a: Tensor, b: Tensor, start: Tensor | float = 0.0) -> None:
    exact = start + a.double() @ b.double()
    magnitude = abs(start) + a.double().abs() @ b.double().abs()
    assert ((out.double() - exact).abs() <= TOLERANCE * magnitude).all()


@given(
    m=SIZES, n=SIZES, k=st.integers(0, 300), a_transposed=st.booleans(), b_transposed=st.booleans(),
    gap=st.integers(0, 2), isa=st.sampled_from(_engine.available_isas()), threads=st.integers(1, 3),
)  # fmt: skip
def test_products_of_any_layout_are_those_of_float64(
    m: int, n: int, k: int, a_transposed: bool, b_transposed: bool, gap: int, isa: str, threads: int
) -> None:
    a, b = matrix(m, k, a_transposed, gap, 0), matrix(k, n, b_transposed, gap, 1)
    bias, added = torch.randn(n), torch.randn(m, n)
    before = _engine.isa()
    _engine.select_isa(isa)
    try:
        for start, adds in ((None, False), (bias, False), (None, True)):
            out = added.clone() if adds else torch.full((m, n), float("nan"))
            _engine.multiply(
                a.__dlpack__(), b.__dlpack__(), out.__dlpack__(),
                None if start is None else start.__dlpack__(), adds, False, threads,
            )  # fmt: skip
            assert_product(out, a, b, added if adds else 0.0 if start is None else start)
    finally:
        _engine.select_isa(before)


def test_a_product_on_the_same_threads_is_the_same_to_the_bit() -> None:
    a, b = torch.randn(301, 530), torch.randn(530, 97)
    for threads in (1, 2, 3, 5):
        results = [torch.full((301, 97), float("nan")) for _ in range(3)]
        for out in results:
            capsules = (t.__dlpack__() for t in (a, b, out))
            _engine.multiply(*capsules, None, False, False, threads)
        assert_product(results[0], a, b)
        assert all(torch.equal(results[0], other) for other in results)


def test_a_nan_reaches_its_row_and_column_alone() -> None:
    a, b = torch.randn(40, 300), torch.randn(300, 50)
    a[3, 290] = float("nan")
    out = torch.zeros(40, 50)
    _engine.multiply(*(t.__dlpack__() for t in (a, b, out)), None, False, False, 2)
    assert out.isnan().all(dim=1).nonzero().tolist() == [[3]]
    assert out.isnan().sum() == 50


def test_shapes_that_do_not_fit_are_refused_by_name() -> None:
    def multiply(a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None) -> None:
        start = None if bias is None else bias.__dlpack__()
        capsules = (t.__dlpack__() for t in (a, b, out))
        _engine.multiply(*capsules, start, False, False, 1)

    a, b, out = torch.ones(3, 4), torch.ones(4, 5), torch.ones(3, 5)
    with pytest.raises(ValueError, match=r"b: expected \[4, 5\], got \[5, 5\]"):
        multiply(a, torch.ones(5, 5), out)
    with pytest.raises(ValueError, match=r"a: expected dense rows or dense columns"):
        multiply(torch.ones(6, 8)[::2, ::2], b, out)
    with pytest.raises(ValueError, match=r"out: expected dense rows"):
        multiply(a, b, torch.ones(5, 3).t())
    with pytest.raises(ValueError, match=r"bias: expected \[5\], got \[4\]"):
        multiply(a, b, out, torch.ones(4))


@pytest.mark.usefixtures("every_machine")
@pytest.mark.skipif(_engine.available_isas()[-1] != "avx512", reason="no AVX-512 here")
@pytest.mark.parametrize("adds", [False, True])
def test_the_engines_product_takes_what_torchs_takes(adds: bool) -> None:
    """Parameters, views of every stride, tensors that are neither rows nor columns."""
    a = torch.randn(30, 40)[::2, ::2]
    b = torch.nn.Parameter(torch.randn(20, 7))
    start, bias = torch.randn(15, 7), torch.randn(7)
    out = start.clone()
    assert products.in_engine(out)
    assert not products.in_engine(out.double())
    products.multiply(a, b, out, None if adds else bias, adds)
    assert_product(out, a, b.detach(), start if adds else bias)


@pytest.fixture(params=[True, False], ids=["engine", "torch"])
def either_product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_LEFT_BEHIND", request.param)


@pytest.mark.parametrize("cell", _engine.cells())
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.usefixtures("either_product")
def test_a_layers_gradients_are_the_same_from_either_product(cell: str, ragged: bool) -> None:
    torch.manual_seed(0)
    layer = layer_of(cell, 24, 40, bidirectional=True)
    x = torch.randn(9, 6, 24, requires_grad=True)
    weights = torch.randn(9, 6, 2 * layer.state_sizes[0])
    lengths = torch.tensor([9, 0, 3, 1, 9, 5]) if ragged else None
    leaves = [x, *layer.parameters()]
    y, _ = layer(x, lengths=lengths)
    found = torch.autograd.grad((y * weights).sum(), leaves)
    exact_layer = layer.double()
    x_exact = x.detach().double().requires_grad_()
    y_exact, _ = exact_layer(x_exact, lengths=lengths)
    exact = torch.autograd.grad((y_exact * weights).sum(), [x_exact, *exact_layer.parameters()])
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("every_machine")
@pytest.mark.skipif(not _engine.rounding_isa(), reason="no products of bfloat16 factors here")
@pytest.mark.parametrize("k", [1, 31, 64, 700])
def test_products_of_factors_that_bfloat16_holds_are_those_of_float32(k: int) -> None:
    a, b = (torch.randn(shape).bfloat16().float() for shape in ((50, k), (k, 33)))
    out = torch.full((50, 33), float("nan"))
    with products_of("bfloat16"):
        products.multiply(a, b, out)
    assert_product(out, a, b)


@pytest.mark.usefixtures("every_machine")
@pytest.mark.skipif(not _engine.rounding_isa(), reason="no products of bfloat16 factors here")
def test_products_of_other_factors_are_rounded_where_that_is_asked_for() -> None:
    a, b = torch.rand(50, 200), torch.rand(200, 33)
    exact, out = a.double() @ b.double(), torch.empty(50, 33)
    with products_of("bfloat16"):
        products.multiply(a, b, out)
    assert ((out - exact).abs() <= 2 * 2.0**-8 * exact).all()
    assert not torch.allclose(out.double(), exact, rtol=1e-5)
