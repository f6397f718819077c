"""What a user says where a file leaves a question open."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from tidegate.errors import InputError, shown


@dataclass(frozen=True, kw_only=True)
class Answers:
    """None: not said.  Raises InputError for what answers no such question.

    ``cell``: the cell of the recurrent layers, where shapes fit several.  ``layer``: which of
    several recurrent layers, by the beginning of its name.  ``reset_after``: where a GRU's reset
    gate acts.  ``recurrent_activation``: of the gates.  ``keras_version``: 1, 2 or 3, which have
    different functions under one name.  ``update_gate``: ``keeps`` the old state, or ``writes``.
    ``architecture``: a file of what ``model.to_json()`` of Keras gives, for weights alone.
    """

    cell: str | None = None
    layer: str | None = None
    reset_after: bool | None = None
    recurrent_activation: str | None = None
    keras_version: int | None = None
    update_gate: str | None = None
    architecture: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name in ("cell", "layer", "recurrent_activation"):
            said = getattr(self, name)
            if said is not None and not isinstance(said, str):
                raise _problem(name, "a name", said, "give a str")
        if self.reset_after is not None and type(self.reset_after) is not bool:
            raise _problem("reset_after", "True or False", self.reset_after, "say one of these")
        if type(self.keras_version) not in (int, type(None)) or self.keras_version not in _VERSIONS:
            remedy = "give the first number of the version"
            raise _problem("keras_version", "1, 2 or 3", self.keras_version, remedy)
        if self.update_gate not in (None, "keeps", "writes"):
            raise _problem("update_gate", "keeps or writes", self.update_gate, "say one of these")
        if not isinstance(self.architecture, str | PathLike | None):
            raise _problem("architecture", "a file", self.architecture, "give its name")


_VERSIONS = (None, 1, 2, 3)


def _problem(name: str, expected: str, said: object, remedy: str) -> InputError:
    return InputError(f"expected {expected}, got {shown(said)}; {remedy}", option=name)
