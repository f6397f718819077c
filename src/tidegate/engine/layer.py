"""A layer of a trained network on numpy arrays, without torch."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.cells import Cell, get_cell
from tidegate.engine import compiled
from tidegate.engine.threads import shares_units, threads_worth

Array = NDArray[np.float32]


class EngineLayer:
    """One recurrent layer in one direction, for inference on numpy arrays.

    cell: one of ``engine.compiled.cells()``, or the key of one that was loaded. weights: the cell's
    parameters by name (``tidegate.cells.get_cell(cell).parameters``), numpy float32, with the gates
    in the order that the cell declares, which is torch.nn's; biases may be left out, all of them.
    The constructor copies them, packed: ``packed``. ``input_size`` is I, ``hidden_size`` H,
    ``state_sizes`` the width of each state, the first of which is the output. Several threads may
    call ``forward`` at a time, but only one thread at a time may call ``step``. ``factors``:
    ``float32``, or how factors of products are rounded: ``bfloat16``, summed in float32; or
    ``int8``, each row by a scale of its own, summed exactly. Where the processor has no instruction
    for it (``engine.compiled.inference_isa``), float32 is what runs. Raises TypeError or ValueError
    that names the argument, what was expected and what came.
    """

    def __init__(self, cell: str, weights: Mapping[str, Array], factors: str = "float32") -> None:
        if not isinstance(cell, str):
            raise TypeError(f"cell: expected a name, got {type(cell).__name__}; give one")
        if not compiled.has_cell(cell):
            known = ", ".join(compiled.cells())
            raise ValueError(
                f"cell: expected one the engine has, {known}; got {cell!r}; choose one"
            )
        declared = get_cell(cell)
        given, sizes = _checked_weights(declared, weights)
        if declared.heads:
            given["weight_hh"] = whole_matrix(given["weight_hh"], sizes["H"])
        padded = given | _noise_of_zeros(declared, given)
        parameters = [padded.get(name) for name in declared.parameters]
        self.packed = self._layer = compiled.Layer(cell, parameters, factors=factors)
        self.input_size, self.hidden_size = sizes["I"], sizes["H"]
        self.product_size = len(given["weight_ih"])
        self.state_sizes = declared.state_sizes(sizes)
        self._letters = [f"[B, {state.width}]" for state in declared.states.values()]
        roles = {name: p.role for name, p in declared.parameters.items()}
        by_role = {
            role: sum(given[n].size for n in given if roles[n] == role) for role in _PRODUCTS
        }
        # a cell without recurrent products has as much to do as it has units
        self._recurrent_size = by_role["recurrent"] + by_role["projection"] or len(
            given["weight_ih"]
        )
        self._size = by_role["input"] + self._recurrent_size

    def initial_state(self, batch_size: int) -> tuple[Array, ...]:
        """Make an initial state of zeros: an array [B, its width] for each state of the cell."""
        rows = _count("batch_size", batch_size, 0)
        return tuple(np.zeros((rows, width), np.float32) for width in self.state_sizes)

    def forward(
        self,
        x: Array,
        state: Sequence[Array] | None = None,
        lengths: NDArray[np.integer] | Sequence[int] | None = None,
        reverse: bool = False,
        threads: int | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Run the layer over whole sequences.

        x: float32 [T, B, I].  state: the initial state, a float32 array [B, its width] for each
        state of the cell; None for zeros.  lengths: [B] integers from 0 to T, the number of true
        steps of each sequence.  reverse: read from the last true step to the first.  threads:
        number of threads; None uses the available ones if there is enough work.  Returns y, the
        first state of every step, which is zero after a sequence's length, and the final state.
        Raises TypeError or ValueError.
        """
        x = _dense("x", x)
        if x.ndim != 3 or x.shape[2] != self.input_size:
            raise ValueError(
                f"x: expected [T, B, {self.input_size}], got {list(x.shape)}; reshape it"
            )
        T, B, _ = x.shape  # noqa: N806
        if lengths is not None:
            lengths = _lengths(lengths, T, B)
        if not isinstance(reverse, bool | np.bool_):
            raise TypeError(
                f"reverse: expected True or False, got {type(reverse).__name__}; give one"
            )
        if threads is None:
            threads = threads_worth(T * B * self._size)
        else:
            threads = _count("threads", threads, 1, compiled.most_threads)
        by_units = shares_units(threads, B, self._recurrent_size)
        schedule = compiled.schedule(T, B, lengths, bool(reverse), threads, by_units)
        final = self.initial_state(B)
        started: Sequence[Array] = final  # zeros, which the engine may replace
        if state is not None:
            started = self._states(state, B)
        y = np.empty((T, B, self.state_sizes[0]), np.float32)
        self._layer.forward(schedule, x, None, list(started), list(final), y)
        return y, final

    def step(self, x: Array, state: tuple[Array, ...]) -> Array:
        """Run one step of a stream.  Overwrites ``state`` and returns the new output.

        x: float32 [B, I].  state: arrays as ``initial_state`` makes them: float32, dense,
        writable, and not sharing memory.  Raises TypeError or ValueError, and RuntimeError if
        another thread is in a step of this layer.
        """
        if type(x) is _Ndarray and type(state) is tuple:
            try:
                self._layer.step(x, *state)
                return state[0]
            except TypeError:  # what it is that cannot be used is found out below
                pass
        x = _dense("x", x)
        if x.ndim != 2:
            raise ValueError(f"x: expected [B, {self.input_size}], got {list(x.shape)}; reshape it")
        states = self._states(state, len(x))
        for k, (given, dense) in enumerate(zip(state, states, strict=True)):
            if given is not dense or not given.flags.writeable:
                raise ValueError(
                    f"state[{k}]: expected dense rows that can be written, got an array that is "
                    f"{'not dense' if given is not dense else 'read-only'}; call {_COPY}"
                )
        self._layer.step(x, *states)
        return state[0]

    def input_products(self, x: Array) -> Array:
        """Compute what a step makes of its input before it looks at the state.

        x: float32 [B, I].  Returns [B, products], rows of which ``step_from`` goes on with: so an
        input that comes again and again, such as a token's vector, is multiplied once.
        """
        x = _dense("x", x)
        if x.ndim != 2 or x.shape[1] != self.input_size:
            raise ValueError(f"x: expected [B, {self.input_size}], got {list(x.shape)}; reshape it")
        products = np.empty((len(x), self.product_size), np.float32)
        self._layer.input_products(x, products)
        return products

    def step_from(self, products: Array, state: tuple[Array, ...]) -> Array:
        """Run the rest of a step; the same as ``step`` of the input that ``products`` are of.

        products: rows of what ``input_products`` returned, dense.  state: as for ``step``.
        """
        self._layer.step_from(products, *state)
        return state[0]

    def _states(self, state: Any, batch_size: int) -> list[Array]:
        """The given states, dense."""
        count = len(self.state_sizes)
        expected = f"a tuple of {count} array(s) {', '.join(self._letters)}"
        if not isinstance(state, tuple | list):
            raise TypeError(f"state: expected {expected}, got {type(state).__name__}; give these")
        if len(state) != count:
            raise ValueError(f"state: expected {expected}, got {len(state)}; give these")
        dense = [_dense(f"state[{k}]", s) for k, s in enumerate(state)]
        for k, (array, width) in enumerate(zip(dense, self.state_sizes, strict=True)):
            _check_shape(f"state[{k}]", array, self._letters[k], (batch_size, width))
        return dense


_PRODUCTS = ("input", "recurrent", "projection")


def _checked_weights(
    cell: Cell, weights: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, int]]:
    """The weights, dense, and the sizes I, H and P that they have."""
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"weights: expected arrays by name, got {type(weights).__name__}; give a dict of "
            f"{', '.join(cell.parameters)}"
        )
    for name in weights:
        if name not in cell.parameters:
            known = ", ".join(cell.parameters)
            raise ValueError(f"weights: expected {known}, got {name!r}; leave it out")
    given = {name: weights[name] for name in cell.parameters if weights.get(name) is not None}
    biases = [name for name, p in cell.parameters.items() if p.is_bias]
    missing = [name for name in cell.parameters if name not in given]
    for name in missing:
        if name not in biases:
            raise ValueError(f"{name}: expected an array, as {cell.name} has, got None; give it")
        if any(other in given for other in biases):
            other = next(other for other in biases if other in given)
            raise ValueError(
                f"{name}: expected an array, got None beside {other}; give both or none"
            )
    dense = {name: _dense(name, array) for name, array in given.items()}
    sizes: dict[str, int] = {}
    for name, array in dense.items():
        _check_weight(cell, name, array, sizes)
    return dense, sizes


def whole_matrix(weight_hh: Array, hidden_size: int) -> Array:
    """[G*H, H] of [G*H, H/K], with zeros where a head sees nothing.

    The engine has products with whole matrices.
    """
    rows, units = weight_hh.shape
    heads = hidden_size // units
    of_heads = weight_hh.reshape(-1, heads, units, units)
    whole = np.zeros((len(of_heads), heads, units, heads, units), np.float32)
    for k in range(heads):
        whole[:, k, :, k] = of_heads[:, k]
    return whole.reshape(rows, hidden_size)


def _noise_of_zeros(cell: Cell, given: Mapping[str, Array]) -> dict[str, Array]:
    """What reads the input, with zeros below: to the engine noises are gates of their own."""
    padded = {}
    for name, parameter in cell.parameters.items():
        if cell.noises and parameter.role.startswith("input") and name in given:
            units = len(given[name]) // len(parameter.blocks)
            none = np.zeros((cell.noises * units, *given[name].shape[1:]), np.float32)
            padded[name] = np.concatenate([given[name], none])
    return padded


def _check_weight(cell: Cell, name: str, weight: Array, sizes: dict[str, int]) -> None:
    """Raise ValueError unless the shape goes with ``sizes``, which learns what is new."""
    parameter = cell.parameters[name]
    blocks = len(parameter.blocks)
    letters = [parameter.rows, *([parameter.columns] if parameter.columns else [])]
    shape = weight.shape
    fits = len(shape) == len(letters)
    if fits:
        found = [shape[0] // blocks, *shape[1:]]
        fits = shape[0] % blocks == 0 and min(found) >= 1
        fits = fits and all(sizes.get(a, n) == n for a, n in zip(letters, found, strict=True))
        fits = fits and (letters[-1] != "H/K" or found[0] % found[1] == 0)
        if fits:
            sizes.update(zip(letters, found, strict=True))
            return
    texts = [f"{a} = {sizes[a]}" if a in sizes else a for a in letters]
    if blocks > 1:
        rows = parameter.rows
        value = f" = {blocks * sizes[rows]}" if rows in sizes else ""
        texts[0] = f"{blocks} * {rows}{value}"
    raise ValueError(
        f"{name}: expected [{', '.join(texts)}], each at least 1, got {list(shape)}; give that"
    )


_Ndarray = np.ndarray
_COPY = "numpy.array(a, order='C')"


def _dense(name: str, array: Any) -> Array:
    """The array itself, or a copy with dense rows in the machine's order of bytes."""
    if type(array) is _Ndarray and array.dtype is _FLOAT32 and array.flags.c_contiguous:
        return array
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"{name}: expected a numpy array, got {type(array).__name__}; "
            "call numpy.asarray(a, numpy.float32)"
        )
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without mask, got one; call a.filled(value)")
    if array.dtype.kind != "f" or array.dtype.itemsize != _FLOAT32.itemsize:
        raise TypeError(
            f"{name}: expected float32, got {array.dtype}; call numpy.asarray(a, numpy.float32)"
        )
    return np.ascontiguousarray(array, _FLOAT32).reshape(array.shape)  # a scalar stays one


_FLOAT32 = np.dtype(np.float32)


def _check_shape(name: str, array: Array, letters: str, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(
            f"{name}: expected {letters} = {list(shape)}, got {list(array.shape)}; give that shape"
        )


def _count(name: str, value: Any, least: int, most: int | None = None) -> int:
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}; give a number")
    try:
        count = operator.index(value)
    except TypeError:
        got = type(value).__name__
        raise TypeError(f"{name}: expected an int, got {got}; give a number") from None
    if count < least or (most is not None and count > most):
        wanted = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{name}: expected {wanted}, got {count}; give such a number")
    return count


def _lengths(lengths: Any, steps: int, batch_size: int) -> NDArray[np.int64]:
    """int64 [B], each within 0 .. T."""
    if isinstance(lengths, np.ma.MaskedArray):
        raise TypeError("lengths: expected an array without mask, got one; call a.filled(value)")
    if not isinstance(lengths, np.ndarray | list | tuple):
        got = type(lengths).__name__
        raise TypeError(f"lengths: expected an array of integers, got {got}; give one")
    if not isinstance(lengths, np.ndarray) and len(lengths) == 0:
        lengths = np.zeros(0, np.int64)
    try:
        array = np.asarray(lengths)
    except ValueError:
        raise ValueError(
            f"lengths: expected [B] = [{batch_size}], got rows unlike each other; give one number "
            "for each row"
        ) from None
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths: expected integers, got {array.dtype}; count steps")
    if array.shape != (batch_size,):
        raise ValueError(
            f"lengths: expected [B] = [{batch_size}], got {list(array.shape)}; one for each row"
        )
    if batch_size and (array.min() < 0 or array.max() > steps):
        raise ValueError(
            f"lengths: expected 0 to T = {steps}, got {array.min()} to {array.max()}; count steps"
        )
    return np.ascontiguousarray(array, np.int64)
