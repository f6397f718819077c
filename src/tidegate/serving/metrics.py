"""What the service has done so far, as Prometheus reads it: text format 0.0.4."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_Labels = tuple[tuple[str, str], ...]


class _Histogram:
    """How many values fell up to each of ``ends``, and beyond; and their sum."""

    def __init__(self, ends: tuple[float, ...]) -> None:
        self.ends, self.counts, self.sum = ends, [0] * (len(ends) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.ends, value)] += 1
        self.sum += value

    def lines(self, name: str, labels: _Labels) -> Iterator[str]:
        bounds = [*(f"{end:g}" for end in self.ends), "+Inf"]
        for bound, count in zip(bounds, accumulate(self.counts), strict=True):
            yield _line(f"{name}_bucket", (*labels, ("le", bound)), count)
        yield _line(f"{name}_sum", labels, self.sum)
        yield _line(f"{name}_count", labels, sum(self.counts))


class Metrics:
    """Counts of one service.  ``now``: of what is as of now, by name, words and a function."""

    def __init__(self, now: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._now = now
        self._requests: Counter[_Labels] = Counter()
        self._seconds: dict[_Labels, _Histogram] = {}
        self._rows: dict[_Labels, _Histogram] = {}
        self._tokens: Counter[_Labels] = Counter()

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request, answered or refused, ``seconds`` after its headers were read."""
        labels = (("route", route),)
        self._requests[*labels, ("status", str(status))] += 1
        self._seconds.setdefault(labels, _Histogram(_SECONDS)).add(seconds)

    def batch(self, name: str, rows: int) -> None:
        """One batch of so many inputs."""
        self._rows.setdefault((("batcher", name),), _Histogram(_ROWS)).add(rows)

    def tokens(self, model: str, count: int) -> None:
        """So many tokens were written."""
        self._tokens[(("model", model),)] += count

    def text(self) -> str:
        """All of it."""
        lines = _about("requests_total", "counter", "Requests by route and status.")
        lines += [_line("requests_total", *one) for one in sorted(self._requests.items())]
        lines += _about("request_seconds", "histogram", "From a request's headers to its answer.")
        for labels, histogram in sorted(self._seconds.items()):
            lines += histogram.lines("request_seconds", labels)
        lines += _about("batch_inputs", "histogram", "Inputs that were read at once.")
        for labels, histogram in sorted(self._rows.items()):
            lines += histogram.lines("batch_inputs", labels)
        lines += _about("generated_tokens_total", "counter", "Tokens that were written.")
        lines += [_line("generated_tokens_total", *one) for one in sorted(self._tokens.items())]
        for name, (about, value) in self._now.items():
            lines += [*_about(name, "gauge", about), _line(name, (), value())]
        return "\n".join(lines) + "\n"


def resident_bytes() -> float:
    """Memory of this process; NaN where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as told:
            return int(told.read().split()[1]) * 4096.0
    except OSError:
        return float("nan")


def _about(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP tidegate_{name} {about}", f"# TYPE tidegate_{name} {kind}"]


def _line(name: str, labels: _Labels, value: float) -> str:
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"tidegate_{name}{{{told}}} {value:.15g}" if told else f"tidegate_{name} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
