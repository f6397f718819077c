"""What `tidegate.accelerate` did with each recurrent layer of a model."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.terminal import one_line


@dataclass(frozen=True)
class Layer:
    """A recurrent layer of a model: where it stands, its class, and why it was left as it was.

    ``reason`` is None for a layer that runs on the engine now.
    """

    name: str
    kind: str
    reason: str | None = None


@dataclass(frozen=True)
class Acceleration:
    """The recurrent layers that were found, in the model's order; ``print`` shows them as a table.

    A layer that stands in several places is named by the first.  ``notes`` say what holds for the
    model as a whole.
    """

    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()

    @property
    def swapped(self) -> tuple[Layer, ...]:
        """Those that run on the engine now and did not before."""
        return tuple(layer for layer in self.layers if layer.reason is None)

    @property
    def left(self) -> tuple[Layer, ...]:
        """Those that were left as they were, each with its reason."""
        return tuple(layer for layer in self.layers if layer.reason is not None)

    def __str__(self) -> str:
        if not self.layers:
            return "\n".join(["accelerate: found no recurrent layer", *self.notes])
        title = f"accelerate: {len(self.swapped)} of {len(self.layers)} recurrent layers swapped"
        rows = [("layer", "class", "now")]
        for layer in self.layers:
            now = "on the engine" if layer.reason is None else f"as before: {layer.reason}"
            rows.append((one_line(layer.name) or "the model", layer.kind, one_line(now)))
        first, second = (max(len(row[k]) for row in rows) for k in (0, 1))
        lines = [f"{name:{first}}  {kind:{second}}  {now}" for name, kind, now in rows]
        return "\n".join([title, *lines, *self.notes])

    __repr__ = __str__
