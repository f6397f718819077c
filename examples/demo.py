"""make demo: a network learns to write, one to judge, one to forecast, in a few minutes.

Nothing is downloaded: the text is Python's own language reference, the rest is made here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tidegate as tg
from tidegate import samples
from tidegate.data.series.series import Series
from tidegate.tasks.forecast_plot import plot_forecast

OUT = Path("runs/demo")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    learn_to_write()
    learn_to_judge()
    learn_to_forecast()
    print("\nNow with a file of your own:")
    print("  .venv/bin/tidegate train language-model YOUR.txt --max-minutes 5")


def learn_to_write() -> None:
    text = samples.python_reference()
    title(f"A GRU reads Python's language reference ({len(text):,} characters) and learns to write")
    model = tg.LanguageModel(
        cell="gru",
        level="char",
        hidden_sizes=(384,),
        dropout=0.3,
        batch_size=16,
        max_steps=2000,
        sample_steps=(100, 300, 500, 700, 1200, 2000),
        seed=1,
    )
    model.fit(text)
    model.save(OUT / "python.safetensors")
    prompt = "The following statement"
    print(f'and goes on from the prompt "{prompt}":\n\n{prompt}', end="")
    for piece in model.generate(prompt, 400, temperature=0.5, seed=1):
        print(piece, end="", flush=True)
    print()


def learn_to_judge() -> None:
    title("A bidirectional GRU learns whether a film review is kind, negations included")
    texts, labels = samples.reviews(4000, seed=1)
    # in training, "not bad" and "hardly funny" never occur, so it must have understood negation
    unseen = [i for i, text in enumerate(texts) if "not bad" in text or "hardly funny" in text]
    seen = sorted(set(range(len(texts))) - set(unseen))
    model = tg.TextClassifier(
        cell="gru",
        embedding_size=32,
        hidden_sizes=(48,),
        embedding_dropout=0.1,
        dropout=0.2,
        learning_rate=5e-3,
        epochs=3,
        seed=1,
    )
    model.fit([texts[i] for i in seen], [labels[i] for i in seen])
    model.save(OUT / "reviews.safetensors")
    right = model.evaluate([texts[i] for i in unseen], [labels[i] for i in unseen])["accuracy"]
    print(f"{len(unseen)} reviews with negations it has never read: {right:.1%} right\n")
    shown = [
        "the film was not bad at all",
        *[texts[i] for i in unseen if labels[i] == "positive"][:3],
        *[texts[i] for i in unseen if labels[i] == "negative"][:3],
    ]
    for text, (_, positive) in zip(shown, model.predict_proba(shown), strict=True):
        print(f"  {positive:4.0%} positive: {text}")


def learn_to_forecast() -> None:
    title("A GRU forecasts a town's load of the next day: the hour, weekends, the weather")
    columns = samples.load(365, seed=1)
    series = Series.of(
        columns["time"], columns["load"], names=["load"],
        covariates=columns["temperature"], covariate_names=["temperature"],
    )  # fmt: skip
    known, truth = series.rows(0, len(series) - 24), series.rows(len(series) - 24, len(series))
    model = tg.Forecaster(horizon=24, seed=1)
    model.fit(known)
    model.save(OUT / "load.safetensors")
    forecast = model.forecast(known)
    picture = OUT / "forecast.png"
    plot_forecast(picture, series, forecast)
    error = np.abs(forecast.values - truth.values).mean()
    naive = np.abs(known.values[-24:] - truth.values).mean()
    print(f"mean absolute error {error:.3f} MW; repeating the last day gives {naive:.3f} MW")
    print(f"picture: {picture}")


def title(text: str) -> None:
    print(f"\n{text}\n{'=' * len(text)}\n", flush=True)


if __name__ == "__main__":
    main()
