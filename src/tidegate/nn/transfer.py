"""A network that starts from the weights of trained ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tidegate.nn.network import SequenceNetwork


@torch.no_grad()
def transfer(network: SequenceNetwork, sources: Sequence[SequenceNetwork], *, dense: bool) -> None:
    """Give ``network`` the embedding, recurrent layers and norms of ``sources``; ``dense``: all.

    What reads evidence goes with the dense layer, since evidence is of labels.  A line of words is
    left out: other texts have another.

    One source with as many directions is taken over as it is.  Else every source reads in one: the
    first in the network's forward direction, the second in its reverse one.  Their embeddings come
    to stand side by side, and weights on what a source did not see start at zero, so that its
    states on a text are those it had.  That sizes fit, and that no layer norm is over what another
    direction puts out, is the caller's to see to.
    """
    target = network.state_dict()
    if [s.architecture.directions for s in sources] == [network.architecture.directions]:
        for name, tensor in sources[0].state_dict().items():
            of_labels = name.startswith(("dense.", "evidence."))
            if name == "evidence.weight":
                tensor = _without(tensor, sources[0].architecture.of_line)
            if name in target and (dense or not of_labels):
                target[name].copy_(tensor)
        return
    first = 0  # of the columns of this source's embedding
    for direction, source in enumerate(sources):
        a = source.architecture
        assert a.embedding_size is not None  # tokens
        embedded = slice(first, first + a.embedding_size)
        widths = a.layer_output_sizes()
        of_direction = [slice(direction * w, (direction + 1) * w) for w in widths]
        suffix = ("", "_reverse")[direction]
        reads_input = [
            {f"{name}_l0": p.role == "input" for name, p in cell.parameters.items()}
            for cell in a.layer_cells
        ]
        for name, tensor in source.state_dict().items():
            part, *place = name.split(".")
            if part == "embedding":
                target[name][:, embedded] = tensor
            elif part == "norms":
                target[name][of_direction[int(place[0])]] = tensor
            elif part == "recurrent" and place[0] == "shortcuts":
                k = int(place[1])
                target[name][of_direction[k]] = 0
                target[name][of_direction[k], of_direction[k - 1]] = tensor
            elif part == "recurrent":
                weights, k = target[name + suffix], int(place[0])
                columns = slice(None)
                if reads_input[k][place[1]]:
                    columns = embedded if k == 0 else of_direction[k - 1]
                weights.zero_()
                weights[..., columns] = tensor
        first = embedded.stop


def _without(weight: torch.Tensor, columns: slice) -> torch.Tensor:
    return torch.cat([weight[:, : columns.start], weight[:, columns.stop :]], dim=1)
