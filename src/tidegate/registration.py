"""Makes the engine's operator known to other libraries, wherever they are imported beside tidegate.

Files of torch.export and torch.jit name the operator ``tidegate::recurrence``.  To load one it must
be registered, which takes torch; but ``import tidegate`` must not import torch.  So it is done at
once where torch is there already, and otherwise right after torch's own import; so is what torch's
exporter of ONNX writes for it, as soon as the exporter looks up what it writes for any operator.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from typing import Any


def import_with(library: str, module: str) -> None:
    """Import ``module``, which registers an operator, now or as soon as ``library`` is imported."""
    if library in sys.modules:
        _register(module)
    else:
        sys.meta_path.insert(0, _After(library, module))


def _register(module: str) -> None:
    # whatever is wrong here is said where a layer is used; it must not keep others from loading
    with contextlib.suppress(Exception):
        importlib.import_module(module)


class _After:
    """Finds a library as Python does, once, and registers when its own code has run."""

    def __init__(self, library: str, module: str) -> None:
        self._library, self._module = library, module

    def find_spec(self, name: str, *_: Any) -> Any:
        if name != self._library:
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
