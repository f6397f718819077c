"""What equations cannot say is refused at the line of the statement, with advice that works."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import tidegate as tg
from tidegate.cells import CELLS, Cell
from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.phases import cut

FILE = "my_cell.py"
STEP = """\
import math
import numpy as np
import torch
from tidegate.equations.expr import gates, states
def step(ops, w, u, h):
    f = ops.sigmoid(w.f + u.f(h))
    n = ops.tanh(w.n + u.n(h))
    STATEMENT
    return states(h=f * h + (1 - f) * n), gates(f=f)
"""
LINE = 8
PROJECTED = {"states": {"h": State("output", "P")}, "projections": ("project",)}


def declared(source: str, **options: Any) -> Cell:
    """The cell whose function ``step`` is in ``source``, as a file of its own."""
    names: dict[str, Any] = {}
    exec(compile(source, FILE, "exec"), names)  # noqa: S102
    usual = {
        "gates": {"f": Gate("forget gate", "keeps"), "n": Gate("candidate")},
        "states": {"h": State("output")},
    }
    return cell("own", **usual | options, source="this test", use="for tests")(names["step"])


def works(good: Cell) -> None:
    """The plan and the layer are made, and the layer learns."""
    cut(good)
    sizes = {"proj_size": 2} if good.is_projected else {}
    layer = tg.Recurrent(good, 3, 5, dtype=torch.float64, **sizes)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    layer.eval()  # noise is drawn in training
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x.requires_grad_())


def refused(bad: Cell, line: int, error: type[Exception], message: str) -> None:
    """Its first use names the line: as a layer, or by the engine's plan."""
    with pytest.raises(error) as caught:
        _ = bad.parameters, cut(bad)
    told = str(caught.value)
    assert told.startswith(f"{FILE}:{line}: own: "), told
    assert re.search(message, told), told
    assert "\n" not in told


BRANCH = r"cannot branch on a value.*, or compare it; write ops.maximum\(a, b\), ops.minimum"
STATEMENTS = {
    "an if": ("n = n if f else h", "n = f * n + (1 - f) * h", TypeError, BRANCH),
    "an if of a comparison": ("if n > 0: n = f", "n = ops.maximum(n, f)", TypeError, BRANCH),
    "a comparison": ("n = (n >= 0) * n", "n = ops.maximum(n, 0)", TypeError, BRANCH),
    "an equality": ("n = h if n == 0 else n", "n = ops.minimum(n, h)", TypeError, BRANCH),
    "another inequality": ("n = n * (n != f)", "n = n * (1 - f)", TypeError, BRANCH),
    "python's max": ("n = max(n, f)", "n = ops.maximum(n, f)", TypeError, BRANCH),
    "a number of math": (
        "n = math.tanh(n)", "n = ops.tanh(n)", TypeError,
        "no number yet, as math's functions want; write it with .*ops.tanh",
    ),
    "a number of python": (
        "n = float(n) * 2", "n = n * 2", TypeError, "no number yet, .*; write it with",
    ),
    "a function of numpy": (
        "n = np.tanh(n)", "n = ops.tanh(n)", TypeError,
        "tanh: .*which only ops takes; write ops.tanh",
    ),
    "one of many arguments": (
        "n = np.where(f, n, h)", "n = f * n + (1 - f) * h", TypeError, "no number yet|where: ",
    ),
    "a root of numpy": (
        "n = n / np.sqrt(f)", "n = n / (1 / ops.rsqrt(f))", TypeError, r"write 1 / ops.rsqrt\(a\)",
    ),
    "an array of numpy": ("n = np.asarray(n)", "n = n + 0", TypeError, "no number yet"),
    "a constant array": (
        "n = n * np.ones(5)", "n = n * 1", TypeError, "or a number, got ndarray; make",
    ),
    "a tensor": ("n = n * torch.ones(5)", "n = n * 1", TypeError, "or a number, got Tensor"),
    "a function of torch": (
        "n = torch.sigmoid(n)", "n = ops.sigmoid(n)", TypeError, "sigmoid: .*write ops.sigmoid",
    ),
    "a clipped value": (
        "n = torch.clip(n, -1, 1)", "n = ops.maximum(-1, ops.minimum(n, 1))", TypeError,
        r"clip: .*write ops.maximum\(low, ops.minimum\(a, high\)\)",
    ),
    "a method": (
        "n = n.tanh()", "n = ops.tanh(n)", AttributeError, r"no .tanh; write ops.tanh\(a\)",
    ),
    "an unknown method": (
        "n = n.abs()", "n = ops.maximum(n, -n)", AttributeError, "no .abs; write it with",
    ),
    "an addition in place": (
        "n += f", "n = n + f", TypeError, "cannot change a value in place; .*as in a = a",
    ),
    "a product in place": ("h *= f", "h = h * f", TypeError, "cannot change a value in place"),
    "an entry in place": (
        "n[0] = 1", "n = n + 1", TypeError, "value in place; give the result a name",
    ),
    "a part": ("n = n * h[:, :1]", "n = n * ops.mean(h)", TypeError, "cannot take some of a value"),
    "a loop over units": (
        "n = sum(a for a in n)", "n = ops.mean(n)", TypeError, "cannot take some of a value",
    ),
    "a power": ("n = n**2", "n = n * n", TypeError, r"cannot take \*\*; write products"),
    "a matrix product": ("n = n @ f", "n = n * f", TypeError, r"cannot take @; write u.g\(v\)"),
    "a magnitude": ("n = abs(n)", "n = ops.maximum(n, -n)", TypeError, r"ops.maximum\(a, -a\)"),
    "a remainder": ("n = n % 2", "n = n / 2", TypeError, "cannot take this; write it with"),
    "a whole quotient": ("n = n // f", "n = n / f", TypeError, "cannot take this; write it with"),
    "a rounded value": ("n = round(n)", "n = n + 0", TypeError, "cannot take this"),
    "an unknown operation": (
        "n = ops.sin(n)", "n = ops.tanh(n)", AttributeError,
        "ops.sin: expected one of sigmoid, tanh, .*mean, noise, hard_sigmoid, .*; write it with",
    ),
    "noise of a value": (
        "n = ops.noise(n)", "n = n + 0.1 * ops.noise()", TypeError,
        r"ops.noise: expected no value, got 1; write a \+ b \* ops.noise\(\)",
    ),
    "noise that is never used": (
        "f * ops.noise()", "n = n * (1 + ops.noise())", ValueError,
        r"ops.noise\(\): expected its numbers in the new states; leave it out",
    ),
    "an operation of too many": (
        "n = ops.tanh(n, f)", "n = ops.tanh(n)", TypeError,
        r"ops.tanh: expected 1 value, got 2; write ops.tanh\(a\)",
    ),
    "an operation of too few": (
        "n = ops.maximum(n)", "n = ops.maximum(n, f)", TypeError,
        r"ops.maximum: expected 2 values, got 1; write ops.maximum\(a, b\)",
    ),
    "an operand that is none": (
        "n = n + 'f'", "n = n + f", TypeError, "a value of the step or a number, got str",
    ),
    "a product of nothing": (
        "n = n * u.f()", "n = n * f", TypeError, r"u.f: expected one value, got 0; write u.f\(v\)",
    ),
    "a product of a number": (
        "n = n + u.o(2)", "n = n + 2 * w.o", ValueError, "u.o.v.: expected v of H units, got one",
    ),
    "a product of a mean": (
        "n = n + u.o(ops.mean(f))", "n = n + u.o(ops.mean(f) * w.o)", ValueError,
        "u.o.v.: expected v of H units, got one value for each row; compute v from gates",
    ),
    "a product that is not called": (
        "n = n + u.n", "n = n + w.n", TypeError, r"got \w+; call it: u.g is a product",
    ),
    "an unknown gate": (
        "n = w.g * n", "n = w.f * n", AttributeError, "w.g: expected a gate, one of f, n",
    ),
    "an unknown product": (
        "n = u.g(n)", "n = n * f", AttributeError, "u.g: expected a gate, one of f, n",
    ),
    "two products of a gate": (
        "n = n * u.f(n)", "n = n * f", ValueError, "u.f: expected one product a step, got more",
    ),
}  # fmt: skip


def test_a_role_that_no_gate_has_is_refused() -> None:
    with pytest.raises(ValueError, match="role: expected keeps, writes, shows or none, got 'remem"):
        Gate("a gate", "remembers")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_statement_is_refused_at_its_line_and_the_advice_works(kind: str) -> None:
    wrong, right, error, message = STATEMENTS[kind]
    options: dict[str, Any] = {}
    if "u.o" in wrong:
        names = {"f": "forget gate", "n": "candidate", "o": "another"}
        options["gates"] = {name: Gate(meaning) for name, meaning in names.items()}
    refused(declared(STEP.replace("STATEMENT", wrong), **options), LINE, error, message)
    works(declared(STEP.replace("STATEMENT", right), **options))


def test_the_line_is_that_of_a_statement_within_a_longer_one_and_of_a_function_called() -> None:
    long = "n = (\n        n\n        + w.f**2\n    )"
    refused(declared(STEP.replace("STATEMENT", long)), LINE + 2, TypeError, "cannot take")
    helped = STEP.replace("STATEMENT", "n = squared(n)") + "def squared(a):\n    return a**2\n"
    refused(declared(helped), 11, TypeError, "cannot take")


# what is wrong with a whole function, the line, and its remedy

HEAD = "from tidegate.equations.expr import gates, states\n"
TWO = {"states": {"h": State("output"), "c": State("memory")}}
WHOLE = {
    "a return of states alone": (
        "def step(ops, w, u, h):\n    f = w.f + u.f(h)\n    return states(h=f * w.n)",
        "def step(ops, w, u, h):\n    f = w.f + u.f(h)\n    return states(h=f * w.n), gates()",
        4, r"value, got states or gates; write return states\(h=\.\.\), gates\(\)", {},
    ),
    "no return": (
        "def step(ops, w, u, h):\n    f = w.f + u.f(h)\n    n = f * w.n",
        "def step(ops, w, u, h):\n    f = w.f + u.f(h)\n    return states(h=f * w.n), gates()",
        4, "as the returned value, got NoneType; write return", {},
    ),
    "values without names": (
        "def step(ops, w, u, h):\n    f = w.f + u.f(h)\n    return f * w.n, f",
        "def step(ops, w, u, h):\n    f = w.f + u.f(h)\n    return states(h=f * w.n), gates(f=f)",
        4, "as the returned value, got Binary, Binary; write return", {},
    ),
    "a state that is not returned": (
        "def step(ops, w, u, h, c):\n    f = w.f * c\n"
        "    return states(h=f + u.n(h) + w.n), gates()",
        "def step(ops, w, u, h, c):\n    f = w.f * c\n"
        "    return states(h=f + u.n(h) + w.n, c=f), gates()",
        4, r"expected the states h, c from states\(..\), got h; return each of them", TWO,
    ),
    "a state of another name": (
        "def step(ops, w, u, h):\n    return states(y=w.f + u.f(h) + w.n), gates()",
        "def step(ops, w, u, h):\n    return states(h=w.f + u.f(h) + w.n), gates()",
        3, r"expected the states h from states\(..\), got y", {},
    ),
    "a number as a state": (
        "def step(ops, w, u, h, c):\n    f = w.f + u.f(h) * c\n"
        "    return states(h=f + w.n, c=0.5), gates()",
        "def step(ops, w, u, h, c):\n    f = w.f + u.f(h) * c\n"
        "    return states(h=f + w.n, c=0 * w.f + 0.5), gates()",
        4, r"c: expected a value of the step, got float; for a number c write 0 \* w.f", TWO,
    ),
    "a mean as a state": (
        "def step(ops, w, u, h):\n    f = w.f + u.f(h) + w.n\n    m = ops.mean(f)\n"
        "    return states(h=m), gates()",
        "def step(ops, w, u, h):\n    f = w.f + u.f(h) + w.n\n    m = ops.mean(f) + f\n"
        "    return states(h=m), gates()",
        4, "state h: expected H units, got one value for each row; add it to values", {},
    ),
    "a gate that is never used": (
        "def step(ops, w, u, h):\n    return states(h=w.f + u.f(h)), gates()",
        "def step(ops, w, u, h):\n    return states(h=w.f + u.f(h)), gates()",
        2, "expected w.n or u.n; leave the gate out", {"gates": {"f": Gate("of a test")}},
    ),
    "a vector that is never used": (
        "def step(ops, w, u, p, h):\n    return states(h=w.f + u.f(h) + w.n * p.f), gates()",
        "def step(ops, w, u, p, h):\n    return states(h=w.f + u.f(h) + w.n * p.f), gates()",
        2, "expected p.n in its equations; leave it out", {"vectors": {"p": ("f",)}},
    ),
    "no input": (
        "def step(ops, w, u, h):\n    return states(h=u.f(h) + u.n(h)), gates()",
        "def step(ops, w, u, h):\n    return states(h=u.f(h) + u.n(h) + w.n), gates()",
        2, "expected w.g of a gate, got none; read the input by it", {},
    ),
    "an argument that lacks": (
        "def step(ops, w, u, h):\n    return states(h=w.f + u.f(h) + w.n), gates()",
        "def step(ops, w, u, h, c):\n    return states(h=w.f + u.f(h) + w.n, c=c), gates()",
        2, r"function of \(ops, w, u, h, c\), got one of \(ops, w, u, h\); take all, in this", TWO,
    ),
    "a projection that is no state": (
        "def step(ops, w, u, project, h):\n    f = w.f + u.f(h) + w.n\n    p = project(f)\n"
        "    return states(h=ops.tanh(p)), gates()",
        "def step(ops, w, u, project, h):\n    f = w.f + u.f(h) + w.n\n    p = ops.tanh(f)\n"
        "    return states(h=project(p)), gates()",
        5, "expected the result of a projection as the new state of width P, got", PROJECTED,
    ),
    "a projected state elsewhere": (
        "def step(ops, w, u, project, h, c):\n    f = w.f + u.f(h) + w.n\n    p = project(f)\n"
        "    q = project(h)\n    return states(h=q, c=f), gates()",
        "def step(ops, w, u, project, h, c):\n    f = w.f + u.f(h) + w.n * c\n"
        "    return states(h=project(f), c=f), gates()",
        5, r"project\(v\): expected v of H units, got the P values",
        {**PROJECTED, "states": {"h": State("output", "P"), "c": State("memory")}},
    ),
    "two widths in a sum": (
        "def step(ops, w, u, project, h):\n    f = w.f + u.f(h)\n    f = f + h\n"
        "    return states(h=project(f * w.n)), gates()",
        "def step(ops, w, u, project, h):\n    f = w.f + u.f(h)\n    f = f + u.n(h)\n"
        "    return states(h=project(f * w.n)), gates()",
        4, "expected values of one width, got H units beside the P values", PROJECTED,
    ),
    "two widths in products": (
        "def step(ops, w, u, project, h, c):\n    f = w.f + u.f(h)\n    n = u.n(c) + w.n\n"
        "    return states(h=project(f), c=n), gates()",
        "def step(ops, w, u, project, h, c):\n    f = w.f + u.f(h)\n    n = u.n(h) * c + w.n\n"
        "    return states(h=project(f), c=n), gates()",
        4, r"u.n\(v\): expected v of the P values of a projection, got H units; all recurrent",
        {**PROJECTED, "states": {"h": State("output", "P"), "c": State("memory")}},
    ),
    "a projection beside another use of it": (
        "def step(ops, w, u, project, h):\n    f = project(u.f(h) + w.f + w.n)\n"
        "    return states(h=f * 0.5), gates()",
        "def step(ops, w, u, project, h):\n    f = (u.f(h) + w.f + w.n) * 0.5\n"
        "    return states(h=project(f)), gates()",
        4, "expected the result of a projection as the new state", PROJECTED,
    ),
    "a state of another width": (
        "def step(ops, w, u, project, h):\n    f = w.f + u.f(h) + w.n\n"
        "    return states(h=f + 1), gates()",
        "def step(ops, w, u, project, h):\n    f = w.f + u.f(h) + w.n\n"
        "    return states(h=project(f + 1)), gates()",
        4, "state h: expected the P values of a projection, got H units; project it", PROJECTED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_a_function_is_refused_at_the_line_that_is_wrong(kind: str) -> None:
    wrong, right, line, message, options = WHOLE[kind]
    error = TypeError if kind == "an argument that lacks" else ValueError
    before = {name: value for name, value in options.items() if name not in ("gates", "vectors")}
    if kind == "a vector that is never used":
        before["vectors"] = {"p": ("f", "n")}
    refused(declared(HEAD + wrong, **before), line, error, message)
    works(declared(HEAD + right, **options))


def test_symbols_are_compared_by_identity_where_no_cell_is_traced() -> None:
    trace = CELLS["gru"].trace
    assert trace.nodes[0] == trace.nodes[0]
    assert trace.nodes[0] != trace.nodes[1]
    assert trace.nodes.count(trace.nodes[3]) == 1


def test_an_error_of_the_equations_own_stays_what_it_is() -> None:
    with pytest.raises(NameError, match="nowhere"):
        assert declared(STEP.replace("STATEMENT", "n = nowhere")).parameters
