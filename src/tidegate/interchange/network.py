"""What all formats have in common: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.errors import InputError, shown
from tidegate.interchange.conventions.activations import IDENTITY
from tidegate.interchange.layers import (
    Dense,
    Dropout,
    Embedding,
    Layer,
    Normalisation,
    Recurrent,
)
from tidegate.sampling import check_choice, sample

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Network:
    """Layers one after the other, as `tidegate.interchange.read` finds them in a file.

    ``origin``: what the file was, in words.  ``notes``: what the reader of the file should know,
    such as what it had to take for granted.  ``kept``: arrays of the file that are no layer's.
    """

    layers: tuple[Layer, ...]
    origin: str = ""
    notes: tuple[str, ...] = ()
    kept: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def recurrent(self) -> tuple[Recurrent, ...]:
        """The recurrent layers."""
        return tuple(layer for layer in self.layers if isinstance(layer, Recurrent))

    @property
    def input_size(self) -> int | None:
        """Numbers at each step; None for tokens."""
        first = self.layers[0]
        if isinstance(first, Embedding):
            return None
        for layer in self.layers:
            match layer:
                case Recurrent():
                    return layer.sizes["I"]
                case Dense():
                    return layer.weight.shape[1]
                case Normalisation():
                    return len(layer.mean)
        raise InputError("expected a layer with weights, got none; check the file")

    def predict(self, x: Any, lengths: Any = None) -> np.ndarray:
        """What the network makes of a batch: float32 [B, T, F], or [B, F] after a last step.

        x: whole numbers [B, T] for a network with an embedding, else numbers [B, T, I].
        ``lengths``: [B] numbers of true steps, which stand at the beginning; None: T each.  Steps
        that an embedding or a layer of the file masks are left out, too.  Recurrent layers run on
        the engine, or with a warning on numpy.  Raises InputError for input of another kind.
        """
        x = self._checked(np.asarray(x))
        mask = None
        if lengths is not None:
            given = np.asarray(lengths)
            good = given.shape == (len(x),) and given.dtype.kind in "iu"
            if not good or (len(given) and not 0 <= given.min() <= given.max() <= x.shape[1]):
                got = shown(given.tolist()) if good else f"{given.dtype} {list(given.shape)}"
                raise InputError(
                    f"lengths: expected {len(x)} whole numbers from 0 to {x.shape[1]}, got {got}; "
                    "count each row's true steps"
                )
            mask = np.arange(x.shape[1]) < given[:, None]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for layer in self.layers:
                x, mask = layer.run(x, mask)
        return x

    def generate(
        self,
        tokens: Sequence[int],
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        seed: int | None = None,
    ) -> Iterator[int]:
        """The ``length`` tokens that follow ``tokens``, of which there must be one at least.

        For a network from tokens to a number for each token at every step; a softmax at its end is
        left out.  Options as `tidegate.LanguageModel.generate` has them.  Raises InputError.
        """
        self._check_writes()
        given = self._checked(np.asarray(tokens)[None])
        if given.shape[1] == 0:
            raise InputError("tokens: expected one at least, got none; begin with one")
        if not isinstance(length, int | np.integer) or length < 0:
            problem = f"length: expected a whole number from 0, got {shown(length)}"
            raise InputError(f"{problem}; give one")
        check_choice(temperature, top_k, top_p)
        try:
            rng = np.random.default_rng(seed)
        except (TypeError, ValueError):
            problem = f"seed: expected a whole number from 0, or None, got {shown(seed)}"
            raise InputError(f"{problem}; give one") from None
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
        return self._written(given, length, rng, options)

    def _written(
        self, given: np.ndarray, length: int, rng: np.random.Generator, options: dict[str, Any]
    ) -> Iterator[int]:
        states: dict[Recurrent, tuple[np.ndarray, ...]] = {}
        last = self.layers[-1]
        assert isinstance(last, Dense)
        layers = (*self.layers[:-1], replace(last, activation=IDENTITY))
        for _ in range(length):
            x: np.ndarray = given
            for layer in layers:
                match layer:
                    case Recurrent():
                        x, states[layer] = layer.states(x, None, 0, states.get(layer))
                    case _:
                        x, _ = layer.run(x, None)
            token = int(sample(x[0, -1], rng, **options))
            yield token
            given = np.array([[token]])

    def _check_writes(self) -> None:
        first, last = self.layers[0], self.layers[-1]
        steps = all(
            isinstance(layer, Embedding | Dense | Dropout | Normalisation)
            or (
                isinstance(layer, Recurrent)
                and layer.every
                and len(layer.directions) == 1
                and not layer.directions[0].reverse
            )
            for layer in self.layers
        )
        fits = (
            isinstance(first, Embedding)
            and isinstance(last, Dense)
            and len(last.weight) == len(first.weight)
        )
        if not steps or not fits:
            raise InputError(
                "expected a network that reads tokens from the first to the last and gives a "
                "number for each known token at every step, got another; it cannot write"
            )

    def _checked(self, x: np.ndarray) -> np.ndarray:
        """The batch in the type that the first layer takes."""
        first = self.layers[0]
        if isinstance(first, Embedding):
            if x.ndim != 2 or x.dtype.kind not in "iu":
                raise InputError(
                    f"x: expected whole numbers [B, T], got {x.dtype} {list(x.shape)}; give token "
                    "numbers, a row for each text"
                )
            if x.size and not 0 <= x.min() <= x.max() < len(first.weight):
                raise InputError(
                    f"x: expected tokens from 0 to {len(first.weight) - 1}, got {x.min()} to "
                    f"{x.max()}; give others as a token that it knows"
                )
            return x
        if x.ndim != 3 or x.dtype.kind not in "iuf" or x.shape[2] != self.input_size:
            raise InputError(
                f"x: expected numbers [B, T, {self.input_size}], got {x.dtype} {list(x.shape)}; "
                "put the batch first, then time"
            )
        return x.astype(np.float32)

    def to_torch(self) -> nn.Module:
        """A torch module with tidegate's layers and these weights, to train on or to predict with.

        Called as ``module(x, lengths)`` with a batch as ``predict`` takes it.  Raises InputError
        for a layer that has no such module.
        """
        from tidegate.interchange.torch_module import module_of

        return module_of(self)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} of {self.origin}"]
        return "\n  ".join([*lines, *(f"{a.name}: {a.described()}" for a in self.layers)])
