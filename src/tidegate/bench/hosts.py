"""Where contestants run: in this process, or each in one of its own, idle between its turns."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from tidegate.bench.catalogue import LIBRARIES, Library
from tidegate.bench.timing import Timed, seconds_per_call
from tidegate.bench.work import Prepared, Results, Work

_Prepare = Callable[[Work], Prepared]


class Hosts:
    """Prepares works in libraries; ends their processes when left."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._children: dict[str, _Child] = {}

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *exception: object) -> None:
        for child in self._children.values():
            child.end()

    def prepare(self, name: str, work: Work) -> tuple[Results, Timed]:
        """The results of ``work`` in the library called ``name``, and how to time it.

        A library holds one work at a time in a process of its own: the one prepared last.
        """
        library = LIBRARIES[name]
        if not library.own_process:
            prepared = _prepare_function(library)(work)
            return prepared.results(), partial(seconds_per_call, prepared.call)
        if name not in self._children:
            self._children[name] = _Child(name, self._threads)
        return self._children[name].prepare(work)


class _Child:
    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        fresh = multiprocessing.get_context("spawn")  # a fork would share torch's threads and locks
        self._connection, theirs = fresh.Pipe()
        self._process = fresh.Process(target=_serve, args=(theirs, name, threads), daemon=True)
        self._process.start()
        theirs.close()

    def prepare(self, work: Work) -> tuple[Results, Timed]:
        return self._ask(work), self._ask

    def end(self) -> None:
        self._connection.close()  # it ends at the end of its input
        self._process.join(timeout=5)
        self._process.terminate()

    def _ask(self, order: Work | int) -> Any:
        try:
            self._connection.send(order)
            answer = self._connection.recv()
        except (EOFError, ConnectionError) as e:
            self._process.join(timeout=5)
            code = self._process.exitcode
            raise RuntimeError(f"{self._name}: its process ended with exit code {code}") from e
        if isinstance(answer, str):
            raise RuntimeError(f"{self._name}: {answer}")
        return answer


def _serve(connection: Connection, name: str, threads: int) -> None:
    """Answer a work with its results, and a number of calls with the seconds of each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's, which ends us
    library = LIBRARIES[name]
    os.environ.update(library.environment, OMP_NUM_THREADS=str(threads))
    if hasattr(os, "sched_setaffinity"):  # XLA takes a thread for each processor it may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    prepare, prepared = None, None
    while True:
        try:
            order = connection.recv()
        except EOFError:
            return
        answer: Any
        try:
            if isinstance(order, int):
                assert prepared is not None
                answer = seconds_per_call(prepared.call, order)
            else:
                prepare, prepared = prepare or _prepare_function(library), None
                prepared = prepare(order)
                answer = prepared.results()
        except Exception as e:
            answer = f"{type(e).__name__}: {e}"
        connection.send(answer)


def _prepare_function(library: Library) -> _Prepare:
    module, _, function = library.prepare.partition(":")
    return getattr(importlib.import_module(module), function)
