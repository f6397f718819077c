"""The compiled kernels (csrc/): float32, C-contiguous arrays in, numpy arrays out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def exp(x: NDArray[np.float32]) -> NDArray[np.float32]: ...
def tanh(x: NDArray[np.float32]) -> NDArray[np.float32]: ...
def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)); below x = -87 it stays at 1.6e-38."""

def log(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """-inf at 0, NaN below."""

def rsqrt(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / sqrt(x): inf at 0, NaN below."""

def erf(x: NDArray[np.float32]) -> NDArray[np.float32]: ...
def isa() -> str:
    """Instruction set in use: the best available one, or what TIDEGATE_ISA named at import."""

def available_isas() -> list[str]:
    """What this machine can run, plainest first."""

def select_isa(name: str) -> None:
    """Use another instruction set in the whole process (tests do).  ValueError if unavailable."""

def rounding_isa() -> str:
    """Set that multiplies bfloat16 factors: amx or avx512bf16.

    "" where this machine has none, or another set than the best is in use.
    """

def inference_isa(factors: str) -> str:
    """Set whose layers for inference round factors to ``bfloat16`` or ``int8``.

    "" where this machine has none, or another set than the best is in use, and for ``float32``.
    """

def is_intel() -> bool:
    """Whether Intel made this processor."""

def error_bounds() -> dict[str, float]:
    """Largest error of each of these functions, in units in the last place."""

def multiply(a: Any, b: Any, out: Any, bias: Any, adds: bool, rounded: bool, threads: int) -> None:
    """Fill out [M, N] with a [M, K] b [K, N] + bias [N] (or None), or add a b to it.

    ``rounded``: with bfloat16 factors, summed in float32, where there is a ``rounding_isa()``.
    a, b: dense rows or dense columns; out: dense rows.  The same to the bit for a given number of
    threads.  Raises ValueError for other shapes.
    """

def softmax_cross_entropy(
    logits: Any, targets: Any, nats: Any, gradient: bool, threads: int
) -> None:
    """Fill nats [N] with -log softmax(logits [N, V]) at targets int64 [N].

    With ``gradient`` the logits are replaced by their gradients: softmax, less one at the target.
    Raises ValueError for a target that is none of the V.
    """

class Schedule:
    """Where a batch's tokens stand and which thread runs them."""

    @property
    def tokens(self) -> int: ...
    @property
    def ragged(self) -> bool:
        """Whether tokens lie packed, as ``gather`` leaves them, and not as rows [T, B]."""

def schedule(
    T: int,  # noqa: N803
    B: int,  # noqa: N803
    lengths: Any,
    reverse: bool,
    threads: int,
    by_units: bool = False,
) -> Schedule:
    """``lengths``: int64 [B], each in 0 .. T, or None.  Raises ValueError.

    Threads take some of the rows each, or ``by_units`` some of the units of all rows.
    """

def cells() -> list[str]:
    """The cells the engine has."""

def has_cell(name: str) -> bool:
    """Whether the set in use has this cell, or one of this name was loaded for it."""

def load_cell(path: str, isa: str) -> str:
    """The name of a cell that was compiled apart for ``isa``, which the engine has from now on.

    Raises RuntimeError for a file that is no such library.
    """

def own_cell_flags(isa: str) -> str:
    """The compiler's flags for such a library; empty where it cannot be made for ``isa``."""

own_cell_headers: str  # a digest of the headers that the engine was compiled of

class Flushed:
    """Context in which denormals count as zero, in the caller and in a team of OpenMP threads."""

    def __init__(self, threads: int) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...

def adopt_openmp(path: str) -> bool:
    """Run on the threads of this OpenMP library, if it is loaded; returns whether it is."""

most_kept_bytes: int
most_threads: int

def empty(shape: Sequence[int]) -> Any:
    """Undefined float32 values, for DLPack; their memory is kept for the next call."""

def kept_bytes() -> int:
    """Of freed memory that is kept now, at most ``most_kept_bytes``."""

def gather(schedule: Schedule, rows: Any, tokens: Any) -> None:
    """Fill tokens [N, W] from rows [T, B, W] of a ragged batch."""

def scatter(schedule: Schedule, tokens: Any, rows: Any) -> None:
    """Fill rows [T, B, W] from tokens [N, W], with zeros from each row's length on."""

def forward(
    cell: str,
    schedule: Schedule,
    weights: list[Any],
    mask: Any,
    state0: list[Any],
    gates: Any,
    extra: Any,
    states: list[Any],
    final: list[Any],
    rounded: bool,
) -> None:
    """One pass forward in training.  float32, dense arrays of any library.

    ``weights``: as the cell declares its parameters; None for those of the input product, and for
    biases that a layer lacks.  ``mask``: [B, W], [blocks of weight_hh, B, W] or None.  ``state0``
    and ``final``: [B, W] of each state.  ``gates``: [N, G*H], the input products with their biases,
    replaced by what the pass back needs, as ``extra`` [N, E*H] or None is filled.  ``states``: y
    [T, B, W] and the other states of every step, [N, W].  G and E: the cell's plan
    (equations/plan.py).  ``rounded``: the recurrent products' factors are rounded to bfloat16,
    where there is a ``rounding_isa()``.  Raises ValueError for other shapes.
    """

def backward(
    cell: str,
    schedule: Schedule,
    weights: list[Any],
    mask: Any,
    state0: list[Any],
    gates: Any,
    extra: Any,
    states: list[Any],
    d_y: Any,
    d_final: list[Any],
    d_gates: Any,
    d_products: Any,
    d_state0: list[Any],
    d_weights: list[Any],
    operands: list[Any],
    needs_d_state0: bool,
    rounded: bool,
) -> None:
    """One pass back through time; what is not named here as in ``forward``.

    ``weights``: without biases.  ``d_y``: [T, B, W] or None; ``d_final``: [B, W] or None each.
    ``d_gates`` [N, G*H] may be ``gates`` itself; ``d_products``: [N, separate*H + P of each
    projection] or None.  ``d_state0``: [B, W] each.  ``d_weights``: the gradients of biases and
    vectors, None elsewhere or where not wanted.  ``operands``: what each operand's products saw,
    [N, W], or with a mask for each gate [N, products*W]; None for a state where it is not wanted.
    ``needs_d_state0``: else the gradients of states that products take are left unfinished.
    """

class Layer:
    """One layer in one direction for inference, its weights packed once.

    Sequences may be run from several threads at a time; a step while another thread is in one
    raises RuntimeError.
    """

    def __init__(
        self, cell: str, weights: list[Any], threads: int = 1, factors: str = "float32"
    ) -> None:
        """``weights``: as the cell declares its parameters, None for biases that it lacks.

        ``factors`` of products: ``float32``, or rounded, where there is an ``inference_isa``.
        """

    def forward(
        self,
        schedule: Schedule,
        x: Any,
        mask: Any,
        state0: list[Any],
        final: list[Any],
        y: Any,
    ) -> None:
        """Fill y [T, B, W] and the final states from x [T, B, I]; mask as in training."""

    def step(self, x: NDArray[np.float32], *states: NDArray[np.float32]) -> None:
        """One step of a stream: x [B, I]; the states, [B, W] each, are replaced."""

    def input_products(self, x: NDArray[np.float32], products: NDArray[np.float32]) -> None:
        """What a step makes of x [B, I] first, whatever the state: [B, gates * H]."""

    def step_from(self, products: NDArray[np.float32], *states: NDArray[np.float32]) -> None:
        """The rest of the step."""

class Dense:
    """y = x W^T + b, the weights packed once: weight [O, F], bias [O] or None."""

    def __init__(self, weight: Any, bias: Any) -> None: ...

class Reading:
    """B sequences that layers, one on the other, read step by step, each step as one call.

    It works on the arrays that it is given, which stay where they are.  A step while another thread
    is in one of these layers raises RuntimeError.
    """

    def __init__(
        self,
        layers: list[Layer],
        states: list[Any],
        norms: list[Any],
        dense: Dense | None,
        readout: list[str],
        steps: Any,
        sum: Any,
        highest: Any,
        mean: Any,
        scale: Any,
        last: Any,
    ) -> None:
        """``states``: of all layers, [B, W] each.  ``norms``: scale and shift [W] of each layer's
        output but the last, or nothing.  ``readout``: what ``dense`` sees: last, mean, max.
        ``steps``: int64 [B].  ``sum``, float64, and ``highest``: [B, W], or None where ``readout``
        does not ask.  ``mean``, ``scale`` float64 [I] and ``last`` float64 [B, I]: of values that
        are given unscaled, or None.
        """

    def step(self, x: NDArray[np.float32]) -> None:
        """x: [B, I], or [I] of one sequence."""

    def step_scaled(self, x: Any, farthest: float, probabilities: Any = None) -> bool:
        """The same of values float64 in units of the data; the last ones, scaled, go to ``last``.

        False, and nothing is read, where a scaled one is NaN or larger than ``farthest``.
        ``probabilities``: where those after the step go, float64 [B, O].
        """

    def outputs(self, out: NDArray[np.float32]) -> None:
        """What ``dense`` gives if the sequences end here, [B, O]."""

    def probabilities(self, out: NDArray[np.float64]) -> None:
        """Its softmax, [B, O]."""
