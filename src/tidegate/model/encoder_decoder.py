"""What two networks with attention between them a model file describes, free of torch.

The encoder reads a source; each of its outputs is one row of the memory.  The decoder predicts a
target step by step.  Its recurrence knows nothing of the attention, which stands after its last
layer (Luong et al. 2015, arXiv:1508.04025, without input feeding): so a whole target is one call of
a recurrent layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from tidegate.errors import shown
from tidegate.model.architecture import Architecture

SCORES = ("dot", "general", "additive")
MAX_ANSWER = 65_536  # tokens


@dataclass(frozen=True)
class EncoderDecoder:
    """An encoder ``source``, a decoder ``target``, and attention with one of SCORES between them.

    Both are networks with an output at each step and with the same cell and layers, and read
    tokens, or both numbers.  Of tokens the last one of each vocabulary is the end: it stands behind
    every source, before every target as it is read and behind it as it is predicted.  A decoder of
    numbers reads where a step stands, and nothing of the target.  ``longest``: most steps of an
    answer, the end left out.

    With the encoder's outputs m_s (its dense layer's, as wide as the decoder's features q_t):
    scores q.m (``dot``), (W q).m (``general``) or v.tanh(W q + U m) (``additive``: Bahdanau et al.
    2015, arXiv:1409.0473, equation of appendix A.1.2); their softmax over s weighs the m_s, whose
    sum c_t gives the features tanh(C [c_t; q_t] + b) that the decoder's dense layer sees.  Each
    state that a layer of the decoder begins with is a linear map of the states that the encoder's
    layer ends with, both directions beside one another.
    """

    source: Architecture
    target: Architecture
    score: str
    longest: int

    def __post_init__(self) -> None:
        def need(good: bool, name: str, expected: str, got: object) -> None:
            if not good:
                raise ValueError(f"{name}: expected {expected}, got {shown(got)}")

        a, b = self.source, self.target
        need(self.score in SCORES, "score", "one of " + ", ".join(SCORES), self.score)
        fits = 1 <= self.longest <= MAX_ANSWER
        need(fits, "longest", f"1 to {MAX_ANSWER} steps", self.longest)
        for name, one in (("source", a), ("target", b)):
            alone = not (one.evidence_size or one.condition_size or one.linear_steps)
            alone = alone and one.readout == "every"
            need(alone, name, "tokens or numbers alone, read out at every step", "others")
            words = one.vocabulary_size
            need(words is None or words >= 2, name, "a token beside the end", "none")
        need(not b.bidirectional, "target", "one direction", "both")
        alike = (a.vocabulary_size is None) == (b.vocabulary_size is None)
        need(alike, "target", "tokens or numbers, as source reads", "others")
        of_tokens = b.vocabulary_size in (None, b.output_size)
        need(of_tokens, "target", "an output per token", b.output_size)
        layers = ("cell", "hidden_sizes", "projection_size", "residual", "layer_norm", "num_heads")
        same = all(getattr(a, name) == getattr(b, name) for name in layers)
        need(same, "target", "the cell and the layers of source", b.hidden_sizes)
        width = f"{b.feature_size}, the decoder's features"
        need(a.output_size == b.feature_size, "source", f"outputs of {width}", a.output_size)
        need(not a.tie_embeddings, "source", "a dense layer of its own", "the embedding's")

    # what is asked of every architecture

    linear_steps = 0
    evidence_size = condition_size = columns_size = 0
    sentences = False
    letters = word_length = 0
    crf = False
    readout = "every"

    @property
    def input_size(self) -> int | None:
        return self.source.input_size

    @property
    def vocabulary_size(self) -> int | None:
        return self.source.vocabulary_size

    @property
    def output_size(self) -> int:
        return self.target.output_size

    @property
    def cell(self) -> str | tuple[str, ...]:
        return self.source.cell

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        return self.source.hidden_sizes

    @property
    def bidirectional(self) -> bool:
        return self.source.bidirectional

    @property
    def tie_embeddings(self) -> bool:
        return self.target.tie_embeddings

    def starts(self) -> list[tuple[int, str, int, int]]:
        """Of each state of the decoder: layer, name, width, and that of the encoder's states."""
        found = []
        both = zip(self.target.layer_cells, self.target.layer_sizes(), strict=True)
        for k, (cell, sizes) in enumerate(both):
            for name, width in zip(cell.states, cell.state_sizes(sizes), strict=True):
                found.append((k, name, width, self.source.directions * width))
        return found

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the network's state_dict."""
        shapes: dict[str, tuple[int, ...]] = {}
        for part in ("source", "target"):
            own: Architecture = getattr(self, part)
            shapes |= {f"{part}.{name}": shape for name, shape in own.tensor_shapes().items()}
        for k, name, width, read in self.starts():
            shapes[f"start.{k}.{name}.weight"] = (width, read)
            shapes[f"start.{k}.{name}.bias"] = (width,)
        F = self.target.feature_size  # noqa: N806
        if self.score != "dot":
            shapes["attention.query.weight"] = (F, F)
        if self.score == "additive":
            shapes["attention.key.weight"] = (F, F)
            shapes["attention.energy.weight"] = (1, F)
        shapes["attention.combine.weight"] = (F, 2 * F)
        shapes["attention.combine.bias"] = (F,)
        return shapes

    def parameter_count(self) -> int:
        """Trained weights (running statistics of batch norm are not)."""
        shapes = self.tensor_shapes().items()
        return sum(prod(shape) for name, shape in shapes if ".running_" not in name)

    def with_layers(
        self,
        cell: str | tuple[str, ...],
        hidden_sizes: tuple[int, ...],
        projection_size: int | None,
        num_heads: int,
    ) -> EncoderDecoder:
        """The same with other recurrent layers in both networks."""
        layers = {
            "cell": cell, "hidden_sizes": hidden_sizes, "projection_size": projection_size,
            "num_heads": num_heads,
        }  # fmt: skip
        target = replace(self.target, **layers)
        source = replace(self.source, **layers, output_size=target.feature_size)
        return replace(self, source=source, target=target)

    def to_json(self) -> dict[str, Any]:
        """Every field by name."""
        return {
            "source": self.source.to_json(), "target": self.target.to_json(),
            "score": self.score, "longest": self.longest,
        }  # fmt: skip

    @classmethod
    def from_json(cls, values: Any) -> EncoderDecoder:
        """The architecture in ``values``.  Raises ValueError for keys or types out of schema."""
        names = {"source", "target", "score", "longest"}
        if not isinstance(values, dict) or set(values) != names:
            got = shown(sorted(values) if isinstance(values, dict) else values)
            raise ValueError(f"architecture: expected exactly the keys {sorted(names)}, got {got}")
        for name, kind in {"score": str, "longest": int}.items():
            if type(values[name]) is not kind:
                raise ValueError(f"{name}: expected {kind.__name__}, got {shown(values[name])}")
        return cls(
            source=Architecture.from_json(values["source"]),
            target=Architecture.from_json(values["target"]),
            score=values["score"],
            longest=values["longest"],
        )
