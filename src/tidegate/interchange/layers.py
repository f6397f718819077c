"""The layers that libraries have in common, as plain data, and what each makes of a batch.

Letters: B batch, T time, F features.  Batches come first: values float32 [B, T, F], or [B, F] after
a layer that keeps the last step alone.  A mask, bool [B, T], says which steps are true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.cells import CELLS, Cell
from tidegate.errors import InputError
from tidegate.interchange.conventions.activations import IDENTITY, Activation
from tidegate.interchange.conventions.forms import FORM_OF, Form
from tidegate.runtime.layers import Layer as Runner
from tidegate.runtime.layers import layer_of
from tidegate.runtime.products import linear

Array = NDArray[np.float32]
Mask = NDArray[np.bool_] | None
Merge = Literal["concat", "sum", "mul", "ave"]


class Layer(Protocol):
    """One layer of a linear network; ``name`` is the file's."""

    @property
    def name(self) -> str: ...

    def run(self, x: np.ndarray, mask: Mask) -> tuple[np.ndarray, Mask]:
        """What it makes of a batch, and which steps are true after it."""
        ...

    def described(self) -> str:
        """Kind and sizes in words."""
        ...


@dataclass(frozen=True, eq=False)
class Embedding:
    """``weight`` [V, F]; with ``mask_zero``, token 0 is no true step."""

    name: str
    weight: Array
    mask_zero: bool = False

    def run(self, x: np.ndarray, mask: Mask) -> tuple[np.ndarray, Mask]:
        own = x != 0 if self.mask_zero else None
        mask = own if mask is None else mask if own is None else mask & own
        return self.weight.take(x, axis=0), mask

    def described(self) -> str:
        tokens, width = self.weight.shape
        return f"embedding, {tokens} x {width}" + (", token 0 masked" if self.mask_zero else "")


@dataclass(frozen=True, eq=False)
class Masking:
    """Steps whose values are all ``value`` are not true, and are made zero."""

    name: str
    value: float

    def run(self, x: np.ndarray, mask: Mask) -> tuple[np.ndarray, Mask]:
        own = (x != np.float32(self.value)).any(-1)
        return x * own[..., None], own if mask is None else own & mask

    def described(self) -> str:
        return f"masking of {self.value:g}"


@dataclass(frozen=True, eq=False)
class Direction:
    """The cell's ``parameters`` by name, for steps from the first to the last or in ``reverse``.

    ``initial``: the state before the first step, [B or 1, its width] each; None for zeros.
    ``cell``: where it is another one than the layer's, of the same parameters.
    """

    parameters: Mapping[str, Array]
    reverse: bool = False
    initial: tuple[Array, ...] | None = None
    cell: Cell | None = None


@dataclass(frozen=True, eq=False)
class Recurrent:
    """A layer of ``cell`` in one direction or in two, whose outputs are merged.

    ``every``: an output at each step, else the last one.  At steps that are not true the output is
    that of the step before, or zero: ``hold``.  ``turned``: outputs of a single direction in
    reverse stand in the order in which they were computed.  ``form``: what the cell was made of.
    """

    name: str
    cell: Cell
    directions: tuple[Direction, ...]
    every: bool = True
    hold: bool = False
    merge: Merge = "concat"
    turned: bool = False
    form: Form | None = None

    @property
    def known_form(self) -> Form | None:
        """The form of the cell, where other libraries have it, and both directions have one."""
        if any(d.cell is not None for d in self.directions):
            return None
        return self.form or (FORM_OF.get(self.cell.name) if self.is_ours else None)

    @property
    def is_ours(self) -> bool:
        return CELLS.get(self.cell.name) is self.cell

    @property
    def cell_in_words(self) -> str:
        """With the numbers of its activations, which a cell's name lacks."""
        return self.cell.name if self.is_ours or self.form is None else self.form.name

    @cached_property
    def sizes(self) -> dict[str, int]:
        """I, H and P."""
        parameters = self.directions[0].parameters
        rows, inputs = parameters["weight_ih"].shape
        projected = [parameters[n].shape[0] for n in self.cell.projections]
        hidden = rows // len(self.cell.parameters["weight_ih"].blocks)
        return {"I": inputs, "H": hidden, "P": projected[0] if projected else 0}

    @property
    def output_size(self) -> int:
        both = len(self.directions) if self.merge == "concat" else 1
        return both * self.cell.state_sizes(self.sizes)[0]

    @cached_property
    def runners(self) -> list[Runner]:
        """One for each direction; warns where the engine cannot run the cell."""
        return [self._runner(direction) for direction in self.directions]

    def _runner(self, direction: Direction) -> Runner:
        cell = direction.cell or self.cell
        return layer_of(cell.key, dict(direction.parameters), self.sizes)

    def initial(self, direction: Direction, rows: int) -> tuple[Array, ...]:
        widths = self.cell.state_sizes(self.sizes)
        if direction.initial is None:
            return tuple(np.zeros((rows, width), np.float32) for width in widths)
        if any(len(a) not in (1, rows) for a in direction.initial):
            raise InputError(
                f"x: expected {len(direction.initial[0])} rows, for which layer {self.name} has "
                f"initial states, got {rows}; give as many"
            )
        pairs = zip(direction.initial, widths, strict=True)
        return tuple(np.broadcast_to(a, (rows, w)).astype(np.float32) for a, w in pairs)

    def states(
        self, x: np.ndarray, mask: Mask, d: int, before: tuple[Array, ...] | None = None
    ) -> tuple[Array, tuple[Array, ...]]:
        """Outputs [B, T, F] of direction ``d`` in the order of its steps, and its final state."""
        direction = self.directions[d]
        turn = slice(None, None, -1 if direction.reverse else 1)
        x = np.ascontiguousarray(x[:, turn].swapaxes(0, 1), np.float32)
        lengths = places = None
        if mask is not None:
            mask = mask[:, turn]
            lengths = mask.sum(1).astype(np.int64)
            if not (mask == (np.arange(mask.shape[1]) < lengths[:, None])).all():
                # true steps to the front, in their order
                places = np.argsort(~mask, axis=1, kind="stable").T
                x = np.take_along_axis(x, places[..., None], axis=0)
        before = before or self.initial(direction, x.shape[1])
        y, final = self.runners[d].forward(x, before, lengths)
        if mask is not None:
            y = self._spread(y, mask)
        return y.swapaxes(0, 1), final

    def _spread(self, y: Array, mask: NDArray[np.bool_]) -> Array:
        """Outputs at their own steps, from those of true steps one after the other."""
        if len(y) == 0:
            return y
        reached = mask.cumsum(1).T  # true steps up to here
        at = np.maximum(reached - 1, 0)
        spread = np.take_along_axis(y, at[..., None], axis=0)
        shown = (reached > 0) if self.hold else mask.T
        return np.where(shown[..., None], spread, np.float32(0))

    def run(self, x: np.ndarray, mask: Mask) -> tuple[np.ndarray, Mask]:
        found: list[np.ndarray] = []
        for d, direction in enumerate(self.directions):
            y, final = self.states(x, mask, d)
            turned = direction.reverse and not self.turned
            found.append((y[:, ::-1] if turned else y) if self.every else final[0])
        return merged(found, self.merge), mask if self.every else None

    def described(self) -> str:
        sizes, first = self.sizes, self.directions[0]
        words = [f"{self.cell_in_words}, {sizes['I']} to {sizes['H']}"]
        if sizes["P"]:
            words.append(f"projected to {sizes['P']}")
        if len(self.directions) > 1:
            words.append(f"both directions ({self.merge})")
        elif first.reverse:
            words.append("in reverse")
        words += [] if "bias_ih" in first.parameters else ["no biases"]
        return ", ".join(words) + ("" if self.every else ", last step")


def merged(outputs: list[np.ndarray], merge: Merge) -> np.ndarray:
    """Outputs of all directions as one."""
    if len(outputs) == 1:
        return outputs[0]
    if merge == "concat":
        return np.concatenate(outputs, -1)
    forward, back = outputs
    if merge == "mul":
        return forward * back
    total = forward + back
    return total / np.float32(2) if merge == "ave" else total


@dataclass(frozen=True, eq=False)
class Dense:
    """``weight`` [O, F], ``bias`` [O] or None, then ``activation``; at each step."""

    name: str
    weight: Array
    bias: Array | None
    activation: Activation = IDENTITY

    def run(self, x: np.ndarray, mask: Mask) -> tuple[np.ndarray, Mask]:
        y = linear(np.asarray(x, np.float32), self.weight, self.bias)
        return (y if self.activation == IDENTITY else self.activation(y)), mask

    def described(self) -> str:
        o, f = self.weight.shape
        after = "" if self.activation == IDENTITY else f", {self.activation}"
        return f"dense, {f} to {o}{after}" + ("" if self.bias is not None else ", no bias")


@dataclass(frozen=True, eq=False)
class Activate:
    """An activation alone."""

    name: str
    activation: Activation

    def run(self, x: np.ndarray, mask: Mask) -> tuple[np.ndarray, Mask]:
        return self.activation(x), mask

    def described(self) -> str:
        return str(self.activation)


@dataclass(frozen=True, eq=False)
class Normalisation:
    """A batch normalisation by its running statistics, [F] each; None for 1 and 0."""

    name: str
    scale: Array | None
    shift: Array | None
    mean: Array
    variance: Array
    epsilon: float

    def run(self, x: np.ndarray, mask: Mask) -> tuple[np.ndarray, Mask]:
        y = (x - self.mean) / np.sqrt(self.variance + np.float32(self.epsilon))
        y = y if self.scale is None else y * self.scale
        return (y if self.shift is None else y + self.shift), mask

    def described(self) -> str:
        return f"batch normalisation of {len(self.mean)}"


@dataclass(frozen=True, eq=False)
class Dropout:
    """Nothing, when predicting."""

    name: str
    rate: float

    def run(self, x: np.ndarray, mask: Mask) -> tuple[np.ndarray, Mask]:
        return x, mask

    def described(self) -> str:
        return f"dropout of {self.rate:g}, in training only"


@dataclass(frozen=True, eq=False)
class Pool:
    """The mean over the true steps, or the highest value: of all steps, as Keras takes it, or, with
    ``true_steps``, of the true ones, and zero where there are none.
    """

    name: str
    kind: Literal["mean", "max"]
    true_steps: bool = False

    def run(self, x: np.ndarray, mask: Mask) -> tuple[np.ndarray, Mask]:
        some = np.full((len(x), 1), x.shape[1] > 0) if mask is None else mask.any(1, keepdims=True)
        if self.kind == "mean":
            total = (x if mask is None else x * mask[..., None]).sum(1)
            steps = (
                np.float32(x.shape[1]) if mask is None else mask.sum(1, dtype=np.float32)[:, None]
            )
            return total / np.maximum(steps, 1 if self.true_steps else 0), None
        if self.true_steps and mask is not None:
            x = np.where(mask[..., None], x, np.float32(-np.inf))
        highest = x.max(1, initial=-np.inf)
        return np.where(some, highest, np.float32(0)) if self.true_steps else highest, None

    def described(self) -> str:
        return f"{self.kind} over time"
