"""A cell, and what is derived from its declaration: parameters, their shapes, the traced graph."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import prod
from typing import Any

from tidegate.cells.parts import Gate, Parameter, State
from tidegate.equations import adjoint as adjoints
from tidegate.equations import expr, tracing
from tidegate.equations.widths import widths

Equations = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent cell.

    ``gates`` names the blocks of H rows in the weights, in the order of torch.nn's weights.
    ``states`` names the states; the first is the output.  ``vectors`` names parameters with one
    entry per unit and the gates that have one; ``diagonals`` and ``shifts`` those of them that
    stand for recurrent weights and for biases.  ``projections`` names matrices without bias,
    [P, H].  With ``heads`` the recurrent weights are block-diagonal: of K heads each has H/K units
    and sees only these.  So a gate's block is [H, H/K]; its row h multiplies the units of the head
    of h.
    ``layer`` is the class of layers that runs the cell, and ``options`` are the arguments that
    choose it there.  ``variant_of`` names the cell that it is a variant of, made to be compared
    with: no search tries it.  ``short`` is another name for it, ``torch`` the name of torch's fused
    function of the same equations.  ``source`` says where the equations are from, ``use`` when to
    take them.  ``key`` is what files and the engine know it by: its name, and of a reader's own
    cell a digest of what it computes, too.
    """

    name: str
    layer: str
    gates: dict[str, Gate]
    states: dict[str, State]
    source: str
    use: str
    equations: Equations
    options: dict[str, str]
    vectors: dict[str, tuple[str, ...]]
    diagonals: tuple[str, ...]
    shifts: tuple[str, ...]
    projections: tuple[str, ...]
    heads: bool
    variant_of: str | None
    short: str | None
    torch: str | None
    key: str = ""

    def __post_init__(self) -> None:
        """A cell that is given no key is known by its name."""
        object.__setattr__(self, "key", self.key or self.name)

    def step(
        self, ops: Any, w: Any, u: Any, *others: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """One time step on arrays: the new states, and the watched values by name.

        ``others``: what the equations take of further parameters, then the states.
        """
        new, watched = self.equations(ops, w, u, *others)
        return tuple(new.values()), watched

    @property
    def output(self) -> str:
        """The state that is the layer's output."""
        return next(iter(self.states))

    def state_sizes(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The width of each state for these ``sizes`` by letter; the first is the output's."""
        return tuple(sizes[state.width] for state in self.states.values())

    @cached_property
    def trace(self) -> tracing.Trace:
        return tracing.trace(
            self.name, self.equations, tuple(self.gates), tuple(self.states), self.vectors,
            self.projections,
        )  # fmt: skip

    @cached_property
    def _widths(self) -> dict[expr.Expr, str]:
        return widths(self.trace, {name: s.width for name, s in self.states.items()})

    @cached_property
    def adjoint(self) -> adjoints.Adjoint:
        return adjoints.adjoint(self.trace)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter of one layer in one direction by name, in the order of torch.nn.

        Only gates with an input product have rows in weight_ih, only gates with a recurrent one
        rows in weight_hh.  Raises ValueError, with the line, for equations that do not use what is
        declared.
        """
        seen = self._widths
        reads = tuple(g for g in self.gates if g in self.trace.inputs)
        recurs = tuple(g for g in self.gates if (expr.RECURRENT, g) in self.trace.products)
        if not reads:
            raise self.trace.refusal("expected w.g of a gate, got none; read the input by it")
        self._check_use({*reads, *recurs})
        if self.heads:
            self._check_heads(recurs)
        found = {"weight_ih": Parameter("input", reads, "H", "I")}
        if recurs:
            width = seen[self.trace.products[expr.RECURRENT, recurs[0]].a]
            columns = "H/K" if self.heads else width
            found[expr.RECURRENT] = Parameter("recurrent", recurs, "H", columns)
        found["bias_ih"] = Parameter("input bias", reads, "H")
        if recurs:
            found["bias_hh"] = Parameter("recurrent bias", recurs, "H")
        for name, blocks in self.vectors.items():
            role = "recurrent" if name in self.diagonals else "bias" if name in self.shifts else ""
            found[name] = Parameter("vector", blocks, "H", stands_for=role)
        found |= {name: Parameter("projection", ("",), "P", "H") for name in self.projections}
        return found

    def _check_use(self, gates: set[str]) -> None:
        """Raise ValueError for a parameter or a gate that the equations do without."""
        nodes = self.trace.nodes
        used = {(e.parameter, e.gate) for e in nodes if isinstance(e, expr.Vector)}
        used |= {e.block for e in nodes if isinstance(e, expr.Product)}
        for name, blocks in (self.vectors | dict.fromkeys(self.projections, ("",))).items():
            for gate in blocks:
                if (name, gate) not in used:
                    is_whole = not any((name, other) in used for other in blocks)
                    idle = name if is_whole else f"{name}.{gate}"
                    raise self.trace.refusal(f"expected {idle} in its equations; leave it out")
        for gate in self.gates:
            if gate not in gates:
                raise self.trace.refusal(f"expected w.{gate} or u.{gate}; leave the gate out")

    def _check_heads(self, recurs: tuple[str, ...]) -> None:
        """Raise ValueError for heads of what cannot be cut into them."""
        if not recurs:
            raise self.trace.refusal(
                "heads: expected u.g of a gate, whose product they cut, got none; leave heads out"
            )
        product = self.trace.products[expr.RECURRENT, recurs[0]]
        if self._widths[product.a] != "H":
            raise self.trace.refusal(
                f"u.{product.gate}(v): expected v of H units, which heads cut, got the P values of "
                "a projection; leave heads out, or multiply by a state of H units",
                product,
            )
        if self.torch is not None:
            raise self.trace.refusal(
                f"heads: expected no function of torch for the same equations, got {self.torch}, "
                "whose weights have no heads; leave one of the two out"
            )

    def head_count(self, weights: Mapping[str, Any]) -> int:
        """K, from the shapes of a layer's ``weights`` by name; 1 for a cell without heads.

        Raises ValueError where the units cannot be cut so.
        """
        if not self.heads:
            return 1
        rows, columns = (int(n) for n in weights[expr.RECURRENT].shape)  # of a trace: tensors
        units, rest = divmod(rows, len(self.parameters[expr.RECURRENT].blocks))
        if rest or columns < 1 or units % columns:
            raise ValueError(
                f"{expr.RECURRENT}: expected [{len(self.parameters[expr.RECURRENT].blocks)} * H, "
                f"H/K] for K heads of {self.name}, got {[rows, columns]}; take a K that divides H"
            )
        return units // columns

    @cached_property
    def gates_of_output(self) -> tuple[str, ...]:
        """The gates whose recurrent product takes the output state as it is, in one product."""
        products = self.trace.products
        return tuple(
            g
            for g in self.gates
            if (expr.RECURRENT, g) in products
            and isinstance(taken := products[expr.RECURRENT, g].a, expr.State)
            and taken.name == self.output
        )

    @cached_property
    def direct_states(self) -> dict[str, tuple[str, ...]]:
        """For each new state the states before the step that reach it through no product."""
        found = {}
        for name, root in self.trace.states.items():
            reached: dict[expr.Expr, None] = {}
            waiting = [root]
            while waiting:
                node = waiting.pop()
                if node not in reached and not isinstance(node, expr.Product):
                    reached[node] = None
                    waiting += node.operands
            names = {node.name for node in reached if isinstance(node, expr.State)}
            found[name] = tuple(s for s in self.states if s in names)
        return found

    @property
    def seen_width(self) -> str | None:
        """The letter of what the recurrent weights see; None for a cell that has none."""
        recurrent = self.parameters.get(expr.RECURRENT)
        columns = recurrent.columns if recurrent else None
        return columns.partition("/")[0] if columns else None

    @property
    def forget_gates(self) -> tuple[str, ...]:
        """The gates that keep the state where another one writes it, so that both may be open."""
        roles = {gate.role for gate in self.gates.values()}
        both = {"keeps", "writes"} <= roles
        return tuple(g for g, gate in self.gates.items() if both and gate.role == "keeps")

    @cached_property
    def bias_of(self) -> dict[str, str]:
        """For each gate the name of its bias; of two, which are summed, the input's.

        Of a gate that is normalised it is the vector that stands for one.
        """
        of_vectors = [(n, p) for n, p in self.parameters.items() if p.stands_for == "bias"]
        biases = [*of_vectors, *((n, p) for n, p in self.parameters.items() if p.is_bias)]
        return {gate: name for name, p in reversed(biases) for gate in p.blocks}

    @property
    def noises(self) -> int:
        """How many numbers each unit is given at each step of training, standard normal ones."""
        return len(self.trace.noises)

    @property
    def is_projected(self) -> bool:
        """Whether a layer of this cell has a size P beside I and H."""
        return bool(self.projections)

    def shapes(self, sizes: Mapping[str, int], bias: bool = True) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter for these ``sizes`` by letter, biases if there are any.

        A size K is the number of heads, 1 for a cell without them; without K it is 1.  Raises
        ValueError for a K that the cell cannot have, or that does not divide H.
        """
        heads, units = sizes.get("K", 1), sizes["H"]
        if heads != 1 and not self.heads:
            raise ValueError(
                f"K: expected 1 for {self.name}, which has no heads, got {heads}; leave K out"
            )
        if heads < 1 or units % heads:
            raise ValueError(
                f"K: expected a divisor of H = {units}, got {heads}; "
                f"{divisible(units, heads, 'H', 'K')}"
            )
        kept = {n: p for n, p in self.parameters.items() if bias or not p.is_bias}
        return {name: parameter.shape(sizes) for name, parameter in kept.items()}

    def parameter_count(self, sizes: Mapping[str, int], bias: bool = True) -> int:
        """Weights of one layer in one direction."""
        return sum(prod(shape) for shape in self.shapes(sizes, bias).values())

    def digest(self) -> str:
        """Of what the cell computes and how it is laid out, whatever its function is written like.

        It stands in keys; two cells of one name with the same digits are not met.
        """
        widths = [(name, state.width) for name, state in self.states.items()]
        vectors = sorted(self.vectors.items())
        layout = tuple(self.gates), widths, vectors, self.projections, self.heads
        return sha256(f"{layout!r}\n{self.trace.text()}".encode()).hexdigest()[:12]

    def __reduce__(self) -> tuple[Any, ...]:
        """A cell is serialised as the place where it is defined."""
        place = self.equations.__module__, self.equations.__qualname__
        if "<" in place[1]:
            raise TypeError(
                f"cell {self.name}: expected one that its module names, got {'.'.join(place)}; "
                "declare it at the top of a module"
            )
        return _defined_in, (*place, self.name, self.key)

    def __copy__(self) -> Cell:
        return self

    def __deepcopy__(self, memo: Any) -> Cell:
        return self


def divisible(units: int, heads: int, units_name: str, heads_name: str) -> str:
    """The advice for ``heads`` that do not divide ``units``: either of the two that would do."""
    fewer = next(k for k in range(min(max(heads, 1), units), 0, -1) if units % k == 0)
    more = f" or {units_name} = {-(-units // heads) * heads}" if heads > 0 else ""
    return f"take {heads_name} = {fewer}{more}"


def _defined_in(module: str, place: str, name: str, key: str) -> Cell:
    """The cell that a module names.  Raises ValueError where it is not what was serialised."""
    found = getattr(importlib.import_module(module), place, None)
    if not isinstance(found, Cell) or found.key != key:
        got = "none" if found is None else "one of other equations"
        raise ValueError(
            f"cell {name}: expected in {module} the cell that was serialised, got {got}; define it "
            "there as it was, then load again"
        )
    return found


def cell(
    name: str,
    *,
    gates: dict[str, Gate],
    states: dict[str, State],
    source: str,
    use: str,
    layer: str = "Recurrent",
    options: dict[str, str] | None = None,
    vectors: dict[str, tuple[str, ...]] | None = None,
    diagonals: tuple[str, ...] = (),
    shifts: tuple[str, ...] = (),
    projections: tuple[str, ...] = (),
    heads: bool = False,
    variant_of: str | None = None,
    short: str | None = None,
    torch: str | None = None,
) -> Callable[[Equations], Cell]:
    """Make a `Cell` of the function that holds its equations."""
    return lambda equations: Cell(
        name, layer, gates, states, source, use, equations, options or {}, vectors or {},
        diagonals, shifts, projections, heads, variant_of, short, torch,
    )  # fmt: skip
