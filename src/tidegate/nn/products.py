"""Products of whole matrices in training: torch's, or the engine's where that is faster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # pyright: ignore[reportPrivateImportUsage]

from tidegate.engine import compiled, threads_for


def multiply(
    a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None, adds: bool = False
) -> None:
    """Fill ``out`` with a @ b (+ bias), or with ``adds`` add a @ b to it.

    Without autograd.  a: [M, K], b: [K, N]; out: [M, N] with dense rows; bias: [N].
    """
    if in_engine(out):
        threads = threads_for(a.shape[0] * b.numel(), torch.get_num_threads())
        start = None if bias is None else _capsule(bias)
        operands = _capsule(a), _capsule(b), _capsule(out)
        compiled.multiply(*operands, start, adds, rounds(), threads)
    elif adds:
        out.addmm_(a, b)
    elif bias is not None:
        torch.addmm(bias, a, b, out=out)
    elif a.stride(0) == 1 and a.shape[1] >= a.shape[0]:
        # a long product with a transpose: that goes last, up to a quarter faster
        out.copy_(torch.mm(b.t(), a.t()).t())
    else:
        torch.mm(a, b, out=out)


def rounds() -> bool:
    """Whether the engine's products of training have bfloat16 factors: as torch's own have now."""
    return torch.get_float32_matmul_precision() == "medium" and compiled.rounding_isa() != ""


def rounding_pays() -> bool:
    """Whether products of bfloat16 factors are faster here than those of float32.

    With AMX they are; with AVX-512's instruction on AMD's processors (Zen 5: 370 GF/s a core
    instead of 205), not on Intel's (a Xeon without AMX: 75 instead of 150).
    """
    isa = compiled.rounding_isa()
    return isa == "amx" or (isa != "" and not compiled.is_intel())


def in_engine(out: Tensor) -> bool:
    """Whether the engine makes a product like this one.

    On processors with AVX-512 that are not Intel's, torch's library (MKL) keeps to AVX2: 92 of the
    205 GF/s that the engine attains on a core of Zen 5.  Elsewhere torch's products are as fast.
    """
    in_reach = out.is_cpu and out.dtype == torch.float32
    return _LEFT_BEHIND and in_reach and compiled.isa() == "avx512"


_LEFT_BEHIND = torch.backends.mkl.is_available() and not compiled.is_intel()


def _capsule(t: Tensor) -> Any:
    return to_dlpack(t if 1 in t.stride() else t.contiguous())
