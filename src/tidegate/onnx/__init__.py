"""Trained networks as ONNX files.  No module of onnx is imported before something is exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What ``torch.onnx.export(model, ..., dynamo=True, custom_translation_table=...)`` takes for a
    model that has layers of tidegate.

    The model must be in evaluation mode, in float32 on the CPU.  Raises InputError where torch,
    onnx or onnxscript is missing.
    """
    from tidegate.errors import InputError

    try:
        import torch

        from tidegate.onnx.torch_export import recurrence
    except ModuleNotFoundError as e:
        raise InputError(
            f"expected torch, onnx and onnxscript to export with, got no {e.name}; install them "
            "with: pip install 'tidegate[train,onnx]' onnxscript"
        ) from e
    return {torch.ops.tidegate.recurrence.default: recurrence}
