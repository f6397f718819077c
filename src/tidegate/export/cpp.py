"""csrc/generated/cells.h: every cell's phases and tables for the compiled engine.

``python -m tidegate.export.cpp csrc/generated/cells.h`` writes the header, ``--check`` compares it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tidegate.cells import CELLS, Cell
from tidegate.cells.parts import Parameter
from tidegate.equations import expr
from tidegate.equations.phases import cut
from tidegate.equations.plan import Phase, Place, Plan

_LOADS = {
    "gate": "at.gate({0})",
    "extra": "at.extra({0})",
    "carried": "at.carried({0})",
    "before": "at.template before<{0}>()",
    "product": "at.product({0})",
    "vector": "at.vector({0})",
    "mean": "at.mean({0})",
    "after": "at.template after<{0}>()",
    "back": "at.operand_gradient({0})",
}
_ROLES = {
    "input": "kInput",
    "recurrent": "kRecurrent",
    "input bias": "kInputBias",
    "recurrent bias": "kRecurrentBias",
    "vector": "kVector",
    "projection": "kProjection",
}
_PLACES = {"d_gate": "kGates", "d_product": "kProducts", "d_projected": "kProjected"}


class _Writer:
    """Writes nodes as C++; ``known`` maps the nodes that stand in a variable to its name."""

    def __init__(self, known: dict[expr.Expr, str], roots: Iterable[expr.Expr]) -> None:
        self.known = dict(known)
        self.lines: list[str] = []
        roots = list(roots)
        reached = [n for n in expr.topological(roots) if n not in known]
        self.uses = Counter(o for n in reached for o in n.operands) + Counter(roots)
        for node in expr.topological(roots, self.known):
            shared = self.uses[node] > 1 or isinstance(node, expr.Unary)
            if shared and not isinstance(node, expr.Constant):
                text = self.text(node)
                name = f"v{len(self.lines)}"
                self.lines.append(f"const Vec {name} = {text};")
                self.known[node] = name

    def text(self, node: expr.Expr) -> str:
        if node in self.known:
            return self.known[node]
        match node:
            case expr.Constant(value):
                return f"broadcast({float(value)!r}f)"
            case expr.Unary(op, a):
                return f"{op}({self.text(a)})"
            case expr.Binary("mul", expr.Constant(-1.0), b):
                return f"-({self.text(b)})"
            case expr.Binary("add", a, b) if self._fuses(b):
                return self._fused(b, a)
            case expr.Binary("add", a, b) if self._fuses(a):
                return self._fused(a, b)
            case expr.Binary("sub", a, b) if self._fuses(b):
                return self._fused(b, a, sign="-")
            case expr.Binary("maximum" | "minimum" as op, a, b):
                return f"{op}({self.text(a)}, {self.text(b)})"
            case expr.Binary(op, a, b):
                return f"({self.text(a)} {_SIGNS[op]} {self.text(b)})"
        raise TypeError(f"cannot write {node}")

    def _fuses(self, node: expr.Expr) -> bool:
        return node not in self.known and isinstance(node, expr.Binary) and node.op == "mul"

    def _fused(self, product: expr.Expr, addend: expr.Expr, sign: str = "") -> str:
        a, b = product.operands
        if isinstance(a, expr.Constant) and a.value == -1.0:
            return f"({self.text(addend)} {'+' if sign else '-'} {self.text(b)})"
        return f"multiply_add({sign}{self.text(a)}, {self.text(b)}, {self.text(addend)})"


_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def _store(place: Place, value: str, node: expr.Expr, of_gradients: bool) -> str:
    kind, k, flag = place
    match kind:
        case "state":
            return f"at.template put_state<{k}>({value});"
        case "d_state":
            return f"at.template put_d_state<{k}, {_bool(flag)}>({value});"
        case "operand" if of_gradients and isinstance(node, expr.State):
            return f"at.template put_state_operand<{k}>();"
        case "operand":
            return f"at.template put_operand<{k}>({value});"
    return f"at.put_{kind}({k}, {value});"


def _write_phase(phase: Phase, of_gradients: bool) -> list[str]:
    """All loads, then what is computed, then all stores: both may be the same memory."""
    known: dict[expr.Expr, str] = {}
    lines = []
    for k, (node, place) in enumerate(phase.loads.items()):
        known[node] = f"x{k}"
        lines.append(f"const Vec x{k} = {_LOADS[place.kind].format(place.index)};")
    stored = [e for p, e in phase.stores if not (p.kind == "operand" and isinstance(e, expr.State))]
    writer = _Writer(known, stored)
    values = {e: writer.text(e) for e in stored}
    lines += writer.lines
    kept, others = [], []  # in training alone; always
    for place, e in phase.stores:
        is_kept = place.kind == "extra" or (place.kind == "gate" and not place.flag)
        (kept if is_kept else others).append(_store(place, values.get(e, ""), e, of_gradients))
    return lines + others + (["if (at.is_training()) {", *kept, "}"] if kept else [])


def _write_phases(name: str, phases: Sequence[Phase], of_gradients: bool) -> list[str]:
    lines = [
        "template <int Phase, class At>",
        f"TIDEGATE_INLINE static void {name}(const At& at) {{",
    ]
    for k, phase in enumerate(phases):
        lines += [f"if constexpr (Phase == {k}) {{", *_write_phase(phase, of_gradients), "}"]
    return [*lines, "}"]


def _phases(phases: Sequence[Phase], first_is_fused: bool) -> list[list[str]]:
    rows = []
    for k, phase in enumerate(phases):
        means = {p.index for p in phase.loads.values() if p.kind == "mean"}
        sides = [_bool(phase.width == "P"), _bool(k == 0 and first_is_fused)]
        rows.append([*sides, f"{sum(1 << k for k in means)}u"])
    return rows


def _table(kind: str, name: str, rows: list[list[str]]) -> str:
    """An array, of one empty element where there is none: C++ has no empty ones."""
    text = ", ".join(f"{{{', '.join(row)}}}" for row in rows) or "{}"
    return f"static constexpr {kind} {name}[] = {{{text}}};"


def write_cell(cell: Cell, struct: str) -> str:
    """The struct of a cell: its tables, and its phases on vectors of 16, 8 or 4 units."""
    plan = cut(cell)
    forward, backward = plan.forward, plan.backward
    parameters = [
        [f'"{name}"', f"Role::{_ROLES[p.role]}", str(_blocks(cell, p))]
        for name, p in cell.parameters.items()
    ]
    states = [
        [f'"{name}"', _bool(state.width == "P"), _bool(in_place)]
        for (name, state), in_place in zip(cell.states.items(), forward.in_place, strict=True)
    ]
    return "\n".join(
        [
            f"struct {struct} {{",
            _table("Parameter", "kParameters", parameters),
            _table("CellState", "kStates", states),
            _table("CellOperand", "kOperands", _operands(plan)),
            _table("CellProduct", "kProducts", _products(cell, plan)),
            _table("CellPhase", "kForward", _phases(forward.phases, plan.is_fused)),
            _table("CellPhase", "kBackward", _phases(backward.phases, False)),
            f'static constexpr Cell kCell{{"{cell.key}", kParameters, {len(parameters)},',
            f"kStates, {len(states)}, kOperands, {len(plan.operands)},",
            f"kProducts, {len(plan.products)}, kForward, {len(forward.phases)},",
            f"kBackward, {len(backward.phases)}, {len(plan.gates)}, {plan.extra},",
            f"{backward.separate}, {len(plan.vectors)}, {forward.carried}, {backward.carried}}};",
            *_write_phases("forward", forward.phases, of_gradients=False),
            *_write_phases("backward", backward.phases, of_gradients=True),
            "};",
        ]
    )


def _blocks(cell: Cell, parameter: Parameter) -> int:
    """Those of a parameter: to the engine noises are gates whose input weights are zeros."""
    noises = len(cell.trace.noises) if parameter.role.startswith("input") else 0
    return len(parameter.blocks) + noises


def _operands(plan: Plan) -> list[list[str]]:
    made = {k: f for f, phase in enumerate(plan.backward.phases) for k in phase.then}
    return [
        [
            str(-1 if o.state is None else o.state),
            _bool(o.is_masked),
            str(len(o.blocks)),
            str(made[k]),
            _bool(plan.backward.adds[k]),
        ]
        for k, o in enumerate(plan.operands)
    ]


def _products(cell: Cell, plan: Plan) -> list[list[str]]:
    rows = []
    for block, phase, operand in plan.products:
        parameter, gate = block
        projects = cell.parameters[parameter].role == "projection"
        if projects:
            number = list(cell.projections).index(parameter)
        else:
            number = cell.parameters[parameter].blocks.index(gate)
        place = plan.backward.gradients[block]
        rank = plan.operands[operand].blocks.index(block)
        numbers = [str(phase), str(operand), _bool(projects), str(number), str(rank)]
        rows.append([*numbers, f"Gradient::{_PLACES[place.kind]}", str(place.index)])
    return rows


def _bool(value: bool) -> str:
    return str(value).lower()


def class_name(cell: Cell) -> str:
    """gru_reset_before -> GruResetBefore."""
    return "".join(part.capitalize() for part in cell.name.split("_"))


def _described(cell: Cell) -> str:
    """The struct, below what a reader of the header wants to know."""
    lines = [
        f"// {cell.source}",
        f"// gates: {', '.join(cell.gates)}; states: {', '.join(cell.states)}",
    ]
    return "\n".join([*lines, write_cell(cell, class_name(cell))])


def write_library(cell: Cell) -> str:
    """The source of a library that has the time loops of one cell, for the engine to load."""
    return f"""\
#include "engine/kernels.h"
#include "simd/backward.h"
#include "simd/math.h"

namespace tidegate::TIDEGATE_ISA {{
{write_cell(cell, "Own")}
static constexpr CellKernels kKernels{{&Own::kCell, forward_sweep<Own>, backward_sweep<Own>}};
}}

extern "C" __attribute__((visibility("default"))) const tidegate::CellKernels* tidegate_cell() {{
    return &tidegate::TIDEGATE_ISA::kKernels;
}}
"""


def write_header(cells: Iterable[Cell], origin: str, list_name: str) -> str:
    """The whole header, in clang-format's layout; ``origin``: how it is made, and of what."""
    cells = list(cells)
    text = "\n".join(
        [
            f"// Generated by {origin}; do not edit.",
            "//",
            "// What a cell computes unit by unit in each phase of a step, there and back, and the",
            "// tables by which the engine runs the rest (engine/cell.h).",
            "#pragma once",
            "",
            '#include "engine/cell.h"',
            '#include "simd/math.h"',
            "",
            "namespace tidegate::TIDEGATE_ISA {",
            "",
            "\n\n".join(map(_described, cells)),
            "",
            f"using {list_name} = CellList<{', '.join(map(class_name, cells))}>;",
            "",
            "}  // namespace tidegate::TIDEGATE_ISA",
            "",
        ]
    )
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    formatter = shutil.which("clang-format", path=beside_python)
    if formatter is None:
        raise FileNotFoundError("expected clang-format, found none; install the extra 'dev'")
    command = [formatter, "--assume-filename=csrc/generated/cells.h"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def main(arguments: list[str]) -> int:
    """Write the header, or compare it with ``--check``; 0 if all is well."""
    check = "--check" in arguments
    paths = [a for a in arguments if not a.startswith("--")]
    path = Path(paths[0]) if paths else Path("csrc/generated/cells.h")
    origin = "`python -m tidegate.export.cpp` from src/tidegate/cells"
    text = write_header(CELLS.values(), origin, "EngineCells")
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return 0
    if path.read_text(encoding="utf-8") == text:
        return 0
    print(f"{path}: not what the cells say; run python -m tidegate.export.cpp", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
