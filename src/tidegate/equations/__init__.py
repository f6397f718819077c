"""The language of cells, and what is derived from an equation: its adjoint, the pass on numpy."""
