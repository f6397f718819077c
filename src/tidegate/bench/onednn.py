"""A yardstick: oneDNN called from C++, measured once on the same kind of machine.

2 cores of a Xeon with AVX-512 and 2 MB of L2 cache each, where a large float32 product ran at 420
GF/s.  oneDNN has no Python package of its own, so it does not run beside us.  What is compared is
the fraction of the peak that each attains: ours in the run at hand, oneDNN's in that one.
"""

from __future__ import annotations

from tidegate.bench.shapes import MODES, Shape

_PEAK = 420.0
# GF/s, inference and training.  GRU is oneDNN's LBR-GRU: linear before reset, as torch's.
_ATTAINED = {
    ("gru", Shape(1, 100, 128, 128)): (49, 35),
    ("gru", Shape(32, 100, 1, 50)): (37, 45),
    ("gru", Shape(32, 80, 128, 128)): (264, 207),
    ("gru", Shape(64, 200, 128, 128)): (262, 224),
    ("gru", Shape(50, 100, 512, 512)): (337, 306),
    ("gru", Shape(16, 500, 64, 256)): (269, 183),
    ("gru", Shape(256, 50, 256, 256)): (324, 299),
    ("lstm", Shape(1, 100, 128, 128)): (62, 58),
    ("lstm", Shape(32, 100, 1, 50)): (36, 63),
    ("lstm", Shape(32, 80, 128, 128)): (258, 248),
    ("lstm", Shape(64, 200, 128, 128)): (282, 254),
    ("lstm", Shape(50, 100, 512, 512)): (359, 348),
    ("lstm", Shape(16, 500, 64, 256)): (287, 244),
    ("lstm", Shape(256, 50, 256, 256)): (356, 321),
}


def fraction_of_peak(cell: str, shape: Shape, mode: str) -> float | None:
    """What oneDNN attained of its run's peak; None where it was not measured."""
    attained = _ATTAINED.get((cell, shape))
    return None if attained is None else attained[MODES.index(mode)] / _PEAK
