"""Layers beside every other library that has them: timed in turns, in one run, on equal results."""
