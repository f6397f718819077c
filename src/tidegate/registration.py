"""Makes the engine's operator known to torch wherever both tidegate and torch are imported.

Files of torch.export and torch.jit name the operator ``tidegate::recurrence``.  To load one it must
be registered, which takes torch; but ``import tidegate`` must not import torch.  So it is done at
once where torch is there already, and otherwise right after torch's own import.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from typing import Any


def import_with_torch(module: str) -> None:
    """Import ``module``, which registers an operator, now or as soon as torch is imported."""
    if "torch" in sys.modules:
        _register(module)
    else:
        sys.meta_path.insert(0, _AfterTorch(module))


def _register(module: str) -> None:
    # whatever is wrong here is said where a layer is used; it must not keep torch from loading
    with contextlib.suppress(Exception):
        importlib.import_module(module)


class _AfterTorch:
    """Finds torch as Python does, once, and registers when torch's own code has run."""

    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, name: str, *_: Any) -> Any:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: Any) -> None:
                execute(module)
                _register(self._module)

            spec.loader.exec_module = execute_and_register
        return spec
