"""Small searches of options, and what they are made of."""

from __future__ import annotations

from typing import Any

import pytest

import tidegate as tg

SPACE: Any = {"cell": ["gru", "mgu"], "units": (4, 8), "layers": [1], "embedding_size": (4, 8)}


def texts(count: int = 60) -> tuple[list[str], list[str]]:
    words = ["lovely", "dreadful"]
    said = [f"{words[i % 2]} film number {i}" for i in range(count)]
    return said, [words[i % 2] for i in range(count)]


def classifier(**options: Any) -> tg.TextClassifier:
    return tg.TextClassifier(**{"verbose": 0, "max_steps": 10, "evidence": False, **options})


def searched(*data: Any, **how: Any) -> Any:
    how = {"trials": 3, "seeds": 0, "space": SPACE, **how}
    return tg.tune(how.pop("model", classifier()), *(data or texts()), **how)


def database(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def fails_after(monkeypatch: pytest.MonkeyPatch, runs: int, error: Any, times: int) -> None:
    fit, count = tg.TextClassifier.fit, [0]

    def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if runs < count[0] <= runs + times:
            raise error
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(tg.TextClassifier, "fit", failing)
