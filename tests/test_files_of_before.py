"""Model files written before cells declared their parameters still load and answer alike."""

from __future__ import annotations

import pytest
from installed import ANSWERS, a_file_answers


@pytest.mark.parametrize("cell", ANSWERS)
def test_a_file_of_before_loads_and_answers_as_it_did(cell: str) -> None:
    a_file_answers(cell)
