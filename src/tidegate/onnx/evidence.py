"""Evidence of whole sequences as ONNX nodes, as data/sequences/evidence.py computes it.

A share counts the places where a convolution exceeds a bias, so that a last bit may decide whether
a place counts.  Therefore convolutions are no Conv, whose sums ONNX Runtime adds up in an order of
its own, but sums of shifted values in float32, in the order in which convolutions.py adds them:
their bits are the same.  All else is float64, where what is left of the difference is 1e-9 of what
float32 rounds.
"""

from __future__ import annotations

import numpy as np

from tidegate.data.sequences.convolutions import LENGTH, REACH, TWOS, Convolutions
from tidegate.data.sequences.evidence import FARTHEST, SHORTEST, SequenceEvidence, points_of
from tidegate.onnx.graph import Graph, added, axes, cast, size_of, summed, whole


def evidence_of(
    graph: Graph,
    evidence: SequenceEvidence,
    own: str,
    common: str,
    magnitude: str,
    lengths: str,
) -> str:
    """Evidence float64 [B, O] of sequences of true ``lengths``, int64 [B].

    ``own`` [B, T, C]: in deviations of their own; ``common`` [B, T, C]: in those of the training
    part; ``magnitude`` [B, 1, C]: the logarithms of their own deviations.  All are float64.  Of a
    row of length 0 it is any finite number.
    """
    counts = graph.node("Max", lengths, whole(graph, 1))
    bounds = (graph.constant(np.array(number)) for number in (-FARTHEST, FARTHEST))
    steps, width = counts, size_of(graph, own, 1)
    both = graph.node("Concat", own, graph.node("Clip", common, *bounds), axis=2)
    if evidence.length < SHORTEST:
        steps, width = (_stretched(graph, n, evidence.length) for n in (counts, width))
        both = _resampled(graph, both, counts, steps, width)
    both = cast(graph, both, np.float32)
    points = points_of(evidence.length)
    read = whole(graph, points)
    values = _resampled(graph, cast(graph, both, np.float64), steps, read, read)
    relative = cast(graph, graph.node("Unsqueeze", counts, axes(graph, 1)), np.float64)
    median = graph.constant(np.array(float(evidence.length)))
    others = [
        graph.node("Reshape", values, axes(graph, 0, points * 2 * evidence.channels)),
        graph.node("Squeeze", magnitude, axes(graph, 1)),
        graph.node("Log", graph.node("Div", relative, median)),
    ]
    features = [
        *_shares(graph, evidence.convolutions, both, steps, width),
        *(cast(graph, value, np.float32) for value in others),
    ]
    read = cast(graph, graph.node("Concat", *features, axis=1), np.float64)
    weights = cast(graph, graph.constant(_in_order(evidence)), np.float64)
    intercepts = cast(graph, graph.constant(evidence.intercepts), np.float64)
    told = graph.node("Gemm", read, weights, intercepts)
    return cast(graph, cast(graph, told, np.float32), np.float64)


def _in_order(evidence: SequenceEvidence) -> np.ndarray:
    """The weights with those of shares by dilation, bias, sum and kernel, as ``_shares`` gives."""
    of = evidence.convolutions
    shares, others = np.split(evidence.weights, [of.size])
    shares = np.moveaxis(shares.reshape(*of.biases.shape, -1), 3, 1)
    return np.concatenate([shares.reshape(of.size, -1), others])


def _stretched(graph: Graph, steps: str, length: int) -> str:
    """How many points so many steps become, where a median of ``length`` becomes SHORTEST."""
    more = graph.node("Mul", steps, whole(graph, SHORTEST))
    return graph.node(
        "Div", graph.node("Add", more, whole(graph, length - 1)), whole(graph, length)
    )


def _resampled(graph: Graph, values: str, steps: str, points: str, width: str) -> str:
    """Values [B, T, C], of ``steps`` [B] each, at so many ``points``, [B] or one for all, evenly
    spaced from the first step to the last: [B, width, C].
    """

    def column(counts: str) -> str:
        less = graph.node("Sub", graph.node("Reshape", counts, axes(graph, -1, 1)), one)
        return cast(graph, less, np.float64)

    one = whole(graph, 1)
    last, gaps = column(steps), column(points)
    numbers = cast(graph, graph.node("Range", whole(graph, 0), width, one), np.float64)
    some = graph.node("Max", gaps, graph.constant(np.ones(())))
    at = graph.node("Mul", numbers, graph.node("Div", last, some))
    first = graph.node("Equal", numbers, graph.constant(np.zeros(())))
    between = graph.node("Or", first, graph.node("Less", numbers, gaps))
    at = graph.node("Where", between, at, last)
    before = graph.node("Floor", at)
    after = graph.node("Min", graph.node("Add", before, graph.constant(np.ones(()))), last)
    low, high = (
        graph.node(
            "GatherND",
            values,
            graph.node("Unsqueeze", cast(graph, places, np.int64), axes(graph, 2)),
            batch_dims=1,
        )
        for places in (before, after)
    )
    part = graph.node("Unsqueeze", graph.node("Sub", at, before), axes(graph, 2))
    return graph.node("Add", graph.node("Mul", graph.node("Sub", high, low), part), low)


def _shares(graph: Graph, of: Convolutions, x: str, steps: str, width: str) -> list[str]:
    """Of each dilation and bias the shares float32 [B, R * 84] of x [B, W, C], ``steps`` [B]."""
    zero, one = whole(graph, 0), whole(graph, 1)
    places = graph.node("Range", zero, width, one)  # [W]
    counts = graph.node("Reshape", steps, axes(graph, -1, 1, 1, 1))
    inside = graph.node("Less", places, counts)  # [B, 1, 1, W]
    x = graph.node("Transpose", x, perm=[0, 2, 1])
    nothing = graph.constant(np.zeros((), np.float32))
    x = graph.node("Where", graph.node("Squeeze", inside, axes(graph, 1)), x, nothing)
    # one more place and one more channel, for what is not there
    x = graph.node("Pad", x, axes(graph, 0, 0, 0, 0, 1, 1))
    lowest = graph.constant(np.array(-np.inf, np.float32))
    kernels = of.biases.shape[2]
    shares = []
    for d, dilation in enumerate(of.dilations.tolist()):
        convolved = _convolved(graph, _of_channels(graph, x, of.sums[d]), places, width, dilation)
        end = whole(graph, REACH * dilation)
        fewer = graph.node("Sub", counts, graph.node("Add", end, end))
        is_inner = graph.node(
            "And",
            graph.node("GreaterOrEqual", places, end),
            graph.node("Less", places, graph.node("Sub", counts, end)),
        )
        short = graph.node("LessOrEqual", fewer, zero)
        # every second kernel looks beyond the ends, as do all in a sequence that is too short
        beyond = graph.constant((np.arange(kernels) % 2 == d % 2)[:, None])
        beyond = graph.node("Or", short, beyond)
        found = graph.node("And", inside, graph.node("Or", beyond, is_inner))
        convolved = graph.node("Where", found, convolved, lowest)
        total = cast(graph, graph.node("Where", beyond, counts, fewer), np.float32)
        total = graph.node("Squeeze", total, axes(graph, 3))
        for bias in np.moveaxis(of.biases[d], 2, 0):
            above = graph.node("Greater", convolved, graph.constant(bias[..., None]))
            above = summed(graph, cast(graph, above, np.float32), 3, keep=False)
            share = graph.node("Div", above, total)
            shares.append(graph.node("Reshape", share, axes(graph, 0, bias.size)))
    return shares


def _of_channels(graph: Graph, x: str, sums: np.ndarray) -> str:
    """Sums of channels, [B, R, W], of x [B, C + 1, W], whose last channel is zero."""
    chosen = [np.flatnonzero(weights) for weights in sums]
    total = ""
    for k in range(max(1, *map(len, chosen))):
        channels = np.array([c[k] if k < len(c) else sums.shape[1] for c in chosen])
        term = graph.node("Gather", x, graph.constant(channels), axis=1)
        weights = np.array(
            [w[c[k]] if k < len(c) else 1 for w, c in zip(sums, chosen, strict=True)]
        )
        if (weights != 1).any():
            term = graph.node("Mul", term, graph.constant(weights.astype(np.float32)[:, None]))
        total = graph.node("Add", total, term) if total else term
    return total


def _convolved(graph: Graph, x: str, places: str, width: str, dilation: int) -> str:
    """What each kernel gives at each place, [B, R, 84, W], of x [B, R, W + 1], whose last is zero.

    Zeros stand for what lies beyond the ends.
    """
    ahead = (np.arange(LENGTH) - REACH) * dilation
    where = graph.node("Add", places, graph.constant(ahead[:, None]))  # [9, W]
    known = graph.node(
        "And",
        graph.node("GreaterOrEqual", where, whole(graph, 0)),
        graph.node("Less", where, width),
    )
    shifts = graph.node("Gather", x, graph.node("Where", known, where, width), axis=2)
    sizes = graph.constant(np.ones(LENGTH, np.int64))
    ones = added(graph, graph.node("Split", shifts, sizes, outputs=LENGTH, axis=2))
    threes = graph.node("Mul", shifts, graph.constant(np.array(3, np.float32)))
    twos = [graph.node("Gather", threes, graph.constant(column), axis=2) for column in TWOS.T]
    return graph.node("Sub", added(graph, twos), ones)
