"""Where cells are kept that tests compile, and a compiler that takes half the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.compiling import compiler


@pytest.fixture(scope="module")
def cells_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of this file of tests."""
    folder, flags = tmp_path_factory.mktemp("cells"), list(compiler._FLAGS)
    flags[flags.index("-O3")] = "-O1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIDEGATE_CACHE", str(folder))
        patch.setattr(compiler, "_FLAGS", flags)
        yield folder
