"""What a cell is made of: gates and states, which it declares, and parameters, which follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["keeps", "writes", "shows", ""]


@dataclass(frozen=True)
class Gate:
    """A block of H units in the weights.

    >>> from tidegate import Gate
    >>> Gate("forget gate", "keeps").role
    'keeps'

    Parameters
    ----------
    meaning : str
        what it is called in words
    role : str, default ''
        ``keeps`` the old state, ``writes`` to it, ``shows`` it; empty for none of these.  The
        initial weights follow from it (nn/init.py)

    """

    meaning: str
    role: Role = ""

    def __post_init__(self) -> None:
        """Raise ValueError for another role, from which no initial weights would follow."""
        if self.role not in get_args(Role):
            raise ValueError(
                f"role: expected keeps, writes, shows or none, got {self.role!r:.40}; take one of "
                "these, or leave it out"
            )


@dataclass(frozen=True)
class State:
    """What a cell carries from step to step.

    >>> from tidegate import State
    >>> State("cell state").width
    'H'

    Parameters
    ----------
    meaning : str
        what it is called in words
    width : str, default 'H'
        ``H``, the layer's units, or ``P``, the values of a projection

    """

    meaning: str
    width: Literal["H", "P"] = "H"


@dataclass(frozen=True)
class Parameter:
    """A tensor of one layer in one direction.

    It stacks ``blocks`` (gates) of ``rows`` rows each; a projection is one block without a name.
    ``columns`` is None for vectors.  Sizes are letters: I input, H hidden, P projection; and H/K,
    the units of one of K heads.  A vector may stand for what it is one of in other cells: recurrent
    weights, of which it is the diagonal, or the bias of gates that are normalised before it.
    """

    role: Literal["input", "recurrent", "input bias", "recurrent bias", "vector", "projection"]
    blocks: tuple[str, ...]
    rows: str
    columns: str | None = None
    stands_for: Literal["", "recurrent", "bias"] = ""

    @property
    def is_bias(self) -> bool:
        return self.role.endswith("bias")

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape for these ``sizes`` by letter; without K there is one head."""
        rows = len(self.blocks) * sizes[self.rows]
        if self.columns is None:
            return (rows,)
        letter, _, shared = self.columns.partition("/")
        return rows, sizes[letter] // (sizes.get(shared, 1) if shared else 1)
