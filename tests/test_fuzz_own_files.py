"""Files of tidegate's own, damaged behind their digest: a clear refusal or a usable file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("fuzz_own_files.py")


def test_damaged_models_and_states_are_refused_or_usable(tmp_path: Path) -> None:
    """In a process of its own, which corrupted memory would end by a signal."""
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, "700", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
