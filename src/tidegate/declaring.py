"""``tidegate.cell``: the declaration of a reader's own cell, in a module or a notebook.

Its function is one step in the language of `tidegate.equations.expr`, as those of
``tidegate.cells`` are.  Mistakes are told here, before any layer is made.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, TypeVar, get_args

from tidegate.cells import Cell, add_own
from tidegate.cells.definition import Equations
from tidegate.cells.definition import cell as declared
from tidegate.cells.parts import Gate, Role, State
from tidegate.equations.phases import cut
from tidegate.equations.refusal import first_line, refusal
from tidegate.errors import InputError, shown

Kind = TypeVar("Kind", Gate, State)
Names = str | Iterable[str]

_TAKEN = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # as torch names parameters


def cell(
    *,
    gates: Names | Mapping[str, Gate | Role],
    state: str | None = None,
    states: Names | Mapping[str, State] | None = None,
    vectors: Mapping[str, Names] | None = None,
    projections: Names = (),
    heads: bool = False,
    source: str = "",
    use: str = "",
) -> Callable[[Equations], Cell]:
    """Make a cell of the function below, which is one step, and which the cell is named after.

    The function takes ``ops``, the input products ``w``, the recurrent products ``u``, what
    ``vectors`` and ``projections`` declare, and the states before the step.  It returns
    ``states(...)``, the new ones, and ``gates(...)``, values worth watching.  What it may write is
    said in ``tidegate.equations.expr``.

    >>> import torch
    >>> from tidegate import Recurrent, cell, gates, states
    >>> @cell(gates="z n", state="h")
    ... def mine(ops, w, u, h):
    ...     z = ops.sigmoid(w.z + u.z(h))
    ...     n = ops.tanh(w.n + u.n(h))
    ...     return states(h=z * h + (1 - z) * n), gates(z=z, n=n)
    >>> layer = Recurrent(mine, input_size=5, hidden_size=7)
    >>> [name for name, _ in layer.named_parameters()]
    ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']

    At the first use on the CPU the system's C++ compiler builds its kernels, which are kept on disk
    (docs/own-cells.md); without a compiler it runs step by step, and says so.

    Raises ValueError, TypeError or AttributeError, with the line, for what cannot be a cell.

    Parameters
    ----------
    gates : str, names, or dict
        the blocks of H rows in the weights, in their order: ``"z n"``; or a dict of a `Gate` or
        of a role to each: ``{"z": "keeps", "n": ""}``, from which initial weights follow
    state, states : str, names, or dict
        what is carried from step to step, the output first: ``state="h"``, ``states="h c"``; or a
        dict of a `State` to each
    vectors : dict
        parameters with one entry per unit, and the gates or states that have one of them:
        ``{"peep": "i f o"}``
    projections : str or names
        matrices [P, H], of which the layer's ``proj_size`` is P
    heads : bool
        whether the recurrent weights are block-diagonal, of the layer's ``num_heads``
    source, use : str
        where the equations are from, and when to take the cell

    """

    def declare(equations: Equations) -> Cell:
        if not callable(equations):
            raise TypeError(
                f"cell: expected a function of one step, got {type(equations).__name__}; write "
                "@cell(gates=..., state=...) above its def"
            )
        of = _Declaration(equations)
        made = declared(
            of.name,
            gates=of.described("gates", gates, Gate, roles=True),
            states=of.described("states", of.one_of(state, states), State),
            vectors={n: of.names(n, blocks) for n, blocks in of.mapping(vectors).items()},
            projections=of.names("projections", projections),
            heads=heads,
            source=source,
            use=use or (equations.__doc__ or "").strip().partition("\n")[0],
        )(equations)
        of.check(made)
        _ = made.parameters, cut(made)  # what cannot be a cell is told now
        made = replace(made, key=f"{made.name}@{made.digest()}")
        add_own(made)
        return made

    return declare


def cell_at(place: str) -> Cell:
    """The cell that ``package.module:name`` or ``path/to/file.py:name`` declares; it is imported.

    Raises InputError, one line.
    """
    where, _, name = place.rpartition(":")
    try:
        module = _of_file(where) if where.endswith(".py") else importlib.import_module(where)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{where}.".startswith(f"{e.name}."):
            raise _unusable(where, e) from e
        raise InputError(
            f"expected a module that Python finds, got {shown(where)}; name its file, as in "
            f"path/to/file.py:{name}",
            option="cell",
        ) from None
    except Exception as e:
        raise _unusable(where, e) from e
    found = vars(module).get(name)
    if not isinstance(found, Cell):
        known = [n for n, value in vars(module).items() if isinstance(value, Cell)]
        there = f"one that {where} declares, {', '.join(known) or 'none at present'}"
        raise InputError(
            f"expected {there}, got {shown(name)}; declare it with @tidegate.cell", option="cell"
        )
    return found


def _of_file(path: str) -> ModuleType:
    if not os.path.isfile(path):
        raise InputError(f"expected a file, got {shown(path)}; correct its path", option="cell")
    digest = hashlib.sha256(os.path.realpath(path).encode(errors="surrogateescape")).hexdigest()
    name = f"tidegate_cells_{digest[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # of a name that ends in .py
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _unusable(where: str, e: Exception) -> InputError:
    if isinstance(e, InputError):
        return e
    problem = " ".join(f"{type(e).__name__}: {e}".split())
    return InputError(
        f"expected a module to import, got {shown(where)}, which fails: {problem}; correct it",
        option="cell",
    )


class _Declaration:
    """What is written above a function; what is wrong with it is told with its line."""

    def __init__(self, equations: Equations) -> None:
        self._line = first_line(equations)
        self.name = getattr(equations, "__name__", "")
        if not self.name.isidentifier():
            raise self._wrong("expected a function with a name, got none; write it with def")

    def _wrong(self, problem: str, kind: type[Exception] = ValueError) -> Exception:
        return refusal(problem, self.name, self._line, kind)

    def one_of(self, state: str | None, states: Any) -> Any:
        if (state is None) == (states is None):
            got = "none" if state is None else "both"
            raise self._wrong(
                f'expected state or states, got {got}; write state="h", or states="h c" for several'
            )
        return states if state is None else state

    def mapping(self, vectors: Any) -> Mapping[str, Any]:
        if not isinstance(vectors, Mapping | None):
            raise self._wrong(
                f"vectors: expected a dict, got {type(vectors).__name__}; write "
                'vectors={"name": "gate gate"}',
                TypeError,
            )
        return vectors or {}

    def names(self, what: str, given: Any) -> tuple[str, ...]:
        """Those in a string, or in a sequence."""
        names = given.replace(",", " ").split() if isinstance(given, str) else given
        if not isinstance(names, Iterable) or not all(isinstance(n, str) for n in names):
            raise self._wrong(
                f'{what}: expected names, got {type(given).__name__}; write {what}="a b"', TypeError
            )
        found = tuple(names)
        for name in found:
            if not name.isidentifier():
                raise self._wrong(
                    f"{what}: expected names as Python has them, got {name!r:.40}; take another"
                )
            if found.count(name) > 1:
                raise self._wrong(f"{what}: expected {name} once, got it twice; leave one out")
        return found

    def described(
        self, what: str, given: Any, kind: type[Kind], roles: bool = False
    ) -> dict[str, Kind]:
        """Each name with what it is."""
        names = self.names(what, given)
        if not names:
            raise self._wrong(f'{what}: expected one at least, got none; write {what}="a b"')
        found = {}
        for name in names:
            value = given[name] if isinstance(given, Mapping) else kind(name)
            if roles and isinstance(value, str) and value in get_args(Role):
                value = Gate(name, value)  # pyright: ignore[reportArgumentType]
            if not isinstance(value, kind):
                also = " or a role, " + ", ".join(map(repr, get_args(Role))) if roles else ""
                raise self._wrong(
                    f"{what}: expected for {name} a tidegate.{kind.__name__}{also}, got "
                    f"{value!r:.40}; give one, or names alone"
                )
            found[name] = value
        return found

    def check(self, made: Cell) -> None:
        """Raise ValueError for names that clash, or that are no gate's."""
        for name in (*made.vectors, *made.projections):
            if name in _TAKEN or (name in made.vectors and name in made.projections):
                raise self._wrong(
                    f"{name}: expected a name that no other parameter has, got one of another; "
                    "call it otherwise"
                )
        for name, blocks in made.vectors.items():
            for gate in blocks:
                if gate not in made.gates and gate not in made.states:
                    known = ", ".join((*made.gates, *made.states))
                    raise self._wrong(
                        f"vectors: expected for {name} gates or states, {known}, got {gate}; take "
                        "these, or declare it"
                    )
