"""The plan by which the compiled engine runs a cell: what `phases.cut` makes of its equations.

Letters: N tokens, H units, P projected units, G gates with an input product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tidegate.equations.expr import RECURRENT, Expr, Product

_WIDEST_TILE = 4  # products side by side: csrc/simd/affine.h
Block = tuple[str, str]  # a parameter's name and the gate whose rows it is


class Place(NamedTuple):
    """Where a phase finds a value or leaves one: the ``index``-th of a kind.

    Forward it loads ``gate`` (an input product, or what replaced it), ``before`` (a state),
    ``product`` (of this phase), ``vector``, ``carried`` and ``mean`` (of what is carried), and
    stores ``gate``, ``extra``, ``carried``, ``operand`` and ``state``.  Back it loads ``gate``,
    ``extra``, ``before``, ``vector``, ``after`` (a state's gradient), ``back`` (an operand's),
    ``carried`` and ``mean``, and stores ``d_gate``, ``d_product``, ``d_projected``, ``d_state``,
    ``d_vector``, ``carried`` and ``operand``.

    ``flag``: of a ``gate``, whether a later phase loads it, so that inference stores it too; of a
    ``d_state``, whether it is added to what stands there.
    """

    kind: str
    index: int
    flag: bool = False


@dataclass(frozen=True)
class Operand:
    """What the products of ``blocks`` take: the state of that index, or a computed value."""

    value: Expr
    state: int | None
    blocks: tuple[Block, ...]

    @property
    def is_masked(self) -> bool:
        """Whether recurrent dropout reaches it; projections are left alone."""
        return self.blocks[0][0] == RECURRENT


@dataclass(frozen=True)
class Phase:
    """What is computed unit by unit: ``stores``, which follow from ``loads``.

    ``level`` counts the products of computed values, and means, below it; ``width`` says whether
    its units are H or P.  ``products`` are made before it; the gradients of the operands ``then``
    after it, on the way back.
    """

    level: int
    width: str
    loads: dict[Expr, Place]
    stores: tuple[tuple[Place, Expr], ...]
    products: tuple[Product, ...] = ()
    then: tuple[int, ...] = ()


@dataclass(frozen=True)
class Forward:
    """The phases of a step; ``carried`` values of H stand in workspace from one to a later one.

    ``in_place``: whether each new state may replace the old one unit by unit.
    """

    phases: tuple[Phase, ...]
    carried: int
    in_place: tuple[bool, ...]


@dataclass(frozen=True)
class Backward:
    """The phases of a step back, the first being that of the last phase forward.

    ``gradients`` says where each block's product has its gradient: ``d_gate`` its column among the
    gates' gradients, ``d_product`` a column of H of its own, of which there are ``separate``, or
    ``d_projected``, a column of P after those.  ``adds``: whether the gradient of each operand that
    is a state is added to what stands there.
    """

    phases: tuple[Phase, ...]
    carried: int
    gradients: dict[Block, Place]
    separate: int
    adds: tuple[bool, ...]


@dataclass(frozen=True)
class Plan:
    """How the engine runs a cell.

    The input products of ``gates``, and after them the noises, stand in an array [N, G*H].  Values
    that the pass back needs replace them, and later their gradients replace those; ``extra``
    further ones stand in an array [N, extra*H].  ``vectors`` are all vectors of H, parameter after
    parameter.
    """

    gates: tuple[str, ...]
    extra: int
    operands: tuple[Operand, ...]
    vectors: tuple[Block, ...]
    forward: Forward
    backward: Backward

    @property
    def products(self) -> list[tuple[Block, int, int]]:
        """Every product's block, phase and operand; those of one phase and operand side by side."""
        slots = {b: k for k, o in enumerate(self.operands) for b in o.blocks}
        made = [
            (p.block, f, slots[p.block])
            for f, phase in enumerate(self.forward.phases)
            for p in phase.products
        ]
        return sorted(made, key=lambda item: item[1:])

    @property
    def is_fused(self) -> bool:
        """Whether the first phase goes on with each register tile of its products.

        They must take one operand and fit into a tile.  Else products are made for all units first,
        which costs a pass over memory.  But a fused phase takes long to compile, the more so the
        fewer products it has: a single product is fused only where it is all of the step.
        """
        first = self.forward.phases[0]
        taken = {p.a for p in first.products}
        if len(taken) != 1 or first.width != "H" or len(first.products) > _WIDEST_TILE:
            return False
        return len(self.forward.phases) == 1 or len(first.products) > 1
