"""Cells that only the engine's own tests have: what no declared cell asks of it, or not together.

``python csrc/tests/cells.py`` writes generated/cells.h beside this file, ``--check`` compares it.
Their equations in double: reference.h.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tidegate.cells.definition import Cell, cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states
from tidegate.export.cpp import write_header

_HERE = Path(__file__).parent
_cell = partial(cell, source="a test", use="In tests.")


def _gates(names: str) -> dict[str, Gate]:
    return {name: Gate("of a test") for name in names}


@_cell(
    "test_norm",
    gates=_gates("ab"),
    states={"h": State("output")},
    vectors={"gain": ("a",), "shift": ("a", "b")},
)
def norm(ops, w, u, gain, shift, h):
    """Means over a row, of products and of what means are made into."""
    a = w.a + u.a(h)
    centred = a - ops.mean(a)
    normed = centred * ops.rsqrt(ops.mean(centred * centred) + 0.25)
    b = ops.sigmoid(w.b + shift.b)
    return states(h=ops.tanh(gain.a * normed + shift.a) * b + 0.5 * h), gates(a=normed, b=b)


@_cell(
    "test_two_products",
    gates=_gates("abcd"),
    states={"h": State("output"), "c": State("another that products take")},
)
def two_products(ops, w, u, h, c):
    """Products of two states and of a computed value; those of one do not stand in a row."""
    a = ops.sigmoid(w.a + u.a(h))
    b = ops.tanh(w.b + u.b(c))
    d = ops.sigmoid(u.d(h))  # without an input product
    new = a * c + (1 - a) * b
    return states(h=d * ops.tanh(new + u.c(d * c)), c=new), gates(a=a, b=b, d=d)


@_cell(
    "test_no_products",
    gates=_gates("fxr"),
    states={"h": State("output"), "c": State("memory")},
    vectors={"v": ("f", "r")},
)
def no_products(ops, w, u, v, h, c):  # noqa: ARG001
    """Nothing but vectors; an input product is itself needed on the way back."""
    f = ops.sigmoid(w.f + v.f * c)
    r = ops.sigmoid(w.r + v.r * h)
    new = f * c + (1 - f) * w.x
    return states(h=r * ops.relu(new) + (1 - r) * w.x, c=new), gates(f=f, r=r)


@_cell(
    "test_ratios",
    gates=_gates("ifzo"),
    states={"h": State("output"), "c": State("memory"), "n": State("what divides it")},
)
def ratios(ops, w, u, h, c, n):
    """Exponentials, logarithms, quotients, the greater and the lesser."""
    i = ops.exp(ops.minimum(w.i + u.i(h), 1.5))
    f = ops.log(1 + ops.exp(w.f + u.f(h)))
    z = ops.tanh(w.z + u.z(h))
    o = ops.sigmoid(w.o + u.o(h))
    c = (f * c + i * z) / (1 + f + i)
    n = ops.maximum(0.5 * n, i)
    return states(h=o * c / (1 + n * n), c=c, n=n), gates(i=i, f=f, z=z, o=o)


@_cell(
    "test_three_levels",
    gates=_gates("rnve"),
    states={"h": State("output")},
)
def three_levels(ops, w, u, h):
    """Products of what products come to, twice; values pass over phases, there and back."""
    r = ops.sigmoid(w.r + u.r(h))
    n = ops.tanh(w.n + u.n(r * h))
    v = ops.sigmoid(w.v + u.v(n * r))
    e = ops.tanh(w.e * r + u.e(v * h))
    return states(h=(1 - r) * h + r * (v * n + (1 - v) * e) + 0.1 * ops.tanh(w.r) * w.n), gates(r=r)


@_cell(
    "test_projections",
    gates=_gates("ab"),
    states={"h": State("output", "P"), "k": State("seen by nothing", "P"), "c": State("memory")},
    projections=("one", "two"),
)
def projections(ops, w, u, one, two, h, k, c):  # noqa: ARG001
    """Two projections, of one value and of another."""
    a, b = ops.sigmoid(w.a + u.a(h)), ops.tanh(w.b + u.b(h))
    new = a * c + (1 - a) * b
    return states(h=one(ops.tanh(new)), k=two(a * new), c=new), gates(a=a, b=b)


@_cell(
    "test_noise",
    gates=_gates("ab"),
    states={"h": State("output")},
)
def noise(ops, w, u, h):
    """Noise beside the input products: one is added, one scales what gradients pass through."""
    a = ops.sigmoid(w.a + u.a(h) + 0.5 * ops.noise())
    b = ops.tanh(w.b + u.b(a * h))
    return states(h=a * h + (1 - a) * (b + 0.3 * b * ops.noise())), gates(a=a, b=b)


CELLS: list[Cell] = [
    norm,
    two_products,
    no_products,
    ratios,
    three_levels,
    projections,
    noise,
]


def main() -> int:
    """Write the header, or compare it with ``--check``; 0 if all is well."""
    path = _HERE / "generated/cells.h"
    text = write_header(CELLS, "`python csrc/tests/cells.py`", "TestCells")
    if "--check" not in sys.argv:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        print(f"{path}: not what cells.py says; run python csrc/tests/cells.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
