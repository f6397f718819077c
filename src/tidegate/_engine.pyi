"""The compiled kernels (csrc/): float32, C-contiguous arrays in, numpy arrays out."""

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

def error_bounds() -> dict[str, float]:
    """Largest error of exp, tanh and sigmoid, in units in the last place."""
