"""The page of what a fitted model does while it reads one input."""

from __future__ import annotations

from typing import Any

from tidegate.runtime.encoder_decoder import EncoderDecoderRuntime
from tidegate.runtime.inspection import Inspection
from tidegate.runtime.inspection_page import inspection_page


def page_of(fitted: Any, x: Any, found: Inspection, title: str) -> str:
    """Of one input ``x``, as ``inspect`` takes it, and the gates ``found`` by it."""
    runtime = fitted.runtime_
    two = isinstance(runtime, EncoderDecoderRuntime)
    architecture = (runtime.source if two else runtime).architecture
    words = architecture.vocabulary_size is not None
    connected = None if two else fitted.connectivity(x)
    return inspection_page(
        found, connected, title=title, words=words, note=_left_out(fitted, words)
    )


def _left_out(fitted: Any, words: bool) -> str:
    """What adds to the answers and is not in the gradients."""
    if getattr(fitted, "counts_", None) is not None:
        return "What the counted n-grams add to answers is left out."
    if words and fitted.runtime_.architecture.linear_steps:
        return "What the straight line of words and pairs adds to answers is left out."
    if not words and getattr(fitted, "evidence_", None) is not None:
        return "What the evidence of the whole sequence adds to answers is left out."
    return ""
