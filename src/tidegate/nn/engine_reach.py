"""What the engine can take: which cells, which tensors, and what torch may be doing meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.autograd import forward_ad

from tidegate.cells import CELLS, Cell
from tidegate.compiling.kernels import reason_against_kernels
from tidegate.engine import compiled

_CELLS = frozenset(compiled.cells())
_PLAIN = {Tensor, nn.Parameter}
# what torch records operators with: they have a shape and no memory
_RECORDED = {FakeTensor, FunctionalTensor}
_functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]


# whether torch.jit.trace runs: it warns of sizes that are compared
is_traced: Callable[[], bool] = torch.jit.is_tracing  # pyright: ignore[reportPrivateImportUsage]


def is_traced_to_onnx() -> bool:
    """Whether torch's older exporter of ONNX traces, which takes no operator but torch's own."""
    return is_traced() and torch.onnx.is_in_onnx_export()


FUNCTIONAL_GRADIENT = "torch.func's grad"  # alone among the transformations torch's kernels have it


def is_recorded() -> bool:
    """Whether torch records or observes operators now, so that a call must be one.

    torch.compile, torch.export, torch.jit.trace, make_fx and every TorchDispatchMode do.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._is_tracing()  # pyright: ignore[reportAttributeAccessIssue]
    )


def all_values(tensor: Tensor) -> tuple[Tensor, bool]:
    """What torch.func's transformations hide behind ``tensor``, and whether vmap is one of them."""
    is_batched = False
    while _functorch.is_functorch_wrapped_tensor(tensor):
        is_batched = is_batched or _functorch.is_batchedtensor(tensor)
        tensor = _functorch.get_unwrapped(tensor)
    return tensor, is_batched


def are_freed(tensors: Sequence[Tensor]) -> bool:
    """Whether one of these plain tensors has numbers and its storage none: torch crashes on some.

    A view into a freed storage still has an address, how far it is into the storage.
    """
    return not torch.compiler.is_compiling() and any(
        type(t) in _PLAIN
        and t.is_cpu
        and t.layout == torch.strided
        and t.numel() > 0
        and not _functorch.is_functorch_wrapped_tensor(t)
        and not t._is_zerotensor()
        and t.untyped_storage().nbytes() == 0
        for t in tensors
    )


def are_wrapped(tensors: Sequence[Tensor]) -> bool:
    """Whether tensors of some class of their own are among these."""
    return not torch.compiler.is_compiling() and not _PLAIN.issuperset(map(type, tensors))


def reason_against(cell: Cell, tensors: Sequence[Tensor]) -> str | None:
    """Why the engine cannot run a layer on these tensors, its input first; None if it can."""
    x = tensors[0]
    is_own = cell.key != cell.name
    if not is_own and (cell.name not in _CELLS or CELLS.get(cell.name) is not cell):
        return f"the engine has no kernel for {cell.name}"
    if not x.is_cpu:
        return f"the engine runs on the CPU, but the input is on {x.device}"
    if x.dtype != torch.float32:
        return f"the engine computes in float32, but the input is {x.dtype}"
    if is_traced_to_onnx():
        return "torch's exporter of ONNX by TorchScript knows no operator but torch's own"
    if torch._C._are_functorch_transforms_active():
        return f"the engine has no rule for {transform_around(tensors)}"
    if is_own and (against := _reason_against_own(cell)) is not None:
        return against
    if torch.compiler.is_compiling():  # no tensor is there yet
        return None
    if forward_ad._current_level >= 0 and _has_tangent(tensors):
        return f"the engine has no rule for {transform_around(tensors)}"
    return reason_against_memory(tensors)


@torch.compiler.assume_constant_result  # it cannot trace a compiler
def _reason_against_own(cell: Cell) -> str | None:
    return reason_against_kernels(cell)


def reason_against_memory(tensors: Sequence[Tensor]) -> str | None:
    """Why the engine cannot read the memory of these tensors; None if it can, or need not yet."""
    if not _PLAIN.issuperset(map(type, tensors)):
        foreign = set(map(type, tensors)) - _PLAIN
        if foreign <= _RECORDED and is_recorded():
            return None
        return f"the engine reads plain tensors, but one is a {foreign.pop().__name__}"
    try:
        has_memory = all(map(Tensor.data_ptr, tensors))
        if any(map(Tensor.storage_offset, tensors)):
            # a view into a freed storage has its offset as address
            has_memory = has_memory and all(t.data_ptr() != 4 * t.storage_offset() for t in tensors)
    except RuntimeError:  # sparse, or batched by torch.func
        has_memory = False
    if not has_memory:
        if tensors[0].numel() == 0:
            return "there is nothing to compute: T, B or I is 0"
        return "the engine reads dense tensors, but one has no memory of its own"
    if True in map(Tensor.is_neg, tensors):
        return "the engine cannot read a negated view, which one tensor is"
    return None


def transform_around(tensors: Sequence[Tensor]) -> str | None:
    """The transformation of torch.func, or forward-mode derivative, that a call is part of."""
    if torch._C._are_functorch_transforms_active():
        if torch.compiler.is_compiling():
            return "torch.func's transformations"
        levels = [level.key().name.lower() for level in _functorch.get_interpreter_stack()]
        return f"torch.func's {' of '.join(dict.fromkeys(levels))}"
    return "forward-mode derivatives" if _has_tangent(tensors) else None


def _has_tangent(tensors: Sequence[Tensor]) -> bool:
    if torch.compiler.is_compiling() or forward_ad._current_level < 0:
        return False
    return any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)
