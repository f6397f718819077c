"""Intervals of shares: right for few examples and for shares of 0 and 1."""

from __future__ import annotations

import pytest
from scipy import stats

from tidegate.intervals import wilson, with_interval


@pytest.mark.parametrize(("right", "count"), [(1, 1), (0, 1), (17, 17), (16, 17), (450, 500)])
def test_the_interval_is_wilsons(right: int, count: int) -> None:
    expected = stats.binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert wilson(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_few_examples_are_called_too_few() -> None:
    assert with_interval(1.0, 1, "texts") == (
        "1 (1 text: too few to tell; 95 % interval 0.21 to 1)"
    )
    assert with_interval(1.0, 17, "texts") == (
        "1 (17 texts: too few to tell; 95 % interval 0.82 to 1)"
    )
    assert with_interval(0.9, 200, "sequences") == "0.9 (200 sequences: 95 % interval 0.85 to 0.93)"


@pytest.mark.parametrize(("share", "count"), [(0.5, 0), (1.5, 3), (float("nan"), 3)])
def test_what_is_no_share_is_refused(share: float, count: int) -> None:
    with pytest.raises(ValueError, match="expected a share of 1 example or more"):
        wilson(share, count)
