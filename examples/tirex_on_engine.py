"""TiRex-2 on tidegate's engine: its sLSTM layers, each as one sLSTM for each head.

    pip install tirex-2 "tidegate[train]"
    python examples/tirex_on_engine.py            # NX-AI/TiRex-2, which is downloaded
    python examples/tirex_on_engine.py FOLDER     # of a model's config.json and model.safetensors

On a CPU, tirex-2 runs an sLSTM as a loop of torch operations.  ``on_engine(model)`` puts layers
of the same weights in their place, which forecast the same and can be trained, too.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import tidegate as tg


class SLSTM(nn.Module):
    """What tirex-2's sLSTMFlashRNNLayer computes: an sLSTM of each head, and a norm of its units.

    A head reads D / heads of the D inputs and sees its own state only: it is a layer by itself.
    """

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        d = theirs.config.head_dim
        self.heads = nn.ModuleList(tg.Recurrent("slstm", d, d) for _ in theirs.igate.weight)
        self.scale = nn.Parameter(theirs.group_norm.weight.detach().clone())
        self.eps = theirs.group_norm.eps
        # what they name fgate is added to the recurrent product of i, and igate to that of f
        gates = (theirs.fgate, theirs.igate, theirs.zgate, theirs.ogate)
        inputs = torch.cat([gate.weight for gate in gates], 1)  # [heads, 4 d, d]
        recurrent = theirs.get_R().permute(0, 2, 3, 1).flatten(1, 2)  # of [heads, d, 4, d]
        biases = theirs.get_bias().flatten(1)  # of [heads, 4, d]
        for head, w, u, b in zip(self.heads, inputs, recurrent, biases, strict=True):
            none = torch.zeros_like(b)
            weights = {"weight_ih": w, "weight_hh": u, "bias_ih": b, "bias_hh": none}
            head.load_state_dict({f"{name}_l0": weight for name, weight in weights.items()})
            head.get_parameter("bias_hh_l0").requires_grad_(False)  # they have one bias

    def forward(self, x: Tensor) -> Tensor:
        """Of x [B, T, D] the normed states of all heads, [B, T, D]."""
        parts = x.transpose(0, 1).chunk(len(self.heads), 2)
        normed = [
            F.layer_norm(head(part)[0], scale.shape, scale, eps=self.eps)
            for head, part, scale in zip(
                self.heads, parts, self.scale.chunk(len(self.heads)), strict=True
            )
        ]
        return torch.cat(normed, 2).transpose(0, 1)


def on_engine(model: Any) -> Any:
    """The model itself, with layers of ours in the place of its sLSTM layers."""
    from tirex2.model.component import BiXLSTM  # pyright: ignore[reportMissingImports]

    for block in model.modules():
        if isinstance(block, BiXLSTM) and block.cell_type == "slstm":
            block.fwd_cell = block.rev_cell = SLSTM(block.fwd_cell)  # one layer for both ways
    return model


def main() -> None:
    from tirex2 import TimeseriesType, load_model  # pyright: ignore[reportMissingImports]

    model = load_model(*sys.argv[1:], device="cpu")
    wave = torch.sin(torch.arange(1024.0) / 8)
    series = [TimeseriesType(target=wave[None], past_covariates=None, future_covariates=None)]

    def forecast() -> Tensor:
        model.forecast(series, prediction_length=64, output_type="torch")  # not timed
        began = time.perf_counter()
        (values,) = model.forecast(series, prediction_length=64, output_type="torch")
        print(f"a forecast in {1e3 * (time.perf_counter() - began):.1f} ms")
        return values

    theirs = forecast()
    on_engine(model)
    print(f"now on the engine; greatest difference: {(forecast() - theirs).abs().max():.1e}")


if __name__ == "__main__":
    main()
