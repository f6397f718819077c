"""tidegate.keras gives what keras.layers gives: every cell, mask and option, and all gradients."""

import keras_on_torch
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras_on_torch import CELLS, MASKS, assert_close, fill, keras, results, theirs

import tidegate.keras
from tidegate.keras import on_torch

pytestmark = pytest.mark.filterwarnings(keras_on_torch.OF_NUMPY)
MERGE_MODES = ["concat", "sum", "mul", "ave", None]
rates = st.sampled_from([0.0, 0.4])
sizes = st.tuples(st.integers(1, 5), st.integers(1, 8), st.integers(1, 4), st.integers(1, 5))


@st.composite
def layers(draw, **fixed):
    """A class, its arguments, sizes B, T, I, H, a mask or None, and a generator."""
    ours, options = CELLS[draw(st.sampled_from(sorted(CELLS)))]
    flags = ["go_backwards", "return_sequences", "zero_output_for_mask", "use_bias", "unroll"]
    options = options | {flag: draw(st.booleans()) for flag in flags}
    options |= {"dropout": draw(rates), "recurrent_dropout": draw(rates)} | fixed
    B, T, I, H = draw(sizes)  # noqa: E741, N806
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["none", *MASKS]))
    mask = None if kind == "none" else torch.tensor(MASKS[kind](rng, B, T))
    if mask is not None and options["unroll"] and options["go_backwards"]:
        options["unroll"] = False  # Keras' own fails: it flips a tuple
    return ours, {"units": H, "seed": 3, **options}, (B, T, I), mask, rng


def built(ours, options, shape, rng, dtype="float32", wrap=lambda layer: layer):
    """A strict layer of ours and the same of Keras, with the same random weights."""
    pair = wrap(ours(strict=True, **options)), wrap(theirs(ours)(dtype=dtype, **options))
    for layer in pair:
        layer.build(shape)
    fill(list(pair), rng)
    return pair


def numbers(rng, *shapes, dtype="float32"):
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def of_both(pair, arrays, seed=0, **call):
    """What both give, for the same random sum of outputs and the same state of torch's generator.

    Layers without a seed draw from this one, as do those of Bidirectional(SimpleRNN(seed=1)):
    Keras' SimpleRNN leaves its seed out of its configuration.
    """
    found = []
    for layer in pair:
        torch.manual_seed(seed)
        found.append(results(layer, arrays, np.random.default_rng(seed), **call))
    return found


@settings(max_examples=250)
@given(layers(return_state=True), st.booleans())
def test_outputs_states_and_all_gradients_are_those_of_keras(case, training):
    ours, options, (B, T, I), mask, rng = case  # noqa: E741, N806
    pair = built(ours, options, (B, T, I), rng)
    states = [(B, options["units"])] * len(pair[0].state_size)
    arrays = numbers(rng, (B, T, I), *states)
    assert_close(*of_both(pair, arrays, mask=mask, training=training))
    counters = [layer.cell.seed_generator.state.numpy() for layer in pair]
    assert (counters[0] == counters[1]).all()  # in inference, too


@settings(max_examples=60)
@given(
    layers(go_backwards=False), st.sampled_from(["concat", "sum", "mul", "ave", None]), st.data()
)
def test_both_directions_are_those_of_keras(case, merge_mode, data):
    ours, options, shape, mask, rng = case
    returns_state = data.draw(st.booleans())

    def wrap(layer):
        return keras.layers.Bidirectional(layer, merge_mode=merge_mode)

    options = options | {"return_state": returns_state, "unroll": False}
    pair = built(ours, options, shape, rng, wrap=wrap)
    assert isinstance(pair[0].backward_layer, ours)
    assert pair[0].backward_layer.strict
    given_states = data.draw(st.booleans())
    count = 2 * len(pair[0].forward_layer.state_size) if given_states else 0
    arrays = numbers(rng, shape, *[(shape[0], options["units"])] * count)
    assert_close(*of_both(pair, arrays, mask=mask, training=True))


@settings(max_examples=30)
@given(layers(return_state=True, dropout=0.0, recurrent_dropout=0.0))
def test_results_are_those_of_keras_in_float64(case):
    ours, options, (B, T, I), mask, rng = case  # noqa: E741, N806
    pair = built(ours, options, (B, T, I), rng, dtype="float64")
    states = [(B, options["units"])] * len(pair[0].state_size)
    arrays = numbers(rng, (B, T, I), *states)
    ours_32 = results(pair[0], arrays, np.random.default_rng(0), mask=mask)
    arrays = [a.astype("float64") for a in arrays]
    # eight steps of float32, relative to the largest number
    assert_close(ours_32, results(pair[1], arrays, np.random.default_rng(0), mask=mask), 3e-6)


@settings(max_examples=25)
@given(layers(stateful=True, return_state=True))
def test_states_that_are_kept_are_those_of_keras(case):
    ours, options, shape, mask, rng = case
    # gates below zero: in three calls a last bit of x may grow a thousand times, in Keras, too
    assume(options.get("recurrent_activation") != "softsign")
    pair = built(ours, options, shape, rng)
    pair[1].use_cudnn = False  # else Keras changes the states before their backward pass, and fails
    for call in range(3):
        arrays = numbers(rng, shape)
        assert_close(*of_both(pair, arrays, mask=mask, training=True))
        if call == 1:
            for layer in pair:
                layer.reset_state()
    assert_close(*([s.value for s in layer.states] for layer in pair))


@pytest.mark.parametrize("implementation", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_dropout_masks_have_the_bits_of_keras(cell, implementation, monkeypatch):
    ours, options = CELLS[cell]
    if "SimpleRNN" not in ours.__name__:
        options = options | {"implementation": implementation}
    options = {"units": 5, "seed": 11, "dropout": 0.5, "recurrent_dropout": 0.5} | options
    pair = built(ours, options, (3, 4, 6), np.random.default_rng(0))
    seen = {}

    def recurrence(cell, x, state, weights, lengths, reverse, recurrent_mask, input_mask):
        seen.update(cell=cell, recurrent=recurrent_mask, input=input_mask)
        return run(cell, x, state, weights, lengths, reverse, recurrent_mask, input_mask)

    run = on_torch.recurrence
    monkeypatch.setattr(on_torch, "recurrence", recurrence)
    for layer in pair:
        layer._maybe_reset_dropout_masks = lambda _: None  # keeps them in the cell
        layer(np.ones((3, 4, 6), "float32"), training=True)
    theirs_input = pair[1].cell._dropout_mask
    theirs_recurrent = pair[1].cell._recurrent_dropout_mask
    order = {"GRU": "zrn", "LSTM": "ifgo"}.get(ours.__name__)
    if order is None:
        assert torch.equal(seen["input"], theirs_input)
        assert torch.equal(seen["recurrent"], theirs_recurrent)
        return
    for k, gate in enumerate(order):
        place = list(seen["cell"].gates).index(gate)
        assert torch.equal(seen["input"][place], theirs_input[k])
        assert torch.equal(seen["recurrent"][place], theirs_recurrent[k])
    assert len({tuple(m.flatten().tolist()) for m in theirs_recurrent}) == len(order)


@pytest.mark.parametrize("cell", CELLS)
def test_masks_without_a_seed_follow_torchs_generator(cell):
    ours, options = CELLS[cell]
    options = options | {"units": 4, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": None}
    pair = built(ours, options, (3, 5, 2), np.random.default_rng(0))
    arrays = numbers(np.random.default_rng(1), (3, 5, 2))
    assert_close(*of_both(pair, arrays, training=True))


@pytest.mark.parametrize("cell", ["gru", "lstm", "gru_reset_before"])
def test_dropout_with_products_by_gate_trains_where_keras_fails(cell):
    """Keras' own layer raises: it takes a list of masks for one."""
    ours, options = CELLS[cell]
    options = options | {"units": 4, "dropout": 0.5, "seed": 1, "implementation": 1}
    layer = ours(strict=True, **options)
    y = layer(np.ones((3, 5, 2), "float32"), training=True)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["numpy", "integers", "a mask with an axis", "a mask of numbers"])
def test_what_keras_takes_is_taken(cell, kind):
    ours, options = CELLS[cell]
    rng = np.random.default_rng(0)
    pair = built(ours, options | {"units": 4, "return_sequences": True}, (3, 5, 2), rng)
    x, mask = rng.normal(size=(3, 5, 2)), MASKS["inner"](rng, 3, 5)
    if kind == "integers":
        x = torch.tensor(rng.integers(-2, 3, (3, 5, 2)))
    if kind == "a mask with an axis":
        mask = mask[..., None]
    if kind == "a mask of numbers":
        mask = mask.astype("int64") * 2
    mask = torch.tensor(mask)
    assert_close(*([layer(x, mask=mask).detach()] for layer in pair))


@pytest.mark.parametrize("cell", CELLS)
def test_a_state_of_one_row_serves_all(cell):
    ours, options = CELLS[cell]
    rng = np.random.default_rng(0)
    pair = built(ours, options | {"units": 4}, (3, 5, 2), rng)
    arrays = numbers(rng, (3, 5, 2), *[(1, 4)] * len(pair[0].state_size))
    assert_close(*of_both(pair, arrays))


@pytest.mark.parametrize("cell", CELLS)
def test_second_derivatives_pass_through_masked_steps(cell):
    ours, options = CELLS[cell]
    rng = np.random.default_rng(0)
    pair = built(ours, options | {"units": 3, "return_sequences": True}, (2, 4, 2), rng)
    mask = torch.tensor([[False, True, False, True], [True, True, True, False]])
    x_0 = rng.normal(size=(2, 4, 2)).astype("float32")
    found = []
    for layer in pair:
        x = torch.tensor(x_0, requires_grad=True)
        (first,) = torch.autograd.grad(layer(x, mask=mask).sin().sum(), x, create_graph=True)
        found.append(list(torch.autograd.grad((first**2).sum(), x)))
    assert_close(*found)


def test_an_empty_batch_gives_an_empty_answer():
    layer = tidegate.keras.GRU(4, strict=True, return_sequences=True)
    assert layer(np.zeros((0, 5, 3), "float32")).shape == (0, 5, 4)
