"""How a network is trained: options, optimisers, the loop, and the run folder it leaves behind."""
