"""What network a model file describes: every size once, free of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from math import prod
from types import UnionType
from typing import Any, get_args, get_type_hints

from tidegate.cells import CELLS, Cell, get_cell, get_own, regularised, unknown, zoneout_of
from tidegate.errors import shown, spelled

READOUTS = ("last", "mean", "max")
MAX_LAYERS = 64
# of recurrent layers; names of options, of fields here, and of arguments of nn's layers
REGULARISERS = ("recurrent_dropout", "candidate_dropout", "zoneout", "weight_dropout")
KERNELS = 84  # of convolutions over a sequence (data/sequences/convolutions.py)
EVIDENCE_KINDS = 3  # of a word itself, of its pair with the word before, of its letters


def smallest_hidden_size(cell: str, projection_size: int | None) -> int:
    """Units that a layer must have: more than its projection, where its cell has one."""
    return (projection_size or 1) + 1 if get_cell(cell).is_projected else 1


def one_or_each(cells: Sequence[str]) -> str | tuple[str, ...]:
    """The cells of all layers as an `Architecture` has them: one name where all are the same."""
    return cells[0] if len(set(cells)) == 1 else tuple(cells)


@dataclass(frozen=True)
class Architecture:
    """Tokens or values in, stacked recurrent layers, one dense layer out.

    Exactly one of ``vocabulary_size`` (tokens, with ``embedding_size``) and ``input_size`` (values)
    is set.  ``hidden_sizes`` has one entry per recurrent layer, and so has ``cell`` where layers
    have different ones.  ``residual``: from the second layer on, what a layer reads is added to
    what it puts out, by way of a linear map where their widths differ (He et al. 2015,
    arXiv:1512.03385); ``layer_norm``: from there on a layer reads what is normalised over its
    values at each step (Ba et al. 2016, arXiv:1607.06450), which what is added is not.  Both are as
    nn/stack.py has them.  ``readout`` is ``every`` (an output at each step) or a sum such as
    ``last+max``: what of the last layer's outputs, over a row's true steps, the dense layer sees.
    ``tie_embeddings``: the dense layer's weight is that of the embedding (Press & Wolf 2017,
    arXiv:1608.05859), so that its features must be as wide.  ``evidence_size``: numbers beside each
    token (data/text/evidence.py), of which a linear map is added to the token's vector.
    ``projection_size``: of the output of each layer of a cell that projects it; None for half of
    each layer's hidden size, and for other cells.  ``linear_steps``: with it the output is the
    dense layer's plus a linear map of a row's last so many true steps, of which those before the
    row's beginning are zero: a straight line beside the network (as in Lai et al. 2018, LSTNet,
    arXiv:1703.07015, and He et al. 2015, arXiv:1512.03385, which learns what a shortcut leaves).
    Of tokens it is of the last one's evidence, which then has what a text's words add up to.
    ``letters``: with it a word is also read letter by letter, in both directions, by a layer of the
    first layer's cell with ``letter_hidden_size`` units, whose final states stand beside the
    token's vector (Lample et al. 2016, arXiv:1603.01360); it is the number of different letters,
    none and the unknown one included, each a vector of ``letter_embedding_size`` numbers, and
    ``word_length`` of them are read of a word.  ``crf``: the outputs of a step are weights of
    labels in a linear-chain conditional random field (Lafferty et al. 2001), to which
    ``transitions.weight`` gives those of neighbouring labels.  ``condition_size``: numbers that say
    of a sequence as a whole what it is to be: they stand beside every token's vector, and a linear
    map of them is what each layer's state begins with, so that none is known where all are zero (as
    a picture sets the state in Karpathy & Fei-Fei 2015, arXiv:1412.2306, and a label stands beside
    each input in Graves 2013, arXiv:1308.0850).  ``columns_size``: how many of the numbers of
    evidence, the last ones, say of a text as a whole what stands in the columns beside it
    (data/text/rows.py): they are the same at each token.  ``sentences``: the first layer reads each
    sentence of a document by itself, and what the readout sums up of a sentence is a step of the
    layers above (Li, Luong & Jurafsky 2015, arXiv:1506.01057; Yang et al. 2016, without attention).
    ``recurrent_dropout``, ``candidate_dropout``, ``zoneout`` and ``weight_dropout`` are of each
    recurrent layer (nn/described.py), and of these zoneout alone changes what a trained network
    answers.  ``num_heads``: those of each recurrent layer whose cell has heads.
    """

    cell: str | tuple[str, ...]
    vocabulary_size: int | None
    input_size: int | None
    embedding_size: int | None
    hidden_sizes: tuple[int, ...]
    bidirectional: bool
    readout: str
    output_size: int
    batch_norm: bool
    embedding_dropout: float
    dropout: float
    recurrent_dropout: float
    tie_embeddings: bool = False
    evidence_size: int = 0
    projection_size: int | None = None
    linear_steps: int = 0
    letters: int = 0
    letter_embedding_size: int = 0
    letter_hidden_size: int = 0
    word_length: int = 0
    crf: bool = False
    condition_size: int = 0
    columns_size: int = 0
    sentences: bool = False
    candidate_dropout: float = 0.0
    zoneout: float = 0.0
    weight_dropout: float = 0.0
    residual: bool = False
    layer_norm: bool = False
    num_heads: int = 1

    def __post_init__(self) -> None:
        def need(good: bool, name: str, expected: str) -> None:
            if not good:
                raise ValueError(f"{name}: expected {expected}, got {shown(getattr(self, name))}")

        layers = len(self.hidden_sizes)
        need(1 <= layers <= MAX_LAYERS, "hidden_sizes", f"1 to {MAX_LAYERS} sizes")
        several = isinstance(self.cell, tuple)
        fits = not several or (len(self.cell) == layers and len(set(self.cell)) > 1)
        each = f"one for all layers, or one for each of {layers}, as many as "
        need(fits, "cell", each + spelled("hidden_sizes"))
        for cell in self.cells:
            if cell not in CELLS and get_own(cell) is None:
                need("@" in cell, "cell", "one of " + ", ".join(CELLS))
                raise ValueError(f"cell: {unknown(cell)}")
        projected = any(cell.is_projected for cell in self.layer_cells)
        none = "none for " + ", ".join(dict.fromkeys(self.cells)) + ", which has no projection"
        need(projected or self.projection_size is None, "projection_size", none)
        need(
            not (self.batch_norm and self.layer_norm),
            "layer_norm",
            "none beside " + spelled("batch_norm"),
        )
        tokens = self.vocabulary_size is not None
        need(tokens != (self.input_size is not None), "input_size", "either it or vocabulary_size")
        need(tokens == (self.embedding_size is not None), "embedding_size", "it just for tokens")
        most = 2**16 if tokens else 0
        counted = self.evidence_size - self.columns_size
        fits = 0 <= self.evidence_size <= most and counted % self.evidence_kinds == 0
        need(fits, "evidence_size", f"{self.evidence_kinds} numbers per label, for tokens")
        most = 0 if self.readout == "every" else self.evidence_size
        need(0 <= self.columns_size <= most, "columns_size", f"0 to {most}")
        for name in ("vocabulary_size", "input_size", "embedding_size", "output_size"):
            value = getattr(self, name)
            need(value is None or 1 <= value <= 2**31, name, "a size from 1 to 2147483648")
        most = 0 if self.readout == "every" else int(counted > 0) if tokens else 2**20
        fits = 0 <= self.linear_steps <= most
        expected = f"0 to {most}, for values or evidence read out once"
        need(fits, "linear_steps", expected)
        fits = tokens and self.readout != "every" and layers > 1 and not self.batch_norm
        expected = "it for pooled tokens, two layers or more, no batch_norm"
        need(fits or not self.sentences, "sentences", expected)
        size = self.projection_size
        need(size is None or size >= 1, "projection_size", "a size of at least 1")
        for cell, hidden in zip(self.cells, self.hidden_sizes, strict=True):
            least = smallest_hidden_size(cell, size)
            need(least <= hidden <= 2**20, "hidden_sizes", f"sizes from {least} to 1048576")
        parts = self.readout.split("+")
        pooled = set(parts) <= set(READOUTS) and len(set(parts)) == len(parts)
        need(
            self.readout == "every" or pooled,
            "readout",
            "'every' or a sum of " + ", ".join(READOUTS) + ", such as 'last+max'",
        )
        for name in ("embedding_dropout", "dropout", *REGULARISERS):
            need(0 <= getattr(self, name) < 1, name, "a probability in [0, 1)")
        self._check_words(need)
        forward = tokens and self.readout == "every" and not self.bidirectional
        fits = 0 <= self.condition_size <= (2**16 if forward and not self.letters else 0)
        need(fits, "condition_size", "0 to 65536 for tokens that are predicted, else 0")
        self._check_heads(need)
        if self.tie_embeddings:
            predicts = self.readout == "every" and self.output_size == self.vocabulary_size
            need(predicts, "tie_embeddings", "it for a network that predicts tokens")
            width = f"{self.feature_size}, the last of {spelled('hidden_sizes')}, with "
            width += spelled("tie_embeddings")
            need(self.embedding_size == self.feature_size, "embedding_size", width)

    def _check_heads(self, need: Callable[[bool, str, str], None]) -> None:
        """Raise ValueError, by way of ``need``, for heads that a layer cannot have."""
        need(1 <= self.num_heads <= 2**20, "num_heads", "at least 1")
        headed = any(cell.heads for cell in self.layer_cells)
        none = "1 for " + ", ".join(dict.fromkeys(self.cells)) + ", which has no heads"
        need(headed or self.num_heads == 1, "num_heads", none)
        for cell, hidden in zip(self.layer_cells, self.hidden_sizes, strict=True):
            fits = not cell.heads or hidden % self.num_heads == 0
            need(fits, "num_heads", f"a divisor of {hidden}, a layer's units")

    def _check_words(self, need: Callable[[bool, str, str], None]) -> None:
        """Raise ValueError, by way of ``need``, for letters or a CRF that cannot be."""
        every = self.readout == "every" and not self.tie_embeddings
        words = self.vocabulary_size is not None and every
        fits = 2 <= self.letters <= 2**21 if self.letters else True
        need(fits and (words or not self.letters), "letters", "at least 2, for labels of tokens")
        least = smallest_hidden_size(self.cells[0], self.projection_size)
        most = {"letter_embedding_size": 2**20, "letter_hidden_size": 2**20, "word_length": 2**16}
        for name, bound in most.items():
            low = least if name == "letter_hidden_size" else 1
            value = getattr(self, name)
            fits = low <= value <= bound if self.letters else value == 0
            need(fits, name, f"{low} to {bound} with letters, else 0")
        need(every or not self.crf, "crf", "none but for an output at every step")

    @property
    def cells(self) -> tuple[str, ...]:
        """The name of each recurrent layer's cell."""
        if isinstance(self.cell, str):
            return (self.cell,) * len(self.hidden_sizes)
        return self.cell

    @property
    def layer_cells(self) -> list[Cell]:
        """That of each recurrent layer."""
        return [get_cell(name) for name in self.cells]

    @property
    def answering_cells(self) -> list[Cell]:
        """What each layer runs when it does not train: zoneout makes another cell of its own."""
        return [regularised(cell, zoneout_of(cell, self.zoneout)) for cell in self.layer_cells]

    @property
    def has_shortcuts(self) -> bool:
        """Whether what the last layer puts out is more than its state."""
        return self.residual and len(self.hidden_sizes) > 1

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def feature_size(self) -> int:
        """Width of what the dense layer sees."""
        parts = 1 if self.readout == "every" else len(self.readout.split("+"))
        return parts * self.layer_output_sizes()[-1]

    def layer_sizes(self) -> list[dict[str, int]]:
        """Of each recurrent layer its sizes by letter: I input, H hidden, P projection or 0, and of
        a cell with heads K.
        """
        first = self.embedding_size if self.input_size is None else self.input_size
        assert first is not None  # held by __post_init__
        first += self.spelling_size + self.condition_size
        inputs = [first, *self.layer_output_sizes()[:-1]]
        if self.sentences:
            inputs[1] *= len(self.readout.split("+"))
        return [{"I": i} | own for i, own in zip(inputs, self._own_sizes(), strict=True)]

    def letter_sizes(self) -> dict[str, int]:
        """Those of the layer that reads letters."""
        own = self._with_projection(self.layer_cells[0], self.letter_hidden_size)
        return {"I": self.letter_embedding_size} | own

    @property
    def spelling_size(self) -> int:
        """How many numbers a word's letters give, both directions together; 0 without letters."""
        if not self.letters:
            return 0
        return 2 * self.layer_cells[0].state_sizes(self.letter_sizes())[0]

    def layer_output_sizes(self) -> list[int]:
        """Width of what each recurrent layer puts out, all directions together."""
        both = zip(self.layer_cells, self._own_sizes(), strict=True)
        return [self.directions * cell.state_sizes(sizes)[0] for cell, sizes in both]

    def _own_sizes(self) -> list[dict[str, int]]:
        both = zip(self.layer_cells, self.hidden_sizes, strict=True)
        return [
            self._with_projection(cell, hidden) | ({"K": self.num_heads} if cell.heads else {})
            for cell, hidden in both
        ]

    @property
    def evidence_kinds(self) -> int:
        """How many numbers of evidence a token has for each answer."""
        return EVIDENCE_KINDS + (self.vocabulary_size is not None and self.linear_steps > 0)

    @property
    def of_line(self) -> slice:
        """Which numbers of a token's evidence are of the line beside the network, and no others."""
        counted = self.evidence_size - self.columns_size
        return slice(EVIDENCE_KINDS * counted // self.evidence_kinds, counted)

    @property
    def linear_width(self) -> int:
        """How many numbers of a step the line beside the network reads."""
        return self.evidence_size if self.input_size is None else self.input_size

    def _with_projection(self, cell: Cell, hidden: int) -> dict[str, int]:
        projected = (self.projection_size or hidden // 2) if cell.is_projected else 0
        return {"H": hidden, "P": projected}

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the network's state_dict."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.vocabulary_size is not None and self.embedding_size is not None:
            shapes["embedding.weight"] = (self.vocabulary_size, self.embedding_size)
            if self.evidence_size:
                shapes["evidence.weight"] = (self.embedding_size, self.evidence_size)
        if self.letters:
            shapes["spelling.embedding.weight"] = (self.letters, self.letter_embedding_size)
            for suffix in ("", "_reverse"):
                for name, shape in self.layer_cells[0].shapes(self.letter_sizes()).items():
                    shapes[f"spelling.recurrent.{name}_l0{suffix}"] = shape
        layers = list(zip(self.layer_cells, self.layer_sizes(), strict=True))
        if self.condition_size:
            for k, (cell, sizes) in enumerate(layers):
                for state, width in zip(cell.states, cell.state_sizes(sizes), strict=True):
                    shapes[f"initial.{k}.{state}.weight"] = (width, self.condition_size)
        for k, (cell, sizes) in enumerate(layers):
            for suffix in ("", "_reverse")[: self.directions]:
                for name, shape in cell.shapes(sizes).items():
                    shapes[f"recurrent.{k}.{name}_l0{suffix}"] = shape
        for k, width in enumerate(self.layer_output_sizes()):
            read = layers[k][1]["I"]
            if k > 0 and self.layer_norm:
                shapes |= {f"recurrent.norms.{k}.{n}": (read,) for n in ("weight", "bias")}
            if k > 0 and self.residual and read != width:
                shapes[f"recurrent.shortcuts.{k}.weight"] = (width, read)
        if self.batch_norm:
            for k, width in enumerate(self.layer_output_sizes()[:-1]):
                for name in ("weight", "bias", "running_mean", "running_var"):
                    shapes[f"norms.{k}.{name}"] = (width,)
        if not self.tie_embeddings:
            shapes["dense.weight"] = (self.output_size, self.feature_size)
        shapes["dense.bias"] = (self.output_size,)
        if self.linear_steps:
            shapes["linear.weight"] = (self.output_size, self.linear_steps * self.linear_width)
        if self.crf:
            shapes["transitions.weight"] = (self.output_size + 1, self.output_size + 1)
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
    ) -> Architecture:
        """The same with other recurrent layers."""
        changed = {
            "cell": cell, "hidden_sizes": hidden_sizes, "projection_size": projection_size,
            "num_heads": num_heads,
        }  # fmt: skip
        return replace(self, **changed)

    def to_json(self) -> dict[str, Any]:
        """Every field by name, but for those that are as their default."""
        values = {n: list(v) if type(v) is tuple else v for n, v in asdict(self).items()}
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Architecture:
        """The architecture in ``values``.  Raises ValueError for keys or types out of schema."""
        hints = get_type_hints(cls)
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        if not isinstance(values, dict) or not needed <= set(values) <= set(hints):
            got = shown(sorted(values) if isinstance(values, dict) else values)
            raise ValueError(f"architecture: expected exactly the keys {sorted(needed)}, got {got}")
        checked = {}
        for name, value in values.items():
            hint = hints[name]
            if name == "hidden_sizes":
                if not isinstance(value, list) or not all(type(v) is int for v in value):
                    raise ValueError(
                        f"hidden_sizes: expected a list of integers, got {shown(value)}"
                    )
                value = tuple(value)
            elif name == "cell" and isinstance(value, list):
                if not all(type(v) is str for v in value):
                    raise ValueError(f"cell: expected a name or a list of them, got {shown(value)}")
                value = tuple(value)
            else:
                allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
                if type(value) is int and allowed == (float,):
                    value = float(value)
                if type(value) not in allowed:
                    raise ValueError(f"{name}: expected {hint}, got {shown(value)}")
            checked[name] = value
        return cls(**checked)
