"""What makes a step's bits depend on nothing but the run: its seed and the processor's modes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MASK = 2**64 - 1


def seed_step(seed: int, step: int, rank: int, stream: int, device: torch.device) -> None:
    """Seed torch's generator for one step (stream 0) or one evaluation (stream 1) of a process."""
    mixed = seed
    for number in (step, rank, stream):
        # splitmix64 (Steele, Lea & Flood 2014): near numbers give unrelated seeds
        mixed = (mixed + number + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
    if device.type == "cpu":
        torch.default_generator.manual_seed(mixed)  # without a look at every other device
    else:
        torch.manual_seed(mixed)


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Denormal numbers count as zero inside, as before again after.

    Gradients that fade on their way back through time become denormal, and the processor handles
    each such number in microcode: a GRU's training step over 200 steps takes nine times as long.
    """
    tiny = torch.tensor([1e-40])  # denormal in float32
    before = (tiny * 1.0).item() == 0.0  # torch has no way to ask
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def products_of(precision: str) -> Iterator[None]:
    """The factors of large float32 products are rounded to ``precision`` inside.

    "bfloat16" keeps 8 bits of each factor and sums in float32, where the processor has such
    products (AMX, AVX-512 BF16; elsewhere nothing changes); "float32" is exact.  It concerns
    torch's products and, where gradients are wanted, the engine's.  On a GPU the products are
    rounded to what torch takes in that mode (TF32: 11 bits), and so are those inside of cuDNN's
    layers, which without being told otherwise round always.
    """
    mode, tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    rounded = precision == "bfloat16"
    torch.set_float32_matmul_precision("medium" if rounded else "highest")
    torch.backends.cudnn.allow_tf32 = rounded
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(mode)
        torch.backends.cudnn.allow_tf32 = tf32
