"""How much strangers may ask for, so that memory and time are bounded whatever comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HEAD_S: Final = 10.0  # from a connection's first byte to the end of a request's headers
BODY_S: Final = 10.0  # to the end of its body
LEAVE_S: Final = 10.0  # from a signal to the end, for what is being answered
CONNECTIONS: Final = 512
MOST_NUMBERS: Final = 2**23  # that streams remember which read all anew for each answer


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request, and all of them together, may take.

    ``steps`` of a request are those of its sequences, its tokens, and the characters of its texts.
    ``batch``: inputs that are read at once.  ``queue``: requests that wait or are being answered.
    ``streams``: those that are open at a time; one that is not fed for ``idle_s`` is closed.
    """

    body_bytes: int = 2**20
    steps: int = 50_000
    seconds: float = 30.0
    queue: int = 256
    batch: int = 64
    streams: int = 1000
    idle_s: float = 600.0

    @property
    def batch_steps(self) -> int:
        """The most steps that are read at once, but for those of one request alone."""
        return 4 * self.steps
