"""What was typed."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.terminal import quoted


@dataclass
class Invocation:
    """What was typed, which a command needs in order to start itself again or to say how to."""

    arguments: list[str]
    traceback: bool = False

    def command(self, *more: str) -> str:
        """The line to paste into a shell that does the same, with ``more`` options, which win."""
        given = [a for a in self.arguments if a != "--resume"]
        # what follows -- is no option
        at = given.index("--") if "--" in given else len(given)
        return " ".join(["tidegate", *map(quoted, [*given[:at], *more, *given[at:]])])
