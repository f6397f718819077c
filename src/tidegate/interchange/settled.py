"""What a user says where a file leaves a question open."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Answers:
    """None: not said.

    ``cell``: the cell of the recurrent layers, where shapes fit several.  ``layer``: which of
    several recurrent layers, by the beginning of its name.  ``reset_after``: where a GRU's reset
    gate acts.  ``recurrent_activation``: of the gates.  ``keras_version``: 1, 2 or 3, which have
    different functions under one name.  ``update_gate``: ``keeps`` the old state, or ``writes``.
    """

    cell: str | None = None
    layer: str | None = None
    reset_after: bool | None = None
    recurrent_activation: str | None = None
    keras_version: int | None = None
    update_gate: str | None = None
