"""Words read letter by letter: their forms tell what a word never seen may be."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tidegate.model.architecture import Architecture
from tidegate.nn.recurrent_layer import Recurrent


class Spelling(nn.Module):
    """A recurrent layer over the letters of each word, in both directions (Ling et al. 2015,
    arXiv:1508.02096).

    ``forward(letters)``: int64 [T, B, K], 0 beyond a word's end.  Returns [T, B, S], the final
    states of both directions side by side; zeros where there is no letter.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        sizes = architecture.letter_sizes()
        self.embedding = nn.Embedding(architecture.letters, sizes["I"])
        nn.init.normal_(self.embedding.weight, std=sizes["I"] ** -0.5)
        self.recurrent = Recurrent(
            architecture.cells[0], sizes["I"], sizes["H"], bidirectional=True, proj_size=sizes["P"]
        )

    def forward(self, letters: Tensor) -> Tensor:
        # most words of a batch stand in it several times: each is read once
        words, places = torch.unique(letters.flatten(0, 1), dim=0, return_inverse=True)
        lengths = (words != 0).sum(1)
        longest = max(1, int(lengths.max())) if len(words) else 1
        _, final = self.recurrent(self.embedding(words[:, :longest].T), None, lengths.cpu())
        h = final[0] if isinstance(final, tuple) else final  # [2, words, W]
        spelled = torch.cat(tuple(h), dim=-1)
        return spelled[places].unflatten(0, letters.shape[:2])
