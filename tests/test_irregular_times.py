"""Steps at irregular times: the cell whose state fades with them, and how tasks read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from command_line import Tidegate
from numpy.testing import assert_allclose, assert_array_equal

import tidegate as tg
from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.data.sequences.tables import SequenceTable
from tidegate.data.series.tables import SeriesTable
from tidegate.errors import InputError

RATE = 0.7


def fading(hidden: int = 5) -> Any:
    """A layer of a value and a time, that keeps its state but for what fades in time."""
    torch.manual_seed(0)
    layer: Any = tg.Recurrent("gru_decay", 2, hidden)
    with torch.no_grad():
        of = dict(zip("drzn", layer.weight_ih_l0.view(4, hidden, 2), strict=True))
        biases = dict(zip("drzn", layer.bias_ih_l0.view(4, hidden), strict=True))
        of["d"][:] = torch.tensor([0.0, RATE])
        biases["d"].zero_()
        biases["z"].fill_(50.0)  # which keeps whatever comes in
    return layer


def fed(layer: Any, gaps: list[float], state: torch.Tensor) -> torch.Tensor:
    x = torch.tensor([[[torch.randn(()).item(), gap]] for gap in gaps])
    return layer(x, state)[1]


def test_the_state_fades_with_the_time_that_went_by() -> None:
    layer, state = fading(), torch.randn(1, 1, 5)
    for gap in (0.0, 0.3, 4.0):
        expected = state * np.exp(-RATE * gap)
        torch.testing.assert_close(fed(layer, [gap], state), expected, rtol=1e-5, atol=1e-6)
    # two short times are one long one
    torch.testing.assert_close(
        fed(layer, [1.1, 0.4], state), fed(layer, [1.5], state), rtol=1e-5, atol=1e-6
    )


def test_the_decay_can_be_looked_at() -> None:
    layer = fading()
    gaps = torch.tensor([0.0, 2.0, 0.5])
    x = torch.stack([torch.randn(3), gaps], 1)[:, None]
    d = layer(x, return_gates=True)[-1]["layer_0.d"]
    torch.testing.assert_close(d[:, 0, 0], torch.exp(-RATE * gaps), rtol=1e-5, atol=1e-6)


def test_its_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(1)
    layer: Any = tg.Recurrent("gru_decay", 3, 4, dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    state = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    weights = list(layer.parameters())

    def run(x: Any, state: Any, *_: Any) -> Any:
        return layer(x, state, lengths=torch.tensor([5, 3]))[0]

    assert torch.autograd.gradcheck(run, (x, state, *weights))


# what tasks read


def test_elapsed_times_keep_their_scale_whatever_that_of_the_sequence() -> None:
    rng = np.random.default_rng(0)
    slow = np.c_[rng.normal(size=6), [0, 9, 3, 30, 6, 12]]
    fast = np.c_[9 * rng.normal(size=6), [0, 0.9, 0.3, 3, 0.6, 1.2]]
    inputs = SequenceInputs.fit([slow, fast], 1, elapsed=2)
    assert inputs.input_size == 3 + 4  # value, since and until, and what is said of each channel
    unit = np.r_[slow[:, 1], fast[:, 1]].mean()
    for sequence in (slow, fast):
        read = inputs.segments(inputs.scaled(sequence))
        assert_allclose(read[:, 1], sequence[:, 1] / unit, rtol=1e-6)
        assert_allclose(read[:, 2], [*sequence[1:, 1] / unit, 0], rtol=1e-6)
    again = SequenceInputs.from_json(inputs.to_json())
    assert_array_equal(again.scaled(slow), inputs.scaled(slow))
    plain = SequenceInputs.fit([slow, fast], 1)
    assert plain.to_json().keys() == {"scaler", "segment"}  # as files had it before


def test_times_that_go_back_are_no_elapsed_times() -> None:
    with pytest.raises(InputError, match="since the step before as the last channel, got -2"):
        SequenceInputs.fit([np.array([[1.0, 0.0], [2.0, -2.0]])], 1, elapsed=1)


def test_a_table_s_column_of_times_tells_how_long_steps_took(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text(
        "who,day,pulse,ill\na,2024-01-30,71,no\na,2024-02-02,75,no\nb,2024-03-01 06:00,64,yes\n"
        "b,2024-03-02 18:00,66,yes\n"
    )
    table = SequenceTable(path=path, id="who", time="day", answer="ill", elapsed=True)
    first, second = table.read("label").values
    assert_array_equal(first, [[71, 0], [75, 3]])
    assert_array_equal(second, [[64, 0], [66, 1.5]])
    with pytest.raises(InputError, match="expected a column of times"):
        SequenceTable(path=path, id="who", values=("pulse",), elapsed=True).read(None)


def test_rows_of_a_series_keep_their_times_and_know_how_long_they_took(tmp_path: Path) -> None:
    path = tmp_path / "level.csv"
    path.write_text("t,level\n0,5\n0.5,4\n3,1\n3.25,\n9,\n")
    told: dict[str, Any] = {"path": path, "time": "t", "target": ("level",)}
    one = SeriesTable(**told, elapsed=True).read().first
    assert_array_equal(one.times, [0, 0.5, 3])
    assert_array_equal(one.future_times(2), [3.25, 9])
    assert_array_equal(one.rows(0, 1).future_times(3), [0.5, 3, 3.25])
    assert one.known_names == ("elapsed",)
    assert one.known is not None
    assert_array_equal(one.known[:, 0], [0, 0.5, 2.5, 0.25, 5.75])  # of rows to come, too
    others: list[dict[str, Any]] = [{"every": "1"}, {"time": None}]
    for options in others:
        with pytest.raises(InputError, match="expected a column of times beside it, and rows as"):
            SeriesTable(**{**told, **options}, elapsed=True).read()


def leaks(count: int, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """Like drops into leaking vessels at any times; labels say whether much is left at the end."""
    rng = np.random.default_rng(seed)
    values, labels = [], []
    for _ in range(count):
        gaps = rng.exponential(1.0, rng.integers(6, 12))
        gaps[0], level = 0, 0.0
        drops = rng.normal(1.0, 0.2, len(gaps))
        for gap, drop in zip(gaps, drops, strict=True):
            level = level * np.exp(-gap) + drop
        values.append(np.c_[drops, gaps])
        labels.append("much" if level > 1.5 else "little")
    return values, labels


OPTIONS: dict[str, Any] = {
    "cell": "gru_decay", "hidden_sizes": (12,), "segment": 1, "evidence": False, "readout": "last",
    "own_scale": False, "max_steps": 250, "crop": 0, "dropout": 0, "verbose": 0, "baseline": False,
}  # fmt: skip


def test_a_classifier_learns_what_only_the_times_tell(tmp_path: Path) -> None:
    X, y = leaks(300, 0)
    new, truth = leaks(200, 1)
    model = tg.SequenceClassifier(**OPTIONS, elapsed=True, bidirectional=False).fit(X, y)
    without = tg.SequenceClassifier(**OPTIONS, bidirectional=False)
    without.fit([x[:, :1] for x in X], y)
    told, untold = model.score(new, truth), without.score([x[:, :1] for x in new], truth)
    assert told > 0.85
    assert told > untold + 0.15
    model.save(tmp_path / "m.safetensors")
    again = tg.load(tmp_path / "m.safetensors")
    expected = model.predict_proba(new[:3])
    assert_array_equal(again.predict_proba(new[:3]), expected)
    stream = again.stream()
    answers = [stream.feed(step) for step in new[0]]
    assert_allclose(answers[-1], expected[0], atol=1e-6)


@pytest.mark.parametrize("own_scale", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_an_onnx_file_reads_times_as_the_model_does(
    both: bool, own_scale: bool, tmp_path: Path
) -> None:
    X, y = leaks(40, 2)
    options = OPTIONS | {"own_scale": own_scale, "max_steps": 2, "segment": 2}
    model = tg.SequenceClassifier(**options, elapsed=True, bidirectional=both).fit(X, y)
    model.export_onnx(tmp_path / "m.onnx")  # which compares the two
    assert model.inputs_.elapsed == 1 + both


def test_commands_read_irregular_rows_without_a_grid(tidegate: Tidegate) -> None:
    rng = np.random.default_rng(0)
    at = np.cumsum(rng.exponential(1.0, 200)).round(3)
    rows = [f"{t},{np.sin(t):.4f}" for t in at]
    Path("level.csv").write_text("\n".join(["t,level", *rows]))
    options = (
        "--time t --target level --elapsed --cell gru_decay --horizon 2 --context 6 --season 1"
    )
    learned = tidegate(
        f"train forecaster level.csv {options} --hidden-sizes 4 --max-steps 3 -o m.safetensors"
    )
    assert learned.code == 0, learned.err
    for k, ahead in enumerate(("0.1", "2.5")):
        later = [f"{at[-1] + float(ahead):.3f},", f"{at[-1] + 4:.3f},"]
        Path(f"next{k}.csv").write_text("\n".join(["t,level", *rows, *later]))
    soon, late = (tidegate(f"forecast m.safetensors next{k}.csv") for k in range(2))
    assert soon.code == late.code == 0, soon.err
    assert soon.out.startswith(f"t,level\n{at[-1] + 0.1:.3f},")
    assert late.out.startswith(f"t,level\n{at[-1] + 2.5:.3f},")
    assert soon.out.split(",")[-1] != late.out.split(",")[-1]
    frame, later = (pl.read_csv(f"{name}.csv") for name in ("level", "next0"))
    model = tg.Forecaster(
        cell="gru_decay", horizon=2, context=6, season=1, hidden_sizes=(4,), max_steps=3, verbose=0
    ).fit(frame, time="t", target="level", elapsed=True)
    expected = [float(row.split(",")[1]) for row in soon.out.split()[1:]]
    assert_allclose(model.forecast(later)["level"], expected, rtol=1e-6)
    model.save("p.safetensors")
    assert tidegate("forecast p.safetensors next0.csv").out == soon.out
    refused = tidegate("forecast m.safetensors level.csv")  # nobody says for when
    assert refused.code == 2


FORECAST: dict[str, Any] = {
    "cell": "gru_decay", "horizon": 2, "context": 6, "season": 1, "hidden_sizes": (4,),
    "max_steps": 3, "verbose": 0, "baseline": False,
}  # fmt: skip
GAPS = np.random.default_rng(3).exponential(1.0, 90).round(3)
GAPS[0] = 0
AT = np.datetime64("2024-01-01") + (np.cumsum(GAPS) * 86_400).astype("timedelta64[s]")
LEVEL = np.r_[np.sin(np.cumsum(GAPS[:-2])), np.nan, np.nan]  # of two rows the times alone


def test_frames_of_every_library_and_arrays_give_one_forecast_for_the_times_asked_for() -> None:
    frame = pd.DataFrame({"when": AT, "level": LEVEL})
    model = tg.Forecaster(**FORECAST).fit(frame[:-2], time="when", elapsed=True)
    ahead = model.forecast(frame)
    assert ahead["when"].tolist() == frame["when"][-2:].tolist()
    indexed = model.forecast(frame.set_index("when")["level"])
    assert indexed.index.tolist() == frame["when"][-2:].tolist()
    assert_array_equal(indexed, ahead["level"])
    polars = pl.DataFrame({"when": frame["when"].to_list(), "level": LEVEL})
    assert_array_equal(model.forecast(polars)["when"].to_list(), frame["when"][-2:].tolist())
    assert_array_equal(model.forecast(polars)["level"], ahead["level"])
    # an array has the days since the row before, which count from its first row
    days = np.diff(AT, prepend=AT[:1]) / np.timedelta64(1, "D")
    array = np.c_[LEVEL, days]
    of_array = tg.Forecaster(**FORECAST).fit(array[:-2], elapsed=True).forecast(array)
    assert_allclose(of_array.values[:, 0], ahead["level"], rtol=1e-5)
    assert_allclose(of_array.times, np.cumsum(days)[-2:])


def test_moments_of_irregular_rows_are_named_by_their_times() -> None:
    frame = pd.DataFrame({"when": AT, "level": LEVEL})[:-2]
    model = tg.Forecaster(**FORECAST, validate_until=str(AT[60])).fit(
        frame, time="when", elapsed=True
    )
    assert model.unseen_from_ == str(AT[60])
    assert model.evaluate(frame)["n"] == len(frame) - 60 - 1
    found = model.detect(frame, start=str(AT[60]), calibrate_until=str(AT[75]), rate=0.2)
    assert_array_equal(found.times, AT[75:-2])


def test_wrong_irregular_times_of_frames_are_told_as_the_command_tells_them() -> None:
    frame = pd.DataFrame({"when": AT, "level": LEVEL})
    model = tg.Forecaster(**FORECAST)

    def refused(data: Any, match: str, **told: Any) -> None:
        with pytest.raises(InputError, match=match):
            model.fit(data, elapsed=True, **told)

    refused(frame[["level"]][:-2], "expected a column of times beside it.*give time='COLUMN'")
    refused(frame[:-2], "got every='D'; give time='COLUMN' alone", time="when", every="D")
    twice = pd.concat([frame[:3], frame[2:-2]])
    refused(twice, "row 3: expected each time once", time="when")
    refused(LEVEL[:-2], "the time since the row before as one more column")
    model.fit(frame[:-2], time="when", elapsed=True)
    with pytest.raises(InputError, match="2 rows after the last value.* with their times, got 0"):
        model.forecast(frame[:-2])
    numbered = frame.assign(when=np.cumsum(GAPS))
    with pytest.raises(InputError, match="expected dates as times, as in training"):
        model.forecast(numbered)
    with pytest.raises(InputError, match="read the time between them with elapsed=True"):
        tg.Forecaster(**FORECAST).fit(frame[:-2], time="when")


@pytest.mark.parametrize("library", [pd, pl])
def test_dates_in_a_frame_of_a_sequence_are_days_since_the_row_before(library: Any) -> None:
    X, y = leaks(30, 4)
    frames = []
    for x in X:
        at = AT[0] + (np.cumsum(x[:, 1]) * 86_400).astype("timedelta64[s]")
        frames.append(library.DataFrame({"drop": x[:, 0], "when": at.astype("datetime64[us]")}))
    options: dict[str, Any] = OPTIONS | {"max_steps": 3}
    of_arrays = tg.SequenceClassifier(**options, elapsed=True).fit(X, y).predict_proba(X)
    model = tg.SequenceClassifier(**options, elapsed=True).fit(frames, y)
    assert_allclose(model.predict_proba(frames), of_arrays, atol=1e-4)  # whole seconds
    with pytest.raises(InputError, match="sequence 0: row 1: expected rows sorted by time"):
        model.predict([frames[0][::-1]])


def test_a_tagger_s_command_reads_times_in_training_and_after_it(tidegate: Tidegate) -> None:
    rng = np.random.default_rng(0)
    at = np.cumsum(rng.exponential(1.0, 120))
    table = ["t,x,label", *(f"{t:.3f},{rng.normal():.3f},{'ab'[int(t) % 2]}" for t in at)]
    Path("steps.csv").write_text("\n".join(table))
    options = "--time t --values x --label label --elapsed --cell gru_decay --hidden-sizes 4"
    learned = tidegate(f"train series-tagger steps.csv {options} --max-steps 3 -o m.safetensors")
    assert learned.code == 0, learned.err
    asked = tidegate("predict m.safetensors steps.csv")
    assert asked.code == 0, asked.err
    assert tg.load("m.safetensors").inputs_.elapsed == 2
