"""The commands of benchmarks/reproduce: what they generate, their own distance, their record."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import tidegate as tg

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "reproduce"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(request.param)


def warped(x: np.ndarray, y: np.ndarray) -> float:
    """The recursion of dynamic time warping as it is written down."""
    table = np.full((len(x) + 1, len(y) + 1), np.inf)
    table[0, 0] = 0
    for i, j in np.ndindex(len(x), len(y)):
        before = min(table[i, j], table[i, j + 1], table[i + 1, j])
        table[i + 1, j + 1] = ((x[i] - y[j]) ** 2).sum() + before
    return float(table[-1, -1])


@pytest.mark.parametrize("command", ["series_classification"], indirect=True)
@pytest.mark.parametrize("channels", [1, 2])
def test_warped_distances_to_sequences_of_any_length_are_those_of_the_recursion(command, channels):
    rng = np.random.default_rng(0)
    learned = [rng.normal(size=(n, channels)) for n in (1, 3, 12, 7, 5)]
    block = command.Block.of(learned)
    unseen = [rng.normal(size=(n, channels)) for n in (1, 2, 6, 15)]
    for x in unseen:
        np.testing.assert_allclose(block.distances(x), [warped(x, y) for y in learned])


@pytest.mark.parametrize("command", ["series_classification"], indirect=True)
def test_the_nearest_of_several_blocks_gives_its_label(command, monkeypatch):
    monkeypatch.setattr(command, "VALUES", 16)  # two sequences of 7.2 on average
    rng = np.random.default_rng(1)
    learned = [rng.normal(size=(n, 1)) for n in (9, 3, 12, 7, 5)]
    labels = np.array(list("abcde"))
    near = [np.repeat(y, 2, axis=0) + 0.01 for y in learned]  # the same curves at half the speed
    assert "".join(command.nearest_by_dtw(learned, labels, near)) == "abcde"


@pytest.mark.parametrize("command", ["long_memory"], indirect=True)
def test_one_number_of_each_half_is_added(command):
    inputs, sums = command.adding(np.random.default_rng(0), 50, 21)
    numbers, marks = inputs[:, :, 0], inputs[:, :, 1]
    assert (marks[:, :10].sum(axis=1) == 1).all()
    assert (marks[:, 10:].sum(axis=1) == 1).all()
    np.testing.assert_allclose(sums, (numbers * marks).sum(axis=1))


@pytest.mark.parametrize("command", ["long_memory"], indirect=True)
def test_what_is_read_before_the_blanks_is_written_after_the_sign(command):
    read, written = command.copying(torch.Generator().manual_seed(0), 7, 30)
    assert read.shape == written.shape == (50, 7)
    assert torch.equal(read[:10], written[-10:])
    assert set(read[:10].unique().tolist()) <= set(range(1, 9))
    assert (read == 9).nonzero()[:, 0].unique().tolist() == [39]  # ten steps are left
    assert not written[:-10].any()
    assert not read[10:39].any()
    assert not read[40:].any()


@pytest.mark.parametrize("command", ["ten_models"], indirect=True)
def test_the_band_of_a_signal_is_where_its_spectrum_peaks(command):
    signals, bands = command.frequency_band(np.random.default_rng(0), 200)
    peaks = np.abs(np.fft.rfft(signals, 1000)).argmax(axis=1) / 10  # cycles per 100 steps
    assert (np.abs(peaks - (bands + 0.5)) < 0.75).mean() > 0.95  # the rest are led astray by noise


@pytest.mark.parametrize("command", ["ablation"], indirect=True)
def test_an_ablation_changes_how_the_layers_start_and_leaves_nothing_behind(command):
    def forget_bias(change):
        options, context = command.changed(change)
        with context:
            model = tg.LanguageModel(
                hidden_sizes=(4,),
                max_steps=1,
                learning_rate=1e-9,
                verbose=0,
                **{"cell": "lstm", **options},
            ).fit("a tide " * 50)
        biases = [p for n, p in model.network_.named_parameters() if "bias_ih" in n]
        return biases[0].detach()[4:8]  # i f g o

    torch.testing.assert_close(forget_bias({}), torch.zeros(4))
    torch.testing.assert_close(forget_bias({"forget_bias": 1.0}), torch.ones(4))
    drawn = forget_bias(command.as_torch)
    assert drawn.unique().numel() == 4
    assert drawn.abs().max() <= 0.5
    torch.testing.assert_close(forget_bias({}), torch.zeros(4))


@pytest.mark.parametrize("command", ["record"], indirect=True)
def test_a_row_takes_the_place_of_the_one_before(command, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    for figure, cell in ((1, "gru"), (2, "lstm"), (3, "gru")):
        command.Record("memory", ("cell",)).add({"cell": cell, "figure": figure})
    rows = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["cell"], row["figure"]) for row in rows] == [("gru", 3), ("lstm", 2)]


@pytest.mark.parametrize("command", ["two_engines"], indirect=True)
def test_speeds_of_two_engines_come_from_pairs_of_turns(command):
    class Engine:
        def __init__(self, *seconds: float) -> None:
            self.turns = iter(seconds)

        def ask(self, order: object) -> float:
            return 0.5 if isinstance(order, list) else next(self.turns)

    row = command.compare([Engine(2, 4, 2), Engine(1, 8, 4)], ["gru", "1x1x1x1", "inference"], 3, 1)
    assert (row["median"], row["best"]) == (2.0, 0.5)  # of 0.5, 2 and 2; 1 over 2


@pytest.mark.parametrize("command", ["cells"], indirect=True)
@pytest.mark.parametrize("cell", ["mgu", "lstm_projected"])
def test_a_cell_is_timed_beside_loops_that_come_to_its_output(command, cell):
    row = command.measured(cell, command.Shape(2, 3, 4, 6), False, 0.01)
    columns = {title: show(row) for title, show in command.COLUMNS.items()}
    assert columns["cell"] == cell
    assert columns["loop: times as long"] > 0
    assert columns["compiled loop: times as long"] == ""


@pytest.mark.parametrize("command", ["tagging"], indirect=True)
def test_a_phrase_is_a_noun_with_what_stands_before_it_and_depends_on_it(command):
    # The(3) Washington(3) area(0) of(5) John(3) Doe(5)
    tags = ["DET", "PROPN", "NOUN", "ADP", "PROPN", "PROPN"]
    heads, relations = [2, 2, -1, 4, 2, 4], ["det", "compound", "root", "case", "nmod", "flat"]
    found = command.phrases_of(tags, heads, relations)
    assert found == ["B-THING", "I-THING", "I-THING", "O", "B-NAME", "I-NAME"]
    assert command.phrases_of([], [], []) == []


@pytest.mark.parametrize("command", ["crf_of_features"], indirect=True)
def test_the_crf_of_features_learns_from_words_and_neighbours(command):
    sentences = [["the", "watch"], ["we", "watch"], ["the", "dog"]] * 12
    labels = [["O", "B-N"], ["O", "O"], ["O", "B-N"]] * 12
    fitted = command.FeatureCrf.fit((sentences, labels), (sentences[:6], labels[:6]))
    assert fitted.predict([["we", "watch"], [], ["the", "watch"]]) == [["O", "O"], [], ["O", "B-N"]]


@pytest.mark.parametrize("command", ["seq2seq"], indirect=True)
def test_sums_are_right_and_no_two_numbers_are_asked_twice(command):
    questions, answers = command.sums(np.random.default_rng(0), 500)
    pairs = [tuple(sorted(map(int, question.split("+")))) for question in questions]
    assert len(set(pairs)) == 500
    assert [str(a + b) for a, b in pairs] == answers
    assert max(map(len, questions)) == 7


@pytest.mark.parametrize("command", ["seq2seq"], indirect=True)
def test_every_spelling_of_a_date_means_one_day(command):
    day = command.datetime.date(2004, 2, 29)
    written = [spell(day) for spell in command.spellings()]
    assert len(set(written)) == len(written)
    assert "29.2.04" in written
    assert "the 29th of February 2004" in written
    sources, targets = command.dates(np.random.default_rng(0), 200)
    assert len(set(sources)) == 200
    assert {len(target) for target in targets} == {10}


@pytest.mark.parametrize("command", ["sound"], indirect=True)
def test_vowels_are_heard_as_they_are_made(command, tmp_path):
    samples = command.vowels(0.2, np.random.default_rng(0))
    assert samples.dtype == np.int16
    assert 15_000 < np.abs(samples).max() <= 20_000
    heard = command.heard(samples, tmp_path)
    assert (len(heard), heard.rate) == (1600, command.RATE)
    assert len(set(heard)) > 50


@pytest.mark.parametrize("command", ["treebank"], indirect=True)
def test_a_tree_gives_each_phrase_its_grade_and_the_sentence_last(command):
    found = list(command.nodes("(3 (2 It) (4 (2 's) (4 (3 so) (4 good\\/fine))))"))
    assert found == [
        ("It", 2), ("'s", 2), ("so", 3), ("good/fine", 4), ("so good/fine", 4),
        ("'s so good/fine", 4), ("It 's so good/fine", 3),
    ]  # fmt: skip
