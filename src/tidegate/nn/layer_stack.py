"""Layers one after the other, of which each knows which steps of a batch are true ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tidegate.nn.recurrent_layer import Recurrent

Step = tuple[Tensor, Tensor | None]  # values, and lengths [B] or None


class LayerStack(nn.Module):
    """``stack(x, lengths)``: x [B, T] tokens or [B, T, I]; ``lengths`` [B] of true steps, which
    stand first, or None.  Each of ``layers`` takes and gives both; the last one's values come out.
    """

    def __init__(self, layers: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name.replace(".", "_"): layer for name, layer in layers})

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Run the layers."""
        for layer in self.layers.values():
            x, lengths = layer(x, lengths)
        return x


class AtEachStep(nn.Module):
    """A module that sees one step at a time, then a function."""

    def __init__(
        self, module: nn.Module | None, function: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, x: Tensor, lengths: Tensor | None) -> Step:
        """The module's values; lengths as they came."""
        y = x if self.module is None else self.module(x)
        return (y if self.function is None else self.function(y)), lengths


class Normalised(nn.Module):
    """A batch normalisation of features, whatever stands before them."""

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, lengths: Tensor | None) -> Step:
        """As torch.nn.BatchNorm1d, over all steps."""
        return self.norm(x.flatten(0, -2)).view(x.shape), lengths


class Embedded(nn.Module):
    """An embedding; with ``mask_zero``, token 0 stands at the end of a row only, and is no step."""

    def __init__(self, embedding: nn.Embedding, mask_zero: bool) -> None:
        super().__init__()
        self.embedding, self.mask_zero = embedding, mask_zero

    def forward(self, x: Tensor, lengths: Tensor | None) -> Step:
        """Raises ValueError for token 0 within a row."""
        if self.mask_zero:
            own = (x != 0).sum(1)
            if bool(((x != 0) != (torch.arange(x.shape[1]) < own[:, None])).any()):
                raise ValueError(
                    "x: expected token 0 at the end of rows only, got it before other tokens; "
                    "Network.predict takes these"
                )
            lengths = own if lengths is None else torch.minimum(own, lengths)
        return self.embedding(x), lengths


class RecurrentStep(nn.Module):
    """A recurrent layer, its batch first; in ``reverse``, from the last true step to the first.

    ``every``: outputs of all steps, in the order of the steps, else the last ones.  ``hold``: after
    a row's length its last output, not zero.  ``merge``: how both directions become one.
    """

    def __init__(
        self,
        layer: Recurrent,
        *,
        reverse: bool,
        every: bool,
        hold: bool,
        merge: Callable[[Tensor, Tensor], Tensor] | None,
        initial: Sequence[Tensor] | None,
    ) -> None:
        super().__init__()
        self.layer, self.reverse, self.every, self.hold = layer, reverse, every, hold
        self.merge, self._states = merge, 0
        for k, state in enumerate(initial or ()):
            self.register_buffer(f"initial_{k}", state)
            self._states = k + 1

    def forward(self, x: Tensor, lengths: Tensor | None) -> Step:
        """Outputs [B, T, F], or the last ones [B, F] and no lengths."""
        B, T = x.shape[:2]  # noqa: N806
        x = _turned(x, lengths) if self.reverse else x
        states = [getattr(self, f"initial_{k}") for k in range(self._states)]
        states = [s.expand(-1, B, -1).contiguous() for s in states]
        hx = None if not states else states[0] if len(states) == 1 else tuple(states)
        y, final = self.layer(x, hx, lengths)
        last = final if isinstance(final, Tensor) else final[0]
        if not self.every:
            return self._merged(torch.cat(list(last), -1)), None
        y = _turned(y, lengths) if self.reverse else y
        if self.hold and lengths is not None:
            inside = torch.arange(T)[:, None] < lengths
            y = torch.where(inside.T[..., None], y, torch.cat(list(last), -1)[:, None])
        return self._merged(y), lengths

    def _merged(self, y: Tensor) -> Tensor:
        return y if self.merge is None else self.merge(*y.chunk(2, -1))


class Pooled(nn.Module):
    """``mean`` over the true steps, or the highest value of all steps, or of the true ones only."""

    def __init__(self, mean: bool, true_steps: bool) -> None:
        super().__init__()
        self.mean, self.true_steps = mean, true_steps

    def forward(self, x: Tensor, lengths: Tensor | None) -> Step:
        """[B, F] of [B, T, F]."""
        if lengths is None:
            return (x.mean(1) if self.mean else x.amax(1)), None
        inside = (torch.arange(x.shape[1]) < lengths[:, None])[..., None]
        if self.mean:
            steps = lengths.clamp(min=1 if self.true_steps else 0)[:, None]
            return (x * inside).sum(1) / steps, None
        if not self.true_steps:
            return x.amax(1), None
        highest = torch.where(inside, x, -torch.inf).amax(1)
        return torch.where(lengths[:, None] > 0, highest, torch.zeros(())), None


def _turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each row's true steps [B, T, F] the other way around."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1])
    places = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return x.gather(1, places[..., None].expand_as(x))
