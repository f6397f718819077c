"""How much a language model's word for a token hangs on each token before it.

The length of the gradient of the token's logit with respect to each earlier token's vector, as
Madsen 2019, "Visualizing memorization in RNNs", Distill, doi:10.23915/distill.00016, draws it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tidegate.cells import get_cell
from tidegate.equations import bptt
from tidegate.runtime.network import Network

_WINDOW: Final = 200  # tokens that the gradient is followed back through


@np.errstate(over="ignore", invalid="ignore")
def connectivity(network: Network, tokens: np.ndarray) -> np.ndarray:
    """The connectivity of the last of ``tokens`` [T] with each before it, float64 [T - 1].

    Of the last 200 at most, which end the result.  For a language model's network in one direction,
    without conditions.  This runs the cell's equations on numpy, there and back.
    """
    a, target = network.architecture, int(tokens[-1])
    before, read = np.split(tokens[:-1], [max(0, len(tokens) - 1 - _WINDOW)])
    state = network.initial_state(1)
    if len(before):
        _, state = network.features(before[:, None], None, state)
    x, cell, runs = network.embedded(read[:, None]), get_cell(a.cell_that_answers), []
    for k in range(len(a.hidden_sizes)):
        if k > 0 and a.batch_norm:
            scale, shift = network.norm(k - 1)
            x = x * scale + shift
        (weights,) = network.layer_weights(k)
        runs.append((bptt.forward(cell, x, state[k], weights), weights))
        x = runs[-1][0].y
    gradient = np.zeros_like(x)
    gradient[-1, 0] = network.output_weight[target]
    for k in reversed(range(len(runs))):
        run, weights = runs[k]
        ends = tuple(np.zeros_like(one) for one in run.state)
        gradient, _, _ = bptt.backward(cell, run, weights, gradient, ends)
        if k > 0 and a.batch_norm:
            gradient = gradient * network.norm(k - 1)[0]
    return np.linalg.norm(gradient[:, 0].astype(np.float64), axis=-1)
