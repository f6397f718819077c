"""What torch's tools that walk over a model's modules meet in a layer of ours."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn
from torch.fx import Proxy

from tidegate.cells import Cell
from tidegate.nn.functional import reason_against_torch


class OwnModule(nn.Module):
    """A module that says where a tool of torch's can do nothing with it, and what to do instead."""

    cell: Cell

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "qconfig":  # which torch.ao.quantization gives to every module first
            from torch.ao.quantization import get_default_dynamic_quant_module_mappings

            problem = (
                f"torch.ao.quantization leaves tidegate.{type(self).__name__} as it is: "
                "it replaces modules of torch.nn's own classes alone"
            )
            replaced = self._twin() in get_default_dynamic_quant_module_mappings()
            warnings.warn(problem + f"; {self._way_out()}" * replaced, stacklevel=2)
        super().__setattr__(name, value)

    def __prepare_scriptable__(self) -> nn.Module:  # which torch.jit.script calls
        way = self._way_out()
        raise RuntimeError(
            f"torch.jit.script cannot compile tidegate.{type(self).__name__}; use torch.compile or "
            f"torch.export{way and f', or {way}'}"
        )

    def _twin(self) -> type[nn.Module] | None:
        """The class of torch.nn that computes the same, if there is one."""
        known = reason_against_torch(self.cell, recurrent_dropout=False) is None
        names = (type(self).__name__, self.cell.layer) if known else ()
        return next((getattr(nn, name) for name in names if hasattr(nn, name)), None)

    def _way_out(self) -> str:
        twin = self._twin()
        return f"load its state_dict into a torch.nn.{twin.__name__}" if twin else ""


def one_node(module: nn.Module, x: Proxy, **arguments: Any) -> Any:
    """The call of ``module`` as one node of the graph that torch.fx traces, as of torch.nn's."""
    target = x.tracer.path_of_module(module)  # pyright: ignore[reportAttributeAccessIssue]
    given = {name: value for name, value in arguments.items() if value is not None}
    return x.tracer.create_proxy("call_module", target, (x,), given)
