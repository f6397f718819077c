"""Sequences of numbers: files written and read back, or with something wrong; what is read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.data.files.formats import Layout
from tidegate.data.sequence_sources import LabelledSequences, MeasuredSequences
from tidegate.data.sequences.inputs import SequenceInputs, as_sequences
from tidegate.data.sequences.npz import read_npz
from tidegate.data.sequences.sequences import SequenceSet, pad_sequences
from tidegate.data.sequences.tables import SequenceTable
from tidegate.data.sequences.ts import read_ts
from tidegate.errors import InputError

# one file per example: each overwrites the last one's
in_a_folder = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.6g}"))
labels = st.sampled_from(["up", "down", "no move", "7"])


@st.composite
def sequence_sets(draw: st.DrawFn, answers: st.SearchStrategy[Any] = labels) -> SequenceSet:
    """One to five sequences of one to three channels, whose last steps are not all missing."""
    count, channels = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    value = st.one_of(numbers, st.just(np.nan))
    values = []
    for _ in range(count):
        length = draw(st.integers(1, 6))
        cells = draw(st.lists(value, min_size=length * channels, max_size=length * channels))
        array = np.array(cells, dtype=np.float64).reshape(length, channels)
        array[-1, 0] = draw(numbers)
        values.append(array)
    names = [str(i) for i in range(1, count + 1)]
    return SequenceSet(values, names, np.array([draw(answers) for _ in range(count)]))


def assert_same(read: SequenceSet, written: SequenceSet) -> None:
    assert read.names == written.names
    assert len(read.values) == len(written.values)
    for ours, theirs in zip(read.values, written.values, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(read.answers, written.answers)


def cell(value: float, missing: str = "") -> str:
    return missing if np.isnan(value) else repr(float(value))


# each format: what is written is read


def write_ts(path: Path, data: SequenceSet, tag: str = "classLabel") -> None:
    assert data.answers is not None
    names = " " + " ".join(sorted(set(data.answers))) if tag == "classLabel" else ""
    lines = ["# a comment", "@problemName test", f"@{tag} true{names}", "", "@data"]
    for values, answer in zip(data.values, data.answers, strict=True):
        dimensions = (",".join(cell(v, "?") for v in column) for column in values.T)
        lines.append(":".join([*dimensions, str(answer)]))
    path.write_bytes(gzip.compress(("\r\n".join(lines) + "\n").encode()))


@in_a_folder
@given(sequence_sets(answers=st.sampled_from(["a", "b", "7"])))
def test_a_ts_file_is_read_as_written(tmp_path: Path, data: SequenceSet) -> None:
    write_ts(tmp_path / "d.ts.gz", data)
    assert_same(read_ts(tmp_path / "d.ts.gz", "label"), data)


@in_a_folder
@given(sequence_sets(answers=numbers))
def test_a_ts_file_of_numbers_is_read_as_written(tmp_path: Path, data: SequenceSet) -> None:
    write_ts(tmp_path / "d.ts.gz", data, "targetlabel")
    assert_same(read_ts(tmp_path / "d.ts.gz", "number"), data)


@in_a_folder
@given(data=sequence_sets(), padded=st.booleans())
def test_an_npz_file_is_read_as_written(tmp_path: Path, data: SequenceSet, padded: bool) -> None:
    lengths = [len(values) for values in data.values]
    if padded:
        block = np.moveaxis(pad_sequences(data.values)[0], 0, 1)
        arrays = {"X": block, "lengths": lengths, "y": data.answers}
    else:
        arrays = {"values": np.concatenate(data.values), "lengths": lengths, "y": data.answers}
    np.savez(tmp_path / "d.npz", **arrays)  # pyright: ignore[reportArgumentType]
    assert_same(read_npz(tmp_path / "d.npz", "label"), data)


def rows_of(data: SequenceSet) -> list[dict[str, Any]]:
    """A row per step, those of different sequences in turns."""
    assert data.answers is not None
    rows = [
        {"id": name, "t": t, "label": answer, **{f"v{c}": v for c, v in enumerate(step)}}
        for name, values, answer in zip(data.names, data.values, data.answers.tolist(), strict=True)
        for t, step in enumerate(values.tolist())
    ]
    order = [data.names.index(row["id"]) + 10 * row["t"] for row in rows]
    return [rows[i] for i in np.argsort(order, kind="stable")]


@in_a_folder
@given(data=sequence_sets(), kind=st.sampled_from(["csv", "tsv", "jsonl", "parquet", "csv.gz"]))
def test_a_long_table_is_read_as_written(tmp_path: Path, data: SequenceSet, kind: str) -> None:
    path, rows = tmp_path / f"d.{kind}", rows_of(data)
    if kind == "parquet":
        polars.DataFrame(rows).write_parquet(path)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row).replace("NaN", "null") for row in rows))
    else:
        split = "\t" if kind == "tsv" else ","
        lines = [split.join(rows[0])]
        for row in rows:
            lines.append(
                split.join(cell(v) if isinstance(v, float) else str(v) for v in row.values())
            )
        text = "\n".join(lines).encode()
        path.write_bytes(gzip.compress(text) if kind == "csv.gz" else text)
    table = SequenceTable(path=path, id="id", time="t", answer="label")
    assert_same(table.read("label"), data)


@in_a_folder
@given(data=sequence_sets(), header=st.booleans())
def test_a_wide_table_is_read_as_written(tmp_path: Path, data: SequenceSet, header: bool) -> None:
    """A row per sequence; one that is shorter than the others leaves its last cells empty."""
    assert data.answers is not None
    channels = data.values[0].shape[1]
    width = channels * max(len(values) for values in data.values)
    lines = [",".join(["kind", *(f"s{i}" for i in range(width))])] if header else []
    for values, answer in zip(data.values, data.answers, strict=True):
        cells = [cell(v) for v in values.ravel()]
        lines.append(",".join([answer, *cells, *[""] * (width - len(cells))]))
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    table = SequenceTable(
        path=tmp_path / "d.csv",
        answer="kind" if header else "1",
        channels=channels,
        layout=Layout(header=header),
    )
    assert_same(table.read("label"), data)


def test_answers_are_not_needed_where_none_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id,a,b\nx,1,2\nx,3,4\ny,5,6\n")
    source = LabelledSequences(id="id", label="kind")
    values, names = source.read_inputs(str(tmp_path / "d.csv"))
    assert names == ["x", "y"]
    assert values[0].tolist() == [[1, 2], [3, 4]]
    (tmp_path / "d.ts").write_text("@classLabel false\n@data\n1,2,3\n")
    assert LabelledSequences().read_inputs(str(tmp_path / "d.ts"))[0][0].shape == (3, 1)


def test_a_table_says_which_columns_are_values(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("who,x,kind,note,y\na,1,up,?,2\nb,3,down,?,4\n")
    source = LabelledSequences(values=("y", "x"), label="kind", channels=2)
    values, answers = source.read(str(tmp_path / "d.csv"), learning=True)
    assert [v.tolist() for v in values] == [[[2, 1]], [[4, 3]]]
    assert answers.tolist() == ["up", "down"]


# what is wrong with a file: one line that says where

LONG = "id,t,v,label\na,1,1,up\na,2,2,up\n"
HEADER = "@univariate true\n@classLabel true up down\n@data\n"
WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("d.ts", "@univariate true\n", {}, "d.ts: expected a line @data, got none"),
    ("d.ts", HEADER, {}, "expected sequences after @data, got none"),
    ("d.ts", "1,2,3:up\n", {}, "line 1: expected a line of the header such as"),
    ("d.ts", "@univariate maybe\n", {}, "line 1: expected @univariate true or false, got 'maybe'"),
    ("d.ts", "@dimensions two\n", {}, "line 1: expected @dimensions and a whole number"),
    ("d.ts", "@timeStamps true\n@data\n", {}, "line 1: expected values alone"),
    ("d.ts", "@data\n1,2:up\n", {}, "line 1: expected labels (@classlabel true), got none"),
    ("d.ts", "@targetlabel true\n@data\n", {}, "got numbers; train a series-regressor"),
    ("d.ts", HEADER + "1,2,x:up\n", {}, "line 4: expected a finite number, got 'x'"),
    ("d.ts", HEADER + "1,2:up\n1,inf:up\n", {}, "line 5: expected a finite number, got 'inf'"),
    ("d.ts", HEADER + "1,2:left\n", {}, "line 4: expected one of up, down, got 'left'"),
    ("d.ts", HEADER + "1,2\n", {}, "line 4: expected values, a colon and the answer"),
    ("d.ts", HEADER + "1,2:3,4:up\n", {}, "line 4: expected 1 dimensions split by colons, got 2"),
    (
        "d.ts",
        "@classLabel true\n@data\n1,2:3:a\n",
        {},
        "expected dimensions of one length, got [1, 2]",
    ),
    (
        "d.ts",
        "@equalLength true\n@seriesLength 3\n@classLabel true a\n@data\n1,2:a\n",
        {},
        "line 5: expected 3 values as @seriesLength says, got 2",
    ),
    ("d.ts", HEADER + "1,2:up\n", {"id": "id"}, "option id: expected none, for it is about tables"),
    ("d.npz", "no zip file", {}, "d.npz: expected a .npz file of numbers and text, got one"),
    ("d.csv", LONG, {"id": "id"}, "d.csv: expected the name of the column of labels, got none"),
    ("d.csv", LONG, {"id": "who", "label": "label"}, "expected a column 'who', got 'id'"),
    ("d.csv", LONG, {"id": "id", "label": "lable"}, "did you mean 'label'?"),
    ("d.csv", LONG, {"time": "t", "label": "label"}, "option time: expected none"),
    (
        "d.csv",
        LONG,
        {"id": "id", "channels": 2, "label": "label"},
        "option channels: expected none",
    ),
    ("d.csv", LONG, {"channels": 0, "label": "label"}, "option channels: expected at least 1"),
    (
        "d.csv",
        LONG,
        {"id": "id", "values": ("v", "label"), "label": "label"},
        "expected columns of values beside id, label, got v, label",
    ),
    (
        "d.csv",
        LONG + "a,3,3,down\n",
        {"id": "id", "time": "t", "label": "label"},
        "line 4, column 'label': expected one label for the id 'a', got 'up' and 'down'",
    ),
    (
        "d.csv",
        LONG + "b,1,3,\n",
        {"id": "id", "label": "label"},
        "line 4, column 'label': expected a label, got an empty cell",
    ),
    (
        "d.csv",
        LONG + ",1,3,up\n",
        {"id": "id", "label": "label"},
        "line 4, column 'id': expected an id, got an empty cell",
    ),
    (
        "d.csv",
        LONG + "a,2,3,up\n",
        {"id": "id", "time": "t", "values": ("v",), "label": "label"},
        "line 4, column 't': expected each time once in an id, got 2 again; keep one row",
    ),
    (
        "d.csv",
        LONG + "b,soon,3,up\n",
        {"id": "id", "time": "t", "values": ("v",), "label": "label"},
        "line 4, column 't': expected a number as time, like most, got 'soon'",
    ),
    (
        "d.csv",
        LONG + "b,1,many,up\n",
        {"id": "id", "time": "t", "label": "label"},
        "line 4, column 'v': expected a number, got 'many'",
    ),
    (
        "d.csv",
        "a,b,k\n1,2,up\n,,up\n",
        {"label": "k"},
        "line 3: expected values, got none in this row",
    ),
    (
        "d.csv",
        "a,b,c,k\n1,2,3,up\n",
        {"label": "k", "channels": 2},
        "expected a multiple of 2 columns",
    ),
    ("d.csv", "1,1,up\n2,3,down\n", {"label": "3"}, "line 1: expected each column name once"),
    (
        "d.csv",
        "1,1,up\n2,x,down\n",
        {"label": "3", "header": False},
        "line 2, column '2': expected a number, got 'x'",
    ),
    (
        "d.csv",
        "1,1,up\n2,down\n",
        {"label": "3", "header": False},
        "line 2: expected 3 fields as in",
    ),
    ("d.jsonl", '{"a": 1, "k": "x"}\n', {"label": "k", "header": False}, "expected a .csv or .tsv"),
]


@pytest.mark.parametrize(("name", "content", "told", "problem"), WRONG)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    tmp_path: Path, name: str, content: str, told: dict[str, Any], problem: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        LabelledSequences(**told).read(str(tmp_path / name), learning=True)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("arrays", "problem"), [
    ({"x": np.zeros((2, 3)), "y": [0, 1]}, "expected the arrays X (or values and lengths) and y"),
    ({"X": np.zeros(3), "y": [0, 1]}, "X: expected numbers [N, T, I] or [N, T], got float64 [3]"),
    ({"X": np.zeros((2, 3))}, "expected an array y, the label of each sequence, got none"),
    ({"X": np.zeros((2, 3)), "y": [0, 1, 2]}, "y: expected a label for each sequence, [2]"),
    ({"X": np.zeros((2, 3)), "y": [[0], [1]]}, "y: expected a label for each sequence, [2]"),
    ({"X": np.full((2, 3), np.inf), "y": [0, 1]}, "X: expected finite numbers, got infinity"),
    ({"X": np.zeros((2, 3)), "lengths": [3, 4], "y": [0, 1]}, "lengths: expected up to 3"),
    ({"X": np.zeros((2, 3)), "lengths": [3, 0], "y": [0, 1]}, "from 1, got int64 [2] with 0"),
    ({"X": np.zeros((2, 3)), "lengths": [3], "y": [0, 1]}, "lengths: expected 2 whole numbers"),
    ({"values": np.zeros(3), "y": [0]}, "expected lengths beside values, got none"),
    ({"values": np.zeros(3), "lengths": [1, 1], "y": [0, 1]}, "expected a sum of 3 values, got 2"),
    ({"X": np.array([[1, "a"]], dtype=object), "y": [0]}, "without object arrays"),
], ids=str)  # fmt: skip
def test_what_is_wrong_with_an_npz_file_is_said(
    tmp_path: Path, arrays: dict[str, Any], problem: str
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError) as caught:
        read_npz(tmp_path / "d.npz", "label")
    assert str(caught.value).startswith(str(tmp_path / "d.npz"))
    assert problem in str(caught.value)


@pytest.mark.parametrize("target", ["", "nan", "many"])
def test_a_number_to_predict_that_is_none_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "d.csv").write_text(f"a,b,y\n1,2,3\n1,2,{target}\n")
    with pytest.raises(InputError, match=r"line 3, column 'y': expected a number, got"):
        MeasuredSequences(target="y").read(str(tmp_path / "d.csv"), learning=True)
    (tmp_path / "d.ts").write_text(f"@targetlabel true\n@data\n1,2:3\n1,2:{target}\n")
    with pytest.raises(InputError, match="line 4: expected a finite number, got"):
        MeasuredSequences().read(str(tmp_path / "d.ts"), learning=True)


def test_an_error_in_a_label_names_the_sequence(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(LONG + "b,1,1,up\n")
    error = LabelledSequences(id="id", label="label").error_at(str(tmp_path / "d.csv"), 1, "wrong")
    assert str(error).endswith("d.csv: sequence b: wrong")


# what the network reads


@settings(max_examples=30)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.booleans())
def test_padding_keeps_every_value_in_its_column(lengths: list[int], tokens: bool) -> None:
    rng = np.random.default_rng(0)
    sequences = [
        rng.integers(1, 9, n).astype(np.int32) if tokens else rng.random((n, 2)) for n in lengths
    ]
    padded, found = pad_sequences(sequences)
    assert found.tolist() == lengths
    assert padded.dtype == sequences[0].dtype
    assert padded.shape == (max(1, *lengths), len(lengths), *sequences[0].shape[1:])
    for column, sequence in enumerate(sequences):
        np.testing.assert_array_equal(padded[: len(sequence), column], sequence)
        assert not padded[len(sequence) :, column].any()


def test_a_missing_value_is_the_last_known_one_and_before_the_first_the_mean() -> None:
    inputs = SequenceInputs.fit([np.array([[0.0], [4.0]])], 1)  # mean 2, deviation 2
    nan = np.nan
    gaps, filled = (inputs.scaled(np.array(v)[:, None]) for v in (
        [nan, 6.0, nan, nan, 2.0], [2.0, 6.0, 6.0, 6.0, 2.0],
    ))  # fmt: skip
    np.testing.assert_array_equal(gaps, filled)


def test_inputs_are_shape_mean_and_magnitude() -> None:
    known = [np.array([[0.0], [4.0]]), np.array([[0.0], [4.0]])]  # mean 2, deviation 2
    inputs = SequenceInputs.fit(known, 1)
    scaled = inputs.scaled(np.array([[82.0], [122.0]]))  # mean 102: 50 deviations; its own: 20
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[-1, 50, 1], [1, 50, 1]], rtol=1e-4)
    flat = inputs.scaled(np.full((3, 1), 2.0))  # told from one that moves by a millionth
    np.testing.assert_allclose(flat, [[0, 0, -6]] * 3)


def test_the_last_segment_is_filled_up_with_the_last_value() -> None:
    inputs = SequenceInputs.fit([np.arange(10.0).reshape(5, 2)], 3)
    scaled = np.concatenate([np.arange(10).reshape(5, 2), np.full((5, 4), 7)], axis=1)
    steps = inputs.segments(scaled.astype(np.float32))
    expected = [[0, 1, 2, 3, 4, 5, 7, 7, 7, 7], [6, 7, 8, 9, 8, 9, 7, 7, 7, 7]]
    np.testing.assert_array_equal(steps, expected)
    assert inputs.input_size == 10


def test_the_default_segment_is_a_twelfth_of_the_median_length() -> None:
    lengths = {8: 1, 150: 12, 500: 42}
    for length, segment in lengths.items():
        assert SequenceInputs.fit([np.random.rand(length, 1)], None).segment == segment


@given(st.integers(1, 4), st.integers(1, 5))
def test_inputs_survive_json(channels: int, segment: int) -> None:
    values = np.random.default_rng(channels).normal(size=(9, channels))
    inputs = SequenceInputs.fit([values], segment)
    again = SequenceInputs.from_json(json.loads(json.dumps(inputs.to_json())))
    np.testing.assert_array_equal(again.scaled(values), inputs.scaled(values))


@pytest.mark.parametrize("change", [
    {"segment": 0}, {"segment": 1.5}, {"segment": 2**40}, {"scaler": {}}, {"more": 1},
])  # fmt: skip
def test_inputs_out_of_schema_are_refused(change: dict[str, Any]) -> None:
    good = SequenceInputs.fit([np.arange(4.0)[:, None]], 2).to_json()
    with pytest.raises(ValueError, match=r"segment|scaler|inputs"):
        SequenceInputs.from_json(good | change)


@pytest.mark.parametrize("of", [
    lambda x: x, lambda x: x[:, :, 0], list, lambda x: [row[:, 0].tolist() for row in x],
])  # fmt: skip
def test_sequences_are_taken_in_any_of_their_forms(of: Any) -> None:
    block = np.random.default_rng(0).normal(size=(3, 4, 1))
    for ours, theirs in zip(as_sequences(of(block)), block, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("wrong", "problem"), [
    ([[["a"]]], "sequence 0: expected an array of numbers"),
    ([np.zeros((2, 3)), np.zeros((2, 2))], "sequence 1: expected 3 channels, as the others have"),
    ([np.zeros((2, 3, 4))], r"sequence 0: expected \[T, channels\] or \[T\]"),
    ([np.zeros(0)], r"of one step or more, got shape \[0, 1\]"),
    ([5.0], r"got shape \[\]"),
    ([np.array([1, np.inf])], "sequence 0: expected finite numbers or NaN"),
])  # fmt: skip
def test_what_is_no_sequence_is_named(wrong: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        as_sequences(wrong)


def test_one_sequence_in_place_of_many_is_told_how_to_be_given() -> None:
    one = np.zeros((5, 2))
    with pytest.raises(InputError, match=r"one sequence alone goes in a list: \[x\]"):
        as_sequences(one, channels=2)
    assert len(as_sequences([one], channels=2)) == 1


def test_a_channel_without_values_is_named() -> None:
    with pytest.raises(InputError, match="channel 2: expected some values, got none"):
        SequenceInputs.fit([np.array([[1.0, np.nan], [2.0, np.nan]])], 1)


def test_what_is_masked_is_missing() -> None:
    block = np.arange(12.0).reshape(2, 6)
    masked = np.ma.masked_greater(block, 9)
    for form in (masked, masked.astype(int)):
        (first, second) = as_sequences(form)
        np.testing.assert_array_equal(first[:, 0], block[0])
        np.testing.assert_array_equal(second[:, 0], [6, 7, 8, 9, np.nan, np.nan])


def test_a_tensor_that_wants_gradients_is_read() -> None:
    import torch

    block = torch.arange(12.0).reshape(2, 6).requires_grad_()
    np.testing.assert_array_equal(as_sequences(block)[1][:, 0], np.arange(6.0) + 6)


@pytest.mark.parametrize(
    "item", [np.ones(3, complex), np.array(["2015-01-01"], "datetime64[D]"), [1j], [b"1"]]
)
def test_what_would_lose_something_as_a_number_is_refused(item: Any) -> None:
    kind = type(item).__name__
    with pytest.raises(InputError, match=f"sequence 1: expected an array of numbers, got {kind}"):
        as_sequences([[1.0], item])
