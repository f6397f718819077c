"""Hidden sizes with which cells have as many parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_files import SERIES, TEXT

from tidegate.cells import CELLS
from tidegate.comparison.runs.equal_parameters import with_equal_parameters
from tidegate.errors import InputError
from tidegate.model.architecture import smallest_hidden_size

cells = st.sampled_from(sorted(CELLS))
architectures = st.builds(
    replace,
    st.sampled_from([TEXT, SERIES, replace(TEXT, bidirectional=False, batch_norm=True)]),
    cell=cells,
    hidden_sizes=st.lists(st.integers(128, 400), min_size=1, max_size=3).map(tuple),
    output_size=st.integers(1, 300),
)


@given(architectures, cells)
def test_parameters_are_equal_within_two_percent(architecture, cell):
    other = with_equal_parameters(architecture, cell)
    wanted = architecture.parameter_count()
    if min(other.hidden_sizes) >= 128:
        assert abs(other.parameter_count() - wanted) <= 0.02 * wanted
    assert replace(other, cell=architecture.cell, hidden_sizes=architecture.hidden_sizes) == (
        architecture
    )


@given(architectures)
def test_the_same_cell_keeps_its_sizes(architecture):
    assert with_equal_parameters(architecture, architecture.cell) == architecture


@given(st.integers(2, 400), cells, cells)
def test_no_other_size_of_one_layer_comes_closer(size, cell, other):
    architecture = replace(SERIES, cell=cell, hidden_sizes=(size,))
    wanted = architecture.parameter_count()

    def off(h):
        return abs(replace(architecture, cell=other, hidden_sizes=(h,)).parameter_count() - wanted)

    least = smallest_hidden_size(other, None)
    (found,) = with_equal_parameters(architecture, other).hidden_sizes
    assert off(found) <= min(off(h) for h in (max(least, found - 1), found + 1))


def test_a_projection_that_is_given_stays() -> None:
    architecture = replace(SERIES, cell="lstm", hidden_sizes=(100,))
    other = with_equal_parameters(architecture, "lstm_projected", projection_size=70)
    assert other.projection_size == 70
    wanted = architecture.parameter_count()
    assert abs(other.parameter_count() - wanted) <= 0.02 * wanted


def test_tied_sizes_cannot_be_scaled():
    tied = replace(
        TEXT,
        bidirectional=False,
        readout="every",
        output_size=5,
        embedding_size=3,
        tie_embeddings=True,
    )
    with pytest.raises(InputError, match="expected no tie_embeddings"):
        with_equal_parameters(tied, "lstm")
