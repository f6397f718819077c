"""Models that may be told what a text or a piece is to be."""

from __future__ import annotations

from tidegate.data.text.conditions import Conditions
from tidegate.errors import InputError


class Conditioned:
    """A fitted model whose ``conditions_`` are None where it was trained without."""

    INPUTS: str
    conditions_: Conditions | None

    def _check_conditions_fit(self, given: bool) -> None:
        """Raise InputError where conditions are given to a model without, or the other way."""
        if given and self.conditions_ is None:
            raise InputError(
                "conditions: expected none for a model that was trained without, got some; leave "
                "them out, or train with conditions"
            )
        if self.conditions_ is not None and not given:
            names, one = ", ".join(self.conditions_.names), self.INPUTS.removesuffix("s")
            raise InputError(
                f"conditions: expected those of each {one} ({names}), as in training, got none; "
                f"give {self.INPUTS} with conditions"
            )
