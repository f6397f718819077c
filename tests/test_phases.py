"""The plan by which the engine runs a cell, run on numpy, place by place.

It comes to what the equations come to; what has no phases is refused in words that help.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_cell import random_case

from tidegate.cells import CELLS, Cell
from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations import bptt, expr
from tidegate.equations.expr import gates, states
from tidegate.equations.phases import cut
from tidegate.equations.plan import Phase, Place, Plan

_SOURCE = Path(__file__).parents[1] / "csrc/tests/cells.py"


def _cells_of_tests() -> list[Cell]:
    spec = importlib.util.spec_from_file_location("cells_of_tests", _SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CELLS


ALL = [*CELLS.values(), *_cells_of_tests()]
BY_NAME = pytest.mark.parametrize("declared", ALL, ids=lambda c: c.name)
Values = dict[tuple[str, int], Any]


def of_block(declared: Cell, weights: dict, block: tuple[str, str]) -> np.ndarray:
    name, gate = block
    blocks = declared.parameters[name].blocks
    return np.split(weights[name], len(blocks))[blocks.index(gate)]


class Step:
    """One step of one batch by the plan: every place is an entry of ``here``."""

    def __init__(self, declared: Cell, weights: dict) -> None:
        self.declared, self.plan, self.weights = declared, cut(declared), weights

    def block(self, block: tuple[str, str]) -> np.ndarray:
        return of_block(self.declared, self.weights, block)

    def vectors(self) -> Values:
        return {("vector", k): self.block(b) for k, b in enumerate(self.plan.vectors)}

    def run(self, phase: Phase, here: Values, products: list[np.ndarray]) -> None:
        known = {}
        for node, place in phase.loads.items():
            if place.kind == "mean":
                known[node] = here["carried", place.index].mean(-1, keepdims=True)
            elif place.kind == "product":
                known[node] = products[place.index]
            else:
                known[node] = here[place.kind, place.index]
        stored = [(p, e) for p, e in phase.stores if not isinstance(e, expr.State)]
        for node in expr.topological([e for _, e in stored], set(known)):
            known[node] = _of_units(node, known)
        for place, e in stored:
            self.store(place, known[e], here)

    def store(self, place: Place, value: Any, here: Values) -> None:
        key = (place.kind, place.index)
        if place.kind == "d_state":
            key = ("after", place.index)
            value = here[key] + value if place.flag else value + np.zeros_like(here[key])
        here[key] = value

    def forward(self, x: np.ndarray, before: tuple[np.ndarray, ...], noise: np.ndarray) -> Values:
        inputs = x @ self.weights["weight_ih"].T + self.weights["bias_ih"]
        beside = np.concatenate([inputs, noise], axis=-1)
        columns = np.split(beside, len(self.plan.gates), axis=-1)
        here = self.vectors()
        here |= {("gate", k): v for k, v in enumerate(columns)}
        here |= {("before", k): v for k, v in enumerate(before)}
        for phase in self.plan.forward.phases:
            products = []
            for p in phase.products:
                slot = next(k for k, o in enumerate(self.plan.operands) if p.block in o.blocks)
                state = self.plan.operands[slot].state
                seen = here["operand", slot] if state is None else here["before", state]
                own = self.block(("bias_hh", p.gate)) if p.gate else 0.0
                products.append(seen @ self.block(p.block).T + own)
            self.run(phase, here, products)
        return here

    def backward(self, saved: Values, after: list[np.ndarray]) -> Values:
        here = self.vectors() | saved | {("after", k): d for k, d in enumerate(after)}
        for phase in self.plan.backward.phases:
            self.run(phase, here, [])
            for gate in [k for kind, k in here if kind == "d_gate"]:
                here["gate", gate] = here["d_gate", gate]  # gradients replace what was kept
            for slot in phase.then:
                operand = self.plan.operands[slot]
                handed = sum(self.gradient(b, here) @ self.block(b) for b in operand.blocks)
                if operand.state is None:
                    here["back", slot] = handed
                else:
                    key = ("after", operand.state)
                    adds = self.plan.backward.adds[slot]
                    here[key] = here[key] + handed if adds else handed
        return here

    def gradient(self, block: tuple[str, str], here: Values) -> np.ndarray:
        place = self.plan.backward.gradients[block]
        return here[place.kind, place.index]


def _of_units(node: expr.Expr, known: dict[expr.Expr, Any]) -> Any:
    """What a phase may compute unit by unit, of what it has loaded."""
    operands = [known[o] for o in node.operands]
    match node:
        case expr.Constant(value):
            return value
        case expr.Unary(op) | expr.Binary(op):
            return expr._apply(op, bptt.Operations)(*operands)
    raise AssertionError(f"a phase computes {node}, which is no work of units")


def kept_by(plan: Plan, here: Values, states_before: tuple[np.ndarray, ...]) -> Values:
    """What a step back may read: columns, further values and the states before."""
    kept = {key: v for key, v in here.items() if key[0] in ("gate", "extra")}
    assert sum(kind == "gate" for kind, _ in kept) == len(plan.gates)
    assert sum(kind == "extra" for kind, _ in kept) == plan.extra
    return kept | {("before", k): v for k, v in enumerate(states_before)}


@BY_NAME
def test_phases_come_to_the_new_states_and_all_gradients_of_the_equations(declared: Cell) -> None:
    x, before, weights = random_case(declared, steps=1)
    step, rng = Step(declared, weights), np.random.default_rng(1)
    noise = rng.standard_normal((1, len(x[0]), declared.noises * 6))
    here = step.forward(x[0], before, noise[0])
    unrolled = bptt.forward(declared, x, before, weights, noise)
    for k, exact in enumerate(unrolled.state):
        np.testing.assert_allclose(here["state", k], exact, rtol=0, atol=1e-12)

    after = [rng.standard_normal(s.shape) for s in unrolled.state]
    zeros = np.zeros_like(unrolled.y)
    d_x, d_before, d_weights = bptt.backward(declared, unrolled, weights, zeros, tuple(after))
    back = step.backward(kept_by(step.plan, here, before), after)
    for k, exact in enumerate(d_before):
        np.testing.assert_allclose(back["after", k], exact, rtol=0, atol=1e-12)
    reading = len(step.plan.gates) - declared.noises
    d_inputs = np.concatenate([back["d_gate", k] for k in range(reading)], axis=-1)
    np.testing.assert_allclose(d_inputs @ weights["weight_ih"], d_x[0], rtol=0, atol=1e-12)
    for k, block in enumerate(step.plan.vectors):
        exact = of_block(declared, d_weights, block)
        np.testing.assert_allclose(back["d_vector", k].sum(0), exact, rtol=0, atol=1e-12)
    for k, operand in enumerate(step.plan.operands):
        seen = before[operand.state] if operand.state is not None else back["operand", k]
        for block in operand.blocks:
            exact = of_block(declared, d_weights, block)
            found = step.gradient(block, back).T @ seen
            np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)


def test_one_phase_is_enough_where_products_take_the_states() -> None:
    single = {name for name, declared in CELLS.items() if len(cut(declared).forward.phases) == 1}
    cut_by_a_product = {"gru_reset_before", "gru_decay", "mgu", "lstm_projected"}
    assert single == set(CELLS) - cut_by_a_product - {"lstm_norm", "gru_norm"}


def test_the_sum_of_a_gates_products_is_kept_as_one_value() -> None:
    plan = cut(CELLS["lstm_niaf"])  # whose candidate is such a sum
    assert (len(plan.gates), plan.extra) == (4, 1)  # and tanh(c), as of the LSTM


def _declare(equations: Any, **options: Any) -> Cell:
    names = options.pop("names", "a")
    given = {"states": {"h": State("output")}, "source": "a test", "use": "In tests."} | options
    return cell("odd", gates={g: Gate("of a test") for g in names}, **given)(equations)


PROJECTED = {"states": {"h": State("output", "P")}, "projections": ("one",)}


@pytest.mark.parametrize(
    ("equations", "options", "message"),
    [
        (
            lambda ops, w, u, one, h: (states(h=ops.tanh(one(w.a + u.a(h)))), gates()),
            PROJECTED,
            "h: expected the result of a projection as the new state of width P, got another; "
            "compute with H units first and project what comes of it",
        ),
        (
            lambda ops, w, u, one, h: (states(h=one(ops.tanh(w.a + u.a(h) + h))), gates()),
            PROJECTED,
            "expected a state of width P in recurrent products alone, got it elsewhere; "
            "keep a state of H units for that",
        ),
        (
            lambda ops, w, u, one, h: (states(h=ops.tanh(w.a + u.a(h) + one(h))), gates()),
            {"projections": ("one",)},
            "one: expected its result to be a new state of width P and nothing else; compute "
            "with H units and project last",
        ),
        (
            lambda ops, w, u, h: (
                states(h=sum((ops.tanh(getattr(w, g) + getattr(u, g)(h * (k + 1)))
                              for k, g in enumerate("abcdefghi")), start=0 * h)),
                gates(),
            ),
            {"names": "abcdefghi"},
            "expected at most 8 operands of products, 16 products and 16 vectors, got 9, 9 and 0; "
            "make it of fewer",
        ),
    ],
)  # fmt: skip
def test_what_has_no_phases_is_refused_with_its_line_and_a_way_out(
    equations: Any, options: dict[str, Any], message: str
) -> None:
    declared = _declare(equations, **options)
    line = equations.__code__.co_firstlineno
    with pytest.raises(ValueError, match="odd: ") as refused:
        cut(declared)
    assert str(refused.value) == f"{__file__}:{line}: odd: {message}"
