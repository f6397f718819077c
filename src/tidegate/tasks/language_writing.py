"""How a language model writes: the tokens that follow a prompt, or lead up to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.errors import spelled
from tidegate.runtime.mixture import Mixture
from tidegate.runtime.network import Network
from tidegate.runtime.probabilities import log_softmax
from tidegate.runtime.text_streams import LanguageStream, NextToken
from tidegate.runtime.writing import Watch, next_tokens
from tidegate.tasks.conditioned_language import ConditionedLanguage
from tidegate.training.option_values import check_value
from tidegate.training.options import check_seed

if TYPE_CHECKING:
    from tidegate.runtime.stream import Stream

# What generate takes: types and bounds.
_CHOICE: dict[str, tuple[Any, dict[str, float]]] = {
    "temperature": (float, {"above": 0}),
    "top_k": (int | None, {"at least": 1}),
    "top_p": (float | None, {"above": 0, "at most": 1}),
    "greedy": (bool, {}),
}


class WritesLanguage(ConditionedLanguage):
    """A language model that goes on with text; ``counts_`` is what its network is mixed with."""

    counts_: Mixture | None

    def generate(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        seed: int | None = None,
        given: Mapping[str, Any] | None = None,
        watch: Callable[[NextToken], None] | None = None,
    ) -> Iterator[str]:
        """Write the ``length`` tokens that follow ``prompt``, as an iterator of pieces of text.

        A model trained with ``reverse`` writes the text that leads up to ``prompt``.
        ``temperature``: below 1, likely tokens become likelier; above 1, less likely.  ``top_k``:
        choose among the ``top_k`` likeliest tokens only.  ``top_p``: choose among the likeliest
        tokens only, whose probabilities add up to ``top_p`` (nucleus).  ``greedy``: always choose
        the likeliest token.  ``seed``: one seed gives one text; None draws another text each time.
        The unknown token is never written.  ``given``: of a model of texts with conditions what the
        text is to be, such as ``{"nation": "Russian"}``; what is left out is unknown.  Such a model
        begins a text with ``prompt``, and stops at its end, or after ``length`` tokens.  ``watch``
        is given what the model expects before each token is drawn; no choice above changes that.
        Raises InputError for a value out of its range.
        """
        network = self.runtime_
        if given is not None:
            self._check_conditions_fit(True)
        check_seed(seed)
        check_value("prompt", prompt, str, {})
        check_value("length", length, int, {"bounds": {"at least": 0}})
        choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
        for name, (hint, bounds) in _CHOICE.items():
            about = {"remedy": f"{spelled('greedy', True)} always takes the likeliest token"}
            about = about if name == "temperature" else {}
            check_value(name, choice[name], hint, {"bounds": bounds, **about})
        rng = np.random.default_rng(seed)
        seen = None if watch is None else lambda logits: watch(self._expected(logits))
        if self.conditions_ is not None:
            told = self.conditions_.given(given)
            tokens = self._written_to_its_end(network, prompt, length, rng, choice, told, seen)
            return self.encoder_.decode_stream(tokens, prompt)
        tokens = self._written(network, prompt, length, rng, choice, self.counts_, seen)
        if not self.reverse:
            return self.encoder_.decode_stream(tokens, prompt)
        parted = [" "] if prompt and self.encoder_.level == "word" else []
        return chain(self.encoder_.decode_stream(tokens), parted)

    def _expected(self, logits: np.ndarray) -> NextToken:
        return NextToken(log_softmax(logits), self.encoder_)

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        return LanguageStream(network, batch_size, self.encoder_, self.counts_)

    def _ends_first(self) -> list[tuple[str, str]]:
        if not self.reverse:
            return []
        reason = "reads from a text's end, which a stream does not know"
        return [(reason, spelled("reverse", False))]

    def _tokens(self, text: str) -> np.ndarray:
        """Token numbers in the order in which they are read."""
        tokens = self.encoder_.encode(text)
        return tokens[::-1].copy() if self.reverse else tokens

    def _frame(self) -> tuple[int | None, int | None]:
        """The tokens that open and close a sentence as it is read, None where it is not framed."""
        start, end = self.encoder_.start_id, self.encoder_.end_id
        return (end, start) if self.reverse else (start, end)

    def _written(
        self,
        network: Network,
        prompt: str,
        length: int,
        rng: np.random.Generator,
        choice: dict[str, Any],
        mixture: Mixture | None = None,
        watch: Watch | None = None,
    ) -> Iterator[int]:
        """Tokens that follow the prompt; with ``reverse`` those before it, in the text's order."""
        encoder = self.encoder_
        opening, closing = self._frame()
        if not self.reverse:
            read = encoder.encode_prompt(prompt)
        else:
            read = self._tokens(prompt)
            if opening is not None:  # the sentence that is read last is left open
                read = read[:-1] if len(read) else np.array([opening])
        if len(read) == 0:  # begin as after a line's end
            read = encoder.encode("\n")[:1]
        never = [i for i in (encoder.unknown_id, opening) if i is not None]
        choice = {**choice, "forbidden": never}
        frame = opening, closing
        tokens = next_tokens(network, read, length, frame, rng, choice, mixture, watch)
        if not self.reverse:
            return tokens
        # a sentence's start closes it here; the text has a line break at its end
        parted = [opening if opening is not None and t == closing else t for t in tokens]
        return reversed(parted)
