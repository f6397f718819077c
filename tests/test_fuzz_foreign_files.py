"""Damaged files of other libraries: a clear refusal or a usable network; time and memory bounded.

The same program, with 10,000 files of each kind, takes some minutes:
``python tests/fuzz_foreign_files.py FOLDER 10000 1``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("fuzz_foreign_files.py")


@pytest.mark.skipif(sys.platform != "linux", reason="it bounds memory as Linux does")
def test_damaged_files_of_other_libraries_are_refused_or_usable(tmp_path: Path) -> None:
    """In a process of its own, which corrupted memory would end by a signal."""
    for package in ("h5py", "onnx"):
        pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, "300", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
