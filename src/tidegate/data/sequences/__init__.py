"""Sequences of numbers with answers: from tables, .npz and .ts files, as inputs of a network."""
