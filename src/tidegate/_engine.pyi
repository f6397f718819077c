"""The compiled kernels (csrc/): float32, C-contiguous arrays in, numpy arrays out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def exp(x: NDArray[np.float32]) -> NDArray[np.float32]: ...
def tanh(x: NDArray[np.float32]) -> NDArray[np.float32]: ...
def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)); below x = -87 it stays at 1.6e-38."""

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

def is_intel() -> bool:
    """Whether Intel made this processor."""

def error_bounds() -> dict[str, float]:
    """Largest error of exp, tanh and sigmoid, in units in the last place."""

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

def extra_width(cell: str) -> int:
    """How many values of H a token's step saves beside its gates."""

def first_gates(cell: str) -> int:
    """How many gates' recurrent product takes the state itself."""

def product_slots(cell: str) -> list[int]:
    """Per gate, its place among the separate gradients of the recurrent product, or -1."""

class Flushed:
    """Context in which denormals count as zero, in the caller and in a team of OpenMP threads."""

    def __init__(self, threads: int) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...

def adopt_openmp(path: str) -> bool:
    """Run on the threads of this OpenMP library, if it is loaded; returns whether it is."""

most_kept_bytes: int
most_threads: int

def empty(shape: list[int] | tuple[int, ...]) -> Any:
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
    weight_hh: Any,
    bias_hh: Any,
    mask: Any,
    state0: list[Any],
    gates: Any,
    extra: Any,
    states: list[Any],
    final: list[Any],
    rounded: bool,
) -> None:
    """One sweep in training.  float32, dense arrays of any library; shapes as csrc/sweep.h.

    ``rounded``: the recurrent product's factors are rounded to bfloat16, where there is a
    ``rounding_isa()``.
    """

def backward(
    cell: str,
    schedule: Schedule,
    weight_hh: Any,
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
    d_bias_ih: Any,
    d_bias_hh: Any,
    operand: Any,
    second_operand: Any,
    needs_d_state0: bool,
    rounded: bool,
) -> None:
    """One sweep back through time; arrays as in csrc/sweep.h."""

class Layer:
    """One layer in one direction for inference, its weights packed once.

    Sequences may be run from several threads at a time; a step while another thread is in one
    raises RuntimeError.
    """

    def __init__(
        self,
        cell: str,
        weight_ih: NDArray[np.float32],
        weight_hh: NDArray[np.float32],
        bias_ih: NDArray[np.float32] | None,
        bias_hh: NDArray[np.float32] | None,
        threads: int = 1,
    ) -> None: ...
    def forward(
        self,
        schedule: Schedule,
        x: Any,
        mask: Any,
        state0: list[Any],
        final: list[Any],
        y: Any,
    ) -> None:
        """Fill y [T, B, H] and the final states [B, H] from x [T, B, I]; mask [B, H] or None."""

    def step(
        self, x: NDArray[np.float32], h: NDArray[np.float32], c: NDArray[np.float32] | None = None
    ) -> None:
        """One step of a stream: x [B, I]; h and c [B, H] are replaced."""
