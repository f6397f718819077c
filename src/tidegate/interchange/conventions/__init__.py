"""How other libraries write cells: their order of weights, their activations, their arguments."""
