"""The compiled kernels on numpy arrays; only this room imports the compiled module."""

from tidegate.engine.layer import EngineLayer
from tidegate.engine.threads import processors, shares_units, threads_for

__all__ = ["EngineLayer", "processors", "shares_units", "threads_for"]
