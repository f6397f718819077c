"""The engine's operator among those that torch's exporter of ONNX knows without being told."""

import torch
from torch.onnx._internal.exporter._torchlib._torchlib_registry import onnx_impl

from tidegate.onnx.torch_export import recurrence

onnx_impl(torch.ops.tidegate.recurrence.default, no_compile=True)(recurrence)
