"""What torch's tools that walk over a model's modules meet in a layer of ours."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn
from torch.fx import Proxy

from tidegate.cells import Cell
from tidegate.nn.functional import reason_against_torch


class NotQuantised(nn.Module):
    """A module that says so when torch.ao.quantization passes it by.

    That package replaces modules by their exact class, and leaves others as they are in silence.
    """

    cell: Cell

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "qconfig":  # which torch.ao.quantization gives to every module first
            warnings.warn(self._passed_by(), stacklevel=2)
        super().__setattr__(name, value)

    def _passed_by(self) -> str:
        from torch.ao.quantization import get_default_dynamic_quant_module_mappings

        kind = type(self).__name__
        said = (
            f"torch.ao.quantization leaves tidegate.{kind} as it is: it replaces modules of "
            "torch.nn's own classes alone"
        )
        can = getattr(nn, kind, None) in get_default_dynamic_quant_module_mappings()
        if can and reason_against_torch(self.cell, recurrent_dropout=False) is None:
            said += f"; to quantise this one, load its state_dict into a torch.nn.{kind}"
        return said


def one_node(module: nn.Module, x: Proxy, **arguments: Any) -> Any:
    """The call of ``module`` as one node of the graph that torch.fx traces, as of torch.nn's."""
    target = x.tracer.path_of_module(module)  # pyright: ignore[reportAttributeAccessIssue]
    given = {name: value for name, value in arguments.items() if value is not None}
    return x.tracer.create_proxy("call_module", target, (x,), given)
