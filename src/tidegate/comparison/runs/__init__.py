"""The runs of a comparison: every cell with every seed, on the same parts."""
