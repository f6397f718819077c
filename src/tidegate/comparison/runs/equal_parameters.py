"""Hidden sizes with which another cell has as many parameters."""

from __future__ import annotations

import itertools
from typing import TypeVar

from tidegate.errors import InputError, spelled
from tidegate.model.architecture import Architecture, smallest_hidden_size
from tidegate.model.encoder_decoder import EncoderDecoder

AnyArchitecture = TypeVar("AnyArchitecture", Architecture, EncoderDecoder)

_LARGEST = 2.0**14  # times the hidden sizes: one cell may grow as H, another as H * H


def with_equal_parameters(
    architecture: AnyArchitecture,
    cell: str,
    projection_size: int | None = None,
    num_heads: int = 1,
) -> AnyArchitecture:
    """``architecture`` with another cell, and hidden sizes such that its parameters are as many.

    All sizes are multiplied by the same number and rounded, each up or down, to a multiple of
    ``num_heads``: whichever comes closest.  One unit of each head more or less is all that is left
    between the two, which is within 2 % where both have 128 units or more and no heads.  Raises
    InputError for ``tie_embeddings``, where the size is the embedding's.
    """
    if architecture.tie_embeddings:
        raise InputError(
            f"expected no {spelled('tie_embeddings')} beside it, since that fixes the hidden size, "
            "got both; leave out one of them",
            option="equal_parameters",
        )
    wanted = architecture.parameter_count()
    least = smallest_hidden_size(cell, projection_size)

    def scaled(factor: float) -> list[AnyArchitecture]:
        sizes = (h * factor for h in architecture.hidden_sizes)
        counts = [int(size / num_heads) for size in sizes]
        around = [
            sorted({max(least, n) * num_heads, max(least, n + 1) * num_heads}) for n in counts
        ]
        return [
            architecture.with_layers(cell, s, projection_size, num_heads)
            for s in itertools.product(*around)
        ]

    low, high = 1 / _LARGEST, _LARGEST
    while high / low > 1 + 1e-9:  # bisection: parameters grow with the sizes
        middle = (low * high) ** 0.5
        if scaled(middle)[0].parameter_count() < wanted:
            low = middle
        else:
            high = middle
    candidates = scaled(low) + scaled(high)
    return min(candidates, key=lambda a: abs(a.parameter_count() - wanted))
