from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Of numpy's and scipy's products, before these are loaded: two processes of tests with two threads
# each, on two cores, wait for each other five times as long as they compute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# For the same reason OpenMP's threads, torch's and the engine's, sleep while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import pytest
from command_line import tidegate  # noqa: F401  a fixture

os.environ.setdefault("KERAS_BACKEND", "torch")  # read when Keras is imported

# Shared machines stall for longer than hypothesis' 200 ms; the whole test has pytest's timeout.
hypothesis.settings.register_profile("tidegate", deadline=None)
hypothesis.settings.load_profile("tidegate")


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the repository; the test is skipped where there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return folder


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that would be compiled run on numpy, or step by step, in this test."""
    from tidegate.compiling import kernels

    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(kernels, "_reasons", {})


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for the tests of pages."""
    from chromium import started

    with started() as one:
        yield one
