"""Runs pytest with another build of the compiled module: ``with_module.py MODULE ARGUMENTS...``."""

import importlib.util
import sys
from importlib.machinery import ExtensionFileLoader

import pytest

NAME = "tidegate._engine"


def main(path: str, arguments: list[str]) -> int:
    """Pytest's exit status."""
    spec = importlib.util.spec_from_loader(NAME, ExtensionFileLoader(NAME, path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[NAME] = module
    return pytest.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
