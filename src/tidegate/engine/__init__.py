"""The compiled kernels on numpy arrays; only this room imports the compiled module."""

from tidegate.engine.layer import EngineLayer
from tidegate.engine.threads import (
    available_threads,
    processors,
    shares_units,
    threads_for,
    threads_worth,
)

__all__ = [
    "EngineLayer",
    "available_threads",
    "processors",
    "shares_units",
    "threads_for",
    "threads_worth",
]
