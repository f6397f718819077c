"""What is advised for made-up results, one for each branch of the rule."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from tidegate.comparison.experiments.experiment import BaselineScores, Metric
from tidegate.comparison.experiments.paired import in_blocks, paired_p
from tidegate.comparison.report import advice
from tidegate.comparison.report.advice import Candidate, Scores

LOSS = Metric(name="cross_entropy", label="cross-entropy")


def losses_of(figure, examples=1000):
    """A method whose loss is 1 on the first examples, as many as its mean says, else 0."""
    return (np.arange(examples) < round(figure * examples)).astype(float)


def scores(figures, metric_losses=None, examples=1000):
    if metric_losses is None:
        metric_losses = [losses_of(figure, examples) for figure in figures]
    return Scores(figures, np.array(metric_losses))


def candidate(title, validation, held_out=None, parameters=1000, seconds=1.0, examples=1000):
    held_out = validation if held_out is None else held_out
    return Candidate(
        title=title,
        validation=scores(validation, examples=examples),
        held_out=scores(held_out, examples=examples),
        parameters=parameters,
        seconds_per_epoch=seconds,
    )


def baseline(figure, name="ridge", validation=None, examples=1000, part=""):
    validation = figure if validation is None else validation
    losses = losses_of(figure, examples)
    return BaselineScores(
        name=name, about="", validation=validation, held_out=figure, losses=losses, part=part
    )


def advise(candidates, baselines, metric, held_out):
    return advice.advise(candidates, baselines, metric, held_out, "texts")


LSTM = candidate("LSTM", [0.2, 0.19, 0.18], parameters=4000, seconds=1.2)
GRU = candidate("GRU", [0.203, 0.192, 0.183], parameters=3000, seconds=1.0)
RNN = candidate("RNN", [0.4, 0.39, 0.38], parameters=1000, seconds=0.5)


def test_level_cells_are_told_apart_by_their_weights():
    advised = advise([LSTM, GRU, RNN], [], LOSS, "test")
    assert advised.cell == "GRU"
    level, behind, take, ahead, how, rule = advised.sentences
    assert level == "The LSTM and the GRU do not differ beyond chance: the seeds differ as much."
    assert behind.startswith("The GRU is behind by 0.0027 (")
    assert take.startswith("Take the GRU, which has 25 % fewer weights")
    assert "takes 17 % less time per epoch than the LSTM" in take
    assert ahead.startswith("The LSTM is better in cross-entropy than the RNN by 0.2 (")
    assert how.startswith("In brackets: the 95 % interval over the seeds")
    assert rule == "Two cells differ if that interval is above 0 and that p is below 0.05."


def test_a_cell_that_is_better_beyond_the_seeds_is_advised_whatever_it_costs():
    advised = advise([RNN, LSTM], [], LOSS, "test")
    assert advised.cell == "LSTM"
    assert advised.sentences == (
        "Take the LSTM.",
        "On the validation part it is better in cross-entropy than the RNN by 0.2 (0.18 to 0.22; "
        "p < 0.001).",
        "In brackets: the 95 % interval over the seeds, and p of a paired test on the same 1000 "
        "texts.",
        "Two cells differ if that interval is above 0 and that p is below 0.05.",
    )


def test_less_is_better_where_the_figure_is_an_error():
    first, second = (
        Candidate(
            title=name,
            validation=scores(figures, [np.full(50, f) + np.arange(50) for f in figures]),
            held_out=scores(figures, [np.full(50, f) for f in figures]),
            parameters=weights,
            seconds_per_epoch=1.0,
        )
        for name, figures, weights in (("RNN", [3.0, 3.1], 9), ("LSTM", [4.0, 4.1], 5))
    )
    assert advise([second, first], [], LOSS, "test").cell == "RNN"


def test_a_cell_that_is_cheap_but_clearly_worse_is_not_advised_because_few_runs_cannot_tell():
    """As seen: an RNN level by accuracy, whose cross-entropy was a tenth above the GRU's."""
    gru = candidate("GRU", [0.30, 0.36, 0.33], parameters=3000)
    rnn = candidate("RNN", [0.33, 0.40, 0.365], parameters=1000)
    advised = advise([gru, rnn], [], LOSS, "test")
    assert not advised.margins[0].told_apart
    assert advised.cell == "GRU"
    assert "Take the GRU, which did best; it has 200 % more weights than the RNN." in str(advised)


def test_a_baseline_that_learned_from_a_part_is_no_measure_of_one_that_learns_from_all():
    caveat = "; nothing is known of one that learns from all."

    def sentence(figure, part):
        advised = advise([GRU], [baseline(figure, part=part)], LOSS, "test")
        return next(one for one in advised.sentences if "baseline" in one)

    told = sentence(0.9, "904 of 18,539 texts")
    assert "beats the baselines" in told
    assert "ridge of 904 of 18,539 texts 0.9, GRU" in told
    assert caveat in told
    assert caveat not in sentence(0.9, "")
    ahead = sentence(0.01, "904 of 18,539 texts")
    assert ahead.startswith("A baseline beats")
    assert caveat not in ahead


def test_equal_weights_leave_it_to_the_time():
    slow = candidate("LSTM", [0.2, 0.19, 0.18], parameters=1000, seconds=2.0)
    fast = candidate("GRU", [0.202, 0.191, 0.18], parameters=1020, seconds=1.0)
    advised = advise([slow, fast], [], LOSS, "test")
    assert advised.cell == "GRU"
    assert "which takes 50 % less time per epoch than the LSTM" in str(advised)
    assert "weights" not in str(advised)


def test_what_it_costs_more_is_told_too():
    slow = candidate("GRU", [0.2, 0.19, 0.18], parameters=900, seconds=2.0)
    fast = candidate("LSTM", [0.202, 0.191, 0.18], parameters=1000, seconds=1.0)
    advised = advise([slow, fast], [], LOSS, "test")
    assert "it has 10 % fewer weights but takes 100 % more time per epoch" in str(advised)


def test_three_level_cells_are_listed():
    close = candidate("RNN", [0.204, 0.19, 0.186], parameters=500)
    advised = advise([LSTM, GRU, close], [], LOSS, "test")
    assert "The LSTM, the GRU and the RNN do not differ beyond" in str(advised)
    assert advised.cell == "RNN"


def test_one_seed_advises_no_more_than_a_repetition():
    advised = advise([candidate("LSTM", [0.1]), candidate("GRU", [0.5])], [], LOSS, "test")
    assert advised.cell == "LSTM"
    assert "a single run cannot tell a difference from chance" in str(advised)


def test_a_cell_alone_is_held_against_the_baseline_alone():
    assert advise([GRU], [], LOSS, "test").sentences == ()
    advised = advise([GRU], [baseline(0.5)], LOSS, "test")
    assert str(advised) == (
        "The GRU beats the baselines. Cross-entropy on the test part: ridge 0.5, GRU 0.1927 "
        "(p < 0.001 on the same 1000 texts)."
    )


def test_a_baseline_that_wins_is_told_first():
    advised = advise([LSTM, GRU, RNN], [baseline(0.1)], LOSS, "validation")
    assert advised.sentences[0] == (
        "A baseline beats the GRU. Cross-entropy on the validation part: ridge 0.1, GRU 0.1927 "
        "(p < 0.001 on the same 1000 texts)."
    )
    assert any(sentence.startswith("Take the GRU") for sentence in advised.sentences)


def test_a_baseline_that_is_as_good_is_told_first():
    advised = advise([candidate("GRU", [0.2, 0.2])], [baseline(0.2)], LOSS, "test")
    assert str(advised).startswith(
        "A baseline is as good as the GRU. Cross-entropy on the test part: ridge 0.2"
    )


def test_level_figures_differ_by_zero_without_a_sign():
    level = [candidate("LSTM", [0.0, 0.0]), candidate("GRU", [0.0, 0.0], parameters=900)]
    assert "is behind by 0 (0 to 0; p = 1)" in str(advise(level, [], LOSS, "test"))


def test_a_baseline_within_the_spread_is_told_first_to_be_level():
    advised = advise([LSTM, GRU], [baseline(0.194)], LOSS, "test")
    assert advised.sentences[0] == (
        "The difference between a baseline and the GRU may be chance. Cross-entropy on the test "
        "part: ridge 0.194, GRU 0.1927 (p = 0.43 on the same 1000 texts). They differ if p is "
        "below 0.05 and the 95 % interval of the difference over the seeds, -0.024 to 0.026, is "
        "above 0."
    )


def test_a_baseline_within_the_seeds_alone_is_told_with_the_reason():
    spread = candidate("GRU", [0.7, 0.1])
    advised = advise([spread], [baseline(0.2)], LOSS, "test")
    assert str(advised).startswith(
        "The difference between a baseline and the GRU may be chance, because the seeds differ as "
    )


def test_nothing_is_chosen_by_the_held_out_part():
    """Neither the cell nor the baseline that would do best there."""
    better_there = candidate("RNN", [0.4, 0.39, 0.38], held_out=[0.1, 0.1, 0.1])
    advised = advise(
        [LSTM, better_there],
        [baseline(0.01, "lucky", validation=0.6), baseline(0.3, "chosen", validation=0.5)],
        LOSS,
        "test",
    )
    assert advised.cell == "LSTM"
    assert "chosen 0.3, LSTM 0.19" in str(advised)
    assert "lucky" not in str(advised)


@pytest.mark.parametrize("scale", [0.01, 0.02, 0.05, 0.2])
def test_level_means_that_welchs_test_does_not_tell_them_apart(scale):
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.8, scale, 4).tolist(), rng.normal(0.76, 0.02, 3).tolist()
    p = stats.ttest_ind(first, second, equal_var=False)[1]
    best, other = (("LSTM", first), ("GRU", second))
    advised = advise([candidate(*best), candidate(*other)], [], LOSS, "test")
    assert ("do not differ beyond chance" in str(advised)) == (p > 0.05)


def test_runs_that_agree_to_the_last_digit_differ_if_their_figures_do():
    advised = advise(
        [candidate("LSTM", [0.1, 0.1]), candidate("GRU", [0.2, 0.2])], [], LOSS, "test"
    )
    assert advised.cell == "LSTM"
    assert "better in cross-entropy than the GRU by 0.1 (0.1 to 0.1; p < 0.001)" in str(advised)


# small samples


def test_seventeen_texts_do_not_let_a_baseline_win_by_one():
    """The report that started this: one text of seventeen, and a cell that was right on all."""
    lstm = candidate("LSTM", [0.0, 0.0, 0.0], parameters=4000, examples=17)
    gru = candidate("GRU", [0.0, 1 / 17, 0.0], parameters=3000, examples=17)
    advised = advise([lstm, gru], [baseline(1 / 17, examples=17)], LOSS, "validation")
    assert advised.cell == "LSTM"
    assert advised.sentences[0].startswith(
        "17 texts are too few to tell a baseline and the LSTM apart. Cross-entropy on the "
    )
    assert advised.sentences[1] == "17 texts are too few to tell the LSTM and the GRU apart."
    assert advised.sentences[2].startswith("The GRU is behind by 0.02 (")
    assert advised.sentences[3] == (
        "Until you have more, take the LSTM, which did best; it has 33 % more weights than the GRU."
    )
    assert not any(margin.told_apart for margin in advised.margins)


def test_few_examples_that_tell_are_not_called_too_few():
    """p = 0.03 on 20 texts is below the level: it is the seeds that leave the difference open."""
    first = candidate("LSTM", [0.05, 0.35], examples=20)
    second = candidate("GRU", [0.4, 0.6], parameters=500, examples=20)
    told = str(advise([first, second], [], LOSS, "test"))
    assert re.search(r"\(-0.6 to 1.2; p (= 0.0|<)", told), told
    assert "too few" not in told
    assert "The LSTM and the GRU do not differ beyond chance: the seeds differ as much." in told
    assert "if that interval is above 0 and that p is below 0.05" in told
    told = str(advise([first], [baseline(0.5, examples=20)], LOSS, "test"))
    assert "too few" not in told
    assert "may be chance, because the seeds differ as much" in told


def test_the_rule_is_told_wherever_cells_or_baselines_are_called_level():
    level = [candidate("LSTM", [0.2, 0.19]), candidate("GRU", [0.21, 0.2], parameters=2000)]
    told = str(advise(level, [], LOSS, "test"))
    assert "Two cells differ if that interval is above 0 and that p is below 0.05." in told
    once = str(advise([candidate("GRU", [0.2])], [baseline(0.199)], LOSS, "test"))
    assert once.endswith("They differ if p is below 0.05.")


def test_a_difference_beyond_the_seeds_is_none_if_the_examples_make_it():
    """Every seed has the same three texts more right: that may be those texts."""
    first = candidate("LSTM", [0.1, 0.1], examples=100)
    second = candidate("GRU", [0.13, 0.13], examples=100)
    advised = advise([first, second], [], LOSS, "test")
    (margin,) = advised.margins
    assert (margin.low, margin.told_apart) == (pytest.approx(0.03), False)
    assert margin.p == pytest.approx(stats.binomtest(3, 3).pvalue)
    assert "The LSTM and the GRU do not differ beyond chance" in str(advised)


def test_few_examples_tell_apart_what_is_far_apart():
    first = candidate("LSTM", [0.0, 0.0], examples=12)
    second = candidate("GRU", [0.75, 0.75], examples=12)
    advised = advise([first, second], [baseline(0.75, examples=12)], LOSS, "test")
    assert advised.cell == "LSTM"
    assert "too few" not in str(advised)
    assert "The LSTM beats the baselines" in str(advised)


@pytest.mark.parametrize(("right", "wrong"), [(0, 0), (1, 0), (5, 0), (6, 0), (8, 2), (3, 3)])
def test_the_paired_test_of_right_and_wrong_answers_is_mcnemars(right, wrong):
    first = np.r_[np.zeros(right), np.ones(wrong), np.zeros(40)]
    second = np.r_[np.ones(right), np.zeros(wrong), np.zeros(40)]
    expected = stats.binomtest(right, right + wrong).pvalue if right + wrong else 1.0
    assert paired_p(first, second) == pytest.approx(expected)
    assert paired_p(second, first) == pytest.approx(expected)


def test_the_paired_test_of_errors_is_that_of_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.gamma(1, 1, 12), rng.gamma(1, 2, 12)
    exact = stats.permutation_test(
        (first, second), lambda a, b: (a - b).mean(), permutation_type="samples"
    )
    assert paired_p(first, second) == pytest.approx(exact.pvalue)
    first, second = rng.gamma(1, 1, 500), rng.gamma(1, 1.1, 500)
    assert paired_p(first, second) == pytest.approx(stats.ttest_rel(first, second)[1])


def test_equal_methods_are_told_apart_in_one_case_of_twenty_at_most():
    rng = np.random.default_rng(0)
    for count in (6, 17, 40):
        found = [
            paired_p(rng.random(count) < 0.3, rng.random(count) < 0.3) < 0.05 for _ in range(400)
        ]
        assert np.mean(found) < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_equal_forecasts_with_lasting_errors_are_told_apart_seldom():
    """Errors that last 10 windows: taken one by one they seem certain, in blocks they do not."""
    rng = np.random.default_rng(0)
    single, blocked = [], []
    for _ in range(200):
        first, second = (np.repeat(rng.gamma(1, 1, 60), 10) for _ in range(2))
        single.append(paired_p(first, second) < 0.05)
        blocked.append(paired_p(in_blocks(first, 20), in_blocks(second, 20)) < 0.05)
    assert np.mean(single) > 0.3
    assert np.mean(blocked) < 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


@pytest.mark.parametrize(("count", "shortest", "blocks"), [(5, 20, 1), (1000, 3, 100), (90, 7, 12)])
def test_blocks_have_the_mean_of_all(count, shortest, blocks):
    losses = np.random.default_rng(0).random(count)
    found = in_blocks(losses, shortest)
    assert len(found) == blocks
    assert found.mean() == pytest.approx(losses.mean())
