"""A reader's own cell as data: what it declares, and its step as a list of operations.

A closed schema, as that of any part of a model file: names, a few kinds of operations, each of
which takes the results of earlier ones, and numbers.  Nothing in it is text of a program, and names
are such that they are names in a program, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, get_args

from tidegate.cells.definition import Cell, cell
from tidegate.cells.graphs import arrays
from tidegate.cells.parts import Gate, Role, State
from tidegate.equations import expr
from tidegate.equations.phases import cut
from tidegate.equations.tracing import Trace

MAX_OPERATIONS, MAX_NAMES = 300, 64
MAX_WRITTEN_OUT = 100_000
_NAME = re.compile("[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
_TEXT = 200  # characters of a meaning
_UNARY = (*expr.FUNCTIONS, "positive")  # of which activations are made
_BINARY = ("add", "sub", "mul", "div", *expr.COMPARISONS)
_KEYS = {
    *("name", "gates", "states", "vectors", "projections", "heads"),
    *("noises", "operations", "new", "watched"),
}


def stored(own: Cell) -> dict[str, Any] | None:
    """``own`` as JSON has it; None for one that is too large, or has names of other letters."""
    trace = own.trace
    number = {
        node: k
        for k, node in enumerate(expr.topological([*trace.states.values(), *trace.gates.values()]))
    }
    values = {
        "name": own.name,
        "gates": [[name, gate.meaning[:_TEXT], gate.role] for name, gate in own.gates.items()],
        "states": [[n, state.meaning[:_TEXT], state.width] for n, state in own.states.items()],
        "vectors": [[name, list(blocks)] for name, blocks in own.vectors.items()],
        "projections": list(own.projections),
        "heads": own.heads,
        "noises": len(trace.noises),
        "operations": [_operation(node, number, trace) for node in number],
        "new": [number[node] for node in trace.states.values()],
        "watched": [[name, number[node]] for name, node in trace.gates.items()],
    }
    try:
        return values if restored(values).key == own.key else None
    except ValueError:
        return None


def restored(values: Any) -> Cell:
    """The cell that ``stored`` made ``values`` of.  Raises ValueError for what is no such thing."""
    _need(isinstance(values, dict) and set(values) == _KEYS, "expected exactly the specified keys")
    gates = {n: Gate(m, r) for n, m, r in _described(values["gates"], "gates", get_args(Role))}
    states = {n: State(m, w) for n, m, w in _described(values["states"], "states", ("H", "P"))}
    vectors = {}
    for name, blocks in _pairs(values["vectors"], "vectors"):
        _need(_are_names(blocks) and set(blocks) <= {*gates, *states}, "vectors: expected gates")
        vectors[name] = tuple(blocks)
    projections = values["projections"]
    _need(_are_names(projections), "projections: expected different names")
    declared = [*vectors, *projections]
    taken = {expr.RECURRENT, "weight_ih", "bias_ih", "bias_hh"}
    _need(len(set(declared)) == len(declared), "expected parameters of different names")
    _need(not taken & set(declared), "expected parameters of names of their own")
    _need(_are_names([values["name"]]), "name: expected a name")
    _need(type(values["heads"]) is bool, "heads: expected true or false")
    noises = _whole(values["noises"], MAX_NAMES, "noises")
    nodes = _nodes(values["operations"], gates, states, vectors, tuple(projections), noises)
    new, watched = values["new"], _pairs(values["watched"], "watched")
    _need(isinstance(new, list) and len(new) == len(states), "new: expected one of each state")
    trace = Trace(
        values["name"],
        {name: nodes[_index(k, nodes)] for name, k in zip(states, new, strict=True)},
        {name: nodes[_index(k, nodes)] for name, k in watched},
        tuple(_noise(k) for k in range(noises)),
        None,
        None,
    )
    _need(all(_noise(k) in trace.inputs for k in range(noises)), "noises: expected all in use")
    blocks = [node.block for node in trace.nodes if isinstance(node, expr.Product)]
    _need(len(set(blocks)) == len(blocks), "expected each product once")
    made = _cell(values["name"], gates, states, vectors, tuple(projections), values["heads"], trace)
    made = _keyed(made, trace)
    try:
        _ = made.parameters, cut(made)  # what cannot be a cell is told now
    except (AttributeError, LookupError, TypeError, RecursionError) as e:
        raise ValueError(f"cells: expected a step that can be run, got another: {e}") from e
    return made


def _cell(name: str, gates: Any, states: Any, vectors: Any, projections: Any, heads: bool,
          trace: Trace) -> Cell:  # fmt: skip
    def equations(ops: Any, w: Any, u: Any, *others: Any) -> tuple[dict, dict]:
        drawn = {noise: ops.noise() for noise in trace.noises}
        names = (*vectors, *projections, *states)
        leaf, product = arrays(names, w, u, others, drawn)
        values: dict[expr.Expr, Any] = {}
        new = expr.evaluate(trace.states, leaf, ops, product, values)
        return new, expr.evaluate(trace.gates, leaf, ops, product, values)

    declare = cell(name, gates=gates, states=states, vectors=vectors, projections=projections,
                   heads=heads, source="", use="")  # fmt: skip
    return declare(equations)


def _keyed(made: Cell, trace: Trace) -> Cell:
    """With the graph itself, not one of the equations called anew, and with the key of that."""
    vars(made)["trace"] = trace
    object.__setattr__(made, "key", f"{made.name}@{made.digest()}")
    return made


def _operation(node: expr.Expr, number: dict[expr.Expr, int], trace: Trace) -> list[Any]:
    match node:
        case expr.Constant(value):
            return ["constant", value]
        case expr.Noise(gate):
            return ["noise", trace.noises.index(gate)]
        case expr.Input(gate):
            return ["input", gate]
        case expr.Vector(parameter, gate):
            return ["vector", parameter, gate]
        case expr.State(name):
            return ["state", name]
        case expr.Unary(op, a):
            return [op, number[a]]
        case expr.Binary(op, a, b):
            return [op, number[a], number[b]]
        case expr.Mean(a):
            return ["mean", number[a]]
        case expr.Product(parameter, gate, a):
            return ["product", parameter, gate, number[a]]
    raise TypeError(f"no operation for {node}")


def _nodes(
    operations: Any,
    gates: Any,
    states: Any,
    vectors: Any,
    projections: tuple[str, ...],
    noises: int,
) -> list[expr.Expr]:
    fits = isinstance(operations, list) and 1 <= len(operations) <= MAX_OPERATIONS
    _need(fits, f"operations: expected 1 to {MAX_OPERATIONS}")
    nodes: list[expr.Expr] = []
    sizes: dict[expr.Expr, int] = {}  # written out, without names for what is used again
    matrices = {(expr.RECURRENT, gate) for gate in gates} | {(name, "") for name in projections}
    of_vectors = {(name, gate) for name, blocks in vectors.items() for gate in blocks}
    for one in operations:
        match one:
            case ["constant", float(value)] if math.isfinite(value):
                made = expr.Constant(value)
            case ["noise", k]:
                made = expr.Noise(_noise(_whole(k, noises - 1, "noise")))
            case ["input", str(gate)] if gate in gates:
                made = expr.Input(gate)
            case ["vector", str(name), str(gate)] if (name, gate) in of_vectors:
                made = expr.Vector(name, gate)
            case ["state", str(name)] if name in states:
                made = expr.State(name)
            case ["product", str(name), str(gate), a] if (name, gate) in matrices:
                made = expr.Product(name, gate, nodes[_index(a, nodes)])
            case ["mean", a]:
                made = expr.Mean(nodes[_index(a, nodes)])
            case [str(op), a] if op in _UNARY:
                made = expr.Unary(op, nodes[_index(a, nodes)])
            case [str(op), a, b] if op in _BINARY:
                made = expr.Binary(op, nodes[_index(a, nodes)], nodes[_index(b, nodes)])
            case _:
                raise ValueError("operations: expected known ones of what is declared")
        sizes[made] = 1 + sum(sizes[operand] for operand in made.operands)
        _need(sizes[made] <= MAX_WRITTEN_OUT, "operations: expected fewer within one another")
        nodes.append(made)
    return nodes


def _noise(k: int) -> str:
    return f"noise {k}"  # as equations/tracing.py names them


def _described(values: Any, what: str, kinds: Iterable[str]) -> list[Any]:
    """Each of three: a name, a meaning, one of ``kinds``."""
    fits = isinstance(values, list) and all(isinstance(v, list) and len(v) == 3 for v in values)
    _need(fits and len(values) > 0, f"{what}: expected a name, a meaning and a kind of each")
    _need(_are_names([v[0] for v in values]), f"{what}: expected different names")
    known = tuple(kinds)
    for _, meaning, kind in values:
        printable = isinstance(meaning, str) and len(meaning) <= _TEXT and meaning.isprintable()
        _need(printable, f"{what}: expected meanings of up to {_TEXT} printable characters")
        _need(isinstance(kind, str) and kind in known, f"{what}: expected a known kind")
    return values


def _pairs(values: Any, what: str) -> list[Any]:
    fits = isinstance(values, list) and all(isinstance(v, list) and len(v) == 2 for v in values)
    _need(fits and _are_names([v[0] for v in values]), f"{what}: expected pairs of a name and more")
    return values


def _are_names(values: Any) -> bool:
    if not isinstance(values, list) or len(values) > MAX_NAMES:
        return False
    texts = all(isinstance(v, str) and len(v) <= MAX_NAMES and _NAME.fullmatch(v) for v in values)
    return texts and len(set(values)) == len(values)


def _whole(value: Any, most: int, what: str) -> int:
    _need(type(value) is int and 0 <= value <= most, f"{what}: expected a whole number in range")
    return value


def _index(value: Any, nodes: list[expr.Expr]) -> int:
    return _whole(value, len(nodes) - 1, "operations")


def _need(good: Any, expected: str) -> None:
    if not good:
        raise ValueError(f"cells: {expected}, got another value")
