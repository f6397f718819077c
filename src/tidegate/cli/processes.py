"""A command in several processes, started as torchrun starts them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence


def process_rank() -> int | None:
    """The number of this process among those of a distributed run; None outside of one."""
    return int(os.environ["RANK"]) if "RANK" in os.environ else None


def launch(count: int, arguments: Sequence[str]) -> int:
    """Run ``tidegate ARGUMENTS`` in ``count`` processes of this machine; the exit code.

    This is ``python -m torch.distributed.run --standalone --nproc-per-node COUNT -m tidegate``,
    without its log: the first process says itself, in one line, why it failed.  A file in the
    current folder that is named like a module is none to them (``-P``), as it is none to us.
    """
    import logging  # here, since --help need not load it

    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # as torchrun, which gives each process one thread, but with all cores at work
    threads = max(1, (os.cpu_count() or 1) // count)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="tidegate",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    logging.disable()
    try:
        elastic_launch(config, sys.executable)("-P", "-m", "tidegate", *arguments)
    except ChildFailedError as e:
        _, failure = e.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 1  # below 0: killed by a signal
    except (KeyboardInterrupt, SignalException):
        return 130
    finally:
        logging.disable(logging.NOTSET)
    return 0


def let_the_first_process_speak() -> None:
    """Wait, in another process than the first, before an error is shown.

    What stops one process mostly stops all: the first says it, and the launcher ends the others.
    """
    if process_rank():
        time.sleep(10)
