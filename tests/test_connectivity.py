"""How much a token hangs on those before it: beside torch's gradient, of every cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS
from streamed_models import TEXT, language_model

from tidegate.runtime import connectivity as module
from tidegate.runtime.connectivity import connectivity


def gradient_lengths(model: Any, tokens: np.ndarray) -> np.ndarray:
    """By torch: of the logit of the last token with respect to the vectors of those before."""
    network = model.network_
    seen = []

    def keep(layer: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
        seen.append(output.detach().requires_grad_())
        return seen[0]

    network.embedding.register_forward_hook(keep)
    read = torch.tensor(tokens[:-1, None].astype(np.int64))
    logits, *_ = network(read, torch.tensor([len(read)]))
    logits[-1, 0, int(tokens[-1])].backward()
    return seen[0].grad[:, 0].norm(dim=-1).double().numpy()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_it_is_the_length_of_the_gradient(cell, batch_norm):
    model = language_model(cell=cell, batch_norm=batch_norm)
    tokens = model.encoder_.encode(TEXT[:20])
    found = connectivity(model.runtime_, tokens)
    np.testing.assert_allclose(found, gradient_lengths(model, tokens), rtol=1e-3, atol=1e-6)


def test_of_a_long_text_the_last_tokens_are_followed_back_from_the_state_before(monkeypatch):
    model = language_model()
    tokens = model.encoder_.encode(TEXT)
    whole = connectivity(model.runtime_, tokens)
    monkeypatch.setattr(module, "FOLLOWED", 7)
    np.testing.assert_allclose(connectivity(model.runtime_, tokens), whole[-7:], rtol=1e-4)
